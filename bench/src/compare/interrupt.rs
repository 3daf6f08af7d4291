//! Ctrl-C and SIGTERM while servers run: every wait of this program also waits for them.
//!
//! The signals are blocked and read from a descriptor, so that a signal is an ordinary error at the place that waits, and
//! whoever holds a server stops it on the way out. Children start with no signal blocked: the standard library sees to that.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

/// The longest single wait: `poll` counts milliseconds in an `i32`.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// The signals that ask this program to stop.
#[derive(Debug)]
pub struct Interrupt {
    signals: SignalFd,
}

impl Interrupt {
    /// Takes SIGINT, SIGTERM and SIGHUP for this thread and those it starts from now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn watch() -> Result<Interrupt> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block().context("signals could not be blocked")?;
        Ok(Interrupt { signals: SignalFd::new(&set).context("signals could not be watched")? })
    }

    /// Waits for `duration`.
    ///
    /// # Errors
    /// If a signal came.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        let deadline = Instant::now() + duration;
        while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.wait(None, left)?;
        }
        Ok(())
    }

    /// Waits until something can be read from `fd`, or it is closed at the other end.
    ///
    /// # Errors
    /// If a signal came.
    pub fn wait_readable(&self, fd: BorrowedFd<'_>) -> Result<()> {
        while !self.wait(Some(fd), WAIT_MAX)? {}
        Ok(())
    }

    /// Waits for at most `longest`; returns whether `fd` is readable.
    fn wait(&self, fd: Option<BorrowedFd<'_>>, longest: Duration) -> Result<bool> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(fd.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        // One millisecond more, since poll's are whole and a rounded-down wait would spin.
        let timeout = PollTimeout::try_from(longest.min(WAIT_MAX) + Duration::from_millis(1))
            .context("an hour in milliseconds fits an i32")?;
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting failed"),
        }
        if fds[0].any().unwrap_or(false) {
            bail!("interrupted; the servers are stopped");
        }
        Ok(fds.get(1).is_some_and(|fd| fd.any().unwrap_or(false)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_signal_ends_a_wait_with_an_error_and_a_readable_descriptor_without() {
        let interrupt = Interrupt::watch().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();

        writer.write_all(b"x").unwrap();
        interrupt.wait_readable(reader.as_fd()).unwrap();
        interrupt.sleep(Duration::from_millis(1)).unwrap();

        // Blocked in this thread, so it stays pending here and ends no process.
        raise(Signal::SIGINT).unwrap();
        let refused = interrupt.sleep(Duration::from_secs(3600)).unwrap_err();
        assert!(refused.to_string().starts_with("interrupted"), "{refused}");
    }
}
