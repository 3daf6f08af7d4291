//! The shards of a node, from their files to groups that take requests.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use basalt_net::peer::GroupNumber as PeerGroup;
use basalt_raft::{Fault, GroupOptions, NodeId, Reach};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::log::{Lane, LogOptions, LogSyncer, RaftLog};
use basalt_storage::{Store, StoreOptions};
use futures_channel::mpsc;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};

use super::{RunError, book};
use crate::boot::{DataDir, GroupState, LaneDir, META_INDEX, OpenTables};
use crate::cluster::map::GroupNumber;
use crate::core_loop::Groups;
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::meta::{Meta, OpenMeta, OwnNode, read_map};
use crate::node::{Background, Server};
use crate::peers::{Peers, Ties};
use crate::shard::{Shard, ShardMachine, Threads};

/// One shard's storage, opened for its core.
pub(super) struct OpenShard {
    pub(super) id: ShardId,
    /// The number of its group in the cluster.
    pub(super) number: GroupNumber,
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

/// Opens the files of shards: all at once when a node starts, one by one while it runs.
pub(super) struct Opener<'a> {
    server: Arc<Server>,
    tables: OpenTables,
    syncers: &'a [LogSyncer],
    /// The lanes whose shards share a log, open as long as the node is.
    lanes: Vec<(LaneDir, Lane)>,
}

/// The reason that a shard's files could not be opened.
pub(super) struct Unopened {
    pub(super) text: String,
    /// Set if a thread of this process uses them still.
    pub(super) is_in_use: bool,
}

impl From<String> for Unopened {
    fn from(text: String) -> Unopened {
        Unopened { text, is_in_use: false }
    }
}

impl<'a> Opener<'a> {
    /// Opens every lane's log, then every shard's log and rows, one thread each: recovery reads and the first writes take their
    /// time.
    pub(super) fn open_all(
        server: &Arc<Server>,
        tables: OpenTables,
        data: &DataDir,
        syncers: &'a [LogSyncer],
        own: Option<OwnNode>,
    ) -> Result<(Opener<'a>, Vec<OpenShard>, Option<OpenMeta>), RunError> {
        let config = &server.config;
        if let Some(entry) =
            config.skip_entry.filter(|entry| data.shards().iter().all(|group| group.index != entry.shard))
        {
            let last = data.shards().last().map_or_else(|| "none".to_owned(), |group| group.index.to_string());
            return Err(RunError(format!(
                "skip-entry = {entry}: there is no shard {}, the last one of {} is {last}",
                entry.shard,
                data.root().display(),
            )));
        }
        let options_of_lane = |lane: &LaneDir| lane_options(server, tables, data, lane);
        let (lanes, mut faults) = split(at_once(&data.shared_lanes(), |lane| open_lane(lane, &options_of_lane(lane))));
        let opener = Opener { server: server.clone(), tables, syncers, lanes };
        let ids: Vec<ShardId> = server.routes.now().router.all_shards().collect();
        let skip_of = |id: ShardId| config.skip_entry.filter(|entry| entry.shard == id.0).map(|entry| entry.index);
        let (shards, faults_of_shards) =
            split(at_once(&ids, |id| opener.open(data, *id, skip_of(*id)).map_err(|refused| refused.text)));
        faults.extend(faults_of_shards);
        let (meta, fault_of_map) = split(own.map(|own| opener.open_meta(data, own)).into_iter().collect());
        faults.extend(fault_of_map);
        // Not where a shard was refused: what it was to be recovered from is kept.
        if faults.is_empty() {
            for (lane, open) in &opener.lanes {
                let numbers: Vec<u64> =
                    data.groups().iter().filter(|group| group.lane == lane.number).map(|group| group.number).collect();
                if let Err(error) = open.keep_logs(&numbers) {
                    tracing::warn!(lane = lane.number, %error, "records of groups that are no more are left in the lane");
                }
            }
            faults = split(at_once(&opener.lanes, finish_lane)).1;
        }
        // Whoever is to repair something wants to know of all of it.
        if faults.is_empty() {
            Ok((opener, shards.into_iter().flatten().collect(), meta.into_iter().next()))
        } else {
            Err(RunError(faults.join("; ")))
        }
    }

