//! The keeper of a node's groups: has them opened when the node starts, and what has failed opened again when that is ordered.
//!
//! It is the thread that has started the node. What it does blocks, and the cores go on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use basalt_raft::Reach;
use futures_channel::mpsc;

use super::RunError;
use super::shards::{CompactionStart, News, OpenShard, Opener, begin_compaction};
use crate::boot::DataDir;
use crate::config::MemoryBudget;
use crate::ids::ShardId;
use crate::limits;
use crate::node::{GroupState, Reopening, Server};

/// Something for the keeper to do.
pub(super) enum Event {
    /// A core has something to say of a group.
    OfGroup(ShardId, News),
    /// A group is to be opened again.
    Reopen(Reopening),
    /// The node stops.
    Stop,
}

/// The keeper of a node's groups.
pub(super) struct Keeper<'a> {
    server: Arc<Server>,
    data: &'a mut DataDir,
    opener: Opener<'a>,
    /// The way of opened files to each core.
    files: Vec<mpsc::Sender<OpenShard>>,
    /// Groups that have failed and whose files are closed, or are about to be, with the order to open them again if there is one.
    failed: BTreeMap<ShardId, Failed>,
}

/// A group that has failed.
#[derive(Default)]
struct Failed {
    is_let_go: bool,
    order: Option<Reopening>,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(
        server: Arc<Server>,
        data: &'a mut DataDir,
        opener: Opener<'a>,
        files: Vec<mpsc::Sender<OpenShard>>,
    ) -> Keeper<'a> {
        Keeper { server, data, opener, files, failed: BTreeMap::new() }
    }

    /// Hands the shards' files to their cores and waits until each group takes requests, or has failed by itself. `None` if the
    /// node stops before.
    pub(super) fn start(
        &mut self,
        shards: Vec<OpenShard>,
        events: &Receiver<Event>,
    ) -> Result<Option<Vec<CompactionStart>>, RunError> {
        // A start that was refused is not counted: what belongs here may come back.
        self.data.count_start().map_err(|error| RunError(error.to_string()))?;
        let compactions = shards.iter().map(OpenShard::compaction_start).collect();
        // Others may fail meanwhile, and be opened again by order.
        let mut to_come: BTreeSet<ShardId> = shards.iter().map(|shard| shard.id).collect();
        for shard in shards {
            self.hand_over(shard);
        }
        while !to_come.is_empty() {
            match self.next(events) {
                Some(Event::OfGroup(shard, News::Refused(fault))) if to_come.contains(&shard) => {
                    return Err(RunError(format!("shard {shard}: {fault}")));
                }
                Some(event) => {
                    if let Event::OfGroup(shard, _) = &event {
                        to_come.remove(shard);
                    }
                    self.take(event);
                }
                None => return Ok(None),
            }
        }
        // Each core seats its groups in a turn of its own: until then it answers that they are loading.
        while self.server.is_loading() {
            match events.recv_timeout(limits::SEAT_LOOKS) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let has_failed = |index| self.server.shards[usize::from(index)].state.get() == GroupState::Failed;
        self.data.note_live(|index: u16| !has_failed(index));
        Ok(Some(compactions))
    }

    /// Does what there is to do until the node stops.
    pub(super) fn run(&mut self, events: &Receiver<Event>) {
        while let Some(event) = self.next(events) {
            self.take(event);
        }
    }

    /// Waits for the next event; `None` if the node stops.
    fn next(&self, events: &Receiver<Event>) -> Option<Event> {
        // A group whose core has ended says nothing, but the node stops then.
        let event = events.recv().ok()?;
        if matches!(event, Event::Stop) || self.server.stop.is_requested() { None } else { Some(event) }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::OfGroup(shard, News::Opened) => tracing::debug!(shard = shard.0, "the group is open"),
            Event::OfGroup(shard, News::Refused(fault)) if fault.reach == Reach::Node => {
                self.server.fail(format!("shard {shard} cannot be opened again: {fault}"));
            }
            Event::OfGroup(shard, News::Refused(fault)) => self.fail(shard, &fault.text),
            Event::OfGroup(shard, News::LetGo(files)) => {
                // Closing them may block.
                drop(files);
                self.share_out();
                let failed = self.failed.entry(shard).or_default();
                failed.is_let_go = true;
                if let Some(order) = failed.order.take() {
                    self.reopen(&order);
                }
            }
            Event::Stop => {}
            Event::Reopen(order) => {
                let failed = self.failed.entry(order.shard).or_default();
                if failed.is_let_go { self.reopen(&order) } else { failed.order = Some(order) }
            }
        }
    }

    /// Notes that a group could not be opened again: it may be tried once more.
    fn fail(&mut self, shard: ShardId, reason: &str) {
        self.failed.entry(shard).or_default().is_let_go = true;
        self.server.note_failed(shard, reason);
        self.share_out();
    }

    /// Divides the node's memory among the groups that are open, or about to be.
    fn share_out(&self) {
        let router = &self.server.router;
        let is_open = |shard: &ShardId| self.server.shards[shard.index()].state.get() != GroupState::Failed;
        let lanes: BTreeSet<u16> = router.shards().filter(is_open).map(|shard| router.lane_of(shard)).collect();
        let count = router.shards().filter(is_open).count();
        if count > 0 {
            self.server.shares.set(MemoryBudget::new(&self.server.config, count as u16, lanes.len() as u16));
        }
    }

    fn reopen(&mut self, order: &Reopening) {
        let Reopening { shard, skip } = *order;
        tracing::info!(shard = shard.0, skip, "the shard is opened again, as it was ordered");
        self.share_out();
        match self.open_patiently(shard, skip) {
            // It would be closed by nobody.
            Ok(Some(_)) if self.server.stop.is_requested() => {}
            Ok(Some(open)) => {
                self.failed.remove(&shard);
                begin_compaction(self.server.clone(), vec![open.compaction_start()]);
                self.hand_over(open);
            }
            Ok(None) => self.fail(shard, "the log of its lane is not open"),
            Err(reason) => self.fail(shard, &reason),
        }
    }

    /// Opens a shard's files as soon as nothing uses them any more: a thread may write the last rows or read some.
    fn open_patiently(&self, shard: ShardId, skip: Option<u64>) -> Result<Option<OpenShard>, String> {
        let deadline = Instant::now() + limits::REOPEN_PATIENCE;
        let goes_on = || Instant::now() < deadline && !self.server.stop.is_requested();
        loop {
            match self.opener.open(self.data, shard, skip) {
                Err(refused) if refused.is_in_use && goes_on() => std::thread::sleep(limits::REOPEN_LOOKS),
                outcome => return outcome.map_err(|refused| refused.text),
            }
        }
    }

    fn hand_over(&mut self, shard: OpenShard) {
        let core = self.server.router.core_of(shard.id);
        // A core that is gone says why when its thread is joined.
        let _ = self.files[core.index()].try_send(shard);
        self.server.mailboxes.bell(core).ring_urgently();
    }
}
