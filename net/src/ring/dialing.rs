//! Connections that this side makes.
//!
//! What a newcomer would get wrong: the socket blocks. io_uring waits for it by itself, and would fail with EINPROGRESS if it did
//! not; nothing else uses the socket before the connection is made.

use std::{io, net::SocketAddr};

use crate::socket;

use super::{
    connection::Connection,
    event::{CloseReason, Event},
    ids::ConnId,
    ring::{OUTLIVES, Ring},
};

impl Ring {
    /// Begins to make a TCP connection. [`Event::Connected`] tells that it is made, [`Event::Closed`] that it cannot be. It takes
    /// output already, and may be [`close`](Ring::close)d at any time; how long it may take is up to the caller.
    ///
    /// # Errors
    /// There is no socket of that family to be had.
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<ConnId> {
        let id = self.connections.insert(Connection::new(socket::unconnected(address)?));
        if let Some((connection, queue)) = self.connection(id) {
            connection.connect(address, id, queue);
        }
        Ok(id)
    }

    pub(super) fn complete_connect(&mut self, id: ConnId, result: i32) -> Option<Event> {
        let connection = self.connections.get_mut(id).expect(OUTLIVES);
        let is_awaited = connection.connected();
        if result == 0 {
            self.send(id);
            self.settle(id);
            return is_awaited.then_some(Event::Connected(id));
        }
        connection.receive_ended();
        connection.break_off(&mut self.spare);
        self.report_closed(id, CloseReason::of_errno(-result))
    }
}
