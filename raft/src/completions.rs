//! Reports of other threads to a core: finished syncs and finished jobs.
//!
//! A thread leaves its result here and calls the core's waker; the core takes it with
//! [`Group::drain_completions`](crate::Group::drain_completions). No task is woken from another thread: a foreign wake
//! through glommio costs two system calls and a busy core may see it late.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use basalt_storage::log::SyncError;

/// Something that blocks, to be run on another thread.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs on other threads. The core provides it.
pub trait Background {
    /// Runs `job` on another thread, at some time; jobs of one group may run at once and in any order.
    fn run(&self, job: Job);
}

/// Tells a core, from any thread, that it should call [`Group::drain_completions`](crate::Group::drain_completions).
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The number of a log's syncs that have finished.
pub(crate) struct Syncs {
    finished: AtomicU64,
    failure: OnceLock<String>,
    wake: Wake,
}

impl Syncs {
    pub(crate) fn new(wake: Wake) -> Arc<Syncs> {
        Arc::new(Syncs { finished: AtomicU64::new(0), failure: OnceLock::new(), wake })
    }

    /// Called by the syncer's thread: the sync with `number` is over, and so are those before it.
    pub(crate) fn finish(&self, number: u64, result: Result<(), SyncError>) {
        match result {
            Ok(()) => {
                self.finished.fetch_max(number, Ordering::Release);
            }
            Err(error) => {
                // The first failure is the cause; later ones only repeat it.
                let _ = self.failure.set(error.to_string());
            }
        }
        (self.wake)();
    }

    /// The number of the newest successful sync. All before it succeeded too.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }

    /// The reason that a sync failed, if one did. Final.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }
}

/// The place of one job's result.
pub(crate) struct Pending<T>(Arc<Mutex<Option<std::thread::Result<T>>>>);

impl<T: Send + 'static> Pending<T> {
    /// Runs `work` on another thread.
    pub(crate) fn run(
        background: &dyn Background,
        wake: &Wake,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Pending<T> {
        let place = Arc::new(Mutex::new(None));
        let (result, wake) = (place.clone(), wake.clone());
        background.run(Box::new(move || {
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(work));
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            wake();
        }));
        Pending(place)
    }

    /// The result, once it is there. A panic of the job is an error.
    pub(crate) fn take(&self) -> Option<Result<T, String>> {
        let outcome = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(outcome.map_err(|panic| match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => {
                panic.downcast_ref::<&str>().map_or_else(|| "no message".to_owned(), |text| (*text).to_owned())
            }
        }))
    }
}
