//! Reading numbers, options and deadlines out of arguments, by Redis' rules.

use super::float_text::read_f64;
use super::{Args, CommandError};

/// Reads a decimal 64-bit integer: no spaces, no `+`, no leading zeros.
///
/// # Errors
/// [`CommandError::NOT_AN_INTEGER`].
pub fn parse_i64(arg: &[u8]) -> Result<i64, CommandError> {
    read_i64(arg).ok_or(CommandError::NOT_AN_INTEGER)
}

/// As [`parse_i64`], for values: `None` if the bytes are not an integer.
pub(super) fn read_i64(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0u64;
    for digit in digits {
        // 19 digits stay below 10^19 < 2^64
        magnitude = magnitude * 10 + u64::from(digit.checked_sub(b'0').filter(|&digit| digit <= 9)?);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads an integer that is not below `min`.
///
/// # Errors
/// [`CommandError::NOT_AN_INTEGER`], or Redis' "value is out of range" with the bounds.
pub(super) fn parse_i64_from(arg: &[u8], min: i64) -> Result<i64, CommandError> {
    let out_of_range =
        || CommandError::owned(format!("ERR value is out of range, value must between {min} and {}", i64::MAX));
    parse_i64(arg).and_then(|number| if number < min { Err(out_of_range()) } else { Ok(number) })
}

/// Reads an integer that is not below `min`; `text` is the whole error, also when it is no integer at all, as in Redis.
pub(super) fn parse_i64_or(arg: &[u8], min: i64, text: &'static str) -> Result<i64, CommandError> {
    read_i64(arg).filter(|number| *number >= min).ok_or(CommandError::text(text))
}

/// Reads `numkeys key [key …]`, which `args` begin with, and returns the keys and what follows them; `None` if there are not that
/// many.
///
/// # Errors
/// "numkeys should be greater than 0".
pub(super) fn read_counted_keys<'a>(args: Args<'a>) -> Result<Option<(Args<'a>, Args<'a>)>, CommandError> {
    let (count, rest) = args.split_first().ok_or(CommandError::SYNTAX)?;
    let count = parse_i64_or(count, 1, "ERR numkeys should be greater than 0")?;
    Ok(usize::try_from(count).ok().and_then(|count| rest.split_at_checked(count)))
}

/// Reads the `[COUNT count]` at the end of LMPOP and ZMPOP; 1 if it is not there.
///
/// # Errors
/// [`CommandError::SYNTAX`], or "count should be greater than 0".
pub(super) fn read_pop_count(options: Args<'_>) -> Result<u64, CommandError> {
    match options {
        [] => Ok(1),
        [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"count") => {
            let count = parse_i64_or(count, 1, "ERR count should be greater than 0")?;
            if rest.is_empty() { Ok(count as u64) } else { Err(CommandError::SYNTAX) }
        }
        _ => Err(CommandError::SYNTAX),
    }
}

/// Reads a count or length that must not be negative.
///
/// # Errors
/// [`CommandError::NOT_POSITIVE`], also when it is no integer at all, as in Redis.
pub fn parse_positive_i64(arg: &[u8]) -> Result<i64, CommandError> {
    match parse_i64(arg) {
        Ok(number) if number >= 0 => Ok(number),
        _ => Err(CommandError::NOT_POSITIVE),
    }
}

/// Reads a non-negative integer as `usize`.
///
/// # Errors
/// As [`parse_positive_i64`].
pub fn parse_usize(arg: &[u8]) -> Result<usize, CommandError> {
    parse_positive_i64(arg).map(|number| number as usize)
}

/// Reads a floating-point number: see [`read_f64`].
///
/// # Errors
/// [`CommandError::NOT_A_FLOAT`].
pub fn parse_f64(arg: &[u8]) -> Result<f64, CommandError> {
    read_f64(arg).ok_or(CommandError::NOT_A_FLOAT)
}

/// Reads a decimal number at the start of `text` as C's `strtoull` does, and tells where it ends: white space and a sign may
/// precede it, and a negative one counts down from 2⁶⁴. Where there is no number it is 0 and ends where it began. `None` if it
/// is too large.
pub(super) fn read_u64_prefix(text: &[u8]) -> Option<(u64, usize)> {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let spaces = text.iter().take_while(is_space).count();
    let (negative, digits) = match &text[spaces..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return Some((0, 0));
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    let number = digits[..length].iter().try_fold(0, add)?;
    Some((if negative { number.wrapping_neg() } else { number }, text.len() - digits.len() + length))
}

/// Reads a part of a stream's id as Redis' `string2ull` does: with `strtoull`, but an ordinary negative number is none.
pub(super) fn read_u64(text: &[u8]) -> Option<u64> {
    if let Some(number) = read_i64(text) {
        return u64::try_from(number).ok();
    }
    let (number, length) = read_u64_prefix(text)?;
    (length > 0 && length == text.len()).then_some(number)
}

/// Turns a Redis index range (inclusive; negative counts from the end) over `length` items into a half-open range;
/// `None` if it is empty.
pub fn parse_index_range(start: i64, stop: i64, length: u64) -> Option<std::ops::Range<u64>> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_end = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(length - 1));
    (start <= stop).then_some(start as u64..stop as u64 + 1)
}

/// In what a deadline is given, and from where it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryUnit {
    /// Seconds from now (`EX`).
    Seconds,
    /// Milliseconds from now (`PX`).
    Milliseconds,
    /// A Unix time in seconds (`EXAT`).
    UnixSeconds,
    /// A Unix time in milliseconds (`PXAT`).
    UnixMilliseconds,
}

