//! Named points at which a test makes the process die, to see what a crash there leaves.

/// The environment variable that arms one failpoint: `<hits>:<name>` aborts the process when it comes by for that time.
#[cfg(test)]
pub(crate) const VARIABLE: &str = "BASALT_FAILPOINT";

/// In tests: aborts the process here if [`VARIABLE`] says so. Otherwise nothing.
#[cfg(test)]
pub(crate) fn failpoint(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static HITS: AtomicU64 = AtomicU64::new(0);
    let Ok(armed) = std::env::var(VARIABLE) else { return };
    let (hits, wanted) = armed.split_once(':').expect("the variable is <hits>:<name>");
    if wanted == name && HITS.fetch_add(1, Ordering::SeqCst) + 1 == hits.parse().expect("hits are a number") {
        std::process::abort();
    }
}

/// In tests: aborts the process here if the test says so. Otherwise nothing.
#[cfg(not(test))]
pub(crate) fn failpoint(_name: &str) {}
