//! A run from the server's start to the summary.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::time::ClockId;

use super::generator::{Ending, Generator};
use super::measurement::{FillFigures, Measurement};
use super::observer::{Observer, SECONDS_QUEUED_MAX, Sample};
use super::options::{Measured, Options};
use super::output_files::{OutputFile, OutputFiles};
use super::request_source::{KEY_BYTES, Plan, RequestSource};
use super::summary;
use super::timeline::Timeline;
use super::timeline_plot::{self, grouped};
use crate::compare::interrupt::Interrupt;
use crate::compare::machine::Machine;
use crate::compare::server::Server;
use crate::compare::table::Style;
use crate::disk_usage::disk_bytes;

/// Seconds between two lines on how far the fill is.
const PROGRESS_EVERY: u64 = 10;
/// Lines of the server's log that are shown.
const LOG_LINES_MAX: usize = 20;

/// Everything there is to say at the end.
#[derive(Debug)]
pub struct Outcome {
    /// The summary.
    pub summary: String,
    /// The reason that the run has failed, if it has: the server died, or hung. The summary is of what was measured until then.
    pub failure: Option<String>,
}

/// Measures what `options` ask for and writes the files.
///
/// Progress goes to the standard error.
///
/// # Errors
/// What could not be started, filled or written; also when a signal comes before anything is measured.
pub fn run(options: &Options) -> Result<Outcome> {
    // First of all, so that no signal finds a server running and nobody to stop it.
    let interrupt = Interrupt::watch()?;
    let mut files = OutputFiles::create(&options.output(), options.force)?;
    let measured = read_machine(options).and_then(|machine| {
        let (found, ended) = measure(options, &interrupt, &mut files.seconds)?;
        Ok((machine, found, ended))
    });
    let (machine, found, ended) = match measured {
        Ok(measured) => measured,
        Err(error) => {
            files.remove();
            return Err(error);
        }
    };
    let kind = options.server.kind();
    let title = format!("{kind}: latency and requests by the second");
    files.plot.write(&timeline_plot::draw(&title, &summary::load(options), &found.rows)?)?;
    let command_line = command_line();
    let (reason, failure) = match ended {
        Ok(Ending::Complete) => (None, None),
        Ok(Ending::Interrupted) => (Some("interrupted by a signal".to_string()), None),
        Err(error) => (Some(format!("{error:#}")), Some(format!("{error:#}"))),
    };
    let render = |style| summary::render(options, &command_line, &machine, &found, reason.as_deref(), style);
    files.summary.write(&render(Style::Markdown))?;
    for file in [&files.seconds, &files.plot, &files.summary] {
        eprintln!("written: {}", file.path().display());
    }
    Ok(Outcome { summary: render(Style::Plain), failure })
}

fn read_machine(options: &Options) -> Result<Machine> {
    let program: (&str, PathBuf) = match options.server {
        Measured::Basalt => ("Basalt", options.servers.basalt()?),
        Measured::Redis => ("redis-server", options.servers.redis.clone()),
    };
    Machine::read(&options.servers.dir, &[(program.0, &program.1)])
}

/// Starts the server, fills it and loads it.
fn measure(
    options: &Options,
    interrupt: &Interrupt,
    seconds_file: &mut OutputFile,
) -> Result<(Measurement, Result<Ending>)> {
    let mut server = Server::start(options.server.kind(), &options.servers, None, interrupt)?;
    let mut generator = Generator::connect(
        server.port(),
        usize::from(options.clients),
        usize::from(options.pipeline),
        options.data_bytes as usize,
        interrupt,
    )?;
    let measured = fill(&mut generator, &mut server, options)
        .and_then(|fill| load(&mut generator, &mut server, fill, options, seconds_file));
    if measured.as_ref().map_or(true, |(_, ended)| ended.is_err()) {
        // A server that has just ended says more than "connection reset".
        if let Err(error) = server.check_alive() {
            return measured.map(|(found, _)| (found, Err(error.context("the server has ended"))));
        }
    }
    show_log(&server.log());
    measured
}

