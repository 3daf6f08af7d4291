//! The reports of a turn of the ring to the core.

use std::os::fd::OwnedFd;

use super::{
    buffers::Input,
    ids::{ConnId, ListenerId},
};

/// Something that the core has to act on, taken one by one with [`Ring::next_event`](super::Ring::next_event).
#[derive(Debug)]
pub enum Event {
    /// A listener has accepted this socket. It belongs to nobody yet: [`add`](super::Ring::add) it to this ring or
    /// hand it to another core.
    Accepted(ListenerId, OwnedFd),
    /// Accepting failed with this errno for want of something (file descriptors, memory) and is tried again by itself
    /// after [`accept_retry`](super::RingOptions::accept_retry).
    AcceptFailed(ListenerId, i32),
    /// A connection that was asked for with [`connect`](super::Ring::connect) is made; one that cannot be is [`Event::Closed`].
    Connected(ConnId),
    /// Bytes from the peer, in order.
    Received(ConnId, Input),
    /// A connection has left this ring after [`release`](super::Ring::release): its socket, and the bytes that came since then. The
    /// next one to receive from it gets those behind them.
    Released(ConnId, OwnedFd, Box<[u8]>),
    /// The peer has ended the connection; no [`Event::Received`] follows. Reported once, and never for a connection
    /// that the core itself closes. The connection stays until [`close`](super::Ring::close) is called for it.
    Closed(ConnId, CloseReason),
    /// The output of this connection was above the high-water mark and is now below the low one.
    Writable(ConnId),
    /// A [`Waker`](super::Waker) was used since the last one of these.
    Woken,
}

/// The reason that the peer's end of a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer sends no more. It may still read (a half-closed client), so output can still be queued and flushed.
    Eof,
    /// The peer has reset the connection or no longer takes output. Queued output is gone.
    Reset,
    /// Another error, by its errno (`ETIMEDOUT` when keepalive gave up). Queued output is gone.
    Error(i32),
    /// More than [`output_bytes_max`](super::RingOptions::output_bytes_max) was queued. Queued output is gone.
    OutputLimit,
}

impl CloseReason {
    /// The reason that goes with a failed request's errno.
    pub(super) fn of_errno(errno: i32) -> CloseReason {
        match errno {
            libc::ECONNRESET | libc::EPIPE => CloseReason::Reset,
            other => CloseReason::Error(other),
        }
    }
}

/// The figures of one [`turn`](super::Ring::turn).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TurnStats {
    /// Completions that can become events; sends and cancellations are not counted.
    pub events: usize,
    /// The turn waited for its whole time and nothing came, or less than was to be gathered.
    pub timed_out: bool,
}
