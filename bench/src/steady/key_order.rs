//! All keys once each, in an order that looks random.

use super::random::mix;

/// Enough for an order in which neighbours have nothing to do with each other (Luby and Rackoff 1988 need three or four).
const ROUNDS: u64 = 4;

/// A bijection of the numbers below a count: a Feistel network over the next even number of bits, walked on until it comes back
/// below the count (Black and Rogaway: Ciphers with Arbitrary Finite Domains, 2002).
#[derive(Debug, Clone, Copy)]
pub struct KeyOrder {
    count: u64,
    /// Bits of each half.
    half_bits: u32,
}

impl KeyOrder {
    /// An order of the numbers below `count`.
    ///
    /// # Panics
    /// If there are none, or more than 2^62.
    pub fn new(count: u64) -> KeyOrder {
        assert!((1..=1 << 62).contains(&count), "there are keys, and two halves of 31 bits number them");
        let bits = u64::BITS - (count - 1).leading_zeros();
        KeyOrder { count, half_bits: bits.div_ceil(2).max(1) }
    }

    /// Returns which number stands at `place`.
    ///
    /// # Panics
    /// If `place` is not below the count: the walk would not be one over the keys.
    pub fn at(self, place: u64) -> u64 {
        assert!(place < self.count, "place {place} of {}", self.count);
        let mut number = self.permute(place);
        // At most four times the count is permuted, so it takes less than four steps on average; and it ends, since the cycle
        // that `place` is on contains `place`.
        while number >= self.count {
            number = self.permute(number);
        }
        number
    }

    fn permute(self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (mix(right ^ (round << 32)) & mask));
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_comes_once() {
        for count in [1, 2, 3, 4, 5, 16, 17, 1_000, 65_536, 65_537, 300_000] {
            let order = KeyOrder::new(count);
            let mut seen = vec![false; count as usize];
            for place in 0..count {
                let number = order.at(place) as usize;
                assert!(!std::mem::replace(&mut seen[number], true), "{number} comes twice of {count}");
            }
        }
    }

    #[test]
    fn the_order_has_nothing_to_do_with_the_numbers() {
        let order = KeyOrder::new(100_000);
        let ascents = (1..100_000).filter(|&place| order.at(place) > order.at(place - 1)).count();
        assert!((49_000..51_000).contains(&ascents), "half of all steps go up, more or less: {ascents}");
        let near = (1..100_000).filter(|&place| order.at(place).abs_diff(order.at(place - 1)) < 100).count();
        assert!(near < 400, "about 200 of 100,000 steps are shorter than 100: {near}");
    }
}
