//! The order of measurements: rounds of shapes of servers of tests.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::client;
use super::figures::{Figure, Figures, IdleFigures};
use super::interrupt::Interrupt;
use super::load::{self, Load, Shape, Test};
use super::options::Options;
use super::results::Results;
use super::server::Server;
use super::server_kind::ServerKind;

/// A server is left alone for so long before its idle time is measured.
const SETTLE: Duration = Duration::from_secs(2);
/// The processor of every server with `--pin`.
const SERVER_CPU: usize = 0;
/// Time for which idle servers are measured.
const IDLE: Duration = Duration::from_secs(10);

/// Measures what `options` ask for.
///
/// # Errors
/// What could not be started or measured, or that a signal came.
pub fn run(options: &Options, interrupt: &Interrupt) -> Result<Results> {
    let mut results = Results::default();
    for round in 0..options.rounds() {
        if options.wants_idle() {
            for kind in order(round) {
                measure_idle(kind, options, interrupt, &mut results)?;
            }
        }
        for shape in Shape::ALL {
            let loads: Vec<Load> = load::all().filter(|load| load.shape == shape && options.wants(*load)).collect();
            if loads.is_empty() {
                continue;
            }
            for kind in order(round) {
                eprintln!("round {} of {}, {shape}: {kind}", round + 1, options.rounds());
                measure_loads(kind, &loads, options, interrupt, &mut results)?;
            }
        }
    }
    Ok(results)
}

/// The servers' order in a round: another one begins each time, so that none always follows the same one.
fn order(round: u32) -> impl Iterator<Item = ServerKind> {
    let count = ServerKind::ALL.len();
    ServerKind::ALL.into_iter().cycle().skip(round as usize % count).take(count)
}

/// Starts a server and measures it with each of `loads`, all of one shape.
fn measure_loads(
    kind: ServerKind,
    loads: &[Load],
    options: &Options,
    interrupt: &Interrupt,
    results: &mut Results,
) -> Result<()> {
    // What the server before has left to the kernel to write must not be this one's burden.
    nix::unistd::sync();
    let mut server = Server::start(kind, &options.servers, options.pin.then_some(SERVER_CPU), interrupt)?;
    let is_missing = |test: &Test| loads.iter().all(|load| load.test != *test);
    let mut fills: Vec<Test> = loads.iter().filter_map(|load| load.test.filled_by()).filter(is_missing).collect();
    fills.dedup();
    for test in fills {
        let fill = Load { test, ..loads[0] };
        client::run(fill, fill.requests(options.requests()), server.port(), options, interrupt)
            .with_context(|| format!("{kind} could not be filled"))?;
    }
    for &load in loads {
        let requests = load.requests(options.requests());
        let before = server.cpu_time()?;
        let output = client::run(load, requests, server.port(), options, interrupt)
            .with_context(|| format!("{kind} could not be measured"))?;
        let cpu_us = (server.cpu_time()? - before).as_secs_f64() * 1e6 / requests as f64;
        eprintln!("  {:<18}{}", load.to_string(), line(&Figures::new(&output, cpu_us)));
        results.add(kind, load, &output, cpu_us);
    }
    Ok(())
}

/// Starts a server and measures what it costs when nobody talks to it.
fn measure_idle(kind: ServerKind, options: &Options, interrupt: &Interrupt, results: &mut Results) -> Result<()> {
    let mut server = Server::start(kind, &options.servers, options.pin.then_some(SERVER_CPU), interrupt)?;
    interrupt.sleep(SETTLE)?;
    let (began, before) = (Instant::now(), server.cpu_time()?);
    interrupt.sleep(IDLE)?;
    let cpu = (server.cpu_time()? - before).as_secs_f64() / began.elapsed().as_secs_f64();
    let resident_bytes = server.resident_bytes()? as f64;
    eprintln!("idle: {kind} {:.2} % of a core, {:.1} MB", cpu * 100.0, resident_bytes / 1e6);
    results.add_idle(kind, IdleFigures { cpu, resident_bytes });
    Ok(())
}

/// One measurement for the eye.
fn line(figures: &Figures) -> String {
    Figure::ALL.map(|figure| format!("{:>9} {}", figure.show(figures.get(figure)), figure.title())).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_server_and_another_first() {
        let firsts: Vec<ServerKind> = (0..3).filter_map(|round| order(round).next()).collect();
        assert_eq!(firsts, ServerKind::ALL);
        for round in 0..4 {
            let kinds: Vec<ServerKind> = order(round).collect();
            assert!(ServerKind::ALL.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
        }
    }
}
