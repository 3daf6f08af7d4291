//! The place of a core's sync thread: beside the core while syncs are small, anywhere while they are large.
//!
//! A sync of a few kilobytes is little more than falling asleep and waking up three times. If the thread does that on a
//! processor of its own, each wake-up costs an interrupt between processors, taken from the client or the core that runs
//! there; on the core's own processor it costs a switch, at a time when the core has little to do but wait for it. A sync of
//! much data keeps a processor busy with copying, which is better done where the core is not.

use basalt_storage::log::{Gathering, SyncGate};
use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

use crate::limits;

/// Moves one core's sync thread. Without a thread to move, or if the system forbids it, it does nothing.
#[derive(Debug)]
pub struct SyncPlacement {
    thread: Option<Pid>,
    /// Processors on which the thread may run when it is left alone.
    anywhere: CpuSet,
    /// The processor it was told to stay on.
    beside: Option<usize>,
    gate: Option<SyncGate>,
    /// Groups that are about to append what this turn has proposed.
    group_count: usize,
}

impl SyncPlacement {
    /// Places the thread `thread` of this process, which may run where it may run now.
    pub fn of(thread: Option<Pid>) -> SyncPlacement {
        let anywhere = thread.and_then(|thread| sched_getaffinity(thread).ok());
        SyncPlacement {
            thread: thread.filter(|_| anywhere.is_some()),
            anywhere: anywhere.unwrap_or_default(),
            beside: None,
            gate: None,
            group_count: 0,
        }
    }

    /// The same, for a thread whose syncs pass `gate`.
    pub fn behind(self, gate: SyncGate) -> SyncPlacement {
        SyncPlacement { gate: Some(gate), ..self }
    }

    /// Has the syncs of the groups that the turn has proposed for begin together; to be held while the groups append.
    pub fn gather(&mut self) -> Option<Gathering> {
        // One group needs not wait for itself.
        let count = std::mem::take(&mut self.group_count);
        self.gate.as_ref().filter(|_| count > 1).map(|gate| gate.gather(count))
    }

    /// Notes for how many groups the turn has proposed.
    pub fn expect(&mut self, group_count: usize) {
        self.group_count = group_count;
    }

    /// Places the thread for the sync of `bytes` that the calling core is about to ask for. A system call only if something has
    /// changed.
    pub fn place(&mut self, bytes: usize) {
        let Some(thread) = self.thread else { return };
        let is_small = bytes <= limits::SMALL_SYNC_BYTES;
        let here = if is_small { sched_getcpu().ok() } else { None };
        // A processor that the core may use and the thread may not stays forbidden.
        let beside = here.filter(|cpu| self.anywhere.is_set(*cpu) == Ok(true));
        if beside == self.beside {
            return;
        }
        let mut only = CpuSet::new();
        let set = match beside {
            Some(cpu) if only.set(cpu).is_ok() => &only,
            _ => &self.anywhere,
        };
        self.beside = beside;
        if let Err(error) = sched_setaffinity(thread, set) {
            tracing::debug!(%error, "the kernel lets no thread be placed: syncs may cost more");
            self.thread = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_storage::log::{Durability, LogSyncer};
    use std::path::Path;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    /// The processors that a thread may run on.
    fn processors(thread: Pid) -> Vec<usize> {
        let set = sched_getaffinity(thread).unwrap();
        (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect()
    }

    #[test]
    fn a_thread_stays_beside_the_core_while_syncs_are_small() {
        let (tell, told) = channel();
        let (stop, stopped) = channel::<()>();
        let syncer = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            let _ = stopped.recv();
        });
        let thread = told.recv().unwrap();
        let anywhere = processors(thread);
        // The core stays where it is for the test.
        let mut here = CpuSet::new();
        here.set(anywhere[0]).unwrap();
        sched_setaffinity(Pid::from_raw(0), &here).unwrap();
        let mut placement = SyncPlacement::of(Some(thread));

        placement.place(100);
        assert_eq!(processors(thread), [anywhere[0]]);
        placement.place(limits::SMALL_SYNC_BYTES + 1);
        assert_eq!(processors(thread), anywhere);
        placement.place(limits::SMALL_SYNC_BYTES);
        assert_eq!(processors(thread), [anywhere[0]]);

        drop(stop);
        syncer.join().unwrap();
        // The kernel knows it for a moment more.
        let (task, deadline) = (format!("/proc/self/task/{thread}"), Instant::now() + Duration::from_secs(30));
        while Path::new(&task).exists() {
            assert!(Instant::now() < deadline, "{task} stays");
            std::thread::yield_now();
        }
        // Nothing to move any more, and nothing that fails.
        placement.place(limits::SMALL_SYNC_BYTES + 1);
        assert_eq!(placement.thread, None);
    }

    #[test]
    fn without_a_thread_nothing_is_placed() {
        let mut placement = SyncPlacement::of(None);
        placement.place(1);
        assert_eq!(placement.beside, None);
    }

    #[test]
    fn groups_are_waited_for_in_the_turn_that_they_were_placed_for() {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let mut placement = SyncPlacement::of(None).behind(syncer.gate());
        assert!(placement.gather().is_none(), "nothing was proposed");
        placement.expect(1);
        assert!(placement.gather().is_none(), "one group waits for none");
        placement.expect(3);
        assert!(placement.gather().is_some());
        assert!(placement.gather().is_none(), "the turn is over");
    }
}
