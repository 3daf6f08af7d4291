//! Listpacks: strings and integers in one piece (<https://github.com/antirez/listpack/blob/master/listpack.md>).
//!
//! ```text
//! listpack  [bytes u32 LE][elements u16 LE, 65535 = unknown]{element}…[0xFF]
//! element   [encoded …][length of it, from its end to its beginning in groups of seven bits]
//! encoded   [0nnnnnnn] | [110nnnnn][n] | [0xF1][i16] | [0xF2][i24] | [0xF3][i32] | [0xF4][i64]       LE but the second
//!           [10llllll][bytes …] | [1110llll][l][bytes …] | [0xF0][l u32 LE][bytes …]
//! ```

use std::borrow::Cow;

use crate::number::integer;
use crate::{Error, Result};

const HEADER_BYTES: usize = 6;
const END: u8 = 0xFF;
/// The number of elements that says nothing.
const UNKNOWN_COUNT: u16 = u16::MAX;

/// An element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
}

impl<'a> Element<'a> {
    /// The element as a string.
    pub(crate) fn text(self) -> Cow<'a, [u8]> {
        match self {
            Element::Integer(number) => Cow::Owned(number.to_string().into_bytes()),
            Element::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// The element as an integer.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none.
    pub(crate) fn integer(self) -> Result<i64> {
        match self {
            Element::Integer(number) => Ok(number),
            Element::Bytes(bytes) => integer(bytes).ok_or(Error::Malformed),
        }
    }
}

/// The elements of a listpack, each of which is checked when it is taken.
#[derive(Clone)]
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
    count: u16,
    seen: usize,
}

impl<'a> Elements<'a> {
    pub(crate) fn of(listpack: &'a [u8]) -> Result<Elements<'a>> {
        let (header, rest) = listpack.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Malformed)?;
        let [b0, b1, b2, b3, c0, c1] = *header;
        let (bytes, count) = (u32::from_le_bytes([b0, b1, b2, b3]), u16::from_le_bytes([c0, c1]));
        match rest.split_last() {
            Some((&END, rest)) if bytes as usize == listpack.len() => Ok(Elements { rest, count, seen: 0 }),
            _ => Err(Error::Malformed),
        }
    }

    /// The next element; `None` behind the last one, if there were as many as the header says.
    pub(crate) fn next(&mut self) -> Result<Option<Element<'a>>> {
        if self.rest.is_empty() {
            let is_complete = self.count == UNKNOWN_COUNT || usize::from(self.count) == self.seen;
            return if is_complete { Ok(None) } else { Err(Error::Malformed) };
        }
        let (element, length) = split(self.rest).ok_or(Error::Malformed)?;
        let back = Back::of(length);
        let rest = &self.rest[length..];
        self.rest = rest.strip_prefix(back.bytes()).ok_or(Error::Malformed)?;
        self.seen += 1;
        Ok(Some(element))
    }

    /// The next element, which must be there.
    pub(crate) fn expect(&mut self) -> Result<Element<'a>> {
        self.next()?.ok_or(Error::Malformed)
    }
}

/// The element at the beginning of `bytes`, and how many bytes it takes there.
fn split(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let number = |count: usize| {
        let bytes = rest.get(..count)?;
        // The sign is the highest bit of the last byte.
        let fill = if bytes[count - 1] & 0x80 == 0 { 0 } else { 0xFF };
        let mut all = [fill; 8];
        all[..count].copy_from_slice(bytes);
        Some((Element::Integer(i64::from_le_bytes(all)), 1 + count))
    };
    let string = |start: usize, length: usize| {
        let end = start.checked_add(length)?;
        Some((Element::Bytes(bytes.get(start..end)?), end))
    };
    match first {
        0..=0x7F => Some((Element::Integer(first.into()), 1)),
        0x80..=0xBF => string(1, usize::from(first & 0x3F)),
        0xC0..=0xDF => {
            let number = i64::from(first & 0x1F) << 8 | i64::from(*rest.first()?);
            let number = if number >= 1 << 12 { number - (1 << 13) } else { number };
            Some((Element::Integer(number), 2))
        }
        0xE0..=0xEF => string(2, usize::from(first & 0x0F) << 8 | usize::from(*rest.first()?)),
        0xF0 => string(5, u32::from_le_bytes(*rest.first_chunk()?) as usize),
        0xF1 => number(2),
        0xF2 => number(3),
        0xF3 => number(4),
        0xF4 => number(8),
        _ => None,
    }
}

