//! A node: its threads, from the first to the last.
//!
//! What a newcomer would get wrong: a thread started by a pinned thread is pinned with it. So everything that is not a core
//! (log syncers, readers, background jobs, and the opening of RocksDB, which starts threads of its own) is started
//! here, before the cores pin themselves. They do only if they are told to or told where: a pinned core waits while another
//! program has its processor, even if others are idle. With redis-benchmark beside it on two processors, cores that are not
//! pinned served 27 % more GETs (`make bench-compare`, with and without `--basalt-arg=--pin=yes`).

mod book;
mod core_thread;
mod keeper;
mod own_node;
mod shards;
mod snapshots;
mod surroundings;
mod syncers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use basalt_raft::NodeId;
use basalt_storage::BlockCache;
use crossbeam_queue::SegQueue;
use futures_channel::mpsc;
use glommio::Placement;

use crate::acl::{UserTable, Users, read_file};
use crate::boot::{Ballast, OpenFiles, Prepared, StopRequest};
use crate::cluster::{InCluster, Router};
use crate::commands;
use crate::config::{ChannelsAtFirst, Config, MemoryBudget};
use crate::core_loop::{self, SyncPlacement};
use crate::ids::CoreId;
use crate::limits;
use crate::mail::Mailboxes;
use crate::node::{
    Background, ClientPlaces, Clock, CoreStats, DiskHealth, LatencyMonitor, Order, Orders, Routes, Scripts, Senders,
    Server, Settings, ShardTable, Shares, SlowLog, Stop,
};
use crate::session_commands::memory_in_use;
use crate::shard::Threads;

use core_thread::{CoreStart, Listeners, collect, collect_watched, join, spawn_core};
use keeper::{Event, Keeper, local_groups};
use own_node::{cluster_id, own_node};
use shards::{Opener, begin_compaction};
use snapshots::Snapshots;
use syncers::start_syncers;

/// The reason that a node could not start or had to stop.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunError(pub String);

