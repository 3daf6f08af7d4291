//! The requests: SETs that write every key once, or SETs and GETs of keys drawn from all of them.

use super::key_order::KeyOrder;
use super::random::Random;

/// Bytes of a key: `key:` and 15 digits.
pub const KEY_BYTES: usize = 19;
/// The digits of a key's number.
const DIGITS: usize = 15;
/// Keys that these digits can number.
pub const KEYS_MAX: u64 = 1_000_000_000_000_000;

/// Makes requests, without any allocation.
#[derive(Debug)]
pub struct RequestSource {
    plan: Plan,
    random: Random,
    set: Template,
    get: Template,
}

/// The requests that come, in their order.
#[derive(Debug, Clone, Copy)]
pub enum Plan {
    /// A SET of each key.
    Fill {
        /// The order of the keys.
        order: KeyOrder,
        /// Number of keys that have come.
        next: u64,
        /// Number of all keys.
        keys: u64,
    },
    /// SETs and GETs of random keys, without end.
    Mix {
        /// Number of keys.
        keys: u64,
        /// SETs among a hundred requests.
        set_percent: u64,
    },
}

impl Plan {
    /// A SET of each of `keys` keys.
    pub fn fill(keys: u64) -> Plan {
        Plan::Fill { order: KeyOrder::new(keys), next: 0, keys }
    }
}

impl RequestSource {
    /// Makes the requests of `plan` with values of `data_bytes` bytes.
    pub fn new(plan: Plan, data_bytes: usize, seed: u64) -> RequestSource {
        RequestSource { plan, random: Random::new(seed), set: Template::set(data_bytes), get: Template::get() }
    }

    /// The most bytes that a request has.
    pub fn request_bytes_max(&self) -> usize {
        self.set.bytes.len().max(self.get.bytes.len())
    }

    /// Appends the next request to `bytes` and returns whether it is a SET; `None` if there is none left.
    pub fn append(&mut self, bytes: &mut Vec<u8>) -> Option<bool> {
        let (number, is_set) = match &mut self.plan {
            Plan::Fill { next, keys, .. } if next == keys => return None,
            Plan::Fill { order, next, .. } => {
                *next += 1;
                (order.at(*next - 1), true)
            }
            Plan::Mix { keys, set_percent } => (self.random.below(*keys), self.random.below(100) < *set_percent),
        };
        let template = if is_set { &self.set } else { &self.get };
        let start = bytes.len();
        bytes.extend_from_slice(&template.bytes);
        write_digits(number, &mut bytes[start + template.digits_at..][..DIGITS]);
        if is_set {
            self.random.fill(&mut bytes[start + template.value_at..][..template.value_bytes]);
        }
        Some(is_set)
    }
}

/// A request but for its key's number and its value.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    digits_at: usize,
    value_at: usize,
    value_bytes: usize,
}

impl Template {
    fn set(value_bytes: usize) -> Template {
        let mut bytes = format!("*3\r\n$3\r\nSET\r\n${KEY_BYTES}\r\nkey:").into_bytes();
        let digits_at = bytes.len();
        bytes.extend_from_slice(format!("{:0DIGITS$}\r\n${value_bytes}\r\n", 0).as_bytes());
        let value_at = bytes.len();
        bytes.resize(value_at + value_bytes, 0);
        bytes.extend_from_slice(b"\r\n");
        Template { bytes, digits_at, value_at, value_bytes }
    }

    fn get() -> Template {
        let mut bytes = format!("*2\r\n$3\r\nGET\r\n${KEY_BYTES}\r\nkey:").into_bytes();
        let digits_at = bytes.len();
        bytes.extend_from_slice(format!("{:0DIGITS$}\r\n", 0).as_bytes());
        Template { bytes, digits_at, value_at: 0, value_bytes: 0 }
    }
}

/// Writes `number` with leading zeros.
fn write_digits(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    debug_assert_eq!(number, 0, "keys are numbered below {KEYS_MAX}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::super::requests::command;
    use super::*;

    /// Position of the key, after `*3 $3 SET $19` and the ends of their lines.
    const KEY_AT: usize = 18;

    fn all(mut source: RequestSource, most: usize) -> Vec<(Vec<u8>, bool)> {
        let next = || {
            let mut bytes = Vec::new();
            let is_set = source.append(&mut bytes)?;
            assert!(bytes.len() <= source.request_bytes_max());
            Some((bytes, is_set))
        };
        std::iter::from_fn(next).take(most).collect()
    }

    #[test]
    fn a_fill_sets_every_key_once_and_ends() {
        let requests = all(RequestSource::new(Plan::fill(100), 9, 1), 1_000);
        let keys: BTreeSet<Vec<u8>> = requests.iter().map(|(bytes, _)| bytes[KEY_AT..][..KEY_BYTES].to_vec()).collect();
        let expected: BTreeSet<Vec<u8>> = (0..100).map(|number| format!("key:{number:015}").into_bytes()).collect();
        assert_eq!(keys, expected);
        assert_eq!(requests.len(), 100);
    }

    #[test]
    fn requests_are_what_any_client_sends() {
        for (bytes, is_set) in all(RequestSource::new(Plan::Mix { keys: 12_345, set_percent: 50 }, 9, 1), 100) {
            let key = &bytes[KEY_AT..][..KEY_BYTES];
            let expected = match is_set {
                true => command(&[b"SET", key, &bytes[bytes.len() - 11..][..9]]),
                false => command(&[b"GET", key]),
            };
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn so_many_of_a_hundred_are_sets() {
        for (set_percent, expected) in [(0, 0..1), (30, 2_800..3_200), (100, 10_000..10_001)] {
            let requests = all(RequestSource::new(Plan::Mix { keys: 10, set_percent }, 1, 1), 10_000);
            let sets = requests.iter().filter(|(_, is_set)| *is_set).count();
            assert!(expected.contains(&sets), "{set_percent} %: {sets}");
        }
    }
}
