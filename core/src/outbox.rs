//! What a core's turn has for others: requests and replies by core, and rows to fetch from disk.

use std::collections::VecDeque;

use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::mailbox::{Mailboxes, Mode, ReplyBatch, Request, RequestBatch, RequestHead, Ticket};
use crate::shard::{Origin, ShardHost};
use basalt_storage::ColdRead;

/// What is answered instead of a reply that no client could be sent: its connection would be closed.
const REPLY_TOO_LARGE: &[u8] = b"-ERR the reply is larger than 1 GB, ask for less at a time\r\n";

/// A read that a reader thread is to warm.
pub struct Warm {
    /// The shard whose read it is.
    pub shard: ShardId,
    /// The connection whose requests wait for it.
    pub client: (CoreId, u32),
    /// What to fetch.
    pub read: ColdRead,
    /// Whether the rows are to be kept for the command.
    pub keeps: bool,
}

/// What a core's turn has for others. What does not fit into a mailbox waits here for the next turn.
pub struct Outbox {
    core: CoreId,
    requests: Vec<RequestBatch>,
    replies: Vec<ReplyBatch>,
    controls: Vec<(CoreId, Request)>,
    /// Emptied batches of other cores: what this core sends next is written into them. Buffers that one thread allocates and another
    /// frees cost the allocator fresh pages all the time.
    spare_requests: Vec<RequestBatch>,
    spare_replies: Vec<ReplyBatch>,
    /// Reads to warm.
    pub warms: VecDeque<Warm>,
}

impl Outbox {
    /// An empty outbox of `core` in a node of `core_count`.
    pub fn new(core: CoreId, core_count: usize) -> Outbox {
        Outbox {
            core,
            requests: (0..core_count).map(|_| RequestBatch::default()).collect(),
            replies: (0..core_count).map(|_| ReplyBatch::default()).collect(),
            controls: Vec::new(),
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
        let end = u32::try_from(batch.bytes.len()).expect("a core stops decoding long before 4 GiB wait");
        batch.heads.push(RequestHead { ticket: origin.ticket, client: origin.client, shard, mode, end });
    }

    /// Adds an operation on another core itself.
    pub fn control(&mut self, to: CoreId, request: Request) {
        self.controls.push((to, request));
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

    /// Whether so much waits for some core that no more should be added.
    pub fn is_backlogged(&self) -> bool {
        self.requests.iter().any(|batch| {
            batch.bytes.len() >= limits::OUTBOX_BYTES_MAX || batch.heads.len() >= limits::OUTBOX_REQUESTS_MAX
        })
    }

    /// Whether a reply for `core` may be added. Those for this core itself go out each turn.
    pub fn has_room_for_replies(&self, core: CoreId) -> bool {
        self.replies[core.index()].bytes.len() < limits::OUTBOX_REPLY_BYTES_MAX
    }

    /// Whether something waits to be handed over.
    pub fn is_empty(&self) -> bool {
        self.requests.iter().all(|batch| batch.heads.is_empty())
            && self.replies.iter().all(|batch| batch.heads.is_empty())
            && self.controls.is_empty()
            && self.warms.is_empty()
    }

    /// Hands over what fits into the mailboxes and rings the bells; returns how many batches went.
    pub fn flush(&mut self, mailboxes: &Mailboxes) -> usize {
        let mut sent = 0;
        for (to, request) in std::mem::take(&mut self.controls) {
            match mailboxes.send_request(self.core, to, request) {
                Ok(()) => {
                    sent += 1;
                    mailboxes.bell(to).ring();
                }
                Err(request) => self.controls.push((to, request)),
            }
        }
        for index in 0..self.requests.len() {
            let to = CoreId(index as u16);
            let mut ring = false;
            if !self.requests[index].heads.is_empty() {
                let empty = self.spare_requests.pop().unwrap_or_default();
                let batch = std::mem::replace(&mut self.requests[index], empty);
                match mailboxes.send_request(self.core, to, Request::Batch(batch)) {
                    Ok(()) => ring = true,
                    Err(Request::Batch(batch)) => self.requests[index] = batch,
                    Err(_) => unreachable!("the mailbox gives back what it was given"),
                }
            }
            if to != self.core && !self.replies[index].heads.is_empty() {
                let empty = self.spare_replies.pop().unwrap_or_default();
                let batch = std::mem::replace(&mut self.replies[index], empty);
                match mailboxes.send_replies(self.core, to, batch) {
                    Ok(()) => ring = true,
                    Err(batch) => self.replies[index] = batch,
                }
            }
            if ring {
                sent += 1;
                mailboxes.bell(to).ring();
            }
        }
        sent
    }

    /// Adds a reply for a request of `core`.
    pub fn reply_to(&mut self, core: CoreId, ticket: Ticket, reply: &[u8]) {
        let batch = &mut self.replies[core.index()];
        let reply = if reply.len() <= limits::REPLY_BYTES_MAX { reply } else { REPLY_TOO_LARGE };
        batch.bytes.extend_from_slice(reply);
        let end = u32::try_from(batch.bytes.len()).expect("a batch takes one reply more than a megabyte of them");
        batch.heads.push((ticket, end));
    }
}

/// Whether a batch's buffers are small enough to be kept.
fn fits<T>(bytes: &Vec<u8>, heads: &Vec<T>) -> bool {
    bytes.capacity() + heads.capacity() * size_of::<T>() <= limits::SPARE_BATCH_BYTES_MAX
}

impl ShardHost for Outbox {
    fn reply(&mut self, origin: Origin, reply: &[u8]) {
        self.reply_to(origin.core, origin.ticket, reply);
    }

    fn warm(&mut self, shard: ShardId, client: (CoreId, u32), read: ColdRead, keeps: bool) {
        self.warms.push_back(Warm { shard, client, read, keeps });
    }
}
