//! The node, as all of its cores share it: configuration, counters, mailboxes. Nothing here is locked on the data path.

mod background;
mod clock;
mod live_settings;
mod stats;
mod stop;

pub use background::{Background, Job};
pub use clock::Clock;
pub use live_settings::{LiveSettings, Settings};
pub use stats::{CoreStats, Counter, Figure, GroupState, RateMeter, ShardStats, ShardTable};
pub use stop::Stop;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use basalt_storage::BlockCache;

use crate::boot::OpenFiles;
use crate::cluster::Router;
use crate::commands::ReplyBounds;
use crate::config::Config;
use crate::entry::request::Mode;
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::mail::{Mailboxes, Takes};

/// The node, as all of its cores share it.
pub struct Server {
    /// The configuration the node was started with.
    pub config: Config,
    /// Settings that `CONFIG SET` may change.
    pub settings: Settings,
    /// Files that may be open, by their purpose: fixed at the start.
    pub open_files: OpenFiles,
    /// Slot to shard to core.
    pub router: Router,
    /// The queues between cores.
    pub mailboxes: Arc<Mailboxes>,
    /// Size that replies may reach.
    pub reply_bounds: ReplyBounds,
    /// Each core's counters, by core.
    pub cores: Box<[CoreStats]>,
    /// Each shard's figures, by shard.
    pub shards: ShardTable,
    /// RocksDB's cache, shared by all shards; kept here for its figures.
    pub block_cache: BlockCache,
    /// The wall clock.
    pub clock: Clock,
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
    /// Shards that do not take everything from other cores.
    pub full_shards: AtomicUsize,
    /// Groups that do not take requests yet.
    pub groups_to_come: AtomicUsize,
    /// Asks all cores to stop.
    pub stop: Stop,
}

impl Server {
    /// Wakes every core.
    pub fn ring_all(&self) {
        for core in 0..self.mailboxes.core_count() {
            self.mailboxes.bell(CoreId(core as u16)).ring();
        }
    }

    /// Returns whether some group does not take requests yet.
    pub fn is_loading(&self) -> bool {
        self.groups_to_come.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the group of `shard` takes requests.
    pub fn is_ready(&self, shard: ShardId) -> bool {
        let state = self.shards.get(shard).map(|stats| stats.state.get());
        matches!(state, Some(GroupState::Leader | GroupState::Closing))
    }

    /// Tells the other cores that the group of `shard` is being opened: one of the start, or one that comes later. Only its core
    /// may call this.
    pub fn note_recovering(&self, shard: ShardId, core: CoreId) {
        if self.shards.add(shard, core) {
            self.groups_to_come.fetch_add(1, Ordering::Relaxed);
        }
        self.shards[shard.index()].state.set(GroupState::Recovering);
    }

    /// Tells the other cores that the group of `shard` takes requests from now on. Only its core may call this, once.
    pub fn note_ready(&self, shard: ShardId) {
        self.shards[shard.index()].state.set(GroupState::Leader);
        self.groups_to_come.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns whether some shard does not take everything from other cores.
    pub fn some_shard_is_full(&self) -> bool {
        self.full_shards.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the core of `shard` wants requests of `mode` for it from other cores.
    pub fn shard_takes(&self, shard: ShardId, mode: Mode) -> bool {
        self.shards[shard.index()].takes.get().takes(mode)
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
        (self.config.memory as usize / self.shards.len() / limits::PINNED_SHARE).max(limits::PINNED_BYTES_MIN)
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