/// Sets every key once.
fn fill(generator: &mut Generator, server: &mut Server, options: &Options) -> Result<FillFigures> {
    let keys = options.keys();
    let kind = options.server.kind();
    eprintln!("filling {kind} with {} keys", grouped(keys));
    let mut source = RequestSource::new(Plan::fill(keys), options.data_bytes as usize, options.seed);
    let cpu = server.cpu_time()?;
    let began = Instant::now();
    let mut timeline = Timeline::new(began, None);
    let mut done = 0;
    let ending = generator.run(&mut source, &mut timeline, None, |second| {
        done += second.tally.requests();
        if second.index % PROGRESS_EVERY == PROGRESS_EVERY - 1 {
            eprintln!("{} keys after {} s, {}/s", grouped(done), second.index + 1, grouped(done / (second.index + 1)));
        }
        Ok(())
    });
    let elapsed = began.elapsed();
    if ending.context("the server could not be filled")? == Ending::Interrupted {
        bail!("interrupted during the fill; nothing was measured");
    }
    let tally = timeline.whole_tally();
    if tally.errors > 0 {
        let first = generator.first_error().unwrap_or("without a text");
        bail!(
            "the server could not be filled: {} of {} SETs failed, first with: {first}",
            tally.errors,
            tally.requests()
        );
    }
    let fill = FillFigures {
        keys,
        elapsed,
        latencies: timeline.whole_latencies(),
        silent_seconds: timeline.silent_seconds(),
        cpu: server.cpu_time()? - cpu,
    };
    eprintln!(
        "filled in {:.1} s: {} SETs/s",
        elapsed.as_secs_f64(),
        grouped((keys as f64 / elapsed.as_secs_f64()) as u64)
    );
    Ok(fill)
}

/// Loads the server and watches it; what ends the load early is no error here, since what came until then counts.
fn load(
    generator: &mut Generator,
    server: &mut Server,
    fill: FillFigures,
    options: &Options,
    seconds_file: &mut OutputFile,
) -> Result<(Measurement, Result<Ending>)> {
    let seconds = options.seconds();
    let plan = Plan::Mix { keys: fill.keys, set_percent: u64::from(options.set_percent) };
    // Other keys and values than those of the fill.
    let mut source = RequestSource::new(plan, options.data_bytes as usize, options.seed.wrapping_add(1));
    let observer = Observer { pid: server.id(), data: server.data().to_path_buf(), seconds };
    let (sender, samples) = sync_channel(SECONDS_QUEUED_MAX);
    let mut cpu = server.cpu_time()?;
    let (cpu_before, own_before) = (cpu, own_cpu()?);
    let began = Instant::now();
    let length = Duration::from_secs(seconds);
    let mut timeline = Timeline::new(began, Some(seconds));
    let (ending, rows) = thread::scope(|scope| {
        // It takes the samples along: once it has failed, sending fails too and ends the load.
        let observer = &observer;
        let observing = scope.spawn(move || observer.observe(&samples, seconds_file));
        let ending = generator.run(&mut source, &mut timeline, Some(began + length), |second| {
            // A dead server has used nothing more; the connections tell that it is dead.
            let now = server.cpu_time().unwrap_or(cpu);
            let sample = Sample { second, cpu: now - std::mem::replace(&mut cpu, now) };
            sender.send(sample).map_err(|_| anyhow!("the seconds are not written down any more"))
        });
        drop(sender);
        (ending, observing.join())
    });
    let rows = rows.map_err(|_| anyhow!("the observer panicked"))?.context("the run could not be observed")?;
    let elapsed = if matches!(ending, Ok(Ending::Complete)) { length } else { began.elapsed() };
    let found = Measurement {
        fill,
        pair_bytes: KEY_BYTES as u64 + u64::from(options.data_bytes),
        elapsed,
        tally: timeline.whole_tally(),
        latencies: timeline.whole_latencies(),
        silent_seconds: timeline.silent_seconds(),
        cpu: server.cpu_time().unwrap_or(cpu) - cpu_before,
        generator_cpu: own_cpu()?.saturating_sub(own_before),
        first_error: generator.first_error().map(String::from),
        rows,
        disk_bytes: disk_bytes(server.data())?,
    };
    Ok((found, ending))
}

/// Processor time of this thread.
fn own_cpu() -> Result<Duration> {
    Ok(ClockId::CLOCK_THREAD_CPUTIME_ID.now().context("this thread has no CPU clock")?.into())
}

/// Shows the end of what the server has logged: at its level, warnings.
fn show_log(log: &str) {
    let lines: Vec<&str> = log.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
    if !shown.is_empty() {
        eprintln!("the server logged {} lines, the last of them:", lines.len());
        shown.iter().for_each(|line| eprintln!("  {line}"));
    }
}

/// This program's command line as it may be typed again.
fn command_line() -> String {
    let quoted = |arg: String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%".contains(c);
        if !arg.is_empty() && arg.chars().all(is_plain) { arg } else { format!("'{}'", arg.replace('\'', r"'\''")) }
    };
    let mut args = std::env::args();
    let name = args.next().unwrap_or_default();
    let name = Path::new(&name).file_name().map_or(name.clone(), |name| name.to_string_lossy().into_owned());
    std::iter::once(name).chain(args).map(quoted).collect::<Vec<String>>().join(" ")
}
