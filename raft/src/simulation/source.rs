//! The source of time, random numbers and tasks in tests: the simulation that runs on the thread, else glommio and the clock.
//!
//! Stands in the place of `source.rs`, and has the same items.

use std::convert::Infallible;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft_rt::{Oneshot as _, OneshotSender as _};
use rand::{Rng as _, TryRng};

use crate::channels::{Oneshot, OneshotReceiver};
use crate::simulation::executor::{self, Alarm};

/// Time that has passed when a process begins, so that there is some before it.
const BEGINNING: Duration = Duration::from_secs(1_000_000);

/// A moment, of the clock or of virtual time. The two are never mixed: a thread has one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Instant {
        static START: OnceLock<std::time::Instant> = OnceLock::new();
        let passed = executor::own_now();
        Instant(BEGINNING + passed.unwrap_or_else(|| START.get_or_init(std::time::Instant::now).elapsed()))
    }

    pub fn elapsed(&self) -> Duration {
        Instant::now() - *self
    }
}

impl openraft_rt::Instant for Instant {
    fn now() -> Instant {
        Instant::now()
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, more: Duration) -> Instant {
        Instant(self.0 + more)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, more: Duration) {
        self.0 += more;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, less: Duration) -> Instant {
        Instant(self.0 - less)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, less: Duration) {
        self.0 -= less;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Returns the time since a moment of this process, or of the simulation.
pub(crate) fn since_beginning() -> Duration {
    Instant::now().0
}

/// Ends after a time.
pub(crate) enum Timer {
    Real(glommio::timer::Timer),
    Virtual(Alarm),
}

impl Timer {
    pub(crate) fn new(after: Duration) -> Timer {
        match executor::current() {
            Some(executor) => Timer::Virtual(executor.own_alarm(after)),
            None => Timer::Real(glommio::timer::Timer::new(after)),
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Timer::Real(timer) => Pin::new(timer).poll(context).map(|_| ()),
            Timer::Virtual(alarm) => Pin::new(alarm).poll(context),
        }
    }
}

/// A task that runs on. Gives its result, or none if it was cancelled.
pub(crate) enum Task<T> {
    Real(glommio::task::JoinHandle<T>),
    Virtual(OneshotReceiver<T>),
}

impl<T> Future for Task<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut *self {
            Task::Real(task) => Pin::new(task).poll(context),
            Task::Virtual(result) => Pin::new(result).poll(context).map(Result::ok),
        }
    }
}

/// Runs `future`, which may be polled at once.
pub(crate) fn spawn<F: Future + 'static>(future: F) -> Task<F::Output> {
    let Some(executor) = executor::current() else {
        return Task::Real(glommio::spawn_local(future).detach());
    };
    let (sender, result) = Oneshot::channel();
    executor.spawn(async move {
        // Nobody need wait for it.
        let _ = sender.send(future.await);
    });
    Task::Virtual(result)
}

/// Random numbers.
pub enum Random {
    Real(rand::rngs::ThreadRng),
    Virtual,
}

/// Returns the thread's random numbers.
pub(crate) fn random() -> Random {
    if executor::current().is_some() { Random::Virtual } else { Random::Real(rand::rng()) }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        match self {
            Random::Real(random) => Ok(random.next_u64()),
            Random::Virtual => Ok(executor::current().expect("a simulation draws while it runs").random_u64()),
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for piece in bytes.chunks_mut(8) {
            let drawn = self.try_next_u64()?.to_le_bytes();
            piece.copy_from_slice(&drawn[..piece.len()]);
        }
        Ok(())
    }
}
