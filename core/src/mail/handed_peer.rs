//! A connection of another node on its way to the core that it wants.

use std::os::fd::OwnedFd;

use basalt_net::peer::Session;

/// A connection that has been greeted, taken out of the ring that it came to.
#[derive(Debug)]
pub struct HandedPeer {
    /// Its socket, with nothing left to be sent.
    pub socket: OwnedFd,
    /// The outcome of its greeting.
    pub session: Session,
    /// Bytes that have come and that nobody has looked at, before those that the socket still has.
    pub received: Vec<u8>,
}
