//! The node, as all of its cores share it: configuration, counters, mailboxes. Nothing here is locked on the data path.

mod background;
mod client_places;
mod clock;
mod disk_health;
mod latency;
mod live_settings;
mod orders;
mod routes;
mod scripts;
mod senders;
mod shares;
mod slow_log;
mod stats;
mod stop;

pub use background::{Background, Job};
pub use client_places::ClientPlaces;
pub use clock::Clock;
pub use disk_health::DiskHealth;
#[cfg(test)]
pub use latency::LatencySample;
pub use latency::{LatencyEvent, LatencyMonitor, LatencySeries};
pub use live_settings::{LiveSettings, Settings};
pub use orders::Orders;
pub use routes::{Leads, Routes};
pub use scripts::Scripts;
pub use senders::Senders;
pub use shares::Shares;
pub use slow_log::{SlowClient, SlowLog};
pub use stats::{
    CommandStats, CoreStats, Counter, Figure, Follower, GroupState, RateMeter, RunTime, ShardStats, ShardTable,
};
pub use stop::Stop;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use basalt_raft::{NodeId, ReceivedSnapshot};
use basalt_storage::BlockCache;
use crossbeam_queue::SegQueue;

use crate::acl::Users;
use crate::boot::OpenFiles;
use crate::cluster::map::{Change, GroupNumber};
use crate::cluster::members::LedGroup;
use crate::cluster::texts::Peer;
use crate::commands::{CommandError, ReplyBounds};
use crate::config::Config;
use crate::entry::request::Mode;
use crate::ids::{CoreId, ShardId, Ticket};
use crate::limits;
use crate::mail::{Mailboxes, Takes};
use crate::snapshots::{Answer, Progress};

/// The node, as all of its cores share it.
pub struct Server {
    /// The configuration the node was started with.
    pub config: Config,
    /// Settings that `CONFIG SET` may change.
    pub settings: Settings,
    /// Files that may be open, by their purpose: fixed at the start.
    pub open_files: OpenFiles,
    /// Slot to shard to core, and in a cluster to other nodes.
    pub routes: Routes,
    /// The queues between cores.
    pub mailboxes: Arc<Mailboxes>,
    /// The memory that each shard may have.
    pub shares: Shares,
    /// Each core's counters, by core.
    pub cores: Box<[CoreStats]>,
    /// Each shard's figures, by shard.
    pub shards: ShardTable,
    /// RocksDB's cache, shared by all shards; kept here for its figures.
    pub block_cache: BlockCache,
    /// The wall clock.
    pub clock: Clock,
    /// The disk, as far as it answers.
    pub disk: DiskHealth,
    /// The moment at which the node started.
    pub started: Instant,
    /// Unix seconds at which the node started.
    pub started_unix_s: u64,
    /// Memory that the process had for itself then, in bytes.
    pub memory_at_start: u64,
    /// 40 hex digits that no other run of a node has.
    pub run_id: String,
    /// The next client's id.
    pub next_client_id: AtomicU64,
    /// Client connections of all cores.
    pub client_count: AtomicUsize,
    /// Relays of commands of other nodes' clients, which are not among them.
    pub accepted_relays: AtomicUsize,
    /// Relays that commands of this node's clients are passed on by.
    pub dialed_relays: AtomicUsize,
    /// The places of clients.
    pub client_places: ClientPlaces,
    /// Those that want to hear when keys change that they keep copies of.
    pub tracking_clients: AtomicUsize,
    /// Shards that do not take everything from other cores.
    pub full_shards: AtomicUsize,
    /// Groups that take no requests: they are not open yet, follow another replica, or have failed.
    pub groups_away: AtomicUsize,
    /// The scripts that clients may call by their digest.
    pub scripts: Scripts,
    /// The threads that send keys to other servers.
    pub senders: Senders,
    /// Asks all cores to stop.
    pub stop: Stop,
    /// The other nodes of the cluster, as the first core finds them.
    pub peers: Mutex<BTreeMap<NodeId, Peer>>,
    /// The groups that cores of this node lead, by the core, as that sees their voters.
    pub led: Mutex<BTreeMap<CoreId, BTreeMap<GroupNumber, LedGroup>>>,
    /// The nodes that have members of groups, by the core that has these, as their members here know them; under no core those of
    /// the map's group. Of others than that, only nodes that are forgotten: they are let in as long as they are members of
    /// something, since their votes may be needed for them to have none any more.
    pub hosts: Mutex<BTreeMap<Option<CoreId>, BTreeSet<NodeId>>>,
    /// Answers of other threads to clients, which the first core hands on: one for each order that the keeper has taken.
    pub late_answers: SegQueue<(Asker, Vec<u8>)>,
    /// Changes of the cluster's map that other threads want, for the core that has its group, and who waits for them: at most one,
    /// that of the attempt to give up all slots.
    pub late_changes: SegQueue<(Change, Asker)>,
    /// Tells which snapshots are on their way from this node, and which to it. Empty on a node alone.
    pub snapshots: OnceLock<UnderWay>,
    /// Snapshots that have come for groups, by the core that has them: of each group one, and few at once.
    pub arrived_snapshots: Box<[SegQueue<ArrivedSnapshot>]>,
    /// The way of orders to the keeper of the groups.
    pub orders: Orders,
    /// The users.
    pub users: Users,
    /// True if keys that are due are deleted before somebody asks for them.
    pub expires_actively: AtomicBool,
    /// The commands that took long.
    pub slow_log: Arc<SlowLog>,
    /// The times that something took longer than it should.
    pub latency: Arc<LatencyMonitor>,
}

