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

/// The bounds of each class of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Of clients that have not subscribed to anything.
    pub normal: BufferLimit,
    /// Of those that have.
    pub subscriber: BufferLimit,
}

impl OutputLimits {
    /// The bounds of a client.
    pub fn of(&self, is_subscriber: bool) -> &BufferLimit {
        if is_subscriber { &self.subscriber } else { &self.normal }
    }
}

/// The kind of `client-output-buffer-limit`: `normal HARD SOFT SECONDS` and `pubsub HARD SOFT SECONDS`, one or both; a class that
/// is not named has its default. Without a name it is `normal`.
pub(super) struct OutputLimit;

/// The bounds of subscribers where they are not named, as in Redis.
const SUBSCRIBER: BufferLimit =
    BufferLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft: Duration::from_secs(60) };
const NORMAL: BufferLimit = BufferLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft: Duration::from_secs(60) };

/// Words that name a class. Replicas are named in what other programs send back; there are none.
const CLASSES: [&str; 4] = ["normal", "pubsub", "replica", "slave"];

fn parse_limit(class: &str, words: &[&str]) -> Result<BufferLimit, Invalid> {
    let limit = match words {
        [hard] => BufferLimit { hard_bytes: parse_bytes(hard)?, soft_bytes: 0, soft: Duration::ZERO },
        [hard, soft, seconds] => BufferLimit {
            hard_bytes: parse_bytes(hard)?,
            soft_bytes: parse_bytes(soft)?,
            soft: parse_span(seconds, true)?,
        },
        _ => {
            let invalid = Invalid::new("it takes a hard limit, a soft limit and seconds, behind normal or pubsub");
            return Err(invalid.nearest("normal 256mb 64mb 60 pubsub 32mb 8mb 60"));
        }
    };
    if limit.hard_bytes != 0 && limit.soft_bytes > limit.hard_bytes {
        let nearest = BufferLimit { soft_bytes: limit.hard_bytes, ..limit };
        return Err(
            Invalid::new("the soft limit lies above the hard one").nearest(format!("{class} {}", show_limit(&nearest)))
        );
    }
    Ok(limit)
}

fn show_limit(limit: &BufferLimit) -> String {
    let soft = match limit.soft.subsec_nanos() {
        0 => limit.soft.as_secs().to_string(),
        _ => show_span(limit.soft),
    };
    format!("{} {} {soft}", show_bytes(limit.hard_bytes), show_bytes(limit.soft_bytes))
}

impl Kind for OutputLimit {
    type Value = OutputLimits;

    fn parse(&self, text: &str) -> Result<OutputLimits, Invalid> {
        let text = text.to_ascii_lowercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_class = |word: &&str| CLASSES.contains(word);
        let mut limits = OutputLimits { normal: NORMAL, subscriber: SUBSCRIBER };
        let mut rest = words.as_slice();
        while let Some(first) = rest.first() {
            let class = if is_class(first) { first } else { &"normal" };
            let values = if is_class(first) { &rest[1..] } else { rest };
            let count = values.iter().position(is_class).unwrap_or(values.len());
            let limit = parse_limit(class, &values[..count])?;
            match *class {
                "pubsub" => limits.subscriber = limit,
                "normal" => limits.normal = limit,
                // Nobody replicates in Redis' way.
                _ => {}
            }
            rest = &values[count..];
        }
        if words.is_empty() {
            parse_limit("normal", &[]).map(|normal| OutputLimits { normal, ..limits })
        } else {
            Ok(limits)
        }
    }

    fn show(&self, value: &OutputLimits) -> String {
        format!("normal {} pubsub {}", show_limit(&value.normal), show_limit(&value.subscriber))
    }

    fn show_plain(&self, value: &OutputLimits) -> String {
        let plain = |limit: &BufferLimit| format!("{} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft.as_secs());
        format!("normal {} pubsub {}", plain(&value.normal), plain(&value.subscriber))
    }

    fn unit(&self) -> String {
        String::from("of a class of clients: hard bytes, soft bytes, seconds above the soft ones; 0: no limit")
    }

    fn placeholder(&self) -> &'static str {
        "normal HARD SOFT SECONDS pubsub HARD SOFT SECONDS"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_as_in_redis() {
        let limits = OutputLimits { normal: NORMAL, subscriber: SUBSCRIBER };
        for text in [
            "normal 256mb 64mb 60",
            "256mb 64mb 60s",
            "268435456 67108864 60",
            "pubsub 32mb 8mb 60",
            "pubsub 32mb 8mb 60 normal 256mb 64mb 60",
            "Normal 256MB 64mb 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
            "normal 1 1 1 normal 256mb 64mb 60",
        ] {
            assert_eq!(OutputLimit.parse(text), Ok(limits), "{text}");
        }
        assert_eq!(OutputLimit.show(&limits), "normal 256mb 64mb 60 pubsub 32mb 8mb 60");
        let other = OutputLimit.parse("normal 0 0 0 pubsub 1mb 1kb 5").expect("both");
        assert_eq!((other.of(false).hard_bytes, other.of(true).hard_bytes), (0, 1 << 20));
        assert!(OutputLimit.parse("0 0 0").is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(OutputLimit.parse("1mb 2mb 5").expect_err("soft > hard").to_string().ends_with("'normal 1mb 1mb 5'"));
        for text in ["", "normal", "1mb 1mb", "1mb 1mb 5 5", "pubsub 1mb 1mb", "normal pubsub 1 1 1"] {
            assert!(OutputLimit.parse(text).is_err(), "{text}");
        }
    }
}
