//! The stop of a node.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::boot::StopRequest;

/// The way the node is told to stop, and how its cores agree that they may.
pub struct Stop {
    request: StopRequest,
    failure: Mutex<Option<String>>,
    quiet_cores: AtomicUsize,
}

impl Stop {
    /// A stop that `request` asks for.
    pub fn new(request: StopRequest) -> Stop {
        Stop { request, failure: Mutex::default(), quiet_cores: AtomicUsize::new(0) }
    }

    /// The handle by which signals and the node itself ask for the stop.
    pub fn request_handle(&self) -> &StopRequest {
        &self.request
    }

    /// Returns whether a stop was asked for.
    pub fn is_requested(&self) -> bool {
        self.request.is_requested()
    }

    /// Notes why the node cannot go on; the first reason counts.
    pub fn fail(&self, reason: String) {
        tracing::error!("{reason}");
        self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(reason);
    }

    /// The reason that the node stopped, if not because it was asked to.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Counts a core that sends no more requests to others.
    pub fn core_is_quiet(&self) {
        self.quiet_cores.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns whether all of `core_count` cores are quiet, so that nobody needs the others any more.
    pub fn all_quiet(&self, core_count: usize) -> bool {
        self.quiet_cores.load(Ordering::Acquire) >= core_count
    }
}
