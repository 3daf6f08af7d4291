//! Mail that other cores and threads have left, and requests that wait until their shards have room.

use basalt_net::peer::{Unable, UnableReason};
use basalt_raft::Error;

use super::clients::run_control;
use super::core::{Core, HalfRun};
use super::outbox::Outbox;
use super::set_aside::Aside;
use crate::cluster::map::Change;
use crate::commands::CommandError;
use crate::entry::request::Mode;
use crate::ids::{CoreId, Origin, ShardId, Ticket};
use crate::limits;
use crate::mail::Message;
use crate::meta::Meta;
use crate::node::{ArrivedSnapshot, Asker};
use crate::shard::{Shard, ShardHost as _, work_of};

/// Returns whether what was set aside for `shard` can be run: there is room for it, and for a reply that is made at once.
fn may_run(request: &Aside, shard: &Shard, outbox: &Outbox) -> bool {
    let is_write = request.mode == Mode::Write;
    shard.has_room_for(request.mode) && (is_write || outbox.has_room_for_replies(request.origin.core))
}

impl Core {
    /// Takes what other cores and threads have left; returns how much there was.
    pub fn take_mail(&mut self) -> usize {
        let server = self.server.clone();
        let mut count = 0;
        if self.inbox.runs_aside_first || !self.clients.stalled.has_waiting() {
            count += self.run_set_aside();
        }
        for from in 0..server.mailboxes.core_count() {
            let from = CoreId(from as u16);
            let mut reply_bytes = 0;
            while reply_bytes < limits::REPLY_BYTES_PER_TURN
                && let Some(replies) = server.mailboxes.next_replies(from, self.id)
            {
                count += 1;
                reply_bytes += replies.bytes.len();
                // Who was told that the map has changed goes on with the new one.
                self.refresh_routing();
                self.deliver(&replies);
                self.outbox.recycle_replies(replies);
            }
            let mut orders = 0;
            while orders < limits::REQUESTS_PER_TURN
                && let Some(order) = server.mailboxes.next_order(from, self.id)
            {
                orders += 1;
                // Of each core one at least that takes long, so that none keeps the others' from their turn.
                if self.take_order(order) && self.clock.is_used_up {
                    break;
                }
            }
            count += orders;
            if let Some(half_run) = self.inbox.half_run[from.index()].take() {
                count += self.run_batch(from, half_run);
            }
            // What is not taken now stays in the mailbox: the sender notices when it is full. This core does not sleep before it
            // has looked again, since this turn was no idle one.
            let mut requests = 0;
            while requests < limits::REQUESTS_PER_TURN
                && self.inbox.half_run[from.index()].is_none()
                && self.takes_requests_of(from)
                && let Some(request) = server.mailboxes.next_request(from, self.id)
            {
                count += 1;
                match request {
                    Message::Batch(batch) => {
                        requests += batch.heads.len();
                        self.run_batch(from, HalfRun { batch, next: 0, start: 0 });
                    }
                    Message::Connection(socket) => self.adopt(socket),
                    Message::Change(ticket, change) => self.ask_for_change(from, ticket, &change, Meta::ask),
                    Message::ChangeForNode(ticket, change) => {
                        self.ask_for_change(from, ticket, &change, Meta::ask_for_node);
                    }
                    Message::Peer(peer) => self.adopt_peer(*peer),
                    Message::Subscriptions(told) => self.take_over_subscriptions(&told),
                    Message::ReaderGone(reader) => self.note_reader_gone(reader),
                    Message::Wait(origin, shard, order) => self.wait_in_shard(shard, origin, *order),
                    Message::EndWait(origin, shard) => self.end_wait_in_shard(shard, origin),
                    Message::WaitOn(origin, shard, for_later) => self.wait_on_in_shard(shard, origin, for_later),
                    Message::AwaitReplicas(origin, shard, wanted) => self.await_replicas_of(shard, origin, wanted),
                    Message::EndReplicaWait(origin, shard) => self.end_replica_wait_of(shard, origin),
                    Message::WriteOut(ticket, shard) => self.write_out(Asker { core: from, ticket }, shard),
                    Message::Control(ticket, control) => {
                        let reply = run_control(self, &control);
                        self.outbox.reply_to(from, ticket, &reply);
                    }
                }
            }
        }
        // By turns: neither takes all the room that there is from the other for long.
        if self.fanout.takes_arrived_first() {
            count += self.take_arrived();
            count += self.take_published();
        } else {
            count += self.take_published();
            count += self.take_arrived();
        }
        // Their replies are bounded by the turn: what is left is taken in the next one.
        while self.outbox.has_room_for_replies(self.id)
            && let Some((shard, client, rows)) = self.cold_reads.fetched.pop()
        {
            count += 1;
            self.cold_reads.end(shard);
            let shard = self.shards[shard.index()].as_mut().expect("a shard stays while rows are read for it");
            shard.warmed(client, rows, self.clock.now_ms, &mut self.outbox);
        }
        for shard in self.shards.iter_mut().flatten() {
            shard.group().drain_completions();
            self.leads.extend(shard.tell_leadership());
            shard.end_waits_if_lost(&mut self.outbox);
        }
        self.tell_leads();
        while let Some((asker, reply)) = server.late_answers.pop() {
            self.outbox.reply_to(asker.core, asker.ticket, &reply);
            count += 1;
        }
        count += self.take_snapshots();
        if let Some(meta) = &mut self.meta {
            while let Some((change, asker)) = server.late_changes.pop() {
                meta.order(&change, asker);
                count += 1;
            }
            for (asker, reply) in meta.turn() {
                self.outbox.reply_to(asker.core, asker.ticket, &reply);
                count += 1;
            }
        }
        count += self.let_shards_leave();
        self.tell_what_shards_take();
        count
    }

