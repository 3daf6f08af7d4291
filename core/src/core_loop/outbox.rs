//! Mail of a core's turn for others: requests and replies by core, and rows to fetch from disk.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::entry::request::Mode;
use crate::entry::tracking::TrackOrder;
use crate::ids::{CoreId, Origin, ShardId, Ticket};
use crate::limits;
use crate::mail::{
    Invalidations, Mailboxes, Message, OrderTo, Published, PublishedBatch, ReplyBatch, RequestBatch, RequestHead,
};
use crate::shard::ShardHost;
use basalt_storage::ColdRead;

/// A read that a reader thread is to warm.
pub struct Warm {
    /// The shard whose read it is.
    pub shard: ShardId,
    /// The connection whose requests wait for it.
    pub client: (CoreId, u32),
    /// The rows to fetch.
    pub read: ColdRead,
    /// True if the rows are to be kept for the command.
    pub pins: bool,
}

/// Mail of a core's turn for the others. What does not fit into a mailbox waits here until there is room.
///
/// Requests leave as soon as there are as many as the other core runs in a turn, so that it runs them while this one goes on; two
/// cores that got each other's only at the end of their turns would run by turns (`scaling` bench). Replies leave at the turn's
/// end: by then the shards have published what their clients may ask for.
pub struct Outbox {
    core: CoreId,
    mailboxes: Arc<Mailboxes>,
    requests: Vec<RequestBatch>,
    replies: Vec<ReplyBatch>,
    controls: VecDeque<(CoreId, Message)>,
    /// Orders of transactions: one for each shard of each at a time.
    orders: VecDeque<(CoreId, OrderTo)>,
    /// Messages that were published, by the core of their subscribers.
    published: Vec<PublishedBatch>,
    /// Word of changed keys, by the core of who is to hear it.
    invalidations: Vec<Invalidations>,
    /// Emptied batches of other cores: what this core sends next is written into them. Buffers that one thread allocates and
    /// another frees cost the allocator fresh pages all the time.
    spare_requests: Vec<RequestBatch>,
    spare_replies: Vec<ReplyBatch>,
    /// Reads to warm.
    pub warms: VecDeque<Warm>,
}

impl Outbox {
    /// An empty outbox of `core`.
    pub fn new(core: CoreId, mailboxes: Arc<Mailboxes>) -> Outbox {
        let core_count = mailboxes.core_count();
        Outbox {
            core,
            mailboxes,
            requests: (0..core_count).map(|_| RequestBatch::default()).collect(),
            replies: (0..core_count).map(|_| ReplyBatch::default()).collect(),
            controls: VecDeque::new(),
            orders: VecDeque::new(),
            published: (0..core_count).map(|_| PublishedBatch::default()).collect(),
            invalidations: (0..core_count).map(|_| Invalidations::default()).collect(),
            spare_requests: Vec::new(),
            spare_replies: Vec::new(),
            warms: VecDeque::new(),
        }
    }

    /// Adds a request for a shard of another core.
    pub fn request(
        &mut self,
        to: CoreId,
        origin: Origin,
        shard: ShardId,
        mode: Mode,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let batch = &mut self.requests[to.index()];
        encode(&mut batch.bytes);
        let end = batch.bytes.len();
        batch.heads.push(RequestHead { ticket: origin.ticket, client: origin.client, shard, mode, end });
        // What finds no room is tried again when as many more have come.
        if batch.heads.len().is_multiple_of(limits::REQUESTS_PER_TURN) {
            self.hand_over_requests(to);
        }
    }

    /// Has another core enter a client for keys that it reads, ahead of what is added from now on.
    pub fn track(&mut self, to: CoreId, order: TrackOrder) {
        let batch = &mut self.requests[to.index()];
        batch.tracks.push_back((batch.heads.len(), order));
    }

    /// Word of changed keys for clients of another core.
    pub fn invalidations(&mut self, to: CoreId) -> &mut Invalidations {
        &mut self.invalidations[to.index()]
    }

    /// Adds an operation on another core itself.
    pub fn control(&mut self, to: CoreId, message: Message) {
        self.controls.push_back((to, message));
    }

    /// Adds an order of a transaction for a shard of another core.
    pub fn order(&mut self, to: CoreId, order: OrderTo) {
        self.orders.push_back((to, order));
    }

    /// Adds a message that was published, for the subscribers of another core.
    pub fn publish(&mut self, to: CoreId, message: Arc<Published>) {
        self.published[to.index()].push(message);
    }

    /// Returns whether so many published messages wait for some core that no more should be added.
    pub fn has_much_published(&self) -> bool {
        self.published.iter().any(|batch| batch.bytes() >= limits::OUTBOX_BYTES_MAX)
    }

