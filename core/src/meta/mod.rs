//! The group that has the cluster's map, as this node's first core has it.
//!
//! The map's changes are entries of a Raft group of its own. Each node applies them (`machine`), and puts the map that comes of
//! it in force for all cores; what concerns this node's files is done by the keeper, which is told. What this node has to say to
//! the map by itself (its address, the groups that it has founded) is its duty (`duties`).
//!
//! What a newcomer would get wrong: an answer to a client leaves after the new map is in force, and the core that gets the answer
//! looks for a newer routing before it goes on. So who was told that a change was made sees it.

mod asking;
mod duties;
mod forwarding;
mod leaders;
mod leaving;
mod lookout;
mod machine;
mod proving;
mod steps;

pub use asking::{AskError, ask};
pub use duties::OwnNode;
pub use forwarding::read_forwarded;
pub use machine::read_map;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use basalt_net::resp::{Protocol, Reply};
use basalt_raft::{Error, Fault, Group, GroupHooks, GroupOptions, Member, Outcome, ProposeError};
use basalt_storage::Store;
use basalt_storage::log::RaftLog;
use bytes::Bytes;

use crate::cluster::map::{Change, Map};
use crate::cluster::members::{HandOvers, Lost, Untold};
use crate::ids::CoreId;
use crate::limits;
use crate::node::{Asker, Background, GroupState, Order, Server, ShardStats};
use crate::peers::{Peers, Ties};

use forwarding::Forwarding;
use leaders::Leaders;
use leaving::Leaving;
use lookout::Lookout;
use machine::MetaMachine;
use proving::Proving;

/// The files of the group, opened for its core.
pub struct OpenMeta {
    /// The options that the group is opened with.
    pub options: GroupOptions,
    /// Its log.
    pub log: RaftLog,
    /// Its rows.
    pub store: Store,
    /// The map that was in the rows.
    pub map: Map,
    /// A newer one that the node has seen, if there is one: other nodes are looked for there.
    pub seen: Option<Map>,
    /// This node, as it presents itself.
    pub own: OwnNode,
    /// The threads that ask other nodes.
    pub askers: Background,
}

/// The one that waits for a change.
#[derive(Debug, Clone, Copy)]
enum Waits {
    /// A client.
    Client(Asker),
    /// Another node, for one of its clients: it is told the epoch of the map besides.
    Node(Asker),
    /// The keeper, for a client: it is told if the change was not made.
    Keeper(Asker),
    /// The keeper, when the change may have been made already: it is told what the map has decided, however long that takes.
    KeeperSurely(Asker),
    /// Nobody: the node owes it.
    Nobody,
    /// Nobody: replicas get new places.
    Placement,
}

/// The group that has the cluster's map.
pub struct Meta {
    group: Group,
    machine: Rc<RefCell<MetaMachine>>,
    outcomes: Rc<RefCell<VecDeque<(u64, Outcome)>>>,
    /// Changes on their way, by the numbers that they were proposed with.
    asked: BTreeMap<u64, Waits>,
    next_number: u64,
    own: OwnNode,
    /// The routing at which the node's duties were looked at last.
    looked_at: Option<u64>,
    /// The last thing that the node owed the map, and whether that was refused: it is not said again then.
    said: Option<(Change, bool)>,
    forwarding: Forwarding,
    lookout: Lookout,
    leaders: Leaders,
    leaving: Leaving,
    proving: Proving,
    links: Option<Peers>,
    /// Members whose nodes have others in their place.
    lost: Lost,
    /// Nodes that have told no number of a member.
    untold: Untold,
    handed_over: HandOvers,
    /// The time before which no step is tried after one that has failed, and the pause that led to it.
    failed_step: Rc<Cell<Option<(Instant, Duration)>>>,
    looked_for_leaders: Instant,
    /// Set while a step towards other members is under way.
    is_stepping: Rc<Cell<bool>>,
    looked_at_members: Instant,
    /// The last change of the map, and since when it is that.
    at_rest: (u64, Instant),
    /// The routing at which the places of replicas were looked at last.
    placed_at: Option<u64>,
    /// True while the node is about to leave its cluster for another: nothing more is changed then.
    is_closed: bool,
    server: Arc<Server>,
}

/// The reply to a change of a map that the node is about to give up.
pub const LEAVING: &[u8] = b"-LOADING the node is joining another cluster\r\n";