    /// Puts in force what the shards of this core have said on who leads them since the last time.
    fn tell_leads(&mut self) {
        if !self.leads.is_empty() {
            self.server.routes.set_leaders(&self.leads);
            self.leads.clear();
        }
    }

    /// Hands snapshots that have come to their groups; returns how many there were.
    fn take_snapshots(&self) -> usize {
        let mut count = 0;
        while let Some(ArrivedSnapshot { group, replica, snapshot, answer }) =
            self.server.arrived_snapshots[self.id.index()].pop()
        {
            count += 1;
            // Without a group the answer is dropped, and says so. One that was made anew meanwhile has not asked for it.
            let group = self.groups.find(group).filter(|group| group.node() == replica);
            let Some(group) = group else { continue };
            let installing = async move {
                let unused = |error: Error| Unable::new(UnableReason::Damaged, error.to_string());
                answer.send(group.receive_snapshot(snapshot).await.map_err(unused));
            };
            glommio::spawn_local(installing).detach();
        }
        count
    }

    /// Runs requests of another core's connections. Those that their shards have no room for are set aside; if there is no room for
    /// that, or for replies, the rest of the batch waits. Returns how many were taken.
    fn run_batch(&mut self, from: CoreId, mut run: HalfRun) -> usize {
        let first = run.next;
        while let Some(head) = run.batch.heads.get(run.next).copied() {
            while let Some((_, order)) = run.batch.tracks.pop_front_if(|(before, _)| *before <= run.next) {
                self.take_track(order);
            }
            if !self.takes_requests_of(from) {
                let done = run.next - first;
                self.inbox.half_run[from.index()] = Some(run);
                return done;
            }
            let bytes = &run.batch.bytes[run.start..head.end];
            (run.start, run.next) = (head.end, run.next + 1);
            let origin = Origin { core: from, client: head.client, ticket: head.ticket };
            let seat = self.shards.get_mut(head.shard.index()).and_then(Option::as_mut);
            let Some(shard) = seat.filter(|shard| !shard.takes_nothing()) else {
                // Whoever sent it took another core for the shard's, or the shard for ready.
                self.refuse_away(head.shard, origin);
                continue;
            };
            if self.inbox.set_aside.is_ahead_of(head.shard, head.mode) || !shard.has_room_for(head.mode) {
                self.inbox.set_aside.push(head.shard, origin, head.mode, bytes);
            } else {
                shard.submit(origin, head.mode, bytes, self.clock.now_ms, &mut self.outbox);
                if work_of(bytes) > 0 {
                    self.clock.note_script();
                }
            }
        }
        run.batch.tracks.drain(..).for_each(|(_, order)| self.take_track(order));
        self.outbox.recycle_requests(run.batch);
        run.next - first
    }

