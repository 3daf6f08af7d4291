//! The keys: one command for each, which makes it whole.

use clap::ValueEnum;

use crate::requests::command;

/// Elements of a collection.
const ELEMENTS: u64 = 4;

/// The type of the keys, and what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contents {
    /// Strings of 64 bytes
    Strings,
    /// Strings that are numbers
    Numbers,
    /// Hashes of four fields
    Hashes,
    /// Lists of four elements
    Lists,
    /// Sets of four strings
    Sets,
    /// Sets of four integers
    IntegerSets,
    /// Sorted sets of four members
    SortedSets,
    /// Streams of one entry
    Streams,
}

impl Contents {
    /// All of them, in the order of the report.
    pub const ALL: [Contents; 8] = [
        Contents::Strings,
        Contents::Numbers,
        Contents::Hashes,
        Contents::Lists,
        Contents::Sets,
        Contents::IntegerSets,
        Contents::SortedSets,
        Contents::Streams,
    ];

    /// Returns what they are called.
    pub fn name(self) -> &'static str {
        match self {
            Contents::Strings => "strings of 64 bytes",
            Contents::Numbers => "strings that are numbers",
            Contents::Hashes => "hashes of 4 fields",
            Contents::Lists => "lists of 4 elements",
            Contents::Sets => "sets of 4 strings",
            Contents::IntegerSets => "sets of 4 integers",
            Contents::SortedSets => "sorted sets of 4 members",
            Contents::Streams => "streams of 1 entry",
        }
    }

    /// Appends the command that makes key `number`. Values differ from key to key, so that nothing compresses them to nothing.
    pub fn append(self, number: u64, bytes: &mut Vec<u8>) {
        let key = format!("key:{number:012}");
        // Sixteen digits that say nothing to a compressor, of each element of each key others.
        let noise = |element: u64| {
            format!("{:016x}", (number * ELEMENTS + element + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31))
        };
        let elements = 0..ELEMENTS;
        let words: Vec<String> = match self {
            Contents::Strings => vec!["SET".into(), key, elements.map(noise).collect()],
            Contents::Numbers => vec!["SET".into(), key, (number * 7_919).to_string()],
            Contents::Hashes => {
                let pairs = elements.flat_map(|element| [format!("field:{element}"), noise(element)]);
                ["HSET".into(), key].into_iter().chain(pairs).collect()
            }
            Contents::Lists => ["RPUSH".into(), key].into_iter().chain(elements.map(noise)).collect(),
            Contents::Sets => ["SADD".into(), key].into_iter().chain(elements.map(noise)).collect(),
            Contents::IntegerSets => {
                let members = elements.map(|element| (number % 1_000_000 + element * 1_000).to_string());
                ["SADD".into(), key].into_iter().chain(members).collect()
            }
            Contents::SortedSets => {
                let pairs = elements.flat_map(|element| [(number % 100_000 + element).to_string(), noise(element)]);
                ["ZADD".into(), key].into_iter().chain(pairs).collect()
            }
            Contents::Streams => vec!["XADD".into(), key, "*".into(), "field".into(), noise(0)],
        };
        bytes.extend_from_slice(&command(&words));
    }

    /// Lines of the reply to that command: an id has one with its length before it.
    pub fn reply_lines(self) -> usize {
        if self == Contents::Streams { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_made_by_one_command_that_no_other_key_has() {
        for contents in Contents::ALL {
            let made = |number| {
                let mut bytes = Vec::new();
                contents.append(number, &mut bytes);
                bytes
            };
            assert_eq!(
                made(1).iter().filter(|byte| **byte == b'*').count(),
                if contents == Contents::Streams { 2 } else { 1 }
            );
            assert!(String::from_utf8(made(7)).unwrap().contains("key:000000000007"), "{contents:?}");
            assert_ne!(made(1), made(2));
        }
        let mut bytes = Vec::new();
        Contents::IntegerSets.append(3, &mut bytes);
        assert_eq!(bytes, command(&["SADD", "key:000000000003", "3", "1003", "2003", "3003"]));
    }

    #[test]
    fn strings_have_as_many_bytes_as_their_name_says() {
        let mut bytes = Vec::new();
        Contents::Strings.append(5, &mut bytes);
        assert!(String::from_utf8(bytes).unwrap().contains("\r\n$64\r\n"));
    }
}
