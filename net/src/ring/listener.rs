//! A socket that accepts, by one multishot request.

#![allow(unsafe_code, reason = "requests to the kernel")]

use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{
    opcode,
    types::{CancelBuilder, Fd, Timespec},
};

use super::{
    ids::ListenerId,
    queue::{Finish, Queue},
    token::{Kind, Token},
};

/// A listening socket and the state of its accept request.
#[derive(Debug)]
pub(super) struct Listener {
    /// `None` once it has stopped; closed only when no request refers to it.
    socket: Option<OwnedFd>,
    armed: bool,
    stopping: bool,
    /// The time that the retry timer reads when it is submitted.
    retry: Box<Timespec>,
}

impl Listener {
    pub(super) fn new(socket: OwnedFd, retry: std::time::Duration) -> Listener {
        Listener { socket: Some(socket), armed: false, stopping: false, retry: Box::new(Timespec::from(retry)) }
    }

    /// Starts accepting unless it already does or is to stop.
    pub(super) fn arm(&mut self, id: ListenerId, queue: &mut Queue) {
        let Some(socket) = &self.socket else { return };
        if self.armed || self.stopping {
            return;
        }
        self.armed = true;
        let accept = opcode::AcceptMulti::new(Fd(socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: the request points to no memory, and the socket stays open while `armed`.
        unsafe { queue.push(accept, Token::plain(Kind::Accept, id.0), Finish::Later) }
    }

    /// Accepts again after a pause.
    pub(super) fn arm_later(&mut self, id: ListenerId, queue: &mut Queue) {
        let timer = opcode::Timeout::new(&raw const *self.retry).build();
        // SAFETY: the time is read when the request is submitted; its box lives as long as the ring.
        unsafe { queue.push(timer, Token::plain(Kind::AcceptRetry, id.0), Finish::Later) }
    }

    /// Stops accepting and closes the socket as soon as no request refers to it.
    pub(super) fn stop(&mut self, id: ListenerId, queue: &mut Queue) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        if !self.armed {
            self.socket = None;
            return;
        }
        let accept = Token::plain(Kind::Accept, id.0).encode();
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::user_data(accept)).build();
        // SAFETY: the request points to no memory.
        unsafe { queue.push(cancel, Token::plain(Kind::Ignored, 0), Finish::AtOnce) }
    }

    /// The accept request has ended.
    pub(super) fn disarmed(&mut self) {
        self.armed = false;
        if self.stopping {
            self.socket = None;
        }
    }
}
