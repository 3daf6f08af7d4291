//! A node: its threads, from the first to the last.
//!
//! What a newcomer would get wrong: a thread started by a pinned thread is pinned with it. So everything that is not a core
//! (log syncers, readers, background jobs, and the opening of RocksDB, which starts threads of its own) is started
//! here, before the cores pin themselves. They do only if they are told to or told where: a pinned core waits while another
//! program has its processor, even if others are idle. With redis-benchmark beside it on two processors, cores that are not
//! pinned served 27 % more GETs (`make bench-compare`, with and without `--basalt-arg=--pin=yes`).

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use basalt_net::ring::{Park, Ring, RingOptions};
use basalt_net::thread;
use basalt_storage::log::{Durability, LogOptions, LogSyncer, RaftLog};
use basalt_storage::{BlockCache, Store, StoreOptions};
use glommio::{LocalExecutorBuilder, Placement};
use nix::unistd::{Pid, gettid};

use crate::background::Background;
use crate::boot::{Ballast, DataDir, OpenFiles, OpenTables, Prepared, StopRequest};
use crate::clock::Clock;
use crate::commands;
use crate::config::{self, Config};
use crate::core::Core;
use crate::core_loop::{self, Watched};
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::mailbox::{Doorbell, Mailboxes};
use crate::memory_budget::MemoryBudget;
use crate::reply_bounds::ReplyBounds;
use crate::router::Router;
use crate::server::{Server, Stop};
use crate::session_commands::memory_in_use;
use crate::settings::Settings;
use crate::shard::{Shard, ShardMachine, Threads};
use crate::stats::{CoreStats, ShardStats};
use crate::sync_placement::SyncPlacement;

/// Why a node could not start or had to stop.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunError(pub String);

/// One shard's storage, opened before its core starts.
struct OpenShard {
    id: ShardId,
    /// Where snapshots of the rows are made.
    snapshots: PathBuf,
    log: RaftLog,
    store: Store,
}

/// Runs the node until it is asked to stop.
///
/// # Errors
/// The sentence that says what went wrong and what to do.
pub fn run(prepared: Prepared) -> Result<(), RunError> {
    let begun = Instant::now();
    let Prepared { config, open_files, cpus, mut data, listeners, stop } = prepared;
    let core_count = cpus.len();
    let router = Router::new(data.shard_count(), core_count as u16);
    let budget = MemoryBudget::new(&config, data.shard_count());
    let client_reads = limits::COLD_READS_IN_FLIGHT * core_count;
    // A shard applies one entry at a time.
    let shard_count = usize::from(data.shard_count());
    let (entry_reads, view_threads) = (shard_count, limits::VIEW_THREADS_PER_CORE * core_count);
    let shard_threads = Threads {
        background: start_threads("basalt-back", limits::BACKGROUND_THREADS, limits::BACKGROUND_JOBS)?,
        readers: start_threads("basalt-read", limits::READER_THREADS_PER_CORE * core_count, client_reads)?,
        entry_readers: start_threads("basalt-apply", core_count, entry_reads)?,
        viewers: start_threads("basalt-view", view_threads, limits::VIEWS_MAX * shard_count)?,
        entry_viewers: start_threads("basalt-order", view_threads, limits::ENTRY_VIEWS_MAX * shard_count)?,
    };
    let (syncers, sync_threads) = start_syncers(&config, core_count)?;
    let cache = BlockCache::new(budget.block_cache_bytes);
    let ballast = Ballast::new(data.root(), data.shard_count());
    ballast.release();
    let mut shards = open_shards(&config, open_files.tables, &data, &router, &syncers, &budget, &cache)?;
    let compactions: Vec<_> = shards.iter().flatten().map(|shard| shard.store.compaction_start()).collect();
    // A start that was refused is not counted: what belongs here may come back.
    data.count_start().map_err(|error| RunError(error.to_string()))?;
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();

    let (hello, hellos) = channel();
    let (done, finished) = channel();
    let mut threads = Vec::new();
    let mut servers = Vec::new();
    for (index, &cpu) in cpus.iter().enumerate() {
        let id = CoreId(index as u16);
        let own = router.shards_of(id).filter_map(|shard| shards[shard.index()].take()).collect();
        let (server, server_is) = channel();
        servers.push(server);
        let sync_placement = SyncPlacement::of(sync_threads[index]);
        let start = CoreStart { id, shards: own, server: server_is, threads: shard_threads.clone(), sync_placement };
        let placement = if config.pins_cores() { Placement::Fixed(usize::from(cpu.0)) } else { Placement::Unbound };
        threads.push(spawn_core(placement, start, hello.clone(), done.clone())?);
    }
    drop((hello, done));

    let bells = collect(&hellos, core_count)?;
    let server = Arc::new(make_server(config, open_files, router, Mailboxes::new(bells), cache, stop));
    {
        let server = server.clone();
        server.clone().stop.request_handle().on_request(move || server.ring_all());
    }
    let mut listeners = Some(listeners);
    for sender in servers {
        // A core that is gone has sent why: it is read below.
        let _ = sender.send((server.clone(), listeners.take().unwrap_or_default()));
    }
    let watched = collect_watched(&finished, core_count)?;
    if server.config.disk_reserve > 0 {
        ballast.set_aside();
    }
    begin_compaction(server.clone(), compactions);
    let watchdog = {
        let server = server.clone();
        std::thread::Builder::new().name("basalt-watch".into()).spawn(move || core_loop::watchdog(&server, &watched))
    };
    watchdog.map_err(|error| RunError(format!("no watchdog thread could be started: {error}")))?;
    for address in addresses {
        tracing::info!(%address, start_ms = begun.elapsed().as_millis() as u64, "ready");
    }
    let mut failure = None;
    for thread in threads {
        if let Err(reason) = join(thread) {
            server.fail(reason.clone());
            failure.get_or_insert(reason);
        }
    }
    // Dropping the syncers ends their threads; every log was synced before its core ended.
    drop(syncers);
    match failure.or_else(|| server.stop.failure()) {
        Some(reason) => Err(RunError(reason)),
        None => Ok(()),
    }
}

