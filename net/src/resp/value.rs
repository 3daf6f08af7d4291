//! Encoded replies taken apart, as far as merging the replies of several shards into one needs it.
//!
//! Values are delimited, never decoded: an element of an array is the slice that encodes it.

use memchr::memchr;

use super::integer::parse_integer;

/// A reply that is not the one complete value it was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The value ends before it is complete, or is not RESP.
    #[error("not a complete RESP value")]
    Malformed,
    /// The value is of another kind than asked for.
    #[error("a RESP value of another kind: {}", char::from(*.0))]
    WrongKind(u8),
}

/// The bytes that the value at the start of `bytes` takes, all its elements included. None if it is incomplete or not
/// RESP.
pub fn skip_value(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut values_left = 1_usize;
    // Every round consumes at least one byte.
    while values_left > 0 {
        let (header, next) = read_header(bytes, at)?;
        at = next;
        values_left -= 1;
        match header {
            Header::Scalar => {}
            Header::Bulk(length) => {
                at = at.checked_add(length)?.checked_add(2)?;
                if at > bytes.len() {
                    return None;
                }
            }
            Header::Aggregate(count) => values_left = values_left.checked_add(count)?,
        }
    }
    Some(at)
}

/// The elements of an array, set, push message or map (keys and values in turn), each as the slice that encodes it.
///
/// # Errors
/// [`ValueError::WrongKind`] when `reply` is no such aggregate, [`ValueError::Malformed`] when it is not exactly one
/// complete value. An array that is null is of the wrong kind.
pub fn split_elements(reply: &[u8]) -> Result<Elements<'_>, ValueError> {
    if skip_value(reply) != Some(reply.len()) {
        return Err(ValueError::Malformed);
    }
    let kind = reply[0];
    match (kind, read_header(reply, 0)) {
        (b'*' | b'~' | b'>' | b'%', Some((Header::Aggregate(count), next))) => {
            Ok(Elements { bytes: &reply[next..], count })
        }
        _ => Err(ValueError::WrongKind(kind)),
    }
}

/// The elements of an aggregate; see [`split_elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.count = self.count.checked_sub(1)?;
        let bytes = skip_value(self.bytes).expect("the whole reply was found well-formed");
        let (element, rest) = self.bytes.split_at(bytes);
        self.bytes = rest;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// The value of an integer reply; none if `reply` is anything else.
pub fn read_integer(reply: &[u8]) -> Option<i64> {
    parse_integer(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes of a string reply; none if `reply` is anything else, null included.
pub fn read_bulk(reply: &[u8]) -> Option<&[u8]> {
    if reply.first() != Some(&b'$') {
        return None;
    }
    match read_header(reply, 0)? {
        (Header::Bulk(length), next) => reply.get(next..next.checked_add(length)?),
        _ => None,
    }
}

/// Whether `reply` is an error.
pub fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

enum Header {
    /// The line is the whole value.
    Scalar,
    /// So many bytes and a line end follow.
    Bulk(usize),
    /// So many values follow.
    Aggregate(usize),
}

/// Reads the first line of the value at `at`, and tells the position after it.
fn read_header(bytes: &[u8], at: usize) -> Option<(Header, usize)> {
    let rest = bytes.get(at..)?;
    let kind = *rest.first()?;
    let line_bytes = memchr(b'\r', rest)?;
    if rest.get(line_bytes + 1) != Some(&b'\n') {
        return None;
    }
    let digits = &rest[1..line_bytes];
    let header = match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Header::Scalar,
        b'$' | b'*' if digits == b"-1" => Header::Scalar,
        b'$' | b'=' | b'!' => Header::Bulk(read_count(digits)?),
        b'*' | b'~' | b'>' => Header::Aggregate(read_count(digits)?),
        b'%' => Header::Aggregate(read_count(digits)?.checked_mul(2)?),
        _ => return None,
    };
    Some((header, at + line_bytes + 2))
}

fn read_count(digits: &[u8]) -> Option<usize> {
    usize::try_from(parse_integer(digits)?).ok()
}
