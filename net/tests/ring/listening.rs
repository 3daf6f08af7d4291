//! Accepting, running out of descriptors, and stopping.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::{UnixListener, UnixStream},
    sync::mpsc::channel,
};

use basalt_net::{
    ring::{Event, RingOptions},
    socket,
};

use super::core::{Core, PATIENCE, echo};

fn answers(mut client: impl Read + Write) -> bool {
    let mut answer = [0; 4];
    client.write_all(b"ping").is_ok() && client.read_exact(&mut answer).is_ok() && &answer == b"ping"
}

#[test]
fn several_listeners_tell_their_connections_apart() {
    let (accepted, news) = channel();
    let core = Core::start(RingOptions::default(), move || {
        let mut echo = echo();
        move |ring, event| {
            if let Event::Accepted(listener, _) = &event {
                accepted.send(listener.index()).expect("test listens");
            }
            echo(ring, event);
        }
    });
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).expect("bind");
    assert_eq!(core.call(move |ring| ring.listen(listener)).index(), 1);
    assert!(answers(UnixStream::connect(&path).expect("connect")));
    assert!(answers(core.connect()));
    assert_eq!([news.recv_timeout(PATIENCE), news.recv_timeout(PATIENCE)], [Ok(1), Ok(0)]);
}

#[test]
fn a_stopped_listener_frees_its_port_and_keeps_its_connections() {
    let core = Core::start(RingOptions::default(), echo);
    let client = core.connect();
    assert!(answers(&client));
    core.call(|ring| ring.stop_listening());
    core.call(|ring| ring.stop_listening()); // again does nothing
    let deadline = std::time::Instant::now() + PATIENCE;
    while let Ok(late) = TcpStream::connect(core.address) {
        drop(late);
        assert!(std::time::Instant::now() < deadline, "the port stays open");
    }
    assert!(answers(&client));
    drop(socket::listen(core.address, 16).expect("the port is free"));
}

#[test]
fn sockets_are_configured_as_redis_does() {
    use nix::sys::socket::{getsockopt, sockopt};
    let (accepted, news) = channel();
    let core = Core::start(RingOptions::default(), move || {
        let mut echo = echo();
        move |ring, event| {
            if let Event::Accepted(_, socket) = &event {
                accepted.send(socket.try_clone().expect("clone")).expect("test listens");
            }
            echo(ring, event);
        }
    });
    let client = core.connect();
    let server = news.recv_timeout(PATIENCE).expect("accepted");
    let fd = std::os::fd::AsFd::as_fd(&server);
    socket::configure_client(fd, 300).expect("configure");
    assert!(getsockopt(&server, sockopt::TcpNoDelay).expect("option"));
    assert!(getsockopt(&server, sockopt::KeepAlive).expect("option"));
    assert_eq!(getsockopt(&server, sockopt::TcpKeepIdle).expect("option"), 300);
    assert_eq!(getsockopt(&server, sockopt::TcpKeepInterval).expect("option"), 100);
    socket::configure_client(fd, 0).expect("configure");
    assert!(!getsockopt(&server, sockopt::KeepAlive).expect("option"));
    assert_eq!(socket::peer_address(fd).expect("address"), client.local_addr().ok());
    assert_eq!(socket::local_address(fd).expect("address"), Some(core.address));
}

#[test]
fn other_sockets_need_no_configuration_and_have_no_address() {
    let (left, _right) = UnixStream::pair().expect("pair");
    let fd = std::os::fd::AsFd::as_fd(&left);
    socket::configure_client(fd, 300).expect("configure");
    assert_eq!(socket::peer_address(fd).expect("address"), None);
    let file = std::fs::File::open("/dev/null").expect("open");
    assert!(socket::configure_client(std::os::fd::AsFd::as_fd(&file), 300).is_err());
}

#[test]
fn a_port_in_use_is_refused_and_both_families_share_one() {
    let first = socket::listen("127.0.0.1:0".parse().expect("address"), 16).expect("listen");
    let address = first.local_addr().expect("address");
    assert_eq!(socket::listen(address, 16).expect_err("in use").kind(), ErrorKind::AddrInUse);
    let any = socket::listen("0.0.0.0:0".parse().expect("address"), 16).expect("listen");
    let port = any.local_addr().expect("address").port();
    socket::listen(format!("[::]:{port}").parse().expect("address"), 16).expect("the other family");
}
