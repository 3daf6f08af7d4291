//! The wish that a thread ends what it does, from whoever no longer wants it: a caller that has gone, a newer snapshot, the stop of
//! the node.
//!
//! A newcomer would only set a flag: the thread may be blocked in a socket for a minute. So whoever blocks in one lends it, and it
//! is shut down with the wish.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One piece of work that may be asked to end.
#[derive(Debug, Default)]
pub(super) struct Halt {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_halted: bool,
    socket: Option<TcpStream>,
}

impl Halt {
    /// Asks for the end. Again is harmless.
    pub(super) fn halt(&self) {
        let mut state = self.state();
        state.is_halted = true;
        if let Some(socket) = state.socket.take() {
            // One that is closed already needs none.
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    /// Returns true once the end was asked for.
    pub(super) fn is_halted(&self) -> bool {
        self.state().is_halted
    }

    /// Has `socket` shut down with the wish, in the place of the one before.
    ///
    /// # Errors
    /// What the system says when the socket cannot be named twice.
    pub(super) fn lend(&self, socket: &TcpStream) -> io::Result<()> {
        let socket = socket.try_clone()?;
        let mut state = self.state();
        if state.is_halted {
            let _ = socket.shutdown(Shutdown::Both);
        } else {
            state.socket = Some(socket);
        }
        Ok(())
    }

    /// Takes the socket back.
    pub(super) fn take_back(&self) {
        self.state().socket = None;
    }

    /// Waits for `time`, or until the end is asked for; returns true if it was.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.state();
        while !state.is_halted {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_waits_or_reads_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _peer = listener.accept().unwrap();
        let halt = Arc::new(Halt::default());
        halt.lend(&socket).unwrap();
        let halting = halt.clone();
        let reader = std::thread::spawn(move || socket.read(&mut [0; 8]));
        let waiter = std::thread::spawn(move || halting.wait(Duration::from_secs(60)));
        halt.halt();
        assert_eq!(reader.join().unwrap().unwrap(), 0);
        assert!(waiter.join().unwrap() && halt.is_halted());
        // Also one that is lent afterwards.
        let mut late = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        halt.lend(&late).unwrap();
        assert_eq!(late.read(&mut [0; 8]).unwrap(), 0);
    }
}
