//! The election timer of a member that follows.
//!
//! openraft looks at it some twenty times a second in each group. As long as a leader is heard of it cannot run out, so those looks
//! are let be until the leader has been quiet for a while: a machine of idle groups sleeps meanwhile.

use std::rc::{Rc, Weak};
use std::time::Duration;

use openraft::AsyncRuntime;

use super::Inner;
use super::heartbeats::until_next;
use crate::disk::Disk;
use crate::limits::{QUIET_HEARTBEAT_QUARTERS, QUIET_LOOK_HEARTBEATS};
use crate::runtime::GlommioRuntime;
use crate::source::{self, Instant, Timer};

impl<D: Disk> Inner<D> {
    /// Notes that the group's leader was heard of, which put the election off, at `came`.
    pub(super) fn hear_leader(&self, came: Instant) {
        self.heard_leader.set(Some(came));
    }

    /// Has openraft look at its election timer unless this node leads, or has just heard of the leader.
    pub(super) fn set_ticks(&self) {
        self.raft.runtime_config().tick(!self.is_leader.get() && self.is_quiet());
    }

    /// Returns whether the leader has not been heard of for longer than between two of its heartbeats.
    fn is_quiet(&self) -> bool {
        let quiet = Duration::from_millis(self.options.heartbeat_ms * QUIET_HEARTBEAT_QUARTERS / 4);
        self.heard_leader.get().is_none_or(|came| came.elapsed() > quiet)
    }

    /// Begins to look whether the leader is quiet, if this node follows and nobody looks already.
    pub(super) fn begin_quiet_looks(self: &Rc<Self>) {
        if self.is_leader.get() || self.is_stopping.get() || self.looks_for_quiet.replace(true) {
            return;
        }
        let group: Weak<Inner<D>> = Rc::downgrade(self);
        let interval = Duration::from_millis(self.options.heartbeat_ms * QUIET_LOOK_HEARTBEATS);
        drop(GlommioRuntime::spawn(async move {
            loop {
                Timer::new(until_next(source::since_beginning(), interval)).await;
                let Some(group) = group.upgrade() else { return };
                if group.is_leader.get() || group.is_stopping.get() {
                    group.looks_for_quiet.set(false);
                    return;
                }
                group.set_ticks();
            }
        }));
    }
}