    /// Opens a shard's log and rows; gives up the entry `skip` of the log, if there is one. `None` if the shard's lane is not open:
    /// it has no log, and its rows were looked at all the same.
    pub(super) fn open(&self, data: &DataDir, id: ShardId, skip: Option<u64>) -> Result<Option<OpenShard>, Unopened> {
        let (config, budget) = (&self.server.config, self.server.shares.budget());
        let (directory, group) = (data.shard(id.0), data.group(id.0));
        let syncer = &self.syncers[self.server.routes.now().router.core_of_lane(data.group(id.0).lane).index()];
        let (identity, create, reserve_bytes) = (data.identity(id.0), !data.must_be_there(id.0), config.disk_reserve);
        let log_options = LogOptions {
            identity,
            create,
            start: data.start_number(id.0),
            tail_bytes: budget.log_tail_bytes,
            segment_bytes: budget.log_segment_bytes,
            reserve_bytes,
            open_files_max: self.tables.log.cast_signed(),
            ..LogOptions::default()
        };
        let usual = StoreOptions::new(ROW_RULES, budget.memtable_bytes, self.server.block_cache.clone());
        let row_cache_bytes = budget.row_cache_bytes;
        let open_files_max = self.tables.rows.cast_signed();
        let store_options = StoreOptions { identity, create, row_cache_bytes, reserve_bytes, open_files_max, ..usual };
        let store = Store::open(&directory.data, &store_options);
        let in_shard = |error: basalt_storage::Error| {
            let is_in_use = matches!(error, basalt_storage::Error::InUse { .. });
            Unopened { text: format!("shard {id}: {error}"), is_in_use }
        };
        // Where it is in use, the log is not opened time and again.
        let store = match store {
            Err(error @ basalt_storage::Error::InUse { .. }) => return Err(in_shard(error)),
            store => store,
        };
        let lane = self.lanes.iter().find(|(lane, _)| lane.number == group.lane);
        let log = match lane {
            Some((_, lane)) => Some(lane.open_log(group.number, &directory.log, &log_options, syncer)),
            None if data.shares_log() => None,
            None => Some(RaftLog::open(&directory.log, &log_options, syncer)),
        };
        let (log, store) = (log.transpose().map_err(in_shard)?, store.map_err(in_shard)?);
        let Some(mut log) = log else { return Ok(None) };
        basalt_raft::check_pairing(&log, &store).map_err(|error| format!("shard {id}: {error}"))?;
        // Rows without a log are those of a snapshot that came first, which the check above has made sure of.
        if group.state == GroupState::Live && log.range().end == 0 && store.applied().index == 0 {
            let path = directory.log;
            return Err(in_shard(basalt_storage::Error::Missing { path }));
        }
        if let Some(index) = skip {
            log.skip_entry(index).map_err(|error| format!("skip-entry = {id}:{index}: {error}"))?;
        }
        let snapshots = directory.data.with_file_name("snapshots");
        let founder = group.founder && group.state == GroupState::Creating;
        let alone = GroupOptions::alone(u32::from(id.0), NodeId(data.replica(id.0)), snapshots);
        let number = GroupNumber(group.number);
        let options = GroupOptions { founder, ..alone }.with_election_timeout(self.server.config.election_timeout);
        Ok(Some(OpenShard { id, number, options, log, store }))
    }

    /// Closes the logs of all lanes, which no group uses any more.
    pub(super) fn close_lanes(&mut self) {
        self.lanes.clear();
    }

    /// Opens the logs of all lanes, which are new.
    pub(super) fn open_lanes(&mut self, data: &DataDir) -> Result<(), String> {
        let lanes = data.shared_lanes();
        let opened: Result<Vec<_>, String> =
            lanes.iter().map(|lane| open_lane(lane, &self.lane_options(data, lane))).collect();
        self.lanes = opened?;
        self.lanes.iter().try_for_each(finish_lane)
    }

