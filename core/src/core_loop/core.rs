//! One core: its connections, its shards, its outbox. What it does with them stands in the files beside this one, a verb each.
//!
//! Nothing here waits. [`crate::core_loop`] decides when a turn happens and when the core sleeps. The files know each other in
//! one direction: what there is room for ([`room`](super::room)) → replies, clients → commands ([`dispatch`](super::dispatch)) →
//! what clients have sent, answers → mail of other cores → connections that go on → the turn.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use basalt_net::resp::Argv;
use basalt_net::ring::{ConnId, Ring};
use basalt_storage::Fetched;
use crossbeam_queue::ArrayQueue;

use super::disk::LeadsGiven;
use super::fanout::Fanout;
use super::groups::Groups;
use super::members::Members;
use super::outbox::Outbox;
use super::pause::Pause;
use super::pending::PendingRequests;
use super::relaying::Relays;
use super::set_aside::SetAside;
use super::spanning::Tasks;
use super::sync_placement::SyncPlacement;
use super::tracking::Telling;
use super::waits::WaitDeadlines;
use crate::acl::UserTable;
use crate::clients::{Connection, Stalled, Traffic};
use crate::cluster::Routing;
use crate::config::Redirect;
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::mail::RequestBatch;
use crate::meta::Meta;
use crate::node::{Background, CoreStats, Leads, LiveSettings, RateMeter, Server};
use crate::peers::Peers;
use crate::shard::Shard;

/// Rows that a reader thread has fetched, for the shard and the connection whose parked request waits for them.
pub(super) type Warmed = (ShardId, (CoreId, u32), Fetched);

/// One core of the node.
pub struct Core {
    pub(super) id: CoreId,
    pub(super) server: Arc<Server>,
    /// The places of keys, and the number of routings that there were before this one.
    pub(super) routing: Arc<Routing>,
    pub(super) routing_version: u64,
    pub(super) ring: Ring,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) pending: PendingRequests,
    pub(super) tasks: Tasks,
    pub(super) clients: Clients,
    /// By shard, as far as there have been any; `None` where another core runs it, until its group is open, and once it has left.
    pub(super) shards: Vec<Option<Shard>>,
    pub(super) groups: Rc<Groups>,
    /// The group of the cluster's map, if this core has it.
    pub(super) meta: Option<Box<Meta>>,
    pub(super) clock: Clock,
    pub(super) argv: Argv,
    pub(super) traffic: Traffic,
    pub(super) sync_placement: SyncPlacement,
    pub(super) live: LiveSettings,
    /// The users, and the number of changes of them that there were before.
    pub(super) users: Arc<UserTable>,
    pub(super) users_version: u64,
    pub(super) cold_reads: ColdReads,
    pub(super) fanout: Fanout,
    pub(super) telling: Telling,
    /// The links with other nodes, if there are any.
    pub(super) peers: Option<Peers>,
    /// Connections to other nodes for the commands of clients, and the number of those that other nodes have made.
    pub(super) relays: Relays,
    pub(super) accepted_relays: usize,
    /// True if commands for other nodes are passed on to them.
    pub(super) is_proxy: bool,
    /// The members of the groups that this core leads.
    pub(super) members: Members,
    /// True if the disk was well at the last look.
    pub(super) disk_was_well: bool,
    pub(super) leads_given: LeadsGiven,
    /// The word of shards on who leads them, which the routing is to be told: one of each.
    pub(super) leads: Vec<(ShardId, Leads)>,
    pub(super) stopping: Option<Stopping>,
    pub(super) pause: Pause,
    /// Commands, bytes received and bytes sent per second.
    pub(super) rates: [RateMeter; 3],
}

/// The connections of a core, and what some of them wait for.
pub(super) struct Clients {
    /// By the ring's index of the connection.
    pub(super) connections: Vec<Option<Box<Connection>>>,
    pub(super) stalled: Stalled,
    pub(super) waits: WaitDeadlines,
    /// Connections with more unread output than the soft limit allows for long.
    pub(super) unread: Vec<ConnId>,
    /// The core that is dealt the next accepted connection.
    pub(super) next_core: u16,
    /// The number of the last watch.
    pub(super) next_watch: u64,
    /// Bytes that clients were answered or have sent since it was last looked at what they all hold.
    pub(super) handed_over_bytes: usize,
}