/// Runs the node until it is asked to stop. `config_file` is the file of settings that it was started with.
///
/// # Errors
/// The sentence that says what went wrong and what to do.
pub fn run(prepared: Prepared, config_file: Option<PathBuf>) -> Result<(), RunError> {
    let begun = Instant::now();
    let Prepared { config, open_files, cpus, mut data, shard_count, listeners, peer_listeners, stop } = prepared;
    let core_count = cpus.len();
    let users = starting_users(&config)?;
    let routes = if data.is_of_cluster() {
        let (myself, incarnation) = (NodeId(data.node_number()), data.node_starts());
        let cluster = InCluster {
            id: cluster_id(&data),
            myself,
            incarnation,
            map: None,
            old_map: None,
            local: local_groups(&data),
            leaders: BTreeMap::new(),
            hints: BTreeMap::new(),
            silent: BTreeSet::new(),
        };
        Routes::in_cluster(cluster, core_count as u16)
    } else {
        Routes::alone(Router::with_lanes(data.lanes_of_shards(), core_count as u16))
    };
    let budget = MemoryBudget::new(&config, shard_count, data.lane_count());
    let client_reads = limits::COLD_READS_IN_FLIGHT * core_count;
    // Groups come while the node runs: as long as may be needed. A shard applies one entry at a time, and reads one piece of its
    // log.
    let (entry_reads, view_threads) = (2 * limits::SHARDS_MAX, limits::VIEW_THREADS_PER_CORE * core_count);
    let shard_threads = Threads {
        background: start_threads("basalt-back", limits::BACKGROUND_THREADS, limits::BACKGROUND_JOBS)?,
        readers: start_threads("basalt-read", limits::READER_THREADS_PER_CORE * core_count, client_reads)?,
        entry_readers: start_threads("basalt-apply", core_count, entry_reads)?,
        viewers: start_threads("basalt-view", view_threads, limits::VIEWS_MAX * limits::SHARDS_MAX)?,
        entry_viewers: start_threads("basalt-order", view_threads, limits::ENTRY_VIEWS_MAX * limits::SHARDS_MAX)?,
    };
    let (syncers, sync_threads) = start_syncers(&config, core_count)?;
    let cache = BlockCache::new(budget.block_cache_bytes);
    let ballast = Ballast::new(data.root(), shard_count);
    ballast.release();
    data.begin_start().map_err(|error| RunError(error.to_string()))?;
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();

    let (hello, hellos) = channel();
    let (done, finished) = channel();
    let (tell, events) = channel();
    let mut threads = Vec::new();
    let mut servers = Vec::new();
    let mut files = Vec::new();
    for (index, &cpu) in cpus.iter().enumerate() {
        let id = CoreId(index as u16);
        let (server, server_is) = channel();
        servers.push(server);
        let (to_core, of_core) = mpsc::channel(limits::SHARDS_MAX + 1);
        files.push(to_core);
        let start = CoreStart {
            id,
            files: of_core,
            tell: tell.clone(),
            server: server_is,
            threads: shard_threads.clone(),
            sync_placement: SyncPlacement::of(sync_threads[index]).behind(syncers[index].gate()),
        };
        let placement = if config.pins_cores() { Placement::Fixed(usize::from(cpu.0)) } else { Placement::Unbound };
        threads.push(spawn_core(placement, start, hello.clone(), done.clone())?);
    }
    drop((hello, done));

    let bells = collect(&hellos, core_count)?;
    let tables = open_files.tables;
    let of_stop = tell.clone();
    stop.on_request(move || drop(of_stop.send(Event::Stop)));
    let orders = Orders::new(move |order: Order| drop(tell.send(Event::Ordered(order))));
    let mailboxes = Mailboxes::new(bells);
    let mut server = make_server(config, open_files, (routes, budget), mailboxes, cache, stop, orders);
    server.settings.set_file(config_file);
    if !data.is_of_cluster() {
        server.senders.start().map_err(|error| RunError(format!("no thread could be started: {error}")))?;
    }
    if let Some(users) = users {
        server.users.change(0, |table| table.put_all(users)).map_err(RunError)?;
    }
    let server = Arc::new(server);
    {
        let server = server.clone();
        server.clone().stop.request_handle().on_request(move || server.ring_all());
    }
    let peer_addresses: Vec<SocketAddr> =
        peer_listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let snapshots = data.is_of_cluster().then(|| Snapshots::start(&server)).transpose()?;
    let mut listeners = Some(Listeners { clients: listeners, peers: peer_listeners });
    for sender in servers {
        // A core that is gone has sent why: it is read below.
        let _ = sender.send((server.clone(), listeners.take().unwrap_or_default(), snapshots.clone()));
    }
    let watched = collect_watched(&finished, core_count)?;
    let watchdog = {
        let server = server.clone();
        std::thread::Builder::new().name("basalt-watch".into()).spawn(move || core_loop::watchdog(&server, &watched))
    };
    watchdog.map_err(|error| RunError(format!("no watchdog thread could be started: {error}")))?;
    // From here on clients are answered: that the data is being loaded, until it is.
    for address in &addresses {
        tracing::info!(%address, "listening, the data is being loaded");
    }
    let mut failure = None;
    let own = data.is_of_cluster().then(|| own_node(&data, &server.config, (&addresses, &peer_addresses), core_count));
    let opened = Opener::open_all(&server, tables, &data, &syncers, own.clone());
    let keeping = opened.and_then(|(opener, shards, meta)| {
        let mut keeper = Keeper::new(server.clone(), &mut data, opener, files, (own, snapshots.clone()));
        Ok(keeper.start(shards, meta, &events)?.map(|compactions| (keeper, compactions)))
    });
    match keeping {
        Ok(Some((mut keeper, compactions))) => {
            if server.config.disk_reserve > 0 {
                ballast.set_aside();
            }
            begin_compaction(server.clone(), compactions);
            for address in addresses {
                tracing::info!(%address, start_ms = begun.elapsed().as_millis() as u64, "ready");
            }
            keeper.run(&events);
        }
        // The cores say why, or were told to stop.
        Ok(None) => {}
        Err(error) => {
            server.stop_all();
            failure = Some(error.0);
        }
    }
    if let Some(snapshots) = snapshots {
        snapshots.stop();
    }
    for thread in threads {
        if let Err(reason) = join(thread) {
            server.fail(reason.clone());
            failure.get_or_insert(reason);
        }
    }
    let Threads { background, readers, entry_readers, viewers, entry_viewers } = &shard_threads;
    [background, readers, entry_readers, viewers, entry_viewers].into_iter().for_each(Background::finish);
    // Dropping the syncers ends their threads; every log was synced before its core ended.
    drop(syncers);
    match failure.or_else(|| server.stop.failure()) {
        Some(reason) => Err(RunError(reason)),
        None => Ok(()),
    }
}