    fn lane_options(&self, data: &DataDir, lane: &LaneDir) -> LogOptions {
        lane_options(&self.server, self.tables, data, lane)
    }

    /// Removes the records of a group that is no more from the log of its lane.
    pub(super) fn remove_log(&self, lane: u16, group: u64) -> basalt_storage::Result<()> {
        let lane = self.lanes.iter().find(|(shared, _)| shared.number == lane);
        lane.map_or(Ok(()), |(_, lane)| lane.remove_log(group))
    }

    /// Removes the records of a group that is not here from the logs of all lanes.
    pub(super) fn remove_logs(&self, group: u64) -> basalt_storage::Result<()> {
        self.lanes.iter().try_for_each(|(_, lane)| lane.remove_log(group))
    }

    /// Opens log and rows of the group that has the cluster's map.
    pub(super) fn open_meta(&self, data: &DataDir, own: OwnNode) -> Result<OpenMeta, String> {
        let named = |error: &dyn std::fmt::Display| format!("the cluster's map: {error}");
        let (directory, group) = (data.shard(META_INDEX), data.group(META_INDEX));
        let (identity, create) = (data.identity(META_INDEX), !data.must_be_there(META_INDEX));
        let budget = self.server.shares.budget();
        let log_options = LogOptions {
            identity,
            create,
            start: data.start_number(META_INDEX),
            segment_bytes: budget.log_segment_bytes.min(limits::META_LOG_BYTES as usize),
            reserve_bytes: self.server.config.disk_reserve,
            open_files_max: self.tables.log.cast_signed(),
            // It is written to so seldom that nothing is gained by files that are ready.
            warm_files: 0,
            ..LogOptions::default()
        };
        let usual = StoreOptions::new(ROW_RULES, limits::META_MEMTABLE_BYTES, self.server.block_cache.clone());
        let store_options = StoreOptions {
            identity,
            create,
            row_cache_bytes: limits::META_MEMTABLE_BYTES,
            reserve_bytes: self.server.config.disk_reserve,
            open_files_max: self.tables.rows.cast_signed(),
            ..usual
        };
        let store = Store::open(&directory.data, &store_options).map_err(|error| named(&error))?;
        // The first core has it, wherever its lane is.
        let syncer = &self.syncers[0];
        let lane = self.lanes.iter().find(|(lane, _)| lane.number == group.lane);
        let log = match lane {
            Some((_, lane)) => lane.open_log(group.number, &directory.log, &log_options, syncer),
            None => RaftLog::open(&directory.log, &log_options, syncer),
        };
        let log = log.map_err(|error| named(&error))?;
        basalt_raft::check_pairing(&log, &store).map_err(|error| named(&error))?;
        if group.state == GroupState::Live && log.range().end == 0 {
            return Err(named(&basalt_storage::Error::Missing { path: directory.log }));
        }
        let map = read_map(&store).map_err(|error| named(&error))?;
        let snapshots = directory.data.with_file_name("snapshots");
        let founder = group.founder && group.state == GroupState::Creating;
        let alone = GroupOptions::alone(u32::from(META_INDEX), NodeId(data.replica(META_INDEX)), snapshots);
        let options = GroupOptions {
            founder,
            log_bytes_max: limits::META_LOG_BYTES,
            log_entries_kept: limits::META_ENTRIES_KEPT,
            ..alone
        }
        .with_election_timeout(self.server.config.election_timeout);
        let askers = Background::start("basalt-ask", limits::ASK_THREADS, limits::META_CHANGES_MAX)
            .map_err(|error| named(&error))?;
        let seen = book::read(&data.meta_directory());
        Ok(OpenMeta { options, log, store, map, seen, own, askers })
    }
}

fn lane_options(server: &Server, tables: OpenTables, data: &DataDir, lane: &LaneDir) -> LogOptions {
    let per_lane = server.shares.shard_count().div_ceil(usize::from(data.lane_count()));
    LogOptions {
        identity: lane.identity,
        create: !lane.must_be_there,
        segment_bytes: server.shares.budget().log_segment_bytes,
        reserve_bytes: server.config.disk_reserve,
        // Those of groups that it has, or will have.
        open_files_max: tables.log.saturating_mul(lane.shards.len().max(per_lane) as u32).cast_signed(),
        ..LogOptions::default()
    }
}

