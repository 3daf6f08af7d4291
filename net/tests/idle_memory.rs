//! The cost of an idle connection, in a process of its own: other tests would blur the figure.

use std::{fs, net::TcpStream};

use basalt_net::ring::RingOptions;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::core::{Core, echo};

#[allow(dead_code, reason = "this test needs a part of it")]
#[path = "ring/core.rs"]
mod core;

/// Resident bytes of this process.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize = statm.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("a number of pages");
    pages * 4096
}

/// Asks for `count` descriptors; gives how many there are.
fn descriptors(count: u64) -> u64 {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    let _ = setrlimit(Resource::RLIMIT_NOFILE, count.max(soft), count.max(hard))
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    getrlimit(Resource::RLIMIT_NOFILE).expect("limit").0
}

#[test]
fn an_idle_connection_takes_little_memory() {
    // both ends are in this process; a test harness without the right to raise the limit measures with fewer
    let count = (descriptors(21_000) as usize - 500).min(20_000) / 2;
    let core = Core::start(RingOptions::default(), echo);
    let mut warm = core.connect();
    std::io::Write::write_all(&mut warm, &[1; 1000]).expect("write");
    std::io::Read::read_exact(&mut warm, &mut [0; 1000]).expect("read");
    let before = resident_bytes();
    let mut clients: Vec<TcpStream> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = TcpStream::connect(core.address).expect("connect");
        // each has been busy once
        std::io::Write::write_all(&mut client, b"*1\r\n$4\r\nPING\r\n").expect("write");
        std::io::Read::read_exact(&mut client, &mut [0; 14]).expect("read");
        clients.push(client);
    }
    let after = resident_bytes();
    let memory = core.call(|ring| ring.memory());
    let each = after.saturating_sub(before) / count;
    println!("{count} idle connections: {each} bytes each resident, {memory:?}");
    assert!(each <= 2048, "{each} bytes for each of {count} connections");
    assert_eq!(memory.outputs, 0);
    assert!(memory.connections / count <= 300, "{memory:?}");
    drop(clients);
}
