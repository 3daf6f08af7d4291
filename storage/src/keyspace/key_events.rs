//! Events of keys that somebody wants to hear of: what has become of a key, by its database and its name.
//!
//! ```text
//! event  [class u16 LE][db u8][length u8][event …][key length u32 LE][key …]
//! ```
//!
//! What a newcomer would get wrong: an event that was noted may not have happened. Whoever runs a command again, or undoes it, goes
//! back to where it began ([`Scratch::rewind`](super::Scratch::rewind)); so events are taken between commands, never within one.

use std::ops::{BitAnd, BitOr};

use crate::limits::KEY_EVENTS_BYTES_MAX;

/// Classes of events, a bit each: those of Redis, which are for clients to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventClasses(u16);

impl EventClasses {
    /// None of them.
    pub const NONE: EventClasses = EventClasses(0);
    /// Commands on keys of any type, as DEL and EXPIRE.
    pub const GENERIC: EventClasses = EventClasses(1);
    /// Commands on strings.
    pub const STRING: EventClasses = EventClasses(1 << 1);
    /// Commands on lists.
    pub const LIST: EventClasses = EventClasses(1 << 2);
    /// Commands on sets.
    pub const SET: EventClasses = EventClasses(1 << 3);
    /// Commands on hashes.
    pub const HASH: EventClasses = EventClasses(1 << 4);
    /// Commands on sorted sets.
    pub const SORTED_SET: EventClasses = EventClasses(1 << 5);
    /// Commands on streams.
    pub const STREAM: EventClasses = EventClasses(1 << 6);
    /// Keys whose deadline has passed.
    pub const EXPIRED: EventClasses = EventClasses(1 << 7);
    /// Keys that were evicted: there are none.
    pub const EVICTED: EventClasses = EventClasses(1 << 8);
    /// Types of modules: there are none.
    pub const MODULE: EventClasses = EventClasses(1 << 9);
    /// Keys that were not there before.
    pub const NEW: EventClasses = EventClasses(1 << 10);
    /// Keys that were looked for and are not there.
    pub const MISS: EventClasses = EventClasses(1 << 11);

    /// Returns whether it has one of `others`.
    #[inline]
    pub fn has(self, others: EventClasses) -> bool {
        self.0 & others.0 != 0
    }

    /// These but `others`.
    pub fn without(self, others: EventClasses) -> EventClasses {
        EventClasses(self.0 & !others.0)
    }

    /// The number that stands for them, one bit each.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// The classes that a number stands for.
    pub fn of_bits(bits: u16) -> EventClasses {
        EventClasses(bits)
    }
}

impl BitAnd for EventClasses {
    type Output = EventClasses;

    fn bitand(self, other: EventClasses) -> EventClasses {
        EventClasses(self.0 & other.0)
    }
}

impl BitOr for EventClasses {
    type Output = EventClasses;

    fn bitor(self, other: EventClasses) -> EventClasses {
        EventClasses(self.0 | other.0)
    }
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEvent<'a> {
    /// Its class.
    pub class: EventClasses,
    /// The database.
    pub db: u8,
    /// The name of what has happened, as `lpush`.
    pub event: &'a [u8],
    /// The key.
    pub key: &'a [u8],
}

/// Events that nobody has taken yet, up to [`KEY_EVENTS_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct KeyEvents {
    bytes: Vec<u8>,
    /// Bytes of those that were taken.
    taken: usize,
    dropped: u64,
}

/// A place among the events, to go back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventsMark {
    bytes: usize,
    dropped: u64,
}

impl KeyEvents {
    /// Adds an event, or drops it and counts that if there is no room.
    pub(super) fn push(&mut self, class: EventClasses, db: u8, event: &[u8], key: &[u8]) {
        let event_length = u8::try_from(event.len()).expect("the name of an event is short");
        if self.bytes.len() + event.len() + key.len() > KEY_EVENTS_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        let [low, high] = class.0.to_le_bytes();
        self.bytes.extend_from_slice(&[low, high, db, event_length]);
        self.bytes.extend_from_slice(event);
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(key);
    }

