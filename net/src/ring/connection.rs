//! One connection: what is queued, what the kernel has of it, and how it ends.
//!
//! At most three requests of a connection are in the kernel: a multishot receive, a send and a cancellation; before it is made,
//! the connect in the place of the first two. The descriptor is closed or given away, and the memory of a send is touched, only
//! when none refers to it.

#![allow(unsafe_code, reason = "requests to the kernel")]

use std::{
    mem,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use io_uring::{
    opcode,
    types::{CancelBuilder, Fd},
};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use crate::limits::CUT_REST_BYTES_MAX;

use super::{
    ids::ConnId,
    queue::{Finish, Queue},
    spare_buffers::SpareBuffers,
    token::{Kind, Token},
};

/// The stage of a connection on its way to being closed by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    /// To be closed when all output is sent.
    Flushing,
    /// To be given away when all output is sent and the kernel lets go of it.
    Leaving,
    /// To be closed as soon as the kernel lets go of it.
    Closing,
}

/// The end of the output of a peer that is cut off.
#[derive(Debug)]
pub(super) struct Cut {
    /// The last message to it.
    pub(super) last: Vec<u8>,
    /// Finds the end of the first message in the output that ends at or behind a position.
    pub(super) end_of: fn(&[u8], usize) -> Option<usize>,
}

/// The cancellation in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancelling {
    Nothing,
    Receive,
    Everything,
}

