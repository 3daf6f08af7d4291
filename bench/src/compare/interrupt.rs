//! Ctrl-C and SIGTERM while servers run: every wait of this program also waits for them.
//!
//! A signal is written to a pipe and read where the program waits, so that it is an ordinary error there, and whoever holds a
//! server stops it on the way out. Blocking the signals would do as much, but children would inherit that and be deaf to them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// The longest single wait: `poll` counts milliseconds in an `i32`.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// The signals that ask this program to stop.
#[derive(Debug)]
pub struct Interrupt {
    /// Readable once a signal has come, and never read: one is enough.
    signalled: UnixStream,
}

impl Interrupt {
    /// Takes SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn watch() -> Result<Interrupt> {
        let watch = || -> io::Result<UnixStream> {
            let (signalled, signal) = UnixStream::pair()?;
            for number in [SIGINT, SIGTERM, SIGHUP] {
                pipe::register(number, signal.try_clone()?)?;
            }
            Ok(signalled)
        };
        Ok(Interrupt { signalled: watch().context("signals could not be watched")? })
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
        let mut fds = vec![PollFd::new(self.signalled.as_fd(), PollFlags::POLLIN)];
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

/// Readable once a signal has come.
impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signalled.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[test]
    fn a_signal_ends_a_wait_with_an_error_and_a_readable_descriptor_without() {
        let interrupt = Interrupt::watch().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();

        writer.write_all(b"x").unwrap();
        interrupt.wait_readable(reader.as_fd()).unwrap();
        interrupt.sleep(Duration::from_millis(1)).unwrap();

        raise(Signal::SIGHUP).unwrap();
        let refused = interrupt.sleep(Duration::from_secs(3600)).unwrap_err();
        assert!(refused.to_string().starts_with("interrupted"), "{refused}");
    }
}
