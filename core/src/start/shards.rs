//! The shards of a node, from their files to groups that take requests.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use basalt_raft::{GroupOptions, NodeId};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::log::{LogOptions, LogSyncer, RaftLog};
use basalt_storage::{BlockCache, Store, StoreOptions};
use futures_channel::mpsc;
use futures_util::StreamExt as _;

use super::RunError;
use crate::boot::{DataDir, GroupState, OpenTables};
use crate::cluster::Router;
use crate::config::{Config, MemoryBudget};
use crate::core_loop::Opened;
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::node::Server;
use crate::shard::{Shard, ShardMachine, Threads};

/// One shard's storage, opened before its core starts.
pub(super) struct OpenShard {
    pub(super) id: ShardId,
    /// The options that its group is opened with.
    pub(super) options: GroupOptions,
    pub(super) log: RaftLog,
    pub(super) store: Store,
}

/// Work that has a shard's files compacted from now on, and says whether it need not be tried again.
pub(super) type CompactionStart = Box<dyn Fn() -> bool + Send>;

impl OpenShard {
    pub(super) fn compaction_start(&self) -> CompactionStart {
        Box::new(self.store.compaction_start())
    }
}

/// Opens every shard's log and rows, one thread a shard: recovery reads and the first writes take their time.
pub(super) fn open_shards(
    config: &Config,
    tables: OpenTables,
    data: &DataDir,
    router: &Router,
    syncers: &[LogSyncer],
    budget: &MemoryBudget,
    cache: &BlockCache,
) -> Result<Vec<OpenShard>, RunError> {
    if let Some(entry) = config.skip_entry.filter(|entry| entry.shard >= data.shard_count()) {
        return Err(RunError(format!(
            "skip-entry = {entry}: there is no shard {}, the last one of {} is {}",
            entry.shard,
            data.root().display(),
            data.shard_count() - 1
        )));
    }
    let open = |id: ShardId| -> Result<OpenShard, String> {
        let (directory, group) = (data.shard(id.0), data.group(id.0));
        let syncer = &syncers[router.core_of(id).index()];
        let (identity, create, reserve_bytes) = (data.identity(id.0), !data.must_be_there(id.0), config.disk_reserve);
        let log_options = LogOptions {
            identity,
            create,
            start: data.start_number(id.0),
            tail_bytes: budget.log_tail_bytes,
            segment_bytes: budget.log_segment_bytes,
            reserve_bytes,
            open_files_max: tables.log.cast_signed(),
            ..LogOptions::default()
        };
        let log = RaftLog::open(&directory.log, &log_options, syncer);
        let usual = StoreOptions::new(ROW_RULES, budget.memtable_bytes, cache.clone());
        let row_cache_bytes = budget.row_cache_bytes;
        let open_files_max = tables.rows.cast_signed();
        let store_options = StoreOptions { identity, create, row_cache_bytes, reserve_bytes, open_files_max, ..usual };
        let store = Store::open(&directory.data, &store_options);
        let in_shard = |error: basalt_storage::Error| format!("shard {id}: {error}");
        let (mut log, store) = (log.map_err(in_shard)?, store.map_err(in_shard)?);
        basalt_raft::check_pairing(&log, &store).map_err(|error| format!("shard {id}: {error}"))?;
        if group.state == GroupState::Live && log.range().end == 0 {
            let path = directory.log;
            return Err(in_shard(basalt_storage::Error::Missing { path }));
        }
        if let Some(entry) = config.skip_entry.filter(|entry| entry.shard == id.0) {
            log.skip_entry(entry.index).map_err(|error| format!("skip-entry = {entry}: {error}"))?;
        }
        let snapshots = directory.data.with_file_name("snapshots");
        let founder = group.founder && group.state == GroupState::Creating;
        let alone = GroupOptions::alone(u32::from(id.0), NodeId(data.node_number()), snapshots);
        Ok(OpenShard { id, options: GroupOptions { founder, ..alone }, log, store })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = router.shards().map(|id| scope.spawn(move || open(id))).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(String::from("a shard could not be opened"))));
        let (open, faults): (Vec<_>, Vec<_>) = joined.partition(Result::is_ok);
        let faults: Vec<String> = faults.into_iter().filter_map(Result::err).collect();
        // Whoever is to repair something wants to know of all of it.
        if faults.is_empty() {
            Ok(open.into_iter().filter_map(Result::ok).collect())
        } else {
            Err(RunError(faults.join("; ")))
        }
    })
}

/// The files of a core's shards, as they are opened.
pub(super) type Files = mpsc::Receiver<OpenShard>;
/// The word of a core on a group: that it takes requests, or why it never will.
pub(super) type GroupOpened = Result<ShardId, String>;

/// Opens the groups of a core as their files come, each beside the others, and has the core take those that are ready.
pub(super) async fn open_groups(
    mut files: Files,
    server: Arc<Server>,
    core: CoreId,
    threads: Threads,
    groups: Opened,
    opened: Sender<GroupOpened>,
) {
    while let Some(shard) = files.next().await {
        let (server, threads, groups, opened) = (server.clone(), threads.clone(), groups.clone(), opened.clone());
        let open = async move {
            let id = shard.id;
            let told = open_group(shard, &server, core, &threads).await.map(|shard| {
                groups.borrow_mut().push(shard);
                id
            });
            server.mailboxes.bell(core).ring_urgently();
            // Nobody listens any more if the node was told to stop meanwhile.
            let _ = opened.send(told);
        };
        glommio::spawn_local(open).detach();
    }
}

/// Opens a shard's group and waits until it can take requests.
async fn open_group(shard: OpenShard, server: &Arc<Server>, core: CoreId, threads: &Threads) -> Result<Shard, String> {
    let OpenShard { id, options, log, store } = shard;
    let machine = Rc::new(RefCell::new(ShardMachine::new(store)));
    Shard::open(id, options, log, machine, server, core, threads).await.map_err(|error| format!("shard {id}: {error}"))
}

/// Has the shards' files compacted from now on, or as soon as there is room for it.
pub(super) fn begin_compaction(server: Arc<Server>, mut begin: Vec<CompactionStart>) {
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
