//! The bytes of a value as they are taken one after the other: lengths, strings, and what they may become.
//!
//! ```text
//! length    [00llllll] | [01llllll][l] | [0x80][l u32 BE] | [0x81][l u64 BE]
//! string    [length][bytes …]
//!           [0xC0][i8] | [0xC1][i16 LE] | [0xC2][i32 LE]
//!           [0xC3][compressed length][length][LZF …]
//! ```

use std::borrow::Cow;

use crate::limits::{INFLATED_PER_BYTE_MAX, INFLATED_SHARE, STRING_OVERHEAD};
use crate::value::{StreamId, Strings};
use crate::{Bounds, Error, Result, lzf};

/// A length, or how the string is written that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Plain(u64),
    Encoded(u8),
}

/// The bytes that are left, and what they may still become.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    bounds: Bounds,
    /// Bytes that may still be kept of a collection.
    kept_left: usize,
    /// Bytes that pieces of a collection may still have, when they are not compressed.
    inflated_left: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], bounds: Bounds) -> Reader<'a> {
        let inflated_left = bounds.collection_bytes.saturating_mul(INFLATED_SHARE);
        Reader { bytes, bounds, kept_left: bounds.collection_bytes, inflated_left }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Error::Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(Error::Malformed)?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn length_or_encoding(&mut self) -> Result<Length> {
        let first = self.byte()?;
        Ok(Length::Plain(match first >> 6 {
            0 => first.into(),
            1 => u64::from(first & 0x3F) << 8 | u64::from(self.byte()?),
            2 if first == 0x80 => u32::from_be_bytes(self.array()?).into(),
            2 if first == 0x81 => u64::from_be_bytes(self.array()?),
            2 => return Err(Error::Malformed),
            _ => return Ok(Length::Encoded(first & 0x3F)),
        }))
    }

    /// A number that is written as a length.
    pub(crate) fn length(&mut self) -> Result<u64> {
        match self.length_or_encoding()? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(_) => Err(Error::Malformed),
        }
    }

    /// The length of something that has to be there.
    fn size(&mut self) -> Result<usize> {
        usize::try_from(self.length()?).map_err(|_| Error::Malformed)
    }

    /// A number of elements. None at all is what no Redis writes.
    pub(crate) fn count(&mut self) -> Result<u64> {
        self.length().and_then(|count| if count > 0 { Ok(count) } else { Err(Error::Malformed) })
    }

    /// A string, uncompressed to at most `bytes_max` bytes.
    fn string_within(&mut self, bytes_max: usize) -> Result<Cow<'a, [u8]>> {
        let encoding = match self.length_or_encoding()? {
            Length::Plain(length) => {
                let length = usize::try_from(length).map_err(|_| Error::Malformed)?;
                let string = self.take(length)?;
                return if length <= bytes_max { Ok(Cow::Borrowed(string)) } else { Err(Error::TooLarge) };
            }
            Length::Encoded(encoding) => encoding,
        };
        let number = match encoding {
            0 => i32::from(i8::from_le_bytes(self.array()?)),
            1 => i32::from(i16::from_le_bytes(self.array()?)),
            2 => i32::from_le_bytes(self.array()?),
            3 => {
                let (compressed_length, length) = (self.size()?, self.size()?);
                let compressed = self.take(compressed_length)?;
                if length == 0 || length > compressed_length.saturating_mul(INFLATED_PER_BYTE_MAX) {
                    return Err(Error::Malformed);
                }
                return if length <= bytes_max {
                    lzf::decompress(compressed, length).map(Cow::Owned)
                } else {
                    Err(Error::TooLarge)
                };
            }
            _ => return Err(Error::Malformed),
        };
        Ok(Cow::Owned(number.to_string().into_bytes()))
    }

    /// The string that is the whole value.
    pub(crate) fn value(&mut self) -> Result<Vec<u8>> {
        self.string_within(self.bounds.string_bytes).map(Cow::into_owned)
    }

    /// A piece that has elements in it.
    pub(crate) fn piece(&mut self) -> Result<Cow<'a, [u8]>> {
        let piece = self.string_within(self.inflated_left)?;
        self.inflated_left -= piece.len();
        Ok(piece)
    }

    /// A string of the collection, which is not kept yet.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        self.string_within(self.kept_left)
    }

    /// Keeps a string of the collection.
    pub(crate) fn keep(&mut self, strings: &mut Strings, string: &[u8]) -> Result<()> {
        self.pay(string.len() + STRING_OVERHEAD)?;
        strings.push(string);
        Ok(())
    }

    /// Reads a string of the collection and keeps it.
    pub(crate) fn keep_next(&mut self, strings: &mut Strings) -> Result<()> {
        let string = self.string()?;
        self.keep(strings, &string)
    }

    /// Counts bytes of the collection before they are kept.
    pub(crate) fn pay(&mut self, bytes: usize) -> Result<()> {
        self.kept_left = self.kept_left.checked_sub(bytes).ok_or(Error::TooLarge)?;
        Ok(())
    }

    /// A time, Unix milliseconds.
    pub(crate) fn time(&mut self) -> Result<u64> {
        let time = i64::from_le_bytes(self.array()?);
        u64::try_from(time).map_err(|_| Error::Malformed)
    }

    /// An id that is written as two numbers.
    pub(crate) fn id(&mut self) -> Result<StreamId> {
        Ok(StreamId { ms: self.length()?, sequence: self.length()? })
    }

    /// An id that is written as sixteen bytes.
    pub(crate) fn raw_id(&mut self) -> Result<StreamId> {
        self.array().map(StreamId::read)
    }
}
