//! The threads that make the logs of the cores durable.

use std::sync::mpsc::channel;

use basalt_net::thread;
use basalt_storage::log::{Durability, LogSyncer};
use nix::unistd::{Pid, gettid};

use super::RunError;
use crate::config::{self, Config};
use crate::limits;

/// Starts a syncer for each core; also returns the thread that does its syncs.
pub(super) fn start_syncers(
    config: &Config,
    core_count: usize,
) -> Result<(Vec<LogSyncer>, Vec<Option<Pid>>), RunError> {
    let durability = match config.durability {
        config::Durability::Always => Durability::Always,
        config::Durability::Interval => Durability::Interval(config.durability_interval),
        config::Durability::None => Durability::None,
    };
    let start = |core| {
        let (tell, told) = channel();
        let prepare = move || {
            // Whoever has started the thread waits for it.
            let _ = tell.send(gettid());
            run_soon();
        };
        let syncer = LogSyncer::start_with(core, durability, prepare).map_err(|error| RunError(error.to_string()))?;
        Ok((syncer, told.recv().ok()))
    };
    let started: Result<Vec<_>, RunError> = (0..core_count).map(start).collect();
    Ok(started?.into_iter().unzip())
}

/// Has the calling thread run soon after it is woken, though another program keeps its processor busy.
fn run_soon() {
    if let Err(error) = thread::set_time_slice(limits::TIME_SLICE) {
        tracing::debug!(%error, "the kernel grants no time slices: threads may run late on busy processors");
    }
}