/// The users of the file of users, if there is one.
fn starting_users(config: &Config) -> Result<Option<UserTable>, RunError> {
    let has_passwords = !config.requirepass.text().is_empty() || config.acl_file().is_some();
    if config.cluster_enabled && has_passwords && config.cluster_secret.text().is_empty() {
        tracing::warn!("clients need a password, and other nodes nothing: set cluster-secret, the same on all nodes");
    }
    let Some(path) = &config.acl_file() else { return Ok(None) };
    let all_channels = config.acl_pubsub_default == ChannelsAtFirst::All;
    let users = read_file(path, all_channels).map_err(|error| {
        RunError(format!(
            "aclfile cannot be used: {error}; correct it, or make an empty file for the plain default user alone"
        ))
    })?;
    if !config.requirepass.text().is_empty() {
        tracing::warn!("requirepass is not looked at: aclfile says which password the default user has");
    }
    Ok(Some(users))
}

fn start_threads(name: &str, count: usize, queue_max: usize) -> Result<Background, RunError> {
    Background::start(name, count, queue_max).map_err(|error| RunError(format!("no thread could be started: {error}")))
}

/// The node as its cores will share it, before they run.
pub(crate) fn make_server(
    config: Config,
    open_files: OpenFiles,
    (routes, budget): (Routes, MemoryBudget),
    mailboxes: Mailboxes,
    block_cache: BlockCache,
    stop: StopRequest,
    orders: Orders,
) -> Server {
    let users = Users::new(UserTable::of_password(config.requirepass.text()));
    let (core_count, clock) = (mailboxes.core_count(), Clock::default());
    let (slow_log, latency) = (Arc::new(SlowLog::new(core_count)), Arc::new(LatencyMonitor::default()));
    let routing = routes.now();
    let core_of = |shard| routing.router.core_of(shard).expect("it is one of the router's");
    let shards = routing.router.all_shards().map(|shard| (shard, core_of(shard)));
    let run_id: String = (0..5).map(|_| format!("{:08x}", rand::random::<u32>())).collect();
    Server {
        settings: Settings::new(config.clone()),
        shares: Shares::new(budget),
        config,
        open_files,
        cores: (0..core_count).map(|_| CoreStats::new(commands::table::ID_END, &slow_log, &latency)).collect(),
        slow_log,
        latency,
        expires_actively: AtomicBool::new(true),
        groups_away: AtomicUsize::new(routing.router.all_shards().len()),
        shards: ShardTable::of(shards),
        routes,
        mailboxes: Arc::new(mailboxes),
        block_cache,
        started: Instant::now(),
        started_unix_s: clock.unix_ms() / 1000,
        memory_at_start: memory_in_use(),
        clock,
        disk: DiskHealth::new(Instant::now()),
        run_id,
        next_client_id: AtomicU64::new(1),
        client_count: AtomicUsize::new(0),
        accepted_relays: AtomicUsize::new(0),
        dialed_relays: AtomicUsize::new(0),
        client_places: ClientPlaces::new(core_count),
        tracking_clients: AtomicUsize::new(0),
        full_shards: AtomicUsize::new(0),
        scripts: Scripts::default(),
        senders: Senders::default(),
        stop: Stop::new(stop),
        peers: Mutex::default(),
        led: Mutex::default(),
        hosts: Mutex::default(),
        late_answers: SegQueue::new(),
        late_changes: SegQueue::new(),
        snapshots: OnceLock::new(),
        arrived_snapshots: (0..core_count).map(|_| SegQueue::new()).collect(),
        orders,
        users,
    }
}
