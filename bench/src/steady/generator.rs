//! The load: one thread, one epoll, all clients.
//!
//! A request costs this thread a part of a read and of a write and no allocation, so that one processor is enough for it and the
//! other one is the server's.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::connection::Connection;
use super::request_source::RequestSource;
use super::timeline::{Second, Timeline};
use crate::compare::interrupt::Interrupt;

/// Bytes of a read: the replies of some batches.
const READ_BYTES: usize = 64 * 1024;
/// Events of a wait.
const EVENTS: usize = 256;
/// A server that answers nothing at all for so long has hung, and the run ends.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The interrupt's number among the connections'.
const INTERRUPT: u64 = u64::MAX;

/// The way a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As planned.
    Complete,
    /// By a signal.
    Interrupted,
}

/// All clients.
#[derive(Debug)]
pub struct Generator {
    epoll: Epoll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    /// The first error that the server answered with.
    first_error: Option<String>,
}

impl Generator {
    /// Connects so many clients to the server on `port`; each sends `pipeline` requests at once.
    ///
    /// # Errors
    /// If one cannot connect.
    pub fn connect(
        port: u16,
        clients: usize,
        pipeline: usize,
        data_bytes: usize,
        interrupt: &Interrupt,
    ) -> Result<Generator> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("there is no epoll")?;
        let watched = "epoll takes no more descriptors";
        epoll.add(interrupt, EpollEvent::new(EpollFlags::EPOLLIN, INTERRUPT)).context(watched)?;
        let mut connections = Vec::with_capacity(clients);
        for index in 0..clients {
            let connection = Connection::open(port, pipeline, data_bytes)?;
            epoll.add(&connection, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).context(watched)?;
            connections.push(connection);
        }
        Ok(Generator { epoll, connections, buffer: vec![0; READ_BYTES], first_error: None })
    }

    /// Returns the first error that the server answered with.
    pub fn first_error(&self) -> Option<&str> {
        self.first_error.as_deref()
    }

    /// Sends the requests of `source` until there are none left or `deadline` has come, and waits for their replies; counts them in
    /// `timeline` and hands each second to `on_second`. A signal ends it at once.
    ///
    /// # Errors
    /// If the server closes a connection, hangs or sends what are no replies, or `on_second` fails. The timeline has what came
    /// until then.
    pub fn run(
        &mut self,
        source: &mut RequestSource,
        timeline: &mut Timeline,
        deadline: Option<Instant>,
        mut on_second: impl FnMut(Second) -> Result<()>,
    ) -> Result<Ending> {
        let ending = self.load(source, timeline, deadline, &mut on_second);
        if !matches!(ending, Ok(Ending::Complete)) {
            self.count_unanswered(timeline);
        }
        timeline.finish(Instant::now()).map_or(Ok(()), on_second)?;
        ending
    }

    fn load(
        &mut self,
        source: &mut RequestSource,
        timeline: &mut Timeline,
        deadline: Option<Instant>,
        on_second: &mut impl FnMut(Second) -> Result<()>,
    ) -> Result<Ending> {
        let mut active = 0;
        for index in 0..self.connections.len() {
            active += usize::from(self.send(index, source)?);
        }
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut heard = Instant::now();
        while active > 0 {
            let count = self.wait(timeline, &mut events)?;
            let now = Instant::now();
            close_seconds(timeline, now, on_second)?;
            ensure!(now - heard <= SILENCE_MAX, "the server has answered nothing for {SILENCE_MAX:?}");
            for event in &events[..count] {
                if event.data() == INTERRUPT {
                    return Ok(Ending::Interrupted);
                }
                let index = usize::try_from(event.data()).context("connections are numbered by usize")?;
                let connection = &mut self.connections[index];
                if event.events().contains(EpollFlags::EPOLLOUT) {
                    connection.write_on()?;
                    self.watch(index, self.connections[index].is_blocked())?;
                }
                if !event.events().intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                    continue;
                }
                let connection = &mut self.connections[index];
                let replies = connection.read(&mut self.buffer, &mut self.first_error)?;
                let now = Instant::now();
                if replies.requests() == 0 {
                    continue;
                }
                close_seconds(timeline, now, on_second)?;
                timeline.record(now - connection.started(), replies);
                heard = now;
                if connection.is_idle() {
                    let is_over = deadline.is_some_and(|deadline| now >= deadline);
                    if is_over || !self.send(index, source)? {
                        active -= 1;
                    }
                }
            }
        }
        Ok(Ending::Complete)
    }

    /// Sends a batch; returns whether there was one.
    fn send(&mut self, index: usize, source: &mut RequestSource) -> Result<bool> {
        let connection = &mut self.connections[index];
        let has_sent = connection.send_batch(source)?;
        if connection.is_blocked() {
            self.watch(index, true)?;
        }
        Ok(has_sent)
    }

    /// Watches for replies, and for room to write if `to_write`.
    fn watch(&self, index: usize, to_write: bool) -> Result<()> {
        let flags = if to_write { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
        let connection = &self.connections[index];
        self.epoll.modify(connection, &mut EpollEvent::new(flags, index as u64)).context("epoll knows all connections")
    }

    /// Waits for events, at most until the second ends.
    fn wait(&self, timeline: &Timeline, events: &mut [EpollEvent]) -> Result<usize> {
        let left = timeline.second_ends().saturating_duration_since(Instant::now());
        // Whole milliseconds, one more so that it is over afterwards; at least one, since a late reply's second never ends.
        let ms = u16::try_from(left.as_millis()).unwrap_or(1_000).saturating_add(1);
        match self.epoll.wait(events, EpollTimeout::from(ms)) {
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => bail!("waiting failed: {error}"),
        }
    }

    /// Counts the batches that are on their way, as late as they are: where a server hangs they are the slow ones, and must not
    /// vanish from the latencies. They are no replies, so they are in no tally.
    fn count_unanswered(&self, timeline: &mut Timeline) {
        let now = Instant::now();
        for connection in self.connections.iter().filter(|connection| !connection.is_idle()) {
            timeline.record_unanswered(now.saturating_duration_since(connection.started()), connection.unanswered());
        }
    }
}

fn close_seconds(
    timeline: &mut Timeline,
    now: Instant,
    on_second: &mut impl FnMut(Second) -> Result<()>,
) -> Result<()> {
    while let Some(second) = timeline.close(now) {
        on_second(second)?;
    }
    Ok(())
}
