//! Named points at which a test makes the process die, to see what a crash there leaves.

/// In tests: aborts the process if the environment variable `BASALT_FAILPOINT` is `name`. Otherwise nothing.
#[cfg(test)]
pub(super) fn failpoint(name: &str) {
    if std::env::var_os("BASALT_FAILPOINT").is_some_and(|wanted| wanted == name) {
        std::process::abort();
    }
}

/// In tests: aborts the process if the environment variable `BASALT_FAILPOINT` is `name`. Otherwise nothing.
#[cfg(not(test))]
pub(super) fn failpoint(_name: &str) {}
