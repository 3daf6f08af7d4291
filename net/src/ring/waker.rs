//! The wake-up of a core that is blocked in its ring by other threads: one byte into a pipe that the ring reads.
//!
//! A pipe, not an eventfd: a ring with a registered eventfd (the one for parking) that watches an eventfd loses
//! later signals.

use std::{
    fmt,
    io::{self, PipeReader, PipeWriter, Write},
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Wakes the core that owns the ring it came from. Cheap to clone, usable from any thread, never blocks.
///
/// A system call each time: call it only if the core is known to be blocked in its ring.
#[derive(Clone)]
pub struct Waker {
    pipe: Arc<Pipe>,
}

/// Both ends in one place: as long as anyone can write there is a reader, so a late wake-up raises no SIGPIPE.
struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Waker {
    /// Makes the pipe. The reading end stays blocking: io_uring waits on it by itself, and would fail with EAGAIN if it
    /// did not block. The writing end does not block.
    pub(super) fn new() -> io::Result<Waker> {
        let (reader, writer) = io::pipe()?;
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Waker { pipe: Arc::new(Pipe { reader, writer }) })
    }

    /// Makes the ring's current or next waiting turn return with [`Event::Woken`](super::Event::Woken).
    pub fn wake(&self) {
        // A full pipe (EAGAIN) means that the core has wake-ups waiting already. EINTR cannot happen: nothing waits.
        // No other error is possible while the reader exists.
        let _ = (&self.pipe.writer).write(&[1]);
    }

    /// The descriptor that the ring reads.
    pub(super) fn reader(&self) -> RawFd {
        self.pipe.reader.as_raw_fd()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").field("pipe", &self.pipe.writer.as_raw_fd()).finish()
    }
}
