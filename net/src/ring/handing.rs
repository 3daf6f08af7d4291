//! Connections that leave a ring, for that of another core or for a thread.
//!
//! What a newcomer would get wrong: a receive that is cancelled may have brought bytes before, which nobody has seen. They go with
//! the socket, in front of what the next one receives.

use super::{ids::ConnId, ring::Ring};

impl Ring {
    /// Takes a connection out of this ring. [`Event::Released`](super::Event::Released) brings its socket once all output is sent
    /// and nothing here refers to it any more; until then no other event comes for it but
    /// [`Event::Closed`](super::Event::Closed), if the peer breaks it, and it may be [`close`](Ring::close)d.
    ///
    /// Returns false, and does nothing, if it is closed, not made yet, or broken by the peer.
    pub fn release(&mut self, id: ConnId) -> bool {
        let Some((connection, queue)) = self.connection(id) else { return false };
        let Some(done) = connection.release(id, queue) else { return false };
        self.release_if(done, id);
        true
    }
}

/// Keeps bytes that have come for a connection on its way out. The receive buffers bound them: it receives no more once they are
/// taken, and those of one ring are few.
pub(super) fn keep_for_next(leaving: &mut Vec<(ConnId, Vec<u8>)>, id: ConnId, input: &[u8]) {
    match leaving.iter_mut().find(|(leaving, _)| *leaving == id) {
        Some((_, kept)) => kept.extend_from_slice(input),
        None => leaving.push((id, input.to_vec())),
    }
}
