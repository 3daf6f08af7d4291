//! Queues by which cores hand work to each other: a bounded lock-free one per ordered pair of cores, and a doorbell per core.
//!
//! A message has many requests, or all replies of a turn, so a hop costs one push however many it carries. The bell makes a system
//! call only when the core it belongs to sleeps. Requests and replies have queues of their own: a core that cannot take more
//! requests must still be able to take replies, or two such cores would wait for each other.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use basalt_storage::ReaderId;
use crossbeam_queue::ArrayQueue;

use super::control::Control;
use super::doorbell::Doorbell;
use super::fanout::{PublishedBatch, SubscriptionChanges};
use super::handed_peer::HandedPeer;
use super::invalidation::Invalidations;
use crate::cluster::map::Change;
use crate::entry::request::Mode;
use crate::entry::spanning::SpanningOrder;
use crate::entry::tracking::TrackOrder;
use crate::entry::waiting::WaitOrder;
use crate::ids::{CoreId, Origin, ShardId, Ticket};
use crate::limits;

/// Requests that the core of a shard wants sent by others.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takes {
    /// Everything.
    #[default]
    All,
    /// Plain reads: there is much that waits, but they do not wait with it.
    Reads,
    /// Nothing.
    Nothing,
}

impl Takes {
    /// Returns whether a request of `mode` should be sent.
    pub fn takes(self, mode: Mode) -> bool {
        match self {
            Takes::All => true,
            Takes::Reads => mode.is_plain_read(),
            Takes::Nothing => false,
        }
    }
}

/// One request of a [`RequestBatch`].
#[derive(Debug, Clone, Copy)]
pub struct RequestHead {
    /// The place of its reply on the sending core.
    pub ticket: Ticket,
    /// The connection it came from, on the sending core: requests of one connection keep their order.
    pub client: u32,
    /// The shard it is for.
    pub shard: ShardId,
    /// The way it is run.
    pub mode: Mode,
    /// The end of its bytes in those of the [`RequestBatch`].
    pub end: usize,
}

/// Requests for shards of another core that leave together.
#[derive(Debug, Default)]
pub struct RequestBatch {
    /// The commands, one behind the other, as `request::encode` writes them.
    pub bytes: Vec<u8>,
    /// One head a command.
    pub heads: Vec<RequestHead>,
    /// Clients to be entered for keys that they read, each with the number of commands before which that is done.
    pub tracks: VecDeque<(usize, TrackOrder)>,
}

impl RequestBatch {
    /// Returns whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty() && self.tracks.is_empty()
    }
}

/// Replies of one turn for connections of another core.
#[derive(Debug, Default)]
pub struct ReplyBatch {
    /// The replies, one behind the other, in RESP.
    pub bytes: Vec<u8>,
    /// For each reply its ticket and where it ends in `bytes`.
    pub heads: Vec<(Ticket, usize)>,
}

/// A message from one core to another that asks for something.
pub enum Message {
    /// Commands for its shards.
    Batch(RequestBatch),
    /// A connection dealt to it.
    Connection(OwnedFd),
    /// The connection of another node, which wants this core.
    Peer(Box<HandedPeer>),
    /// An operation on the core itself (`CLIENT LIST` and the like); the answer, in RESP, goes back under the ticket.
    Control(Ticket, Control),
    /// A change of the cluster's map, for the core that has its group; the answer, in RESP, goes back under the ticket.
    Change(Ticket, Box<Change>),
    /// The same for another node, which is told the epoch of the map besides.
    ChangeForNode(Ticket, Box<Change>),
    /// A client of the sending core that wants elements of keys of a shard, and waits for them; the answer goes back under the
    /// origin's ticket.
    Wait(Origin, ShardId, Box<WaitOrder>),
    /// It waits no more.
    EndWait(Origin, ShardId),
    /// It waits on, since its core has found nothing to move for it; what there is is looked at with the next tick if this is set.
    WaitOn(Origin, ShardId, bool),
    /// A client of the sending core that waits until so many followers of a shard's group have all that is in its log by now; the
    /// answer goes back under the origin's ticket.
    AwaitReplicas(Origin, ShardId, usize),
    /// It waits no more: the answer is how many have it.
    EndReplicaWait(Origin, ShardId),
    /// The rows of a shard that are in memory are to be written to disk, and its log purged; the answer goes back under the ticket.
    WriteOut(Ticket, ShardId),
    /// Changes of the subscriptions of another core's clients, which nobody waits for.
    Subscriptions(SubscriptionChanges),
    /// A client that has kept copies of keys is gone.
    ReaderGone(ReaderId),
}