impl Meta {
    /// Opens the group. The map is in force once it [takes changes](Meta::wait_ready).
    ///
    /// # Errors
    /// What the group says when log and rows cannot be used.
    pub async fn open(
        open: OpenMeta,
        server: &Arc<Server>,
        core: CoreId,
        (background, readers): (Background, Background),
        ties: Ties,
    ) -> Result<Meta, Error> {
        let OpenMeta { options, log, store, map, seen, own, askers } = open;
        let outcomes: Rc<RefCell<VecDeque<(u64, Outcome)>>> = Rc::default();
        let machine = Rc::new(RefCell::new(MetaMachine::new(store, map)));
        let hooks = {
            let (outcomes, of_outcome, of_fault, of_wake) =
                (outcomes.clone(), server.clone(), server.clone(), server.clone());
            GroupHooks {
                on_outcome: Box::new(move |number, outcome| {
                    outcomes.borrow_mut().push_back((number, outcome));
                    of_outcome.mailboxes.bell(core).ring_urgently();
                }),
                on_fatal: Box::new(move |fault: Fault| {
                    of_fault.fail(format!("the cluster's map is lost here: {fault}"))
                }),
                wake: Arc::new(move || of_wake.mailboxes.bell(core).ring_urgently()),
                background: Rc::new(background),
                readers: Rc::new(readers),
            }
        };
        let options = GroupOptions { in_flight_max: limits::META_CHANGES_MAX, ..options };
        let newest =
            seen.filter(|seen| seen.epoch() > map_epoch(&machine)).map_or_else(|| machine.borrow().map(), Arc::new);
        server.routes.set_old_map(newest);
        let links = ties.links.clone();
        // Before it hears of a leader: that may be a node that is forgotten, and has the lead still.
        let (of_group, on_open) = (server.clone(), ties.on_open);
        let on_open = move |group: &Group| {
            note_hosts(group, &of_group);
            if let Some(on_open) = on_open {
                on_open(group);
            }
        };
        let ties = Ties { on_open: Some(Box::new(on_open)), ..ties };
        let group = ties.open(options, hooks, log, machine.clone()).await?;
        Ok(Meta {
            group,
            machine,
            outcomes,
            asked: BTreeMap::new(),
            next_number: 0,
            own,
            looked_at: None,
            said: None,
            forwarding: Forwarding::new(askers),
            lookout: Lookout::new(links.clone(), server.clone()),
            leaders: Leaders::new(links.clone(), server.clone()),
            leaving: Leaving::new(links.clone(), server.clone()),
            proving: Proving::new(links.clone(), server.clone()),
            links,
            lost: Lost::default(),
            untold: Untold::default(),
            handed_over: HandOvers::default(),
            failed_step: Rc::default(),
            looked_for_leaders: Instant::now(),
            is_stepping: Rc::default(),
            looked_at_members: Instant::now(),
            // No change: the first look begins the wait.
            at_rest: (u64::MAX, Instant::now()),
            placed_at: None,
            is_closed: false,
            server: server.clone(),
        })
    }

    /// Proposes a change for a client.
    ///
    /// # Errors
    /// The reply, if it cannot be proposed now.
    pub fn ask(&mut self, change: &Change, asker: Asker) -> Result<(), String> {
        self.propose_or_forward(change, Waits::Client(asker))
    }

    /// Proposes a change for a client of another node, if this one leads.
    ///
    /// # Errors
    /// As [`Meta::ask`].
    pub fn ask_for_node(&mut self, change: &Change, asker: Asker) -> Result<(), String> {
        if let Change::Join { node, .. } = change {
            if node.addresses.ip.is_none() {
                return Err("-ERR the node does not know its address: set cluster-announce-ip there\r\n".to_owned());
            }
            // Nobody could tell it of what is not in the log any more.
            if self.group.status().purged.is_some() {
                return Err("-ERR the map's log does not go back to its beginning: no node can join this cluster\r\n"
                    .to_owned());
            }
        }
        if let Change::Forget { node } = change
            && self.machine.borrow().map().node(*node).is_none()
        {
            let members = self.group.members();
            // The answer to a node that has been forgotten is that it may give its map up.
            if members.is_changing || members.members.iter().any(|member| member.host() == *node) {
                return Err("-CLUSTERDOWN the node votes on the map still, try again\r\n".to_owned());
            }
        }
        match self.try_to_propose(change, Waits::Node(asker), false)? {
            None => Ok(()),
            Some(reply) => Err(reply),
        }
    }

