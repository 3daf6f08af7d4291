//! The threads that make a core's logs durable, started and stopped.
//!
//! What a newcomer would get wrong: there is one pair of threads a core, not a log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::Durability;
use super::sync_gate::SyncGate;
use super::sync_queue::SyncQueue;
use crate::{Error, Result};

/// Callback of a sync that is over. Runs on the syncer's thread (see the module for the exception); must be quick and not panic.
pub type SyncDone = Box<dyn FnOnce(Result<(), SyncError>) + Send>;

/// A sync that failed. Final: what it covered may be lost, and no later sync can prove otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[error("syncing the log in {path} failed: {message}", path = path.display())]
pub struct SyncError {
    path: Arc<Path>,
    message: Arc<str>,
}

impl SyncError {
    pub(super) fn new(path: &Path, message: impl std::fmt::Display) -> Self {
        Self { path: path.into(), message: message.to_string().into() }
    }
}

/// The sync and tidy threads of one core, shared by its logs.
///
/// Dropping it completes the syncs asked for so far and stops the threads; logs that are still open get errors from then on.
#[derive(Debug)]
pub struct LogSyncer {
    queue: Arc<SyncQueue>,
    threads: Vec<JoinHandle<()>>,
}

impl LogSyncer {
    /// Starts the threads of core `core`; they inherit the caller's CPU affinity.
    ///
    /// # Errors
    /// [`Error::Io`] if a thread cannot be started.
    pub fn start(core: usize, durability: Durability) -> Result<LogSyncer> {
        Self::start_with(core, durability, || ())
    }

    /// As [`LogSyncer::start`]; the thread that syncs runs `prepare` first, to tell the system how it is to be scheduled.
    ///
    /// # Errors
    /// As [`LogSyncer::start`].
    pub fn start_with(
        core: usize,
        durability: Durability,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Result<LogSyncer> {
        let queue = Arc::new(SyncQueue::new(durability));
        let mut syncer = LogSyncer { queue: Arc::clone(&queue), threads: Vec::new() };
        let sync_queue = Arc::clone(&queue);
        syncer.spawn(format!("log-sync-{core}"), move || sync_queue.run(prepare))?;
        syncer.spawn(format!("log-tidy-{core}"), move || queue.run_tidy())?;
        Ok(syncer)
    }

    /// The moment at which acknowledged appends are on disk.
    pub fn durability(&self) -> Durability {
        self.queue.durability()
    }

    /// Returns what has the syncs of a turn begin together.
    pub fn gate(&self) -> SyncGate {
        SyncGate::new(self.queue())
    }

    pub(super) fn queue(&self) -> Arc<SyncQueue> {
        Arc::clone(&self.queue)
    }

    fn spawn(&mut self, name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let started = thread::Builder::new().name(name.clone()).spawn(body);
        self.threads.push(started.map_err(|source| Error::Io { path: PathBuf::from(name), source })?);
        Ok(())
    }
}

impl Drop for LogSyncer {
    fn drop(&mut self) {
        self.queue.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a log thread panicked");
            }
        }
    }
}
