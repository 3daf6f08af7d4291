//! Consumer groups of streams: rows beside those of the entries.
//!
//! ```text
//! element   [0x01][group …]                  → the group:
//!             [number u32][last delivered id][entries read u64][pending u64][lowest id][highest id][removed u32]
//!             [consumers u64][next consumer u64]                                          all BE; 88 bytes
//!           [0x02][group u32][consumer …]    → the consumer: [number u64][seen u64][pending u64]
//!           [0x03][group u32][id]            → the entry that is pending: [delivered u64][deliveries u64][consumer …]
//!           [0x04][group u32][consumer u64][id] → empty: the same once more, in the order of its consumer's
//! ```
//!
//! Groups and consumers have numbers in the rows of what is pending, which no other of the stream, or of the group, ever had: so
//! those rows are short. `entries read` is 2⁶⁴ - 1 if nobody knows. Nothing is pending below `lowest` or above `highest`; `removed`
//! counts what went since `lowest` was looked for.
//!
//! What a newcomer would get wrong: an entry that was deleted from its stream stays pending until somebody claims it.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use smallvec::SmallVec;

use super::Keyspace;
use super::keyspace::damaged;
use super::streams::{ID_BYTES, Stream, StreamId, split_u64};
use crate::limits::{ACKNOWLEDGED_MAX, CHUNK_ROWS_MAX};
use crate::{Direction, Result};

/// Row kind of groups.
const GROUP: u8 = 0x01;
/// Row kind of consumers.
const CONSUMER: u8 = 0x02;
/// Row kind of pending entries, in the order of their ids.
const PENDING: u8 = 0x03;
/// Row kind of pending entries, by consumer.
const OWNED: u8 = 0x04;

type Element = SmallVec<[u8; 64]>;

/// The way on after a row was visited.
type Flow = Result<ControlFlow<()>>;

/// A consumer group, opened for one command. What is pending changes at once, all else with [`Group::save`].
#[derive(Debug)]
pub struct Group {
    name: Box<[u8]>,
    number: u32,
    /// The last id that was delivered to a consumer.
    pub last_delivered: StreamId,
    /// Entries of the stream up to that one, also those that are gone; `None` if nobody knows.
    pub entries_read: Option<u64>,
    pending: u64,
    lowest: StreamId,
    highest: StreamId,
    removed: u32,
    consumers: u64,
    next_consumer: u64,
    opened: BTreeMap<Box<[u8]>, Opened>,
}

/// A consumer of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    number: u64,
    /// The time of its last command, Unix milliseconds.
    pub seen_ms: u64,
    /// Entries that are pending for it.
    pub pending: u64,
}

/// A consumer, and what its row says.
#[derive(Debug)]
struct Opened {
    consumer: Consumer,
    stored: Option<Consumer>,
}

/// An entry that is pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The name of its consumer.
    pub consumer: Box<[u8]>,
    /// The time of its last delivery, Unix milliseconds.
    pub delivered_ms: u64,
    /// Its deliveries so far.
    pub deliveries: u64,
}

impl Consumer {
    fn read(row: &[u8]) -> Option<Consumer> {
        let (number, rest) = split_u64(row)?;
        let (seen_ms, rest) = split_u64(rest)?;
        let (pending, rest) = split_u64(rest)?;
        rest.is_empty().then_some(Consumer { number, seen_ms, pending })
    }

    fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (part, number) in bytes.chunks_exact_mut(8).zip([self.number, self.seen_ms, self.pending]) {
            part.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }
}

impl Pending {
    fn read(row: &[u8]) -> Option<Pending> {
        let (delivered_ms, rest) = split_u64(row)?;
        let (deliveries, consumer) = split_u64(rest)?;
        Some(Pending { consumer: consumer.into(), delivered_ms, deliveries })
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.delivered_ms.to_be_bytes()[..], &self.deliveries.to_be_bytes(), &self.consumer].concat()
    }
}

