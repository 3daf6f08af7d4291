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
use crate::limits::HEADERS_BYTES_MAX;

/// Writes replies to the end of a connection's output, in RESP2 or RESP3.
///
/// A bounded one stops writing at its bound: what it has written by then is no whole reply, and whoever made it takes that back and
/// says something else, see [`Reply::is_over`].
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
    /// The position in `out` at which the reply begins.
    start: usize,
    /// The position in `out` at which it must end.
    end_max: usize,
    /// Set if one value may be longer than the bound, where it is all of the reply.
    spares_one: bool,
    is_over: bool,
}

impl<'a> Reply<'a> {
    /// An encoder that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { start: out.len(), out, protocol, end_max: usize::MAX, spares_one: false, is_over: false }
    }

    /// An encoder that appends `bytes_max` bytes to `out` at most, or one value, however long it is: what was stored can be read.
    pub fn bounded(out: &'a mut Vec<u8>, protocol: Protocol, bytes_max: usize) -> Self {
        Self { spares_one: true, ..Self::strictly_bounded(out, protocol, bytes_max) }
    }

    /// An encoder that appends `bytes_max` bytes to `out` at most.
    pub fn strictly_bounded(out: &'a mut Vec<u8>, protocol: Protocol, bytes_max: usize) -> Self {
        Self { end_max: out.len().saturating_add(bytes_max), ..Self::new(out, protocol) }
    }

    /// Returns true if something was not written, since the reply would have become longer than its bound. Nothing is
    /// written any more.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Bytes that may still be written, unless they are one value.
    pub fn room(&self) -> usize {
        self.end_max.saturating_sub(self.out.len())
    }

    /// Bytes written since the encoder was made.
    pub fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// Returns true if nothing was written since the encoder was made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if `bytes` more may be written.
    #[inline]
    fn fits(&mut self, bytes: usize) -> bool {
        if self.out.len().saturating_add(bytes) <= self.end_max && !self.is_over {
            return true;
        }
        self.fits_alone()
    }

    /// Returns true if what does not fit may be written since it is the only value.
    #[cold]
    fn fits_alone(&mut self) -> bool {
        self.is_over |= !(self.spares_one && self.out.len() - self.start <= HEADERS_BYTES_MAX);
        !self.is_over
    }

    /// The version that is written.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// A simple string. Line ends within it become spaces.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
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
        if !self.fits(0) {
            return;
        }
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
                if !self.fits(0) {
                    return;
                }
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
        if !self.fits(bytes.len()) {
            return;
        }
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
        if !self.fits(0) {
            return;
        }
        let mark = self.mark();
        append_display(self.out, text);
        let bytes = self.out.len() - mark;
        self.header_before(mark, b'$', bytes);
        self.out.extend_from_slice(b"\r\n");
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
        if !self.fits(0) {
            return;
        }
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

    /// A text for humans in a format of three letters, `txt` or `mkd`: a client takes the fourth byte for the colon. A plain string
    /// in RESP2.
    pub fn verbatim(&mut self, format: &[u8; 3], text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.raw(format);
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// An integer of any size, in decimal; a string in RESP2.
    pub fn big_number(&mut self, digits: impl AsRef<[u8]>) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits),
            Protocol::Resp3 => self.line(b'(', digits.as_ref()),
        }
    }

    /// Replies that are encoded already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        if !self.fits(bytes.len()) {
            return;
        }
        self.out.extend_from_slice(bytes);
    }

    /// Puts bytes that are no part of the reply in front of what was written since `mark`, the beginning of all of it, whatever
    /// bound the reply has. [`Reply::truncate`] to behind them takes back the reply alone.
    pub fn raw_before(&mut self, mark: usize, bytes: &[u8]) {
        self.out.splice(mark..mark, bytes.iter().copied());
        self.start += bytes.len();
        self.end_max = self.end_max.saturating_add(bytes.len());
    }

    /// The current end of the output, for [`Reply::truncate`] and the `*_before` methods.
    pub fn mark(&self) -> usize {
        self.out.len()
    }

    /// Takes back everything written since `mark`, and with all of a reply that it was longer than its bound.
    pub fn truncate(&mut self, mark: usize) {
        self.out.truncate(mark);
        self.start = self.start.min(mark);
        self.is_over &= mark > self.start;
    }

    /// Returns what was written since `mark`.
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
        if !self.fits(text.len()) {
            return;
        }
        self.out.push(tag);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        mask_line_ends(&mut self.out[start..]);
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn header(&mut self, tag: u8, count: usize) {
        if !self.fits(0) {
            return;
        }
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
        if !self.fits(0) {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::super::value::{is_error, read_bulk, read_integer, skip_value, split_elements};
    use super::*;
    use proptest::prelude::*;

    fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, protocol));
        out.escape_ascii().to_string().replace("\\r\\n", "|")
    }

    #[test]
    fn every_kind_is_written_in_both_versions() {
        type Write = fn(&mut Reply<'_>);
        let cases: &[(Write, &str, &str)] = &[
            (|r| r.ok(), "+OK|", "+OK|"),
            (|r| r.simple("PONG"), "+PONG|", "+PONG|"),
            (|r| r.error("ERR no"), "-ERR no|", "-ERR no|"),
            (|r| r.error_display(format_args!("ERR no {}", 1)), "-ERR no 1|", "-ERR no 1|"),
            (|r| r.integer(0), ":0|", ":0|"),
            (|r| r.integer(1), ":1|", ":1|"),
            (|r| r.integer(-1234567), ":-1234567|", ":-1234567|"),
            (|r| r.integer(i64::MIN), ":-9223372036854775808|", ":-9223372036854775808|"),
            (|r| r.bulk(""), "$0||", "$0||"),
            (|r| r.bulk(b"a\0\xff"), "$3|a\\x00\\xff|", "$3|a\\x00\\xff|"),
            (|r| r.bulk([b'x'; 12]), "$12|xxxxxxxxxxxx|", "$12|xxxxxxxxxxxx|"),
            (|r| r.bulk_or_null(Some("a")), "$1|a|", "$1|a|"),
            (|r| r.bulk_or_null(None::<&str>), "$-1|", "_|"),
            (|r| r.bulk_display(1234567890123_i64), "$13|1234567890123|", "$13|1234567890123|"),
            (|r| r.null(), "$-1|", "_|"),
            (|r| r.null_array(), "*-1|", "_|"),
            (|r| r.array(0), "*0|", "*0|"),
            (|r| r.array(10), "*10|", "*10|"),
            (|r| r.map(3), "*6|", "%3|"),
            (|r| r.set(2), "*2|", "~2|"),
            (|r| r.push(123), "*123|", ">123|"),
            (|r| r.double(1.5), "$3|1.5|", ",1.5|"),
            (|r| r.double(f64::NEG_INFINITY), "$4|-inf|", ",-inf|"),
            (|r| r.boolean(true), ":1|", "#t|"),
            (|r| r.boolean(false), ":0|", "#f|"),
            (|r| r.verbatim(b"txt", "hi"), "$2|hi|", "=6|txt:hi|"),
            (|r| r.big_number("123"), "$3|123|", "(123|"),
            (|r| r.raw(b":7\r\n"), ":7|", ":7|"),
        ];
        for (index, (write, resp2, resp3)) in cases.iter().enumerate() {
            assert_eq!(written(Protocol::Resp2, write), *resp2, "case {index}");
            assert_eq!(written(Protocol::Resp3, write), *resp3, "case {index}");
        }
    }

    #[test]
    fn line_ends_in_a_text_do_not_end_its_reply() {
        let text = written(Protocol::Resp2, |r| r.error(b"ERR \r\n+OK\r\n\xff"));
        assert_eq!(text, r"-ERR   +OK  \xff|");
        assert_eq!(written(Protocol::Resp2, |r| r.simple("a\nb")), "+a b|");
        assert_eq!(written(Protocol::Resp2, |r| r.error_display("ERR a\r\nb")), "-ERR a  b|");
    }

    #[test]
    fn protocol_errors_are_written_as_redis_does() {
        for (error, text) in [
            (ProtocolError::ExpectedBulk(b'x'), &b"-ERR Protocol error: expected '$', got 'x'\r\n"[..]),
            (ProtocolError::ExpectedBulk(b'\r'), b"-ERR Protocol error: expected '$', got ' '\r\n"),
            (ProtocolError::ExpectedBulk(0xff), b"-ERR Protocol error: expected '$', got '\xff'\r\n"),
            (ProtocolError::InvalidBulkLength, b"-ERR Protocol error: invalid bulk length\r\n"),
        ] {
            let mut out = Vec::new();
            Reply::new(&mut out, Protocol::Resp2).protocol_error(&error);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn what_a_failed_command_wrote_is_taken_back() {
        let mut out = b"+earlier\r\n".to_vec();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        let mark = reply.mark();
        reply.array(2);
        reply.bulk("half");
        assert_eq!(reply.written_since(mark), b"*2\r\n$4\r\nhalf\r\n");
        reply.truncate(mark);
        reply.error("ERR failed");
        assert_eq!(out, b"+earlier\r\n-ERR failed\r\n");
    }

    #[test]
    fn a_bounded_reply_stops_at_its_bound_and_may_be_taken_back_for_another() {
        let mut out = b"+earlier\r\n".to_vec();
        let mut reply = Reply::bounded(&mut out, Protocol::Resp2, 1000);
        let mark = reply.mark();
        reply.array(2_000_000);
        for _ in 0..1_000_000 {
            reply.bulk([b'v'; 100]);
            reply.integer(12_345);
        }
        reply.raw(b"+OK\r\n");
        reply.array_before(mark, 3);
        assert!(reply.is_over() && reply.len() <= 1100, "{} bytes", reply.len());
        reply.truncate(mark);
        assert!(!reply.is_over() && reply.is_empty());
        reply.error("ERR too large");
        assert_eq!(out, b"+earlier\r\n-ERR too large\r\n");
    }

    #[test]
    fn one_value_may_be_longer_than_the_bound_unless_that_is_strict() {
        let value = [b'v'; 5000];
        for (is_strict, count, is_over) in [(false, 1, false), (false, 2, true), (true, 1, true)] {
            let mut out = Vec::new();
            let make = if is_strict { Reply::strictly_bounded } else { Reply::bounded };
            let mut reply = make(&mut out, Protocol::Resp2, 1000);
            reply.array(count);
            (0..count).for_each(|_| reply.bulk(value));
            assert_eq!(reply.is_over(), is_over, "{count}, strict: {is_strict}");
        }
    }

    #[test]
    fn headers_go_before_what_was_counted_first() {
        for (protocol, text) in [
            (Protocol::Resp2, "+a|*2|:1|:2|*4|:1|:2|:3|:4|*1|:5|"),
            (Protocol::Resp3, "+a|*2|:1|:2|%2|:1|:2|:3|:4|~1|:5|"),
        ] {
            let text_written = written(protocol, |reply| {
                reply.simple("a");
                let mark = reply.mark();
                (1..=2).for_each(|value| reply.integer(value));
                reply.array_before(mark, 2);
                let mark = reply.mark();
                (1..=4).for_each(|value| reply.integer(value));
                reply.map_before(mark, 2);
                let mark = reply.mark();
                reply.integer(5);
                reply.set_before(mark, 1);
            });
            assert_eq!(text_written, text);
        }
    }

    /// A reply as its writer means it.
    #[derive(Clone, Debug, PartialEq)]
    enum Meant {
        Simple(String),
        Error(String),
        Integer(i64),
        Bulk(Vec<u8>),
        Null,
        Double(f64),
        Boolean(bool),
        Verbatim(Vec<u8>),
        Array(Vec<Meant>),
        Set(Vec<Meant>),
        Push(Vec<Meant>),
        Map(Vec<(Meant, Meant)>),
    }

    fn meant() -> impl Strategy<Value = Meant> {
        let scalar = prop_oneof![
            "[a-z \r\n]{0,8}".prop_map(Meant::Simple),
            "[A-Z]{1,4} [a-z \r\n]{0,8}".prop_map(Meant::Error),
            any::<i64>().prop_map(Meant::Integer),
            (-20_i64..20).prop_map(Meant::Integer),
            prop::collection::vec(any::<u8>(), 0..150).prop_map(Meant::Bulk),
            Just(Meant::Null),
            any::<f64>().prop_map(Meant::Double),
            any::<bool>().prop_map(Meant::Boolean),
            prop::collection::vec(any::<u8>(), 0..12).prop_map(Meant::Verbatim),
        ];
        scalar.prop_recursive(4, 60, 14, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..14).prop_map(Meant::Array),
                prop::collection::vec(inner.clone(), 0..6).prop_map(Meant::Set),
                prop::collection::vec(inner.clone(), 0..6).prop_map(Meant::Push),
                prop::collection::vec((inner.clone(), inner), 0..6).prop_map(Meant::Map),
            ]
        })
    }

    fn write(reply: &mut Reply<'_>, meant: &Meant) {
        match meant {
            Meant::Simple(text) => reply.simple(text),
            Meant::Error(text) => reply.error(text),
            Meant::Integer(value) => reply.integer(*value),
            Meant::Bulk(bytes) => reply.bulk(bytes),
            Meant::Null => reply.null(),
            Meant::Double(value) => reply.double(*value),
            Meant::Boolean(value) => reply.boolean(*value),
            Meant::Verbatim(text) => reply.verbatim(b"txt", text),
            Meant::Array(elements) => {
                reply.array(elements.len());
                elements.iter().for_each(|element| write(reply, element));
            }
            Meant::Set(elements) => {
                let mark = reply.mark();
                elements.iter().for_each(|element| write(reply, element));
                reply.set_before(mark, elements.len());
            }
            Meant::Push(elements) => {
                reply.push(elements.len());
                elements.iter().for_each(|element| write(reply, element));
            }
            Meant::Map(pairs) => {
                reply.map(pairs.len());
                for (key, value) in pairs {
                    write(reply, key);
                    write(reply, value);
                }
            }
        }
    }

    /// Checks that `bytes` say what was meant, as far as `protocol` can say it.
    fn assert_read_back(bytes: &[u8], meant: &Meant, protocol: Protocol) {
        let is_resp3 = protocol == Protocol::Resp3;
        let line = |tag: &str, text: &str| format!("{tag}{}\r\n", text.replace(['\r', '\n'], " ")).into_bytes();
        let assert_elements = |tag: u8, meant: Vec<&Meant>| {
            assert_eq!(bytes[0], if is_resp3 { tag } else { b'*' });
            let elements = split_elements(bytes).expect("an aggregate was written");
            assert_eq!(elements.len(), meant.len());
            elements.zip(meant).for_each(|(bytes, meant)| assert_read_back(bytes, meant, protocol));
        };
        match meant {
            Meant::Simple(text) => assert_eq!(bytes, line("+", text)),
            Meant::Error(text) => {
                assert!(is_error(bytes));
                assert_eq!(bytes, line("-", text));
            }
            Meant::Integer(value) => assert_eq!(read_integer(bytes), Some(*value)),
            Meant::Bulk(text) => assert_eq!(read_bulk(bytes), Some(&text[..])),
            Meant::Null => assert_eq!(bytes, if is_resp3 { &b"_\r\n"[..] } else { b"$-1\r\n" }),
            Meant::Double(value) => {
                let text = if is_resp3 { &bytes[1..bytes.len() - 2] } else { read_bulk(bytes).expect("a string") };
                let read: f64 = std::str::from_utf8(text).expect("digits").parse().expect("a number");
                assert!(read == *value || (read.is_nan() && value.is_nan()), "{read} instead of {value}");
            }
            Meant::Boolean(value) if is_resp3 => assert_eq!(bytes, if *value { b"#t\r\n" } else { b"#f\r\n" }),
            Meant::Boolean(value) => assert_eq!(read_integer(bytes), Some(i64::from(*value))),
            Meant::Verbatim(text) if is_resp3 => {
                let expected = [format!("={}\r\ntxt:", text.len() + 4).as_bytes(), text, b"\r\n"].concat();
                assert_eq!(bytes, expected);
            }
            Meant::Verbatim(text) => assert_eq!(read_bulk(bytes), Some(&text[..])),
            Meant::Array(elements) => assert_elements(b'*', elements.iter().collect()),
            Meant::Set(elements) => assert_elements(b'~', elements.iter().collect()),
            Meant::Push(elements) => assert_elements(b'>', elements.iter().collect()),
            Meant::Map(pairs) => assert_elements(b'%', pairs.iter().flat_map(|(key, value)| [key, value]).collect()),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(meant in meant(), is_resp3: bool) {
            let protocol = if is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, protocol), &meant);
            assert_read_back(&out, &meant, protocol);

            let bytes = out.len();
            for cut in 0..bytes {
                prop_assert_eq!(skip_value(&out[..cut]), None, "cut at {}", cut);
            }
            out.extend_from_slice(b"+the next reply\r\n");
            prop_assert_eq!(skip_value(&out), Some(bytes));
        }
    }
}
