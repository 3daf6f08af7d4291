//! LZF, the compression of strings (<http://oldhome.schmorp.de/marc/liblzf.html>).
//!
//! ```text
//! literal     [000lllll][l + 1 bytes]
//! reference   [lllooooo][oooooooo]              l + 2 bytes from o + 1 bytes back, l from 1 to 6
//!             [111ooooo][l u8][oooooooo]        l + 9 bytes
//! ```
//!
//! What a newcomer would get wrong: others look for repetitions in other places and so write other bytes, which all readers read.
//! These are the places of liblzf 3 as Redis builds it, so that payloads are equal; and it gives up where liblzf does.

use crate::{Error, Result};

/// Bytes of a literal at most.
const LITERAL_BYTES_MAX: usize = 32;
/// Bytes that a reference goes back at most.
const BACK_MAX: usize = 1 << 13;
/// Bytes of a reference at most.
const REFERENCE_BYTES_MAX: usize = 264;
/// Places that are remembered, by a hash of three bytes.
const PLACES: usize = 1 << 16;

/// Compresses one string after the other.
#[derive(Default)]
pub(crate) struct Compressor {
    /// The last place at which three bytes of each hash began, counted over all strings.
    places: Vec<u32>,
    /// The place at which the string begins that is compressed: what is before it is of others.
    start: u32,
}

impl Compressor {
    /// Compresses `input` to fewer than `bytes_max` bytes, or not at all.
    pub(crate) fn compress(&mut self, input: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        // Place 0 is none.
        let length = u32::try_from(input.len()).ok()?;
        if self.places.is_empty() || self.start.checked_add(length).is_none() {
            (self.places, self.start) = (vec![0; PLACES], 1);
        }
        let compressed = self.compress_from(self.start, input, bytes_max);
        self.start += length;
        compressed
    }

    fn compress_from(&mut self, start: u32, input: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        let mut output = Output { bytes: Vec::with_capacity(bytes_max.min(input.len())), start: 0, length: 0 };
        output.begin();
        let mut at = 0;
        while at + 2 < input.len() {
            let place = &mut self.places[place_of(&input[at..])];
            // The very first place is never referred to.
            let reference = std::mem::replace(place, start + at as u32).saturating_sub(start) as usize;
            let is_match =
                reference > 0 && at - reference <= BACK_MAX && input[reference..reference + 3] == input[at..at + 3];
            if !is_match {
                if output.bytes.len() >= bytes_max {
                    return None;
                }
                output.literal(input[at]);
                at += 1;
                continue;
            }
            output.end();
            if output.bytes.len() + 4 >= bytes_max {
                return None;
            }
            let length = matching(input, reference, at);
            output.reference(at - reference - 1, length);
            output.begin();
            at += length;
            if at + 2 >= input.len() {
                break;
            }
            // Of what was skipped, the last two places are remembered.
            for place in at - 2..at {
                self.places[place_of(&input[place..])] = start + place as u32;
            }
        }
        if output.bytes.len() + 3 > bytes_max {
            return None;
        }
        input[at..].iter().for_each(|&byte| output.literal(byte));
        output.end();
        Some(output.bytes)
    }
}

fn place_of(bytes: &[u8]) -> usize {
    let hash = u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2]);
    (hash >> 8).wrapping_sub(hash.wrapping_mul(5)) as usize % PLACES
}

/// Returns how many bytes at `at` are as those at `reference`, of which three are known to be.
fn matching(input: &[u8], reference: usize, at: usize) -> usize {
    let max = (input.len() - at - 2).min(REFERENCE_BYTES_MAX);
    let is_same = |length: usize| input[reference + length] == input[at + length];
    let mut length = 3;
    // The first steps look beyond the bound, if it is not lower still: the input has so many bytes.
    if max > 16 {
        while length <= 18 && is_same(length) {
            length += 1;
        }
        if length <= 18 {
            return length;
        }
    }
    while length < max && is_same(length) {
        length += 1;
    }
    length
}

