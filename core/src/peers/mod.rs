//! The connections of one core with the cores of other nodes, and the way of Raft's messages over them.
//!
//! [`Peers`] is one for each core, in the core's own ring and turns: the core hands it the ring's events ([`Peers::take`]), lets it
//! send before it sleeps ([`Peers::fill`]) and look after deadlines ([`Peers::tick`]). A group gets its way to its other members
//! from [`Peers::transport`]; questions of others come to the group by themselves ([`Surroundings::place`]).
//!
//! A core dials for its own questions, one connection for each core of another node and [`Lane`], and the
//! answers come back on it. The core that has a group on the other node is not known at first: core 0 is asked, and names the one
//! that has it. A connection that wants another core of this node goes there through the mailboxes, one for snapshots to whoever
//! takes them. Messages that clients publish are no group's: they go to core 0 of each other node, and wait there for their core
//! to take them over ([`Peers::take_arrived`]).
//!
//! What a newcomer would get wrong: nobody here waits. A question that cannot be asked is answered at once, with the reason, and
//! Raft asks again as it sees fit. Deadlines of answers are Raft's; what it no longer waits for is dropped here.

mod answering;
mod backoff;
mod entry;
mod figures;
#[cfg(test)]
mod group_tests;
mod hearing;
mod links;
mod publishing;
#[cfg(test)]
mod publishing_tests;
mod sending;
mod surroundings;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod ties;
mod translate;
mod transport;

pub use figures::Figures;
pub use surroundings::{Place, Surroundings};
pub use ties::Ties;
pub(crate) use translate::{to_vote, vote_of};

use std::cell::{Cell, RefCell};
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Instant;

use basalt_net::peer::{
    GroupNumber, Kind, Lane, Message, NodeNumber, ReadIndexAnswer, Replica, ReplicaAnswer, UnableReason,
};
use basalt_net::ring::{Event, Ring};
use basalt_raft::{Answering, NodeId, Peer, SentSnapshot, Transport, Unreached, VoteParts};
use futures_channel::oneshot;
use futures_util::future::Either;

use crate::ids::CoreId;
use crate::limits::GROUP_NUMBER_MAX;
use crate::limits::peers as limits;
use crate::mail::HandedPeer;

use entry::{Answered, Asking, Entry, Question, Way};
use hearing::Bound;
use links::Links;
use transport::GroupTransport;

/// Sends a snapshot of the group to its member on another node, and brings that one's vote.
pub type SendSnapshot = dyn Fn(&Peer, GroupNumber, SentSnapshot) -> Answering<VoteParts>;

/// The parts of a core and its node that the links of a core call.
pub struct Hooks {
    /// Sends snapshots, each by a connection of its own.
    pub send_snapshot: Box<SendSnapshot>,
    /// Takes a connection that a peer has made for snapshots.
    pub take_snapshots: Box<dyn Fn(HandedPeer)>,
    /// Ends the sleep of the core outside its ring, if it sleeps there: a task has something for it to send. See
    /// `core_loop::wake_for_peers`.
    pub wake: Box<dyn Fn()>,
}

/// A connection with another node that is open.
#[derive(Debug, Clone, Copy)]
pub struct OpenLink {
    /// The node.
    pub node: NodeId,
    /// True if this node has made it.
    pub is_dialed: bool,
    /// The time when both sides knew each other.
    pub since: Instant,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
}

/// The links of one core; clones are handles of the same ones.
#[derive(Clone)]
pub struct Peers(Rc<Inner>);

struct Inner {
    surroundings: Rc<dyn Surroundings>,
    links: RefCell<Links>,
    /// Answers that tasks have left, as many as questions are being answered.
    answers: RefCell<Vec<Answered>>,
    /// Connections for other cores of this node.
    handed: RefCell<Vec<(CoreId, HandedPeer)>>,
    /// The core that gets the next connection which brings commands of clients.
    next_core: Cell<u16>,
    hooks: Hooks,
}

impl Peers {
    /// The links of `core`, none yet.
    pub fn new(core: CoreId, surroundings: Rc<dyn Surroundings>, hooks: Hooks) -> Peers {
        let links = RefCell::new(Links::new(core, surroundings.clone()));
        let (answers, handed) = (RefCell::default(), RefCell::default());
        Peers(Rc::new(Inner { surroundings, links, answers, handed, next_core: Cell::new(core.0), hooks }))
    }

    /// The way of the group with this number to its other members.
    pub fn transport(&self, group: GroupNumber) -> Rc<dyn Transport> {
        Rc::new(GroupTransport::new(self.clone(), group))
    }

    /// The node and the cluster, for connections that are made beside the links.
    pub fn surroundings(&self) -> &dyn Surroundings {
        &*self.0.surroundings
    }

    // ---- the core's turn

    /// Takes connections of peers from `listener`, for all cores of the node.
    pub fn listen(&self, listener: TcpListener, ring: &mut Ring) {
        self.0.links.borrow_mut().listen(listener, ring);
    }

