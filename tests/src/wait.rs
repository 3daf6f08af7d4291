//! Waiting for conditions instead of for time.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything that is done at once on a machine with nothing else to do. Disks of shared machines have stood still
/// for half a minute.
pub const DEADLINE: Duration = Duration::from_secs(120);

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Number of times that [`in_some_attempt`] tries.
const ATTEMPTS: usize = 4;

/// Looks again and again until `look` gives what was awaited.
///
/// # Panics
/// When that takes longer than `within`, with what was seen instead.
pub fn eventually<T, Seen: Debug>(awaited: &str, within: Duration, mut look: impl FnMut() -> Result<T, Seen>) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "not within {within:?}: {awaited}, but {seen:?}"),
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// Tries a few times, until `attempt` gives what was expected: for what a correct node may miss where the machine or its disk
/// stands still for a while, and does not miss each time.
///
/// # Panics
/// When it is missed each time, with what was seen instead.
pub fn in_some_attempt<T, Seen: Debug>(expected: &str, mut attempt: impl FnMut() -> Result<T, Seen>) -> T {
    let mut all = Vec::new();
    for _ in 0..ATTEMPTS {
        match attempt() {
            Ok(found) => return found,
            Err(seen) => {
                println!("not in this attempt: {expected}, but {seen:?}");
                all.push(seen);
            }
        }
    }
    panic!("not in any of {ATTEMPTS} attempts: {expected}, but {all:#?}");
}