    /// Has the cluster's map changed, as a client of a core wants it.
    fn ask_for_change(
        &mut self,
        from: CoreId,
        ticket: Ticket,
        change: &Change,
        ask: fn(&mut Meta, &Change, Asker) -> Result<(), String>,
    ) {
        let loading = || format!("-{}\r\n", CommandError::LOADING);
        let asked =
            self.meta.as_mut().map_or_else(|| Err(loading()), |meta| ask(meta, change, Asker { core: from, ticket }));
        if let Err(reply) = asked {
            self.outbox.reply_to(from, ticket, reply.as_bytes());
        }
    }

    /// Answers a request for a shard that this core does not run, or not any more.
    pub(super) fn refuse_away(&mut self, shard: ShardId, origin: Origin) {
        let error = self.server.why_away(shard).unwrap_or(CommandError::LOADING);
        self.outbox.reply(origin, format!("-{error}\r\n").as_bytes());
    }

    /// Returns whether requests of another core wait in the mailbox that were not taken for want of room, and can be now.
    pub(super) fn may_take_requests(&self) -> bool {
        let cores = (0..self.inbox.half_run.len()).map(|core| CoreId(core as u16));
        cores
            .filter(|core| self.inbox.half_run[core.index()].is_none())
            .any(|core| self.server.mailboxes.has_requests(core, self.id) && self.takes_requests_of(core))
    }

    /// Takes messages that publishers of other cores have left for the subscribers of this one, as far as there is room for what
    /// they cause; returns how many batches. Each core is the first to be asked in its turn.
    fn take_published(&mut self) -> usize {
        let core_count = self.inbox.half_run.len() as u16;
        let (first, mut count) = (self.fanout.next_turn(core_count), 0);
        for step in 0..core_count {
            if !self.fanout.take_arrived() {
                break;
            }
            let from = CoreId((first + step) % core_count);
            if let Some(batch) = self.server.mailboxes.next_published(from, self.id) {
                self.fanout.arrive(batch);
                count += 1;
            }
        }
        self.fanout.take_arrived();
        count
    }

    /// Returns whether messages of publishers wait in the mailbox, and can be taken.
    pub(super) fn may_take_published(&self) -> bool {
        let mut cores = (0..self.inbox.half_run.len()).map(|core| CoreId(core as u16));
        !self.fanout.is_backlogged() && cores.any(|core| self.server.mailboxes.has_published(core, self.id))
    }

    /// Returns whether requests of another core that were run half can go on.
    pub(super) fn may_run_on(&self) -> bool {
        let cores = (0..self.inbox.half_run.len()).map(|core| CoreId(core as u16));
        cores.filter(|core| self.inbox.half_run[core.index()].is_some()).any(|core| self.takes_requests_of(core))
    }

    /// Runs what was set aside for shards that have room again. Returns how many requests were run.
    pub(super) fn run_set_aside(&mut self) -> usize {
        if self.inbox.set_aside.is_empty() {
            return 0;
        }
        let mut count = 0;
        for shard in self.shards.iter_mut().flatten() {
            // The rest has its turn in the next one.
            for _ in 0..limits::REQUESTS_PER_TURN {
                let may_run = |request: &Aside| may_run(request, shard, &self.outbox);
                let Some(request) = self.inbox.set_aside.pop_if(shard.id(), may_run) else { break };
                shard.submit(request.origin, request.mode, &request.bytes, self.clock.now_ms, &mut self.outbox);
                count += 1;
            }
        }
        if count > 0 {
            self.inbox.runs_aside_first = false;
        }
        count
    }

    /// Returns whether something that was set aside can be run.
    pub(super) fn may_run_aside(&self) -> bool {
        let may_run = |shard: &Shard| {
            self.inbox.set_aside.front(shard.id()).is_some_and(|request| may_run(request, shard, &self.outbox))
        };
        !self.inbox.set_aside.is_empty() && self.shards.iter().flatten().any(may_run)
    }

    /// Tells the other cores which shards they should send no more for, and which they may again.
    pub(super) fn tell_what_shards_take(&mut self) {
        for (shard, takes) in self.inbox.set_aside.changes() {
            self.server.set_shard_takes(shard, takes);
        }
    }
}
