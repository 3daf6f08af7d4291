//! Bytes in, the same bytes out.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
};

use basalt_net::ring::RingOptions;

use super::core::{Core, echo, pattern};

fn read_exact(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("read");
    bytes
}

#[test]
fn a_thousand_connections_each_get_their_own_bytes_back() {
    let core = Core::start(RingOptions::default(), echo);
    let mut clients: Vec<TcpStream> = (0..1000).map(|_| core.connect()).collect();
    for round in 0..3 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.write_all(&pattern(index as u32 + round, 100 + index)).expect("write");
        }
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(read_exact(client, 100 + index), pattern(index as u32 + round, 100 + index), "client {index}");
        }
    }
    drop(clients);
    let counters = core.wait_for("all connections are released", |counters| counters.connections == 0);
    assert_eq!(counters.accepted, 1000);
    assert_eq!(counters.bytes_in, counters.bytes_out);
}

#[test]
fn a_half_closed_client_gets_everything_it_asked_for() {
    let core = Core::start(RingOptions::default(), echo);
    let mut client = core.connect();
    client.write_all(&pattern(1, 100_000)).expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("read");
    assert!(answer == pattern(1, 100_000), "{} bytes", answer.len());
}
