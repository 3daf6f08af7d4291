//! The budget of a script: the work that it may do, the memory that it may have, and what else belongs to one run.

use crate::limits::{
    BLOCK_WORK, BYTES_PER_WORK, SCRIPT_BYTES_MAX, SCRIPT_BYTES_TIMES_MAX, STEPS_PER_WORK, in_proportion,
};

/// The reason that a script is stopped. It cannot catch this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The host has told to.
    Host,
    /// It has done more work than it may.
    Work,
    /// It has made objects of more bytes than it may.
    Memory,
    /// The engine, or the host, has panicked.
    Panic,
}

/// The allowance of one run, and what it has done.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// Work that the script may still do. It is zero once the script is stopped, whatever the reason is.
    pub(crate) work_left: u64,
    /// Bytes of the objects that it has made.
    pub(crate) bytes: usize,
    /// Those that it may make: they follow from its work, which is the same on every replica.
    pub(crate) bytes_max: usize,
    /// Set once, and then nothing is made any more and every instruction ends the script.
    pub(crate) stop: Option<Stop>,
    /// The state of `math.random`, 48 bits.
    pub(crate) random: u64,
    /// True if commands reply in RESP3.
    pub(crate) is_resp3: bool,
    /// Counts objects whose text was asked for.
    pub(crate) shown_objects: u64,
}

impl Budget {
    /// A budget of so much work; `seed` begins the random numbers.
    pub(crate) fn new(work: u64, seed: u64) -> Budget {
        Budget {
            work_left: work,
            bytes: 0,
            bytes_max: in_proportion(SCRIPT_BYTES_MAX, work, SCRIPT_BYTES_TIMES_MAX),
            stop: None,
            random: seed & crate::math::STATE_BITS,
            is_resp3: false,
            shown_objects: 0,
        }
    }

    /// Ends the script for this reason, if it was not ended before.
    pub(crate) fn stop(&mut self, reason: Stop) {
        self.stop.get_or_insert(reason);
        self.work_left = 0;
    }

    /// Takes `work` off the budget. False if there is not as much left, and the script is to stop.
    #[inline]
    pub(crate) fn pay(&mut self, work: usize) -> bool {
        match self.work_left.checked_sub(work as u64) {
            Some(left) => self.work_left = left,
            None => self.stop(Stop::Work),
        }
        self.stop.is_none()
    }

    /// Takes a new block of so many bytes off the budget, before it is made. False if the script is to stop, and the block must not
    /// be made.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        if !self.pay(BLOCK_WORK + bytes / BYTES_PER_WORK) {
            return false;
        }
        if self.bytes.saturating_add(bytes) > self.bytes_max {
            self.stop(Stop::Memory);
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Takes steps of a walk off the budget, behind it: walks are as long as what was paid for.
    #[inline]
    pub(crate) fn owe(&mut self, steps: usize) {
        if steps >= STEPS_PER_WORK {
            self.pay(steps / STEPS_PER_WORK);
        }
    }
}
