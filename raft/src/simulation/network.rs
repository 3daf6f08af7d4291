//! The network between simulated members: late, lossy, in any order, cut in one direction or both.
//!
//! A message travels by itself: it arrives although its sender has crashed meanwhile, or has given up waiting. Who it comes to
//! takes it in a task of its own, which a crash of that member ends.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use openraft_rt::{AsyncRuntime as _, Oneshot as _, OneshotSender as _};

use super::checks::Checks;
use super::executor::{Executor, WORLD};
use super::store_twin::{Twins, copy_checkpoint};
use crate::channels::Oneshot;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::ids::NodeId;
use crate::messages::{
    Append, AppendAnswer, Handover, HandoverAnswer, ReceivedSnapshot, SentSnapshot, VoteAnswer, VoteParts, VoteQuestion,
};
use crate::runtime::GlommioRuntime;
use crate::transport::{Answering, Peer, Transport, Unreached};

/// The character of a network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NetworkFaults {
    /// The time that a message travels, at least and at most.
    pub(crate) delay: (Duration, Duration),
    /// So many messages in a thousand are lost, come twice, or come very late.
    pub(crate) lost_per_mille: u64,
    pub(crate) doubled_per_mille: u64,
    pub(crate) late_per_mille: u64,
}

/// The delay of a message that is very late.
const LATE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(6));
/// The time that a snapshot travels.
const SNAPSHOT_DELAY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(800));
/// The time after which a snapshot is given up whose receiver says nothing: before the group does that.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(20);
/// So many messages in a thousand to a node that is down are answered by its machine.
const REFUSED_PER_MILLE: u64 = 500;

/// The network.
pub(crate) struct Network {
    executor: Rc<Executor>,
    faults: Cell<NetworkFaults>,
    /// Directions in which nothing arrives.
    cuts: RefCell<BTreeSet<(NodeId, NodeId)>>,
    /// The groups that are open.
    groups: RefCell<BTreeMap<NodeId, Group<Twins>>>,
    checks: Rc<RefCell<Checks>>,
    snapshots: Cell<u64>,
}

impl Network {
    pub(crate) fn new(executor: Rc<Executor>, faults: NetworkFaults, checks: Rc<RefCell<Checks>>) -> Rc<Network> {
        Rc::new(Network {
            executor,
            faults: Cell::new(faults),
            cuts: RefCell::default(),
            groups: RefCell::default(),
            checks,
            snapshots: Cell::new(0),
        })
    }

    /// Messages to `node` arrive at `group` from now on.
    pub(crate) fn connect(&self, node: NodeId, group: Group<Twins>) {
        self.groups.borrow_mut().insert(node, group);
    }

    /// Messages to `node` arrive nowhere from now on.
    pub(crate) fn disconnect(&self, node: NodeId) {
        let group = self.groups.borrow_mut().remove(&node);
        drop(group);
    }

    /// The group of a node, if it is open.
    pub(crate) fn group(&self, node: NodeId) -> Option<Group<Twins>> {
        self.groups.borrow().get(&node).cloned()
    }

    /// Lets nothing through from one node to another.
    pub(crate) fn cut(&self, from: NodeId, to: NodeId) {
        self.checks.borrow_mut().note(|| format!("cut from node {from} to {to}"));
        self.cuts.borrow_mut().insert((from, to));
    }

    /// Lets everything through again.
    pub(crate) fn heal(&self) {
        self.checks.borrow_mut().note(|| "all cuts are healed".to_owned());
        self.cuts.borrow_mut().clear();
    }

    /// Loses, doubles and delays no more than a good network does.
    pub(crate) fn calm(&self) {
        let faults = self.faults.get();
        self.faults.set(NetworkFaults { lost_per_mille: 0, doubled_per_mille: 0, late_per_mille: 0, ..faults });
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.borrow().contains(&(from, to))
    }

    /// Travels from one node to another; false if it does not arrive.
    async fn travel(&self, from: NodeId, to: NodeId) -> bool {
        let faults = self.faults.get();
        if self.is_cut(from, to) || self.executor.happens(faults.lost_per_mille) {
            return false;
        }
        let (least, most) = if self.executor.happens(faults.late_per_mille) { LATE } else { faults.delay };
        self.executor.alarm(self.executor.between(least, most)).await;
        !self.is_cut(from, to)
    }

    /// Sends `message` and waits for the answer that `take` gives where it arrives.
    fn call<M, A, F>(
        self: &Rc<Self>,
        from: NodeId,
        to: NodeId,
        message: M,
        may_double: bool,
        take: impl Fn(Rc<Network>, Group<Twins>, M) -> F + Clone + 'static,
    ) -> Answering<A>
    where
        M: Clone + 'static,
        A: 'static,
        F: Future<Output = Result<A>> + 'static,
    {
        let (answer, answered) = Oneshot::channel();
        let is_doubled = may_double && self.executor.happens(self.faults.get().doubled_per_mille);
        let mut answer = Some(answer);
        for _ in 0..=usize::from(is_doubled) {
            let (network, message, take, answer) = (self.clone(), message.clone(), take.clone(), answer.take());
            let send = move || network.send(from, to, message, take, answer);
            self.executor.owned(WORLD, send);
        }
        Box::pin(async move {
            match answered.await {
                Ok(answer) => answer,
                // It was lost, and nobody knows.
                Err(_) => pending().await,
            }
        })
    }