    /// Takes an event of the ring that concerns a peer; gives back what is for others.
    pub fn take(&self, event: Event, ring: &mut Ring, now: Instant) -> Option<Event> {
        let mut links = self.0.links.borrow_mut();
        let askings = match event {
            Event::Accepted(listener, socket) if links.listens_on(listener) => {
                links.accept(socket, ring, now);
                return None;
            }
            Event::Connected(id) if links.has(id) => {
                links.connected(id);
                return None;
            }
            Event::Received(id, input) if links.has(id) => links.received(id, &input, ring, now),
            Event::Closed(id, reason) if links.has(id) => {
                links.closed(id, reason, ring, now);
                return None;
            }
            Event::Writable(id) if links.has(id) => {
                links.writable(id);
                return None;
            }
            Event::Released(id, socket, rest) => {
                let bound = links.released(id, socket, &rest);
                drop(links);
                match bound {
                    Some(Bound::Core(core, peer)) => self.0.handed.borrow_mut().push((core, peer)),
                    Some(Bound::Snapshots(peer)) => (self.0.hooks.take_snapshots)(peer),
                    Some(Bound::Clients(peer)) => {
                        let core = CoreId(self.0.next_core.get() % self.0.surroundings.own().core_count);
                        self.0.next_core.set(core.0 + 1);
                        self.0.handed.borrow_mut().push((core, peer));
                    }
                    None => {}
                }
                return None;
            }
            other => return Some(other),
        };
        drop(links);
        self.begin_answering(askings);
        None
    }

    /// Connections that other cores of this node are to have, each to be [`adopt`](Peers::adopt)ed there.
    pub fn take_handed(&self) -> Vec<(CoreId, HandedPeer)> {
        std::mem::take(&mut *self.0.handed.borrow_mut())
    }

    /// Takes a connection that another core has greeted for this one.
    pub fn adopt(&self, peer: HandedPeer, ring: &mut Ring, now: Instant) {
        let askings = self.0.links.borrow_mut().adopt(peer, ring, now);
        self.begin_answering(askings);
    }

    /// True if [`fill`](Peers::fill) would do something: the core must not sleep.
    pub fn has_work(&self) -> bool {
        let links = &mut *self.0.links.borrow_mut();
        !self.0.answers.borrow().is_empty() || links.has_work() || links.has_published()
    }

    /// Gives the ring what is to be sent, and dials. To be called before the core sleeps and after its tasks have run; true if
    /// there was something to do.
    pub fn fill(&self, ring: &mut Ring, now: Instant) -> bool {
        let mut links = self.0.links.borrow_mut();
        for answered in self.0.answers.borrow_mut().drain(..) {
            links.answer(answered, now);
        }
        let has_said = links.say_published(now);
        links.fill(ring, now) || has_said
    }

    /// Looks after deadlines; to be called about ten times a second while [`has_deadlines`](Peers::has_deadlines).
    pub fn tick(&self, ring: &mut Ring, now: Instant) {
        self.0.links.borrow_mut().tick(ring, now);
    }

    /// True if something becomes due with time alone: the core must not sleep for long.
    pub fn has_deadlines(&self) -> bool {
        self.0.links.borrow().has_deadlines()
    }

    /// Ends all connections, since this node has another identity now, and forgets what is known of others.
    pub fn forget_all(&self, ring: &mut Ring, now: Instant) {
        self.0.links.borrow_mut().end_all("this node is of another cluster now", ring, now);
    }

    /// Ends all connections for good. Whoever asks is told so, and who comes is not let in.
    pub fn stop(&self, ring: &mut Ring, now: Instant) {
        let mut links = self.0.links.borrow_mut();
        links.is_stopping = true;
        links.end_all("this node stops", ring, now);
    }

    /// The connections that are open.
    pub fn list(&self) -> Vec<OpenLink> {
        let open = |entry: &Entry| {
            let session = entry.link.session().filter(|_| entry.is_open())?;
            Some(OpenLink {
                node: NodeId(session.node.0),
                is_dialed: entry.way.is_some(),
                since: entry.since,
                queued_bytes: entry.link.queued_bytes(),
            })
        };
        self.0.links.borrow().all().filter_map(open).collect()
    }

    /// Everything that the links have done so far.
    pub fn figures(&self) -> Figures {
        let links = self.0.links.borrow();
        let open = |is_dialed| links.all().filter(|entry| entry.is_open() && entry.way.is_some() == is_dialed).count();
        Figures { dialed_open: open(true), accepted_open: open(false), ..links.figures.clone() }
    }

    // ---- questions

    /// Returns whether a node answers. It is asked for a group that nobody has: that it cannot say is an answer as well.
    pub async fn is_there(&self, node: NodeNumber) -> bool {
        let (answer, answered) = oneshot::channel();
        let (way, group) = (Way { node, core: 0, lane: Lane::Votes }, GroupNumber(GROUP_NUMBER_MAX));
        let question = Question { group, message: Message::ReadIndex, expects: Kind::ReadIndexAnswer, answer };
        self.0.links.borrow_mut().ask(way, question, Instant::now());
        (self.0.hooks.wake)();
        matches!(answered.await, Ok(Ok(_)))
    }

