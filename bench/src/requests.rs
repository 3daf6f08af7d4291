//! Requests as redis-benchmark makes them, for the benches: `key:000000012345` and values of 64 bytes.

/// Bytes of a value.
pub const VALUE_BYTES: usize = 64;

/// Draws keys; the same ones in every run.
#[derive(Debug, Clone)]
pub struct Keys {
    state: u64,
    count: u64,
}

impl Keys {
    /// Draws from `count` keys.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn new(count: u64) -> Keys {
        assert!(count > 0, "keys are drawn from some");
        Keys { state: 1, count }
    }

    /// Returns the next number below `count`, by SplitMix64 (Steele, Lea, Flood 2014).
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % self.count
    }

    /// Returns the next key, `prefix` and twelve digits.
    pub fn key(&mut self, prefix: &str) -> Vec<u8> {
        format!("{prefix}:{:012}", self.number()).into_bytes()
    }
}

/// Returns a value.
pub fn value() -> Vec<u8> {
    vec![b'x'; VALUE_BYTES]
}

/// Returns a command as a client sends it: an array of bulk strings.
pub fn command(args: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(command(&["GET", "k1"]), b"*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n");
    }

    #[test]
    fn keys_are_the_same_in_every_run_and_spread() {
        let draw = || {
            let mut keys = Keys::new(1000);
            (0..1000).map(|_| keys.key("key")).collect::<Vec<_>>()
        };
        let keys = draw();
        assert_eq!(keys, draw());
        assert!(keys.iter().all(|key| key.len() == 16 && key.starts_with(b"key:000000000")));
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert!(distinct.len() > 550, "of 1000 drawn from 1000, 632 are distinct on average: {}", distinct.len());
    }
}
