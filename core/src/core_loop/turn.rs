//! The work of each turn, and what the loop asks to know how to wait for the next one.

use std::time::{Duration, Instant};

use super::core::Core;
use crate::cluster::Routing;
use crate::limits;
use crate::node::LatencyEvent;
use crate::peers::Peers;
use crate::shard::{Outstanding, Shard};

impl Core {
    /// Reads the clocks, once a turn.
    pub fn start_turn(&mut self) {
        self.clock.now = Instant::now();
        self.clock.is_used_up = false;
        self.clock.now_ms = self.server.clock.unix_ms();
        self.traffic.turn(self.clock.now);
        self.stats().turns.add(1);
        // Each turn, so that what a client has set is in force when it hears of it, whichever core it then talks to.
        if self.live.refresh(&self.server.settings) {
            self.watch_slow();
            self.choose_key_events();
            self.set_up_tracking();
        }
        self.stats().slow.mark();
        self.refresh_users();
        self.refresh_routing();
    }

    /// Takes the routing that is in force, if it is another than the last one.
    pub(super) fn refresh_routing(&mut self) {
        if self.routing_version != self.server.routes.version() {
            self.routing_version = self.server.routes.version();
            let before = std::mem::replace(&mut self.routing, self.server.routes.now());
            let id = |routing: &Routing| routing.cluster.as_ref().map(|cluster| cluster.id);
            if id(&before) != id(&self.routing) {
                self.forget_peers();
            }
            self.note_moved_channels();
            self.close_relays_of_strangers();
            self.relays.look_again();
        }
    }

    /// Gives messages to subscribers, proposes what the turn collected, starts disk reads, hands over what is for others. True if
    /// something was sent.
    pub fn finish_turn(&mut self) -> bool {
        self.tell_key_events();
        self.take_changed_keys();
        let delivered = self.finish_fanout() + self.tell_changes();
        // Whatever is in there came before the replies that leave with this turn.
        self.take_slow();
        self.tell_shards_of_each_other();
        let (mut proposed_bytes, mut group_count) = (0, 0);
        for shard in self.shards.iter_mut().flatten() {
            let bytes_max = self.live.resp_limits.bulk_bytes_max;
            let bytes = shard.propose(self.clock.now, self.clock.now_ms, bytes_max, &mut self.outbox);
            proposed_bytes += bytes;
            group_count += usize::from(bytes > 0);
        }
        self.sync_placement.expect(group_count);
        if proposed_bytes > 0 {
            self.sync_placement.place(proposed_bytes);
        }
        self.start_warming();
        self.outbox.flush() + delivered > 0
    }

    /// Has the shards propose as one where they share syncs.
    fn tell_shards_of_each_other(&mut self) {
        if self.shards.iter().flatten().nth(1).is_none() {
            // One alone has nobody to wait for, which it knows from the beginning.
            return;
        }
        let now = self.clock.now;
        let outstanding = self.shards.iter().flatten().map(|shard| shard.outstanding(now));
        let Some(all) = outstanding.reduce(Outstanding::and) else { return };
        for shard in self.shards.iter_mut().flatten() {
            let others = all.without(shard.outstanding(now));
            shard.note_others(others);
        }
    }

    /// Hands over the requests for other cores, which begin with them while this one runs theirs. True if something was sent.
    pub fn hand_over_requests(&mut self) -> bool {
        self.outbox.flush_requests() > 0
    }

    /// Counts a turn that held the core longer than a task may.
    pub fn note_turn_length(&self) {
        let length = self.clock.now.elapsed();
        self.server.latency.note(LatencyEvent::Turn, length);
        if length > limits::TURN_MAX {
            let stats = self.stats();
            stats.stalls.add(1);
            stats.stall_us_max.set(stats.stall_us_max.get().max(length.as_micros() as u64));
        }
    }

    /// Does work that is due now and then: expiry, time-outs, figures for `INFO`. Cheap to call every turn.
    pub fn tick(&mut self) {
        self.end_overdue_waits();
        self.look_at_pause();
        self.try_waiting_anew();
        if self.has_handed_over_much() {
            self.publish();
            self.evict_clients();
        }
        if self.clock.now.duration_since(self.clock.last_tick) < limits::TICK {
            return;
        }
        self.clock.last_tick = self.clock.now;
        self.see_to_disk();
        for shard in self.shards.iter_mut().flatten() {
            shard.tick(self.clock.now, self.clock.now_ms, self.live.write_timeout, &mut self.outbox);
        }
        self.settle_transactions();
        self.begin_migrations();
        self.see_to_members();
        self.tick_peers();
        self.look_after_relays();
        self.close_idle();
        self.close_unread();
        self.close_broken();
        self.publish();
        self.evict_clients();
    }

