//! Replies as they come, in pieces of any size.

use anyhow::{Result, bail};

/// So much of an error's text is kept.
const ERROR_BYTES_MAX: usize = 200;
/// Digits of a length; more are no length (Redis stops at 512 MB).
const LENGTH_DIGITS_MAX: u32 = 9;

/// A whole reply to a SET or a GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`, or another simple string.
    Simple,
    /// A value of so many bytes.
    Bulk(u64),
    /// No value.
    Null,
    /// `-ERR …`; [`ReplyParser::error`] has its text.
    Error,
}

/// The part of a reply that is read next.
#[derive(Debug, Clone, Copy)]
enum State {
    /// The first byte of a reply.
    Type,
    /// A simple string or an error up to its end of line.
    Text(Reply),
    /// The length of a value.
    Length { value: u64, digits: u32, is_negative: bool },
    /// The rest of a value and its end of line.
    Body { length: u64, left: u64 },
}

/// Reads replies to SET and GET from pieces; keeps nothing of a value.
#[derive(Debug)]
pub struct ReplyParser {
    state: State,
    error: Vec<u8>,
}

impl ReplyParser {
    /// A parser at the beginning of a reply.
    pub fn new() -> ReplyParser {
        ReplyParser { state: State::Type, error: Vec::with_capacity(ERROR_BYTES_MAX) }
    }

    /// Takes bytes from the front of `bytes` until a reply is whole; `None` when it has taken all and none is.
    ///
    /// # Errors
    /// If the bytes are no reply to SET or GET.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Reply>> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let State::Body { length, left } = self.state {
                let taken = left.min(bytes.len() as u64);
                *bytes = &bytes[taken as usize..];
                if taken == left {
                    self.state = State::Type;
                    return Ok(Some(Reply::Bulk(length)));
                }
                self.state = State::Body { length, left: left - taken };
                continue;
            }
            *bytes = rest;
            if let Some(reply) = self.take(byte)? {
                self.state = State::Type;
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Returns the text of the last error.
    pub fn error(&self) -> String {
        String::from_utf8_lossy(&self.error).into_owned()
    }

    /// Takes a byte outside of a value.
    fn take(&mut self, byte: u8) -> Result<Option<Reply>> {
        match (&mut self.state, byte) {
            (State::Type, b'+') => self.state = State::Text(Reply::Simple),
            (State::Type, b'-') => {
                self.error.clear();
                self.state = State::Text(Reply::Error);
            }
            (State::Type, b'$') => self.state = State::Length { value: 0, digits: 0, is_negative: false },
            (State::Text(reply), b'\n') => return Ok(Some(*reply)),
            (State::Text(Reply::Error), byte) => {
                if byte != b'\r' && self.error.len() < ERROR_BYTES_MAX {
                    self.error.push(byte);
                }
            }
            (State::Text(_), _) | (State::Length { .. }, b'\r') => {}
            (State::Length { digits: 0, is_negative: is_negative @ false, .. }, b'-') => *is_negative = true,
            (State::Length { value, digits, .. }, b'0'..=b'9') if *digits < LENGTH_DIGITS_MAX => {
                *value = *value * 10 + u64::from(byte - b'0');
                *digits += 1;
            }
            (State::Length { digits: 1.., is_negative: true, .. }, b'\n') => return Ok(Some(Reply::Null)),
            // The value's own end of line is two bytes more.
            (&mut State::Length { value, digits: 1.., .. }, b'\n') => {
                self.state = State::Body { length: value, left: value + 2 };
            }
            (state, byte) => bail!("the server's reply is none to SET or GET: {:?} after {state:?}", char::from(byte)),
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The replies in `pieces`.
    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<Reply>, String)> {
        let mut parser = ReplyParser::new();
        let mut replies = Vec::new();
        for mut piece in pieces {
            while let Some(reply) = parser.next(&mut piece)? {
                replies.push(reply);
            }
            assert!(piece.is_empty(), "a piece is taken to its end");
        }
        Ok((replies, parser.error()))
    }

    #[test]
    fn replies_may_be_split_at_any_byte() {
        let bytes = b"+OK\r\n$11\r\n+OK\r\n$1\r\n-x\r\n$-1\r\n-OOM no memory\r\n$0\r\n\r\n+OK\r\n";
        let expected = [Reply::Simple, Reply::Bulk(11), Reply::Null, Reply::Error, Reply::Bulk(0), Reply::Simple];
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                let (replies, error) = parse(pieces).unwrap();
                assert_eq!((&replies[..], &*error), (&expected[..], "OOM no memory"), "{first} {second}");
            }
        }
        assert_eq!(parse(bytes.chunks(1)).unwrap().0, expected);
    }

    #[test]
    fn an_error_of_any_length_is_kept_in_part() {
        let text = format!("-{}\r\n+OK\r\n", "x".repeat(5_000));
        let (replies, error) = parse([text.as_bytes()]).unwrap();
        assert_eq!((replies, error.len()), (vec![Reply::Error, Reply::Simple], ERROR_BYTES_MAX));
    }

    #[test]
    fn other_replies_are_refused() {
        for wrong in ["x", ":1\r\n", "*1\r\n", "$\r\n", "$-\r\n", "$1x\r\n", "$1234567890\r\n", "$1-\r\n"] {
            assert!(parse([wrong.as_bytes()]).is_err(), "{wrong:?}");
        }
    }
}
