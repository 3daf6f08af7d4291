//! A client without a socket, for the tests of these commands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use basalt_net::resp::Reply;
use basalt_raft::NodeId;
use basalt_storage::BlockCache;
use crossbeam_queue::SegQueue;

use super::{Outcome, SessionContext, run};
use crate::acl::{UserTable, Users};
use crate::boot::{OpenFiles, StopRequest};
use crate::clients::Session;
use crate::cluster::map::Map;
use crate::cluster::texts::{Health, Peer};
use crate::cluster::{InCluster, Router};
use crate::commands::table::{self, ID_END};
use crate::commands::{CommandError, Kind};
use crate::config::{Config, MemoryBudget};
use crate::mail::Mailboxes;
use crate::node::{
    ClientPlaces, Clock, CoreStats, DiskHealth, GroupState, LatencyMonitor, Orders, Routes, Scripts, Senders, Server,
    Settings, ShardTable, Shares, SlowLog, Stop,
};

/// A connection to a server of two cores and two shards that do not run.
pub(crate) struct Client {
    pub(super) session: Session,
    pub(crate) server: Server,
}

impl Client {
    pub(super) fn new() -> Client {
        Client::of(Config { memory: 1 << 30, ..Config::default() })
    }

    pub(super) fn of(config: Config) -> Client {
        let (router, slow_log) = (Router::new(2, 2), Arc::new(SlowLog::new(2)));
        let latency = Arc::new(LatencyMonitor::default());
        let server = Server {
            settings: Settings::new(config.clone()),
            open_files: OpenFiles::wanted(config.maxclients, 2, 2),
            shares: Shares::new(MemoryBudget::new(&config, 2, 2)),
            config,
            cores: (0..2).map(|_| CoreStats::new(ID_END, &slow_log, &latency)).collect(),
            slow_log,
            latency,
            expires_actively: AtomicBool::new(true),
            shards: ShardTable::of(router.shards().map(|shard| (shard, router.core_of(shard).unwrap()))),
            routes: Routes::alone(router),
            mailboxes: Arc::new(Mailboxes::new(Vec::new())),
            block_cache: BlockCache::new(1 << 20),
            clock: Clock::default(),
            disk: DiskHealth::new(Instant::now()),
            started: Instant::now() - Duration::from_secs(90_000),
            started_unix_s: 1000,
            memory_at_start: 1000,
            run_id: "f".repeat(40),
            next_client_id: AtomicU64::new(1),
            client_count: AtomicUsize::new(0),
            accepted_relays: AtomicUsize::new(0),
            dialed_relays: AtomicUsize::new(0),
            client_places: ClientPlaces::new(2),
            tracking_clients: AtomicUsize::new(0),
            full_shards: AtomicUsize::new(0),
            scripts: Scripts::default(),
            groups_away: AtomicUsize::new(2),
            senders: Senders::default(),
            stop: Stop::new(StopRequest::default()),
            peers: Mutex::default(),
            led: Mutex::default(),
            hosts: Mutex::default(),
            late_answers: SegQueue::new(),
            late_changes: SegQueue::new(),
            snapshots: std::sync::OnceLock::new(),
            arrived_snapshots: Box::default(),
            orders: Orders::new(drop),
            users: Users::new(UserTable::plain()),
        };
        server.routes.now().router.shards().for_each(|shard| server.note_state(shard, GroupState::Leader));
        Client { session: session(7), server }
    }

    /// The same on node 1 of a cluster with this map, whose other nodes answer it.
    pub(crate) fn in_cluster(map: Map) -> Client {
        let mut client = Client::new();
        let myself = NodeId(1);
        let others = map.nodes().iter().map(|node| node.number).filter(|node| *node != myself);
        let peer = |node| (node, Peer { is_connected: true, health: Health::Up, ..Peer::default() });
        *client.server.peers.lock().unwrap() = others.map(peer).collect();
        let cluster = InCluster {
            id: map.cluster_id(),
            myself,
            incarnation: 3,
            map: Some(Arc::new(map)),
            old_map: None,
            local: BTreeMap::new(),
            leaders: BTreeMap::new(),
            hints: BTreeMap::new(),
            silent: BTreeSet::new(),
        };
        client.server.routes = Routes::in_cluster(cluster, 2);
        client
    }

    /// Runs a command whose words have no spaces; the reply has `|` for line ends.
    pub(super) fn ask(&mut self, line: &str) -> String {
        self.ask_args(&words(line))
    }

    /// Runs a command; the reply has `|` for line ends.
    pub(super) fn ask_args(&mut self, args: &[&[u8]]) -> String {
        let mut out = Vec::new();
        if let Err(error) = self.execute(args, &mut out) {
            out.clear();
            Reply::new(&mut out, self.session.protocol).error_display(error);
        }
        String::from_utf8_lossy(&out).replace("\r\n", "|")
    }

    /// Runs a command and gives what is to happen then.
    pub(super) fn run(&mut self, line: &str) -> Result<Outcome, CommandError> {
        self.execute(&words(line), &mut Vec::new())
    }

    fn execute(&mut self, args: &[&[u8]], out: &mut Vec<u8>) -> Result<Outcome, CommandError> {
        let command = table::find(args)?;
        self.session.command_count += 1;
        self.session.last_command = Some(command.id);
        assert!(matches!(command.kind, Kind::Session | Kind::Help(_)), "{} concerns keys", command.name());
        let mut reply = Reply::new(out, self.session.protocol);
        let routing = self.server.routes.now();
        let mut context =
            SessionContext { session: &mut self.session, server: &self.server, routing: &routing, is_trial: false };
        run(command, &mut context, args, &mut reply)
    }
}

/// The words of a line.
pub(crate) fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

/// A connection from port 50000 to port 6379 of this machine.
pub(crate) fn session(id: u64) -> Session {
    let address = |text: &str| Some(text.parse().unwrap());
    Session::new(id, address("127.0.0.1:50000"), address("127.0.0.1:6379"), Instant::now())
}
