//! Requests to this node's own shards which these have ceased to lead: they take the way of those that are passed on.

use basalt_storage::keyspace::Slot;

use super::hearing::OVERTAKEN;
use super::request::{Aim, Forwarded, Nature, encode, is_refusal};
use super::waiting::NOT_KEPT;
use crate::clients::{Connection, Kept};
use crate::commands::{Args, Command, Kind};
use crate::core_loop::core::Core;
use crate::limits::relays as limits;

impl Core {
    /// Keeps a request that has just been started in `place`, if it is not answered yet and may have to be passed on.
    pub(in crate::core_loop) fn keep_request(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        args: Args<'_>,
        place: u64,
    ) {
        let is_of_keys = matches!(command.kind, Kind::Read(_) | Kind::Write(_));
        // The error of a script may be its own.
        let is_plain = !command.runs_script && command.waits.is_none() && !command.concerns_all_shards();
        if !is_of_keys || !is_plain || !connection.awaits(place) || !self.passes_on(connection) {
            return;
        }
        let Some(slot) = command.keys(args).next().map(|key| Slot::of(args[key])) else { return };
        let length: usize = args.iter().map(|arg| arg.len()).sum();
        let mut bytes = Vec::new();
        if connection.relayed_bytes + length <= limits::OUTSTANDING_BYTES_MAX {
            encode(&mut bytes, args.iter().copied());
        }
        let writes = matches!(command.for_call(args).kind, Kind::Write(_));
        connection.keep(Kept { place, slot, writes, bytes });
    }

    /// Forgets the request of a place whose reply has begun: it can be asked for no more.
    pub(in crate::core_loop) fn forget_kept(&mut self, connection: &mut Connection, place: u64) {
        if let Some(kept) = connection.take_kept(place) {
            self.overtake(connection, &kept);
        }
    }

    /// Has a request of this node's own wait for another leader, if `reply` says that it was certainly not executed since this node
    /// leads no more. False if the reply is for the client.
    pub(in crate::core_loop) fn take_back(&mut self, connection: &mut Connection, place: u64, reply: &[u8]) -> bool {
        let Some(kept) = connection.take_kept(place) else { return false };
        if !is_refusal(reply) {
            self.overtake(connection, &kept);
            return false;
        }
        if kept.bytes.is_empty() {
            self.fill(connection, place, NOT_KEPT);
            return true;
        }
        self.stats().relayed_again.add(1);
        let nature = Nature { writes: kept.writes, ..Nature::default() };
        connection.relayed_bytes += kept.bytes.len();
        let request = Forwarded::new(place, Aim::Slot(kept.slot), nature, kept.bytes, self.clock.now);
        self.have_wait(connection, [request]);
        true
    }

    /// Answers those that wait and were sent to the same group before one that was executed.
    fn overtake(&mut self, connection: &mut Connection, executed: &Kept) {
        if !self.relays.has_waiting(connection.ring) {
            return;
        }
        let group = self.group_of(Aim::Slot(executed.slot));
        let (overtaken, still): (Vec<_>, Vec<_>) = self
            .waiting_of(connection)
            .into_iter()
            .partition(|waits| waits.place < executed.place && self.group_of(waits.aim) == group);
        self.have_wait(connection, still);
        for waits in &overtaken {
            self.answer_relayed(connection, waits, OVERTAKEN);
        }
    }
}