/// An order of a transaction over several shards, for one of them.
pub struct OrderTo {
    /// The transaction's place on the sending core.
    pub origin: Origin,
    /// The shard.
    pub shard: ShardId,
    /// The order.
    pub order: SpanningOrder,
}

impl Mail for OrderTo {
    fn bytes(&self) -> usize {
        self.order.bytes()
    }
}

/// The queues from one core to another. Orders of transactions have one of their own: requests may wait for what they hold.
struct Lane {
    orders: Queue<OrderTo>,
    requests: Queue<Message>,
    replies: Queue<ReplyBatch>,
    published: Queue<PublishedBatch>,
    invalidations: Queue<Invalidations>,
}

/// Messages left for another core.
trait Mail {
    /// Bytes of memory that it holds on to.
    fn bytes(&self) -> usize;
}

impl Mail for RequestBatch {
    fn bytes(&self) -> usize {
        let tracks = self.tracks.iter().map(|(_, order)| order.bytes()).sum::<usize>();
        self.bytes.capacity() + self.heads.capacity() * size_of::<RequestHead>() + tracks
    }
}

impl Mail for ReplyBatch {
    fn bytes(&self) -> usize {
        self.bytes.capacity() + self.heads.capacity() * size_of::<(Ticket, usize)>()
    }
}

impl Mail for Message {
    fn bytes(&self) -> usize {
        match self {
            Message::Batch(batch) => batch.bytes(),
            Message::Peer(peer) => peer.received.capacity(),
            Message::Wait(_, _, order) => order.pop.bytes() + order.keys.iter().map(|key| key.len()).sum::<usize>(),
            Message::Connection(_)
            | Message::EndWait(..)
            | Message::WaitOn(..)
            | Message::AwaitReplicas(..)
            | Message::EndReplicaWait(..)
            | Message::WriteOut(..)
            | Message::Control(..)
            | Message::Change(..)
            | Message::ChangeForNode(..)
            | Message::ReaderGone(_)
            | Message::Subscriptions(_) => 0,
        }
    }
}

impl Mail for Invalidations {
    fn bytes(&self) -> usize {
        Invalidations::bytes(self)
    }
}

impl Mail for PublishedBatch {
    fn bytes(&self) -> usize {
        PublishedBatch::bytes(self)
    }
}

/// A queue between two cores, bounded by number and by bytes.
struct Queue<T> {
    items: ArrayQueue<T>,
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl<T: Mail> Queue<T> {
    fn new(items_max: usize, bytes_max: usize) -> Queue<T> {
        Queue { items: ArrayQueue::new(items_max), bytes: AtomicUsize::new(0), bytes_max }
    }

    /// Leaves `item`, or gives it back.
    fn push(&self, item: T) -> Result<(), T> {
        let bytes = item.bytes();
        if bytes > 0 && self.bytes.load(Ordering::Relaxed) >= self.bytes_max {
            return Err(item);
        }
        // Before the other core can take it off again.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.items.push(item).inspect_err(|_| {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        })
    }

    fn pop(&self) -> Option<T> {
        let item = self.items.pop()?;
        self.bytes.fetch_sub(item.bytes(), Ordering::Relaxed);
        Some(item)
    }
}

/// The queues and bells of all cores.
pub struct Mailboxes {
    core_count: usize,
    lanes: Vec<Lane>,
    bells: Vec<Doorbell>,
}

impl Mailboxes {
    /// Mailboxes for as many cores as there are `bells`.
    pub fn new(bells: Vec<Doorbell>) -> Mailboxes {
        let core_count = bells.len();
        let lane = || Lane {
            orders: Queue::new(limits::MAILBOX_ORDERS, limits::MAILBOX_REQUEST_BYTES),
            requests: Queue::new(limits::MAILBOX_REQUEST_BATCHES, limits::MAILBOX_REQUEST_BYTES),
            replies: Queue::new(limits::MAILBOX_REPLY_BATCHES, limits::MAILBOX_REPLY_BYTES),
            published: Queue::new(limits::MAILBOX_PUBLISHED_BATCHES, limits::MAILBOX_PUBLISHED_BYTES),
            invalidations: Queue::new(limits::MAILBOX_PUBLISHED_BATCHES, limits::MAILBOX_PUBLISHED_BYTES),
        };
        Mailboxes { core_count, lanes: (0..core_count * core_count).map(|_| lane()).collect(), bells }
    }

    fn lane(&self, from: CoreId, to: CoreId) -> &Lane {
        &self.lanes[to.index() * self.core_count + from.index()]
    }

    /// Leaves a request; gives it back if the queue is full. The caller rings `to`'s bell when it has left all it has.
    ///
    /// # Errors
    /// The request, if the queue is full.
    pub fn send_request(&self, from: CoreId, to: CoreId, message: Message) -> Result<(), Message> {
        self.lane(from, to).requests.push(message)
    }

