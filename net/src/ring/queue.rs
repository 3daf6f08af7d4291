//! The io_uring itself: requests in, completions out, one system call between them.

#![allow(unsafe_code, reason = "requests to the kernel")]

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use io_uring::{
    EnterFlags, IoUring, cqueue, squeue,
    types::{SubmitArgs, Timespec},
};

use crate::limits::PUSH_TRIES_MAX;

use super::{
    error::RingError,
    event::TurnStats,
    token::{Kind, Token},
};

/// The time at which a request is expected to complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// Within the enter that submits it. Its completion is no reason for a waiting turn to return.
    AtOnce,
    /// As soon as something happens.
    Later,
    /// At an event that matters only to a turn that waits: the request is submitted with others, or by such a turn.
    WhileWaiting,
}

/// A completion that has not been looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completion {
    pub(super) token: Token,
    pub(super) result: i32,
    flags: u32,
}

impl Completion {
    /// Returns true if the request stays armed and more completions follow.
    pub(super) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The receive buffer that was used.
    pub(super) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// The queues shared with the kernel, and the completions taken out of them.
pub(super) struct Queue {
    uring: IoUring,
    completions: VecDeque<Completion>,
    /// Requests in the submission queue that complete at once.
    immediate: u32,
    /// Requests in the submission queue that alone are no reason to enter the kernel without waiting.
    deferrable: usize,
    /// Requests whose last completion has not been popped.
    in_flight: usize,
    /// An error that turned up where it could not be returned.
    failure: Option<io::Error>,
    pub(super) enters: u64,
    pub(super) blocks: u64,
}

impl Queue {
    /// Sets an io_uring up.
    ///
    /// # Errors
    /// [`RingError`] that tells the kernel's reasons apart.
    pub(super) fn new(entries: u32, completions: u32) -> Result<Queue, RingError> {
        let uring = IoUring::builder()
            .setup_single_issuer() // 6.0
            .setup_defer_taskrun() // 6.1; completions are made when we ask for them, without interrupts
            .setup_coop_taskrun() // 5.19
            .setup_taskrun_flag() // 5.19; tells without a system call whether there is work to ask for
            .setup_submit_all() // 5.18; one bad request does not hold up the rest
            .setup_cqsize(completions)
            .dontfork()
            .build(entries)
            .map_err(RingError::of_setup)?;
        if !uring.params().is_feature_ext_arg() {
            return Err(RingError::unsupported("io_uring waits with a timeout", "5.11"));
        }
        if !uring.params().is_feature_nodrop() {
            return Err(RingError::unsupported("io_uring without lost completions", "5.5"));
        }
        Ok(Queue {
            uring,
            completions: VecDeque::with_capacity(completions as usize),
            immediate: 0,
            deferrable: 0,
            in_flight: 0,
            failure: None,
            enters: 0,
            blocks: 0,
        })
    }

