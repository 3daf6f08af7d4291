//! Clients that make keys, many on their way at once.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::contents::Contents;
use crate::compare::interrupt::Interrupt;

/// Connections.
const CLIENTS: u64 = 8;
/// Commands that one sends before it reads the replies.
const PIPELINE: u64 = 256;
/// A server that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Interval at which clients are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Makes keys 0 to `keys` and returns how long that took.
///
/// # Errors
/// If the server refuses one, or is gone; also when a signal comes.
pub fn fill(port: u16, contents: Contents, keys: u64, interrupt: &Interrupt) -> Result<Duration> {
    let began = Instant::now();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<ScopedJoinHandle<'_, Result<()>>> = (0..CLIENTS)
            .map(|client| {
                let range = keys * client / CLIENTS..keys * (client + 1) / CLIENTS;
                let is_over = &is_over;
                scope.spawn(move || make(port, contents, range, is_over))
            })
            .collect();
        while !clients.iter().all(ScopedJoinHandle::is_finished) {
            if let Err(signal) = interrupt.sleep(LOOK_EVERY) {
                is_over.store(true, Ordering::Relaxed);
                return Err(signal);
            }
        }
        let outcomes = clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
        outcomes.collect::<Result<()>>()
    })?;
    Ok(began.elapsed())
}

/// Makes the keys of one client.
fn make(port: u16, contents: Contents, range: Range<u64>, is_over: &AtomicBool) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("the server cannot be reached")?;
    stream.set_nodelay(true).context("a socket option is refused")?;
    stream.set_read_timeout(Some(SILENCE_MAX)).context("a socket option is refused")?;
    let mut replies = BufReader::new(stream.try_clone().context("out of descriptors")?);
    let (mut bytes, mut line, mut next) = (Vec::new(), String::new(), range.start);
    while next < range.end && !is_over.load(Ordering::Relaxed) {
        let end = range.end.min(next + PIPELINE);
        bytes.clear();
        (next..end).for_each(|number| contents.append(number, &mut bytes));
        stream.write_all(&bytes).context("the server takes nothing more")?;
        for _ in 0..(end - next) as usize * contents.reply_lines() {
            line.clear();
            let read = replies.read_line(&mut line).context("the server does not answer")?;
            if read == 0 || line.starts_with('-') {
                bail!("a key was refused: {}", line.trim_end());
            }
        }
        next = end;
    }
    Ok(())
}
