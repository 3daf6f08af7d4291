//! Threads that send keys to other servers, which the calls of MIGRATE of all cores share.
//!
//! What a newcomer would get wrong: whoever wants one reserves it before anything else, so that no key is held while a call waits
//! for its turn.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::background::{Background, Job};
use crate::limits::migrations as limits;

/// The threads, how many of them nobody has, and how many calls wait for one, of all cores.
pub struct Senders {
    threads: OnceLock<Background>,
    free: AtomicUsize,
    waiting: AtomicUsize,
}

impl Default for Senders {
    fn default() -> Senders {
        let (free, waiting) = (AtomicUsize::new(limits::AT_ONCE), AtomicUsize::default());
        Senders { threads: OnceLock::new(), free, waiting }
    }
}

impl Senders {
    /// Starts the threads. To be called once, before any core pins itself.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn start(&self) -> std::io::Result<()> {
        let threads = Background::start("basalt-send", limits::AT_ONCE, limits::AT_ONCE)?;
        let was_started = self.threads.set(threads).is_err();
        assert!(!was_started, "they are started once");
        Ok(())
    }

    /// Reserves one, if one is free: to be [`released`](Self::release) once.
    pub fn reserve(&self) -> bool {
        self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1)).is_ok()
    }

    /// Gives one back that was reserved.
    pub fn release(&self) {
        let before = self.free.fetch_add(1, Ordering::AcqRel);
        assert!(before < limits::AT_ONCE, "nothing is given back that was not reserved");
    }

    /// Notes that a call waits for one.
    pub fn note_waiting(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a call waits for none any more.
    pub fn note_begun(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls that wait for one, of all cores.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Has a thread that was reserved do something.
    ///
    /// # Errors
    /// The job, if the threads are not there.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        match self.threads.get() {
            Some(threads) => threads.submit(job),
            None => Err(job),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_reserved_as_there_are() {
        let senders = Senders::default();
        assert!((0..limits::AT_ONCE).all(|_| senders.reserve()));
        assert!(!senders.reserve());
        senders.release();
        assert!(senders.reserve() && !senders.reserve());
        assert!(senders.submit(Box::new(|| ())).is_err(), "none was started");
    }
}