    /// Says whether nothing more is to be changed, since the node leaves its cluster.
    pub fn close_to_changes(&mut self, is_closed: bool) {
        self.is_closed = is_closed;
    }

    fn check_open(&self) -> Result<(), String> {
        if self.is_closed { Err(String::from_utf8_lossy(LEAVING).into_owned()) } else { Ok(()) }
    }

    fn propose_or_forward(&mut self, change: &Change, waits: Waits) -> Result<(), String> {
        self.check_open()?;
        // What is not taken was never in the log, and is sent to whoever leads in a moment.
        if self.group.is_leader() && self.try_to_propose(change, waits, false)?.is_none() {
            return Ok(());
        }
        if self.forwarding.len() >= limits::META_CHANGES_MAX {
            return Err(error_reply(&ProposeError::Backlog));
        }
        let now = Instant::now();
        self.forwarding.waiting.push((change.clone(), waits, now, now - limits::ASK_AGAIN));
        Ok(())
    }

    /// Proposes a change that the keeper wants, for a client.
    pub fn order(&mut self, change: &Change, asker: Asker) {
        if let Err(reply) = self.propose_or_forward(change, Waits::Keeper(asker)) {
            self.server.orders.give(Order::GivenUp(false));
            self.server.late_answers.push((asker, reply.into_bytes()));
        }
    }

    /// Proposes a change if this node leads. One that forgets a node which may be needed is proven first to be none of that
    /// (`is_proven`). The reply is given back if it was not taken and may be in a moment, by this node or another one.
    ///
    /// # Errors
    /// The reply, if it is refused.
    fn try_to_propose(&mut self, change: &Change, waits: Waits, is_proven: bool) -> Result<Option<String>, String> {
        self.check_open()?;
        if self.group.is_leader() {
            match self.check_forget(change) {
                Err(reply) if reply.starts_with("-CLUSTERDOWN") => return Ok(Some(reply)),
                checked => checked?,
            }
            if !is_proven && let Change::ForgetWithReplicas { node } | Change::ForgetLost { node } = change {
                let (map, routing) = (self.machine.borrow().map(), self.server.routes.now());
                let Some(cluster) = routing.cluster.as_ref() else {
                    return Err(String::from_utf8_lossy(LEAVING).into_owned());
                };
                return self.proving.begin(change, *node, (&map, cluster), waits).map(|()| None);
            }
        }
        match self.group.propose(Bytes::from(change.encode()), self.next_number) {
            Ok(()) => {
                self.asked.insert(self.next_number, waits);
                self.next_number += 1;
                Ok(None)
            }
            Err(refused) if is_passing(&refused.reason) => Ok(Some(error_reply(&refused.reason))),
            Err(refused) => Err(error_reply(&refused.reason)),
        }
    }

    /// Takes what has come of changes, and sees to what the node owes the map. Returns the answers to clients.
    pub fn turn(&mut self) -> Vec<(Asker, Vec<u8>)> {
        self.group.drain_completions();
        let mut answers = Vec::new();
        while let Some((number, outcome)) = self.take_outcome() {
            let waits = self.asked.remove(&number).expect("every outcome is of a change that was proposed");
            let is_decided = outcome.is_ok();
            let reply = match outcome {
                Ok(replies) => replies.bytes,
                Err(error @ ProposeError::NotLeader { .. }) => error_reply(&error).into_bytes(),
                Err(error) => {
                    format!("-UNCERTAIN {error}: the change may have been made, or may be later\r\n").into_bytes()
                }
            };
            self.answer(waits, reply, is_decided, &mut answers);
        }
        for (change, waits, proven) in self.proving.take() {
            // Whoever leads by now proves it again.
            match proven.and_then(|()| self.try_to_propose(&change, waits, true)) {
                Ok(None) => {}
                Ok(Some(reply)) | Err(reply) => self.answer(waits, reply.into_bytes(), false, &mut answers),
            }
        }
        self.take_forwarded();
        self.forward();
        let epoch = self.machine.borrow().map().epoch();
        let early = std::mem::take(&mut self.forwarding.early);
        for (of, waits, reply, since) in early {
            // Where the map does not come, the node may not be of the cluster any more.
            if of <= epoch || since.elapsed() > limits::ASK_AGAIN_MAX {
                self.answer(waits, reply, of > 0, &mut answers);
            } else {
                self.forwarding.early.push((of, waits, reply, since));
            }
        }
        self.lookout.turn(&self.machine.borrow().map(), self.own.newcomer.number);
        self.look_for_leaders();
        self.see_to_members();
        self.see_to_duties();
        self.see_to_placement();
        answers
    }

