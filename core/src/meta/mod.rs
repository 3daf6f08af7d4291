//! The group that has the cluster's map, as this node's first core has it.
//!
//! The map's changes are entries of a Raft group of its own. Each node applies them (`machine`), and puts the map that comes of
//! it in force for all cores; what concerns this node's files is done by the keeper, which is told. What this node has to say to
//! the map by itself (its address, the groups that it has founded) is its duty (`duties`).
//!
//! What a newcomer would get wrong: an answer to a client leaves after the new map is in force, and the core that gets the answer
//! looks for a newer routing before it goes on. So who was told that a change was made sees it.

mod duties;
mod machine;

pub use duties::OwnNode;
pub use machine::read_map;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use basalt_raft::{Error, Fault, Group, GroupHooks, GroupOptions, Outcome, ProposeError};
use basalt_storage::Store;
use basalt_storage::log::RaftLog;
use bytes::Bytes;

use crate::cluster::map::{Change, Map};
use crate::ids::CoreId;
use crate::limits;
use crate::node::{Asker, Background, GroupState, Order, Server, ShardStats};

use machine::MetaMachine;

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
    /// This node, as it presents itself.
    pub own: OwnNode,
}

/// The one that waits for a change.
enum Waits {
    /// A client.
    Client(Asker),
    /// The keeper, for a client: it is told if the change was not made.
    Keeper(Asker),
    /// Nobody: the node owes it.
    Nobody,
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
    server: Arc<Server>,
}

impl Meta {
    /// Opens the group and waits until it can take changes; then the map is in force.
    ///
    /// # Errors
    /// What the group says when log and rows cannot be used.
    pub async fn open(
        open: OpenMeta,
        server: &Arc<Server>,
        core: CoreId,
        (background, readers): (Background, Background),
    ) -> Result<Meta, Error> {
        let OpenMeta { options, log, store, map, own } = open;
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
        let group = Group::open(options, hooks, log, machine.clone()).await?;
        if let Err(error) = group.wait_ready().await {
            group.abandon().await;
            return Err(error);
        }
        machine.borrow_mut().publish_to(server.clone());
        Ok(Meta {
            group,
            machine,
            outcomes,
            asked: BTreeMap::new(),
            next_number: 0,
            own,
            looked_at: None,
            said: None,
            server: server.clone(),
        })
    }

    /// Proposes a change for a client.
    ///
    /// # Errors
    /// The reply, if it cannot be proposed now.
    pub fn ask(&mut self, change: &Change, asker: Asker) -> Result<(), String> {
        self.propose(change, Waits::Client(asker))
    }

    /// Proposes a change that the keeper wants, for a client.
    pub fn order(&mut self, change: &Change, asker: Asker) {
        if let Err(reply) = self.propose(change, Waits::Keeper(asker)) {
            (self.server.order)(Order::GivenUp(false));
            self.server.late_answers.push((asker, reply.into_bytes()));
        }
    }

    fn propose(&mut self, change: &Change, waits: Waits) -> Result<(), String> {
        let number = self.next_number;
        self.group.propose(Bytes::from(change.encode()), number).map_err(|refused| error_reply(&refused.reason))?;
        self.next_number += 1;
        self.asked.insert(number, waits);
        Ok(())
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
            let is_refused = reply.starts_with(b"-");
            match waits {
                Waits::Client(asker) => answers.push((asker, reply)),
                Waits::Keeper(asker) => {
                    (self.server.order)(Order::GivenUp(!is_refused));
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
                Waits::Nobody => {}
            }
        }
        self.see_to_duties();
        answers
    }

    fn take_outcome(&self) -> Option<(u64, Outcome)> {
        self.outcomes.borrow_mut().pop_front()
    }

    /// Proposes what this node owes the map, one thing at a time, and again only when something has changed.
    fn see_to_duties(&mut self) {
        let version = self.server.routes.version();
        let is_under_way = self.asked.values().any(|waits| matches!(waits, Waits::Nobody));
        if is_under_way || self.looked_at == Some(version) || !self.group.is_leader() {
            return;
        }
        let routing = self.server.routes.now();
        let Some(cluster) = routing.cluster.as_ref() else { return };
        let due = duties::due(&self.machine.borrow().map(), &self.own, &cluster.local);
        let due = due.filter(|change| !matches!(&self.said, Some((said, true)) if said == change));
        if let Some(change) = due {
            if !self.may_found(&change) || self.propose(&change, Waits::Nobody).is_err() {
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

    /// Returns whether answers are outstanding.
    pub fn is_busy(&self) -> bool {
        !self.asked.is_empty()
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

/// The reply to a client whose change was not proposed.
fn error_reply(error: &ProposeError) -> String {
    match error {
        ProposeError::DiskFull => {
            "-MISCONF The disk is full: changes of the cluster are refused until there is space again\r\n".into()
        }
        ProposeError::WriteStall | ProposeError::Backlog => format!("-BUSY {error}, try again\r\n"),
        ProposeError::NotLeader { .. } => format!("-CLUSTERDOWN {error}, try again\r\n"),
        other => format!("-ERR {other}\r\n"),
    }
}