    /// The replies for this core's own connections.
    pub fn take_local_replies(&mut self) -> Option<ReplyBatch> {
        let local = &mut self.replies[self.core.index()];
        if local.heads.is_empty() { None } else { Some(std::mem::take(local)) }
    }

    /// Gives the buffers of a delivered batch back for the next one.
    pub fn recycle_local_replies(&mut self, mut batch: ReplyBatch) {
        let local = &mut self.replies[self.core.index()];
        if local.heads.is_empty() && batch.bytes.capacity() <= limits::REPLY_BUFFER_KEPT {
            batch.bytes.clear();
            batch.heads.clear();
            *local = batch;
        }
    }

    /// Keeps the buffers of requests that were run.
    pub fn recycle_requests(&mut self, mut batch: RequestBatch) {
        if self.spare_requests.len() < limits::SPARE_BATCHES && fits(&batch.bytes, &batch.heads) {
            batch.bytes.clear();
            batch.heads.clear();
            batch.tracks.clear();
            self.spare_requests.push(batch);
        }
    }

    /// Keeps the buffers of replies that were delivered.
    pub fn recycle_replies(&mut self, mut batch: ReplyBatch) {
        if self.spare_replies.len() < limits::SPARE_BATCHES && fits(&batch.bytes, &batch.heads) {
            batch.bytes.clear();
            batch.heads.clear();
            self.spare_replies.push(batch);
        }
    }

    /// Returns whether so much waits for some core that no more should be added.
    pub fn is_backlogged(&self) -> bool {
        self.requests.iter().any(|batch| {
            batch.bytes.len() >= limits::OUTBOX_BYTES_MAX || batch.heads.len() >= limits::OUTBOX_REQUESTS_MAX
        })
    }

    /// Returns whether a reply for `core` may be added that can wait. Those for this core itself go out each turn.
    pub fn has_room_for_replies(&self, core: CoreId) -> bool {
        self.replies[core.index()].bytes.len() < limits::OUTBOX_REPLY_BYTES_MAX
    }

    /// Bytes of memory that what waits here holds on to: of requests, and of replies.
    pub fn bytes(&self) -> (usize, usize) {
        let requests = self.requests.iter().map(|batch| batch.bytes.capacity()).sum::<usize>()
            + self.orders.iter().map(|(_, order)| order.order.bytes()).sum::<usize>()
            + self.published.iter().map(PublishedBatch::bytes).sum::<usize>()
            + self.invalidations.iter().map(Invalidations::bytes).sum::<usize>();
        (requests, self.replies.iter().map(|batch| batch.bytes.capacity()).sum())
    }

    /// Returns whether nothing waits to be handed over or fetched.
    pub fn is_empty(&self) -> bool {
        !self.has_mail() && self.warms.is_empty()
    }

    /// Returns whether something waits to be handed over.
    pub fn has_mail(&self) -> bool {
        self.requests.iter().any(|batch| !batch.is_empty())
            || self.replies.iter().any(|batch| !batch.heads.is_empty())
            || !self.controls.is_empty()
            || !self.orders.is_empty()
            || self.published.iter().any(|batch| !batch.is_empty())
            || self.invalidations.iter().any(|word| !word.is_empty())
    }

    /// Hands over what fits into the mailboxes and rings the bells; returns how many batches went.
    pub fn flush(&mut self) -> usize {
        // Ahead of replies: who is told that a key was written, and asks another core then, has heard that its copy is old.
        let mut sent = self.flush_invalidations();
        let (mailboxes, from) = (&self.mailboxes, self.core);
        sent += send_in_order(&mut self.controls, mailboxes, |to, message| mailboxes.send_request(from, to, message));
        sent += send_in_order(&mut self.orders, mailboxes, |to, order| mailboxes.send_order(from, to, order));
        sent += self.flush_requests() + self.flush_published();
        for index in 0..self.replies.len() {
            let to = CoreId(index as u16);
            if to == self.core || self.replies[index].heads.is_empty() {
                continue;
            }
            let empty = self.spare_replies.pop().unwrap_or_default();
            let batch = std::mem::replace(&mut self.replies[index], empty);
            match self.mailboxes.send_replies(self.core, to, batch) {
                Ok(()) => {
                    sent += 1;
                    self.mailboxes.bell(to).ring();
                }
                Err(batch) => self.spare_replies.push(std::mem::replace(&mut self.replies[index], batch)),
            }
        }
        sent
    }