/// Tells which snapshots are on their way from this node, and which to it.
pub type UnderWay = Box<dyn Fn() -> [Vec<Progress>; 2] + Send + Sync>;

/// A snapshot that has come for a group from its leader.
pub struct ArrivedSnapshot {
    /// The group.
    pub group: GroupNumber,
    /// The number of the replica that it has come for. Another one of the group must not have it.
    pub replica: NodeId,
    /// The snapshot, whole and checked.
    pub snapshot: ReceivedSnapshot,
    /// Takes what the group says to it.
    pub answer: Answer,
}

/// Something that the keeper of the groups is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A group that has failed is to be opened again.
    Reopen(Reopening),
    /// The map has changed: the node's groups are to be as it says.
    FollowMap,
    /// The node is to give up its slots if it has no keys; if it has some, the client is told this.
    GiveUp(Asker, &'static str),
    /// The node is to become one of the cluster of the node that clients reach at this address.
    Meet(Asker, SocketAddr),
    /// The replica of a group with this number is no member any more, as the group's leader has said to a question of this time.
    ReplicaOut(GroupNumber, NodeId, Instant),
    /// The node is to leave its cluster, and be one of its own again.
    Reset(Asker),
    /// The map has taken that the node gives up its slots, or has not, in which case the client was told.
    GivenUp(bool),
}

/// The client that waits for a reply: its core, and the ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The core.
    pub core: CoreId,
    /// The ticket.
    pub ticket: Ticket,
}

/// The order to open a group again that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reopening {
    /// Its shard.
    pub shard: ShardId,
    /// The index of the entry that is given up, if one is.
    pub skip: Option<u64>,
}

impl Server {
    /// Wakes every core.
    pub fn ring_all(&self) {
        for core in 0..self.mailboxes.core_count() {
            self.mailboxes.bell(CoreId(core as u16)).ring();
        }
    }

    /// Answers a client from a thread that is no core.
    pub fn answer_late(&self, asker: Asker, reply: Vec<u8>) {
        self.late_answers.push((asker, reply));
        self.mailboxes.bell(CoreId(0)).ring_urgently();
    }

    /// Has the cluster's map changed by a thread that is no core.
    pub fn change_late(&self, change: Change, asker: Asker) {
        self.late_changes.push((change, asker));
        self.mailboxes.bell(CoreId(0)).ring_urgently();
    }

