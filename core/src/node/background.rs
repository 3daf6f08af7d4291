//! Threads for what would block a core: reads from disk, generation writes, snapshots.
//!
//! They are started before the cores pin themselves, so the kernel may run them wherever there is room.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Work for another thread.
pub type Job = Box<dyn FnOnce() + Send>;

/// A fixed set of threads with one bounded queue.
#[derive(Clone)]
pub struct Background {
    jobs: SyncSender<Job>,
    under_way: Arc<UnderWay>,
}

/// The jobs that are queued or run.
#[derive(Default)]
struct UnderWay {
    count: Mutex<usize>,
    is_less: Condvar,
}

impl UnderWay {
    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that is counted as under way for as long as this lives.
struct Counted(Arc<UnderWay>);

impl Counted {
    fn new(under_way: Arc<UnderWay>) -> Counted {
        *under_way.count() += 1;
        Counted(under_way)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.is_less.notify_all();
    }
}

impl Background {
    /// Starts `thread_count` threads called `name` behind a queue of `queue_max` jobs. They end when every handle is gone.
    ///
    /// # Errors
    /// What the operating system says when it cannot start a thread.
    pub fn start(name: &str, thread_count: usize, queue_max: usize) -> std::io::Result<Background> {
        let (jobs, queue) = sync_channel::<Job>(queue_max);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..thread_count {
            let queue = queue.clone();
            std::thread::Builder::new().name(name.into()).spawn(move || work(&queue))?;
        }
        Ok(Background { jobs, under_way: Arc::default() })
    }

    /// Queues a job; gives it back if the queue is full or the threads are gone.
    ///
    /// # Errors
    /// The job, to be tried again later.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let counted = Counted::new(self.under_way.clone());
        let job: Job = Box::new(move || {
            // Goes with the job: when that is done, also where it panics, or when nobody does it any more.
            let _counted = counted;
            job();
        });
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
    }

    /// Waits until all jobs are done. For the end of the process, which nothing may outlive: a database that is being closed
    /// crashes with it.
    pub fn finish(&self) {
        let mut count = self.under_way.count();
        while *count > 0 {
            count = self.under_way.is_less.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl basalt_raft::Background for Background {
    fn run(&self, job: Job) {
        let refused = self.submit(job).is_err();
        assert!(!refused, "the queue has room for all jobs of all shards");
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: one thread waits for a job, the others for their turn to wait.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_full_queue_gives_the_job_back() {
        let background = Background::start("test", 1, 1).unwrap();
        let (started, wait_started) = channel();
        let (go, wait_go) = channel::<()>();
        background
            .submit(Box::new(move || {
                started.send(()).unwrap();
                wait_go.recv().unwrap();
            }))
            .map_err(drop)
            .unwrap();
        wait_started.recv().unwrap();
        let (done, wait_done) = channel();
        background.submit(Box::new(move || done.send(()).unwrap())).map_err(drop).unwrap();
        assert!(background.submit(Box::new(|| ())).is_err(), "one runs, one waits, the third is refused");
        go.send(()).unwrap();
        background.finish();
        wait_done.try_recv().expect("all that was queued is done");
    }
}
