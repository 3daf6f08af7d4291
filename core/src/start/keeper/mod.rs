//! The keeper of a node's groups: has them opened when the node starts, and what has failed opened again when that is ordered.
//!
//! It is the thread that has started the node. What it does blocks, and the cores go on meanwhile.

mod giving_up;
mod joining;
mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use basalt_raft::{NodeId, Reach};
use basalt_storage::log::RaftLog;
use basalt_storage::{Rows as _, Store};
use futures_channel::mpsc;

use super::shards::{CompactionStart, News, OpenShard, Opened, Opener, begin_compaction};
use super::snapshots::Snapshots;
use super::{RunError, book};
use crate::boot::{DataDir, GroupEntry, GroupState as Kept, META_INDEX};
use crate::cluster::LocalGroup;
use crate::cluster::map::{Change, GroupNumber, Newcomer, Node};
use crate::config::{Durability, MemoryBudget};
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::meta::{OpenMeta, OwnNode, ask};
use crate::node::{GroupState, Order, Reopening, Server, ShardStats};

use giving_up::GivingUp;
use joining::Joining;
use seeds::Seeds;

/// Something for the keeper to do.
pub(super) enum Event {
    /// A core has something to say of a group.
    OfGroup(ShardId, News),
    /// There is something to do.
    Ordered(Order),
    /// The node stops.
    Stop,
}

/// The keeper of a node's groups.
pub(super) struct Keeper<'a> {
    server: Arc<Server>,
    data: &'a mut DataDir,
    opener: Opener<'a>,
    /// The way of opened files to each core.
    files: Vec<mpsc::Sender<Opened>>,
    /// Groups that have failed and whose files are closed, or are about to be, with the order to open them again if there is one.
    failed: BTreeMap<ShardId, Failed>,
    /// Groups that their cores are to let go.
    leaving: BTreeMap<ShardId, Leaving>,
    /// Groups whose removal has failed, and is tried again. Nobody has them open.
    undestroyed: BTreeSet<ShardId>,
    /// The attempt to give up all slots, if there is one.
    giving_up: Option<GivingUp>,
    /// This node, as it presents itself to its cluster, if it belongs to one.
    own: Option<OwnNode>,
    /// The epoch of the map in the address book.
    noted_epoch: u64,
    /// The cluster that it is joining, if there is one.
    joining: Option<Joining>,
    /// The nodes that its cluster is to have, until it has formed.
    seeds: Option<Seeds>,
    /// The snapshots that go to other nodes and come from them, if the node belongs to a cluster.
    snapshots: Option<Snapshots>,
    /// True once it was said that the node takes no replicas.
    has_refused_replicas: bool,
    /// Set if something that the map wants could not be done: it is tried again.
    is_behind: bool,
}

