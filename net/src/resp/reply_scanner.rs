//! The end of a reply that is still arriving, found without looking at any of its bytes twice.
//!
//! For who passes replies on: nothing is kept here but how far it has come. A newcomer would expect a stack of arrays that are
//! open; the number of values that are still to come is enough to find the end.

use memchr::memchr;

use super::integer::parse_integer;
use super::value::ValueError;
use crate::limits::REPLY_LINE_BYTES_MAX;

/// Finds where a reply of either protocol ends.
#[derive(Debug, Default)]
pub struct ReplyScanner {
    /// Bytes of the reply that were looked at, of those that the caller still has.
    at: usize,
    /// Bytes of a string that are still to come, its end of line among them.
    skip: usize,
    /// Values that are still to come; 0 where none has begun.
    values_left: u64,
    has_begun: bool,
}

impl ReplyScanner {
    /// Looks at the reply that `bytes` begin with, of which the beginning was given before: the same bytes, less those that were
    /// [`forgotten`](Self::forget), and more behind them. Returns its length in `bytes` once it is whole, and begins with the next.
    ///
    /// # Errors
    /// [`ValueError::Malformed`] if that is no reply.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, ValueError> {
        if !self.has_begun {
            (self.has_begun, self.values_left) = (true, 1);
        }
        loop {
            let passed = self.skip.min(bytes.len().saturating_sub(self.at));
            self.at += passed;
            self.skip -= passed;
            if self.skip > 0 {
                return Ok(None);
            }
            if self.values_left == 0 {
                let end = self.at;
                *self = ReplyScanner::default();
                return Ok(Some(end));
            }
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some(newline) = memchr(b'\n', rest) else {
                return if rest.len() > REPLY_LINE_BYTES_MAX { Err(ValueError::Malformed) } else { Ok(None) };
            };
            let line = rest[..newline].strip_suffix(b"\r").filter(|line| memchr(b'\r', line).is_none());
            self.take_line(line.ok_or(ValueError::Malformed)?)?;
            self.at += newline + 1;
        }
    }

    /// Takes the first line of a value, without its end.
    fn take_line(&mut self, line: &[u8]) -> Result<(), ValueError> {
        let (kind, text) = line.split_first().ok_or(ValueError::Malformed)?;
        let length = || match text {
            // Null, as the older protocol has it.
            b"-1" => Ok(None),
            _ => match parse_integer(text).and_then(|length| u64::try_from(length).ok()) {
                Some(length) => Ok(Some(length)),
                None => Err(ValueError::Malformed),
            },
        };
        self.values_left -= 1;
        let more = match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => 0,
            b'$' | b'=' | b'!' => {
                if let Some(length) = length()? {
                    let length = usize::try_from(length).map_err(|_| ValueError::Malformed)?;
                    self.skip = length.checked_add(2).ok_or(ValueError::Malformed)?;
                }
                0
            }
            b'*' | b'~' | b'>' => length()?.unwrap_or(0),
            b'%' => length()?.unwrap_or(0).checked_mul(2).ok_or(ValueError::Malformed)?,
            _ => return Err(ValueError::Malformed),
        };
        let left = self.values_left.checked_add(more).filter(|left| i64::try_from(*left).is_ok());
        self.values_left = left.ok_or(ValueError::Malformed)?;
        Ok(())
    }

    /// Takes note that the first `bytes` of the reply are passed on, and not given again.
    ///
    /// # Panics
    /// If so many were not looked at.
    pub fn forget(&mut self, bytes: usize) {
        assert!(bytes <= self.at, "what was not looked at cannot be passed on");
        self.at -= bytes;
    }

    /// Bytes of the reply that has begun and that were looked at.
    pub fn seen(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::value::skip_value;
    use super::*;

    const REPLIES: [&[u8]; 12] = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":12\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$5\r\na\r\nbc\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n$-1\r\n",
        b"%1\r\n+a\r\n*1\r\n,1.5\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"~2\r\n#t\r\n(123456789012345678901234567890\r\n",
    ];

    proptest! {
        #[test]
        fn replies_end_where_they_end_however_they_arrive(
            which in proptest::collection::vec(0..REPLIES.len(), 1..6),
            pieces in proptest::collection::vec(1_usize..9, 1..200),
            passes_on in any::<bool>(),
        ) {
            let stream: Vec<u8> = which.iter().flat_map(|index| REPLIES[*index].to_vec()).collect();
            let (mut scanner, mut kept, mut found, mut passed) = (ReplyScanner::default(), Vec::new(), Vec::new(), 0);
            let (mut rest, mut turn) = (stream.as_slice(), 0);
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(pieces[turn % pieces.len()].min(rest.len()));
                (rest, turn) = (behind, turn + 1);
                kept.extend_from_slice(piece);
                while let Some(end) = scanner.advance(&kept).expect("they are replies") {
                    found.push(passed + end);
                    kept.drain(..end);
                    passed = 0;
                    if kept.is_empty() {
                        break;
                    }
                }
                if passes_on {
                    let seen = scanner.seen();
                    scanner.forget(seen);
                    kept.drain(..seen);
                    passed += seen;
                }
            }
            let lengths: Vec<usize> = which.iter().map(|index| REPLIES[*index].len()).collect();
            prop_assert_eq!(found, lengths);
        }

        #[test]
        fn any_bytes_end_where_a_value_ends(bytes in proptest::collection::vec(
            prop_oneof![Just(b'*'), Just(b'$'), Just(b'%'), Just(b'1'), Just(b'2'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..40,
        )) {
            let found = ReplyScanner::default().advance(&bytes);
            if let Ok(Some(end)) = found {
                prop_assert_eq!(skip_value(&bytes[..end]), Some(end));
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            &b"?\r\n"[..],
            b"\r\n",
            b"+a\n",
            b"$-2\r\n",
            b"$x\r\n",
            b"*99999999999999999999\r\n",
            b"%9223372036854775807\r\n+",
        ] {
            let mut scanner = ReplyScanner::default();
            assert!(matches!(scanner.advance(bytes), Err(ValueError::Malformed)), "{}", String::from_utf8_lossy(bytes));
        }
        let endless = vec![b'+'; REPLY_LINE_BYTES_MAX + 2];
        assert_eq!(ReplyScanner::default().advance(&endless), Err(ValueError::Malformed));
    }
}
