//! The request to stop: by SIGTERM or SIGINT from outside, by `SHUTDOWN` from a client.
//!
//! A request is made once and never taken back. A second signal ends the process at once.

use std::fmt;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::error::BootError;
use crate::limits::STOP_MAX;

/// Called once when a stop is requested.
type Listener = Box<dyn FnOnce() + Send>;

/// Asks the node to stop, and tells whether it was asked; clones share the answer.
#[derive(Clone, Default)]
pub struct StopRequest {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requested: AtomicBool,
    listeners: Mutex<Vec<Listener>>,
    changed: Condvar,
}

impl StopRequest {
    /// Asks the node to stop; again is harmless.
    pub fn request(&self) {
        let mut listeners = self.listeners();
        if self.shared.requested.swap(true, Ordering::AcqRel) {
            return;
        }
        let listeners_now = std::mem::take(&mut *listeners);
        self.shared.changed.notify_all();
        drop(listeners);
        for listener in listeners_now {
            listener();
        }
    }

    /// Returns whether a stop was requested; cheap enough for every turn of a core.
    pub fn is_requested(&self) -> bool {
        self.shared.requested.load(Ordering::Acquire)
    }

    /// Calls `listener` once a stop is requested, on the thread that requests it; at once if it was already. Wakes cores
    /// that sleep.
    pub fn on_request(&self, listener: impl FnOnce() + Send + 'static) {
        let mut listeners = self.listeners();
        if self.is_requested() {
            drop(listeners);
            listener();
        } else {
            listeners.push(Box::new(listener));
        }
    }

    /// Blocks until a stop is requested.
    pub fn wait(&self) {
        let mut listeners = self.listeners();
        while !self.is_requested() {
            listeners = self.shared.changed.wait(listeners).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StopRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StopRequest").field("requested", &self.is_requested()).finish_non_exhaustive()
    }
}

/// Turns the process' signals into requests of `stop`, and bounds the time that a stop may take by `STOP_MAX`.
///
/// Must be called before any other thread exists: threads inherit the mask that keeps signals for the watching thread.
///
/// # Errors
/// [`BootError::System`] when the mask cannot be set or a thread not started.
pub fn watch_signals(stop: &StopRequest) -> Result<(), BootError> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals
        .thread_block()
        .map_err(|errno| BootError::System { doing: "block the signals of this process", source: errno.into() })?;
    let watched = stop.clone();
    start_thread("signals", move || watch(&signals, &watched))?;
    let bounded = stop.clone();
    start_thread("stop-deadline", move || {
        bounded.wait();
        thread::sleep(STOP_MAX);
        eprintln!(
            "basalt: the stop took longer than {STOP_MAX:?}: ending at once, the log is replayed at the next start"
        );
        process::exit(1);
    })
}

fn watch(signals: &SigSet, stop: &StopRequest) {
    loop {
        match signals.wait() {
            // The terminal went away; a server lives on.
            Ok(Signal::SIGHUP) => tracing::info!("ignoring SIGHUP"),
            Ok(signal) if stop.is_requested() => {
                eprintln!("basalt: {signal} while stopping: ending at once, the log is replayed at the next start");
                process::exit(1);
            }
            Ok(signal) => {
                tracing::info!(signal = signal.as_str(), "stopping; a second signal ends the process at once");
                stop.request();
            }
            // Only an invalid set fails, and this one was just used to block.
            Err(errno) => {
                tracing::error!(%errno, "waiting for signals failed");
                return;
            }
        }
    }
}

fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), BootError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    started.map(drop).map_err(|source| BootError::System { doing: "start a thread", source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn listeners_are_called_once_also_those_that_come_late() {
        let stop = StopRequest::default();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = |calls: &Arc<AtomicUsize>| {
            let calls = Arc::clone(calls);
            move || {
                calls.fetch_add(1, Ordering::Relaxed);
            }
        };
        stop.on_request(count(&calls));
        assert!(!stop.is_requested());

        stop.request();
        stop.request();
        stop.on_request(count(&calls));

        assert!(stop.is_requested());
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn waiting_ends_with_the_request() {
        let stop = StopRequest::default();
        let waiting = thread::spawn({
            let stop = stop.clone();
            move || stop.wait()
        });

        stop.request();

        waiting.join().expect("the waiting thread ends");
    }
}
