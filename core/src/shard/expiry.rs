//! Keys whose deadline has passed are deleted through the log, a few at a time, and so are fields of hashes.

use std::sync::atomic::Ordering;

use basalt_net::resp::Protocol;
use basalt_raft::Role;
use basalt_storage::keyspace::{ColdRows, Keyspace};
use basalt_storage::{ColdRead, Error as StorageError};

use super::{HOUSEKEEPING, Shard, ShardHost};
use crate::commands::table;
use crate::entry::request::{self, Moment, RequestHeader};
use crate::limits;

/// The point that the deletion of due keys has come to.
#[derive(Default)]
pub(super) struct Expiry {
    /// True if deletions are in a batch that has no outcome.
    pub(super) in_flight: bool,
    /// True if one of the last deletions took all it might: there may be more.
    pub(super) goes_on: bool,
    /// True if rows are being fetched that the look for due keys needs.
    pub(super) is_fetching: bool,
    /// Times that rows were fetched since the last tick.
    pub(super) rounds: u32,
    /// No key that was due before this is left.
    pub(super) floor_ms: u64,
    /// No hash with fields that were due before this is left.
    pub(super) fields_floor_ms: u64,
    /// No field has a deadline before this; none has any if it is the highest number. Looked for anew once it has passed: a look
    /// walks over the traces of deadlines that were moved or deleted.
    pub(super) fields_next_ms: u64,
    /// The term in which that was found.
    pub(super) term: u64,
    /// Snapshots that had been installed by then.
    pub(super) installs: u64,
}

/// Kinds of things that are deleted for their deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Keys,
    Fields,
}

impl Expiry {
    fn floor_ms(&mut self, due: Due) -> &mut u64 {
        match due {
            Due::Keys => &mut self.floor_ms,
            Due::Fields => &mut self.fields_floor_ms,
        }
    }
}

impl Shard {
    /// Puts the deletion of due keys and fields into the batch, if this replica leads and some are due. What is not in memory is
    /// fetched, and looked at then.
    pub(super) fn delete_expired(&mut self, now_ms: u64, host: &mut impl ShardHost) {
        if !self.server.expires_actively.load(Ordering::Relaxed) {
            return;
        }
        let is_busy = self.expiry.in_flight || self.expiry.is_fetching;
        let status = self.group.status();
        if is_busy || self.is_backlogged() || status.role != Role::Leader {
            return;
        }
        let installs = self.machine.borrow().installs;
        let is_new_term = std::mem::replace(&mut self.expiry.term, status.term) != status.term;
        if is_new_term || std::mem::replace(&mut self.expiry.installs, installs) != installs {
            // The rows may have come from another leader meanwhile, as they are.
            (self.expiry.floor_ms, self.expiry.fields_floor_ms, self.expiry.fields_next_ms) = (0, 0, 0);
        }
        let (now_ms, earliest_ms) = {
            let mut machine = self.machine.borrow_mut();
            let now_ms = machine.advance_time(now_ms);
            if let Some(field_ms) = machine.scratch.take_earliest_field_deadline_ms() {
                self.expiry.fields_next_ms = self.expiry.fields_next_ms.min(field_ms);
            }
            (now_ms.min(self.holding.expiry_until_ms()), machine.scratch.take_earliest_deadline_ms())
        };
        // An entry may have been on its way for so long that a deadline it set was below the floor when it was applied.
        let earliest_ms = earliest_ms.unwrap_or(u64::MAX);
        for due in [Due::Keys, Due::Fields] {
            let floor_ms = self.expiry.floor_ms(due);
            *floor_ms = earliest_ms.min(*floor_ms);
        }
        for due in [Due::Keys, Due::Fields] {
            match self.is_due(due, now_ms, host) {
                Some(true) => self.delete_due(due, now_ms),
                Some(false) => *self.expiry.floor_ms(due) = now_ms.saturating_sub(limits::EXPIRY_OVERLAP_MS),
                None => return,
            }
        }
        self.expiry.rounds = 0;
    }

    /// Returns whether some of what is `due` is there; `None` if that is not known yet.
    fn is_due(&mut self, due: Due, now_ms: u64, host: &mut impl ShardHost) -> Option<bool> {
        let floor_ms = *self.expiry.floor_ms(due);
        if due == Due::Fields && now_ms <= self.expiry.fields_next_ms {
            return Some(false);
        }
        let mut next_ms = None;
        let found = self.machine.borrow_mut().reading(now_ms, |execution| {
            let is_on_disk = execution.store.has_rows_on_disk();
            let keyspace = Keyspace::new(execution.store, execution.scratch, execution.versions, 0, now_ms);
            let (mut cold, count) = (ColdRows::new(), limits::EXPIRED_KEYS_PER_BATCH);
            let is_due = match due {
                Due::Keys => keyspace.has_due(floor_ms)?,
                Due::Fields => {
                    let is_due = keyspace.has_due_fields(floor_ms)?;
                    if !is_due {
                        next_ms = keyspace.next_field_deadline_ms(floor_ms)?;
                    }
                    is_due
                }
            };
            if is_due && is_on_disk {
                match due {
                    Due::Keys => keyspace.cold_due(count, floor_ms, &mut cold)?,
                    Due::Fields => keyspace.cold_due_fields(count, floor_ms, &mut cold)?,
                }
            }
            if cold.is_empty() { Ok(is_due) } else { Err(StorageError::Cold(ColdRead::Keys(cold))) }
        });
        match found {
            Ok(is_due) => {
                if due == Due::Fields && !is_due {
                    self.expiry.fields_next_ms = next_ms.unwrap_or(u64::MAX);
                }
                Some(is_due)
            }
            Err(StorageError::Cold(read)) if self.expiry.rounds < limits::EXPIRY_WARM_ATTEMPTS => {
                self.expiry.rounds += 1;
                self.expiry.is_fetching = true;
                host.warm(self.id, HOUSEKEEPING, read, false);
                None
            }
            // They are evicted faster than they are read: the deletion's entry waits for them.
            Err(StorageError::Cold(ColdRead::Keys(_))) => Some(true),
            Err(StorageError::Cold(_)) => None,
            Err(error) => {
                tracing::debug!(shard = self.id.0, %error, ?due, "what is past its deadline cannot be looked for");
                None
            }
        }
    }

    /// Puts the deletion of what is `due` into the batch.
    fn delete_due(&mut self, due: Due, now_ms: u64) {
        let command = match due {
            Due::Keys => table::DELETE_EXPIRED,
            Due::Fields => table::DELETE_EXPIRED_FIELDS,
        };
        let (count, floor) = (limits::EXPIRED_KEYS_PER_BATCH.to_string(), self.expiry.floor_ms(due).to_string());
        // By the time of the entry more may be due, of which somebody relies on that it is there.
        let moment =
            (self.holding.expiry_until_ms() < u64::MAX).then_some(Moment { time_ms: now_ms, string_bytes_max: 0 });
        let header = RequestHeader { moment, ..RequestHeader::new(Protocol::Resp2, 0, command) };
        self.expiry.in_flight = true;
        self.write(None, |out| request::encode(out, header, [count.as_bytes(), floor.as_bytes()].into_iter()));
    }
}