    /// Hands on what has come of a change; `is_decided` if the map has taken or refused it.
    fn answer(&mut self, waits: Waits, reply: Vec<u8>, is_decided: bool, answers: &mut Vec<(Asker, Vec<u8>)>) {
        let is_refused = reply.starts_with(b"-");
        match waits {
            Waits::Client(asker) => answers.push((asker, reply)),
            Waits::Node(asker) if is_decided => {
                let mut bytes = Vec::new();
                let mut forwarded = Reply::new(&mut bytes, Protocol::Resp2);
                forwarded.array(2);
                forwarded.bulk(&reply);
                forwarded.integer(self.machine.borrow().map().epoch() as i64);
                answers.push((asker, bytes));
            }
            Waits::Node(asker) => answers.push((asker, reply)),
            Waits::Keeper(asker) | Waits::KeeperSurely(asker) if reply.starts_with(b"-UNCERTAIN") => {
                let now = Instant::now();
                let change = Change::GiveUpSlots { node: self.own.newcomer.number };
                self.forwarding.waiting.push((change, Waits::KeeperSurely(asker), now, now));
            }
            Waits::Keeper(asker) | Waits::KeeperSurely(asker) => {
                self.server.orders.give(Order::GivenUp(!is_refused));
                if is_refused {
                    answers.push((asker, reply));
                }
            }
            Waits::Nobody if is_refused => {
                let text = String::from_utf8_lossy(&reply);
                tracing::warn!(reply = %text.trim_end(), "what this node owes the map was not taken");
                // What the map itself has refused it would refuse again.
                self.said = self.said.take().filter(|_| is_decided).map(|(change, _)| (change, true));
                self.looked_at = None;
            }
            Waits::Placement if is_refused => {
                self.place_again(String::from_utf8_lossy(&reply).trim_end());
            }
            Waits::Nobody | Waits::Placement => {}
        }
    }

