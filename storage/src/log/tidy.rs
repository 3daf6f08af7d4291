//! Work on logs that no sync should wait for: purging, which rewrites RocksDB's manifest, and syncing durable marks.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

use super::limits::{PURGE_AGAIN, PURGE_AGAIN_MAX};
use super::shared_log::{SharedLog, lock};
use super::sync_queue::SyncQueue;
use super::syncer::SyncError;
use crate::failpoint::failpoint;

/// Work that no sync should wait for.
#[derive(Debug, Default)]
pub(super) struct Tidy {
    state: Mutex<Tidying>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Tidying {
    logs: Vec<Weak<SharedLog>>,
    woken: bool,
    stopping: bool,
}

impl Tidy {
    /// Makes `log` known to the thread.
    pub(super) fn register(&self, log: &Arc<SharedLog>) {
        let mut tidying = lock(&self.state);
        tidying.logs.retain(|log| log.strong_count() > 0);
        tidying.logs.push(Arc::downgrade(log));
    }

    /// Has the thread look for work.
    pub(super) fn wake(&self) {
        lock(&self.state).woken = true;
        self.arrived.notify_one();
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        lock(&self.state).stopping = true;
        self.arrived.notify_one();
    }

    /// The logs that are open.
    pub(super) fn logs(&self) -> Vec<Arc<SharedLog>> {
        lock(&self.state).logs.iter().filter_map(Weak::upgrade).collect()
    }

    /// Waits until woken, or for a while if something `comes_again`; `false` once stopped.
    fn wait(&self, comes_again: bool) -> bool {
        let mut state = lock(&self.state);
        let deadline = Instant::now() + PURGE_AGAIN;
        while !state.woken && !state.stopping {
            if !comes_again {
                state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let pause = deadline.saturating_duration_since(Instant::now());
            if pause.is_zero() {
                break;
            }
            state = self.arrived.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.woken = false;
        !state.stopping
    }
}

impl SyncQueue {
    /// Purges logs and syncs marks until stopped.
    pub(super) fn run_tidy(&self) {
        let mut comes_again = false;
        while self.tidy.wait(comes_again) {
            comes_again = false;
            for log in self.tidy.logs() {
                comes_again |= self.tidy_log(&log);
            }
        }
    }

    /// Does what is due for a log; whether there will be more to do without being asked for. What cannot be written to the state
    /// file ends the logs, as a failed sync of records does.
    fn tidy_log(&self, log: &SharedLog) -> bool {
        if log.purge_queued.swap(false, Ordering::AcqRel) {
            failpoint("purge begun");
            let noted = match log.write_promises() {
                Ok(noted) => noted,
                Err(error) => {
                    self.fail(SyncError::new(&log.directory, error));
                    return false;
                }
            };
            match log.drop_purged(&noted) {
                Ok(true) if log.purges_again.fetch_add(1, Ordering::Relaxed) < PURGE_AGAIN_MAX => {
                    log.purge_queued.store(true, Ordering::Release);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "purged records stay on disk until the next purge"),
            }
        }
        if log.mark_queued.swap(false, Ordering::AcqRel)
            && let Err(error) = log.sync_mark()
        {
            self.fail(SyncError::new(&log.directory, error));
        }
        log.purge_queued.load(Ordering::Acquire)
    }
}
