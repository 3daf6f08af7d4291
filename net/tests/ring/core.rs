//! A core for tests: a thread that owns a ring and turns it until told to stop.

use std::{
    net::{SocketAddr, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use basalt_net::{
    ring::{Counters, Event, Ring, RingOptions, Waker},
    socket,
};

/// The time that any condition of a test may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce(&mut Ring) + Send>;

/// A running core.
pub struct Core {
    pub address: SocketAddr,
    waker: Waker,
    jobs: Sender<Job>,
    thread: Option<JoinHandle<Counters>>,
}

impl Core {
    /// Starts a core that listens on a loopback port and calls `on_event` for every event.
    pub fn start<F>(options: RingOptions, on_event: impl FnOnce() -> F + Send + 'static) -> Core
    where
        F: FnMut(&mut Ring, Event),
    {
        let (jobs, inbox) = channel::<Job>();
        let (started, start) = channel();
        let thread = std::thread::spawn(move || {
            let mut ring = Ring::new(&options).expect("ring");
            let listener = socket::listen("127.0.0.1:0".parse().expect("address"), 4096).expect("listener");
            started.send((listener.local_addr().expect("address"), ring.waker())).expect("test waits");
            ring.listen(listener);
            run(ring, on_event(), &inbox)
        });
        let (address, waker) = start.recv_timeout(PATIENCE).expect("the core starts");
        Core { address, waker, jobs, thread: Some(thread) }
    }

    /// Runs `job` on the core's thread and gives back what it returns.
    pub fn call<T: Send + 'static>(&self, job: impl FnOnce(&mut Ring) -> T + Send + 'static) -> T {
        let (reply, answer) = channel();
        let job = Box::new(move |ring: &mut Ring| reply.send(job(ring)).expect("test waits"));
        self.jobs.send(job).expect("the core runs");
        self.waker.wake();
        answer.recv_timeout(PATIENCE).expect("the core answers")
    }

    /// Waits until `condition` holds of the counters.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&Counters) -> bool) -> Counters {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counters = self.call(|ring| ring.counters());
            if condition(&counters) {
                return counters;
            }
            assert!(Instant::now() < deadline, "{what}: {counters:?}");
            std::thread::yield_now();
        }
    }

    /// A client connected to the core.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        stream
    }

    /// Stops the core, drops its ring and gives the last counters.
    pub fn stop(mut self) -> Counters {
        self.join()
    }

    fn join(&mut self) -> Counters {
        let (jobs, _) = channel();
        drop(std::mem::replace(&mut self.jobs, jobs)); // the core ends when its inbox is closed
        self.waker.wake();
        self.thread.take().expect("running").join().expect("the core does not panic")
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.thread.is_some() && !std::thread::panicking() {
            self.join();
        }
    }
}

fn run(mut ring: Ring, mut on_event: impl FnMut(&mut Ring, Event), inbox: &Receiver<Job>) -> Counters {
    loop {
        ring.turn(Some(Duration::from_millis(5))).expect("turn");
        while let Some(event) = ring.next_event() {
            on_event(&mut ring, event);
        }
        loop {
            match inbox.try_recv() {
                Ok(job) => job(&mut ring),
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return ring.counters(),
            }
        }
    }
}

/// Sends back what comes, and closes when the peer does.
pub fn echo() -> impl FnMut(&mut Ring, Event) {
    |ring, event| match event {
        Event::Accepted(_, socket) => {
            ring.add(socket);
        }
        Event::Received(id, input) => {
            if let Some(output) = ring.output(id) {
                output.extend_from_slice(&input);
            }
        }
        Event::Closed(id, _) => ring.close(id, true),
        _ => {}
    }
}

/// Bytes that differ from place to place and from `seed` to `seed`.
pub fn pattern(seed: u32, len: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
