//! A fixed set of named threads with one bounded queue, which end when they are told to.
//!
//! A newcomer would start a thread for each connection as it comes: a thread runs where the one that starts it does, and cores are
//! pinned. So they are all started beforehand.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::halt::Halt;

/// Work that can be asked to end.
pub(super) trait Halting: Send + 'static {
    /// The wish that it looks at.
    fn halt(&self) -> &Arc<Halt>;
}

/// The threads and their queue.
#[derive(Debug)]
pub(super) struct Pool<T> {
    shared: Arc<Shared<T>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    changed: Condvar,
    /// Work that waits or is done, at most.
    work_max: usize,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    under_way: Vec<Arc<Halt>>,
    is_stopped: bool,
}

impl<T: Halting> Pool<T> {
    /// Starts `thread_count` threads called `name` that do `work`; `work_max` pieces of it may wait or be under way.
    ///
    /// # Errors
    /// What the operating system says when it cannot start a thread; those that were started have ended then.
    pub(super) fn start(
        name: &str,
        thread_count: usize,
        work_max: usize,
        work: impl Fn(T) + Send + Sync + 'static,
    ) -> io::Result<Pool<T>> {
        let queue = Queue { waiting: VecDeque::new(), under_way: Vec::new(), is_stopped: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new(), work_max });
        let pool = Pool { shared: shared.clone(), threads: Mutex::default() };
        let work = Arc::new(work);
        for _ in 0..thread_count {
            let (shared, work) = (shared.clone(), work.clone());
            let thread = std::thread::Builder::new().name(name.into()).spawn(move || shared.serve(&*work))?;
            pool.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(pool)
    }

    /// Queues a piece of work; gives it back if there is too much already, or the threads end.
    pub(super) fn submit(&self, work: T) -> Result<(), T> {
        let mut queue = self.shared.queue();
        if queue.is_stopped || queue.waiting.len() + queue.under_way.len() >= self.shared.work_max {
            return Err(work);
        }
        queue.waiting.push_back(work);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl<T> Pool<T> {
    /// Drops what waits, asks what is under way to end, and waits until it has.
    pub(super) fn stop(&self) {
        let mut queue = self.shared.queue();
        queue.is_stopped = true;
        let dropped = std::mem::take(&mut queue.waiting);
        queue.under_way.iter().for_each(|halt| halt.halt());
        self.shared.changed.notify_all();
        drop(queue);
        drop(dropped);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // It ends with an error only if it panicked, which has been said.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<T> Shared<T> {
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Halting> Shared<T> {
    fn serve(&self, work: &dyn Fn(T)) {
        while let Some(next) = self.next() {
            let halt = next.halt().clone();
            if catch_unwind(AssertUnwindSafe(|| work(next))).is_err() {
                tracing::error!("carrying a snapshot panicked: it is given up");
            }
            self.queue().under_way.retain(|under_way| !Arc::ptr_eq(under_way, &halt));
        }
    }

    fn next(&self) -> Option<T> {
        let mut queue = self.queue();
        loop {
            if queue.is_stopped {
                return None;
            }
            if let Some(next) = queue.waiting.pop_front() {
                queue.under_way.push(next.halt().clone());
                return Some(next);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    struct Work(Arc<Halt>, Sender<bool>);

    impl Halting for Work {
        fn halt(&self) -> &Arc<Halt> {
            &self.0
        }
    }

    #[test]
    fn more_than_the_bound_is_given_back_and_a_stop_ends_all() {
        let pool = Pool::start("test", 1, 2, |Work(halt, ended)| {
            if halt.is_halted() {
                panic!("as it is told to");
            }
            ended.send(halt.wait(Duration::from_secs(60))).unwrap();
        });
        let pool = pool.unwrap();
        let (ended, is_ended) = channel();
        let work = || Work(Arc::default(), ended.clone());
        // A panic ends the work, and not the thread.
        let panics = work();
        panics.0.halt();
        pool.submit(panics).map_err(drop).unwrap();
        let first = work();
        let halt = first.0.clone();
        while pool.submit(Work(first.0.clone(), first.1.clone())).is_err() {
            std::thread::yield_now();
        }
        while !pool.shared.queue().under_way.iter().any(|under_way| Arc::ptr_eq(under_way, &halt)) {
            std::thread::yield_now();
        }
        pool.submit(work()).map_err(drop).unwrap();
        assert!(pool.submit(work()).is_err(), "one is under way and one waits");
        pool.stop();
        assert!(is_ended.try_recv().unwrap(), "what was under way is asked to end");
        assert!(is_ended.try_recv().is_err(), "what waited is dropped");
        assert!(pool.submit(work()).is_err());
    }
}
