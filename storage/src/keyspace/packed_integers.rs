//! A packed set of nothing but integers: their bytes, ascending, all as wide as the widest needs.

use super::packed::{Packed, STRINGS};
use crate::rows::Visit;

/// Bytes of the longest integer as text.
const TEXT_BYTES: usize = 20;

/// The integer whose text `text` is, as it would be written: no sign but a minus, no leading zeros.
pub(super) fn read_integer(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let is_written_so = match digits {
        [b'0'] => !is_negative,
        [b'1'..=b'9', ..] => digits.len() < TEXT_BYTES,
        _ => false,
    };
    if !is_written_so {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        let digit = i64::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        // Downwards: there is one more negative integer.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    if is_negative { Some(value) } else { value.checked_neg() }
}

/// Writes `value` to the end of `text`; returns what is written.
fn write_integer(value: i64, text: &mut [u8; TEXT_BYTES]) -> &[u8] {
    let (mut rest, mut at) = (value.unsigned_abs(), TEXT_BYTES);
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        text[at] = b'-';
    }
    &text[at..]
}

/// The bytes that `value` needs: 2, 4 or 8.
fn width_of(value: i64) -> u8 {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

/// The last `width` bytes of `value`.
fn bytes_of(value: &[u8; 8], width: u8) -> &[u8] {
    &value[8 - usize::from(width)..]
}

impl Packed {
    /// Returns whether the elements are integers.
    pub(super) fn has_integers(&self) -> bool {
        self.form != STRINGS
    }

    /// The integer with `index` others before it.
    ///
    /// # Panics
    /// If there are not so many, or if elements are no integers.
    pub(super) fn integer(&self, index: usize) -> i64 {
        let width = usize::from(self.form);
        let bytes = &self.elements()[index * width..(index + 1) * width];
        match bytes {
            [a, b] => i16::from_be_bytes([*a, *b]).into(),
            [a, b, c, d] => i32::from_be_bytes([*a, *b, *c, *d]).into(),
            bytes => i64::from_be_bytes(bytes.try_into().expect("integers of two, four or eight bytes")),
        }
    }

    /// The place of `value` among the integers, or that which it would have.
    pub(super) fn search_integer(&self, value: i64) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = usize::midpoint(from, to);
            match self.integer(middle).cmp(&value) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    /// Inserts `value` at `index`, where [`Packed::search_integer`] has looked for it. A collection without elements becomes one of
    /// integers.
    pub(super) fn insert_integer(&mut self, index: usize, value: i64) {
        let width = width_of(value);
        if self.is_empty() {
            self.form = width;
        } else if width > self.form {
            let all: Vec<i64> = (0..self.count).map(|index| self.integer(index)).collect();
            let bytes: Vec<u8> = all.iter().flat_map(|value| bytes_of(&value.to_be_bytes(), width).to_vec()).collect();
            self.splice_bytes(0..self.elements().len(), &bytes);
            self.form = width;
        }
        let at = index * usize::from(self.form);
        let form = self.form;
        self.splice_bytes(at..at, bytes_of(&value.to_be_bytes(), form));
        self.count += 1;
    }

    /// Removes the integer with `index` others before it.
    pub(super) fn remove_integer(&mut self, index: usize) {
        let width = usize::from(self.form);
        self.splice_bytes(index * width..(index + 1) * width, &[]);
        self.count -= 1;
    }

    /// Turns integers into strings, in their order.
    pub(super) fn spell_integers(&mut self) {
        let all: Vec<i64> = (0..self.count).map(|index| self.integer(index)).collect();
        self.clear();
        let mut text = [0; TEXT_BYTES];
        for value in all {
            self.push(&[write_integer(value, &mut text)]);
        }
    }

    /// Visits the text of each integer, until `visit` breaks.
    pub(super) fn each_integer(&self, visit: Visit<'_>) {
        for index in 0..self.count {
            if self.visit_integer(index, visit).is_break() {
                return;
            }
        }
    }

    /// Visits the text of one integer.
    pub(super) fn visit_integer<T>(&self, index: usize, visit: &mut dyn FnMut(&[u8], &[u8]) -> T) -> T {
        let mut text = [0; TEXT_BYTES];
        visit(write_integer(self.integer(index), &mut text), &[])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::key::Slot;
    use crate::keyspace::meta::{Prior, Type};

    #[test]
    fn only_integers_as_they_are_written_are_read() {
        for text in
            ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "1x", "9223372036854775808", "-9223372036854775809"]
        {
            assert_eq!(read_integer(text.as_bytes()), None, "{text}");
        }
        for value in [0, 1, -1, 10, i64::MAX, i64::MIN, 32_768, -32_769, 2_147_483_648] {
            assert_eq!(read_integer(value.to_string().as_bytes()), Some(value));
            assert_eq!(write_integer(value, &mut [0; TEXT_BYTES]), value.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn integers_are_kept_in_their_order(
            steps in proptest::collection::vec((any::<bool>(), -40_000i64..40_000, 0..3u32), 1..60),
        ) {
            let prior = Prior::absent(Slot::of(b"k"));
            let (mut set, mut model) = (Packed::new(b"k", Type::Set, prior), BTreeSet::new());
            for (is_removed, small, scale) in steps {
                let value = small * 70_000i64.pow(scale);
                match set.search_integer(value) {
                    Ok(index) if is_removed => {
                        set.remove_integer(index);
                        prop_assert!(model.remove(&value));
                    }
                    Ok(_) => prop_assert!(model.contains(&value)),
                    Err(index) => {
                        set.insert_integer(index, value);
                        prop_assert!(model.insert(value));
                    }
                }
                if set.is_empty() {
                    continue;
                }
                let found: Vec<i64> = (0..set.count).map(|index| set.integer(index)).collect();
                prop_assert_eq!(&found, &model.iter().copied().collect::<Vec<_>>());
            }
            if set.has_integers() && !set.is_empty() {
                set.spell_integers();
                let found: Vec<i64> = set.strings().map(|(text, _)| read_integer(text).unwrap()).collect();
                prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
