//! The encoder of replies.
//!
//! One method per kind of reply; each writes what the connection's protocol version has for it. Aggregates are a
//! header followed by that many replies: nothing checks that they follow, so a handler that counts wrong breaks its
//! connection. Use the `*_before` methods where the count is known only afterwards.

use std::fmt::{self, Display};

use super::double::write_double;
use super::integer::{write_integer, write_unsigned};
use super::protocol::Protocol;
use super::protocol_error::ProtocolError;

/// Writes replies to the end of a connection's output, in RESP2 or RESP3.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    /// An encoder that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The version that is written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// A simple string. Line ends within it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// An error: `text` is Redis' code, a space and the message, in whatever bytes the client sent where it quotes
    /// them. Line ends within it become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// An error of the given `Display` text, written without an intermediate string; see [`Reply::error`].
    pub fn error_display(&mut self, text: impl Display) {
        self.out.push(b'-');
        let start = self.out.len();
        append_display(self.out, text);
        mask_line_ends(&mut self.out[start..]);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The last reply of a connection that did not speak RESP, byte for byte that of Redis.
    pub fn protocol_error(&mut self, error: &ProtocolError) {
        match error {
            ProtocolError::ExpectedBulk(got) => {
                let mut text = *b"ERR Protocol error: expected '$', got ' '";
                let quoted = text.len() - 2;
                text[quoted] = *got;
                self.error(text);
            }
            other => self.error_display(format_args!("ERR {other}")),
        }
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.raw(b":0\r\n"),
            1 => self.raw(b":1\r\n"),
            value => {
                self.out.push(b':');
                write_integer(self.out, value);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A string of any bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.out.reserve(bytes.len() + 16);
        self.header(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A string, or null where there is none.
    #[inline]
    pub fn bulk_or_null(&mut self, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A string of the given `Display` text.
    pub fn bulk_display(&mut self, text: impl Display) {
        let mark = self.mark();
        append_display(self.out, text);
        let bytes = self.out.len() - mark;
        self.header_before(mark, b'$', bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a string, as `INCRBYFLOAT`'s kin and `CONFIG GET` reply.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk_display(value);
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No array, where RESP2 tells that from no string.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The header of an array: `count` replies follow.
    #[inline]
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count);
    }

    /// The header of a map: `count` times a key and a value follow. An array of twice as many in RESP2.
    pub fn map(&mut self, count: usize) {
        let (tag, count) = self.map_header(count);
        self.header(tag, count);
    }

    /// The header of a set: `count` replies follow. An array in RESP2.
    pub fn set(&mut self, count: usize) {
        let tag = self.tag_or_array(b'~');
        self.header(tag, count);
    }

    /// The header of a message that no request asked for: `count` replies follow. An array in RESP2.
    pub fn push(&mut self, count: usize) {
        let tag = self.tag_or_array(b'>');
        self.header(tag, count);
    }

    /// The header of an array around the `count` replies written since `mark`; moves them, once.
    pub fn array_before(&mut self, mark: usize, count: usize) {
        self.header_before(mark, b'*', count);
    }

    /// The header of a map around the `count` keys and values written since `mark`; moves them, once.
    pub fn map_before(&mut self, mark: usize, count: usize) {
        let (tag, count) = self.map_header(count);
        self.header_before(mark, tag, count);
    }

    /// The header of a set around the `count` replies written since `mark`; moves them, once.
    pub fn set_before(&mut self, mark: usize, count: usize) {
        let tag = self.tag_or_array(b'~');
        self.header_before(mark, tag, count);
    }

    /// A floating point number; in RESP2 a string. Printed by [`write_double`].
    pub fn double(&mut self, value: f64) {
        match self.protocol {
            Protocol::Resp2 => {
                let mark = self.mark();
                write_double(self.out, value);
                let bytes = self.out.len() - mark;
                self.header_before(mark, b'$', bytes);
            }
            Protocol::Resp3 => {
                self.out.push(b',');
                write_double(self.out, value);
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// True or false; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.protocol, value) {
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
        });
    }

    /// A text for humans in a format of three letters, `txt` or `mkd`; a plain string in RESP2.
    ///
    /// # Panics
    /// When `format` has not three bytes.
    pub fn verbatim(&mut self, format: &str, text: impl AsRef<[u8]>) {
        assert_eq!(format.len(), 3, "a client takes the fourth byte for the colon");
        let text = text.as_ref();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.raw(format.as_bytes());
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// An integer of any size, in decimal; a string in RESP2.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Replies that are encoded already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// The current end of the output, for [`Reply::truncate`] and the `*_before` methods.
    pub fn mark(&self) -> usize {
        self.out.len()
    }

    /// Takes back everything written since `mark`.
    pub fn truncate(&mut self, mark: usize) {
        self.out.truncate(mark);
    }

    /// What was written since `mark`.
    pub fn written_since(&self, mark: usize) -> &[u8] {
        &self.out[mark..]
    }

    fn map_header(&self, count: usize) -> (u8, usize) {
        match self.protocol {
            Protocol::Resp2 => (b'*', count * 2),
            Protocol::Resp3 => (b'%', count),
        }
    }

    fn tag_or_array(&self, tag: u8) -> u8 {
        match self.protocol {
            Protocol::Resp2 => b'*',
            Protocol::Resp3 => tag,
        }
    }

    fn line(&mut self, tag: u8, text: &[u8]) {
        self.out.push(tag);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        mask_line_ends(&mut self.out[start..]);
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn header(&mut self, tag: u8, count: usize) {
        if count < 10 {
            // The most frequent by far.
            return self.out.extend_from_slice(&[tag, b'0' + count as u8, b'\r', b'\n']);
        }
        self.out.push(tag);
        write_unsigned(self.out, count as u64);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Writes a header at the end, then turns it round to `mark`.
    fn header_before(&mut self, mark: usize, tag: u8, count: usize) {
        let end = self.out.len();
        assert!(mark <= end, "a mark is taken before what follows it");
        self.header(tag, count);
        let header_bytes = self.out.len() - end;
        self.out[mark..].rotate_right(header_bytes);
    }
}

/// Keeps a text from ending its reply early.
fn mask_line_ends(text: &mut [u8]) {
    for byte in text {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

struct Appender<'a>(&'a mut Vec<u8>);

impl fmt::Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn append_display(out: &mut Vec<u8>, text: impl Display) {
    use fmt::Write;
    // A `Display` that fails although its writer cannot leaves its text cut short: the reply stays well-formed.
    let _ = write!(Appender(out), "{text}");
}
