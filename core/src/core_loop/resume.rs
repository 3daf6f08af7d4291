//! Connections that go on when there is room again.

use smallvec::SmallVec;

use super::core::Core;

impl Core {
    /// Takes up decoding where it was stopped for want of room.
    pub fn resume_stalled(&mut self) -> usize {
        let mut resumed = 0;
        if !self.clients.stalled.is_empty() && !self.outbox.is_backlogged() {
            resumed += self.resume_ready();
            resumed += self.resume_waiting();
        }
        // However full the outbox is: cores whose outboxes wait for each other must not wait with this too.
        if !self.inbox.runs_aside_first {
            resumed += self.run_set_aside();
            self.tell_what_shards_take();
        }
        resumed
    }

    /// Goes on with connections that may have room again, or must be looked at for another reason.
    fn resume_ready(&mut self) -> usize {
        let mut resumed = 0;
        for _ in 0..self.clients.stalled.ready_count() {
            // Whoever has not had a turn is the first in the next one.
            if self.clock.is_used_up {
                break;
            }
            let Some(id) = self.clients.stalled.pop() else { break };
            let Some(mut connection) = self.take_connection(id) else { continue };
            resumed += 1;
            let waits = connection.waits_for.is_some();
            connection.stalled = waits;
            self.send_pieces(&mut connection);
            if connection.has_paused_relays {
                self.take_more_replies(&mut connection);
            }
            if let Some(place) = connection.waits_to_publish.take() {
                self.run_queued(&mut connection, place);
            }
            if !waits {
                self.decode_kept(&mut connection);
            }
            self.put_connection(connection);
        }
        resumed
    }

    /// Goes on with connections that wait for shards which have room again.
    fn resume_waiting(&mut self) -> usize {
        let waiting: SmallVec<[_; 8]> = self.clients.stalled.waiting().collect();
        let mut resumed = 0;
        for (shard, mode, count) in waiting {
            // Who finds no room again waits behind the others, and has its next turn in a later one.
            for _ in 0..count {
                if !self.shard_has_room(shard, mode) || self.outbox.is_backlogged() || self.clock.is_used_up {
                    break;
                }
                let Some(id) = self.clients.stalled.pop_waiting(shard, mode) else { break };
                let Some(mut connection) = self.take_connection(id) else { continue };
                resumed += 1;
                connection.waits_for = None;
                connection.stalled = false;
                self.send_pieces(&mut connection);
                self.decode_kept(&mut connection);
                self.put_connection(connection);
            }
        }
        if resumed > 0 {
            self.inbox.runs_aside_first = true;
        }
        resumed
    }

    /// Returns whether a connection that waits for a shard can go on.
    pub(super) fn may_resume_waiting(&self) -> bool {
        self.clients.stalled.waiting().any(|(shard, mode, _)| self.shard_has_room(shard, mode))
    }
}
