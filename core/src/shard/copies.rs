//! Bytes that a command writes that copies rows: its own bytes tell nothing of it.
//!
//! Batches are bounded by their bytes, since what they add to the memtable follows from those for most commands. A COPY of thirty
//! bytes may add sixteen megabytes, and so may a SUNIONSTORE. So what it copies is weighed before it joins, and counts as if it
//! stood in the batch.

use super::Shard;
use super::parts::part_of;
use crate::commands::{Command, Copies, Kind, Rows, once, table};
use crate::entry::request::{self, ArgList, RequestHeader};
use crate::entry::transaction::Transaction;
use crate::limits;

impl Shard {
    /// Bytes of rows that an encoded write copies, about. They count although its destination may be there and stay as it is: a
    /// write before it, which is not applied yet, may delete that.
    pub(super) fn weigh_copies(&self, bytes: &[u8], now_ms: u64) -> usize {
        let Some(command) = request::peek(bytes).and_then(|(id, _)| table::by_id(id)) else { return 0 };
        if let (Kind::Part, Some(part)) = (command.kind, part_of(bytes)) {
            return self.weigh_copies(part, now_ms);
        }
        if matches!(command.kind, Kind::Transaction) {
            let members = Transaction::read(bytes).into_iter().flat_map(|transaction| transaction.commands());
            return members.flatten().map(|member| self.weigh_copies(member, now_ms)).fold(0, usize::saturating_add);
        }
        if command.id == table::ONCE {
            return self.weigh_inner(command, bytes, now_ms);
        }
        if command.rows != Rows::Whole {
            return if command.copies == Copies::Nothing { 0 } else { self.weigh_sources(command, bytes, now_ms) };
        }
        let mut args = ArgList::new();
        let Some(header) = request::decode(bytes, &mut args) else { return 0 };
        // Its keys; the command's own name is no argument.
        let &[source, destination, ref options @ ..] = &args[..] else { return 0 };
        if source == destination && !options.iter().any(|option| option.eq_ignore_ascii_case(b"DB")) {
            return 0;
        }
        let mut machine = self.machine.borrow_mut();
        machine.reading(now_ms, |execution| {
            let weighed = execution.keyspace(header.db).weigh(source, limits::WEIGHED_BYTES_MAX);
            // Evicted a moment ago: nobody knows.
            weighed.unwrap_or(limits::WEIGHED_BYTES_MAX)
        })
    }

    /// The same of a command that another one executes.
    fn weigh_inner(&self, command: &Command, bytes: &[u8], now_ms: u64) -> usize {
        let mut args = ArgList::new();
        args.push(b"");
        let Some(header) = request::decode(bytes, &mut args) else { return 0 };
        let Some((inner, args)) = once::inner(command, &args).filter(|(inner, _)| inner.id != command.id) else {
            return 0;
        };
        let mut bytes = Vec::new();
        let header = RequestHeader { command: inner.id, asked: inner.id, ..header };
        request::encode(&mut bytes, header, args[1..].iter().copied());
        self.weigh_copies(&bytes, now_ms)
    }

    /// The same of a write whose row of the table says what it copies.
    fn weigh_sources(&self, command: &Command, bytes: &[u8], now_ms: u64) -> usize {
        let mut args = ArgList::new();
        args.push(b"");
        let Some(header) = request::decode(bytes, &mut args) else { return 0 };
        let mut keys = command.keys(&args).map(|position| args[position]);
        let mut machine = self.machine.borrow_mut();
        machine.reading(now_ms, |execution| {
            let keyspace = execution.keyspace(header.db);
            let weigh = |key| keyspace.weigh(key, limits::WEIGHED_BYTES_MAX).unwrap_or(limits::WEIGHED_BYTES_MAX);
            match (command.copies, keys.next()) {
                (Copies::Nothing, _) | (_, None) => 0,
                (Copies::Half, Some(list)) => weigh(list) / 2,
                (Copies::First, Some(source)) if keys.next().is_some() => weigh(source),
                (Copies::First, Some(_)) => 0,
                (Copies::Key, Some(key)) => weigh(key),
                (Copies::Payload, Some(key)) => {
                    let payload = args.get(3).copied().unwrap_or_default();
                    let size = basalt_rdb::size(payload, limits::RESTORED_BYTES_MAX);
                    // No more of it is kept, whatever repeats.
                    let bytes = size.repeated_bytes.min(limits::RESTORED_BYTES_MAX).saturating_add(size.inflated_bytes);
                    let rows_bytes = size.rows.saturating_mul(key.len() + limits::RESTORED_ROW_OVERHEAD);
                    // More is refused.
                    bytes.min(limits::BULK_BYTES_MAX as usize) + rows_bytes.min(limits::RESTORED_ROWS_BYTES_MAX)
                }
                (Copies::End, Some(list)) => keyspace.weigh_ends(list).unwrap_or(limits::WEIGHED_BYTES_MAX),
                (Copies::Sources, Some(_)) => {
                    keys.take(limits::WEIGHED_KEYS_MAX).map(weigh).fold(0, usize::saturating_add)
                }
            }
        })
    }
}