/// A group that is to go.
struct Leaving {
    number: GroupNumber,
    /// Set if other nodes have the group; else the map has it no more.
    is_elsewhere: bool,
    /// The time since which its files are closed.
    closed: Option<Instant>,
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
        files: Vec<mpsc::Sender<Opened>>,
        (own, snapshots): (Option<OwnNode>, Option<Snapshots>),
    ) -> Keeper<'a> {
        let config = server.settings.config();
        let seeds = Seeds::of(&config.cluster_seeds).filter(|_| own.is_some() && !data.has_formed());
        Keeper {
            server,
            data,
            opener,
            files,
            failed: BTreeMap::new(),
            leaving: BTreeMap::new(),
            undestroyed: BTreeSet::new(),
            giving_up: None,
            own,
            noted_epoch: 0,
            joining: None,
            seeds,
            snapshots,
            has_refused_replicas: false,
            is_behind: false,
        }
    }

    /// Hands the shards' files to their cores and waits until each group takes requests, or has failed by itself. `None` if the
    /// node stops before.
    pub(super) fn start(
        &mut self,
        shards: Vec<OpenShard>,
        meta: Option<OpenMeta>,
        events: &Receiver<Event>,
    ) -> Result<Option<Vec<CompactionStart>>, RunError> {
        // A start that was refused is not counted: what belongs here may come back.
        self.data.count_start().map_err(|error| RunError(error.to_string()))?;
        let compactions = shards.iter().map(OpenShard::compaction_start).collect();
        // Others may fail meanwhile, and be opened again by order.
        let mut to_come: BTreeSet<ShardId> = shards.iter().map(|shard| shard.id).collect();
        if let Some(meta) = meta {
            self.announce();
            self.hand_to(CoreId(0), Opened::Meta(Box::new(meta)));
        }
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
                Err(RecvTimeoutError::Timeout) => {
                    self.end_joining();
                    self.follow_seeds();
                }
            }
        }
        let has_failed = |index| self.server.shards[usize::from(index)].state.get() == GroupState::Failed;
        // That of the map is noted when there is one.
        let open: BTreeSet<u16> = self.data.shards().iter().map(|group| group.index).collect();
        let told: BTreeSet<u16> =
            open.into_iter().filter(|index| !has_failed(*index) && self.is_told(*index)).collect();
        self.data.note_live(|index: u16| told.contains(&index));
        self.is_behind = self.data.is_of_cluster();
        self.tell_local();
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
        let event = if self.is_behind || self.joining.is_some() || self.seeds.is_some() {
            match events.recv_timeout(limits::FOLLOW_RETRY) {
                Err(RecvTimeoutError::Timeout) => Event::Ordered(Order::FollowMap),
                event => event.ok()?,
            }
        } else {
            events.recv().ok()?
        };
        if matches!(event, Event::Stop) || self.server.stop.is_requested() { None } else { Some(event) }
    }

    fn take(&mut self, event: Event) {
        if let Event::Ordered(order) = &event {
            self.server.orders.begin(order);
        }
        match event {
            Event::OfGroup(shard, News::Opened) => self.opened(shard),
            Event::OfGroup(shard, News::Refused(fault)) if fault.reach == Reach::Node => {
                self.server.fail(format!("shard {shard} cannot be opened again: {fault}"));
            }
            Event::OfGroup(_, News::Closed) => self.ask_to_join(),
            Event::OfGroup(ShardId(META_INDEX), News::LetGo(files)) => {
                drop(files);
                if let Err(reason) = self.join() {
                    self.server.fail(format!("the node cannot join the other cluster: {reason}"));
                }
            }
            Event::OfGroup(shard, News::Refused(_)) if self.leaving.contains_key(&shard) => {
                self.remove(shard, None, None);
            }
            Event::OfGroup(shard, News::Refused(fault)) => self.fail(shard, &fault.text),
            Event::OfGroup(shard, News::LetGo(files))
                if self.giving_up.as_ref().is_some_and(|giving_up| giving_up.open.contains(&shard)) =>
            {
                let (log, store) = *files;
                self.closed(shard, log, store);
            }
            Event::OfGroup(shard, News::LetGo(files)) if self.leaving.contains_key(&shard) => {
                let (log, store) = *files;
                self.remove(shard, log, store);
            }
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
            Event::Ordered(Order::FollowMap) => self.follow_map(),
            Event::Ordered(Order::Meet(asker, address)) => match self.meet(Some(asker), address) {
                Ok(Some(reply)) => self.server.answer_late(asker, reply),
                Ok(None) => {}
                Err(text) => self.server.answer_late(asker, format!("-{text}\r\n").into_bytes()),
            },
            Event::Ordered(Order::Reset(asker)) => {
                if let Err(text) = self.reset(asker) {
                    self.server.answer_late(asker, format!("-{text}\r\n").into_bytes());
                }
            }
            Event::Ordered(Order::ReplicaOut(number, replica, asked)) => self.give_up_replica(number, replica, asked),
            Event::Ordered(Order::GiveUp(asker, refusal)) => self.begin_to_give_up(asker, refusal),
            Event::Ordered(Order::GivenUp(is_done)) => self.given_up(is_done),
            Event::Ordered(Order::Reopen(order)) => {
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

    /// Notes that a group is open. One that was founded is part of its group from now on.
    fn opened(&mut self, shard: ShardId) {
        tracing::debug!(shard = shard.0, "the group is open");
        if self.data.is_of_cluster() {
            self.note_live(shard.0);
        }
    }

    /// Returns whether the log of a group that is open is that of its group, so that it must be there from now on: its founder's
    /// is at once, any other once its leader has told of the group.
    fn is_told(&self, index: u16) -> bool {
        // An entry is executed once it is on disk.
        let has_log = |stats: &ShardStats| stats.applied.get() > 0;
        index == META_INDEX
            || self.data.group(index).founder
            || self.server.shards.get(ShardId(index)).is_some_and(has_log)
    }

    /// Notes that a group which was created is part of its group.
    fn note_live(&mut self, index: u16) {
        if self.data.group(index).state != Kept::Creating {
            return;
        }
        if !self.is_told(index) {
            self.is_behind = true;
            return;
        }
        self.data.note_live(|other: u16| other == index);
        // On a full disk it cannot be noted.
        self.is_behind |= self.data.group(index).state == Kept::Creating;
        self.tell_local();
    }

    /// Tells all cores which groups this node has, if it belongs to a cluster.
    fn tell_local(&self) {
        if self.data.is_of_cluster() {
            let mut local = local_groups(self.data);
            // A replica is told of until its files are gone: others wait for that.
            let is_gone = |leaving: &Leaving, number| !leaving.is_elsewhere && leaving.number == number;
            local.retain(|number, _| !self.leaving.values().any(|leaving| is_gone(leaving, *number)));
            if let Some(snapshots) = &self.snapshots {
                snapshots.note_places(self.data);
            }
            self.server.routes.set_local(local);
            // The first core has the map, which may have to be told.
            self.server.mailboxes.bell(CoreId(0)).ring_urgently();
        }
    }

    /// Writes the map into the address book, if it is a new one.
    fn note_addresses(&mut self) {
        let Some(map) = self.server.routes.map().filter(|map| map.epoch() > self.noted_epoch) else { return };
        match book::write(&self.data.meta_directory(), &map) {
            Ok(()) => self.noted_epoch = map.epoch(),
            // It is tried again with the next map.
            Err(error) => tracing::warn!(%error, "the addresses of other nodes cannot be written down"),
        }
    }

    /// Tells the others where this node is, if that is not where they may look for it: they find it by that alone.
    fn announce(&self) {
        let (Some(own), Some(book)) = (self.own.clone(), book::read(&self.data.meta_directory())) else { return };
        let Newcomer { number, incarnation, addresses, .. } = own.newcomer;
        let is_known = book.node(number).is_none_or(|node| node.addresses == addresses);
        if is_known || book.nodes().len() == 1 {
            return;
        }
        let (server, cluster) = (self.server.clone(), own.cluster_id.to_string());
        let announcing = move || {
            let change = Change::Announce { node: number, incarnation, addresses }.encode();
            let others = book.nodes().iter().filter(|node| node.number != number).filter_map(client_address);
            let others: Vec<SocketAddr> = others.collect();
            let words: [&[u8]; 4] = [b"BASALT", b"CHANGE", cluster.as_bytes(), &change];
            let user = || server.settings.config().for_other_nodes();
            // Refusals that were told of: most stay as they are until somebody does something.
            let mut told: BTreeMap<SocketAddr, String> = BTreeMap::new();
            while server.is_loading() && !server.stop.is_requested() {
                let mut is_told = |other: &SocketAddr| {
                    if server.stop.is_requested() {
                        return false;
                    }
                    let asked = ask(*other, user(), &words, limits::ASK_ANSWER, &|| server.stop.is_requested());
                    let Ok(reply) = asked else { return false };
                    if reply.starts_with(b"-") {
                        let refusal = String::from_utf8_lossy(&reply[1..]).trim_end().to_owned();
                        if told.get(other) != Some(&refusal) {
                            tracing::warn!(address = %other, refusal, "another node does not hear where this one is");
                            told.insert(*other, refusal);
                        }
                    }
                    reply.starts_with(b"*")
                };
                if others.iter().any(&mut is_told) {
                    return;
                }
                std::thread::sleep(limits::FOLLOW_RETRY);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("basalt-announce".into()).spawn(announcing) {
            tracing::warn!(%error, "no thread could be started to tell other nodes where this one is");
        }
    }

    /// Founds the groups that the map says this node is to found, and gives up those that it has no more.
    fn follow_map(&mut self) {
        let myself = NodeId(self.data.node_number());
        self.end_joining();
        self.note_addresses();
        self.follow_seeds();
        self.is_behind = false;
        self.remove_again();
        // One that does not know the node yet says nothing of its groups.
        let Some(map) = self.server.routes.map().filter(|map| map.node(myself).is_some()) else { return };
        // One that the node is about to leave says nothing either.
        if self.joining.as_ref().is_some_and(|joining| joining.id != map.cluster_id()) {
            return;
        }
        self.note_live(META_INDEX);
        let is_open = |shard: &ShardId| {
            let is_open = |state| matches!(state, GroupState::Leader | GroupState::Follower | GroupState::Leaderless);
            self.server.shards.get(*shard).is_some_and(|stats| is_open(stats.state.get()))
        };
        let open: Vec<u16> = self.data.shards().iter().map(|group| group.index).collect();
        for index in open.into_iter().filter(|index| is_open(&ShardId(*index))).collect::<Vec<_>>() {
            self.note_live(index);
        }
        for group in map.groups() {
            let founds = !group.is_live && group.home == myself;
            // Under a number that nobody had: a replica that was here once is never taken for this one.
            let follows = group.is_live && group.replicas.contains(&myself);
            let is_here = self.data.groups().iter().any(|here| here.number == group.number.0);
            if is_here || self.server.stop.is_requested() {
                continue;
            }
            // Others have taken their time, and the map may have changed: a node that is said to be empty must not get one more.
            let newest = self.server.routes.map();
            let newest = newest.as_deref().and_then(|map| map.group(group.number));
            if newest.is_none_or(|newest| newest.is_live != group.is_live || !newest.replicas.contains(&myself)) {
                self.is_behind = true;
                continue;
            }
            if founds || (follows && self.may_follow()) {
                self.create(group.number, founds);
            }
        }
        self.take_back();
        let shards = self.data.shards();
        let gone = shards.into_iter().filter(|here| map.group(GroupNumber(here.number)).is_none());
        let gone: Vec<_> = gone.map(|here| (ShardId(here.index), GroupNumber(here.number))).collect();
        for (shard, number) in gone {
            self.give_up(shard, number);
        }
    }

    /// Tries again to remove what could not be removed.
    fn remove_again(&mut self) {
        for shard in std::mem::take(&mut self.undestroyed) {
            if self.data.groups().iter().any(|group| group.index == shard.0) {
                self.destroy(shard);
                self.tell_local();
                self.share_out();
            }
        }
    }

    /// Returns whether the node may have replicas of groups that others lead; says so once if it may not.
    fn may_follow(&mut self) -> bool {
        let durability = self.server.config.durability;
        if durability == Durability::Always {
            return true;
        }
        if !std::mem::replace(&mut self.has_refused_replicas, true) {
            tracing::warn!(
                durability = durability.word(),
                "the node takes no replicas, and its groups get none on other nodes: a power failure and one other would lose what \
                 was acknowledged; start it with durability = always"
            );
        }
        false
    }

    /// Has the core of a group let it go, unless it has failed: that one is left to an operator.
    fn give_up(&mut self, shard: ShardId, number: GroupNumber) {
        let is_closed = self.giving_up.as_ref().is_some_and(|giving_up| giving_up.knows(shard));
        let is_going = self.leaving.contains_key(&shard) || self.undestroyed.contains(&shard);
        if is_closed || self.failed.contains_key(&shard) || is_going {
            return;
        }
        tracing::info!(group = number.0, shard = shard.0, "the map has the group no more: it is given up");
        let core = self.core_of(shard);
        self.leaving.insert(shard, Leaving { number, is_elsewhere: false, closed: None });
        // First, so that no core sends anything for it any more.
        self.tell_local();
        self.hand_to(core, Opened::Leaving(shard));
    }

    /// Gives up the replica of a group that has others instead, now that its leader has said that it is no member: first it is
    /// closed, so that nobody counts on it any more, and when the leader has said it again its files are removed. One that the map
    /// wants again meanwhile is opened again.
    fn give_up_replica(&mut self, number: GroupNumber, replica: NodeId, asked: Instant) {
        let here = self.data.shards().into_iter().find(|here| here.number == number.0);
        let Some(shard) = here.map(|here| ShardId(here.index)) else { return };
        // The group may have another replica here by now.
        if self.data.replica(shard.0) != replica.0 || !self.is_elsewhere(number) || self.server.stop.is_requested() {
            return;
        }
        if let Some(leaving) = self.leaving.get(&shard) {
            // Before it was closed the leader may have taken it back.
            if leaving.is_elsewhere && leaving.closed.is_some_and(|closed| closed < asked) {
                self.leaving.remove(&shard);
                self.destroy(shard);
                self.tell_local();
                self.share_out();
                // The map may want a new one.
                self.is_behind = true;
            }
            return;
        }
        if self.giving_up.is_some() || self.joining.is_some() || self.undestroyed.contains(&shard) {
            return;
        }
        let is_let_go = self.failed.get(&shard).map(|failed| failed.is_let_go);
        if is_let_go == Some(false) {
            return;
        }
        tracing::info!(group = number.0, shard = shard.0, "the group has replicas elsewhere: the one here is given up");
        let closed = self.failed.remove(&shard).map(|_| Instant::now());
        self.leaving.insert(shard, Leaving { number, is_elsewhere: true, closed });
        if closed.is_none() {
            let core = self.core_of(shard);
            self.hand_to(core, Opened::Leaving(shard));
        }
    }

    /// Returns whether the map has a group on other nodes only.
    fn is_elsewhere(&self, number: GroupNumber) -> bool {
        let (myself, map) = (NodeId(self.data.node_number()), self.server.routes.map());
        let group = map.as_deref().and_then(|map| map.group(number));
        group.is_some_and(|group| group.is_live && !group.replicas.contains(&myself))
    }

    /// Opens replicas again that were closed to be given up, and that the map wants again.
    fn take_back(&mut self) {
        let is_wanted =
            |leaving: &Leaving| leaving.is_elsewhere && leaving.closed.is_some() && !self.is_elsewhere(leaving.number);
        let back: Vec<ShardId> =
            self.leaving.iter().filter(|(_, leaving)| is_wanted(leaving)).map(|(shard, _)| *shard).collect();
        for shard in back {
            self.leaving.remove(&shard);
            self.open_and_hand_over(shard);
        }
    }

    /// Removes a group that its core has let go. One that has keys all the same is kept, and not opened: they were written when the
    /// map was changed.
    fn remove(&mut self, shard: ShardId, log: Option<RaftLog>, store: Option<Store>) {
        let Leaving { number, is_elsewhere, .. } = self.leaving.remove(&shard).expect("whoever calls this has looked");
        self.failed.remove(&shard);
        if is_elsewhere {
            drop((log, store));
            self.server.note_gone(shard);
            self.leaving.insert(shard, Leaving { number, is_elsewhere, closed: Some(Instant::now()) });
            return self.take_back();
        }
        let key_count = count_keys(store.as_ref());
        drop((log, store));
        let number = number.0;
        if key_count == Some(0) {
            self.destroy(shard);
        } else {
            tracing::error!(group = number, key_count, "the group that is given up may have keys: its files are kept");
            if let Err(error) = self.data.set_aside(number, "the map had it no more, though it may have had keys") {
                tracing::error!(group = number, %error, "the group is looked at again at the next start");
            }
            self.server.note_gone(shard);
        }
        self.tell_local();
        self.share_out();
    }

    /// Removes the files of a group that is closed and has no keys.
    fn destroy(&mut self, shard: ShardId) {
        let is_it = |group: &&GroupEntry| group.index == shard.0;
        let Some((number, lane)) = self.data.groups().iter().find(is_it).map(|group| (group.number, group.lane)) else {
            return;
        };
        tracing::info!(group = number, shard = shard.0, "the group is removed");
        match self.data.destroy_group(number) {
            Ok(()) => {
                self.undestroyed.remove(&shard);
                if let Err(error) = self.opener.remove_log(lane, number) {
                    tracing::warn!(group = number, %error, "records of a group that is no more are left in its lane until the next start");
                }
            }
            // On a full disk, or while the files of a snapshot come still.
            Err(error) => {
                tracing::error!(group = number, %error, "a group that is given up is still there: its removal is tried again");
                self.undestroyed.insert(shard);
                self.is_behind = true;
            }
        }
        self.server.note_gone(shard);
    }

    /// Opens shards again that were closed and are not given up.
    fn open_again(&mut self, shards: impl Iterator<Item = ShardId>) {
        for shard in shards {
            if self.server.shards[shard.index()].state.get() == GroupState::Failed {
                self.failed.entry(shard).or_default().is_let_go = true;
            } else {
                self.open_and_hand_over(shard);
            }
        }
    }

    fn open_and_hand_over(&mut self, shard: ShardId) {
        let opened = self.open_patiently(shard, None);
        self.hand_over_opened(shard, opened);
    }

    fn hand_over_opened(&mut self, shard: ShardId, opened: Result<Option<OpenShard>, String>) {
        match opened {
            Ok(Some(open)) => {
                begin_compaction(self.server.clone(), vec![open.compaction_start()]);
                self.hand_over(open);
            }
            Ok(None) => self.fail(shard, "the log of its lane is not open"),
            Err(reason) => self.fail(shard, &reason),
        }
    }

    fn core_of(&self, shard: ShardId) -> CoreId {
        self.server.routes.now().router.core_of_lane(self.data.group(shard.0).lane)
    }

    /// Founds a group, or makes room for the replica of one that its leader will tell of, and hands it to its core.
    fn create(&mut self, number: GroupNumber, founds: bool) {
        if self.data.groups().len() > limits::SHARDS_MAX {
            tracing::error!(group = number.0, "the group is not opened: this node has as many as it may");
            self.is_behind = true;
            return;
        }
        // Records of an earlier replica would be taken for those of this one.
        if let Err(error) = self.opener.remove_logs(number.0) {
            tracing::error!(group = number.0, %error, "what an earlier replica has left in the lanes cannot be removed, and is tried again");
            self.is_behind = true;
            return;
        }
        let shard = match self.data.create_group(number.0, founds) {
            Ok(group) => ShardId(group.index),
            Err(error) => {
                tracing::error!(group = number.0, %error, "the group cannot be created, and is tried again");
                self.is_behind = true;
                return;
            }
        };
        tracing::info!(group = number.0, shard = shard.0, founds, "the group is created");
        // Known to all cores before any request may come for it.
        self.server.note_coming(shard, self.core_of(shard));
        self.tell_local();
        self.share_out();
        match self.open_patiently(shard, None) {
            // It is nobody's yet, and begins anew in a while.
            Err(reason) if !founds => {
                tracing::warn!(group = number.0, reason, "the replica cannot be opened, and is tried again");
                self.destroy(shard);
                self.is_behind = true;
            }
            opened => self.hand_over_opened(shard, opened),
        }
    }

    /// Divides the node's memory among the groups that are open, or about to be.
    fn share_out(&self) {
        let routing = self.server.routes.now();
        let router = &routing.router;
        let is_open = |shard: &ShardId| {
            self.server.shards.get(*shard).is_some_and(|stats| stats.state.get() != GroupState::Failed)
        };
        let lanes: BTreeSet<u16> = router.all_shards().filter(is_open).map(|shard| router.lane_of(shard)).collect();
        let lane_count = if self.data.shares_log() { self.data.lane_count() } else { lanes.len() as u16 };
        let count = router.all_shards().filter(is_open).count();
        if count > 0 {
            self.server.shares.set(MemoryBudget::new(&self.server.config, count as u16, lane_count));
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
        let core = self.core_of(shard.id);
        self.hand_to(core, Opened::Shard(Box::new(shard)));
    }

    fn hand_to(&mut self, core: CoreId, opened: Opened) {
        // A core that is gone says why when its thread is joined.
        let _ = self.files[core.index()].try_send(opened);
        self.server.mailboxes.bell(core).ring_urgently();
    }
}

/// The address of a node for clients.
fn client_address(node: &Node) -> Option<SocketAddr> {
    Some(SocketAddr::new(node.addresses.ip?, node.addresses.port))
}

/// The number of keys in a store that nobody uses any more.
fn count_keys(store: Option<&Store>) -> Option<u64> {
    store.map(|store| store.counters().keys.iter().sum())
}

/// The groups of a node in a cluster, for its routing.
pub(super) fn local_groups(data: &DataDir) -> BTreeMap<GroupNumber, LocalGroup> {
    let local = |group: &GroupEntry| {
        let is_live = group.state == Kept::Live;
        let (shard, replica) = (ShardId(group.index), NodeId(data.replica(group.index)));
        (GroupNumber(group.number), LocalGroup { shard, lane: group.lane, is_live, replica })
    };
    data.shards().into_iter().map(local).collect()
}
