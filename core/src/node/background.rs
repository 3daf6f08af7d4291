//! Threads for what would block a core: reads from disk, generation writes, snapshots.
//!
//! They are started before the cores pin themselves, so the kernel may run them wherever there is room.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Work for another thread.
pub type Job = Box<dyn FnOnce() + Send>;

/// A fixed set of threads with one bounded queue.
#[derive(Clone)]
pub struct Background {
    jobs: SyncSender<Job>,
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
        Ok(Background { jobs })
    }

    /// Queues a job; gives it back if the queue is full or the threads are gone.
    ///
    /// # Errors
    /// The job, to be tried again later.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
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
        wait_done.recv().unwrap();
    }
}
