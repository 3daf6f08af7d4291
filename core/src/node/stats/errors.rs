//! Error replies, counted by their first word.

use super::Counter;

/// The codes of error replies that are counted each for itself; Redis has few more.
const ERROR_CODES: [&str; 18] = [
    "ERR",
    "WRONGTYPE",
    "CROSSSLOT",
    "MISCONF",
    "BUSY",
    "CLUSTERDOWN",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "READONLY",
    "NOPROTO",
    "WRONGPASS",
    "NOAUTH",
    "BUSYGROUP",
    "NOGROUP",
    "UNBLOCKED",
    "UNCERTAIN",
    "OTHER",
];

/// Error replies by their first word.
#[derive(Debug, Default)]
pub struct ErrorCounts([Counter; ERROR_CODES.len()]);

impl ErrorCounts {
    /// Counts a reply that is an error, with or without its leading `-`. Only the core that owns the counts may call this.
    pub fn count(&self, reply: &[u8]) {
        let text = reply.strip_prefix(b"-").unwrap_or(reply);
        let code = text.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or(text);
        let place = ERROR_CODES.iter().position(|known| known.as_bytes() == code);
        self.0[place.unwrap_or(ERROR_CODES.len() - 1)].add(1);
    }

    /// Each code and how often it was replied.
    pub fn by_code(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERROR_CODES.iter().zip(&self.0).map(|(code, count)| (*code, count.get()))
    }

    /// Error replies of all codes.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    pub(super) fn reset(&self) {
        self.0.iter().for_each(Counter::reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_first_word() {
        let errors = ErrorCounts::default();
        for reply in [&b"-ERR no\r\n"[..], b"ERR no", b"-WRONGTYPE x", b"-NOSUCHCODE x", b""] {
            errors.count(reply);
        }
        let counted: Vec<_> = errors.by_code().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("ERR", 2), ("WRONGTYPE", 1), ("OTHER", 2)]);
        assert_eq!(errors.total(), 5);
    }
}
