//! One measurement: fifty connections that ask for so long.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use super::etcd;
use super::load::{CLIENTS, KEYS, Load, VALUE_BYTES};
use super::resp::{take_replies, write_command};
use super::system::{Kind, System};

/// Time under load before anything counts.
const WARM_UP: Duration = Duration::from_secs(2);
/// Time after the end in which the last requests have to be answered.
const END_MAX: Duration = Duration::from_secs(60);
/// The longest latency that is told from longer ones, in microseconds.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Digits of latencies that are kept.
const DIGITS: u8 = 3;

/// The figures of one measurement.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Requests per second.
    pub requests_per_s: f64,
    /// Latency that half of the requests did not exceed, in milliseconds; with a pipeline that of all of it.
    pub p50_ms: f64,
    /// Latency that 99 % did not exceed, in milliseconds.
    pub p99_ms: f64,
    /// Processor time of all servers per request, in microseconds.
    pub cpu_us: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { requests_per_s, p50_ms, p99_ms, cpu_us } = self;
        write!(f, "{requests_per_s:.0} requests/s, P50 {p50_ms:.2} ms, P99 {p99_ms:.2} ms, {cpu_us:.2} CPU µs/request")
    }
}

/// The things that the connections of one measurement share.
struct Shared {
    counts: Cell<bool>,
    ends: Cell<bool>,
    requests: Cell<u64>,
    latencies_us: RefCell<Histogram<u64>>,
}

impl Shared {
    fn answered(&self, requests: usize, began: Instant) {
        if self.counts.get() {
            self.requests.set(self.requests.get() + requests as u64);
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.latencies_us.borrow_mut().saturating_record_n(micros, requests as u64);
        }
    }
}

/// Numbers for keys: xorshift, of which it is enough that they are spread.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Loads a system for `seconds`.
///
/// # Errors
/// If it cannot be reached or answers with an error.
pub fn measure(system: &mut System, load: Load, seconds: Duration) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let latencies_us =
        Histogram::new_with_max(LATENCY_US_MAX, DIGITS).expect("three digits are valid, and so is a minute");
    let shared = Rc::new(Shared {
        counts: Cell::new(false),
        ends: Cell::new(false),
        requests: Cell::new(0),
        latencies_us: RefCell::new(latencies_us),
    });
    let (elapsed, used) = LocalSet::new().block_on(&runtime, async {
        let mut connections = JoinSet::new();
        for number in 0..CLIENTS {
            let (port, tags) = system.targets[number % system.targets.len()].clone();
            let (shared, numbers) = (shared.clone(), Numbers(0x9e37_79b9_7f4a_7c15 ^ ((number as u64 + 1) << 20)));
            match system.kind() {
                Kind::Etcd => connections.spawn_local(ask_etcd(port, load, shared, numbers)),
                kind => {
                    let waits = kind == Kind::RedisWait && load.writes;
                    connections.spawn_local(ask_in_resp(port, tags, load, waits, shared, numbers))
                }
            };
        }
        tokio::time::sleep(WARM_UP).await;
        let (began, before) = (Instant::now(), system.cpu_time()?);
        shared.counts.set(true);
        tokio::time::sleep(seconds).await;
        shared.counts.set(false);
        let (elapsed, used) = (began.elapsed(), system.cpu_time()? - before);
        shared.ends.set(true);
        let all = async {
            while let Some(ended) = connections.join_next().await {
                ended.context("a connection panicked")??;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(END_MAX, all).await.context("requests are not answered")??;
        anyhow::Ok((elapsed, used))
    })?;
    let requests = shared.requests.get();
    ensure!(requests > 0, "not one request was answered");
    let latencies_us = shared.latencies_us.borrow();
    let quantile_ms = |quantile| latencies_us.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Measured {
        requests_per_s: requests as f64 / elapsed.as_secs_f64(),
        p50_ms: quantile_ms(0.5),
        p99_ms: quantile_ms(0.99),
        cpu_us: used.as_secs_f64() * 1e6 / requests as f64,
    })
}

/// One connection to a server that speaks RESP.
async fn ask_in_resp(
    port: u16,
    tags: Vec<String>,
    load: Load,
    waits: bool,
    shared: Rc<Shared>,
    mut numbers: Numbers,
) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("a server does not listen")?;
    stream.set_nodelay(true).context("a socket sends at once")?;
    let (value, wanted) = ([b'x'; VALUE_BYTES], load.pipeline + usize::from(waits));
    let (mut request, mut received, mut part) = (Vec::new(), Vec::new(), vec![0; 64 << 10]);
    while !shared.ends.get() {
        request.clear();
        for _ in 0..load.pipeline {
            let number = numbers.below(KEYS);
            let key = match tags.len() {
                0 => format!("key:{number:012}"),
                count => format!("{{{}}}:{number:08}", tags[number as usize % count]),
            };
            match load.writes {
                true => write_command(&mut request, &[b"SET", key.as_bytes(), &value]),
                false => write_command(&mut request, &[b"GET", key.as_bytes()]),
            }
        }
        if waits {
            write_command(&mut request, &[b"WAIT", b"1", b"0"]);
        }
        let began = Instant::now();
        stream.write_all(&request).await.context("a server does not take requests")?;
        let mut count = 0;
        while count < wanted {
            let length = stream.read(&mut part).await.context("a server does not answer")?;
            ensure!(length > 0, "a server hung up");
            received.extend_from_slice(&part[..length]);
            let taken = take_replies(&received, wanted - count)?;
            count += taken.count;
            received.drain(..taken.bytes);
        }
        shared.answered(load.pipeline, began);
    }
    Ok(())
}

/// One connection to etcd, with as many requests on their way at a time as a pipeline has.
async fn ask_etcd(port: u16, load: Load, shared: Rc<Shared>, mut numbers: Numbers) -> Result<()> {
    let client = etcd::Client::connect(port).await?;
    let mut streams = JoinSet::new();
    for _ in 0..load.pipeline {
        let (mut client, shared) = (client.clone(), shared.clone());
        let mut numbers = Numbers(numbers.below(u64::MAX) | 1);
        streams.spawn_local(async move {
            let value = [b'x'; VALUE_BYTES];
            while !shared.ends.get() {
                let key = format!("key:{:012}", numbers.below(KEYS));
                let began = Instant::now();
                match load.writes {
                    true => client.put(key.as_bytes(), &value).await?,
                    false => drop(client.get(key.as_bytes()).await?),
                }
                shared.answered(1, began);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = streams.join_next().await {
        ended.context("a stream panicked")??;
    }
    Ok(())
}
