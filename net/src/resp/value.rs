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

/// Returns true if `reply` is an error.
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
    // None where the line is empty.
    let digits = rest.get(1..line_bytes)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_value_is_delimited() {
        for (reply, bytes) in [
            (&b"+OK\r\n+next"[..], 5),
            (b"$-1\r\n", 5),
            (b"*-1\r\n", 5),
            (b"$0\r\n\r\n$", 6),
            (b"$2\r\n\r\n\r\n", 8),
            (b"*2\r\n*0\r\n*1\r\n:1\r\nrest", 16),
            (b"%1\r\n+a\r\n>1\r\n_\r\n", 15),
            (b"=5\r\ntxt:a\r\n", 11),
            (b"!5\r\nERR a\r\n", 11),
        ] {
            assert_eq!(skip_value(reply), Some(bytes), "{}", reply.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_complete_value_is_not_delimited() {
        for reply in [
            &b""[..],
            b"+OK\r",
            b"+OK\rx",
            b"\r\n",
            b"?1\r\n",
            b"$3\r\nab\r\n",
            b"$-2\r\n",
            b"~-1\r\n",
            b"*2\r\n:1\r\n",
            b"%1\r\n:1\r\n",
            b"$9223372036854775807\r\n",
            b"*9223372036854775807\r\n:1\r\n",
            b"*2\r\n*9223372036854775807\r\n*9223372036854775807\r\n*9223372036854775807\r\n",
            b"%9223372036854775807\r\n",
        ] {
            assert_eq!(skip_value(reply), None, "{}", reply.escape_ascii());
        }
    }

    #[test]
    fn nesting_as_deep_as_the_input_is_delimited() {
        let reply = [b"*1\r\n".repeat(1_000_000), b":1\r\n".to_vec()].concat();
        assert_eq!(skip_value(&reply), Some(reply.len()));
    }

    #[test]
    fn elements_are_the_slices_that_encode_them() {
        let reply = b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n_\r\n";
        let elements = split_elements(reply).expect("an array");
        assert_eq!(elements.len(), 3);
        let expected: [&[u8]; 3] = [b"$1\r\na\r\n", b"*2\r\n:1\r\n:2\r\n", b"_\r\n"];
        assert_eq!(elements.collect::<Vec<_>>(), expected);
        assert_eq!(split_elements(b"*0\r\n").expect("an empty array").count(), 0);
        assert_eq!(split_elements(b"%1\r\n:1\r\n:2\r\n").expect("a map").len(), 2);
    }

    #[test]
    fn only_one_whole_aggregate_is_split() {
        assert_eq!(split_elements(b"").err(), Some(ValueError::Malformed));
        assert_eq!(split_elements(b"*1\r\n").err(), Some(ValueError::Malformed));
        assert_eq!(split_elements(b"*1\r\n:1\r\n:2\r\n").err(), Some(ValueError::Malformed));
        assert_eq!(split_elements(b"*-1\r\n").err(), Some(ValueError::WrongKind(b'*')));
        assert_eq!(split_elements(b"-ERR no\r\n").err(), Some(ValueError::WrongKind(b'-')));
    }

    #[test]
    fn only_values_of_the_kind_asked_for_are_read() {
        assert_eq!(read_integer(b":-5\r\n"), Some(-5));
        assert_eq!(read_integer(b":5"), None);
        assert_eq!(read_integer(b"$1\r\n5\r\n"), None);
        assert_eq!(read_bulk(b"$3\r\na\r\n\r\n"), Some(&b"a\r\n"[..]));
        assert_eq!(read_bulk(b"$-1\r\n"), None);
        assert_eq!(read_bulk(b"$3\r\nab"), None);
        assert_eq!(read_bulk(b"=3\r\nabc\r\n"), None);
        assert!(is_error(b"-ERR no\r\n") && is_error(b"!2\r\nno\r\n") && !is_error(b"+OK\r\n"));
    }

    proptest! {
        #[test]
        fn a_value_never_reaches_past_its_bytes(
            bytes in prop::collection::vec(prop::sample::select(b"*%$~:+_-\r\n0129".to_vec()), 0..40)
        ) {
            if let Some(length) = skip_value(&bytes) {
                prop_assert!((1..=bytes.len()).contains(&length));
                if let Ok(elements) = split_elements(&bytes[..length]) {
                    prop_assert!(elements.map(<[u8]>::len).sum::<usize>() < length);
                }
            }
        }
    }
}