impl Stream {
    /// The consumer group `name`.
    pub fn group(&self, keyspace: &Keyspace<'_>, name: &[u8]) -> Result<Option<Group>> {
        if self.groups == 0 {
            return Ok(None);
        }
        let row = keyspace.element(&self.collection, &group_element(name))?;
        let read = |row: &[u8]| Group::read(name, row).ok_or_else(|| self.damaged());
        row.map(|row| read(&row)).transpose()
    }

    /// Makes the group `name`, which the stream must not have. It is there once both are saved. `None` if the stream has had 2³²
    /// groups and never none meanwhile.
    pub fn add_group(&mut self, name: &[u8], last_delivered: StreamId, entries_read: Option<u64>) -> Option<Group> {
        let number = self.next_group;
        self.next_group = number.checked_add(1)?;
        self.groups += 1;
        Some(Group {
            name: name.into(),
            number,
            last_delivered,
            entries_read,
            pending: 0,
            lowest: StreamId::MAX,
            highest: StreamId::MIN,
            removed: 0,
            consumers: 0,
            next_consumer: 0,
            opened: BTreeMap::new(),
        })
    }

    /// Deletes `group` with its consumers and what is pending. [`Stream::save`] is the caller's to call.
    pub fn remove_group(&mut self, keyspace: &mut Keyspace<'_>, group: Group) -> Result<()> {
        for kind in [OWNED, PENDING, CONSUMER] {
            self.remove_rows(keyspace, &numbered(kind, group.number))?;
        }
        keyspace.delete_element(&self.collection, &group_element(&group.name));
        // Without groups the metadata says nothing of them: numbers begin anew, and none of their rows is left.
        self.groups = self.groups.checked_sub(1).ok_or_else(|| self.damaged())?;
        Ok(())
    }

    /// Visits the groups in the order of their names, until `visit` breaks.
    pub fn each_group(&self, keyspace: &Keyspace<'_>, visit: &mut dyn FnMut(Group) -> Flow) -> Result<()> {
        if self.groups == 0 {
            return Ok(());
        }
        self.each_row(keyspace, &[GROUP], &[], &[], &mut |name, row| {
            visit(Group::read(name, row).ok_or_else(|| self.damaged())?)
        })
    }