    /// Returns whether something keeps the core from sleeping.
    pub fn has_work(&self) -> bool {
        let may_resume = || self.clients.stalled.ready_count() > 0 || self.may_resume_waiting();
        self.outbox.has_mail()
            || self.clock.is_used_up
            || self.has_ready_scripts()
            || self.fanout.has_some()
            || self.has_key_events()
            || self.telling.has_some()
            || self.has_changed_keys()
            || self.may_take_published()
            || self.may_take_arrived()
            || self.may_start_warming()
            || (!self.outbox.is_backlogged() && may_resume())
            || self.may_run_on()
            || self.may_take_requests()
            || self.may_run_aside()
            || !self.cold_reads.fetched.is_empty()
            || self.peers.as_ref().is_some_and(Peers::has_work)
            || self.shards.iter().flatten().any(Shard::has_replies)
    }

    /// Returns whether a batch of a shard is likely to come out of the log in a moment.
    pub fn commits_soon(&self) -> bool {
        self.shards.iter().flatten().any(|shard| shard.commits_soon(self.clock.now))
    }

    /// For how many clients to wait in the ring, and for how long, if that is worth while.
    pub fn gathers(&self) -> Option<(u32, Duration)> {
        let clients = self.traffic.gathers(self.pending.len())?;
        let shards = || self.shards.iter().flatten();
        if !shards().any(|shard| shard.expects_many_writes(self.clock.now)) {
            return Some((clients, limits::GATHER));
        }
        // Enough for the batch that waits; more would only delay its sync.
        let missing = shards().filter_map(Shard::missing_writes).max();
        let clients = missing.map_or(clients, |missing| clients.min(missing as u32));
        Some((clients, limits::GATHER_WRITES))
    }

    /// Returns whether a batch of a shard waits for nothing but the clients.
    pub fn waits_for_clients(&self) -> bool {
        self.shards.iter().flatten().any(Shard::waits_for_clients)
    }

    /// The longest the core may sleep in its ring or in glommio before it must look at its clocks.
    pub fn sleep_max(&self) -> Duration {
        let longest = self.sleep_max_without_waits();
        let longest = self.pause.ends_in(self.clock.now).map_or(longest, |left| left.min(longest));
        self.clients.waits.next_in(self.clock.now).map_or(longest, |next| next.min(longest))
    }

    fn sleep_max_without_waits(&self) -> Duration {
        if self.stopping.is_some() {
            Duration::from_millis(1)
        } else if self.shards.iter().flatten().any(Shard::is_held) {
            limits::HELD_RETRY
        } else if self.shards.iter().flatten().any(Shard::is_gathering) {
            limits::HOLD_BEHIND
        } else if self.clock.idle_parks < limits::IDLE_PARKS
            || self.shards.iter().flatten().any(|shard| {
                shard.has_deadlines() || shard.awaits_replicas() || shard.looks_later() || shard.has_left()
            })
            || self.peers.as_ref().is_some_and(Peers::has_deadlines)
            || !self.relays.is_empty()
            || self.tasks.has_waiting_migrations()
            || self.members_are_changing()
            || self.awaits_disk()
            || self.meta.as_ref().is_some_and(|meta| meta.has_deadlines())
        {
            limits::TICK
        } else if self.meta.as_ref().is_some_and(|meta| meta.looks_out()) {
            limits::LOOK_OUT / 2
        } else {
            limits::TICK_IDLE
        }
    }

    /// Notes the end of a park: because its time was over, or with something to do, which [`note_work`](Core::note_work) says then.
    pub fn note_park(&mut self) {
        self.clock.idle_parks = self.clock.idle_parks.saturating_add(1);
    }

    /// Notes that there was something to do beside heartbeats of other nodes, which need no looks behind them.
    pub fn note_work(&mut self) {
        self.clock.idle_parks = 0;
    }
}