    /// Registers the ring of receive buffers as group 0.
    ///
    /// # Safety
    /// `entries` must be page-aligned memory for `count` entries that stays mapped as long as the queue, and so must the
    /// buffers that are ever published in it.
    pub(super) unsafe fn register_buffers(&self, entries: *mut u8, count: u16) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.uring.submitter().register_buf_ring_with_flags(entries as u64, count, 0, 0) }
    }

    /// Registers the eventfd that is signalled while [`enable_eventfd`](Self::enable_eventfd) is on; off at first.
    pub(super) fn register_eventfd(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.enable_eventfd(false);
        self.uring.submitter().register_eventfd(fd.as_raw_fd())
    }

    pub(super) fn enable_eventfd(&mut self, enabled: bool) {
        match enabled {
            true => self.uring.completion().enable_eventfd(),
            false => self.uring.completion().disable_eventfd(),
        }
    }

    /// Queues a request for the next enter; enters the kernel now if there is no room.
    ///
    /// # Safety
    /// All memory and descriptors that the request refers to must stay valid, and memory must not be read (or written, if
    /// the request reads it) by anyone else, until the last completion of the request has been popped.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry, token: Token, finish: Finish) {
        let entry = entry.user_data(token.encode());
        self.in_flight += 1;
        for _ in 0..PUSH_TRIES_MAX {
            // SAFETY: the caller's promise.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                self.immediate += u32::from(finish == Finish::AtOnce);
                self.deferrable += usize::from(finish == Finish::WhileWaiting);
                return;
            }
            if let Err(error) = self.enter(1, None) {
                self.in_flight -= 1;
                self.failure = Some(error);
                return;
            }
        }
        self.in_flight -= 1;
        self.failure = Some(io::Error::from_raw_os_error(libc::EBUSY));
    }

    /// Submits what is queued, waits at most `wait` for `events` completions that matter, and takes all completions. Does not
    /// wait if there is one already.
    ///
    /// Makes no system call if there is nothing to submit that matters now, nothing to fetch and no `wait`.
    pub(super) fn enter(&mut self, events: u32, wait: Option<Duration>) -> io::Result<TurnStats> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let (queued, fetchable) = {
            let submission = self.uring.submission();
            (submission.len(), submission.taskrun() || submission.cq_overflow())
        };
        let wait = wait.filter(|_| self.completions.is_empty() && self.uring.completion().is_empty());
        if queued <= self.deferrable && !fetchable && wait.is_none() {
            return Ok(self.collect());
        }
        self.deferrable = 0;
        let awaited = events + self.immediate;
        self.immediate = 0;
        let outcome = self.enter_kernel(queued as u32, wait.map(|time| (awaited, time)));
        let already = self.completions.len();
        let mut stats = self.collect();
        match outcome {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                // EBUSY, EAGAIN: the kernel wants completions taken or is short of memory; what is queued stays queued
                Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => return Ok(stats),
                Some(libc::ETIME) => {}
                _ => return Err(error),
            },
        }
        // not by ETIME alone: the kernel does not report it if it has submitted something
        stats.timed_out = wait.is_some() && self.completions.len() - already < awaited as usize;
        Ok(stats)
    }

    /// The one system call of a turn. Fetches deferred completions also when it does not wait.
    fn enter_kernel(&mut self, queued: u32, wait: Option<(u32, Duration)>) -> io::Result<usize> {
        self.enters += 1;
        match wait {
            None => {
                // SAFETY: no argument is passed, and the requests are valid by the promise of `push`.
                unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, 0, EnterFlags::GETEVENTS.bits(), None) }
            }
            Some((awaited, time)) => {
                self.blocks += 1;
                let time = Timespec::from(time);
                let arguments = SubmitArgs::new().timespec(&time);
                self.uring.submitter().submit_with_args(awaited as usize, &arguments)
            }
        }
    }

    /// Takes all completions out of the shared queue, and counts those that can become events.
    fn collect(&mut self) -> TurnStats {
        let mut stats = TurnStats::default();
        for entry in self.uring.completion() {
            let token = Token::decode(entry.user_data());
            stats.events += usize::from(!matches!(token.kind, Kind::Send | Kind::Cancel | Kind::Ignored));
            self.completions.push_back(Completion { token, result: entry.result(), flags: entry.flags() });
        }
        stats
    }

    /// The next completion.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Completion> {
        let completion = self.completions.pop_front()?;
        self.in_flight -= usize::from(!completion.more());
        Some(completion)
    }

    /// Returns true if an enter without waiting would do or bring something.
    pub(super) fn has_work(&mut self) -> bool {
        if !self.completions.is_empty() || self.failure.is_some() {
            return true;
        }
        let submission = self.uring.submission();
        let work = submission.len() > self.deferrable || submission.taskrun() || submission.cq_overflow();
        drop(submission);
        work || !self.uring.completion().is_empty()
    }

    /// Requests that the kernel may still work on.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }
}
