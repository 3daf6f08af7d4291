//! MEMORY PURGE: the memory that the C library gives back.
//!
//! What a newcomer would get wrong: a thread that a core starts shares the core's processor, so this is work for one that was
//! started before the cores were.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use basalt_net::heap;

use super::core::Core;
use crate::limits;

/// The purge that was begun last, of the process: there is one heap.
#[derive(Debug)]
struct Purge {
    began: Option<Instant>,
    is_under_way: bool,
}

static LAST: Mutex<Purge> = Mutex::new(Purge { began: None, is_under_way: false });

fn last() -> MutexGuard<'static, Purge> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Purge {
    /// Begins another one at `now`, if it is not too early for that.
    fn begin(&mut self, now: Instant) -> bool {
        let is_early =
            self.began.is_some_and(|began| now.saturating_duration_since(began) < limits::MEMORY_PURGE_PAUSE);
        if self.is_under_way || is_early {
            return false;
        }
        *self = Purge { began: Some(now), is_under_way: true };
        true
    }
}

impl Core {
    /// Has another thread give memory back, unless one does, or has begun to a moment ago.
    pub(super) fn order_purge(&self) {
        if !last().begin(self.clock.now) {
            return;
        }
        let purge = || {
            heap::give_back();
            last().is_under_way = false;
        };
        if self.cold_reads.readers.submit(Box::new(purge)).is_err() {
            *last() = Purge { began: None, is_under_way: false };
            tracing::warn!("no memory is given back: other work of the disk is under way");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_purge_is_under_way_at_a_time_and_the_next_one_begins_later() {
        let (mut purge, now) = (Purge { began: None, is_under_way: false }, Instant::now());
        assert!(purge.begin(now));
        assert!(!purge.begin(now + 2 * limits::MEMORY_PURGE_PAUSE), "it is under way");
        purge.is_under_way = false;
        assert!(!purge.begin(now + limits::MEMORY_PURGE_PAUSE / 2), "it is early");
        assert!(purge.begin(now + limits::MEMORY_PURGE_PAUSE));
    }
}
