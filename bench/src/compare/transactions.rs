//! Clients that send transactions, which redis-benchmark cannot: `MULTI`, five `SET`s and `EXEC`.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use super::benchmark_output::{BenchmarkOutput, empty_histogram};
use super::interrupt::Interrupt;
use super::load::{KEY_COUNT, Load, VALUE_BYTES};
use super::placement;

/// Keys that a transaction sets.
const KEYS: u64 = 5;
/// Lines of a transaction's replies: one for `MULTI`, one for each command that is queued, the head of `EXEC`'s and what is in it.
const REPLY_LINES: u64 = 1 + KEYS + 1 + KEYS;

/// The things that the connections share.
struct Shared {
    /// Transactions that nobody has sent yet.
    left: Cell<u64>,
    latencies_us: RefCell<Histogram<u64>>,
}

/// Has the server on `port` execute so many transactions, whose keys have a hash tag in common if they `share_tag`. A latency is
/// that of the transactions which a connection sends at once.
///
/// # Errors
/// If the server answers with an error or hangs up, or if a signal came.
pub fn run(
    load: Load,
    share_tag: bool,
    requests: u64,
    port: u16,
    cpu: Option<usize>,
    interrupt: &Interrupt,
) -> Result<BenchmarkOutput> {
    let (ended, ends) = std::io::pipe().context("no pipe for the end of the transactions")?;
    let clients = std::thread::Builder::new().name("transactions".into()).spawn(move || {
        // Closed with the end of the thread, however it ends.
        let _ends = ends;
        placement::place_this_thread(cpu)?;
        send_all(load, share_tag, requests, port)
    });
    let clients = clients.context("no thread sends transactions")?;
    interrupt.wait_readable(ended.as_fd())?;
    clients.join().map_err(|_| anyhow!("the thread that sends transactions panicked"))?
}

fn send_all(load: Load, share_tag: bool, requests: u64, port: u16) -> Result<BenchmarkOutput> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let shared = Rc::new(Shared { left: Cell::new(requests), latencies_us: RefCell::new(empty_histogram()) });
    let elapsed = LocalSet::new().block_on(&runtime, async {
        let mut connections = JoinSet::new();
        let began = Instant::now();
        for number in 0..load.shape.clients {
            let pipeline = u64::from(load.shape.pipeline);
            connections.spawn_local(send(port, pipeline, share_tag, number, shared.clone()));
        }
        while let Some(ended) = connections.join_next().await {
            ended.context("a connection panicked")??;
        }
        anyhow::Ok(began.elapsed())
    })?;
    let latencies_us = shared.latencies_us.borrow().clone();
    let quantile_ms = |quantile| latencies_us.value_at_quantile(quantile) as f64 / 1e3;
    Ok(BenchmarkOutput {
        requests_per_s: requests as f64 / elapsed.as_secs_f64(),
        p50_ms: quantile_ms(0.5),
        p99_ms: quantile_ms(0.99),
        p999_ms: quantile_ms(0.999),
        latencies_us,
    })
}

/// One connection, with so many transactions on their way at a time.
async fn send(port: u16, pipeline: u64, share_tag: bool, number: u32, shared: Rc<Shared>) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("the server does not listen")?;
    stream.set_nodelay(true).context("a socket sends at once")?;
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ ((u64::from(number) + 1) << 20);
    let (mut request, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let count = pipeline.min(shared.left.get());
        if count == 0 {
            return Ok(());
        }
        shared.left.set(shared.left.get() - count);
        request.clear();
        for _ in 0..count {
            write_transaction(&mut request, share_tag, &mut random);
        }
        let began = Instant::now();
        stream.write_all(&request).await.context("the server does not take transactions")?;
        let mut lines = Lines::default();
        while lines.count < count * REPLY_LINES {
            let length = stream.read(&mut part).await.context("the server does not answer")?;
            ensure!(length > 0, "the server hung up");
            lines.take(&part[..length])?;
        }
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.latencies_us.borrow_mut().saturating_record_n(micros, count);
    }
}

/// Writes a transaction of keys that are drawn by `random`.
fn write_transaction(out: &mut Vec<u8>, share_tag: bool, random: &mut u64) {
    let mut draw = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        *random % u64::from(KEY_COUNT)
    };
    let value = [b'x'; VALUE_BYTES as usize];
    let tag = draw();
    out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
    for index in 0..KEYS {
        let key = if share_tag { format!("{{user:{tag:012}}}:{index}") } else { format!("key:{:012}", draw()) };
        let _ = write!(out, "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${VALUE_BYTES}\r\n", key.len());
        out.extend_from_slice(&value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
}

/// Lines of replies, as they come in pieces.
#[derive(Default)]
struct Lines {
    count: u64,
    is_inside: bool,
}

impl Lines {
    /// Counts the lines that end in `bytes`.
    ///
    /// # Errors
    /// If one begins as an error does, or as the null that stands for a transaction that was not executed.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        for (at, byte) in bytes.iter().enumerate() {
            if !self.is_inside && *byte == b'-' {
                bail!(
                    "a transaction was answered: {}",
                    String::from_utf8_lossy(&bytes[at..]).lines().next().unwrap_or("")
                );
            }
            self.is_inside = *byte != b'\n';
            self.count += u64::from(!self.is_inside);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_sets_five_keys_in_one_slot_or_in_any() {
        for (share_tag, tags) in [(true, 1), (false, 5)] {
            let mut out = Vec::new();
            write_transaction(&mut out, share_tag, &mut 7);
            let text = String::from_utf8(out).unwrap();
            let keys: Vec<&str> = text.lines().filter(|line| line.contains(':')).collect();
            let tag = |key: &&str| key.split('}').next().unwrap().to_owned();
            let different: std::collections::BTreeSet<String> = keys.iter().map(tag).collect();
            assert_eq!((keys.len(), different.len()), (5, tags));
            assert!(text.starts_with("*1\r\n$5\r\nMULTI\r\n") && text.ends_with("$4\r\nEXEC\r\n"));
        }
    }

    #[test]
    fn lines_are_counted_wherever_they_are_cut_and_errors_are_told() {
        let replies = b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n";
        for cut in 0..replies.len() {
            let mut lines = Lines::default();
            lines.take(&replies[..cut]).unwrap();
            lines.take(&replies[cut..]).unwrap();
            assert_eq!(lines.count, 4);
        }
        let refused = Lines::default().take(b"+OK\r\n-MOVED 1 a:1\r\n").unwrap_err().to_string();
        assert!(refused.ends_with("answered: -MOVED 1 a:1"), "{refused}");
    }
}