fn start_threads(name: &str, count: usize, queue_max: usize) -> Result<Background, RunError> {
    Background::start(name, count, queue_max).map_err(|error| RunError(format!("no thread could be started: {error}")))
}

/// Has the shards' files compacted from now on, or as soon as there is room for it.
fn begin_compaction(server: Arc<Server>, mut begin: Vec<impl Fn() -> bool + Send + 'static>) {
    let run = move || {
        loop {
            begin.retain(|begin| !begin());
            if begin.is_empty() || server.stop.is_requested() {
                return;
            }
            std::thread::sleep(limits::COMPACTION_RETRY);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("basalt-compact".into()).spawn(run) {
        tracing::warn!(%error, "no thread could be started to begin compaction: the files on disk grow until the next start");
    }
}

/// Starts a syncer for each core; also returns the thread that does its syncs.
fn start_syncers(config: &Config, core_count: usize) -> Result<(Vec<LogSyncer>, Vec<Option<Pid>>), RunError> {
    let durability = match config.durability {
        config::Durability::Always => Durability::Always,
        config::Durability::Interval => Durability::Interval(config.durability_interval),
        config::Durability::None => Durability::None,
    };
    let start = |core| {
        let (tell, told) = channel();
        let prepare = move || {
            // Whoever has started the thread waits for it.
            let _ = tell.send(gettid());
            run_soon();
        };
        let syncer = LogSyncer::start_with(core, durability, prepare).map_err(|error| RunError(error.to_string()))?;
        Ok((syncer, told.recv().ok()))
    };
    let started: Result<Vec<_>, RunError> = (0..core_count).map(start).collect();
    Ok(started?.into_iter().unzip())
}

/// Has the calling thread run soon after it is woken, though another program keeps its processor busy.
fn run_soon() {
    if let Err(error) = thread::set_time_slice(limits::TIME_SLICE) {
        tracing::debug!(%error, "the kernel grants no time slices: threads may run late on busy processors");
    }
}

/// Opens every shard's log and rows, one thread a shard: recovery reads and the first writes take their time.
fn open_shards(
    config: &Config,
    tables: OpenTables,
    data: &DataDir,
    router: &Router,
    syncers: &[LogSyncer],
    budget: &MemoryBudget,
    cache: &BlockCache,
) -> Result<Vec<Option<OpenShard>>, RunError> {
    if let Some(entry) = config.skip_entry.filter(|entry| entry.shard >= data.shard_count()) {
        return Err(RunError(format!(
            "skip-entry = {entry}: there is no shard {}, the last one of {} is {}",
            entry.shard,
            data.root().display(),
            data.shard_count() - 1
        )));
    }
    let open = |id: ShardId| -> Result<OpenShard, String> {
        let directory = data.shard(id.0);
        let syncer = &syncers[router.core_of(id).index()];
        let (identity, create, reserve_bytes) = (data.identity(id.0), !data.has_shards(), config.disk_reserve);
        let log_options = LogOptions {
            identity,
            create,
            start: data.start_number(),
            tail_bytes: budget.log_tail_bytes,
            segment_bytes: budget.log_segment_bytes,
            reserve_bytes,
            open_files_max: tables.log.cast_signed(),
            ..LogOptions::default()
        };
        let log = RaftLog::open(&directory.log, &log_options, syncer);
        let usual = StoreOptions::new(budget.memtable_bytes, cache.clone());
        let row_cache_bytes = budget.row_cache_bytes;
        let open_files_max = tables.rows.cast_signed();
        let store_options = StoreOptions { identity, create, row_cache_bytes, reserve_bytes, open_files_max, ..usual };
        let store = Store::open(&directory.data, &store_options);
        let in_shard = |error: basalt_storage::Error| format!("shard {id}: {error}");
        let snapshots = directory.data.with_file_name("snapshots");
        let (mut log, store) = (log.map_err(in_shard)?, store.map_err(in_shard)?);
        basalt_raft::check_fit(&log, &store).map_err(|error| format!("shard {id}: {error}"))?;
        if let Some(entry) = config.skip_entry.filter(|entry| entry.shard == id.0) {
            log.skip_entry(entry.index).map_err(|error| format!("skip-entry = {entry}: {error}"))?;
        }
        Ok(OpenShard { id, snapshots, log, store })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = router.shards().map(|id| scope.spawn(move || open(id))).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a shard could not be opened".into())));
        joined.map(|shard| shard.map(Some).map_err(RunError)).collect()
    })
}

/// What the cores of a node share, before they run.
pub(crate) fn make_server(
    config: Config,
    open_files: OpenFiles,
    router: Router,
    mailboxes: Mailboxes,
    block_cache: BlockCache,
    stop: StopRequest,
) -> Server {
    let (core_count, clock) = (mailboxes.core_count(), Clock::default());
    let run_id: String = (0..5).map(|_| format!("{:08x}", rand::random::<u32>())).collect();
    Server {
        settings: Settings::new(config.clone()),
        reply_bounds: ReplyBounds::of(config.memory, usize::from(router.shard_count())),
        config,
        open_files,
        cores: (0..core_count).map(|_| CoreStats::new(commands::table::ID_END)).collect(),
        shards: router.shards().map(|_| ShardStats::default()).collect(),
        router,
        mailboxes: Arc::new(mailboxes),
        block_cache,
        started: Instant::now(),
        started_unix_s: clock.unix_ms() / 1000,
        memory_at_start: memory_in_use(),
        clock,
        run_id,
        next_client_id: AtomicU64::new(1),
        client_count: AtomicUsize::new(0),
        full_shards: AtomicUsize::new(0),
        stop: Stop::new(stop),
    }
}

/// What a core tells when its ring is there.
type Hello = Result<(CoreId, Doorbell), String>;
/// What a core tells when it takes requests.
type Ready = Result<Watched, String>;
/// What a core is told once all have their rings.
type ServerIs = Receiver<(Arc<Server>, Vec<TcpListener>)>;

/// What a core thread starts with.
struct CoreStart {
    id: CoreId,
    shards: Vec<OpenShard>,
    server: ServerIs,
    threads: Threads,
    sync_placement: SyncPlacement,
}

type CoreThread = JoinHandle<Result<(), String>>;

fn spawn_core(
    placement: Placement,
    start: CoreStart,
    hello: Sender<Hello>,
    ready: Sender<Ready>,
) -> Result<CoreThread, RunError> {
    let id = start.id;
    let started = std::thread::Builder::new().name(format!("basalt-core-{}", start.id)).spawn(move || {
        if let Err(error) = thread::set_timer_slack(limits::TIMER_SLACK) {
            tracing::debug!(%error, "the kernel keeps its timer slack");
        }
        // The preempt timer is off: see `core_loop`.
        let executor = LocalExecutorBuilder::new(placement)
            .name("basalt-core")
            .preempt_timer(Duration::from_secs(3600))
            .make()
            .map_err(|error| format!("no executor could be made for core {}: {error}", start.id));
        let outcome = match executor {
            Ok(executor) => executor.run(run_core(start, &hello, &ready)),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = &outcome {
            // Whichever of the two is still awaited.
            let _ = hello.send(Err(reason.clone()));
            let _ = ready.send(Err(reason.clone()));
        }
        outcome
    });
    started.map_err(|error| RunError(format!("no thread could be started for core {id}: {error}")))
}

async fn run_core(start: CoreStart, hello: &Sender<Hello>, ready: &Sender<Ready>) -> Result<(), String> {
    let CoreStart { id, shards, server, threads, sync_placement } = start;
    let mut ring =
        Ring::new(&RingOptions { output_high_bytes: limits::OUTPUT_BYTES_STALLED, ..RingOptions::default() })
            .map_err(|error| error.to_string())?;
    let park = Park::new(&mut ring).map_err(|error| format!("core {id} cannot park: {error}"))?;
    let _ = hello.send(Ok((id, Doorbell::new(ring.waker(), park.signal()))));
    let Ok((server, listeners)) = server.recv() else { return Err("another core could not start".into()) };
    let mut open = Vec::new();
    for shard in shards {
        open.push(open_group(shard, &server, id, &threads).await?);
    }
    let mut core = Core::new(id, server.clone(), ring, open, threads.readers, sync_placement);
    for listener in listeners {
        core.listen(listener);
    }
    let (heartbeat, watched) = core_loop::watch(id).await;
    let _ = ready.send(Ok(watched));
    if server.config.timer_probe {
        core_loop::probe_timers(server.clone(), id);
    }
    let panics = FailOnPanic(&server);
    let outcome = core_loop::run(&mut core, park, heartbeat).await;
    if let Err(reason) = &outcome {
        // The other cores cannot go on without this one's shards.
        server.fail(reason.clone());
    }
    let closed = core.close_shards().await;
    drop(panics);
    outcome.and(closed)
}

/// Stops the node if the core that holds this panics: the others would wait for its shards for ever.
struct FailOnPanic<'a>(&'a Server);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("a core failed: see the panic's message above".into());
        }
    }
}