fn open_lane(lane: &LaneDir, options: &LogOptions) -> Result<(LaneDir, Lane), String> {
    let opened = Lane::open(&lane.path, options);
    opened.map(|open| (lane.clone(), open)).map_err(|error| format!("{}: {error}", name_of(lane)))
}

fn finish_lane((lane, open): &(LaneDir, Lane)) -> Result<(), String> {
    open.finish_opening().map_err(|error| format!("{}: {error}", name_of(lane)))
}

/// A lane in words for an operator: what is wrong with it is wrong with all its shards.
fn name_of(lane: &LaneDir) -> String {
    let shards: Vec<String> = lane.shards.iter().filter(|index| **index != META_INDEX).map(u16::to_string).collect();
    format!("lane {}, which has the log of the shards {}", lane.number, shards.join(", "))
}

/// Does something with each of `what`, all at once, on a thread each.
fn at_once<A: Sync, T: Send>(what: &[A], body: impl Fn(&A) -> Result<T, String> + Sync) -> Vec<Result<T, String>> {
    std::thread::scope(|scope| {
        let body = &body;
        let threads: Vec<_> = what.iter().map(|item| scope.spawn(move || body(item))).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|joined| joined.unwrap_or_else(|_| Err(String::from("a shard could not be opened")))).collect()
    })
}

/// Separates what succeeded from what is to be said of the rest.
fn split<T>(outcomes: Vec<Result<T, String>>) -> (Vec<T>, Vec<String>) {
    let (mut open, mut faults) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(one) => open.push(one),
            Err(fault) => faults.push(fault),
        }
    }
    (open, faults)
}

/// Files that were opened for a core.
pub(super) enum Opened {
    /// Those of a shard.
    Shard(Box<OpenShard>),
    /// Those of the group that has the cluster's map.
    Meta(Box<OpenMeta>),
    /// No files: the core is to change the map no more, or it may again.
    ClosingMeta {
        /// True if it is to be closed.
        is_closed: bool,
    },
    /// No files: the core is to let the group of the map go.
    LeavingMeta,
    /// No files: a shard that the core is to let go.
    Leaving(ShardId),
}

/// The files for a core, as they are opened.
pub(super) type Files = mpsc::Receiver<Opened>;

/// The word of a core on one of its groups.
pub(super) enum News {
    /// It takes requests.
    Opened,
    /// It could not be opened, and not through a fault of its own.
    Refused(Fault),
    /// The map is closed to changes, and none is under way.
    Closed,
    /// It has failed by itself, and the core has it no more: what is left of its files is to be closed.
    LetGo(Box<(Option<RaftLog>, Option<Store>)>),
}

/// Opens the groups of a core as their files come, each beside the others, and has the core take those that are ready.
pub(super) async fn open_groups(
    mut files: Files,
    server: Arc<Server>,
    core: CoreId,
    threads: Threads,
    (groups, peers): (Rc<Groups>, Option<Peers>),
    tell: impl Fn(ShardId, News) + Clone + 'static,
) {
    while let Some(opened) = files.next().await {
        let shard = match opened {
            Opened::Shard(shard) => {
                groups.come(shard.id);
                *shard
            }
            Opened::Leaving(shard) => {
                groups.leave(shard);
                continue;
            }
            Opened::Meta(open) => {
                let ties = ties(&groups, peers.as_ref(), GroupNumber(0), ShardId(META_INDEX));
                open_meta(*open, server.clone(), core, threads.clone(), (groups.clone(), ties), tell.clone());
                continue;
            }
            Opened::ClosingMeta { is_closed: true } => {
                let tell = tell.clone();
                groups.close_meta(move || tell(ShardId(META_INDEX), News::Closed));
                continue;
            }
            Opened::ClosingMeta { is_closed: false } => {
                groups.open_meta_again();
                continue;
            }
            Opened::LeavingMeta => {
                groups.leave_meta();
                continue;
            }
        };
        let ties = ties(&groups, peers.as_ref(), shard.number, shard.id);
        let (server, threads, groups, tell) = (server.clone(), threads.clone(), groups.clone(), tell.clone());
        let open = async move {
            let id = shard.id;
            match open_group(shard, &server, core, &threads, ties).await {
                Ok(shard) => {
                    groups.add(shard);
                    tell(id, News::Opened);
                }
                Err(basalt_raft::Error::Fatal(fault)) if fault.reach == Reach::Group => {
                    server.note_failed(id, &fault.text);
                    tell(id, News::LetGo(Box::default()));
                }
                Err(basalt_raft::Error::Fatal(fault)) => tell(id, News::Refused(fault)),
                Err(error) => {
                    tell(id, News::Refused(Fault { text: error.to_string(), reach: Reach::Group }));
                }
            }
            server.mailboxes.bell(core).ring_urgently();
        };
        glommio::spawn_local(open).detach();
    }
}

