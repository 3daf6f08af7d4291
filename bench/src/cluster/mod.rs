//! Three nodes as one cluster, beside one node, beside etcd and beside a redis-server with a replica.
//!
//! In each round every system is started on empty directories, loaded with each load in turn and stopped. The client is this
//! program: redis-benchmark cannot send `WAIT` behind a write, and etcd does not speak RESP. It keeps as many requests on their way
//! for every system: 50 connections with one or sixteen each.
//!
//! What a newcomer would get wrong: all nodes share the machine, and with the client. What a cluster of three machines does, this
//! does not tell; it tells what the same work costs here and there.

mod etcd;
mod failover;
mod load;
mod measurement;
mod nodes;
mod options;
mod process;
mod report;
mod resp;
mod slots;
mod system;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::compare::interrupt::Interrupt;
use crate::compare::machine::Machine;
use load::Load;
pub use options::Options;
use report::Results;
use system::{Kind, System};

/// Time that an idle cluster is left alone before it is measured, and for which it is.
const IDLE: Duration = Duration::from_secs(10);

/// Measures what `options` ask for and returns the report; progress goes to the standard error.
///
/// # Errors
/// What could not be started or measured, with the output of the program concerned; also when a signal interrupts it.
pub fn run(options: &Options) -> Result<String> {
    // First of all, so that no signal finds servers running and nobody to stop them.
    let interrupt = Interrupt::watch()?;
    let machine = machine(options)?;
    if options.failovers > 0 {
        let failovers = failover::run(options, &interrupt)?;
        return Ok(failover::render(options, &machine, &failovers));
    }
    let mut results = Results::default();
    for round in 0..options.rounds() {
        for kind in order(&options.kinds(), round) {
            eprintln!("round {} of {}: {kind}", round + 1, options.rounds());
            measure(kind, options, &interrupt, &mut results)?;
        }
        if options.wants_idle() {
            measure_idle(options, &interrupt, &mut results)?;
        }
    }
    Ok(report::render(options, &machine, &results))
}

fn machine(options: &Options) -> Result<Machine> {
    let basalt = options.servers.basalt()?;
    let mut programs = vec![("Basalt", &*basalt)];
    let kinds = options.kinds();
    if kinds.contains(&Kind::RedisWait) {
        programs.push(("redis-server", &*options.servers.redis));
    }
    if kinds.contains(&Kind::Etcd) {
        programs.push(("etcd", Path::new(system::ETCD)));
    }
    Machine::read(&options.servers.dir, &programs)
}

/// The systems' order in a round: another one begins each time, so that none always follows the same one.
fn order(kinds: &[Kind], round: u32) -> Vec<Kind> {
    let count = kinds.len().max(1);
    kinds.iter().copied().cycle().skip(round as usize % count).take(kinds.len()).collect()
}

fn measure(kind: Kind, options: &Options, interrupt: &Interrupt, results: &mut Results) -> Result<()> {
    // What the system before has left to the kernel to write must not be this one's burden.
    nix::unistd::sync();
    let mut system = System::start(kind, options, interrupt)?;
    for load in Load::ALL {
        let measured = measurement::measure(&mut system, load, options.seconds())
            .with_context(|| format!("{kind}, {load}: it could not be measured"))?;
        interrupt.sleep(Duration::ZERO)?;
        eprintln!("  {load}: {measured}");
        results.add(kind, load, measured);
    }
    Ok(())
}

/// Measures what three nodes of sixteen groups cost when nobody talks to them.
fn measure_idle(options: &Options, interrupt: &Interrupt, results: &mut Results) -> Result<()> {
    let mut system = System::start_idle(options, interrupt)?;
    interrupt.sleep(IDLE)?;
    let (began, before) = (std::time::Instant::now(), system.cpu_time()?);
    interrupt.sleep(IDLE)?;
    let cpu = (system.cpu_time()? - before).as_secs_f64() / began.elapsed().as_secs_f64();
    eprintln!("  idle, {} groups of three: {:.2} % of a core", system::IDLE_GROUPS, cpu * 100.0);
    results.add_idle(cpu);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_system_and_another_first() {
        for round in 0..5 {
            let kinds = order(&Kind::ALL, round);
            assert_eq!(kinds[0], Kind::ALL[round as usize % 4]);
            assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
        }
        assert!(order(&[], 3).is_empty());
    }
}
