//! A connection for snapshots, with calls that block.
//!
//! A newcomer would set the socket's own timeouts and be done: each call would have the whole time again, and a peer that takes a
//! byte now and then would hold a thread for ever. So a message has a deadline as a whole.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use basalt_net::peer::{
    Acquaintance, Bounds, Decoder, Greeter, GroupNumber, Lane, Message, NodeNumber, Nonce, Outbox, Own, PeerError,
    PushError, RequestId, Session, Wanted,
};

use crate::limits::snapshots::{INPUT_BYTES, JOINED_BYTES_MAX};

/// A reason that a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The operating system's.
    #[error("the connection was cut: {0}")]
    Cut(#[from] io::Error),
    /// The other side has closed it.
    #[error("the other side has closed the connection")]
    Closed,
    /// The other side says nothing, or takes nothing.
    #[error("the other side has not moved for {} ms", .0.as_millis())]
    Silent(Duration),
    /// The other side does not keep to the protocol, or says that this one does not.
    #[error("{0}")]
    Peer(#[from] PeerError),
    /// More is to be joined than one snapshot needs.
    #[error("{0} bytes in messages that are not whole")]
    TooMuch(usize),
    /// The message to be sent is one that no peer takes.
    #[error("a message that cannot be sent: {0}")]
    Unsendable(#[from] PushError),
}

/// A message that has come.
pub(super) struct Incoming {
    pub(super) group: GroupNumber,
    pub(super) request: RequestId,
    pub(super) message: Message,
}

/// A connection that has been greeted.
pub(super) struct Wire {
    stream: TcpStream,
    decoder: Decoder,
    outbox: Outbox,
    /// Bytes received, of which those from `used` on are not decoded yet.
    input: Vec<u8>,
    used: usize,
    buffer: Vec<u8>,
    output: Vec<u8>,
    /// The longest that a message may take to be sent.
    patience: Duration,
}

impl Wire {
    /// Uses a connection with the session that its greeting has ended in; `unread` came behind it. `bounds` are those that this
    /// node named.
    pub(super) fn new(
        stream: TcpStream,
        session: Session,
        bounds: Bounds,
        unread: Vec<u8>,
        patience: Duration,
    ) -> io::Result<Wire> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        Ok(Wire {
            stream,
            decoder: Decoder::new(Lane::Snapshots, session.version, bounds),
            outbox: Outbox::new(Lane::Snapshots, session.version, session.bounds, 0),
            input: unread,
            used: 0,
            buffer: vec![0; INPUT_BYTES],
            output: Vec::new(),
            patience,
        })
    }

    /// Greets whoever has accepted `stream`. `patience` holds for the greeting as a whole.
    pub(super) fn dial(
        mut stream: TcpStream,
        own: &Own,
        wanted: Wanted,
        acquaintance: &dyn Fn(NodeNumber) -> Acquaintance,
        greeting_wait: Duration,
        patience: Duration,
    ) -> Result<Wire, WireError> {
        let deadline = Instant::now() + greeting_wait;
        let mut output = Vec::new();
        let mut greeter = Greeter::dial(own.clone(), wanted, Nonce(rand::random()), &mut output);
        let mut buffer = [0; 1 << 10];
        loop {
            write(&mut stream, &output, deadline, greeting_wait)?;
            output.clear();
            let read = read(&mut stream, &mut buffer, deadline)?.ok_or(WireError::Silent(greeting_wait))?;
            let mut input = &buffer[..read];
            match greeter.feed(&mut input, acquaintance, &mut output) {
                Ok(None) => {}
                Ok(Some(session)) => {
                    write(&mut stream, &output, deadline, greeting_wait)?;
                    return Ok(Wire::new(stream, session, own.bounds, input.to_vec(), patience)?);
                }
                Err(error) => {
                    // The reason for the other side, if it still listens.
                    let _ = write(&mut stream, &output, deadline, greeting_wait);
                    return Err(error.into());
                }
            }
        }
    }

    /// Sends a message; returns once the system has all of it.
    pub(super) fn send(&mut self, group: GroupNumber, request: RequestId, message: Message) -> Result<(), WireError> {
        self.outbox.push(group, request, message)?;
        self.output.clear();
        self.outbox.take(usize::MAX, &mut self.output);
        write(&mut self.stream, &self.output, Instant::now() + self.patience, self.patience)
    }

    /// Waits for the next message until `deadline`.
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Option<Incoming>, WireError> {
        loop {
            if let Some(incoming) = self.decode()? {
                return Ok(Some(incoming));
            }
            let Some(read) = read(&mut self.stream, &mut self.buffer, deadline)? else { return Ok(None) };
            self.take_in(read);
        }
    }

    /// Returns the next message if it has come.
    pub(super) fn poll(&mut self) -> Result<Option<Incoming>, WireError> {
        loop {
            if let Some(incoming) = self.decode()? {
                return Ok(Some(incoming));
            }
            self.stream.set_nonblocking(true)?;
            let read = self.stream.read(&mut self.buffer);
            self.stream.set_nonblocking(false)?;
            match read {
                Ok(0) => return Err(WireError::Closed),
                Ok(read) => self.take_in(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says why the connection is ended, if the other side understands it.
    pub(super) fn refuse(&mut self, error: &PeerError) {
        if let Some(refusal) = error.refusal() {
            let _ = self.send(GroupNumber::NONE, RequestId(0), Message::Refusal(refusal));
        }
    }

    /// Keeps what was read behind what is not decoded yet, which is less than a frame.
    fn take_in(&mut self, read: usize) {
        self.input.drain(..self.used);
        self.used = 0;
        self.input.extend_from_slice(&self.buffer[..read]);
    }

    fn decode(&mut self) -> Result<Option<Incoming>, WireError> {
        let mut unread = &self.input[self.used..];
        let before = unread.len();
        let frame = self.decoder.next(&mut unread);
        let used = before - unread.len();
        let incoming = match frame {
            Ok(None) => Ok(None),
            Ok(Some(frame)) => {
                let (group, request) = (frame.group, frame.request);
                frame.message().map(|message| Some(Incoming { group, request, message }))
            }
            Err(error) => Err(error),
        };
        self.used += used;
        match incoming {
            Ok(Some(Incoming { message: Message::Refusal(refusal), .. })) => {
                Err(PeerError::RefusedByPeer(refusal).into())
            }
            Ok(incoming) => {
                let kept = self.decoder.kept_bytes();
                if kept > JOINED_BYTES_MAX { Err(WireError::TooMuch(kept)) } else { Ok(incoming) }
            }
            Err(error) => {
                self.refuse(&error);
                Err(error.into())
            }
        }
    }
}

/// Reads what is there, or waits for it until `deadline`; returns none when it has passed.
fn read(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> Result<Option<usize>, WireError> {
    loop {
        let Some(left) = time_left(deadline) else { return Ok(None) };
        stream.set_read_timeout(Some(left))?;
        match stream.read(buffer) {
            Ok(0) => return Err(WireError::Closed),
            Ok(read) => return Ok(Some(read)),
            Err(error) if is_to_be_repeated(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes all of `bytes` until `deadline`, which was set `patience` ahead.
fn write(stream: &mut TcpStream, mut bytes: &[u8], deadline: Instant, patience: Duration) -> Result<(), WireError> {
    while !bytes.is_empty() {
        let left = time_left(deadline).ok_or(WireError::Silent(patience))?;
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(WireError::Closed),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_to_be_repeated(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The time until `deadline`, as the system takes it: not nothing.
fn time_left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then(|| left.max(Duration::from_millis(1)))
}

fn is_to_be_repeated(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
