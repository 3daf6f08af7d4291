//! A server while it runs: started on an empty directory, stopped and removed when it goes out of scope.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::cpu_clock::CpuClock;
use super::interrupt::Interrupt;
use super::placement;
use super::server_kind::ServerKind;
use super::server_options::ServerOptions;

/// A server that does not answer for so long has failed to start.
const START_MAX: Duration = Duration::from_secs(30);
/// Interval at which a starting server is asked.
const POLL_EVERY: Duration = Duration::from_millis(5);
/// A server that takes longer to answer is not ready.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// A running server.
#[derive(Debug)]
pub struct Server {
    kind: ServerKind,
    port: u16,
    process: Child,
    clock: CpuClock,
    /// The directory of its data.
    data: PathBuf,
    // Removed after the process has ended: see `drop`.
    dir: TempDir,
}

impl Server {
    /// Starts a server on a free port and an empty directory, on processor `cpu` alone if there is one, and waits until it
    /// answers.
    ///
    /// # Errors
    /// If it does not start, with what it logged, or if a signal came.
    pub fn start(
        kind: ServerKind,
        options: &ServerOptions,
        cpu: Option<usize>,
        interrupt: &Interrupt,
    ) -> Result<Server> {
        let dir = tempfile::Builder::new()
            .prefix(".basalt-bench-")
            .tempdir_in(&options.dir)
            .with_context(|| format!("no data directory can be made in {}", options.dir.display()))?;
        let data = dir.path().canonicalize().context("the data directory just made is gone")?.join("data");
        fs::create_dir(&data).with_context(|| format!("{} cannot be made", data.display()))?;
        let log = File::create(dir.path().join("log")).context("no log file can be made")?;
        let port = free_port()?;
        let mut command = kind.command(options, cpu, port, &data)?;
        command.stdin(Stdio::null()).stdout(log.try_clone().context("out of descriptors")?).stderr(log);
        // Ctrl-C is for this program, which then stops the server itself.
        command.process_group(0);
        let mut process = placement::spawn(&mut command, cpu)?;
        let clock = match CpuClock::of(process.id()) {
            Ok(clock) => clock,
            Err(error) => {
                stop(&mut process);
                return Err(error);
            }
        };
        let mut server = Server { kind, port, process, clock, data, dir };
        server.wait_ready(interrupt)?;
        Ok(server)
    }

    /// Returns the port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the processor time it has used.
    ///
    /// # Errors
    /// If it has ended, with what it logged.
    pub fn cpu_time(&mut self) -> Result<Duration> {
        self.check_alive()?;
        self.clock.now()
    }

    /// Returns how much memory is resident, in bytes.
    ///
    /// # Errors
    /// If it has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        resident_bytes_of(self.process.id())
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the directory of its data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    fn wait_ready(&mut self, interrupt: &Interrupt) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while !answers(self.port) {
            self.check_alive()?;
            if Instant::now() > deadline {
                bail!("{} does not answer {START_MAX:?} after its start; its log: {}", self.kind, self.log());
            }
            interrupt.sleep(POLL_EVERY)?;
        }
        // It may be another program that answers, if this one could not take the port.
        self.check_alive()
    }

    /// Fails once it has ended.
    ///
    /// # Errors
    /// How it has ended, with what it logged.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.process.try_wait().context("the server's state is unknown")? {
            None => Ok(()),
            Some(status) => bail!("{} has ended with {status}; its log: {}", self.kind, self.log()),
        }
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        match fs::read_to_string(self.dir.path().join("log")) {
            Ok(text) => text.trim().to_string(),
            Err(error) => format!("unreadable: {error}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&mut self.process);
    }
}

/// Ends a process at once: a server's data is thrown away, so it need not write it out first.
///
/// The process is this program's own child and has not been waited for, so its id is not another's.
pub fn stop(process: &mut Child) {
    // Both fail only if it has ended already.
    let _ = process.kill();
    let _ = process.wait();
}

/// A port nobody listens on just now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?;
    Ok(listener.local_addr().context("the port is unknown")?.port())
}

/// Returns whether a server on `port` has its data. A PING is answered before that.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into(), ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.write_all(b"DBSIZE\r\n")?;
        let mut first = [0];
        stream.read_exact(&mut first)?;
        // Neither an error nor anything else than a number.
        Ok(&first == b":")
    };
    ask().unwrap_or(false)
}

/// Returns how much memory of process `pid` is resident, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn resident_bytes_of(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    resident_bytes(&status).with_context(|| format!("{path} has no VmRSS"))
}

/// Finds `VmRSS:    12345 kB` in `/proc/PID/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read() {
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t   12 kB\nRssAnon:\t 1 kB\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\n"), None);
    }

    #[test]
    fn a_port_where_nobody_listens_does_not_answer() {
        assert!(!answers(free_port().unwrap()));
    }
}