    /// Hands over word of changed keys; returns how much went.
    fn flush_invalidations(&mut self) -> usize {
        let mut sent = 0;
        for (index, word) in self.invalidations.iter_mut().enumerate().filter(|(_, word)| !word.is_empty()) {
            let to = CoreId(index as u16);
            match self.mailboxes.send_invalidations(self.core, to, std::mem::take(word)) {
                Ok(()) => {
                    sent += 1;
                    self.mailboxes.bell(to).ring();
                }
                Err(kept) => *word = kept,
            }
        }
        sent
    }

    /// Hands over what was published; returns how many batches went.
    fn flush_published(&mut self) -> usize {
        let mut sent = 0;
        for index in 0..self.published.len() {
            let (to, waiting) = (CoreId(index as u16), &mut self.published[index]);
            if waiting.is_empty() {
                continue;
            }
            match self.mailboxes.send_published(self.core, to, std::mem::take(waiting)) {
                Ok(()) => {
                    sent += 1;
                    self.mailboxes.bell(to).ring();
                }
                Err(batch) => *waiting = batch,
            }
        }
        sent
    }

    /// Hands over the requests that fit into the mailboxes; returns how many batches went.
    pub fn flush_requests(&mut self) -> usize {
        (0..self.requests.len()).filter(|&index| self.hand_over_requests(CoreId(index as u16))).count()
    }

    /// Hands over the requests for `to`. False if there are none, or no room for them.
    fn hand_over_requests(&mut self, to: CoreId) -> bool {
        let waiting = &mut self.requests[to.index()];
        if waiting.is_empty() {
            return false;
        }
        let batch = std::mem::replace(waiting, self.spare_requests.pop().unwrap_or_default());
        match self.mailboxes.send_request(self.core, to, Message::Batch(batch)) {
            Ok(()) => {
                self.mailboxes.bell(to).ring();
                true
            }
            Err(Message::Batch(batch)) => {
                self.spare_requests.push(std::mem::replace(waiting, batch));
                false
            }
            Err(_) => unreachable!("the mailbox gives back what it was given"),
        }
    }

    /// Adds a reply for a request of `core`.
    pub fn reply_to(&mut self, core: CoreId, ticket: Ticket, reply: &[u8]) {
        let batch = &mut self.replies[core.index()];
        batch.bytes.extend_from_slice(reply);
        batch.heads.push((ticket, batch.bytes.len()));
    }
}

/// Hands over what has room, for each core in the order in which it came; returns how much went.
fn send_in_order<T>(
    waiting: &mut VecDeque<(CoreId, T)>,
    mailboxes: &Mailboxes,
    mut send: impl FnMut(CoreId, T) -> Result<(), T>,
) -> usize {
    if waiting.is_empty() {
        return 0;
    }
    let (mut sent, mut is_full) = (0, vec![false; mailboxes.core_count()]);
    for (to, message) in std::mem::take(waiting) {
        let kept = if is_full[to.index()] { Err(message) } else { send(to, message) };
        match kept {
            Ok(()) => {
                sent += 1;
                mailboxes.bell(to).ring();
            }
            Err(message) => {
                is_full[to.index()] = true;
                waiting.push_back((to, message));
            }
        }
    }
    sent
}

/// Returns whether a batch's buffers are small enough to be kept.
fn fits<T>(bytes: &Vec<u8>, heads: &Vec<T>) -> bool {
    bytes.capacity() + heads.capacity() * size_of::<T>() <= limits::SPARE_BATCH_BYTES_MAX
}

impl ShardHost for Outbox {
    fn has_room_for_replies(&self, core: CoreId) -> bool {
        Outbox::has_room_for_replies(self, core)
    }

    fn reply(&mut self, origin: Origin, reply: &[u8]) {
        self.reply_to(origin.core, origin.ticket, reply);
    }

