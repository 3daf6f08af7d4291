//! The one source of time, random numbers and tasks of this crate, on the calling thread.
//!
//! It is glommio and the machine's clock, at no cost. Compiled for the crate's own tests it is the simulation's instead
//! (`simulation::source`), where one runs on the thread. That is a choice of the build and no second runtime type: a second one
//! would need a second [`TypeConfig`](crate::types::TypeConfig), and all that encodes, stores or answers would have to be generic
//! over it. So the simulated group is, type by type, the one that serves.
//!
//! What a newcomer would get wrong: `std::time::Instant`, `glommio` and `rand` are not to be used beside this module. A simulation
//! would not notice, only never give the same run twice.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

pub(crate) use glommio::timer::Timer;
pub(crate) use std::time::Instant;

/// Random numbers, for the lengths of timeouts.
pub(crate) type Random = rand::rngs::ThreadRng;

/// A task that runs on. Gives its result, or none if it was cancelled.
pub(crate) type Task<T> = glommio::task::JoinHandle<T>;

/// Runs `future`, which may be polled at once.
pub(crate) fn spawn<F: Future + 'static>(future: F) -> Task<F::Output> {
    glommio::spawn_local(future).detach()
}

/// Returns the thread's random numbers.
pub(crate) fn random() -> Random {
    rand::rng()
}

/// Returns the time since a moment of this process, the same one for all threads.
pub(crate) fn since_beginning() -> Duration {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    BEGINNING.get_or_init(Instant::now).elapsed()
}