/// Opens a shard's group and waits until it can take requests.
async fn open_group(shard: OpenShard, server: &Arc<Server>, core: CoreId, threads: &Threads) -> Result<Shard, String> {
    let OpenShard { id, snapshots, log, store } = shard;
    let machine = Rc::new(RefCell::new(ShardMachine::new(store)));
    Shard::open(id, log, machine, snapshots, server, core, threads)
        .await
        .map_err(|error| format!("shard {id}: {error}"))
}

fn collect(hellos: &Receiver<Hello>, core_count: usize) -> Result<Vec<Doorbell>, RunError> {
    let mut bells: Vec<Option<Doorbell>> = (0..core_count).map(|_| None).collect();
    for _ in 0..core_count {
        let (core, bell) = receive(hellos)?;
        bells[core.index()] = Some(bell);
    }
    Ok(bells.into_iter().flatten().collect())
}

fn collect_watched(ready: &Receiver<Ready>, core_count: usize) -> Result<Vec<Watched>, RunError> {
    (0..core_count).map(|_| receive(ready)).collect()
}

fn receive<T>(from: &Receiver<Result<T, String>>) -> Result<T, RunError> {
    from.recv().unwrap_or_else(|_| Err("a core ended while it started".into())).map_err(RunError)
}

fn join(thread: CoreThread) -> Result<(), String> {
    thread.join().unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
        Err(format!("a core failed: {}", text.unwrap_or_else(|| "no reason given".into())))
    })
}
