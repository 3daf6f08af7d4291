//! A way to a port that can be made slow, or lose all that goes over it.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Bytes that are on their way at once.
const PIECE_BYTES: usize = 64 << 10;

/// A port that stands for another one, of the same machine. What goes over it is late, each way, by as much as was last said.
#[derive(Debug)]
pub struct SlowLink {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl SlowLink {
    /// Opens a free port that stands for `to`, at first without delay.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn new(to: SocketAddr) -> io::Result<SlowLink> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let (delay_ms, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let link = SlowLink { address, delay_ms: Arc::clone(&delay_ms), stop: Arc::clone(&stop) };
        thread::spawn(move || {
            for accepted in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // Nobody there: it is closed, as it would be without this.
                if let (Ok(near), Ok(far)) = (accepted, TcpStream::connect(to)) {
                    carry(&near, &far, &delay_ms).and_then(|()| carry(&far, &near, &delay_ms)).expect("two sockets");
                }
            }
        });
        Ok(link)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Makes all that is sent from now on late by so much, each way.
    pub fn set_delay(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Only to wake the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// Starts a thread that carries what comes from `from`, piece by piece, until either end is closed.
fn carry(from: &TcpStream, to: &TcpStream, delay_ms: &Arc<AtomicU64>) -> io::Result<()> {
    let (mut from, mut to, delay_ms) = (from.try_clone()?, to.try_clone()?, Arc::clone(delay_ms));
    to.set_nodelay(true)?;
    thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            thread::sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed)));
            if to.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        // One of them is closed already.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
    Ok(())
}
