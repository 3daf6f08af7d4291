//! Named points at which a test makes the process die, to see what a crash there leaves, or a thread wait or fail.

use std::io;
use std::path::Path;

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

/// In tests: does what was armed under this name for this directory, and aborts the process as [`failpoint`] does. Otherwise
/// nothing.
///
/// # Errors
/// What was armed returns, in place of the operation that follows.
#[cfg(test)]
pub(crate) fn fault(name: &str, directory: &Path) -> io::Result<()> {
    failpoint(name);
    let armed = armed::find(name, directory);
    // Not under the lock: it may wait for the test.
    armed.map_or(Ok(()), |body| body())
}

/// In tests: does what the test says. Otherwise nothing.
#[cfg(not(test))]
pub(crate) fn fault(_name: &str, _directory: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use armed::{Armed, arm};

#[cfg(test)]
mod armed {
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex, PoisonError};

    type Body = dyn Fn() -> io::Result<()> + Send + Sync;

    struct Entry {
        name: &'static str,
        directory: PathBuf,
        body: Arc<Body>,
    }

    static ARMED: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

    /// Has whoever comes by `name` on its work for `directory` run `body` until the guard is dropped. Tests run beside each other
    /// in one process: hence the directory.
    pub(crate) fn arm(
        name: &'static str,
        directory: &Path,
        body: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> Armed {
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        armed.push(Entry { name, directory: directory.to_owned(), body: Arc::new(body) });
        Armed { name, directory: directory.to_owned() }
    }

    /// Keeps a fault armed.
    pub(crate) struct Armed {
        name: &'static str,
        directory: PathBuf,
    }

    impl Drop for Armed {
        fn drop(&mut self) {
            let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
            armed.retain(|entry| entry.name != self.name || entry.directory != self.directory);
        }
    }

    pub(super) fn find(name: &str, directory: &Path) -> Option<Arc<Body>> {
        let armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = armed.iter().find(|entry| entry.name == name && entry.directory == directory)?;
        Some(entry.body.clone())
    }
}
