//! The keeper of a node's groups: has them opened when the node starts, and what has failed opened again when that is ordered.
//!
//! It is the thread that has started the node. What it does blocks, and the cores go on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use basalt_net::resp::value;
use basalt_raft::{NodeId, Reach};
use basalt_storage::log::RaftLog;
use basalt_storage::{Rows as _, Store};
use futures_channel::mpsc;

use super::shards::{CompactionStart, News, OpenShard, Opened, Opener, begin_compaction};
use super::snapshots::Snapshots;
use super::{RunError, book};
use crate::boot::{DataDir, GroupEntry, GroupState as Kept, META_INDEX};
use crate::cluster::LocalGroup;
use crate::cluster::map::{Addresses, Change, ClusterId, Group, GroupNumber, Map, Newcomer, Node, SlotSet};
use crate::config::{Durability, MemoryBudget};
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::meta::{AskError, LEAVING, OpenMeta, OwnNode, ask, read_forwarded};
use crate::node::{Asker, GroupState, Order, Reopening, Server, ShardStats};

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
    /// Groups that their cores are to let go, since the map has them no more.
    leaving: BTreeMap<ShardId, GroupNumber>,
    /// The attempt to give up all slots, if there is one.
    giving_up: Option<GivingUp>,
    /// This node, as it presents itself to its cluster, if it belongs to one.
    own: Option<OwnNode>,
    /// The epoch of the map in the address book.
    noted_epoch: u64,
    /// The cluster that it is joining, if there is one.
    joining: Option<Joining>,
    /// The snapshots that go to other nodes and come from them, if the node belongs to a cluster.
    snapshots: Option<Snapshots>,
    /// True once it was said that the node takes no replicas.
    has_refused_replicas: bool,
    /// Set if something that the map wants could not be done: it is tried again.
    is_behind: bool,
}

/// The way of the node into another cluster. Its own map is closed first, so that nobody is taken into that, and nothing is founded
/// there, any more; then it asks to be taken; and then it gives its own map up.
struct Joining {
    asker: Asker,
    id: ClusterId,
    /// The other cluster as it was and the node that told of it, until the node has asked to be taken.
    asks: Option<(Map, SocketAddr)>,
    /// The client is told then that it takes longer.
    deadline: Instant,
}

