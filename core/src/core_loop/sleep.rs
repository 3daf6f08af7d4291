//! The waits of a core that has nothing to do.

use std::time::{Duration, Instant};

use basalt_net::ring::{RingError, TurnStats};

use super::core::Core;
use crate::limits;
use crate::mail::{Doorbell, Sleep};

/// The loop's state between two sleeps.
pub(super) struct Pace {
    pub(super) last_reactor_turn: Instant,
    /// The way the next turn waits.
    pub(super) wait: Wait,
}

/// The way a turn waits for something to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wait {
    /// Not at all.
    #[default]
    None,
    /// In the ring for so many completions, for so long at most. Who leaves mail sees a core that is awake, and makes no system
    /// call.
    Gather(u32, Duration),
    /// Outside the ring for [`limits::GATHER`] at most; a finished sync, and whatever else wakes a group, ends it.
    Nap,
    /// In the ring for a completion or the bell, for so long at most.
    Block(Duration),
}

/// Sleeps outside the ring, with nothing left in it that waits to be submitted.
pub(super) fn nap(core: &mut Core) -> Result<TurnStats, RingError> {
    let before = core.ring.turn(None)?;
    if before.events > 0 {
        return Ok(before);
    }
    std::thread::park_timeout(limits::GATHER);
    core.ring.turn(None)
}

/// Chooses the way a core waits that has nothing to do.
pub(super) fn how_to_wait(core: &Core, bell: &Doorbell) -> Wait {
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
        None if bell.prepare_sleep(Sleep::Blocked) => {
            let is_sending = core.ring.has_output();
            Wait::Block(if is_sending { limits::BLOCK_SENDING } else { limits::BLOCK })
        }
        None => Wait::None,
    }
}