    fn send<M: 'static, A: 'static, F: Future<Output = Result<A>> + 'static>(
        self: Rc<Self>,
        from: NodeId,
        to: NodeId,
        message: M,
        take: impl Fn(Rc<Network>, Group<Twins>, M) -> F + 'static,
        answer: Option<crate::channels::OneshotSender<std::result::Result<A, Unreached>>>,
    ) {
        let executor = self.executor.clone();
        executor.spawn(async move {
            if !self.travel(from, to).await {
                return;
            }
            let Some(group) = self.group(to) else {
                if let Some(answer) = answer.filter(|_| self.executor.happens(REFUSED_PER_MILLE)) {
                    let _ = answer.send(Err(Unreached::Unreachable(format!("node {to} is down"))));
                }
                return;
            };
            let executor = self.executor.clone();
            let taken = async move {
                let taken = match take(self.clone(), group, message).await {
                    Ok(taken) => taken,
                    // Nobody here sends what is none.
                    Err(Error::Message(error)) => return self.checks.borrow_mut().fail(error.to_string()),
                    Err(_) => return,
                };
                let Some(answer) = answer else { return };
                let (network, executor) = (self.clone(), self.executor.clone());
                let back = async move {
                    if network.travel(to, from).await {
                        let _ = answer.send(Ok(taken));
                    }
                };
                executor.owned(WORLD, || executor.spawn(back));
            };
            executor.owned(to.0, || executor.spawn(taken));
        });
    }
}

/// The network as one member has it.
pub(crate) struct Link {
    pub(crate) network: Rc<Network>,
    pub(crate) node: NodeId,
}

impl Transport for Link {
    fn append(&self, to: &Peer, message: Append) -> Answering<AppendAnswer> {
        let to = to.node;
        self.network.call(self.node, to, message, true, move |network, group, message| async move {
            let (term, previous, last) = (message.vote.term, message.previous, message.last());
            let answer = group.receive_append(message).await?;
            answer.into_response(previous, last)?;
            if let (Some(last), AppendAnswer::Success) = (last, answer) {
                network.checks.borrow_mut().holds(to, last, term);
            }
            Ok(answer)
        })
    }

    fn vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer> {
        let to = to.node;
        self.network.call(self.node, to, question, true, move |network, group, question| async move {
            let answer = group.receive_vote(question).await?;
            answer.into_response()?;
            let mut checks = network.checks.borrow_mut();
            checks.note(|| format!("node {to} answers {answer:?}"));
            if answer.is_granted {
                checks.voted(to, answer.vote);
            }
            drop(checks);
            Ok(answer)
        })
    }

    fn pre_vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer> {
        let take = |_, group: Group<Twins>, question| async move {
            let answer = group.receive_pre_vote(question).await?;
            answer.into_response()?;
            Ok(answer)
        };
        self.network.call(self.node, to.node, question, true, take)
    }

    fn hand_over(&self, to: &Peer, message: Handover) -> Answering<HandoverAnswer> {
        let take = |_, group: Group<Twins>, message: Handover| async move {
            let answer = group.receive_handover(message).await?;
            let _ = answer.into_response(&message)?;
            Ok(answer)
        };
        self.network.call(self.node, to.node, message, true, take)
    }

    fn snapshot(&self, to: &Peer, snapshot: SentSnapshot) -> Answering<VoteParts> {
        let (network, from, to) = (self.network.clone(), self.node, to.node);
        Box::pin(async move {
            let executor = network.executor.clone();
            executor.alarm(executor.between(SNAPSHOT_DELAY.0, SNAPSHOT_DELAY.1)).await;
            let number = network.snapshots.get() + 1;
            network.snapshots.set(number);
            let directory = PathBuf::from(format!("/node-{to}/received/{number}"));
            if network.is_cut(from, to) || !copy_checkpoint(&snapshot.directory, &directory) {
                return Err(Unreached::Unreachable(format!("the snapshot did not get to node {to}")));
            }
            let SentSnapshot { vote, meta, .. } = snapshot;
            let received = ReceivedSnapshot { vote, meta, directory };
            network.checks.borrow_mut().note(|| format!("node {to} receives a snapshot of node {from}"));
            let take = |_, group: Group<Twins>, received| async move { group.receive_snapshot(received).await };
            // It is moved, and so it comes once.
            let taken = network.call(from, to, received, false, take);
            let lost = || Err(Unreached::Lost(format!("node {to} says nothing of its snapshot")));
            GlommioRuntime::timeout(SNAPSHOT_PATIENCE, taken).await.unwrap_or_else(|_| lost())
        })
    }
}
