//! The listening sockets, bound before anything else starts so that a port in use is found at once.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};

use super::error::BootError;
use crate::config::Config;
use crate::limits::{LISTEN_RETRY, LISTEN_RETRY_MAX, PEER_PORT_OFFSET};

/// Binds every address of `bind`; with `port = 0` the first takes any free port and the others the same one.
pub(super) fn listen(config: &Config) -> Result<Vec<TcpListener>, BootError> {
    let mut port = config.port;
    let mut listeners = Vec::with_capacity(config.bind.len());
    for address in &config.bind {
        let address = SocketAddr::new(*address, port);
        let listener = listen_patiently(address, config.tcp_backlog).map_err(|source| refused(address, source))?;
        port = listener.local_addr().map_err(|source| refused(address, source))?.port();
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Binds the port for other nodes at the addresses of `clients`, if the node belongs to a cluster. Where the port for clients was
/// any free one, so is this, unless its usual distance from that happens to be free.
pub(super) fn listen_for_peers(config: &Config, clients: &[TcpListener]) -> Result<Vec<TcpListener>, BootError> {
    if !config.cluster_enabled {
        return Ok(Vec::new());
    }
    let clients = clients.iter().filter_map(|listener| listener.local_addr().ok());
    let mut listeners: Vec<TcpListener> = Vec::new();
    for client in clients {
        let usual = client.port().checked_add(PEER_PORT_OFFSET);
        if usual.is_none() && config.port != 0 && config.cluster_port == 0 {
            let advice = format!(
                "the port for other nodes would be {PEER_PORT_OFFSET} above the one for clients, and there is none: choose one with \
                 --cluster-port"
            );
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(BootError::Listen { address: client, advice, source });
        }
        let usual = usual.unwrap_or(0);
        let first = listeners.first().and_then(|first| first.local_addr().ok()).map(|first| first.port());
        let is_free_choice = config.cluster_port == 0 && config.port == 0 && first.is_none();
        let port = first.unwrap_or(if config.cluster_port == 0 { usual } else { config.cluster_port });
        let address = SocketAddr::new(client.ip(), port);
        let listener = match listen_patiently(address, config.tcp_backlog) {
            Err(_) if is_free_choice => listen_patiently(SocketAddr::new(client.ip(), 0), config.tcp_backlog),
            listening => listening,
        };
        listeners.push(listener.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => {
                let advice =
                    "another process has the port for other nodes: stop it, or choose another with --cluster-port";
                BootError::Listen { address, advice: advice.to_owned(), source }
            }
            _ => refused(address, source),
        })?);
    }
    Ok(listeners)
}

/// The kernel takes a killed process' rings down in the background, and with them the sockets on which they were accepting:
/// the port of a predecessor may stay taken for a moment.
fn listen_patiently(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let began = Instant::now();
    loop {
        match listen_once(address, backlog) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < LISTEN_RETRY_MAX => {
                thread::sleep(LISTEN_RETRY);
            }
            result => return result,
        }
    }
}

fn listen_once(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that `0.0.0.0,::` is two sockets, each with its own addresses.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn refused(address: SocketAddr, source: io::Error) -> BootError {
    let advice = match source.kind() {
        io::ErrorKind::AddrInUse => "another process has the port: stop it, or choose another with --port",
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has the address: choose another with --bind",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE: choose another with --port"
        }
        _ => "choose another address with --bind",
    };
    BootError::Listen { address, advice: advice.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_refused_by_address() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = holder.local_addr().expect("a bound socket has an address");
        let config = Config { port: address.port(), ..Config::default() };

        let refusal = listen(&config).expect_err("in use").to_string();

        assert!(refusal.starts_with(&format!("cannot listen on {address} (")), "{refusal}");
        assert!(refusal.ends_with("another process has the port: stop it, or choose another with --port"), "{refusal}");
    }

    #[test]
    fn a_port_that_becomes_free_meanwhile_is_taken() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = holder.local_addr().expect("a bound socket has an address").port();
        let config = Config { port, ..Config::default() };
        let waiting = thread::spawn(move || listen(&config).map(|listeners| listeners.len()));
        thread::sleep(LISTEN_RETRY * 2);

        drop(holder);

        assert_eq!(waiting.join().expect("no panic").expect("free again"), 1);
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        // 192.0.2.0/24 is set aside for documentation (RFC 5737).
        let config = Config { bind: vec!["192.0.2.1".parse().expect("an address")], port: 0, ..Config::default() };

        let refusal = listen(&config).expect_err("not ours").to_string();

        assert!(refusal.contains("192.0.2.1:0") && refusal.ends_with("choose another with --bind"), "{refusal}");
    }

    #[test]
    fn port_zero_gives_all_addresses_the_same_free_port() {
        let bind = ["127.0.0.1", "127.0.0.2"].map(|address| address.parse().expect("an address")).to_vec();

        let listeners = listen(&Config { bind, port: 0, ..Config::default() }).expect("a free port");

        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().expect("bound").port()).collect();
        assert!(ports[0] != 0 && ports[0] == ports[1], "{ports:?}");
    }
}