    /// Leaves an order of a transaction; gives it back if the queue is full.
    ///
    /// # Errors
    /// The order, if the queue is full.
    pub fn send_order(&self, from: CoreId, to: CoreId, order: OrderTo) -> Result<(), OrderTo> {
        self.lane(from, to).orders.push(order)
    }

    /// The next order that `from` left for `to`.
    pub fn next_order(&self, from: CoreId, to: CoreId) -> Option<OrderTo> {
        self.lane(from, to).orders.pop()
    }

    /// Leaves replies; gives them back if the queue is full.
    ///
    /// # Errors
    /// The replies, if the queue is full.
    pub fn send_replies(&self, from: CoreId, to: CoreId, replies: ReplyBatch) -> Result<(), ReplyBatch> {
        self.lane(from, to).replies.push(replies)
    }

    /// Leaves messages that were published; gives them back if the queue is full.
    ///
    /// # Errors
    /// The messages, if the queue is full.
    pub fn send_published(&self, from: CoreId, to: CoreId, batch: PublishedBatch) -> Result<(), PublishedBatch> {
        self.lane(from, to).published.push(batch)
    }

    /// Leaves word of changed keys; gives it back if the queue is full.
    ///
    /// # Errors
    /// The word, if the queue is full.
    pub fn send_invalidations(&self, from: CoreId, to: CoreId, word: Invalidations) -> Result<(), Invalidations> {
        self.lane(from, to).invalidations.push(word)
    }

    /// The next word of changed keys that `from` left for clients of `to`.
    pub fn next_invalidations(&self, from: CoreId, to: CoreId) -> Option<Invalidations> {
        self.lane(from, to).invalidations.pop()
    }

    /// The next messages that `from` left for the subscribers of `to`.
    pub fn next_published(&self, from: CoreId, to: CoreId) -> Option<PublishedBatch> {
        self.lane(from, to).published.pop()
    }

    /// Returns whether `from` has left messages for the subscribers of `to`.
    pub fn has_published(&self, from: CoreId, to: CoreId) -> bool {
        !self.lane(from, to).published.items.is_empty()
    }

    /// Returns whether `from` has left requests for `to`.
    pub fn has_requests(&self, from: CoreId, to: CoreId) -> bool {
        !self.lane(from, to).requests.items.is_empty()
    }

    /// The next request that `from` left for `to`.
    pub fn next_request(&self, from: CoreId, to: CoreId) -> Option<Message> {
        let request = self.lane(from, to).requests.pop()?;
        if let Message::Batch(batch) = &request {
            fetch(&batch.bytes, |&byte| u32::from(byte));
            fetch(&batch.heads, |head| head.end as u32);
        }
        Some(request)
    }

    /// The next replies that `from` left for `to`.
    pub fn next_replies(&self, from: CoreId, to: CoreId) -> Option<ReplyBatch> {
        let batch = self.lane(from, to).replies.pop()?;
        fetch(&batch.bytes, |&byte| u32::from(byte));
        fetch(&batch.heads, |&(ticket, _)| ticket.0);
        Some(batch)
    }

    /// Bytes of requests and of replies that wait for other cores.
    pub fn bytes(&self) -> (usize, usize) {
        let of_requests = |lane: &Lane| {
            let others = [&lane.published.bytes, &lane.invalidations.bytes];
            let queues = [&lane.requests.bytes, &lane.orders.bytes].into_iter().chain(others);
            queues.map(|bytes| bytes.load(Ordering::Relaxed)).sum::<usize>()
        };
        let requests = self.lanes.iter().map(of_requests).sum();
        (requests, self.lanes.iter().map(|lane| lane.replies.bytes.load(Ordering::Relaxed)).sum())
    }

    /// The bell of `core`.
    pub fn bell(&self, core: CoreId) -> &Doorbell {
        &self.bells[core.index()]
    }

    /// Returns the number of cores.
    pub fn core_count(&self) -> usize {
        self.core_count
    }
}

/// Bytes of a processor's cache line.
const LINE_BYTES: usize = 64;

/// Reads one `part` of each cache line of `items`, which another core has written: all on their way at once, they take a few
/// hundred nanoseconds together. Each one waited for when it is needed takes that long by itself, and a small batch is over before
/// the processor notices what is coming: eighty GETs to another core and back took 7 % longer without this (`scaling` bench).
fn fetch<T>(items: &[T], part: impl Fn(&T) -> u32) {
    let step = (LINE_BYTES / size_of::<T>()).max(1);
    let items = &items[..items.len().min(limits::FETCHED_BYTES_MAX / size_of::<T>())];
    std::hint::black_box(items.iter().step_by(step).fold(0, |all, item| all ^ part(item)));
}