    /// Counts events that were dropped elsewhere.
    pub(super) fn note_dropped(&mut self, count: u64) {
        self.dropped += count;
    }

    pub(super) fn mark(&self) -> EventsMark {
        EventsMark { bytes: self.bytes.len(), dropped: self.dropped }
    }

    /// Forgets what was added since `mark`.
    pub(super) fn rewind(&mut self, mark: EventsMark) {
        debug_assert!(mark.bytes >= self.taken && mark.bytes <= self.bytes.len(), "nothing was taken since");
        self.bytes.truncate(mark.bytes);
        self.dropped = mark.dropped;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Events that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Gives the first event to `take`, if there is one, and forgets it.
    pub(super) fn take(&mut self, take: &mut dyn FnMut(KeyEvent<'_>)) -> bool {
        let Some((event, rest)) = read(&self.bytes[self.taken..]) else { return false };
        take(event);
        self.taken = self.bytes.len() - rest.len();
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        } else if self.taken >= self.bytes.len() / 2 {
            // What is moved is no more than what was taken.
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        true
    }

    /// Forgets all events, and the memory that they took.
    pub(super) fn forget(&mut self) {
        (self.bytes, self.taken) = (Vec::new(), 0);
    }
}

fn read(bytes: &[u8]) -> Option<(KeyEvent<'_>, &[u8])> {
    let (&[low, high, db, event_length], rest) = bytes.split_first_chunk::<4>()?;
    let (event, rest) = rest.split_at_checked(usize::from(event_length))?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let class = EventClasses(u16::from_le_bytes([low, high]));
    Some((KeyEvent { class, db, event, key }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(events: &mut KeyEvents) -> Vec<(u8, String, String)> {
        let (mut all, text) = (Vec::new(), |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned());
        while events.take(&mut |event| all.push((event.db, text(event.event), text(event.key)))) {}
        all
    }

    #[test]
    fn events_are_taken_once_in_their_order_also_while_others_come() {
        let mut events = KeyEvents::default();
        let (mut seen, mut number) = (Vec::new(), 0);
        for round in 0..200 {
            for _ in 0..round % 7 {
                events.push(EventClasses::STRING, 3, b"set", format!("k{number}").as_bytes());
                number += 1;
            }
            for _ in 0..round % 5 {
                events.take(&mut |event| seen.push(String::from_utf8(event.key.to_vec()).unwrap()));
            }
        }
        seen.extend(all(&mut events).into_iter().map(|(_, _, key)| key));
        assert_eq!(seen, (0..number).map(|number| format!("k{number}")).collect::<Vec<_>>());
        assert!(events.is_empty());
    }

    #[test]
    fn what_is_undone_is_not_told() {
        let mut events = KeyEvents::default();
        events.push(EventClasses::STRING, 0, b"set", b"a");
        let mark = events.mark();
        events.push(EventClasses::STRING, 0, b"set", b"b");
        events.push(EventClasses::STRING, 0, b"set", &vec![0; KEY_EVENTS_BYTES_MAX]);
        assert_eq!(events.dropped(), 1);
        events.rewind(mark);
        assert_eq!(events.dropped(), 0);
        events.push(EventClasses::STRING, 15, b"del", b"");
        let expected = [(0, "set".into(), "a".into()), (15, "del".into(), String::new())];
        assert_eq!(all(&mut events), expected);
    }

    #[test]
    fn beyond_the_bound_events_are_dropped_and_counted() {
        let mut events = KeyEvents::default();
        let key = [b'k'; 1000];
        let count = 2 * KEY_EVENTS_BYTES_MAX / key.len();
        (0..count).for_each(|_| events.push(EventClasses::STRING, 0, b"set", &key));
        assert!(events.bytes.len() <= KEY_EVENTS_BYTES_MAX + 16);
        let told = all(&mut events).len();
        assert_eq!(told as u64 + events.dropped(), count as u64);
        assert!(told > KEY_EVENTS_BYTES_MAX / 1100);
        events.push(EventClasses::STRING, 0, b"set", &key);
        assert_eq!(all(&mut events).len(), 1, "there is room again");
    }
}