    /// Asks who leads the groups that this node does not have.
    fn look_for_leaders(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.looked_for_leaders) < limits::LOOK_OUT {
            return;
        }
        self.looked_for_leaders = now;
        note_hosts(&self.group, &self.server);
        let (map, routing) = (self.machine.borrow().map(), self.server.routes.now());
        if let Some(cluster) = routing.cluster.as_ref() {
            self.leaders.turn(&map, cluster);
            self.leaving.turn(&map, cluster);
        }
    }

    fn take_outcome(&self) -> Option<(u64, Outcome)> {
        self.outcomes.borrow_mut().pop_front()
    }

    /// Proposes what this node owes the map, one thing at a time, and again only when something has changed.
    fn see_to_duties(&mut self) {
        let version = self.server.routes.version();
        let is_under_way = self.asked.values().any(|waits| matches!(waits, Waits::Nobody));
        let is_forwarded = |waits: &Waits| matches!(waits, Waits::Nobody);
        let is_on_its_way = self.forwarding.waiting.iter().any(|(_, waits, ..)| is_forwarded(waits))
            || self.forwarding.sent.values().any(|(_, waits, _)| is_forwarded(waits))
            || self.forwarding.early.iter().any(|(_, waits, ..)| is_forwarded(waits));
        if self.is_closed || is_under_way || is_on_its_way || self.looked_at == Some(version) {
            return;
        }
        let routing = self.server.routes.now();
        let Some(cluster) = routing.cluster.as_ref() else { return };
        let due = duties::due(&self.machine.borrow().map(), &self.own, &cluster.local);
        let due = due.filter(|change| !matches!(&self.said, Some((said, true)) if said == change));
        if let Some(change) = due {
            if !self.may_found(&change) || self.propose_or_forward(&change, Waits::Nobody).is_err() {
                return;
            }
            self.said = Some((change, false));
        }
        self.looked_at = Some(version);
    }

    /// Returns whether a cluster may be founded, if that is what the change is about: not before all shards are open, and not at
    /// all with keys that no client of a cluster could name.
    fn may_found(&self, change: &Change) -> bool {
        let Change::FoundCluster { groups, .. } = change else { return true };
        let shards = || self.server.shards.iter();
        if groups.is_empty() {
            return true;
        }
        if shards().any(|stats| stats.state.get() != GroupState::Leader) {
            return false;
        }
        let is_out_of_reach = |stats: &ShardStats| stats.keys.iter().skip(1).any(|keys| keys.get() > 0);
        if shards().any(is_out_of_reach) {
            self.server.fail(
                "there are keys in other databases than 0, and a cluster has no others: start the node without \
                 --cluster-enabled, and move or delete them"
                    .to_owned(),
            );
            return false;
        }
        true
    }

    /// The group itself.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Returns whether answers to somebody are outstanding.
    pub fn is_busy(&self) -> bool {
        let forwarding = &self.forwarding;
        let waiting = forwarding.waiting.iter().map(|(_, waits, ..)| waits);
        let sent = forwarding.sent.values().map(|(_, waits, _)| waits);
        let early = forwarding.early.iter().map(|(_, waits, ..)| waits);
        let is_somebody = |waits: &Waits| matches!(waits, Waits::Client(_) | Waits::Node(_) | Waits::Keeper(_));
        !self.asked.is_empty() || self.proving.is_busy() || waiting.chain(sent).chain(early).any(is_somebody)
    }

    /// Returns whether a change is under way, whoever waits for it.
    pub fn has_changes(&self) -> bool {
        !self.asked.is_empty() || self.forwarding.len() > 0 || self.proving.is_busy()
    }

    /// Returns whether something is to be looked at again soon, though nothing happens.
    pub fn has_deadlines(&self) -> bool {
        !(self.forwarding.waiting.is_empty() && self.forwarding.early.is_empty())
            || (self.group.is_leader() && !self.is_settled())
    }

    /// Returns whether other nodes are asked now and then if they are there.
    pub fn looks_out(&self) -> bool {
        self.lookout.has_peers()
    }

    /// Returns whether the group's members are those of the map.
    fn is_settled(&self) -> bool {
        let map = self.machine.borrow().map();
        self.next_step(&map).is_none() && self.group.members().members.len() == map.nodes().len()
    }

    /// Waits until the group can take changes, and puts the map in force. In a cluster that has forgotten the node this never ends.
    ///
    /// # Errors
    /// As [`Group::wait_ready`].
    pub async fn wait_ready(&self) -> Result<(), Error> {
        self.group.wait_ready().await?;
        self.machine.borrow_mut().publish_to(self.server.clone());
        Ok(())
    }

    /// Closes the group without writing anything, and gives back what of its files is open. Whoever waits is told.
    pub async fn end(mut self) -> (Option<RaftLog>, Option<Store>) {
        if let Err(error) = self.close(true).await {
            tracing::warn!(%error, "the group that has the map is not closed in order");
        }
        let Meta { group, machine, server, .. } = self;
        server.hosts.lock().unwrap_or_else(PoisonError::into_inner).remove(&None);
        let log = group.into_log();
        (log, Rc::into_inner(machine).map(|machine| machine.into_inner().into_store()))
    }

    /// Writes what is in memory to disk and ends the group.
    ///
    /// # Errors
    /// What could not be written.
    pub async fn close(&mut self, failed: bool) -> Result<(), Error> {
        match if failed { Ok(()) } else { self.group.write_out().await } {
            Ok(()) | Err(Error::Unwritten(_)) => self.group.shutdown().await,
            Err(error) => self.group.shutdown().await.and(Err(error)),
        }
    }
}

/// Notes the nodes that have members of the map's group.
fn note_hosts(group: &Group, server: &Server) {
    let hosts = group.members().members.iter().map(Member::host).collect();
    server.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(None, hosts);
}

fn map_epoch(machine: &Rc<RefCell<MetaMachine>>) -> u64 {
    machine.borrow().map().epoch()
}

/// Returns whether another try may find the group better.
fn is_passing(error: &ProposeError) -> bool {
    matches!(error, ProposeError::NotLeader { .. } | ProposeError::Unconfirmed)
}

/// The reply to a client whose change was not proposed.
fn error_reply(error: &ProposeError) -> String {
    match error {
        ProposeError::DiskFull => {
            "-MISCONF The disk is full: changes of the cluster are refused until there is space again\r\n".into()
        }
        ProposeError::WriteStall | ProposeError::Backlog => format!("-BUSY {error}, try again\r\n"),
        ProposeError::NotLeader { .. } | ProposeError::Unconfirmed => format!("-CLUSTERDOWN {error}, try again\r\n"),
        other => format!("-ERR {other}\r\n"),
    }
}
