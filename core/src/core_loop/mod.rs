//! The loop that drives a core in turns, and how the core sleeps.
//!
//! What a newcomer would get wrong: glommio 0.9.0 can go to sleep while tasks are runnable, if its preempt timer fires at the
//! wrong moment. So the executor runs with a preempt timer of an hour, and this loop does what the timer would have
//! done: after [`limits::REACTOR_TURN`] of busy time it awaits a timer so short that only glommio's reactor can
//! resolve it, which makes glommio look at its timers, its files and the wakers of other threads.
//!
//! One turn: completions of the ring → commands → requests for other cores leave → mail of other cores and threads → propose →
//! all else leaves. Then other tasks of the core run (Raft) until none is runnable, and the next turn submits what they sent. A
//! core with nothing to do, whose other tasks have nothing to do either, blocks in its ring for [`limits::BLOCK`], then parks in
//! glommio until its ring or glommio has something. If there is much traffic, it *gathers* instead of blocking: see
//! [`crate::clients::Traffic`].

mod access;
mod answers;
mod clients;
mod cold_reads;
mod config_file;
mod core;
mod delay;
mod disk;
mod dispatch;
mod entry_waits;
mod exec;
#[cfg(test)]
mod failing_tests;
mod fanout;
mod functions;
mod groups;
mod intake;
#[cfg(test)]
mod isolation_tests;
mod local_reads;
mod members;
mod memory_purge;
mod monitor;
mod outbox;
#[cfg(test)]
mod peer_tests;

mod pause;
mod peers;
mod pending;
mod piecemeal;
mod publish;
mod raft_orders;
mod reactor;
mod relaying;
mod replica_waits;
mod replies;
mod resume;
mod room;
mod scripts;
mod session_calls;
mod set_aside;
mod sleep;
mod slow;
mod spanning;
mod stopping;
mod sync_placement;
mod take_mail;
#[cfg(test)]
mod tests;
mod tracking;
mod transactions;
mod turn;
mod wait_moves;
mod waits;
mod watch;

pub use self::core::Core;
pub use groups::Groups;
#[cfg(feature = "internals")]
pub use outbox::Outbox;

pub use peers::wake_for_peers;
#[cfg(feature = "internals")]
pub use pending::{PendingRequest, PendingRequests};
pub use reactor::probe_timers;
pub use sync_placement::SyncPlacement;
pub use watch::{Heartbeat, Watched, watch, watchdog};

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{Ordering, fence};
use std::task::Poll;
use std::time::Instant;

use basalt_net::ring::Park;
use glommio::timer::Timer;

use crate::limits;
use crate::mail::Sleep;

use reactor::{Tasks, let_tasks_run, reactor_turn};
use sleep::{Pace, Wait, how_to_wait, nap};

/// Runs `core` until the node stops.
///
/// # Errors
/// The sentence that says why the core cannot go on.
pub async fn run(core: &mut Core, park: Park, heartbeat: Heartbeat) -> Result<(), String> {
    let server = core.server.clone();
    let bell = server.mailboxes.bell(core.id);
    let mut pace = Pace { last_reactor_turn: Instant::now(), wait: Wait::None };
    let mut parking: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
    loop {
        heartbeat.store(heartbeat.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let wait = std::mem::take(&mut pace.wait);
        let turn = match wait {
            Wait::Gather(events, time) => core.ring.gather(events, time),
            Wait::Block(time) => core.ring.turn(Some(time)),
            Wait::Nap => nap(core),
            Wait::None => core.ring.turn(None),
        };
        let turn = turn.map_err(|error| format!("core {}: {error}", core.id))?;
        let waited_since = core.clock.now;
        core.start_turn();
        // A bell is an event even if it brings no mail: a finished sync wakes tasks that have to run before the core sleeps.
        let mut events = usize::from(bell.answer());
        events += core.take_word_of_changes();
        events += core.seat_opened();
        events += core.take_ring_events();
        events += usize::from(core.hand_over_requests());
        let mail = core.take_mail();
        events += mail;
        let outcomes = core.take_outcomes();
        events += outcomes;
        if mail + outcomes > 0 {
            core.note_work();
        }
        events += core.resume_stalled();
        core.tick();
        if core.finish_turn() {
            events += 1;
        }
        if core.advance_stop() {
            core.end_peers();
            return Ok(());
        }
        core.note_turn_length();

        let idle = events == 0;
        let gathered = match wait {
            Wait::Gather(_, time) => core.clock.now - waited_since >= time,
            Wait::Nap => core.clock.now - waited_since >= limits::GATHER,
            Wait::None | Wait::Block(_) => false,
        };
        if idle && gathered {
            core.traffic.end();
        }
        let blocked_in_vain = idle && turn.timed_out && wait == Wait::Block(limits::BLOCK);
        if !blocked_in_vain && pace.last_reactor_turn.elapsed() >= limits::REACTOR_TURN {
            let gathering = core.sync_placement.gather();
            reactor_turn().await;
            drop(gathering);
            core.fill_peers();
            pace = Pace { last_reactor_turn: Instant::now(), wait: Wait::None };
            continue;
        }
        if !blocked_in_vain {
            // What the turn began goes on in other tasks, which wake each other: the next turn would only look on.
            let gathering = core.sync_placement.gather();
            let tasks = let_tasks_run().await;
            drop(gathering);
            core.fill_peers();
            let is_over = match tasks {
                Tasks::Idle if idle => true,
                // Few clients need no turn only to see that there is nothing: the one that waits sends what they were answered.
                Tasks::Idle | Tasks::Ran => mail == 0 && !core.traffic.is_busy() && !bell.has_rung(),
                Tasks::Busy => false,
            };
            if is_over {
                pace.wait = how_to_wait(core, bell);
            }
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
            core.note_park();
            if !signalled {
                parking = Some(signal);
            }
        }
        core.ring.enable_park(false);
        pace = Pace { last_reactor_turn: Instant::now(), wait: Wait::None };
    }
}