/// The length of an element as it stands behind it.
struct Back {
    bytes: [u8; 5],
    count: usize,
}

impl Back {
    fn of(length: usize) -> Back {
        // Of what groups of seven bits could tell the highest numbers get a byte more.
        let count = match length {
            0..=127 => 1,
            128..16383 => 2,
            16383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        };
        let mut bytes = [0; 5];
        for (index, byte) in bytes[..count].iter_mut().enumerate() {
            let group = (length >> (7 * (count - 1 - index))) as u8 & 0x7F;
            *byte = if index == 0 { group } else { group | 0x80 };
        }
        Back { bytes, count }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

/// A listpack that is being made.
pub(crate) struct Builder {
    bytes: Vec<u8>,
    count: usize,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder { bytes: vec![0; HEADER_BYTES], count: 0 }
    }

    /// Returns the number of elements.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Returns the bytes that the listpack has if it ends here.
    pub(crate) fn byte_count(&self) -> usize {
        self.bytes.len() + 1
    }

    /// Adds a string, as an integer if it is the text of one.
    pub(crate) fn push(&mut self, string: &[u8]) {
        if let Some(number) = integer(string) {
            return self.push_integer(number);
        }
        let (start, length) = (self.bytes.len(), string.len());
        match length {
            0..64 => self.bytes.push(0x80 | length as u8),
            64..4096 => self.bytes.extend_from_slice(&[0xE0 | (length >> 8) as u8, length as u8]),
            _ => {
                self.bytes.push(0xF0);
                self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(string);
        self.end(start);
    }

    /// Adds an integer.
    pub(crate) fn push_integer(&mut self, number: i64) {
        let start = self.bytes.len();
        let bytes = number.to_le_bytes();
        match number {
            0..=127 => self.bytes.push(number as u8),
            -4096..=4095 => self.bytes.extend_from_slice(&[0xC0 | (number >> 8) as u8 & 0x1F, number as u8]),
            -32_768..=32_767 => self.number(0xF1, &bytes[..2]),
            -8_388_608..=8_388_607 => self.number(0xF2, &bytes[..3]),
            -2_147_483_648..=2_147_483_647 => self.number(0xF3, &bytes[..4]),
            _ => self.number(0xF4, &bytes),
        }
        self.end(start);
    }

    fn number(&mut self, encoding: u8, bytes: &[u8]) {
        self.bytes.push(encoding);
        self.bytes.extend_from_slice(bytes);
    }

    fn end(&mut self, start: usize) {
        let back = Back::of(self.bytes.len() - start);
        self.bytes.extend_from_slice(back.bytes());
        self.count += 1;
    }

    /// Sets the first element, which is an integer from 0 to 127, to another one.
    pub(crate) fn set_first(&mut self, number: u8) {
        assert!(self.count > 0 && self.bytes[HEADER_BYTES] < 0x80 && number < 0x80, "the first element takes one byte");
        self.bytes[HEADER_BYTES] = number;
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let (bytes, count) = (self.bytes.len() as u32, u16::try_from(self.count).unwrap_or(UNKNOWN_COUNT));
        self.bytes[..4].copy_from_slice(&bytes.to_le_bytes());
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_as_they_were_added() {
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for length in [0, 1, 63, 64, 4095, 4096, 16_370, 16_380, 16_385, 70_000] {
            expected.push(vec![b'x'; length]);
        }
        for bits in 0..64 {
            for number in [
                (1i64 << bits).wrapping_sub(1),
                1 << bits,
                (1i64 << bits).wrapping_neg(),
                (-1i64 << bits).wrapping_sub(1),
            ] {
                expected.push(number.to_string().into_bytes());
            }
        }
        let mut builder = Builder::new();
        expected.iter().for_each(|string| builder.push(string));
        let bytes = builder.finish();
        let (mut elements, mut read) = (Elements::of(&bytes).unwrap(), Vec::new());
        while let Some(element) = elements.next().unwrap() {
            read.push(element.text().into_owned());
        }
        assert_eq!(read, expected);
    }

    #[test]
    fn a_count_that_is_wrong_is_refused() {
        let mut builder = Builder::new();
        builder.push(b"a");
        let mut bytes = builder.finish();
        bytes[4] = 2;
        let mut elements = Elements::of(&bytes).unwrap();
        assert_eq!(elements.next(), Ok(Some(Element::Bytes(b"a"))));
        assert_eq!(elements.next(), Err(Error::Malformed));
    }
}
