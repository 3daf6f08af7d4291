//! Bounds of the output that a slow client may leave unread.

use std::time::Duration;

use super::byte_size::{parse_bytes, show_bytes};
use super::error::Invalid;
use super::kind::Kind;
use super::time_span::{parse_span, show_span};

/// Bounds beyond which a client that does not read its replies is disconnected, as in `redis.conf`. Zero bytes mean no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimit {
    /// Unread bytes at which the client is disconnected at once.
    pub hard_bytes: u64,
    /// Unread bytes that the client may not exceed for longer than `soft`.
    pub soft_bytes: u64,
    /// Time for which the client may stay above `soft_bytes`.
    pub soft: Duration,
}

/// The kind of `client-output-buffer-limit`: `HARD SOFT SECONDS`, for normal clients, with or without Redis' word `normal`.
pub(super) struct OutputLimit;

impl Kind for OutputLimit {
    type Value = BufferLimit;

    fn parse(&self, text: &str) -> Result<BufferLimit, Invalid> {
        let mut words = text.split_whitespace().peekable();
        words.next_if_eq(&"normal");
        let limit = match (words.next(), words.next(), words.next(), words.next()) {
            (Some(hard), None, ..) => {
                BufferLimit { hard_bytes: parse_bytes(hard)?, soft_bytes: 0, soft: Duration::ZERO }
            }
            (Some(hard), Some(soft), Some(seconds), None) => BufferLimit {
                hard_bytes: parse_bytes(hard)?,
                soft_bytes: parse_bytes(soft)?,
                soft: parse_span(seconds, true)?,
            },
            _ => {
                let invalid = Invalid::new("it takes a hard limit, a soft limit and seconds, for normal clients only");
                return Err(invalid.nearest("normal 256mb 64mb 60"));
            }
        };
        match limit.hard_bytes != 0 && limit.soft_bytes > limit.hard_bytes {
            true => Err(Invalid::new("the soft limit lies above the hard one")
                .nearest(self.show(&BufferLimit { soft_bytes: limit.hard_bytes, ..limit }))),
            false => Ok(limit),
        }
    }

    fn show(&self, value: &BufferLimit) -> String {
        let soft = match value.soft.subsec_nanos() {
            0 => value.soft.as_secs().to_string(),
            _ => show_span(value.soft),
        };
        format!("normal {} {} {soft}", show_bytes(value.hard_bytes), show_bytes(value.soft_bytes))
    }

    fn show_plain(&self, value: &BufferLimit) -> String {
        format!("normal {} {} {}", value.hard_bytes, value.soft_bytes, value.soft.as_secs())
    }

    fn unit(&self) -> String {
        String::from("hard bytes, soft bytes, seconds above the soft ones; 0: no limit")
    }

    fn placeholder(&self) -> &'static str {
        "HARD SOFT SECONDS"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_as_in_redis() {
        let limit = BufferLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft: Duration::from_secs(60) };
        for text in ["normal 256mb 64mb 60", "256mb 64mb 60s", "268435456 67108864 60"] {
            assert_eq!(OutputLimit.parse(text), Ok(limit), "{text}");
        }
        assert_eq!(OutputLimit.show(&limit), "normal 256mb 64mb 60");
        assert!(OutputLimit.parse("0 0 0").is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(OutputLimit.parse("1mb 2mb 5").expect_err("soft > hard").to_string().ends_with("'normal 1mb 1mb 5'"));
        for text in ["", "normal", "1mb 1mb", "replica 1mb 1mb 5", "1mb 1mb 5 5"] {
            assert!(OutputLimit.parse(text).is_err(), "{text}");
        }
    }
}
