//! The loop that drives a core in turns, and how the core sleeps.
//!
//! What a newcomer would get wrong: glommio 0.9.0 can go to sleep while tasks are runnable, if its preempt timer fires at the
//! wrong moment. So the executor runs with a preempt timer of an hour, and this loop does what the timer would have
//! done: after [`limits::REACTOR_TURN`] of busy time it awaits a timer so short that only glommio's reactor can
//! resolve it, which makes glommio look at its timers, its files and the wakers of other threads.
//!
//! One turn: completions of the ring → commands → requests for other cores leave → mail of other cores and threads → propose →
//! all else leaves. Then other tasks of the core run (Raft), and the next turn submits what they sent. A core with nothing to do
//! lets other tasks run twice, then blocks in its ring for [`limits::BLOCK`], then parks in glommio until its ring or glommio has
//! something. If there is much traffic, it *gathers* instead of blocking: see [`crate::clients::Traffic`].

mod core;
mod dispatch;
#[cfg(test)]
mod isolation_tests;
mod outbox;
mod pending;
mod piecemeal;
mod set_aside;
mod sync_placement;

pub use self::core::Core;
pub use outbox::{Outbox, Warm};
pub use pending::{PendingRequest, PendingRequests};
pub use sync_placement::SyncPlacement;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use basalt_net::ring::{Park, RingError, TurnStats};
use glommio::timer::Timer;
use glommio::{Latency, Shares};

use crate::ids::CoreId;
use crate::limits;
use crate::mail::{Doorbell, Sleep};
use crate::node::Server;

/// How often a core has gone round, for the watchdog.
pub type Heartbeat = Arc<AtomicU64>;

/// Runs `core` until the node stops.
///
/// # Errors
/// The sentence that says why the core cannot go on.
pub async fn run(core: &mut Core, park: Park, heartbeat: Heartbeat) -> Result<(), String> {
    let executor = glommio::executor();
    let server = core.server.clone();
    let bell = server.mailboxes.bell(core.id);
    let mut pace = Pace { last_reactor_turn: Instant::now(), quiet_turns: 0, wait: Wait::None };
    let mut parking: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
    loop {
        heartbeat.store(heartbeat.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let wait = std::mem::take(&mut pace.wait);
        let turn = match wait {
            Wait::Gather(events, time) => core.ring.gather(events, time),
            Wait::Block => core.ring.turn(Some(limits::BLOCK)),
            Wait::Nap => nap(core),
            Wait::None => core.ring.turn(None),
        };
        let turn = turn.map_err(|error| format!("core {}: {error}", core.id))?;
        let waited_since = core.now;
        core.start_turn();
        // A bell is an event even if it brings no mail: a finished sync wakes tasks that have to run before the core sleeps.
        let mut events = usize::from(bell.answer());
        events += core.take_ring_events();
        events += usize::from(core.hand_over_requests());
        events += core.take_mail();
        events += core.take_outcomes();
        events += core.resume_stalled();
        core.tick();
        if core.finish_turn() {
            events += 1;
        }
        if core.may_stop() {
            return Ok(());
        }
        core.note_turn_length();

        let idle = events == 0;
        let gathered = match wait {
            Wait::Gather(_, time) => core.now - waited_since >= time,
            Wait::Nap => core.now - waited_since >= limits::GATHER,
            Wait::None | Wait::Block => false,
        };
        if idle && gathered {
            core.traffic.is_over();
        }
        let blocked_in_vain = idle && turn.timed_out && wait == Wait::Block;
        if !blocked_in_vain && pace.last_reactor_turn.elapsed() >= limits::REACTOR_TURN {
            reactor_turn().await;
            pace = Pace { last_reactor_turn: Instant::now(), quiet_turns: 0, wait: Wait::None };
            continue;
        }
        if !idle {
            pace.quiet_turns = 0;
            executor.yield_task_queue_now().await;
            continue;
        }
        if !blocked_in_vain {
            // Nothing new: let other tasks run until only this one is runnable, then wait for a short time.
            pace.quiet_turns = if executor.executor_stats().tasks_executed() <= 1 { pace.quiet_turns + 1 } else { 0 };
            if pace.quiet_turns < limits::QUIET_TURNS {
                executor.yield_task_queue_now().await;
                continue;
            }
            pace.quiet_turns = 0;
            pace.wait = how_to_wait(core, bell);
            continue;
        }
        // The block timed out: the core is idle and parks.
        if core.ring.has_work() || core.has_work() || core.waits_for_clients() || !bell.prepare_sleep(Sleep::Parked) {
            continue;
        }
        core.stats().parks.add(1);
        core.ring.enable_park(true);
        fence(Ordering::SeqCst);
        if !core.ring.has_work() {
            let mut signal = parking.take().unwrap_or_else(|| Box::pin(park.signalled()));
            let mut timer = Timer::new(core.sleep_max());
            let signalled = poll_fn(|context| {
                if signal.as_mut().poll(context).is_ready() {
                    return Poll::Ready(true);
                }
                Pin::new(&mut timer).poll(context).map(|_| false)
            })
            .await;
            core.note_park(signalled);
            if !signalled {
                parking = Some(signal);
            }
        }
        core.ring.enable_park(false);
        pace = Pace { last_reactor_turn: Instant::now(), quiet_turns: 0, wait: Wait::None };
    }
}

/// Where the loop stands between two sleeps.
struct Pace {
    last_reactor_turn: Instant,
    quiet_turns: u32,
    /// How the next turn waits.
    wait: Wait,
}

/// How a turn waits for something to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Wait {
    /// Not at all.
    #[default]
    None,
    /// In the ring for so many completions, for so long at most. Who leaves mail sees a core that is awake, and makes no system
    /// call.
    Gather(u32, Duration),
    /// Outside the ring for [`limits::GATHER`] at most; a finished sync, and whatever else wakes a group, ends it.
    Nap,
    /// In the ring for a completion or the bell, for [`limits::BLOCK`] at most.
    Block,
}

