//! Random numbers, the same ones in every run.

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): a few instructions a number, which a
/// generator can afford that shares the machine with the server it measures.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Returns 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Returns a number below `count`; all are equally likely but for a part of `count` in 2^64.
    pub fn below(&mut self, count: u64) -> u64 {
        // The high half of the product: no division (Lemire: Fast Random Integer Generation in an Interval, 2019).
        ((u128::from(self.bits()) * u128::from(count)) >> 64) as u64
    }

    /// Fills `bytes`: nothing that a server could compress.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Mixes all bits of a number, SplitMix64's way.
pub fn mix(bits: u64) -> u64 {
    let mixed = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_a_count_are_spread_over_all_of_it() {
        let mut random = Random::new(1);
        let mut hits = [0; 10];
        for _ in 0..10_000 {
            hits[random.below(10) as usize] += 1;
        }
        assert!(hits.iter().all(|&hits| (850..1_150).contains(&hits)), "a thousand each, more or less: {hits:?}");
    }

    #[test]
    fn bytes_are_filled_to_the_last_one() {
        let mut bytes = [0; 13];
        let mut or = [0u8; 13];
        let mut random = Random::new(1);
        for _ in 0..20 {
            random.fill(&mut bytes);
            or.iter_mut().zip(bytes).for_each(|(or, byte)| *or |= byte);
        }
        assert_eq!(or, [255; 13]);
    }
}