    /// Deletes the rows whose elements begin with `prefix`.
    fn remove_rows(&self, keyspace: &mut Keyspace<'_>, prefix: &[u8]) -> Result<()> {
        loop {
            let mut rests: Vec<Element> = Vec::new();
            self.each_row(keyspace, prefix, &[], &[], &mut |rest, _| {
                rests.push(Element::from_slice(rest));
                Ok(if rests.len() < CHUNK_ROWS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            for rest in &rests {
                let element = [prefix, rest].concat();
                keyspace.delete_element(&self.collection, &element);
            }
            if rests.len() < CHUNK_ROWS_MAX {
                return Ok(());
            }
        }
    }

    /// Visits the rows whose elements begin with `prefix`, from `from` behind it to `to`, both included; no bytes are no bound.
    fn each_row(
        &self,
        keyspace: &Keyspace<'_>,
        prefix: &[u8],
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Flow,
    ) -> Result<()> {
        self.each_row_from(keyspace, prefix, from, to, Direction::Forward, visit)
    }

    fn each_row_from(
        &self,
        keyspace: &Keyspace<'_>,
        prefix: &[u8],
        from: &[u8],
        to: &[u8],
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Flow,
    ) -> Result<()> {
        let (lower, mut upper) = ([prefix, from].concat(), [prefix, to].concat());
        let upper = if to.is_empty() {
            // The first element behind all that begin with the prefix, whose first byte is a kind: never the highest number.
            increment(&mut upper);
            Bound::Excluded(&upper[..])
        } else {
            Bound::Included(&upper[..])
        };
        let mut failed = None;
        keyspace.scan_elements(&self.collection, Bound::Included(&lower), upper, direction, &mut |element, row| {
            match visit(&element[prefix.len()..], row) {
                Ok(flow) => flow,
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn damaged(&self) -> crate::Error {
        damaged(self.collection.key())
    }
}

impl Group {
    fn read(name: &[u8], row: &[u8]) -> Option<Group> {
        let (number, rest) = row.split_first_chunk::<4>()?;
        let (last_delivered, rest) = split_id(rest)?;
        let (entries_read, rest) = split_u64(rest)?;
        let (pending, rest) = split_u64(rest)?;
        let (lowest, rest) = split_id(rest)?;
        let (highest, rest) = split_id(rest)?;
        let (removed, rest) = rest.split_first_chunk::<4>()?;
        let (consumers, rest) = split_u64(rest)?;
        let (next_consumer, rest) = split_u64(rest)?;
        rest.is_empty().then(|| Group {
            name: name.into(),
            number: u32::from_be_bytes(*number),
            last_delivered,
            entries_read: (entries_read != u64::MAX).then_some(entries_read),
            pending,
            lowest,
            highest,
            removed: u32::from_be_bytes(*removed),
            consumers,
            next_consumer,
            opened: BTreeMap::new(),
        })
    }

    /// The group's name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns the number of entries that are pending.
    pub fn pending_count(&self) -> u64 {
        self.pending
    }

    /// Returns the number of consumers.
    pub fn consumer_count(&self) -> u64 {
        self.consumers
    }

    /// The consumer `name`.
    pub fn consumer(&mut self, keyspace: &Keyspace<'_>, stream: &Stream, name: &[u8]) -> Result<Option<&mut Consumer>> {
        if !self.opened.contains_key(name) {
            let Some(row) = keyspace.element(&stream.collection, &self.consumer_element(name))? else {
                return Ok(None);
            };
            let consumer = Consumer::read(&row).ok_or_else(|| stream.damaged())?;
            self.opened.insert(name.into(), Opened { consumer, stored: Some(consumer) });
        }
        Ok(self.opened.get_mut(name).map(|opened| &mut opened.consumer))
    }

    /// The consumer `name`, new if there is none, and whether it is.
    pub fn consumer_or_new(
        &mut self,
        keyspace: &Keyspace<'_>,
        stream: &Stream,
        name: &[u8],
    ) -> Result<(&mut Consumer, bool)> {
        let is_new = self.consumer(keyspace, stream, name)?.is_none();
        if is_new {
            let consumer = Consumer { number: self.next_consumer, seen_ms: keyspace.now_ms(), pending: 0 };
            self.next_consumer += 1;
            self.consumers += 1;
            self.opened.insert(name.into(), Opened { consumer, stored: None });
        }
        Ok((&mut self.opened.get_mut(name).expect("it was opened").consumer, is_new))
    }

    /// Deletes the consumer `name` with what is pending for it; returns how many entries that is.
    pub fn remove_consumer(&mut self, keyspace: &mut Keyspace<'_>, stream: &Stream, name: &[u8]) -> Result<u64> {
        let Some(&mut consumer) = self.consumer(keyspace, stream, name)? else { return Ok(0) };
        loop {
            let mut ids: Vec<StreamId> = Vec::new();
            self.each_owned(keyspace, stream, &consumer, StreamId::MIN, &mut |id| {
                ids.push(id);
                Ok(if ids.len() < CHUNK_ROWS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            for &id in &ids {
                keyspace.delete_element(&stream.collection, &self.pending_element(id));
                keyspace.delete_element(&stream.collection, &self.owned_element(&consumer, id));
            }
            self.count_removed(stream, ids.len() as u64)?;
            if ids.len() < CHUNK_ROWS_MAX {
                break;
            }
        }
        keyspace.delete_element(&stream.collection, &self.consumer_element(name));
        self.opened.remove(name);
        self.consumers = self.consumers.checked_sub(1).ok_or_else(|| stream.damaged())?;
        Ok(consumer.pending)
    }

    /// Visits the consumers in the order of their names, as they were saved, until `visit` breaks.
    pub fn each_consumer(
        &self,
        keyspace: &Keyspace<'_>,
        stream: &Stream,
        visit: &mut dyn FnMut(&[u8], Consumer) -> Flow,
    ) -> Result<()> {
        stream.each_row(keyspace, &numbered(CONSUMER, self.number), &[], &[], &mut |name, row| {
            visit(name, Consumer::read(row).ok_or_else(|| stream.damaged())?)
        })
    }

    /// The entry `id`, if it is pending.
    pub fn pending(&self, keyspace: &Keyspace<'_>, stream: &Stream, id: StreamId) -> Result<Option<Pending>> {
        if !(self.lowest..=self.highest).contains(&id) {
            return Ok(None);
        }
        let row = keyspace.element(&stream.collection, &self.pending_element(id))?;
        row.map(|row| Pending::read(&row).ok_or_else(|| stream.damaged())).transpose()
    }

    /// Makes the entry `id`, pending so far as `before`, pending as `after`. Its consumers must be there.
    pub fn assign(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        stream: &Stream,
        id: StreamId,
        before: Option<&Pending>,
        after: &Pending,
    ) -> Result<()> {
        if before.is_none_or(|before| before.consumer != after.consumer) {
            match before {
                Some(before) => self.take_from(keyspace, stream, id, &before.consumer)?,
                None => self.pending += 1,
            }
            let consumer = self.consumer(keyspace, stream, &after.consumer)?.ok_or_else(|| stream.damaged())?;
            consumer.pending += 1;
            let consumer = *consumer;
            keyspace.put_element(&stream.collection, &self.owned_element(&consumer, id), b"");
        }
        self.lowest = self.lowest.min(id);
        self.highest = self.highest.max(id);
        keyspace.put_element(&stream.collection, &self.pending_element(id), &after.bytes());
        Ok(())
    }

    /// Makes the entry `id`, pending as `before`, pending no more.
    pub fn acknowledge(
        &mut self,
        keyspace: &mut Keyspace<'_>,
        stream: &Stream,
        id: StreamId,
        before: &Pending,
    ) -> Result<()> {
        self.take_from(keyspace, stream, id, &before.consumer)?;
        keyspace.delete_element(&stream.collection, &self.pending_element(id));
        self.count_removed(stream, 1)
    }

    /// Visits what is pending from `from` to `to`, both included, in `direction`, until `visit` breaks.
    pub fn each_pending(
        &self,
        keyspace: &Keyspace<'_>,
        stream: &Stream,
        (from, to): (StreamId, StreamId),
        direction: Direction,
        visit: &mut dyn FnMut(StreamId, Pending) -> Flow,
    ) -> Result<()> {
        let (from, to) = (from.max(self.lowest), to.min(self.highest));
        if from > to {
            return Ok(());
        }
        let prefix = numbered(PENDING, self.number);
        stream.each_row_from(keyspace, &prefix, &from.bytes(), &to.bytes(), direction, &mut |id, row| {
            let id = id.try_into().ok().map(StreamId::read);
            match (id, Pending::read(row)) {
                (Some(id), Some(pending)) => visit(id, pending),
                _ => Err(stream.damaged()),
            }
        })
    }

    /// Visits the ids that are pending for `consumer` from `from` on, until `visit` breaks.
    pub fn each_owned(
        &self,
        keyspace: &Keyspace<'_>,
        stream: &Stream,
        consumer: &Consumer,
        from: StreamId,
        visit: &mut dyn FnMut(StreamId) -> Flow,
    ) -> Result<()> {
        let from = from.max(self.lowest);
        if from > self.highest {
            return Ok(());
        }
        let mut prefix = numbered(OWNED, self.number);
        prefix.extend_from_slice(&consumer.number.to_be_bytes());
        stream.each_row(keyspace, &prefix, &from.bytes(), &self.highest.bytes(), &mut |id, _| {
            visit(id.try_into().ok().map(StreamId::read).ok_or_else(|| stream.damaged())?)
        })
    }

    /// Stores the group and the consumers that have changed.
    pub fn save(mut self, keyspace: &mut Keyspace<'_>, stream: &Stream) -> Result<()> {
        self.find_lowest(keyspace, stream)?;
        for (name, Opened { consumer, stored }) in &self.opened {
            if *stored != Some(*consumer) {
                keyspace.put_element(&stream.collection, &self.consumer_element(name), &consumer.bytes());
            }
        }
        keyspace.put_element(&stream.collection, &group_element(&self.name), &self.bytes());
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        [
            &self.number.to_be_bytes()[..],
            &self.last_delivered.bytes(),
            &self.entries_read.unwrap_or(u64::MAX).to_be_bytes(),
            &self.pending.to_be_bytes(),
            &self.lowest.bytes(),
            &self.highest.bytes(),
            &self.removed.to_be_bytes(),
            &self.consumers.to_be_bytes(),
            &self.next_consumer.to_be_bytes(),
        ]
        .concat()
    }

    fn count_removed(&mut self, stream: &Stream, count: u64) -> Result<()> {
        self.pending = self.pending.checked_sub(count).ok_or_else(|| stream.damaged())?;
        self.removed = self.removed.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Brings the bounds of what is pending up to date, if many rows have gone.
    fn find_lowest(&mut self, keyspace: &Keyspace<'_>, stream: &Stream) -> Result<()> {
        if self.pending == 0 {
            (self.lowest, self.highest, self.removed) = (StreamId::MAX, StreamId::MIN, 0);
        } else if self.removed >= ACKNOWLEDGED_MAX {
            let mut lowest = None;
            self.each_pending(keyspace, stream, (self.lowest, self.highest), Direction::Forward, &mut |id, _| {
                lowest = Some(id);
                Ok(ControlFlow::Break(()))
            })?;
            self.lowest = lowest.ok_or_else(|| stream.damaged())?;
            self.removed = 0;
        }
        Ok(())
    }

    /// Takes the pending entry `id` from the consumer `name`.
    fn take_from(&mut self, keyspace: &mut Keyspace<'_>, stream: &Stream, id: StreamId, name: &[u8]) -> Result<()> {
        let consumer = self.consumer(keyspace, stream, name)?.ok_or_else(|| stream.damaged())?;
        consumer.pending = consumer.pending.checked_sub(1).ok_or_else(|| stream.damaged())?;
        let consumer = *consumer;
        keyspace.delete_element(&stream.collection, &self.owned_element(&consumer, id));
        Ok(())
    }

    fn consumer_element(&self, name: &[u8]) -> Element {
        let mut element = numbered(CONSUMER, self.number);
        element.extend_from_slice(name);
        element
    }

    fn pending_element(&self, id: StreamId) -> Element {
        let mut element = numbered(PENDING, self.number);
        element.extend_from_slice(&id.bytes());
        element
    }

    fn owned_element(&self, consumer: &Consumer, id: StreamId) -> Element {
        let mut element = numbered(OWNED, self.number);
        element.extend_from_slice(&consumer.number.to_be_bytes());
        element.extend_from_slice(&id.bytes());
        element
    }
}

fn group_element(name: &[u8]) -> Element {
    let mut element = Element::from_slice(&[GROUP]);
    element.extend_from_slice(name);
    element
}

/// The beginning of the elements of `kind` of the group `number`.
fn numbered(kind: u8, number: u32) -> Element {
    let mut element = Element::from_slice(&[kind]);
    element.extend_from_slice(&number.to_be_bytes());
    element
}

fn split_id(bytes: &[u8]) -> Option<(StreamId, &[u8])> {
    bytes.split_first_chunk::<ID_BYTES>().map(|(id, rest)| (StreamId::read(*id), rest))
}

/// Adds one to the number that `bytes` are, which must not be the highest.
fn increment(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
