//! Inline commands: a line of words, as typed into telnet.
//!
//! Quoting is that of Redis' `sdssplitargs`: within double quotes `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a` and a backslash
//! before any other byte are escapes; within single quotes only `\'` is. A quote may open in the middle of a word, but
//! must end it. Redis takes the line as a C string and so never sees the end of one that holds a zero byte; here a zero
//! byte is a byte like any other.

use super::argv::{ArgRange, Argv};
use super::protocol_error::ProtocolError;

/// Splits `line`, which has no line end any more, into the arguments of `argv`.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`].
pub(super) fn split_words(line: &[u8], argv: &mut Argv) -> Result<(), ProtocolError> {
    argv.is_inline = true;
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(());
        }
        let start = argv.unquoted.len();
        rest = unquote_word(rest, &mut argv.unquoted)?;
        argv.ranges.push(ArgRange { start: position(start), end: position(argv.unquoted.len()) });
    }
}

/// The words of a line that is no command, such as the first one of a library of functions.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`].
pub fn split_line(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let (mut rest, mut words) = (line, Vec::new());
    loop {
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(words);
        }
        let mut word = Vec::new();
        rest = unquote_word(rest, &mut word)?;
        words.push(word);
    }
}

/// Appends the word that `rest` starts with to `out`, and returns what follows it.
fn unquote_word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match *rest {
            // Not `is_space`: a vertical tab or a form feed separates words, but does not end one.
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', ref quoted @ ..] => return unquote_double(quoted, out),
            [b'\'', ref quoted @ ..] => return unquote_single(quoted, out),
            [byte, ref after @ ..] => {
                out.push(byte);
                rest = after;
            }
        }
    }
}

fn unquote_double<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, after) = match *rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', ref after @ ..] => return end_of_quotes(after),
            [b'\\', b'x', high, low, ref after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(high) << 4 | hex_digit(low), after)
            }
            [b'\\', escaped, ref after @ ..] => (unescape(escaped), after),
            [byte, ref after @ ..] => (byte, after),
        };
        out.push(byte);
        rest = after;
    }
}

fn unquote_single<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, after) = match *rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', ref after @ ..] => return end_of_quotes(after),
            [b'\\', b'\'', ref after @ ..] => (b'\'', after),
            [byte, ref after @ ..] => (byte, after),
        };
        out.push(byte);
        rest = after;
    }
}

/// A closing quote must be followed by a space or by nothing at all.
fn end_of_quotes(after: &[u8]) -> Result<&[u8], ProtocolError> {
    match after.first() {
        Some(byte) if !is_space(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(after),
    }
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn position(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("an inline command fits the limit of its line, and unquoting only shortens it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let mut argv = Argv::new();
        split_words(line, &mut argv)?;
        Ok(argv.iter(b"").map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn words_are_split_and_unquoted_as_redis_does() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b" \t\x0b\x0c ", &[]),
            (b"PING", &[b"PING"]),
            (b"  SET  k\tv  ", &[b"SET", b"k", b"v"]),
            (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
            (b"a\rb", &[b"a", b"b"]),
            (b"\"\" ''", &[b"", b""]),
            (b"\"hello world\"", &[b"hello world"]),
            (b"\"\\x41\\x0a\\xFf\\x00\"", &[b"A\n\xff\0"]),
            (b"\"\\xg1\\x4\"", &[b"xg1x4"]),
            (b"\"\\n\\r\\t\\b\\a\\\\\\\"\\q\"", &[b"\n\r\t\x08\x07\\\"q"]),
            (b"'it\\'s \\n \\x41'", &[b"it's \\n \\x41"]),
            (b"foo\"bar\" foo'bar'", &[b"foobar", b"foobar"]),
            (b"\\n \\\"x y\"", &[b"\\n", b"\\x y"]),
            (b"\"a\"\x0b'b'", &[b"a", b"b"]),
            (b"a\0b \0", &[b"a\0b", b"\0"]),
        ];
        for (line, words) in cases {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
            assert_eq!(split(line), Ok(words), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quotes_that_do_not_close_are_refused() {
        let cases: &[&[u8]] =
            &[b"\"", b"'", b"\"a", b"'a", b"\"a\\\"", b"'a\\'", b"\"a\"b", b"'a'b", b"x \"a\"\"b\"", b"\"a\\"];
        for line in cases {
            assert_eq!(split(line), Err(ProtocolError::UnbalancedQuotes), "{}", line.escape_ascii());
        }
    }
}