    /// Notes that one client more wants to hear when keys change that it keeps copies of, or one less.
    pub fn note_tracking(&self, begins: bool) {
        match begins {
            true => self.tracking_clients.fetch_add(1, Ordering::Relaxed),
            false => self.tracking_clients.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// The number of clients that do.
    pub fn tracking_clients(&self) -> usize {
        self.tracking_clients.load(Ordering::Relaxed)
    }

    /// Returns whether some client does.
    pub fn has_tracking(&self) -> bool {
        self.tracking_clients() > 0
    }

    /// Returns whether some group takes no requests.
    pub fn some_group_is_away(&self) -> bool {
        self.groups_away.load(Ordering::Relaxed) > 0
    }

    /// Returns whether some group is being opened.
    pub fn is_loading(&self) -> bool {
        let is_to_come = |stats: &ShardStats| matches!(stats.state.get(), GroupState::Opening | GroupState::Recovering);
        let has_no_map = || self.routes.now().cluster.as_ref().is_some_and(|cluster| !cluster.knows_of_this_start());
        (self.some_group_is_away() && self.shards.iter().any(is_to_come)) || has_no_map()
    }

    /// The reply to a request for a shard whose group takes none; `None` if it takes them.
    pub fn why_away(&self, shard: ShardId) -> Option<CommandError> {
        match self.shards.get(shard).map(|stats| stats.state.get()) {
            Some(GroupState::Leader | GroupState::Closing) => None,
            Some(GroupState::Follower | GroupState::Leaderless | GroupState::Gone) => Some(CommandError::NOT_LED_HERE),
            Some(GroupState::Failed) => Some(CommandError::SHARD_FAILED),
            Some(GroupState::Opening | GroupState::Recovering) | None => Some(CommandError::LOADING),
        }
    }

    /// Tells all cores that there will be a group of `shard`. Whoever opens its files may call this, before a core has it.
    pub fn note_coming(&self, shard: ShardId, core: CoreId) {
        if self.shards.add(shard, core) {
            self.groups_away.fetch_add(1, Ordering::Relaxed);
        } else if self.shards[shard.index()].state.get() == GroupState::Gone {
            self.note_state(shard, GroupState::Opening);
        }
    }

    /// Tells all cores that the node has a group no more. Whoever has closed its files may call this.
    pub fn note_gone(&self, shard: ShardId) {
        self.note_state(shard, GroupState::Gone);
        self.shards[shard.index()].clear();
    }

    /// Tells the other cores that the group of `shard` is being opened: one of the start, or one that comes later. Only its core
    /// may call this.
    pub fn note_recovering(&self, shard: ShardId, core: CoreId) {
        self.note_coming(shard, core);
        self.note_state(shard, GroupState::Recovering);
    }

    /// Tells the other cores what the group of `shard` has come to. Only its core may call this.
    pub fn note_state(&self, shard: ShardId, state: GroupState) {
        self.count_state(self.shards[shard.index()].state.swap(state), state);
    }

    fn count_state(&self, before: GroupState, state: GroupState) {
        match (!before.is_away(), !state.is_away()) {
            (true, false) => drop(self.groups_away.fetch_add(1, Ordering::Relaxed)),
            (false, true) => drop(self.groups_away.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    /// Tells the other cores that the group of `shard` has stopped for good, through a fault that concerns no other. Where none is
    /// left, the node stops. Only its core may call this, or who opens it while no core has it.
    pub fn note_failed(&self, shard: ShardId, reason: &str) {
        let stats = &self.shards[shard.index()];
        stats.fault.set(Some(reason.to_owned()));
        let before = stats.state.swap(GroupState::Failed);
        self.count_state(before, GroupState::Failed);
        if before != GroupState::Failed {
            tracing::error!(
                shard = shard.0,
                reason,
                "the shard has failed: what concerns its keys is refused, others go on"
            );
        }
        let is_alone = self.routes.now().cluster.is_none();
        if is_alone && self.shards.iter().all(|stats| stats.state.get() == GroupState::Failed) {
            self.fail(format!("shard {shard} cannot go on: {reason}"));
        }
    }

    /// Has the group of a shard that has failed opened again, in a while. Any core may call this.
    ///
    /// # Errors
    /// The reason that nothing is opened.
    pub fn order_reopening(&self, order: Reopening) -> Result<(), CommandError> {
        let shard = order.shard;
        let found = (shard.index() < limits::SHARDS_MAX).then(|| self.shards.get(shard)).flatten();
        let Some(stats) = found else { return Err(CommandError::owned(format!("ERR there is no shard {shard}"))) };
        if !stats.state.change(GroupState::Failed, GroupState::Opening) {
            let state = stats.state.get().name();
            return Err(CommandError::owned(format!("ERR shard {shard} has not failed, its state is '{state}'")));
        }
        stats.fault.set(None);
        self.orders.give(Order::Reopen(order));
        Ok(())
    }

    /// Returns whether some shard does not take everything from other cores.
    pub fn some_shard_is_full(&self) -> bool {
        self.full_shards.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the core of `shard` wants requests of `mode` for it from other cores.
    pub fn shard_takes(&self, shard: ShardId, mode: Mode) -> bool {
        self.shards.get(shard).is_none_or(|stats| stats.takes.get().takes(mode))
    }

    /// Tells the other cores what to send for `shard`. Only its core may call this.
    pub fn set_shard_takes(&self, shard: ShardId, takes: Takes) {
        let told = &self.shards[shard.index()].takes;
        let before = told.get();
        told.set(takes);
        match (before, takes) {
            (Takes::All, Takes::Reads | Takes::Nothing) => drop(self.full_shards.fetch_add(1, Ordering::Relaxed)),
            (Takes::Reads | Takes::Nothing, Takes::All) => drop(self.full_shards.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        if takes < before {
            // Who waits for it goes on.
            self.ring_all();
        }
    }

    /// Bytes of rows from disk that may be kept for one command, see [`limits::PINNED_SHARE`].
    pub fn kept_bytes_max(&self) -> usize {
        (self.config.memory as usize / self.shares.shard_count() / limits::PINNED_SHARE).max(limits::PINNED_BYTES_MIN)
    }

    /// Size that replies may reach.
    pub fn reply_bounds(&self) -> ReplyBounds {
        ReplyBounds::of(self.config.memory, self.shares.shard_count())
    }

    /// Asks every core to stop.
    pub fn stop_all(&self) {
        self.stop.request_handle().request();
    }

    /// Stops the node because it cannot go on safely: `reason` is what it exits with.
    pub fn fail(&self, reason: String) {
        self.stop.fail(reason);
        self.stop_all();
    }
}