/// Sleeps outside the ring, with nothing left in it that waits to be submitted.
fn nap(core: &mut Core) -> Result<TurnStats, RingError> {
    let before = core.ring.turn(None)?;
    if before.events > 0 {
        return Ok(before);
    }
    std::thread::park_timeout(limits::GATHER);
    core.ring.turn(None)
}

/// How a core that has nothing to do waits.
fn how_to_wait(core: &Core, bell: &Doorbell) -> Wait {
    if core.has_work() {
        return Wait::None;
    }
    // Until the sync is over there is little to answer.
    if core.traffic.is_busy() && core.commits_soon() {
        return if bell.prepare_sleep(Sleep::Napping) { Wait::Nap } else { Wait::None };
    }
    match core.gathers() {
        Some((events, time)) => Wait::Gather(events, time),
        // A batch that waits for clients is to be looked at again soon, whatever the others do.
        None if core.waits_for_clients() => Wait::Gather(1, limits::HOLD),
        None if bell.prepare_sleep(Sleep::Blocked) => Wait::Block,
        None => Wait::None,
    }
}

/// Makes the executor run out of runnable tasks once, so that glommio polls its rings, timers and foreign wakers, without
/// sleeping: the timer has expired by the time the executor looks. A timer that is ready at its first poll never reaches
/// the reactor: then a longer one is tried. Nor may it be polled a second time before the executor is back: it would be
/// ready then.
pub async fn reactor_turn() {
    let mut length = Duration::from_micros(1);
    let mut timer = Timer::new(length);
    let mut registered = false;
    poll_fn(|context| {
        if registered {
            return Poll::Ready(());
        }
        while Pin::new(&mut timer).poll(context).is_ready() {
            length *= 2;
            timer = Timer::new(length);
        }
        registered = true;
        Poll::Pending
    })
    .await;
}

/// Runs a timer of 1 ms for ever and notes how late it was at worst: the bound on what any task of the core waits.
pub fn probe_timers(server: Arc<Server>, core: CoreId) {
    let length = Duration::from_millis(1);
    let probe = async move {
        loop {
            let begun = Instant::now();
            glommio::timer::sleep(length).await;
            let late_us = begun.elapsed().saturating_sub(length).as_micros() as u64;
            let worst = &server.cores[core.index()].timer_late_us_max;
            worst.set(worst.get().max(late_us));
        }
    };
    glommio::spawn_local(probe).detach();
}

/// A core that the watchdog looks after.
pub struct Watched {
    core: CoreId,
    heartbeat: Heartbeat,
    waker: Waker,
}

/// Prepares the running executor to be poked by the watchdog, and gives what the watchdog needs.
///
/// The waker belongs to a task in a latency queue of its own: waking such a task from another thread always writes
/// glommio's event descriptor, which sends a core whose tasks never pause to its reactor. A poke too many is harmless.
pub async fn watch(core: CoreId) -> (Heartbeat, Watched) {
    let heartbeat = Heartbeat::default();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let executor = glommio::executor();
    let queue = executor.create_task_queue(Shares::default(), Latency::Matters(Duration::from_secs(3600)), "watchdog");
    let own = waker.clone();
    let task = poll_fn(move |context| {
        *own.borrow_mut() = Some(context.waker().clone());
        Poll::<()>::Pending
    });
    glommio::spawn_local_into(task, queue).expect("the queue was created on this executor").detach();
    let waker = loop {
        if let Some(waker) = waker.borrow_mut().take() {
            break waker;
        }
        reactor_turn().await;
    };
    (heartbeat.clone(), Watched { core, heartbeat, waker })
}

/// Looks at the cores' heartbeats until the node stops, and pokes a core whose heart stands still while it is not parked.
pub fn watchdog(server: &Server, watched: &[Watched]) {
    let mut last: Vec<u64> = vec![u64::MAX; watched.len()];
    while !server.stop.is_requested() {
        let idle = watched.iter().all(|core| server.mailboxes.bell(core.core).is_parked());
        std::thread::sleep(if idle { limits::WATCHDOG_IDLE } else { limits::WATCHDOG });
        for (core, last) in watched.iter().zip(&mut last) {
            let beat = core.heartbeat.load(Ordering::Relaxed);
            if beat == *last && !server.mailboxes.bell(core.core).is_parked() {
                core.waker.wake_by_ref();
            }
            *last = beat;
        }
    }
}
