//! Clients that wait for entries of streams: XREAD, which takes nothing, and XREADGROUP, whose group gets each entry once.
//!
//! All who read are called when an entry comes, each with a read that stands behind it in its batch, or at once if it was seen
//! when it was there. Of each group the first one is called, through the log as any that takes something; the next is called when
//! it has left some. Who waits for a group that is gone, or at a key that holds no stream any more, is told.
//!
//! What a newcomer would get wrong: a stream that is gone is no matter for those who read. They wait for the next one there,
//! though its entries may have lower ids for a long time.

use basalt_storage::Error as StorageError;
use basalt_storage::keyspace::{Keyspace, WatchedKey};

use super::{Shard, ShardHost};
use crate::commands::{Outlook, outlook_after, outlook_for, waited_stream};
use crate::entry::batch;
use crate::entry::request::Mode;
use crate::entry::waiting::{WaitOrder, Wanted};
use crate::ids::Origin;
use crate::limits;
use crate::shard::cold::NamesLooked;
use crate::shard::execution::Failure;

/// Tells if `key` has entries that are wanted of it, the key `index` of those that are named. Who cannot know without the disk
/// says so.
pub(super) fn outlook(keyspace: &Keyspace<'_>, key: &[u8], wanted: &Wanted, index: usize) -> Outlook {
    let looked = waited_stream(keyspace, key).and_then(|stream| match wanted {
        Wanted::Elements | Wanted::ElementsToMove => Ok(Outlook::Nothing),
        Wanted::EntriesAfter(ids) => {
            Ok(ids.get(index).map_or(Outlook::Nothing, |id| outlook_after(stream.as_ref(), *id)))
        }
        Wanted::EntriesFor(group) => outlook_for(keyspace, stream.as_ref(), group),
    });
    match looked {
        Ok(outlook) => outlook,
        Err(StorageError::Cold(_)) => Outlook::Entries,
        // Whoever reads it meets the error, and says it.
        Err(_) => Outlook::Nothing,
    }
}

impl Shard {
    /// Has a client wait that has looked and found nothing. What has come since is read at once, or when its key is held no more.
    pub(super) fn wait_to_read(
        &mut self,
        origin: Origin,
        order: WaitOrder,
        (may_have_some, is_held): (bool, bool),
        now_ms: u64,
        host: &mut impl ShardHost,
    ) {
        let keys: Vec<WatchedKey> = order.keys.iter().map(|key| (order.pop.db, key.as_ref().into())).collect();
        self.add_waiter(origin, order);
        self.note_waiting(origin);
        if may_have_some {
            self.note_written(&keys);
            self.serve_ready(now_ms, host);
        } else if is_held {
            self.wait_for_holders(origin);
        }
    }

    /// Lets those read who wait for entries of `key`, which was written, and answers those who wait for nothing any more. Returns
    /// those who are to be called through the log.
    pub(super) fn serve_entries(&mut self, key: &WatchedKey, now_ms: u64, host: &mut impl ShardHost) -> Vec<Origin> {
        let chosen = {
            let mut machine = self.machine.borrow_mut();
            let before = machine.scratch.mark();
            let waiters = &mut self.waiting.waiters;
            let chosen = machine.reading(now_ms, |execution| {
                let keyspace = execution.keyspace(key.0);
                waiters.choose_for_entries(key, usize::MAX, |waiter| {
                    outlook(&keyspace, &key.1, &waiter.wanted, waiter.index_of(&key.1))
                })
            });
            // Looked up by nobody.
            machine.scratch.rewind(before);
            chosen
        };
        if chosen.is_for_later {
            self.waiting.later.push(key.clone());
        }
        for (origin, text) in chosen.gone {
            self.leave(origin, format!("-{text}\r\n").as_bytes(), host);
        }
        let mut called = Vec::new();
        for origin in chosen.origins {
            let waiter = self.waiting.waiters.get(origin).expect("it was chosen among those who wait");
            if !waiter.only_reads() {
                called.push(origin);
            } else if host.has_room_for_replies(origin.core) {
                let mut bytes = Vec::new();
                waiter.encode_call(&mut bytes, &key.1);
                self.read_for_waiter(origin, &bytes, now_ms, host);
            } else {
                self.wait_on(origin, host);
                self.look_later(origin);
            }
        }
        called
    }

    /// Reads for one who waits, at once.
    fn read_for_waiter(&mut self, origin: Origin, bytes: &[u8], now_ms: u64, host: &mut impl ShardHost) {
        self.counts_changed = true;
        let mut reply = Vec::new();
        self.machine.borrow().serve(Some(origin));
        let outcome = self
            .machine
            .borrow_mut()
            .reading(now_ms, |execution| execution.run(bytes, &mut NamesLooked::default(), &mut reply));
        match outcome {
            Ok(()) => drop(self.take_found(origin, &reply, host)),
            Err(Failure::Cold(read)) => self.park(origin, Mode::ReadInOrder, bytes, read, host),
            Err(_) => unreachable!("a read's errors are its reply, and it was encoded by this process"),
        }
    }

    /// Puts calls for those who wait for entries of `key` behind a write that is about to add one, and that joined the batch last.
    pub(super) fn serve_entry(&mut self, key: &WatchedKey) {
        let most = limits::READERS_CALLED_UNSEEN;
        let chosen = self.waiting.waiters.choose_for_entries(key, most, |_| Outlook::Entries);
        for origin in chosen.origins {
            let waiter = self.waiting.waiters.get(origin).expect("it was chosen among those who wait");
            let mut bytes = Vec::new();
            waiter.encode_call(&mut bytes, &key.1);
            if waiter.only_reads() {
                self.read_in_order(origin, &bytes);
            } else {
                let at = batch::push(&mut self.batches.open.bytes, |out| out.extend_from_slice(&bytes));
                self.joined_call(origin, at);
            }
        }
    }

    /// Has others of its group looked at that wait for the same key, if entries were delivered to this one and there may be more.
    pub(super) fn leave_others_the_rest(&mut self, origin: Origin, reply: &[u8]) {
        let waiter = self.waiting.waiters.get(origin);
        let Some(waiter) = waiter.filter(|waiter| matches!(waiter.wanted, Wanted::EntriesFor(_))) else { return };
        if !reply.starts_with(b"-") {
            let keys: Vec<WatchedKey> = waiter.keys.iter().map(|key| (waiter.pop.db, key.clone())).collect();
            self.note_written(&keys);
        }
    }
}
