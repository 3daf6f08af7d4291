//! Ziplists: what listpacks were before Redis 7.0 (`ziplist.c` of Redis 6.2). They are read only.
//!
//! ```text
//! ziplist   [bytes u32 LE][offset of the last element u32 LE][elements u16 LE, 65535 = unknown]{element}…[0xFF]
//! element   [length of the one before it: u8, or 0xFE and u32 LE][encoded …]
//! encoded   [00llllll][bytes …] | [01llllll][l][bytes …] | [10……][l u32 BE][bytes …]
//!           [0xC0][i16] | [0xD0][i32] | [0xE0][i64] | [0xF0][i24] | [0xFE][i8]                        LE
//!           [1111nnnn]                                                                        n - 1, from 0 to 12
//! ```

use crate::listpack::Element;
use crate::{Error, Result};

const HEADER_BYTES: usize = 10;
const END: u8 = 0xFF;
const UNKNOWN_COUNT: u16 = u16::MAX;

/// The elements of a ziplist, each of which is checked when it is taken.
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
    count: u16,
    seen: usize,
    /// Offset of the last element.
    last: usize,
    /// Offset and bytes of the element before.
    before: (usize, usize),
}

impl<'a> Elements<'a> {
    pub(crate) fn of(ziplist: &'a [u8]) -> Result<Elements<'a>> {
        let (header, rest) = ziplist.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Malformed)?;
        let [b0, b1, b2, b3, l0, l1, l2, l3, c0, c1] = *header;
        let last = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        match rest.split_last() {
            Some((&END, rest)) if u32::from_le_bytes([b0, b1, b2, b3]) as usize == ziplist.len() => {
                let before = (HEADER_BYTES, 0);
                Ok(Elements { rest, count: u16::from_le_bytes([c0, c1]), seen: 0, last, before })
            }
            _ => Err(Error::Malformed),
        }
    }

    /// The next element; `None` behind the last one, if it is where the header says, and there were as many.
    pub(crate) fn next(&mut self) -> Result<Option<Element<'a>>> {
        let (start, length) = self.before;
        if self.rest.is_empty() {
            let is_complete = self.count == UNKNOWN_COUNT || usize::from(self.count) == self.seen;
            return if is_complete && start == self.last { Ok(None) } else { Err(Error::Malformed) };
        }
        let (back, back_bytes) = back_length(self.rest).ok_or(Error::Malformed)?;
        let (element, bytes) = split(&self.rest[back_bytes..]).ok_or(Error::Malformed)?;
        if back != length {
            return Err(Error::Malformed);
        }
        self.before = (start + length, back_bytes + bytes);
        self.rest = &self.rest[back_bytes + bytes..];
        self.seen += 1;
        Ok(Some(element))
    }
}

/// The length of the element before, and how many bytes it takes.
fn back_length(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.split_first()? {
        (&0xFE, rest) => Some((u32::from_le_bytes(*rest.first_chunk()?) as usize, 5)),
        (&END, _) => None,
        (&length, _) => Some((length.into(), 1)),
    }
}

/// The element at the beginning of `bytes`, and how many bytes it takes there.
fn split(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let number = |count: usize| {
        let bytes = rest.get(..count)?;
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
        0..=0x3F => string(1, first.into()),
        0x40..=0x7F => string(2, usize::from(first & 0x3F) << 8 | usize::from(*rest.first()?)),
        0x80..=0xBF => string(5, u32::from_be_bytes(*rest.first_chunk()?) as usize),
        0xC0 => number(2),
        0xD0 => number(4),
        0xE0 => number(8),
        0xF0 => number(3),
        0xFE => number(1),
        0xF1..=0xFD => Some((Element::Integer(i64::from(first & 0x0F) - 1), 1)),
        _ => None,
    }
}
