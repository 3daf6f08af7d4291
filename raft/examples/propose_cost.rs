//! The cost of one proposal: CPU of the core's thread and of the whole process, and batches per second, with a machine that
//! does nothing and a real log.
//!
//! `cargo run --release -p basalt-raft --example propose_cost -- [always|none] [batches on their way] [bytes] [batches]`

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use basalt_raft::{
    Background, EntryId, Executed, Group, GroupHooks, GroupOptions, Job, Machine, MachineError, NodeId, Replies,
};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::log::{Durability, LogOptions, LogSyncer, RaftLog};
use basalt_storage::{BlockCache, Fetched, Store, StoreOptions};
use bytes::Bytes;
use nix::sys::resource::{UsageWho, getrusage};

struct Nothing(Store);

impl Machine for Nothing {
    fn apply(&mut self, _: EntryId, _: &[u8], _: Option<u64>) -> Result<Executed, MachineError> {
        Ok(Executed::Whole(Replies::default()))
    }

    fn take_fetched(&mut self, _: Fetched) {}

    fn installed(&mut self) {}

    fn store(&mut self) -> &mut Store {
        &mut self.0
    }
}

struct Threads;

impl Background for Threads {
    fn run(&self, job: Job) {
        std::thread::spawn(job);
    }
}

fn cpu(who: UsageWho) -> Result<Duration> {
    let usage = getrusage(who)?;
    let micros = |time: nix::sys::time::TimeVal| (time.tv_sec() * 1_000_000 + time.tv_usec()) as u64;
    Ok(Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time())))
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let durability = match arguments.next().as_deref() {
        None | Some("none") => Durability::None,
        Some("always") => Durability::Always,
        Some(other) => bail!("durability is {other}: always or none"),
    };
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse()).context("a number");
    let (in_flight, bytes, batches) = (number(16)?, number(100)?, number(200_000)?);
    let executor = glommio::LocalExecutorBuilder::default()
        .preempt_timer(Duration::from_secs(3600))
        .make()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    executor.run(measure(durability, in_flight, bytes, batches as u64))
}

async fn measure(durability: Durability, in_flight: usize, bytes: usize, batches: u64) -> Result<()> {
    let directory = tempfile::tempdir_in(".")?;
    let syncer = LogSyncer::start(0, durability)?;
    let log = RaftLog::open(&directory.path().join("log"), &LogOptions::default(), &syncer)?;
    let store =
        Store::open(&directory.path().join("data"), &StoreOptions::new(ROW_RULES, 64 << 20, BlockCache::new(1 << 20)))?;
    let (done, woken) = (Rc::new(Cell::new(0_u64)), Arc::new(AtomicBool::new(false)));
    let (counted, wake, core) = (done.clone(), woken.clone(), std::thread::current());
    let hooks = GroupHooks {
        on_outcome: Box::new(move |_, outcome| {
            assert!(outcome.is_ok(), "{outcome:?}");
            counted.set(counted.get() + 1);
        }),
        on_fatal: Box::new(|text| panic!("{text}")),
        wake: Arc::new(move || {
            wake.store(true, Ordering::Release);
            core.unpark();
        }),
        background: Rc::new(Threads),
        readers: Rc::new(Threads),
    };
    let options = GroupOptions::alone(0, NodeId(1), directory.path().join("snapshots"));
    let group = Group::open(options, hooks, log, Rc::new(RefCell::new(Nothing(store)))).await?;
    group.wait_ready().await?;

    let batch = Bytes::from(vec![7; bytes]);
    for (name, rounds) in [("warm-up", batches / 10), ("measured", batches)] {
        let (from, thread, process) = (Instant::now(), cpu(UsageWho::RUSAGE_THREAD)?, cpu(UsageWho::RUSAGE_SELF)?);
        let (end, mut proposed) = (done.get() + rounds, done.get());
        let mut parked = Duration::ZERO;
        while done.get() < end {
            while proposed < end && proposed - done.get() < in_flight as u64 {
                group.propose(batch.clone(), proposed)?;
                proposed += 1;
            }
            glommio::executor().yield_task_queue_now().await;
            if woken.swap(false, Ordering::AcqRel) {
                group.drain_completions();
            } else if durability == Durability::Always && proposed - done.get() >= in_flight as u64 {
                let since = Instant::now();
                std::thread::park_timeout(Duration::from_millis(1));
                parked += since.elapsed();
            }
        }
        let took = from.elapsed();
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / rounds as f64;
        println!(
            "{name}: {durability:?}, {in_flight} on their way, {bytes} bytes: {:.0} batches/s, core {:.2} µs, process {:.2} µs \
             per batch (parked {:.0} % of the time)",
            rounds as f64 / took.as_secs_f64(),
            each(cpu(UsageWho::RUSAGE_THREAD)? - thread),
            each(cpu(UsageWho::RUSAGE_SELF)? - process),
            100.0 * parked.as_secs_f64() / took.as_secs_f64(),
        );
    }
    group.shutdown().await?;
    Ok(())
}
