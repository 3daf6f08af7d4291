//! Leaders that are killed under writes: for how long their keys cannot be written, and whether all is there that was acknowledged.
//!
//! Writers follow redirects and write one number after the other, each into keys of its own. Each time the node is killed that
//! leads the keys of one of them; how long a failover takes is the time from the kill to the first write that is acknowledged
//! again, of the writer that waited longest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::nodes::Nodes;
use super::options::Options;
use super::resp::{self, Connection};
use crate::compare::interrupt::Interrupt;
use crate::compare::machine::Machine;
use crate::compare::table::Table;

/// Writers, each with keys of one slot.
const WRITERS: usize = 12;
/// Keys of a writer.
const KEYS: u64 = 50;
/// Writes of each writer between two kills.
const WRITES: u64 = 100;
/// Pause of a writer that is refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(2);
/// Time after which something that is waited for is taken for broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// Interval at which it is looked for.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// The outcome of all kills.
#[derive(Debug)]
pub struct Failovers {
    times: Vec<Duration>,
    acknowledged: u64,
}

/// A writer as others see it.
#[derive(Debug, Default)]
struct Progress {
    /// Writes that were acknowledged.
    count: u64,
    /// The port of the node that acknowledged the last one.
    port: u16,
    /// The time of the first one that was acknowledged since this was taken away.
    first: Option<Instant>,
}

struct Writer {
    tag: String,
    progress: Arc<Mutex<Progress>>,
    thread: JoinHandle<Result<BTreeMap<String, (u64, u64)>>>,
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills leaders as often as `options` say.
///
/// # Errors
/// If nodes do not start or come back, if a signal came, or if a write that was acknowledged is missing.
pub fn run(options: &Options, interrupt: &Interrupt) -> Result<Failovers> {
    let mut nodes = Nodes::three(&options.servers, [&[], &[], &[]], interrupt)?;
    let ports = nodes.ports();
    let ends = Arc::new(AtomicBool::new(false));
    let writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::start(number, &ports, &ends)).collect();
    let outcome = kill_leaders(&mut nodes, &writers, options, interrupt);
    ends.store(true, Ordering::Relaxed);
    let mut acknowledged = 0;
    for writer in writers {
        acknowledged += lock(&writer.progress).count;
        let written = writer.thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
        check(&written, &writer.tag, &ports)?;
    }
    Ok(Failovers { times: outcome?, acknowledged })
}

fn kill_leaders(
    nodes: &mut Nodes,
    writers: &[Writer],
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 1..=options.failovers {
        nodes.wait("each node leads its groups", interrupt, lead_at_home)?;
        let before: Vec<u64> = writers.iter().map(|writer| lock(&writer.progress).count).collect();
        wait(interrupt, "writes go on", || {
            writers.iter().zip(&before).all(|(writer, before)| lock(&writer.progress).count > before + WRITES)
        })?;
        // Another one each time.
        let port = lock(&writers[number as usize % writers.len()].progress).port;
        let index = nodes.ports().iter().position(|of_node| *of_node == port).context("it is a node's port")?;
        let concerned: Vec<&Writer> = writers.iter().filter(|writer| lock(&writer.progress).port == port).collect();
        let killed = Instant::now();
        nodes.kill(index);
        concerned.iter().for_each(|writer| lock(&writer.progress).first = None);
        wait(interrupt, "all is written again", || {
            concerned.iter().all(|writer| lock(&writer.progress).first.is_some())
        })?;
        let firsts = concerned.iter().filter_map(|writer| lock(&writer.progress).first);
        let longest = firsts.map(|first| first.saturating_duration_since(killed)).max().unwrap_or_default();
        eprintln!("kill {number} of {}: {:.0} ms", options.failovers, longest.as_secs_f64() * 1e3);
        times.push(longest);
        nodes.restart(index)?;
    }
    Ok(times)
}

/// Returns whether all nodes say that each of them leads slots.
fn lead_at_home(nodes: &Nodes) -> Result<bool> {
    for port in nodes.ports() {
        let text = resp::ask(port, &["CLUSTER", "NODES"])?;
        if text.lines().filter(|line| line.split(' ').count() > 8).count() != nodes.ports().len() {
            return Ok(false);
        }
    }
    nodes.are_whole()
}

fn wait(interrupt: &Interrupt, what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            bail!("not so after {PATIENCE:?}: {what}");
        }
        interrupt.sleep(POLL_EVERY)?;
    }
    Ok(())
}