    fn warm(&mut self, shard: ShardId, client: (CoreId, u32), read: ColdRead, pins: bool) {
        self.warms.push_back(Warm { shard, client, read, pins });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::server;

    const SELF: CoreId = CoreId(0);
    const OTHER: CoreId = CoreId(1);
    const BATCH: u32 = limits::REQUESTS_PER_TURN as u32;

    /// An outbox of one of two cores, neither of which runs.
    fn with_outbox(test: impl FnOnce(&mut Outbox, &Mailboxes)) {
        let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
        executor.run(async {
            let mailboxes = server(2).mailboxes.clone();
            test(&mut Outbox::new(SELF, mailboxes.clone()), &mailboxes);
        });
    }

    fn ask(outbox: &mut Outbox, tickets: std::ops::Range<u32>) {
        for ticket in tickets {
            let origin = Origin { core: SELF, client: 1, ticket: Ticket(ticket) };
            outbox.request(OTHER, origin, ShardId(1), Mode::Read, |out| out.extend_from_slice(b"GET"));
        }
    }

    fn reply(outbox: &mut Outbox, to: CoreId, tickets: std::ops::Range<u32>) {
        for ticket in tickets {
            outbox.reply_to(to, Ticket(ticket), b"+OK\r\n");
        }
    }

    /// The tickets of the next batch of requests that was left.
    fn requests_left(mailboxes: &Mailboxes) -> Option<Vec<u32>> {
        match mailboxes.next_request(SELF, OTHER)? {
            Message::Batch(batch) => Some(batch.heads.iter().map(|head| head.ticket.0).collect()),
            _ => panic!("nothing else was sent"),
        }
    }

    /// The tickets of the next batch of replies that was left.
    fn replies_left(mailboxes: &Mailboxes) -> Option<Vec<u32>> {
        Some(mailboxes.next_replies(SELF, OTHER)?.heads.iter().map(|(ticket, _)| ticket.0).collect())
    }

    #[test]
    fn full_batches_of_requests_leave_at_once_and_all_else_with_the_turn() {
        with_outbox(|outbox, mailboxes| {
            ask(outbox, 0..2 * BATCH + 3);
            reply(outbox, OTHER, 0..BATCH);
            reply(outbox, SELF, 0..BATCH);
            assert_eq!(requests_left(mailboxes), Some((0..BATCH).collect()));
            assert_eq!(requests_left(mailboxes), Some((BATCH..2 * BATCH).collect()));
            assert_eq!((requests_left(mailboxes), replies_left(mailboxes)), (None, None));
            assert_eq!(outbox.flush_requests(), 1);
            assert_eq!(requests_left(mailboxes), Some((2 * BATCH..2 * BATCH + 3).collect()));
            assert_eq!(replies_left(mailboxes), None, "replies wait for what the shards publish");
            assert_eq!(outbox.flush(), 1);
            assert_eq!(replies_left(mailboxes), Some((0..BATCH).collect()));
            assert!(mailboxes.next_replies(SELF, SELF).is_none(), "what is for this core itself stays");
            assert_eq!(outbox.take_local_replies().map(|replies| replies.heads.len() as u32), Some(BATCH));
            assert!(outbox.is_empty());
        });
    }

    #[test]
    fn what_is_for_one_core_keeps_its_order_though_room_comes_between() {
        with_outbox(|_, mailboxes| {
            let mut waiting: VecDeque<(CoreId, u32)> =
                (0..6).map(|number| (CoreId(number as u16 % 2), number)).collect();
            let (mut tries, mut sent) = (0, Vec::new());
            // The third one finds no room, and the next would: the other core has fetched something meanwhile.
            let mut send = |_, number| {
                tries += 1;
                if tries == 3 {
                    return Err(number);
                }
                sent.push(number);
                Ok(())
            };
            assert_eq!(send_in_order(&mut waiting, mailboxes, &mut send), 4);
            assert_eq!(waiting, [(SELF, 2), (SELF, 4)]);
            assert_eq!(send_in_order(&mut waiting, mailboxes, &mut send), 2);
            assert_eq!((sent, waiting.len()), (vec![0, 1, 3, 5, 2, 4], 0));
        });
    }

    #[test]
    fn what_finds_no_room_waits_in_its_order() {
        with_outbox(|outbox, mailboxes| {
            let requests = BATCH * (limits::MAILBOX_REQUEST_BATCHES as u32 + 3) + 1;
            ask(outbox, 0..requests);
            let mut replies = 0;
            loop {
                reply(outbox, OTHER, replies..replies + 1);
                replies += 1;
                if outbox.flush() == 0 {
                    break;
                }
            }
            assert_eq!(replies as usize, limits::MAILBOX_REPLY_BATCHES + 1, "then the mailbox is full");
            reply(outbox, OTHER, replies..replies + 2);
            replies += 2;
            assert!(outbox.spare_requests.len() + outbox.spare_replies.len() <= 2, "a refusal leaves no new spares");
            let (mut asked, mut answered) = (Vec::new(), Vec::new());
            while !outbox.is_empty() {
                asked.extend(requests_left(mailboxes).into_iter().flatten());
                answered.extend(replies_left(mailboxes).into_iter().flatten());
                outbox.flush();
            }
            asked.extend(std::iter::from_fn(|| requests_left(mailboxes)).flatten());
            answered.extend(std::iter::from_fn(|| replies_left(mailboxes)).flatten());
            assert_eq!(asked, (0..requests).collect::<Vec<_>>());
            assert_eq!(answered, (0..replies).collect::<Vec<_>>());
        });
    }
}