/// Opens the group of the cluster's map, and has the core take it once it is ready. Without it the node cannot go on.
///
/// A node that others have forgotten while it was away hears of no leader, so that its group is never ready: it can be told to
/// leave all the same.
fn open_meta(
    open: OpenMeta,
    server: Arc<Server>,
    core: CoreId,
    threads: Threads,
    (groups, ties): (Rc<Groups>, Ties),
    tell: impl Fn(ShardId, News) + 'static,
) {
    let leaves = groups.meta_opens();
    let opening = async move {
        let meta = match Meta::open(open, &server, core, (threads.background, threads.entry_readers), ties).await {
            Ok(meta) => meta,
            Err(error) => return server.fail(format!("the cluster's map: {error}")),
        };
        let is_ready = match select(pin!(meta.wait_ready()), leaves).await {
            Either::Left((is_ready, _)) => Some(is_ready),
            Either::Right(_) => None,
        };
        match is_ready {
            Some(Ok(())) => groups.add_meta(meta),
            Some(Err(error)) => server.fail(format!("the cluster's map: {error}")),
            None => {
                groups.meta_has_left(ShardId(META_INDEX));
                end_meta(meta, tell);
            }
        }
        server.mailboxes.bell(core).ring_urgently();
    };
    glommio::spawn_local(opening).detach();
}

/// Opens a shard's group and waits until it can take requests.
async fn open_group(
    shard: OpenShard,
    server: &Arc<Server>,
    core: CoreId,
    threads: &Threads,
    ties: Ties,
) -> Result<Shard, basalt_raft::Error> {
    let OpenShard { id, options, log, store, .. } = shard;
    let machine = Rc::new(RefCell::new(ShardMachine::new(store)));
    Shard::open(id, options, log, machine, (server, core), threads, ties).await
}

/// Ends the group of a shard that its core has let go, and hands on what is to be closed.
pub(super) fn end_shard(shard: Shard, tell: impl Fn(ShardId, News) + 'static) {
    let end = async move {
        let id = shard.id();
        let files = shard.end(true).await;
        tell(id, News::LetGo(Box::new(files)));
    };
    glommio::spawn_local(end).detach();
}

/// Ends the group of the map, which its core has let go, and hands on what is to be closed.
pub(super) fn end_meta(meta: Meta, tell: impl Fn(ShardId, News) + 'static) {
    let end = async move {
        let files = meta.end().await;
        tell(ShardId(META_INDEX), News::LetGo(Box::new(files)));
    };
    glommio::spawn_local(end).detach();
}

/// The ties of a group to other nodes, which reach it as soon as it is there.
fn ties(groups: &Rc<Groups>, peers: Option<&Peers>, number: GroupNumber, shard: ShardId) -> Ties {
    let Some(peers) = peers else { return Ties::default() };
    let (groups, of_failure) = (groups.clone(), groups.clone());
    Ties {
        transport: Some(peers.transport(PeerGroup(number.0))),
        links: Some(peers.clone()),
        on_open: Some(Box::new(move |group| groups.note(number, shard, group))),
        on_failure: Some(Box::new(move || of_failure.forget(shard))),
    }
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
