//! The side-by-side comparison with redis-server.
//!
//! For each round and each shape of load, every server is started on an empty directory, loaded with each test in turn and
//! stopped, so that what disturbs a shared machine disturbs all of them alike. A figure is the median over the rounds, and what
//! counts is the ratio of two such medians of the same run.

mod benchmark_output;
mod client;
pub(crate) mod cpu_clock;
pub(crate) mod figures;
pub(crate) mod interrupt;
mod load;
pub(crate) mod machine;
mod options;
pub(crate) mod percentile_plot;
mod placement;
mod report;
mod results;
mod schedule;
pub(crate) mod server;
pub(crate) mod server_kind;
pub(crate) mod server_options;
mod subscribers;
pub(crate) mod table;
mod targets;
mod transactions;

pub use options::Options;

use std::path::Path;

use anyhow::{Context, Result};

/// Measures everything that `options` ask for, writes the percentile plot and returns the report.
///
/// Progress goes to the standard error.
///
/// # Errors
/// What could not be started or measured, with the output of the program concerned; also when a signal interrupts it.
pub fn run(options: &Options) -> Result<String> {
    // First of all, so that no signal finds servers running and nobody to stop them.
    let interrupt = interrupt::Interrupt::watch()?;
    let servers = &options.servers;
    let programs = [
        ("Basalt", &*servers.basalt()?),
        ("redis-server", &servers.redis),
        ("client", Path::new(client::REDIS_BENCHMARK)),
    ];
    let machine = machine::Machine::read(&servers.dir, &programs)?;
    let results = schedule::run(options, &interrupt)?;
    if results.has_loads() {
        percentile_plot::write(&options.plot, &results)
            .with_context(|| format!("the percentile plot {} could not be written", options.plot.display()))?;
        eprintln!("percentile plot: {}", options.plot.display());
    }
    Ok(report::render(options, &machine, &results))
}