/// A connection and its place in the state machine. Methods that can leave nothing to wait for return `true` when the
/// connection is to be taken out of the table.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    /// The address that it is being connected to, for the kernel to read.
    dialing: Option<Box<SockaddrStorage>>,
    /// Queued by the core; has capacity only while it is in use.
    output: Vec<u8>,
    /// Being sent, from `sent` on. Not touched while `send_in_flight`.
    sending: Vec<u8>,
    sent: usize,
    /// Waits for the send in flight to be cancelled.
    cut: Option<Cut>,
    /// Set if what the peer still sends is received and dropped until it has closed its end: a socket that is closed with input in
    /// it drops the output that is on its way.
    lingers: bool,
    life: Life,
    cancelling: Cancelling,
    receiving: bool,
    send_in_flight: bool,
    paused: bool,
    /// Waits in the ring's list for a buffer.
    starved: bool,
    /// The peer sends no more.
    ended: bool,
    /// The peer takes no more.
    broken: bool,
    /// The core has been told that the peer has closed.
    reported: bool,
    /// In the ring's list of connections to flush.
    dirty: bool,
    over_high: bool,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Connection {
        Connection {
            socket,
            dialing: None,
            output: Vec::new(),
            sending: Vec::new(),
            sent: 0,
            cut: None,
            lingers: false,
            life: Life::Open,
            cancelling: Cancelling::Nothing,
            receiving: false,
            send_in_flight: false,
            paused: false,
            starved: false,
            ended: false,
            broken: false,
            reported: false,
            dirty: false,
            over_high: false,
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Queued output and the part of it that is being sent, in bytes.
    #[inline]
    pub(super) fn output_bytes(&self) -> usize {
        self.output.len() + self.sending.len() - self.sent
    }

    /// A number that changes when the peer takes output, while none is added: a long send tells nothing before it is over,
    /// but TCP knows what the peer has acknowledged.
    pub(super) fn progress(&self) -> u64 {
        // SAFETY: plain integers, for which zero is a value.
        let mut info: libc::tcp_info = unsafe { mem::zeroed() };
        let mut len = mem::size_of::<libc::tcp_info>() as libc::socklen_t;
        let into: *mut libc::tcp_info = &mut info;
        // SAFETY: the kernel writes at most `len` bytes, which `info` has, and the socket is open.
        let got = unsafe {
            libc::getsockopt(self.socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, into.cast(), &mut len)
        };
        // A socket of another family; what is left to send only shrinks.
        if got == 0 { info.tcpi_bytes_acked } else { self.output_bytes() as u64 }
    }

    /// Capacity of the output buffers, in bytes.
    pub(super) fn output_capacity(&self) -> usize {
        self.output.capacity() + self.sending.capacity()
    }

    /// Returns the buffer to which the core appends output, and whether the connection must be put on the list to flush. `None` if
    /// nothing can be sent any more.
    #[inline]
    pub(super) fn output(&mut self, spare: &mut SpareBuffers) -> Option<(&mut Vec<u8>, bool)> {
        if self.life != Life::Open || self.broken {
            return None;
        }
        if self.output.capacity() == 0 {
            self.output = spare.take();
        }
        let newly_dirty = !mem::replace(&mut self.dirty, true);
        Some((&mut self.output, newly_dirty))
    }

    // ---- connecting

    /// Has the kernel connect the socket, which is new.
    pub(super) fn connect(&mut self, address: SocketAddr, id: ConnId, queue: &mut Queue) {
        let address = self.dialing.insert(Box::new(SockaddrStorage::from(address)));
        let connect = opcode::Connect::new(Fd(self.socket.as_raw_fd()), address.as_ptr(), address.len()).build();
        // SAFETY: the address stays in its box while `dialing`, which ends with the request, and so does the socket; the ring waits
        // for all requests before it drops the table.
        unsafe { queue.push(connect, Token::of(Kind::Connect, id), Finish::Later) }
    }

    /// The connection is made, or will not be; returns true if the core wants to know.
    pub(super) fn connected(&mut self) -> bool {
        assert!(self.dialing.take().is_some(), "a connection is made once");
        self.life == Life::Open
    }

    // ---- receiving

    /// Returns true if what the peer sends is for the core.
    pub(super) fn wants_input(&self) -> bool {
        self.life == Life::Open && !self.reported
    }

    /// Arms the receive if it is wanted and nothing stands in its way; tells whether it did.
    pub(super) fn receive(&mut self, id: ConnId, queue: &mut Queue) -> bool {
        let lingers = self.lingers && self.life == Life::Flushing && !self.broken;
        let wanted = (lingers || (self.wants_input() && !self.paused)) && !self.ended;
        let is_free = !self.receiving && self.dialing.is_none() && self.cancelling == Cancelling::Nothing;
        if !wanted || self.starved || !is_free {
            return false;
        }
        self.receiving = true;
        let receive = opcode::RecvMulti::new(Fd(self.socket.as_raw_fd()), 0).build();
        // SAFETY: the request refers to no memory but the registered buffers, and the socket stays open while `receiving`.
        unsafe { queue.push(receive, Token::of(Kind::Receive, id), Finish::Later) }
        true
    }

    /// Stops receiving until [`resume`](Self::resume).
    pub(super) fn pause(&mut self, id: ConnId, queue: &mut Queue) {
        self.paused = true;
        self.cancel(Cancelling::Receive, id, queue);
    }

    /// Receives again.
    pub(super) fn resume(&mut self, id: ConnId, queue: &mut Queue) {
        self.paused = false;
        self.receive(id, queue);
    }

    /// A receive has brought bytes; the request stays armed if there is `more`.
    pub(super) fn received(&mut self, more: bool, id: ConnId, queue: &mut Queue) -> bool {
        self.receiving = more;
        let is_dropped = self.lingers && self.life == Life::Flushing;
        if more && (self.paused || self.life != Life::Open) && !is_dropped {
            self.cancel(Cancelling::Receive, id, queue); // the earlier cancellation, if any, did not meet it
        }
        self.settle(id, queue)
    }

    /// The receive is over without an answer to why: it was cancelled or interrupted.
    pub(super) fn receive_stopped(&mut self, id: ConnId, queue: &mut Queue) -> bool {
        self.receiving = false;
        self.settle(id, queue)
    }

    /// The receive is over for want of a buffer; tells whether the connection now waits for one.
    pub(super) fn receive_starved(&mut self) -> bool {
        self.receiving = false;
        self.starved = self.life == Life::Open || (self.lingers && self.life == Life::Flushing);
        self.starved
    }

    /// There are buffers again; tells whether the receive was armed.
    pub(super) fn receive_fed(&mut self, id: ConnId, queue: &mut Queue) -> bool {
        self.starved = false;
        self.receive(id, queue)
    }

    /// The peer sends no more.
    pub(super) fn receive_ended(&mut self) {
        self.receiving = false;
        self.ended = true;
    }

    // ---- sending

    /// Queues the next send, of at most `bytes_max` bytes, unless one is in flight; tells whether it did.
    pub(super) fn send(&mut self, bytes_max: u32, id: ConnId, queue: &mut Queue, spare: &mut SpareBuffers) -> bool {
        if self.send_in_flight || self.dialing.is_some() || self.broken || self.life == Life::Closing {
            return false;
        }
        if self.sent == self.sending.len() {
            spare.put(mem::take(&mut self.sending));
            self.sent = 0;
            mem::swap(&mut self.output, &mut self.sending);
        }
        let rest = &self.sending[self.sent..];
        if rest.is_empty() {
            spare.put(mem::take(&mut self.sending));
            return false;
        }
        let len = rest.len().min(bytes_max as usize) as u32;
        let send = opcode::Send::new(Fd(self.socket.as_raw_fd()), rest.as_ptr(), len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.send_in_flight = true;
        // SAFETY: `sending` is not changed, moved or dropped while `send_in_flight`: every change of it in this file is
        // behind that flag, the table drops a connection only when it is quiet, and the ring waits for all requests
        // before it drops the table. The socket stays open likewise.
        unsafe { queue.push(send, Token::of(Kind::Send, id), Finish::AtOnce) }
        true
    }

    /// A send has ended after `bytes` bytes.
    pub(super) fn sent(&mut self, bytes: usize) {
        assert!(self.send_in_flight, "a send completes once");
        self.send_in_flight = false;
        self.sent += bytes;
        assert!(self.sent <= self.sending.len(), "the kernel sends no more than it was given");
    }

    /// A send has failed.
    pub(super) fn send_failed(&mut self) {
        self.send_in_flight = false;
    }

    /// Notes whether the connection has come down from above `high` to below `low`; to be asked after every completed send of
    /// `bytes` bytes, since only they make the output shrink.
    pub(super) fn drained(&mut self, bytes: usize, high: usize, low: usize) -> bool {
        let left = self.output_bytes();
        self.over_high |= left + bytes > high;
        if !self.over_high || left >= low {
            return false;
        }
        self.over_high = false;
        self.life == Life::Open && !self.broken
    }

    /// The connection is being flushed: it is no longer on the list.
    pub(super) fn clean(&mut self) {
        self.dirty = false;
    }

    // ---- ending

    /// The peer takes no more: forgets all output.
    pub(super) fn break_off(&mut self, spare: &mut SpareBuffers) {
        self.broken = true;
        self.drop_output(spare);
    }

    /// Takes the report to the core that the peer has closed; `true` only once.
    pub(super) fn report(&mut self) -> bool {
        let first = matches!(self.life, Life::Open | Life::Leaving) && !self.reported;
        self.reported = true;
        first
    }

    /// Closes the connection for the core: after the output is sent, or at once.
    pub(super) fn close(&mut self, after_flush: bool, id: ConnId, queue: &mut Queue, spare: &mut SpareBuffers) -> bool {
        if self.life == Life::Closing {
            return false;
        }
        if after_flush && !self.broken && self.output_bytes() > 0 {
            self.life = Life::Flushing;
            self.cancel(Cancelling::Receive, id, queue);
            return false;
        }
        self.life = Life::Closing;
        self.cut = None;
        self.drop_output(spare);
        self.cancel(Cancelling::Everything, id, queue);
        self.is_quiet()
    }

    /// Gives the connection away, as soon as all output is sent and the kernel lets go of it: true if it does. None if it is being
    /// closed or made, or the peer takes no more.
    pub(super) fn release(&mut self, id: ConnId, queue: &mut Queue) -> Option<bool> {
        if self.life != Life::Open || self.broken || self.dialing.is_some() {
            return None;
        }
        self.life = Life::Leaving;
        self.cancel(Cancelling::Receive, id, queue);
        Some(self.settle(id, queue))
    }

    /// Returns true if it is given away, or about to be: what comes is for whoever gets it.
    pub(super) fn is_leaving(&self) -> bool {
        self.life == Life::Leaving
    }

    /// The socket of a connection that has left.
    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Drops the output but for the message that the peer has the beginning of, tells it `cut.last`, and closes the connection when
    /// that is sent.
    pub(super) fn cut(&mut self, cut: Cut, id: ConnId, queue: &mut Queue, spare: &mut SpareBuffers) -> bool {
        if self.life == Life::Closing || self.broken {
            return self.close(false, id, queue, spare);
        }
        (self.life, self.lingers) = (Life::Flushing, true);
        spare.put(mem::take(&mut self.output));
        self.cut = Some(cut);
        if self.send_in_flight {
            self.cancel(Cancelling::Everything, id, queue);
        } else {
            self.finish_cut();
        }
        false
    }

    /// Cuts the output, if it is to be and no send is in flight any more.
    pub(super) fn finish_cut(&mut self) {
        let Some(Cut { last, end_of }) = self.cut.take_if(|_| !self.send_in_flight) else { return };
        let end = end_of(&self.sending, self.sent).filter(|end| end - self.sent <= CUT_REST_BYTES_MAX);
        // Of a long message the rest is not kept for a peer that does not read, and without it nothing can be said.
        self.sending = end.map_or_else(Vec::new, |end| [&self.sending[self.sent..end], &last].concat());
        self.sent = 0;
    }

    /// Set if a send was cancelled to cut the output.
    pub(super) fn is_being_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// A cancellation has completed. What it cancelled completes by itself.
    pub(super) fn cancelled(&mut self, id: ConnId, queue: &mut Queue) -> bool {
        let done = mem::replace(&mut self.cancelling, Cancelling::Nothing);
        let ends_sends = self.life == Life::Closing || self.cut.is_some();
        if ends_sends && done == Cancelling::Receive && self.send_in_flight {
            self.cancel(Cancelling::Everything, id, queue);
        } else if self.life == Life::Leaving && self.receiving {
            self.cancel(Cancelling::Receive, id, queue); // it did not meet the receive
        }
        self.settle(id, queue)
    }

    /// Does what the state asks for after a completion.
    pub(super) fn settle(&mut self, id: ConnId, queue: &mut Queue) -> bool {
        match self.life {
            Life::Open => {
                self.receive(id, queue);
                false
            }
            Life::Flushing if (self.output_bytes() > 0 || self.cut.is_some()) && !self.broken => {
                self.receive(id, queue);
                false
            }
            Life::Flushing if self.lingers && !self.ended && !self.broken => {
                // Not an error: a peer that is gone is noticed by the receive.
                let _ = nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Write);
                self.receive(id, queue);
                false
            }
            Life::Flushing => {
                self.life = Life::Closing;
                self.cancel(Cancelling::Everything, id, queue);
                self.is_quiet()
            }
            // Of one that is broken the core is told, and closes it.
            Life::Leaving => self.is_quiet() && self.output_bytes() == 0 && !self.broken,
            Life::Closing => self.is_quiet(),
        }
    }

    /// Returns true if no request in the kernel refers to the connection.
    pub(super) fn is_quiet(&self) -> bool {
        !self.receiving && !self.send_in_flight && self.dialing.is_none() && self.cancelling == Cancelling::Nothing
    }

    /// Cancels the receive or all requests, if there are any and no cancellation is under way.
    fn cancel(&mut self, what: Cancelling, id: ConnId, queue: &mut Queue) {
        let ends_others = what == Cancelling::Everything;
        let needed = self.receiving || (ends_others && (self.send_in_flight || self.dialing.is_some()));
        if !needed || self.cancelling != Cancelling::Nothing {
            return;
        }
        self.cancelling = what;
        let matching = match what {
            Cancelling::Everything => CancelBuilder::fd(Fd(self.socket.as_raw_fd())).all(),
            _ => CancelBuilder::user_data(Token::of(Kind::Receive, id).encode()),
        };
        // SAFETY: the request refers to no memory, and the socket stays open while `cancelling`.
        unsafe { queue.push(opcode::AsyncCancel2::new(matching).build(), Token::of(Kind::Cancel, id), Finish::AtOnce) }
    }

    /// Gives the output buffers back; the one that is being sent only when it no longer is.
    pub(super) fn drop_output(&mut self, spare: &mut SpareBuffers) {
        spare.put(mem::take(&mut self.output));
        if !self.send_in_flight {
            spare.put(mem::take(&mut self.sending));
            self.sent = 0;
        }
    }
}