/// Compressed bytes with a literal at their end that is not complete.
struct Output {
    bytes: Vec<u8>,
    /// The place of the literal's length.
    start: usize,
    length: usize,
}

impl Output {
    fn begin(&mut self) {
        (self.start, self.length) = (self.bytes.len(), 0);
        self.bytes.push(0);
    }

    fn literal(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.length += 1;
        if self.length == LITERAL_BYTES_MAX {
            self.end();
            self.begin();
        }
    }

    fn reference(&mut self, back: usize, length: usize) {
        if length < 9 {
            self.bytes.push((back >> 8) as u8 | ((length - 2) << 5) as u8);
        } else {
            self.bytes.push((back >> 8) as u8 | 0b1110_0000);
            self.bytes.push((length - 9) as u8);
        }
        self.bytes.push(back as u8);
    }

    fn end(&mut self) {
        match self.length.checked_sub(1) {
            Some(length) => self.bytes[self.start] = length as u8,
            None => self.bytes.truncate(self.start),
        }
    }
}

/// The `length` bytes that were compressed to `input`.
///
/// # Errors
/// [`Error::Malformed`] if they are not so many, or a reference goes back behind the first byte.
pub(crate) fn decompress(mut input: &[u8], length: usize) -> Result<Vec<u8>> {
    let mut output: Vec<u8> = Vec::with_capacity(length);
    while let Some((&control, rest)) = input.split_first() {
        input = rest;
        if control < 32 {
            let (literal, rest) = input.split_at_checked(usize::from(control) + 1).ok_or(Error::Malformed)?;
            output.extend_from_slice(literal);
            input = rest;
        } else {
            let mut count = usize::from(control >> 5) + 2;
            if control >> 5 == 7 {
                count += usize::from(take(&mut input)?);
            }
            let back = (usize::from(control & 31) << 8 | usize::from(take(&mut input)?)) + 1;
            let from = output.len().checked_sub(back).ok_or(Error::Malformed)?;
            if output.len() + count > length {
                return Err(Error::Malformed);
            }
            for at in from..from + count {
                output.push(output[at]);
            }
        }
        if output.len() > length {
            return Err(Error::Malformed);
        }
    }
    if output.len() == length { Ok(output) } else { Err(Error::Malformed) }
}

fn take(input: &mut &[u8]) -> Result<u8> {
    let (&byte, rest) = input.split_first().ok_or(Error::Malformed)?;
    *input = rest;
    Ok(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_compressed_is_read_again(words in proptest::collection::vec(proptest::collection::vec(0..3u8, 1..40), 0..60)) {
            let mut compressor = Compressor::default();
            // What it has seen before makes no difference.
            for input in [&words[..words.len() / 2], &words].map(<[Vec<u8>]>::concat) {
                let Some(bytes) = compressor.compress(&input, input.len()) else { continue };
                prop_assert!(bytes.len() <= input.len());
                prop_assert_eq!(decompress(&bytes, input.len()), Ok(input.clone()));
                prop_assert_eq!(decompress(&bytes, input.len() + 1), Err(Error::Malformed));
                prop_assert_eq!(Compressor::default().compress(&input, input.len()), Some(bytes));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60), length in 0..600usize) {
            if let Ok(output) = decompress(&bytes, length) {
                prop_assert_eq!(output.len(), length);
            }
        }
    }

    #[test]
    fn repetitions_become_short() {
        for length in [30, 100, 265, 1000, 100_000] {
            let input = vec![b'x'; length];
            let bytes = Compressor::default().compress(&input, length - 4).expect("it is shorter");
            assert!(bytes.len() <= 8 + 3 * length.div_ceil(REFERENCE_BYTES_MAX), "{length}: {}", bytes.len());
            assert_eq!(decompress(&bytes, length), Ok(input));
        }
        assert_eq!(Compressor::default().compress(b"no three bytes come again", 21), None);
    }
}
