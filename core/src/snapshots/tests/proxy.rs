//! A way between two nodes that can be cut, and that stalls.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The end of a connection, once so many bytes have gone from the sender to the receiver.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// Both sides are cut off.
    Cut(u64),
    /// Nothing goes on any more, and both sides stay.
    Stall(u64),
    /// It stays as it is.
    Lasts,
}

type Before = dyn Fn(usize) + Send + Sync;

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    fate: Box<dyn Fn(usize) -> Fate + Send + Sync>,
    before: Box<Before>,
    /// Bytes that went to the receiver, by connection.
    forwarded: Mutex<Vec<Arc<AtomicU64>>>,
    sockets: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

impl Proxy {
    /// A way to `target`; `fate` says what happens to each connection, counted from 0. `before` is called before one is made.
    pub(super) fn new(
        target: SocketAddr,
        fate: impl Fn(usize) -> Fate + Send + Sync + 'static,
        before: impl Fn(usize) + Send + Sync + 'static,
    ) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            fate: Box::new(fate),
            before: Box::new(before),
            forwarded: Mutex::default(),
            sockets: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let serving = shared.clone();
        let accepting = std::thread::spawn(move || {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept() else { return };
                if serving.is_over.load(Ordering::SeqCst) {
                    return;
                }
                (serving.before)(number);
                serving.connect(number, stream);
            }
        });
        Proxy { address, shared, accepting: Some(accepting) }
    }

    pub(super) fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Bytes that went to the receiver on each connection.
    pub(super) fn forwarded(&self) -> Vec<u64> {
        self.shared.forwarded.lock().unwrap().iter().map(|bytes| bytes.load(Ordering::SeqCst)).collect()
    }

    pub(super) fn cut_all(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.cut_all();
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }
}

impl Shared {
    fn connect(&self, number: usize, from: TcpStream) {
        let forwarded = Arc::new(AtomicU64::new(0));
        self.forwarded.lock().unwrap().push(forwarded.clone());
        let target = *self.target.lock().unwrap();
        // Without a receiver the sender is cut off.
        let Ok(to) = TcpStream::connect(target) else { return };
        let clone = |stream: &TcpStream| stream.try_clone().unwrap();
        self.sockets.lock().unwrap().extend([clone(&from), clone(&to)]);
        let (back_from, back_to) = (clone(&to), clone(&from));
        let fate = (self.fate)(number);
        std::thread::spawn(move || forward(from, to, fate, &forwarded));
        std::thread::spawn(move || forward(back_from, back_to, Fate::Lasts, &AtomicU64::new(0)));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, fate: Fate, forwarded: &AtomicU64) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let gone = forwarded.load(Ordering::SeqCst);
        let left = match fate {
            Fate::Cut(bytes) | Fate::Stall(bytes) => bytes - gone,
            Fate::Lasts => u64::MAX,
        };
        if left == 0 {
            if matches!(fate, Fate::Stall(_)) {
                // Both stay open: the other direction has them too.
                return;
            }
            break;
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(read) = from.read(&mut buffer[..most]).ok().filter(|&read| read > 0) else { break };
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        forwarded.fetch_add(read as u64, Ordering::SeqCst);
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