/// Requests of other cores that cannot be run yet.
pub(super) struct Inbox {
    /// Requests for shards that take no more right now.
    pub(super) set_aside: SetAside,
    /// True if those are run before this core's own connections go on when there is room again: they take turns.
    pub(super) runs_aside_first: bool,
    /// Batches that were run in part, by the core they came from.
    pub(super) half_run: Vec<Option<HalfRun>>,
}

/// Reads from disk for the shards of a core, which wait in its outbox until they are given to a thread.
pub(super) struct ColdReads {
    /// Rows that the threads have fetched and nobody has taken.
    pub(super) fetched: Arc<ArrayQueue<Warmed>>,
    /// Reads that were given to threads and whose rows were not taken: no more than `fetched` holds.
    pub(super) under_way: usize,
    /// The same by shard, as far as there have been any.
    pub(super) by_shard: Vec<usize>,
    pub(super) readers: Background,
}

/// The time of a turn, and what is due now and then.
pub(super) struct Clock {
    /// The beginning of the turn.
    pub(super) now: Instant,
    /// The same in Unix milliseconds.
    pub(super) now_ms: u64,
    pub(super) last_tick: Instant,
    /// True once scripts have used the turn up: no more commands are begun in it.
    pub(super) is_used_up: bool,
    /// Parks in a row after which there was nothing to do, but for heartbeats of other nodes.
    pub(super) idle_parks: u32,
}

impl Clock {
    /// Ends the turn of those who have sent commands, if a script was run and the turn has taken long.
    pub(super) fn note_script(&mut self) {
        self.is_used_up |= self.now.elapsed() >= limits::SCRIPTS_TURN;
    }
}

/// Requests of another core that were run up to `next`, for want of room.
pub(super) struct HalfRun {
    pub(super) batch: RequestBatch,
    pub(super) next: usize,
    /// Position of the bytes of `next`.
    pub(super) start: usize,
}

/// The point that a stop has come to.
pub(super) struct Stopping {
    pub(super) since: Instant,
    pub(super) quiet: bool,
}

impl Core {
    /// A core with its ring, to be run by the thread that calls this. Its shards come while it runs, by `groups`.
    pub fn new(
        id: CoreId,
        server: Arc<Server>,
        ring: Ring,
        groups: Rc<Groups>,
        readers: Background,
        sync_placement: SyncPlacement,
    ) -> Core {
        let (now, now_ms) = (Instant::now(), server.clock.unix_ms());
        let live = LiveSettings::of(&server.settings);
        let is_proxy = server.config.redirect == Redirect::Proxy;
        let half_run = (0..server.mailboxes.core_count()).map(|_| None).collect();
        server.cores[id.index()].thread_id.set(nix::unistd::gettid().as_raw() as u64);
        let core = Core {
            id,
            outbox: Outbox::new(id, server.mailboxes.clone()),
            routing_version: server.routes.version(),
            routing: server.routes.now(),
            users_version: server.users.version(),
            users: server.users.now(),
            server,
            ring,
            inbox: Inbox { set_aside: SetAside::default(), runs_aside_first: true, half_run },
            pending: PendingRequests::default(),
            tasks: Tasks::default(),
            clients: Clients {
                connections: Vec::new(),
                stalled: Stalled::default(),
                waits: WaitDeadlines::default(),
                unread: Vec::new(),
                next_core: 0,
                next_watch: 0,
                handed_over_bytes: 0,
            },
            shards: Vec::new(),
            groups,
            meta: None,
            clock: Clock { now, now_ms, last_tick: now, is_used_up: false, idle_parks: 0 },
            argv: Argv::new(),
            traffic: Traffic::new(now),
            sync_placement,
            live,
            cold_reads: ColdReads {
                fetched: Arc::new(ArrayQueue::new(limits::COLD_READS_IN_FLIGHT)),
                under_way: 0,
                by_shard: Vec::new(),
                readers,
            },
            fanout: Fanout::default(),
            telling: Telling::default(),
            peers: None,
            relays: Relays::default(),
            accepted_relays: 0,
            is_proxy,
            members: Members::default(),
            disk_was_well: true,
            leads_given: LeadsGiven::default(),
            leads: Vec::new(),
            stopping: None,
            pause: Pause::default(),
            rates: Default::default(),
        };
        core.watch_slow();
        core
    }

    pub(super) fn stats(&self) -> &CoreStats {
        &self.server.cores[self.id.index()]
    }
}
