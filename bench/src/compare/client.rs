//! The client, run once for one load: redis-benchmark, but for transactions, with subscribers where messages are published.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::benchmark_output::BenchmarkOutput;
use super::interrupt::Interrupt;
use super::load::{Asker, Load, Test};
use super::options::Options;
use super::placement;
use super::server;
use super::subscribers::Subscribers;
use super::transactions;

/// The client.
pub const REDIS_BENCHMARK: &str = "redis-benchmark";
/// The processor of the client with `--pin`.
const CLIENT_CPU: usize = 1;

/// The client process; it does not outlive this value.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        server::stop(&mut self.0);
    }
}

/// Loads the server on `port` with so many requests and returns what the client measured.
///
/// # Errors
/// If the client fails or the server answers with errors, or if a signal came.
pub fn run(load: Load, requests: u64, port: u16, options: &Options, interrupt: &Interrupt) -> Result<BenchmarkOutput> {
    let cpu = options.pin.then_some(CLIENT_CPU);
    let arguments = match load.test.asker() {
        Asker::Transactions { share_tag } => return transactions::run(load, share_tag, requests, port, cpu, interrupt),
        _ => load.arguments(port, requests).context("redis-benchmark asks all but transactions")?,
    };
    let subscribers = match load.test {
        Test::Publish => Some(Subscribers::start(port, cpu)?),
        _ => None,
    };
    let mut command = Command::new(REDIS_BENCHMARK);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    let mut client = Client(placement::spawn(&mut command, cpu)?);
    let mut stdout = client.0.stdout.take().context("the client's output is a pipe")?;
    let mut stderr = client.0.stderr.take().context("the client's errors are a pipe")?;
    let mut text = read_all(&mut stdout, interrupt)?;
    // A few lines at most, which fit the pipe while the output was read.
    text.push('\n');
    text.push_str(&read_all(&mut stderr, interrupt)?);
    let status = client.0.wait().context("the client's end could not be waited for")?;
    ensure!(status.success(), "{REDIS_BENCHMARK} for {load} ended with {status}: {}", last_line(&text));
    if let Some(subscribers) = subscribers {
        subscribers.end()?;
    }
    BenchmarkOutput::parse(&text).with_context(|| format!("{REDIS_BENCHMARK} for {load}"))
}

/// Reads until the other end is closed.
fn read_all(from: &mut (impl Read + AsFd), interrupt: &Interrupt) -> Result<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        interrupt.wait_readable(from.as_fd())?;
        match from.read(&mut chunk).context("the client's output could not be read")? {
            0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            length => bytes.extend_from_slice(&chunk[..length]),
        }
    }
}

fn last_line(text: &str) -> &str {
    text.split(['\n', '\r']).map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it printed nothing")
}
