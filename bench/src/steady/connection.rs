//! A client: one batch of requests on its way at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::reply_parser::{Reply, ReplyParser};
use super::request_source::RequestSource;
use super::timeline::Tally;

/// A non-blocking connection with its batch.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    parser: ReplyParser,
    pipeline: usize,
    /// Bytes of the values, to compare GETs with.
    data_bytes: u64,
    /// The batch's requests, of which the first `written` bytes are with the kernel.
    bytes: Vec<u8>,
    written: usize,
    /// For each request of the batch, true if it is a SET.
    is_set: Vec<bool>,
    answered: usize,
    started: Instant,
}

impl Connection {
    /// Connects to the server on `port`.
    ///
    /// # Errors
    /// If it does not listen, or there are no descriptors left.
    pub fn open(port: u16, pipeline: usize, data_bytes: usize) -> Result<Connection> {
        let connect = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok::<TcpStream, std::io::Error>(stream)
        };
        Ok(Connection {
            stream: connect().context("a client could not connect to the server")?,
            parser: ReplyParser::new(),
            pipeline,
            data_bytes: data_bytes as u64,
            bytes: Vec::new(),
            written: 0,
            is_set: Vec::with_capacity(pipeline),
            answered: 0,
            started: Instant::now(),
        })
    }

    /// Returns whether all of its requests are answered.
    pub fn is_idle(&self) -> bool {
        self.answered == self.is_set.len()
    }

    /// Returns the number of its requests that have no reply.
    pub fn unanswered(&self) -> u64 {
        (self.is_set.len() - self.answered) as u64
    }

    /// Returns whether some of its requests are still to be written.
    pub fn is_blocked(&self) -> bool {
        self.written < self.bytes.len()
    }

    /// Returns the moment at which its batch was written first.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Sends the next batch; returns whether there was one.
    ///
    /// # Errors
    /// If the server has closed the connection.
    ///
    /// # Panics
    /// If the batch before has not been answered.
    pub fn send_batch(&mut self, source: &mut RequestSource) -> Result<bool> {
        assert!(self.is_idle() && !self.is_blocked(), "a client has one batch on its way");
        self.bytes.clear();
        // Allocates for the first batch alone.
        self.bytes.reserve(self.pipeline * source.request_bytes_max());
        self.is_set.clear();
        (self.answered, self.written) = (0, 0);
        while self.is_set.len() < self.pipeline {
            let Some(is_set) = source.append(&mut self.bytes) else { break };
            self.is_set.push(is_set);
        }
        if self.is_set.is_empty() {
            return Ok(false);
        }
        self.started = Instant::now();
        self.write_on()?;
        Ok(true)
    }

    /// Writes what the kernel takes of what is left of the batch.
    ///
    /// # Errors
    /// If the server has closed the connection.
    pub fn write_on(&mut self) -> Result<()> {
        while self.is_blocked() {
            match self.stream.write(&self.bytes[self.written..]) {
                Ok(0) => bail!("the server has closed a connection"),
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("requests could not be written"),
            }
        }
        Ok(())
    }

    /// Reads once, with `buffer` as the place for it, and returns which replies have come. `first_error` gets the text of an error
    /// if it has none yet.
    ///
    /// # Errors
    /// If the server has closed the connection or what it sent are no replies to these requests.
    pub fn read(&mut self, buffer: &mut [u8], first_error: &mut Option<String>) -> Result<Tally> {
        let length = match self.stream.read(buffer) {
            Ok(0) => bail!("the server has closed a connection"),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error).context("replies could not be read"),
        };
        let mut bytes = &buffer[..length];
        let mut tally = Tally::default();
        while let Some(reply) = self.parser.next(&mut bytes)? {
            let is_set =
                *self.is_set.get(self.answered).context("the server sent more replies than it got requests")?;
            self.answered += 1;
            tally += self.judge(reply, is_set, first_error)?;
        }
        ensure!(bytes.is_empty(), "the parser takes everything");
        Ok(tally)
    }

    /// Counts one reply.
    fn judge(&self, reply: Reply, is_set: bool, first_error: &mut Option<String>) -> Result<Tally> {
        let mut tally = Tally { sets: u64::from(is_set), gets: u64::from(!is_set), ..Tally::default() };
        match (reply, is_set) {
            (Reply::Error, _) => {
                tally.errors = 1;
                first_error.get_or_insert_with(|| self.parser.error());
            }
            (Reply::Simple, true) => {}
            (Reply::Bulk(length), false) => tally.misses = u64::from(length != self.data_bytes),
            (Reply::Null, false) => tally.misses = 1,
            (reply, _) => bail!("the reply to a {} is {reply:?}", if is_set { "SET" } else { "GET" }),
        }
        Ok(tally)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
