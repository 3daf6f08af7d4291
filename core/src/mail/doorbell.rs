//! The bell that wakes a core, and the sleep from which it can.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::thread::Thread;

use basalt_net::ring::{ParkSignal, Waker};

const AWAKE: u8 = 0;
const BLOCKED: u8 = 1;
const PARKED: u8 = 2;
const NAPPING: u8 = 3;

/// The way a core is about to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleep {
    /// In its ring, for a bounded time.
    Blocked,
    /// In glommio, until something happens.
    Parked,
    /// Outside its ring, for a moment so short that only what is urgent ends it.
    Napping,
}

/// Wakes one core, from any thread.
///
/// Whoever leaves something for the core rings afterwards. The core announces a sleep, then looks at `pending` once more;
/// the fences on both sides make one of the two see the other.
pub struct Doorbell {
    pending: AtomicBool,
    state: AtomicU8,
    waker: Waker,
    park: ParkSignal,
    thread: Thread,
}

impl Doorbell {
    /// The bell of the core whose thread calls this: wakes it through `waker` when it is blocked in its ring, and through `park`
    /// when it is parked.
    pub fn new(waker: Waker, park: ParkSignal) -> Doorbell {
        let (pending, state) = (AtomicBool::new(false), AtomicU8::new(AWAKE));
        Doorbell { pending, state, waker, park, thread: std::thread::current() }
    }

    /// Tells the core that something waits for it. A core that naps looks by itself in a moment, and is let be.
    pub fn ring(&self) {
        self.ring_unless(|state| state == AWAKE || state == NAPPING);
    }

    /// As [`Doorbell::ring`], and ends a nap: for what the core naps for.
    pub fn ring_urgently(&self) {
        self.ring_unless(|state| state == AWAKE);
    }

    fn ring_unless(&self, hears_by_itself: impl Fn(u8) -> bool) {
        self.pending.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        if hears_by_itself(self.state.load(Ordering::Relaxed)) {
            return;
        }
        match self.state.swap(AWAKE, Ordering::AcqRel) {
            AWAKE => {}
            PARKED => self.park.signal(),
            NAPPING => self.thread.unpark(),
            _ => self.waker.wake(),
        }
    }

    /// Announces that the core is about to sleep. False if something waits for it: then it must not.
    pub fn prepare_sleep(&self, sleep: Sleep) -> bool {
        let state = match sleep {
            Sleep::Blocked => BLOCKED,
            Sleep::Parked => PARKED,
            Sleep::Napping => NAPPING,
        };
        self.state.store(state, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !self.pending.load(Ordering::Relaxed) {
            return true;
        }
        self.state.store(AWAKE, Ordering::Relaxed);
        false
    }

    /// Announces that the core runs, and says whether the bell rang since it was last asked.
    pub fn answer(&self) -> bool {
        if self.state.load(Ordering::Relaxed) != AWAKE {
            self.state.store(AWAKE, Ordering::Relaxed);
        }
        self.pending.load(Ordering::Relaxed) && self.pending.swap(false, Ordering::AcqRel)
    }

    /// Returns whether something waits for the core that it has not been told of.
    pub fn has_rung(&self) -> bool {
        self.pending.load(Ordering::Relaxed)
    }

    /// Returns whether the core sleeps in glommio (the watchdog looks at such a core less often).
    pub fn is_parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED
    }
}
