//! An entry of a shard's log that an operator gives up.

use super::error::Invalid;
use super::kind::Kind;

/// An entry that is not to be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedEntry {
    /// The shard's number.
    pub shard: u16,
    /// The entry's index in the shard's log.
    pub index: u64,
}

impl std::fmt::Display for SkippedEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.shard, self.index)
    }
}

/// A [`SkippedEntry`] as `SHARD:INDEX`, or the word `none`.
pub(super) struct EntryOrNone;

impl Kind for EntryOrNone {
    type Value = Option<SkippedEntry>;

    fn parse(&self, text: &str) -> Result<Option<SkippedEntry>, Invalid> {
        if text == "none" {
            return Ok(None);
        }
        let parts = text.split_once(':').filter(|(shard, index)| is_digits(shard) && is_digits(index));
        let entry = parts
            .and_then(|(shard, index)| Some(SkippedEntry { shard: shard.parse().ok()?, index: index.parse().ok()? }));
        // No nearest one: a wrong entry is worse than none.
        entry.map(Some).ok_or_else(|| {
            Invalid::new("it takes the numbers of a shard and of an entry, as SHARD:INDEX, which the log tells of a shard that stops")
        })
    }

    fn show(&self, value: &Option<SkippedEntry>) -> String {
        value.map_or_else(|| String::from("none"), |entry| entry.to_string())
    }

    fn unit(&self) -> String {
        String::from("SHARD:INDEX, or none")
    }

    fn placeholder(&self) -> &'static str {
        "ENTRY"
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_as_written_and_nothing_else_is_one() {
        for text in ["none", "0:0", "3:1234", "65535:18446744073709551615"] {
            assert_eq!(EntryOrNone.parse(text).map(|entry| EntryOrNone.show(&entry)), Ok(text.to_owned()));
        }
        for text in ["", "3", "3:", ":4", "3:-4", "+3:4", "3:4:5", "65536:1", "0:18446744073709551616", "auto", "3: 4"]
        {
            let refusal = EntryOrNone.parse(text).expect_err(text).to_string();
            assert!(refusal.contains("SHARD:INDEX"), "{text}: {refusal}");
        }
    }
}
