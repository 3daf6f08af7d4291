//! Memory and disk that small keys of each type take, beside redis-server on the same machine.
//!
//! For each type, each server is started on an empty directory, filled by pipelines of a few connections, left alone for some
//! seconds, looked at and stopped. What it took while it was empty is no part of a key.

mod contents;
mod fill;
mod options;
mod report;

pub use options::Options;

use std::time::Duration;

use anyhow::{Context, Result};
use contents::Contents;
use fill::fill;

use crate::compare::interrupt::Interrupt;
use crate::compare::machine::Machine;
use crate::compare::server::Server;
use crate::compare::server_kind::ServerKind;
use crate::disk_usage::disk_bytes;

/// The servers that are looked at: both write to disk.
const KINDS: [ServerKind; 2] = [ServerKind::Basalt, ServerKind::RedisAlways];
/// Time that a server is left alone between its last key and the look at it.
const REST: Duration = Duration::from_secs(5);

/// A server with keys takes so much more than the same one without.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Footprint {
    resident_bytes: u64,
    disk_bytes: u64,
    elapsed: Duration,
    cpu: Duration,
}

/// Fills and looks at everything that `options` ask for and returns the report.
///
/// Progress goes to the standard error.
///
/// # Errors
/// What could not be started, filled or looked at; also when a signal interrupts it.
pub fn run(options: &Options) -> Result<String> {
    // First of all, so that no signal finds servers running and nobody to stop them.
    let interrupt = Interrupt::watch()?;
    let servers = &options.servers;
    let machine = Machine::read(&servers.dir, &[("Basalt", &*servers.basalt()?), ("redis-server", &servers.redis)])?;
    let mut found = Vec::new();
    for contents in Contents::ALL.into_iter().filter(|contents| options.takes(*contents)) {
        for kind in KINDS {
            let footprint =
                measure(kind, contents, options, &interrupt).with_context(|| format!("{kind}, {}", contents.name()))?;
            eprintln!(
                "{kind}, {}: {} keys in {:.0} s",
                contents.name(),
                options.keys(),
                footprint.elapsed.as_secs_f64()
            );
            found.push((contents, kind, footprint));
        }
    }
    Ok(report::render(options, &machine, &found))
}

fn measure(kind: ServerKind, contents: Contents, options: &Options, interrupt: &Interrupt) -> Result<Footprint> {
    let mut server = Server::start(kind, &options.servers, None, interrupt)?;
    let (resident, disk, cpu) = (server.resident_bytes()?, disk_bytes(server.data())?, server.cpu_time()?);
    let elapsed = fill(server.port(), contents, options.keys(), interrupt)?;
    let cpu = server.cpu_time()? - cpu;
    interrupt.sleep(REST)?;
    server.check_alive()?;
    Ok(Footprint {
        resident_bytes: server.resident_bytes()?.saturating_sub(resident),
        disk_bytes: disk_bytes(server.data())?.saturating_sub(disk),
        elapsed,
        cpu,
    })
}
