//! One core: its connections, its shards, its outbox. What it does with them stands in the files beside this one, a verb each.
//!
//! Nothing here waits. [`crate::core_loop`] decides when a turn happens and when the core sleeps. The files know each other in
//! one direction: what there is room for ([`room`](super::room)) → replies, clients → commands ([`dispatch`](super::dispatch)) →
//! what clients have sent, answers → mail of other cores → connections that go on → the turn.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use basalt_net::resp::Argv;
use basalt_net::ring::{ConnId, Ring};
use basalt_storage::Fetched;
use crossbeam_queue::ArrayQueue;

use super::outbox::Outbox;
use super::pending::PendingRequests;
use super::set_aside::SetAside;
use super::sync_placement::SyncPlacement;
use crate::clients::{Connection, Stalled, Traffic, Turns};
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::mail::RequestBatch;
use crate::node::{Background, CoreStats, LiveSettings, RateMeter, Server};
use crate::shard::Shard;

/// A connection for whose parked request a reader thread has read rows, and those rows.
pub(super) type Warmed = (ShardId, (CoreId, u32), Fetched);

/// Shards whose groups have come to take requests since the core last looked.
pub type Opened = Rc<RefCell<Vec<Shard>>>;

/// One core of the node.
pub struct Core {
    pub(super) id: CoreId,
    pub(super) server: Arc<Server>,
    pub(super) ring: Ring,
    pub(super) outbox: Outbox,
    pub(super) pending: PendingRequests,
    /// By the ring's index of the connection.
    pub(super) connections: Vec<Option<Box<Connection>>>,
    /// By shard; `None` where another core runs it, and until its group takes requests.
    pub(super) shards: Vec<Option<Shard>>,
    opened: Opened,
    pub(super) now_ms: u64,
    pub(super) now: Instant,
    pub(super) argv: Argv,
    pub(super) traffic: Traffic,
    pub(super) sync_placement: SyncPlacement,
    pub(super) live: LiveSettings,
    /// Bytes that clients were answered or have sent since it was last looked at what they all hold.
    pub(super) handed_over_bytes: usize,
    pub(super) stalled: Stalled,
    /// What other cores want of shards that take no more right now.
    pub(super) set_aside: SetAside,
    /// Whether that is run before this core's own connections go on when there is room again: they take turns.
    pub(super) runs_aside_first: bool,
    pub(super) turns: Turns,
    /// Connections with more unread output than the soft limit allows for long.
    pub(super) unread: Vec<ConnId>,
    pub(super) next_core: u16,
    pub(super) warmed: Arc<ArrayQueue<Warmed>>,
    pub(super) warming: usize,
    pub(super) readers: Background,
    /// By the core they came from.
    pub(super) half_run: Vec<Option<HalfRun>>,
    pub(super) stopping: Option<Stopping>,
    pub(super) last_tick: Instant,
    /// Parks in a row that nothing but the clock has ended.
    pub(super) idle_parks: u32,
    /// Commands, bytes received and bytes sent per second.
    pub(super) rates: [RateMeter; 3],
}

/// Requests of another core that were run up to `next`, for want of room.
pub(super) struct HalfRun {
    pub(super) batch: RequestBatch,
    pub(super) next: usize,
    /// Where the bytes of `next` begin.
    pub(super) start: usize,
}

/// How far a stop has come.
pub(super) struct Stopping {
    pub(super) since: Instant,
    pub(super) quiet: bool,
}

impl Core {
    /// A core with its ring, to be run by the thread that calls this. Its shards come while it runs, in `opened`.
    pub fn new(
        id: CoreId,
        server: Arc<Server>,
        ring: Ring,
        opened: Opened,
        readers: Background,
        sync_placement: SyncPlacement,
    ) -> Core {
        let shards: Vec<Option<Shard>> = server.router.shards().map(|_| None).collect();
        let shard_count = shards.len();
        let (now, now_ms) = (Instant::now(), server.clock.unix_ms());
        let live = LiveSettings::of(&server.settings);
        let half_run = (0..server.mailboxes.core_count()).map(|_| None).collect();
        server.cores[id.index()].thread_id.set(nix::unistd::gettid().as_raw() as u64);
        Core {
            id,
            outbox: Outbox::new(id, server.mailboxes.clone()),
            server,
            ring,
            pending: PendingRequests::default(),
            connections: Vec::new(),
            shards,
            opened,
            now_ms,
            now,
            argv: Argv::new(),
            traffic: Traffic::new(now),
            sync_placement,
            live,
            handed_over_bytes: 0,
            stalled: Stalled::new(shard_count),
            set_aside: SetAside::new(shard_count),
            runs_aside_first: true,
            turns: Turns::default(),
            unread: Vec::new(),
            next_core: 0,
            warmed: Arc::new(ArrayQueue::new(limits::COLD_READS_IN_FLIGHT)),
            warming: 0,
            readers,
            half_run,
            stopping: None,
            last_tick: now,
            idle_parks: 0,
            rates: Default::default(),
        }
    }

    /// Takes the shards whose groups have come to take requests; returns how many there were.
    pub fn seat_opened(&mut self) -> usize {
        let opened = std::mem::take(&mut *self.opened.borrow_mut());
        let count = opened.len();
        for shard in opened {
            let id = shard.id();
            self.shards[id.index()] = Some(shard);
            self.server.note_ready(id);
        }
        count
    }

    pub(super) fn stats(&self) -> &CoreStats {
        &self.server.cores[self.id.index()]
    }
}