/// Shards that are closed to see if they have keys, before the map is told that the node gives them up: so nothing that was
/// acknowledged is in them when they are removed.
struct GivingUp {
    asker: Asker,
    /// The answer if there are keys.
    refusal: &'static str,
    /// Shards that their cores have not let go yet.
    open: BTreeSet<ShardId>,
    /// The others, with the number of their keys if it is known.
    closed: BTreeMap<ShardId, Option<u64>>,
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
        Keeper {
            server,
            data,
            opener,
            files,
            failed: BTreeMap::new(),
            leaving: BTreeMap::new(),
            giving_up: None,
            own,
            noted_epoch: 0,
            joining: None,
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
                Err(RecvTimeoutError::Timeout) => self.end_joining(),
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
        let event = if self.is_behind || self.joining.is_some() {
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
            Event::Ordered(Order::Meet(asker, address)) => match self.meet(asker, address) {
                Ok(Some(reply)) => self.server.answer_late(asker, reply),
                Ok(None) => {}
                Err(text) => self.server.answer_late(asker, format!("-{text}\r\n").into_bytes()),
            },
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
            local.retain(|number, _| !self.leaving.values().any(|leaving| leaving == number));
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

    /// Has the node become one of the cluster of another node, or that one one of ours: whichever has no groups and is alone.
    /// Returns the reply, unless that comes later.
    fn meet(&mut self, asker: Asker, address: SocketAddr) -> Result<Option<Vec<u8>>, String> {
        let own = self.own.clone().ok_or("ERR the node belongs to no cluster")?;
        let myself = own.newcomer.number;
        if self.joining.is_some() || self.giving_up.is_some() {
            return Err("BUSY the node is joining a cluster or giving up its slots, try again".to_owned());
        }
        let map = self.server.routes.map().filter(|map| map.node(myself).is_some());
        if map.is_none() && own.founds {
            return Err("LOADING the node does not have its cluster's map yet".to_owned());
        }
        let theirs = self.map_of(address)?;
        let (id, deadline) = (theirs.cluster_id(), Instant::now() + limits::JOIN_MAX);
        let Some(map) = map else {
            // It was taken into a cluster, and was gone before it heard of it: it says again who and where it is.
            if id != own.cluster_id {
                return Err(format!("ERR the node is joining cluster {}, which is another one", own.cluster_id));
            }
            self.ask_to_be_taken(&theirs, address, own.newcomer, SlotSet::default())?;
            self.joining = Some(Joining { asker, id, asks: None, deadline });
            return Ok(None);
        };
        if id == map.cluster_id() {
            return Ok(Some(b"+OK\r\n".to_vec()));
        }
        if is_free(&map) {
            self.check_empty()?;
            self.joining = Some(Joining { asker, id, asks: Some((theirs, address)), deadline });
            self.hand_to(CoreId(0), Opened::ClosingMeta { is_closed: true });
            return Ok(None);
        }
        if !is_free(&theirs) {
            return Err("ERR both nodes have groups, or other nodes in their clusters: only one that is alone and has no groups \
                        can join the other's"
                .to_owned());
        }
        let Addresses { ip, port, .. } = &own.newcomer.addresses;
        let known = map.node(myself).and_then(|here| here.addresses.ip);
        let ip = ip.or(known).or_else(|| ip_towards(address));
        let ip = ip.ok_or("ERR this node does not know its address: set cluster-announce-ip")?.to_string();
        let port = port.to_string();
        // The other one has as long as it takes to be taken, and to hear of it.
        let within = limits::ASK_AGAIN_MAX + limits::JOIN_MAX;
        let reply = self.ask(address, &[b"CLUSTER", b"MEET", ip.as_bytes(), port.as_bytes()], within);
        reply.map(Some).map_err(|error| format!("ERR {error}"))
    }

    /// Asks another node, as long as this one does not stop.
    fn ask(&self, address: SocketAddr, words: &[&[u8]], within: Duration) -> Result<Vec<u8>, AskError> {
        let user = self.server.settings.config().for_other_nodes();
        ask(address, user, words, within, &|| self.server.stop.is_requested())
    }

    /// The map of a node in another cluster.
    fn map_of(&self, address: SocketAddr) -> Result<Map, String> {
        let reply =
            self.ask(address, &[b"BASALT", b"MAP"], limits::ASK_ANSWER).map_err(|error| format!("ERR {error}"))?;
        let Some(bytes) = value::read_bulk(&reply) else {
            let text = String::from_utf8_lossy(&reply).trim_end().to_owned();
            return Err(format!("ERR the node at {address} is none that could be met: {text}"));
        };
        Map::decode(bytes).map_err(|error| format!("ERR the node at {address}: {error}"))
    }

    /// Asks to be taken into the other cluster, now that the node's own map is closed.
    fn ask_to_join(&mut self) {
        let Some((theirs, address)) = self.joining.as_mut().and_then(|joining| joining.asks.take()) else { return };
        let asked = self.newcomer().and_then(|(node, claimed)| self.ask_to_be_taken(&theirs, address, node, claimed));
        if let Err(text) = asked {
            self.hand_to(CoreId(0), Opened::ClosingMeta { is_closed: false });
            let joining = self.joining.take();
            if let Some(Joining { asker, .. }) = joining {
                self.server.answer_late(asker, format!("-{text}\r\n").into_bytes());
            }
            return self.follow_map();
        }
        tracing::info!(cluster = %theirs.cluster_id(), %address, "the node joins the cluster");
        self.hand_to(CoreId(0), Opened::LeavingMeta);
    }

    /// Makes sure that nothing is left of groups that the map has no more: some may have been kept, since they had keys.
    fn check_empty(&self) -> Result<(), String> {
        if self.data.groups().iter().any(|group| group.state == Kept::SetAside) {
            return Err(
                "ERR the node has kept the files of groups that its cluster has no more: it must not lose them"
                    .to_owned(),
            );
        }
        if !self.data.is_empty() || !self.leaving.is_empty() {
            return Err("BUSY groups that the node has given up are still being removed, try again".to_owned());
        }
        Ok(())
    }

    /// This node as it joins another cluster, and the slots that it brings. Its own map is closed.
    fn newcomer(&self) -> Result<(Newcomer, SlotSet), String> {
        let newcomer = self.own.as_ref().ok_or("ERR the node belongs to no cluster")?.newcomer.clone();
        let map = self.server.routes.map().filter(|map| is_free(map));
        let here = map.as_ref().and_then(|map| map.node(newcomer.number));
        let here = here.ok_or("ERR the node is not alone any more, or has groups")?;
        self.check_empty()?;
        Ok((Newcomer { config_epoch: here.config_epoch, ..newcomer }, here.claimed.clone()))
    }

    /// Has the other cluster take this node.
    ///
    /// # Errors
    /// Why it was not taken, or may not have been.
    fn ask_to_be_taken(
        &self,
        theirs: &Map,
        first: SocketAddr,
        mut node: Newcomer,
        claimed: SlotSet,
    ) -> Result<(), String> {
        if let Some(unknown) = theirs.nodes().iter().find(|node| node.addresses.ip.is_none()) {
            return Err(format!("ERR node {} does not know its address: set cluster-announce-ip there", unknown.name));
        }
        let ip = node.addresses.ip.or_else(|| ip_towards(first));
        let ip = ip.ok_or("ERR this node does not know its address: set cluster-announce-ip")?;
        if ip.is_loopback() && !first.ip().is_loopback() {
            return Err(format!("ERR other nodes do not reach this one at {ip}: set bind or cluster-announce-ip"));
        }
        node.addresses.ip = Some(ip);
        let number = node.number;
        let change = Change::Join { node, claimed }.encode();
        let reply = match self.ask_leader(theirs, first, &change) {
            // It may have been taken all the same.
            Err(text) if text.starts_with("UNCERTAIN") => {
                let places = [first].into_iter().chain(theirs.nodes().iter().filter_map(client_address));
                let knows = |place| self.map_of(place).is_ok_and(|map| map.node(number).is_some());
                return if places.take(limits::map::META_VOTERS_MAX).any(knows) { Ok(()) } else { Err(text) };
            }
            reply => reply?,
        };
        match reply.strip_prefix(b"-") {
            Some(text) => Err(String::from_utf8_lossy(text).trim_end().to_owned()),
            None => Ok(()),
        }
    }

    /// Has another cluster's map changed by whichever of its nodes leads its group, with a change that may be made twice; returns
    /// the reply to it.
    fn ask_leader(&self, map: &Map, first: SocketAddr, change: &[u8]) -> Result<Vec<u8>, String> {
        let others = map.nodes().iter().filter_map(client_address).filter(|other| *other != first);
        let addresses: Vec<SocketAddr> = [first].into_iter().chain(others).collect();
        let (cluster, deadline) = (map.cluster_id(), Instant::now() + limits::ASK_AGAIN_MAX);
        let is_first = self.data.cluster_id() < cluster.to_string().as_str();
        let words: [&[u8]; 4] = [b"BASALT", b"CHANGE", &cluster.to_string().into_bytes(), change];
        let mut last = "ERR nobody was asked".to_owned();
        loop {
            for address in &addresses {
                if Instant::now() > deadline || self.server.stop.is_requested() {
                    return Err(last);
                }
                match self.ask(*address, &words, limits::ASK_ANSWER) {
                    // Each may have been told to meet the other: one of them gives way.
                    Ok(reply) if reply == LEAVING && is_first => {
                        return Err("BUSY the other node is joining a cluster itself, try again".to_owned());
                    }
                    Ok(reply) if AGAIN.iter().any(|word| reply.starts_with(word)) => {
                        if !last.starts_with("UNCERTAIN") {
                            last = String::from_utf8_lossy(&reply[1..]).trim_end().to_owned();
                        }
                    }
                    Ok(reply) if reply.starts_with(b"-") => return Ok(reply),
                    Ok(reply) => {
                        let read = read_forwarded(&reply).map(|(_, reply)| reply);
                        return read.ok_or(format!("UNCERTAIN the node at {address} gave an odd reply"));
                    }
                    Err(error @ AskError::NoAnswer(..)) => last = format!("UNCERTAIN {error}"),
                    // What another one may have done is not forgotten.
                    Err(error @ AskError::NotAsked(..)) if !last.starts_with("UNCERTAIN") => {
                        last = format!("ERR {error}")
                    }
                    Err(AskError::NotAsked(..)) => {}
                }
            }
            std::thread::sleep(limits::ASK_AGAIN);
        }
    }

    /// Gives up the node's own map, which is closed, and begins as one of the other cluster that knows nothing yet.
    fn join(&mut self) -> Result<(), String> {
        let Some(Joining { id, .. }) = self.joining else { return Ok(()) };
        self.opener.close_lanes();
        self.data.join(&id.to_string()).map_err(|error| error.to_string())?;
        self.server.routes.join(id);
        let own = self.own.as_mut().ok_or("it belongs to no cluster")?;
        (own.cluster_id, own.founds) = (id, false);
        own.former.clear();
        self.noted_epoch = 0;
        let own = own.clone();
        self.opener.open_lanes(self.data)?;
        let open = self.opener.open_meta(self.data, own)?;
        self.hand_to(CoreId(0), Opened::Meta(Box::new(open)));
        Ok(())
    }

    /// Answers the client that had the node join a cluster, once its map is here, or when it takes very long.
    fn end_joining(&mut self) {
        let Some(Joining { asker, id, asks: None, deadline }) = &self.joining else { return };
        let routing = self.server.routes.now();
        let cluster = routing.cluster.as_ref().filter(|cluster| cluster.id == *id);
        let reply = if cluster.is_some_and(|cluster| cluster.knows_of_this_start()) {
            b"+OK\r\n".to_vec()
        } else if Instant::now() > *deadline {
            b"-ERR the node was taken into the cluster, and waits for its map still\r\n".to_vec()
        } else {
            return;
        };
        self.server.answer_late(*asker, reply);
        self.joining = None;
    }

    /// Founds the groups that the map says this node is to found, and gives up those that it has no more.
    fn follow_map(&mut self) {
        let myself = NodeId(self.data.node_number());
        self.end_joining();
        self.note_addresses();
        self.is_behind = false;
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
            // Its home has founded it, and has all that it ever had: what is lost there must not begin anew.
            let follows = group.is_live && group.home != myself && group.replicas.contains(&myself);
            let is_here = self.data.groups().iter().any(|here| here.number == group.number.0);
            if is_here || self.server.stop.is_requested() {
                continue;
            }
            if founds || (follows && self.may_follow()) {
                self.create(group.number, founds);
            }
        }
        let shards = self.data.shards();
        let gone = shards.into_iter().filter(|here| map.group(GroupNumber(here.number)).is_none());
        let gone: Vec<_> = gone.map(|here| (ShardId(here.index), GroupNumber(here.number))).collect();
        for (shard, number) in gone {
            self.give_up(shard, number);
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
        if is_closed || self.failed.contains_key(&shard) || self.leaving.contains_key(&shard) {
            return;
        }
        tracing::info!(group = number.0, shard = shard.0, "the map has the group no more: it is given up");
        let core = self.core_of(shard);
        self.leaving.insert(shard, number);
        // First, so that no core sends anything for it any more.
        self.tell_local();
        self.hand_to(core, Opened::Leaving(shard));
    }

    /// Removes a group that its core has let go. One that has keys all the same is kept, and not opened: they were written when the
    /// map was changed.
    fn remove(&mut self, shard: ShardId, log: Option<RaftLog>, store: Option<Store>) {
        let number = self.leaving.remove(&shard).expect("whoever calls this has looked").0;
        self.failed.remove(&shard);
        let key_count = count_keys(store.as_ref());
        drop((log, store));
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
        let group = self.data.group(shard.0);
        let (number, lane) = (group.number, group.lane);
        tracing::info!(group = number, shard = shard.0, "the group is removed");
        match self.data.destroy_group(number) {
            Ok(()) => {
                if let Err(error) = self.opener.remove_log(lane, number) {
                    tracing::warn!(group = number, %error, "records of a group that is no more are left in its lane until the next start");
                }
            }
            // The next start finishes it.
            Err(error) => tracing::error!(group = number, %error, "a group that is given up is still there"),
        }
        self.server.note_gone(shard);
    }

    /// Closes all shards to see if they have keys.
    fn begin_to_give_up(&mut self, asker: Asker, refusal: &'static str) {
        let shards: BTreeSet<ShardId> = self.data.shards().iter().map(|group| ShardId(group.index)).collect();
        let is_shared = |group: &&Group| {
            group.replicas.len() > 1 && self.data.groups().iter().any(|here| here.number == group.number.0)
        };
        if let Some(shared) = self.server.routes.map().and_then(|map| map.groups().iter().find(is_shared).cloned()) {
            let text =
                format!("-ERR group {} has replicas on other nodes: its slots cannot be given up\r\n", shared.number);
            return self.server.answer_late(asker, text.into_bytes());
        }
        let is_open = |shard: &ShardId| {
            self.server.shards.get(*shard).is_some_and(|stats| stats.state.get() == GroupState::Leader)
        };
        if self.giving_up.is_some() || self.joining.is_some() || !self.leaving.is_empty() || !shards.iter().all(is_open)
        {
            return self
                .server
                .answer_late(asker, b"-BUSY shards of the node are being opened or closed, try again\r\n".to_vec());
        }
        if shards.is_empty() {
            let node = NodeId(self.data.node_number());
            self.server.change_late(Change::GiveUpSlots { node }, asker);
        }
        for shard in &shards {
            self.hand_to(self.core_of(*shard), Opened::Leaving(*shard));
        }
        self.giving_up = Some(GivingUp { asker, refusal, open: shards, closed: BTreeMap::new() });
    }

    /// A shard is closed that may be given up. Once all are, the map is told, or they are opened again.
    fn closed(&mut self, shard: ShardId, log: Option<RaftLog>, store: Option<Store>) {
        let key_count = count_keys(store.as_ref());
        drop((log, store));
        if self.server.shards[shard.index()].state.get() != GroupState::Failed {
            self.server.note_state(shard, GroupState::Opening);
        }
        let Some(giving_up) = &mut self.giving_up else { return };
        giving_up.open.remove(&shard);
        giving_up.closed.insert(shard, key_count);
        if !giving_up.open.is_empty() {
            return;
        }
        if giving_up.closed.values().all(|count| *count == Some(0)) {
            let node = NodeId(self.data.node_number());
            return self.server.change_late(Change::GiveUpSlots { node }, giving_up.asker);
        }
        let is_unknown = giving_up.closed.values().any(Option::is_none);
        let refusal =
            if is_unknown { "BUSY the node's shards are still being read, try again" } else { giving_up.refusal };
        let (asker, reply) = (giving_up.asker, format!("-{refusal}\r\n").into_bytes());
        let closed = self.giving_up.take().map(|giving_up| giving_up.closed).unwrap_or_default();
        self.open_again(closed.into_keys());
        self.server.answer_late(asker, reply);
    }

    /// Ends the attempt to give up all slots: the map has taken it, or not.
    fn given_up(&mut self, is_done: bool) {
        let Some(GivingUp { asker, closed, .. }) = self.giving_up.take() else { return };
        if !is_done {
            return self.open_again(closed.into_keys());
        }
        // A group may have got another replica meanwhile: then the map has it still.
        let map = self.server.routes.map();
        let is_gone = |shard: &ShardId| {
            let number = GroupNumber(self.data.group(shard.0).number);
            map.as_ref().is_some_and(|map| map.group(number).is_none())
        };
        let (gone, kept): (Vec<ShardId>, Vec<ShardId>) = closed.into_keys().partition(is_gone);
        for shard in gone {
            self.destroy(shard);
        }
        if !kept.is_empty() {
            self.open_again(kept.into_iter());
            let reply =
                b"-ERR some of the node's groups have replicas on other nodes: their slots are not given up\r\n";
            self.server.answer_late(asker, reply.to_vec());
            return self.tell_local();
        }
        self.tell_local();
        self.share_out();
        self.server.answer_late(asker, b"+OK\r\n".to_vec());
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

/// The beginnings of error replies after which a change is asked for again.
const AGAIN: [&[u8]; 3] = [b"-CLUSTERDOWN", b"-LOADING", b"-UNCERTAIN"];

/// True if the node of this map is alone in it, and has no groups: it may join another cluster.
fn is_free(map: &Map) -> bool {
    map.nodes().len() == 1 && map.groups().is_empty()
}

/// The address of a node for clients.
fn client_address(node: &Node) -> Option<SocketAddr> {
    Some(SocketAddr::new(node.addresses.ip?, node.addresses.port))
}

/// The address of this machine on the way to another one. Nothing is sent for it.
fn ip_towards(other: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if other.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(other).ok()?;
    socket.local_addr().ok().map(|own| own.ip()).filter(|ip| !ip.is_unspecified())
}

impl GivingUp {
    fn knows(&self, shard: ShardId) -> bool {
        self.open.contains(&shard) || self.closed.contains_key(&shard)
    }
}

/// The number of keys in a store that nobody uses any more.
fn count_keys(store: Option<&Store>) -> Option<u64> {
    store.map(|store| store.counters().keys.iter().sum())
}

/// The groups of a node in a cluster, for its routing.
pub(super) fn local_groups(data: &DataDir) -> BTreeMap<GroupNumber, LocalGroup> {
    let local = |group: &GroupEntry| {
        let is_live = group.state == Kept::Live;
        (GroupNumber(group.number), LocalGroup { shard: ShardId(group.index), lane: group.lane, is_live })
    };
    data.shards().into_iter().map(local).collect()
}
