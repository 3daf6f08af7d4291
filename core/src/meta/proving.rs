//! The proof that groups go on without a node that is lost for good, before it is forgotten. It is given where the map's group is
//! led, right before the change is proposed.
//!
//! The map says which replicas there should be, and not which of them vote: one may still be copied, and one that is on its way out
//! may still be needed. So whoever leads a group is asked if it goes on without that node. A quorum has just told that one that it
//! leads, and it knows who votes and answers it.
//!
//! What a newcomer would get wrong: that a group is led proves nothing, since the node may be of the quorum, and be silent here
//! alone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use basalt_net::peer::{GroupNumber as PeerGroup, NodeNumber};
use basalt_raft::NodeId;
use futures_util::future::{Either, join_all, select};

use super::Waits;
use crate::cluster::InCluster;
use crate::cluster::map::{Change, Group, GroupNumber, Map};
use crate::ids::CoreId;
use crate::limits;
use crate::node::Server;
use crate::peers::Peers;

/// A change, who waits for it, and the reply if it may not be made.
type Proven = (Change, Waits, Result<(), String>);

/// Asks the leaders of groups if they go on without a node.
pub(super) struct Proving {
    links: Option<Peers>,
    server: Arc<Server>,
    proven: Rc<RefCell<Vec<Proven>>>,
    under_way: Rc<Cell<usize>>,
}

/// A group of the node, and those that may lead it.
struct Question {
    group: GroupNumber,
    others: Vec<NodeId>,
}

impl Proving {
    pub(super) fn new(links: Option<Peers>, server: Arc<Server>) -> Proving {
        Proving { links, server, proven: Rc::default(), under_way: Rc::default() }
    }

    /// True while something is asked, or is to be proposed.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.get() > 0 || !self.proven.borrow().is_empty()
    }

    /// Begins to ask about a change that forgets `node`.
    ///
    /// # Errors
    /// The reply, if too much is being asked.
    pub(super) fn begin(
        &self,
        change: &Change,
        node: NodeId,
        (map, cluster): (&Map, &InCluster),
        waits: Waits,
    ) -> Result<(), String> {
        if self.under_way.get() >= limits::PROOFS_MAX {
            return Err("-BUSY other nodes are being replaced, try again\r\n".to_owned());
        }
        let is_of_node =
            |group: &&Group| group.is_live && (group.replicas.contains(&node) || group.leaving.contains(&node));
        let question = |group: &Group| {
            let leader = cluster.leader_of(group);
            let replicas = leader.into_iter().chain(group.replicas.iter().chain(&group.leaving).copied());
            let mut seen = BTreeSet::from([node, cluster.myself]);
            let others = replicas.filter(|other| !cluster.silent.contains(other) && seen.insert(*other)).collect();
            Question { group: group.number, others }
        };
        let questions: Vec<Question> = map.groups().iter().filter(is_of_node).map(question).collect();
        self.under_way.set(self.under_way.get() + 1);
        let (links, server, change) = (self.links.clone(), self.server.clone(), change.clone());
        let (proven, under_way) = (self.proven.clone(), self.under_way.clone());
        let asking = async move {
            let deadline = Instant::now() + limits::PROOF_MAX;
            let mut proof = Ok(());
            for some in questions.chunks(limits::PROOF_GROUPS) {
                let answers = join_all(some.iter().map(|one| goes_on(links.as_ref(), &server, one, node, deadline)));
                if let Some(at) = answers.await.into_iter().position(|goes_on| !goes_on) {
                    proof = Err(refusal(some[at].group));
                    break;
                }
            }
            under_way.set(under_way.get() - 1);
            proven.borrow_mut().push((change, waits, proof));
            server.mailboxes.bell(CoreId(0)).ring_urgently();
        };
        glommio::spawn_local(asking).detach();
        Ok(())
    }

    /// The changes that were asked about, with what came of it.
    pub(super) fn take(&self) -> Vec<Proven> {
        std::mem::take(&mut self.proven.borrow_mut())
    }
}

fn refusal(group: GroupNumber) -> String {
    format!(
        "-ERR group {group} has no leader that goes on without that node: its vote may be needed still, or others hear it, so bring \
         it back, or try again when BASALT MOVES says that nothing of the group is on its way\r\n"
    )
}

/// Returns whether somebody leads the group, with a majority that answers without the node.
async fn goes_on(links: Option<&Peers>, server: &Server, question: &Question, node: NodeId, deadline: Instant) -> bool {
    let Question { group, others } = question;
    loop {
        let is_led_here = {
            let led = server.led.lock().unwrap_or_else(PoisonError::into_inner);
            led.values().filter_map(|led| led.get(group)).any(|led| led.goes_on_without(node, Instant::now()))
        };
        if is_led_here {
            return true;
        }
        for other in others {
            let Some(links) = links.filter(|_| Instant::now() < deadline) else { break };
            let answer = links.clone().goes_on_without(PeerGroup(group.0), NodeNumber(other.0), NodeNumber(node.0));
            let (answer, silence) =
                (std::pin::pin!(answer), std::pin::pin!(glommio::timer::sleep(limits::PROOF_ANSWER)));
            if matches!(select(answer, silence).await, Either::Left((true, _))) {
                return true;
            }
        }
        if Instant::now() >= deadline {
            return false;
        }
        glommio::timer::sleep(limits::ASK_AGAIN).await;
    }
}
