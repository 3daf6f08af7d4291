//! Operations on a core itself that a client of another core asks for.

use std::time::Instant;

use basalt_net::resp::{Protocol, Reply};

use crate::connection::Connection;
use crate::core::Core;
use crate::session_commands::{ClientBuffers, ClientFilter, client_line};

/// An operation every core runs on its own connections.
#[derive(Debug, Clone)]
pub enum Control {
    /// One line for each connection that the filter lets through, as a bulk string.
    ListClients(ClientFilter),
    /// Closes the connections that the filter lets through; an integer says how many there were.
    KillClients(ClientFilter),
}

/// Runs `control` on `core` and gives the reply.
pub fn run(core: &mut Core, control: &Control) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, Protocol::Resp2);
    match control {
        Control::ListClients(filter) => {
            let mut text = Vec::new();
            for connection in chosen(core, filter) {
                let buffers = ClientBuffers {
                    input_bytes: connection.input.len(),
                    input_capacity: connection.input.capacity(),
                    output_bytes: core.ring.output_bytes(connection.ring),
                    output_capacity: core.ring.output_capacity(connection.ring),
                };
                client_line(&mut text, &connection.session, buffers, 0, Instant::now());
                text.push(b'\n');
            }
            reply.bulk(&text);
        }
        Control::KillClients(filter) => {
            let victims: Vec<_> = chosen(core, filter).map(|connection| connection.ring).collect();
            for &id in &victims {
                match &mut core.connections[id.index()] {
                    // Who closes itself still gets the reply.
                    Some(connection) if filter.is_asker(&connection.session) => connection.session.closing = true,
                    _ => core.close(id, true),
                }
            }
            reply.integer(victims.len() as i64);
        }
    }
    bytes
}

fn chosen<'a>(core: &'a Core, filter: &'a ClientFilter) -> impl Iterator<Item = &'a Connection> {
    core.connections
        .iter()
        .flatten()
        .map(|connection| &**connection)
        .filter(|connection| filter.matches(&connection.session))
}
