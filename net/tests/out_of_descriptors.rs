//! Accepting without file descriptors, in a process of its own: the limit holds for all of it.

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use basalt_net::ring::{Event, RingOptions};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::core::{Core, PATIENCE, echo};

#[allow(dead_code, reason = "this test needs a part of it")]
#[path = "ring/core.rs"]
mod core;

#[test]
fn accepting_rests_without_descriptors_and_goes_on_when_there_are_some() {
    // before the ring starts: the kernel looks at the limit when the accept is armed
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).expect("limit");
    let (failed, news) = channel();
    let options = RingOptions { accept_retry: Duration::from_millis(50), ..RingOptions::default() };
    let core = Core::start(options, move || {
        let mut echo = echo();
        move |ring, event| match event {
            Event::AcceptFailed(listener, errno) => {
                let _ = failed.send((listener.index(), errno, Instant::now()));
            }
            other => echo(ring, other),
        }
    });
    let mut client = core.connect();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.pop(); // for the client; its other end finds none
    let mut late = TcpStream::connect(core.address).expect("connect");
    let times = [(); 4].map(|()| {
        let (listener, errno, at) = news.recv_timeout(PATIENCE).expect("tried again");
        assert_eq!((listener, errno), (0, nix::libc::EMFILE));
        at
    });
    assert!(times[3] - times[0] >= Duration::from_millis(100), "not tried all the time");
    for (stream, message) in [(&mut client, b"first"), (&mut late, b"later")] {
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.write_all(message).expect("write");
        hoard.clear();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).expect("read");
        assert_eq!(&answer, message);
    }
}
