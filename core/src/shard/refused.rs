//! Reads of a batch that was refused, or of which nothing is heard. They were to run in their places among its writes, and run
//! without them.
//!
//! What a newcomer would get wrong: meanwhile their connections may have requests parked that came later. A read must not see what
//! a later write of its own connection does, so it never queues up behind them.

use std::sync::Arc;

use basalt_storage::keyspace::Slot;

use super::cold::{ColdProgress, ParkedRequest};
use super::{Shard, ShardHost};
use crate::cluster::{Elsewhere, Routing};
use crate::commands::{Kind, table};
use crate::entry::request::{self, ArgList, Mode};
use crate::entry::transaction::Transaction;
use crate::ids::Origin;

/// The reply to a read that stood in a batch which a group of several voters has not committed.
const UNCONFIRMED: &str = "-CLUSTERDOWN this node cannot confirm that it leads the group, try again\r\n";

/// The way of requests to the node that leads the group now: they have come here before this one knew.
pub(super) struct Redirects(Arc<Routing>);

impl Redirects {
    /// The reply that sends the client of an encoded request there; `None` if no other node is known to lead.
    pub(super) fn reply(&self, bytes: &[u8]) -> Option<String> {
        let cluster = self.0.cluster.as_ref()?;
        let mut args = ArgList::new();
        // In the place of the name.
        args.push(b"");
        let header = request::decode(bytes, &mut args)?;
        let command = table::by_id(header.command)?;
        if matches!(command.kind, Kind::Transaction) {
            return Transaction::read(bytes)?.commands().flatten().find_map(|member| self.reply(member));
        }
        let key = command.keys(&args).next()?;
        let elsewhere = cluster.elsewhere(Slot::of(args[key]));
        matches!(elsewhere, Elsewhere::Moved { .. }).then(|| format!("-{elsewhere}\r\n"))
    }
}

impl Shard {
    /// The way of requests to the node that leads the group, if this one does not.
    pub(super) fn redirects(&mut self) -> Option<Redirects> {
        if self.group.is_leader() {
            return None;
        }
        if let Some(leads) = self.tell_leadership() {
            self.server.routes.set_leaders(&[leads]);
        }
        Some(Redirects(self.server.routes.now()))
    }

    /// Runs a read of a batch that is given up, before all that its connection has parked: at once ([`Mode::Read`]), or behind what
    /// is still in flight ([`Mode::ReadInOrder`]), in which its connection may have earlier writes.
    pub(super) fn run_refused_read(&mut self, origin: Origin, mode: Mode, bytes: &[u8], host: &mut impl ShardHost) {
        if self.has_failed() {
            return self.refuse_failed(origin, host);
        }
        if self.take_refused(origin, UNCONFIRMED.as_bytes(), host) {
            return;
        }
        if self.reads_wait() {
            // It had its place in a batch in place of a barrier. Whether this replica still leads is what nobody knows now.
            return host.reply(origin, UNCONFIRMED.as_bytes());
        }
        let client = (origin.core, origin.client);
        let is_behind_another = self.parking.parked.get(&client).is_some_and(|parked| parked.refused > 0);
        let cold = if is_behind_another {
            None
        } else {
            let time_ms = self.machine.borrow().time_ms();
            match self.run(origin, mode, bytes, time_ms, host) {
                Ok(()) => return,
                Err(cold) => Some(cold),
            }
        };
        if let Some(parked) = self.parking.parked.get_mut(&client) {
            // If its rows are not in memory, they are fetched when those are there that another request waits for already.
            let progress = ColdProgress::new();
            let request = ParkedRequest { origin, mode, bytes: bytes.to_vec(), progress, turn: None, since: None };
            let place = parked.refused;
            parked.requests.insert(place, request);
            parked.refused += 1;
            parked.fetches_for += usize::from(place <= parked.fetches_for);
            let is_behind_hold = parked.waits_at.is_some();
            let waiting = if is_behind_hold { &mut self.holding.waiting } else { &mut self.parking.waiting };
            waiting.add(bytes.len());
        } else if let Some(cold) = cold {
            self.park(origin, mode, bytes, cold, host);
            if let Some(parked) = self.parking.parked.get_mut(&client) {
                parked.refused = 1;
            }
        }
    }
}