impl Writer {
    fn start(number: usize, ports: &[u16], ends: &Arc<AtomicBool>) -> Writer {
        let (tag, progress) = (format!("writer-{number}"), Arc::<Mutex<Progress>>::default());
        let thread = {
            let (tag, progress, ports, ends) = (tag.clone(), progress.clone(), ports.to_vec(), ends.clone());
            thread::spawn(move || write(&tag, &progress, &ports, &ends))
        };
        Writer { tag, progress, thread }
    }
}

/// Writes until it is to end; returns of each key the last number that was acknowledged, and the last one that may be there.
fn write(
    tag: &str,
    progress: &Mutex<Progress>,
    ports: &[u16],
    ends: &AtomicBool,
) -> Result<BTreeMap<String, (u64, u64)>> {
    let mut written: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut port, mut connection) = (ports[0], None);
    for number in 1.. {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{{{tag}}}:{}", number % KEYS);
        let (acknowledged, possible) = written.entry(key.clone()).or_default();
        *possible = number;
        let asked = match connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(port),
        }
        .and_then(|mut open| {
            let reply = open.ask(&["SET", &key, &number.to_string()])?;
            connection = Some(open);
            Ok(reply)
        });
        let reply = asked.unwrap_or_default();
        if reply == "OK" {
            *acknowledged = number;
            let mut progress = lock(progress);
            progress.count += 1;
            progress.port = port;
            progress.first.get_or_insert_with(Instant::now);
            continue;
        }
        if let Some(moved) = reply.strip_prefix("-MOVED ") {
            port = moved.rsplit(':').next().and_then(|port| port.parse().ok()).context("MOVED has a port")?;
        } else {
            let known = ["-CLUSTERDOWN", "-TRYAGAIN", "-LOADING", "-UNCERTAIN", "-BUSY"];
            ensure!(reply.is_empty() || known.iter().any(|error| reply.starts_with(error)), "a write: {reply}");
            let at = ports.iter().position(|of_node| *of_node == port).unwrap_or(0);
            port = ports[(at + 1) % ports.len()];
            thread::sleep(REFUSED_PAUSE);
        }
        connection = None;
    }
    Ok(written)
}

/// Looks whether all is there that was acknowledged.
fn check(written: &BTreeMap<String, (u64, u64)>, tag: &str, ports: &[u16]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut port = ports[0];
    for (key, (acknowledged, possible)) in written {
        let found = loop {
            let reply = resp::ask(port, &["GET", key]).unwrap_or_else(|_| "-gone".to_owned());
            match reply.strip_prefix("-MOVED ").and_then(|moved| moved.rsplit(':').next()?.parse().ok()) {
                Some(moved) => port = moved,
                // One that is not there has no text.
                None if !reply.starts_with('-') => break reply.parse().unwrap_or(0),
                None => {
                    port = ports[(ports.iter().position(|of_node| *of_node == port).unwrap_or(0) + 1) % ports.len()]
                }
            }
            ensure!(Instant::now() < deadline, "{tag}: {key} cannot be read: {reply}");
            thread::sleep(REFUSED_PAUSE);
        };
        ensure!(
            (*acknowledged..=*possible).contains(&found),
            "LOST: {key} is {found}, {acknowledged} was acknowledged, and {possible} was sent last"
        );
    }
    Ok(())
}

/// Writes the report.
pub fn render(options: &Options, machine: &Machine, failovers: &Failovers) -> String {
    let mut sorted = failovers.times.clone();
    sorted.sort_unstable();
    let at = |part: f64| {
        let index = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        sorted.get(index).map_or_else(|| "—".to_owned(), |time| format!("{:.0} ms", time.as_secs_f64() * 1e3))
    };
    let mut facts = Table::new(2, ["fact", "value"]);
    for (name, value) in machine.facts() {
        facts.push(vec![(*name).to_owned(), value.clone()]);
    }
    facts.push(vec!["arguments of Basalt".to_owned(), options.servers.basalt_args_shown()]);
    let mut table = Table::new(1, ["leaders killed", "shortest", "median", "P99", "longest", "acknowledged", "lost"]);
    let cells = [sorted.len().to_string(), at(0.0), at(0.5), at(0.99), at(1.0), failovers.acknowledged.to_string()];
    // One that is missing ends the run.
    table.push(cells.into_iter().chain(["0".to_owned()]).collect());
    format!("{}\n{}", facts.render(options.style()), table.render(options.style()))
}
