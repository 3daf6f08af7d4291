//! Faults of one member's disk, and the time that its work takes.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::executor::{self, Executor};
use crate::completions::{Background, Job};

/// The shortest and the longest time of something.
pub(crate) type Span = (Duration, Duration);

const fn span_us(from: u64, to: u64) -> Span {
    (Duration::from_micros(from), Duration::from_micros(to))
}

/// One sync of a disk as they are, and of one that is stuck.
const SYNC: Span = span_us(80, 5_000);
const SLOW_SYNC: Span = span_us(50_000, 1_500_000);
/// A job that writes much, and one that reads a row.
const JOB: Span = span_us(1_000, 60_000);
const SLOW_JOB: Span = span_us(200_000, 3_000_000);
const READ: Span = span_us(50, 3_000);

/// The state of a disk.
pub(crate) struct DiskFaults {
    executor: Rc<Executor>,
    /// Jobs on other threads ask too.
    is_full: Arc<AtomicBool>,
    is_slow: Cell<bool>,
    stalls_per_mille: u64,
}

fn executor_now() -> Rc<Executor> {
    executor::current().expect("a simulated disk is used in a simulation")
}

impl DiskFaults {
    pub(crate) fn new(stalls_per_mille: u64) -> Rc<DiskFaults> {
        Rc::new(DiskFaults {
            executor: executor_now(),
            is_full: Arc::default(),
            is_slow: Cell::new(false),
            stalls_per_mille,
        })
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    pub(crate) fn set_slow(&self, is_slow: bool) {
        self.is_slow.set(is_slow);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Tells jobs whether the disk is full when they run.
    pub(crate) fn full_flag(&self) -> Arc<AtomicBool> {
        self.is_full.clone()
    }

    /// Draws whether the log is stalled.
    pub(crate) fn stalls(&self) -> bool {
        self.executor.happens(self.stalls_per_mille)
    }

    /// Waits as long as a sync takes.
    pub(crate) async fn sync_time(&self) {
        self.wait(if self.is_slow.get() { SLOW_SYNC } else { SYNC }).await;
    }

    async fn wait(&self, (from, to): Span) {
        self.executor.alarm(self.executor.between(from, to)).await;
    }
}

/// The other threads of a member: each job runs at once, but later.
pub(crate) struct Workers {
    faults: Rc<DiskFaults>,
    /// Unset once the member has crashed.
    is_alive: Rc<Cell<bool>>,
    reads: bool,
}

impl Workers {
    /// Threads that write much.
    pub(crate) fn writers(faults: &Rc<DiskFaults>, is_alive: &Rc<Cell<bool>>) -> Rc<dyn Background> {
        Rc::new(Workers { faults: faults.clone(), is_alive: is_alive.clone(), reads: false })
    }

    /// Threads that read rows and records.
    pub(crate) fn readers(faults: &Rc<DiskFaults>, is_alive: &Rc<Cell<bool>>) -> Rc<dyn Background> {
        Rc::new(Workers { faults: faults.clone(), is_alive: is_alive.clone(), reads: true })
    }
}

impl Background for Workers {
    fn run(&self, job: Job) {
        if !self.is_alive.get() {
            return;
        }
        let (faults, reads) = (self.faults.clone(), self.reads);
        self.faults.executor.spawn(async move {
            let span = match (reads, faults.is_slow.get()) {
                (true, _) => READ,
                (false, false) => JOB,
                (false, true) => SLOW_JOB,
            };
            faults.wait(span).await;
            job();
        });
    }
}
