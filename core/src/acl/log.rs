//! The list of denials, for `ACL LOG`: the newest first, and what happens again and again once, with a count.
//!
//! Written where something is denied and read by operators: nothing of the data path meets its lock.

use std::collections::VecDeque;

use crate::limits;

/// The thing that was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// To be somebody.
    Auth,
    /// A command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
}

impl Reason {
    /// The name, in Redis' words.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Auth => "auth",
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
        }
    }
}

/// The place at which it was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// A command by itself.
    TopLevel,
    /// One of a transaction.
    Multi,
}

impl Context {
    /// The name, in Redis' words.
    pub fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
        }
    }
}

/// Something that was denied.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// The number of times.
    pub count: u64,
    /// The thing.
    pub reason: Reason,
    /// The place.
    pub context: Context,
    /// The command, the key or the channel.
    pub object: Box<[u8]>,
    /// The user.
    pub user: Box<[u8]>,
    /// The last time, in Unix milliseconds.
    pub at_ms: u64,
    /// The client of the last time, as CLIENT LIST tells it.
    pub client: Box<[u8]>,
}

/// The list.
#[derive(Debug, Default)]
pub struct AccessLog {
    entries: VecDeque<LogEntry>,
}

impl AccessLog {
    /// Adds what was denied, of which `most` are kept: to an entry of the last minute that tells of the same, if there is one.
    pub fn add(&mut self, mut entry: LogEntry, most: usize) {
        for text in [&mut entry.object, &mut entry.user, &mut entry.client] {
            let shown = text.len().min(limits::ACL_LOG_TEXT_BYTES_MAX);
            *text = text[..shown].into();
        }
        let is_same = |other: &LogEntry| {
            (other.reason, other.context, &other.object, &other.user)
                == (entry.reason, entry.context, &entry.object, &entry.user)
                && entry.at_ms.abs_diff(other.at_ms) <= limits::ACL_LOG_SAME.as_millis() as u64
        };
        let looked = self.entries.iter().take(limits::ACL_LOG_LOOKS_BACK);
        if let Some(at) = looked.into_iter().position(is_same) {
            let before = self.entries.remove(at).expect("it was found there");
            entry.count += before.count;
        }
        self.entries.push_front(entry);
        self.entries.truncate(most);
    }

    /// The newest, `count` of them.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter().take(count)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(object: &str, at_ms: u64) -> LogEntry {
        LogEntry {
            count: 1,
            reason: Reason::Command,
            context: Context::TopLevel,
            object: object.as_bytes().into(),
            user: b"u".as_slice().into(),
            at_ms,
            client: Box::default(),
        }
    }

    #[test]
    fn the_same_is_told_once_and_the_list_is_bounded() {
        let mut log = AccessLog::default();
        for (object, at_ms) in [("get", 0), ("set", 10), ("get", 60_000), ("get", 120_001), ("hget", 120_002)] {
            log.add(entry(object, at_ms), 3);
        }
        let told: Vec<_> = log.newest(9).map(|entry| (entry.object.to_vec(), entry.count)).collect();
        assert_eq!(told, [(b"hget".to_vec(), 1), (b"get".to_vec(), 1), (b"get".to_vec(), 2)]);
        assert_eq!(log.newest(1).count(), 1);
        log.add(entry(&"k".repeat(100_000), 0), 3);
        assert_eq!(log.newest(1).next().map(|entry| entry.object.len()), Some(limits::ACL_LOG_TEXT_BYTES_MAX));
        log.add(entry("x", 0), 0);
        assert_eq!(log.newest(9).count(), 0);
        log.clear();
        assert_eq!(log.newest(9).count(), 0);
    }
}
