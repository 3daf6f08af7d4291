//! Named points at which a test makes the process die, or an operation fail.

use std::io;
use std::path::Path;

/// The environment variable that arms one point: `<hits>:<name>` aborts the process when it comes by for that time.
#[cfg(test)]
pub(super) const VARIABLE: &str = "BASALT_SNAPSHOT_FAILPOINT";

/// In tests: aborts the process here if [`VARIABLE`] says so, or does what was armed under this name for this directory. Otherwise
/// nothing.
///
/// # Errors
/// What was armed returns, in place of the operation that follows.
#[cfg(test)]
pub(super) fn fault(name: &str, directory: &Path) -> io::Result<()> {
    abort_if_armed(name);
    armed::find(name, directory).map_or(Ok(()), |body| body())
}

/// In tests: does what the test says. Otherwise nothing.
#[cfg(not(test))]
pub(super) fn fault(_name: &str, _directory: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
fn abort_if_armed(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static HITS: AtomicU64 = AtomicU64::new(0);
    let Ok(armed) = std::env::var(VARIABLE) else { return };
    let (hits, wanted) = armed.split_once(':').expect("the variable is <hits>:<name>");
    if wanted == name && HITS.fetch_add(1, Ordering::SeqCst) + 1 == hits.parse::<u64>().expect("hits are a number") {
        std::process::abort();
    }
}

#[cfg(test)]
pub(super) use armed::arm;

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

    /// Has whoever comes by `name` on its work for `directory` run `body` until the guard is dropped.
    pub(in crate::snapshots) fn arm(
        name: &'static str,
        directory: &Path,
        body: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> Armed {
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        armed.push(Entry { name, directory: directory.to_owned(), body: Arc::new(body) });
        Armed { name, directory: directory.to_owned() }
    }

    /// Keeps a fault armed.
    pub(in crate::snapshots) struct Armed {
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
