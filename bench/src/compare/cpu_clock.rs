//! The processor time that a process has used.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::ClockId;
use nix::unistd::Pid;

/// The CPU clock of a process: user and system time of all its threads, also those that have ended, in nanoseconds.
///
/// It is the sum that `/proc/PID/stat` shows in steps of 10 ms. Child processes are not in it, so a fork of redis-server that
/// rewrites the append-only file costs it nothing here.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(ClockId);

impl CpuClock {
    /// The clock of process `pid`.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> Result<CpuClock> {
        let pid = i32::try_from(pid).context("a process id is no larger than 4194304")?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid));
        Ok(CpuClock(clock.with_context(|| format!("there is no CPU clock of process {pid}"))?))
    }

    /// Returns the time used since the process began.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn now(self) -> Result<Duration> {
        Ok(self.0.now().context("the server's CPU clock is gone, it has ended")?.into())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_time_of_other_threads_counts_also_when_they_have_ended() {
        let clock = CpuClock::of(std::process::id()).unwrap();
        let before = clock.now().unwrap();

        let used = thread::spawn(|| {
            let thread_clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                let used: Duration = thread_clock.now().unwrap().into();
                if used > Duration::from_millis(20) || Instant::now() > deadline {
                    return used;
                }
            }
        });
        let used = used.join().unwrap();

        assert!(clock.now().unwrap() - before >= used);
    }

    #[test]
    fn a_process_that_does_not_exist_has_no_clock() {
        assert!(CpuClock::of(4_194_304).is_err());
    }
}
