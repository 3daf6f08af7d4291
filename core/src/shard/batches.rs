//! The batches of a shard: the one being collected, those on their way through the log, and those that are being answered.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use basalt_raft::{ProposeError, Replies};

use super::cold::Waiting;
use super::open_batch::{Hold, InFlight, OpenBatch};
use super::overdue::Presence;
use super::own_entries::OwnEntries;
use super::pace::{GroupCommit, Pressure};
use super::replies::BatchReplies;

/// Outcomes of batches, as the group gave them, until the core takes them.
pub(super) type Outcomes = Rc<RefCell<VecDeque<(u64, Result<Replies, ProposeError>)>>>;

/// Batches from the first write to the last reply.
pub(super) struct Batches {
    pub(super) open: OpenBatch,
    /// Steps that wait for an entry beside it.
    pub(super) own_entries: OwnEntries,
    pub(super) in_flight: InFlight,
    /// The number of the batch being collected: every other one, since a batch may yet go in front of it.
    pub(super) next_number: u64,
    /// Reads that joined the newest batch in flight after it was proposed.
    pub(super) reads_behind: Waiting,
    pub(super) outcomes: Outcomes,
    /// Replies of batches on their way.
    pub(super) replies: BatchReplies,
    /// Since when the open batch has been refused for a reason that passes (write stall, full memtable).
    pub(super) hold: Option<Hold>,
    /// Tells how much of a batch's age its core was there to see.
    pub(super) presence: Presence,
    /// Lets the open batch wait for more writes.
    pub(super) group_commit: GroupCommit,
    /// Lets the open batch wait while the disk does not keep up.
    pub(super) pressure: Pressure,
}

impl Batches {
    pub(super) fn new(
        in_flight: InFlight,
        outcomes: Outcomes,
        memtable_bytes: usize,
        reply_bytes_max: usize,
    ) -> Batches {
        let now = Instant::now();
        Batches {
            open: OpenBatch::begun(),
            own_entries: OwnEntries::default(),
            in_flight,
            next_number: 0,
            reads_behind: Waiting::default(),
            outcomes,
            replies: BatchReplies::new(reply_bytes_max),
            hold: None,
            presence: Presence::new(now),
            group_commit: GroupCommit::new(now),
            pressure: Pressure::new(memtable_bytes, now),
        }
    }
}
