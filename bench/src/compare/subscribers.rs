//! Clients that subscribe, and read what is published as fast as it comes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::load::CHANNEL;
use super::placement;

/// Subscribers of the channel.
const COUNT: usize = 50;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// Subscribers, read by a thread of their own. They do not outlive this value.
pub struct Subscribers {
    streams: Vec<TcpStream>,
    reader: Option<JoinHandle<Result<()>>>,
}

impl Subscribers {
    /// Has them subscribe at the server on `port`, and reads on processor `cpu` alone if there is one.
    ///
    /// # Errors
    /// If the server refuses one of them.
    pub fn start(port: u16, cpu: Option<usize>) -> Result<Subscribers> {
        let streams: Vec<TcpStream> = (0..COUNT).map(|_| subscribe(port)).collect::<Result<_>>()?;
        let read: Vec<TcpStream> = streams
            .iter()
            .map(TcpStream::try_clone)
            .collect::<Result<_, _>>()
            .context("a subscriber's socket could not be shared")?;
        let reader = std::thread::Builder::new().name("subscribers".into()).spawn(move || read_all(read, cpu));
        Ok(Subscribers { streams, reader: Some(reader.context("no thread reads what is published")?) })
    }

    /// Ends them.
    ///
    /// # Errors
    /// If the server has cut one off before: then not all that was published arrived.
    pub fn end(mut self) -> Result<()> {
        let reader = self.reader.take().expect("it reads until the end");
        ensure!(!reader.is_finished(), "the server cut a subscriber off");
        self.hang_up();
        reader.join().map_err(|_| anyhow!("the thread of the subscribers panicked"))?
    }

    fn hang_up(&self) {
        for stream in &self.streams {
            // Who is cut off already needs it no more.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        self.hang_up();
    }
}

fn subscribe(port: u16) -> Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("a subscriber could not connect")?;
    write!(stream, "*2\r\n$9\r\nSUBSCRIBE\r\n${}\r\n{CHANNEL}\r\n", CHANNEL.len())
        .context("a subscriber could not ask")?;
    let mut answer = [0; 128];
    let length = stream.read(&mut answer).context("a subscriber was not answered")?;
    ensure!(
        answer[..length].starts_with(b"*3"),
        "a subscriber was answered: {}",
        String::from_utf8_lossy(&answer[..length])
    );
    Ok(stream)
}

/// Reads from all until one has come to its end.
fn read_all(mut streams: Vec<TcpStream>, cpu: Option<usize>) -> Result<()> {
    placement::place_this_thread(cpu)?;
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let mut fds: Vec<PollFd<'_>> =
            streams.iter().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut fds, PollTimeout::NONE).context("waiting for messages failed")?;
        let readable: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        for (stream, _) in streams.iter_mut().zip(readable).filter(|(_, is_readable)| *is_readable) {
            if stream.read(&mut bytes).context("messages could not be read")? == 0 {
                return Ok(());
            }
        }
    }
}
