//! A process of a system: started with a log of its own, killed and forgotten when it goes out of scope.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::compare::cpu_clock::CpuClock;
use crate::compare::server;

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    clock: CpuClock,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, with what it says in the file `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Process> {
        let name = command.get_program().display().to_string();
        let file = File::create(log).with_context(|| format!("{} cannot be made", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone().context("out of descriptors")?).stderr(file);
        // Ctrl-C is for this program, which then stops its servers itself.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("{name} could not be started"))?;
        let clock = CpuClock::of(child.id()).inspect_err(|_| server::stop(&mut child))?;
        Ok(Process { child, clock, log: log.to_owned() })
    }

    /// Returns the processor time it has used.
    ///
    /// # Errors
    /// If it has ended, with the end of its log.
    pub fn cpu_time(&mut self) -> Result<Duration> {
        self.check_alive()?;
        self.clock.now()
    }

    /// Fails once it has ended.
    ///
    /// # Errors
    /// How it has ended, with the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait().context("a server's state is unknown")? {
            None => Ok(()),
            Some(status) => bail!("a server has ended with {status}; its log: {}", self.log()),
        }
    }

    /// Returns the end of what it has logged.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_else(|error| format!("unreadable: {error}"));
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        server::stop(&mut self.child);
    }
}

/// Ports where nobody listens just now, as many as are asked for.
///
/// # Errors
/// If there are none.
pub fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    // All at once, so that none is given out twice.
    let mut listeners = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?);
    }
    let mut ports = [0; COUNT];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().context("the port is unknown")?.port();
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_is_told_of_with_what_it_said() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out of luck; exit 3"]);
        let mut process = Process::start(command, &directory.path().join("log")).unwrap();
        process.child.wait().unwrap();
        let told = process.check_alive().unwrap_err().to_string();
        assert!(told.contains("out of luck") && told.contains('3'), "{told}");
    }

    #[test]
    fn ports_are_all_different() {
        let mut ports = free_ports::<20>().unwrap().to_vec();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }
}