    /// Asks a node that has a replica of the group who leads it. `None` if it does not know, or does not answer.
    pub async fn who_leads(self, group: GroupNumber, node: NodeNumber) -> Option<NodeNumber> {
        let answer = self.ask((node, group, Lane::Votes), Message::ReadIndex, Kind::ReadIndexAnswer).await;
        match answer {
            Ok(Message::ReadIndexAnswer(ReadIndexAnswer::At(_))) => Some(node),
            Ok(Message::ReadIndexAnswer(ReadIndexAnswer::NotLeader(leader))) => leader,
            _ => None,
        }
    }

    /// Asks a node for the number that its replica of a group has in votes and memberships.
    ///
    /// # Errors
    /// The reason that it has not told: it has none that is open, or does not answer.
    pub async fn number_of_replica(self, group: GroupNumber, node: NodeNumber) -> Result<u64, Unreached> {
        let own = self.0.surroundings.own().node;
        Ok(self.ask_of_replica(group, node, Replica { node: own, number: 0 }).await?.number)
    }

    /// Asks a node if this one's replica `number` of a group is a member no more, and not to be one again. False is not certain.
    pub async fn is_replica_out(&self, group: GroupNumber, node: NodeNumber, number: u64) -> bool {
        let own = self.0.surroundings.own().node;
        self.clone().ask_of_replica(group, node, Replica { node: own, number }).await.is_ok_and(|answer| answer.is_out)
    }

    /// Asks a node if it leads the group, and if that goes on without another node, which its leader does not hear. False is not
    /// certain, as by one that does not know the question.
    pub async fn goes_on_without(self, group: GroupNumber, node: NodeNumber, without: NodeNumber) -> bool {
        let answer = self.ask((node, group, Lane::Votes), Message::GoesOn(without), Kind::GoesOnAnswer).await;
        matches!(answer, Ok(Message::GoesOnAnswer(true)))
    }

    async fn ask_of_replica(
        self,
        group: GroupNumber,
        node: NodeNumber,
        question: Replica,
    ) -> Result<ReplicaAnswer, Unreached> {
        let asking = self.ask((node, group, Lane::Votes), Message::Replica(question), Kind::ReplicaAnswer);
        // One that is not answered is asked anew, and late answers are nobody's.
        let asking = std::pin::pin!(asking);
        let silence = std::pin::pin!(glommio::timer::sleep(limits::REPLICA_ANSWER));
        match futures_util::future::select(asking, silence).await {
            Either::Left((Ok(Message::ReplicaAnswer(answer)), _)) => Ok(answer),
            Either::Left((Ok(_), _)) => Err(Unreached::Lost(format!("node {node} answers something else"))),
            Either::Left((Err(error), _)) => Err(error),
            Either::Right(_) => Err(Unreached::Lost(format!("node {node} does not answer"))),
        }
    }

    /// Asks a group's member on another node, on the core that has it there.
    async fn ask(
        self,
        (node, group, lane): (NodeNumber, GroupNumber, Lane),
        message: Message,
        expects: Kind,
    ) -> Result<Message, Unreached> {
        let mut message = Some(message);
        let is_known = self.0.links.borrow().core_of(node, group).is_some();
        for left in (0..limits::CORES_ASKED_MAX).rev() {
            let Some(asked) = message.take() else { break };
            let core = self.0.links.borrow().core_of(node, group).unwrap_or(0);
            let way = Way { node, core, lane };
            if !is_known && left > 0 {
                // To be asked elsewhere. What it carries is not copied.
                message = Some(asked.clone());
            }
            let (answer, answered) = oneshot::channel();
            let question = Question { group, message: asked, expects, answer };
            self.0.links.borrow_mut().ask(way, question, Instant::now());
            (self.0.hooks.wake)();
            let unable = match answered.await {
                Ok(Ok(Message::Unable(unable))) => unable,
                Ok(answer) => return answer,
                Err(_) => return Err(Unreached::Lost(format!("node {node}: the question was given up"))),
            };
            let mut links = self.0.links.borrow_mut();
            match unable.reason {
                UnableReason::OtherCore if unable.core != way.core => {
                    links.remember_core(node, group, unable.core);
                    links.figures.referrals += 1;
                    if is_known {
                        return Err(Unreached::Lost(format!("node {node}: the group has moved to another core")));
                    }
                }
                reason => {
                    if matches!(reason, UnableReason::NotHere | UnableReason::OtherCore) {
                        links.forget_core(node, group);
                    }
                    links.figures.unreached += 1;
                    return Err(Unreached::Unreachable(format!("node {node}: {unable}")));
                }
            }
        }
        Err(Unreached::Unreachable(format!("node {node}: each core says that another one has the group")))
    }

    fn begin_answering(&self, askings: Vec<Asking>) {
        for asking in askings {
            answering::begin(self, asking);
        }
    }

    /// Takes the answer to a question of a peer.
    fn give(&self, answered: Answered) {
        if matches!(answered.message, Message::Unable(_)) {
            self.0.links.borrow_mut().figures.unable += 1;
        }
        self.0.answers.borrow_mut().push(answered);
        (self.0.hooks.wake)();
    }
}