impl ExpiryUnit {
    /// The unit that the option `word` names.
    pub fn of_option(word: &[u8]) -> Option<ExpiryUnit> {
        Some(match word.to_ascii_lowercase().as_slice() {
            b"ex" => ExpiryUnit::Seconds,
            b"px" => ExpiryUnit::Milliseconds,
            b"exat" => ExpiryUnit::UnixSeconds,
            b"pxat" => ExpiryUnit::UnixMilliseconds,
            _ => return None,
        })
    }
}

/// Turns `number`, read from an argument of `command`, into a deadline in Unix milliseconds, which may lie in the past
/// and even before 1970.
///
/// # Errors
/// "invalid expire time" if the deadline does not fit 63 bits.
pub fn deadline_ms(number: i64, unit: ExpiryUnit, now_ms: u64, command: &str) -> Result<i64, CommandError> {
    let invalid = || CommandError::invalid_expire_time(command);
    let milliseconds = match unit {
        ExpiryUnit::Seconds | ExpiryUnit::UnixSeconds => number.checked_mul(1000).ok_or_else(invalid)?,
        ExpiryUnit::Milliseconds | ExpiryUnit::UnixMilliseconds => number,
    };
    match unit {
        ExpiryUnit::Seconds | ExpiryUnit::Milliseconds => milliseconds.checked_add_unsigned(now_ms).ok_or_else(invalid),
        ExpiryUnit::UnixSeconds | ExpiryUnit::UnixMilliseconds => Ok(milliseconds),
    }
}

/// Reads the deadline of SET, SETEX, PSETEX and GETEX, which must be positive.
///
/// # Errors
/// [`CommandError::NOT_AN_INTEGER`], or "invalid expire time in 'command' command".
pub fn parse_expiry_ms(arg: &[u8], unit: ExpiryUnit, now_ms: u64, command: &str) -> Result<u64, CommandError> {
    let number = parse_i64(arg)?;
    if number <= 0 {
        return Err(CommandError::invalid_expire_time(command));
    }
    let deadline = deadline_ms(number, unit, now_ms, command)?;
    u64::try_from(deadline).map_err(|_| CommandError::invalid_expire_time(command))
}

/// Walks over the options at the end of a command.
pub struct Options<'a> {
    rest: Args<'a>,
}

impl<'a> Options<'a> {
    /// The options in `args` from `first` on.
    pub fn new(args: Args<'a>, first: usize) -> Options<'a> {
        Options { rest: args.get(first..).unwrap_or(&[]) }
    }

    /// The next word, if there is one.
    pub fn next_word(&mut self) -> Option<&'a [u8]> {
        let (word, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(word)
    }

    /// The argument that the option read last needs.
    ///
    /// # Errors
    /// [`CommandError::SYNTAX`] if there is none.
    pub fn argument(&mut self) -> Result<&'a [u8], CommandError> {
        self.next_word().ok_or(CommandError::SYNTAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_redis_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("1/", None),
        ] {
            assert_eq!(read_i64(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn numbers_without_sign_are_read_as_strtoull_reads_them() {
        for (text, prefix, whole) in [
            ("5", Some((5, 1)), Some(5)),
            ("05", Some((5, 2)), Some(5)),
            ("+5", Some((5, 2)), Some(5)),
            (" \t\x0b5", Some((5, 4)), Some(5)),
            ("18446744073709551615", Some((u64::MAX, 20)), Some(u64::MAX)),
            ("18446744073709551616", None, None),
            ("-18446744073709551616", None, None),
            ("-5", Some((u64::MAX - 4, 2)), None),
            ("-05", Some((u64::MAX - 4, 3)), Some(u64::MAX - 4)),
            ("-18446744073709551615", Some((1, 21)), Some(1)),
            ("5 ", Some((5, 1)), None),
            ("5a", Some((5, 1)), None),
            ("", Some((0, 0)), None),
            (" ", Some((0, 0)), None),
            ("-", Some((0, 0)), None),
            (" +a", Some((0, 0)), None),
        ] {
            assert_eq!((read_u64_prefix(text.as_bytes()), read_u64(text.as_bytes())), (prefix, whole), "{text:?}");
        }
    }

    #[test]
    fn index_ranges_clamp_to_the_collection() {
        assert_eq!(parse_index_range(0, -1, 3), Some(0..3));
        assert_eq!(parse_index_range(-2, -1, 3), Some(1..3));
        assert_eq!(parse_index_range(-100, 100, 3), Some(0..3));
        assert_eq!(parse_index_range(2, 1, 3), None);
        assert_eq!(parse_index_range(0, -1, 0), None);
        assert_eq!(parse_index_range(i64::MIN, i64::MAX, 3), Some(0..3));
    }

    #[test]
    fn deadlines_that_overflow_are_refused() {
        let error = parse_expiry_ms(b"9223372036854775807", ExpiryUnit::Seconds, 5, "set").unwrap_err();
        assert_eq!(error.to_string(), "ERR invalid expire time in 'set' command");
        assert!(parse_expiry_ms(b"9223372036854775807", ExpiryUnit::Milliseconds, 5, "set").is_err());
        assert!(parse_expiry_ms(b"0", ExpiryUnit::Milliseconds, 5, "set").is_err());
        assert_eq!(parse_expiry_ms(b"7", ExpiryUnit::Seconds, 5, "set").unwrap(), 7005);
        assert_eq!(parse_expiry_ms(b"7", ExpiryUnit::UnixMilliseconds, 5, "set").unwrap(), 7);
    }
}
