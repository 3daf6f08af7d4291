//! Shared by the crate's own tests: a machine whose commands are easy to check, and a group with its core around it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::log::{Durability, LogOptions, LogSyncer, RaftLog};
use basalt_storage::{BlockCache, ColdRead, Fetched, Rows, Store, StoreOptions};
use bytes::Bytes;
use openraft::AsyncRuntime;

use crate::error::ProposeError;
use crate::generations::Generations;
use crate::log_store::LogStore;
use crate::runtime::GlommioRuntime;
use crate::transport::{NoPeers, Transport};
use crate::{
    Background, EntryId, Executed, Group, GroupHooks, GroupOptions, Job, Machine, MachineError, NodeId, Outcome,
    Replies,
};

/// The longest wait of a test for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Appends each batch to the value of the row `b"all"`, so that a lost, doubled or swapped batch shows, and answers with the
/// number of batches so far. Between the halves of a batch `halves:…` it asks for a row. A batch `panic` panics half-way.
pub(crate) struct Appender {
    pub(crate) store: Store,
    pub(crate) count: u64,
    pub(crate) applied: Vec<EntryId>,
    /// The tickets that the batches came with.
    pub(crate) tickets: Vec<Option<u64>>,
    /// Number of snapshots that were installed.
    pub(crate) installs: u32,
    /// Set while a batch is half applied.
    is_halfway: bool,
}

impl Appender {
    pub(crate) fn open(directory: &Path, memtable_bytes: usize) -> Appender {
        let options = StoreOptions::new(ROW_RULES, memtable_bytes, BlockCache::new(1 << 20));
        let store = Store::open(&directory.join("data"), &options).expect("the store opens");
        Appender { store, count: 0, applied: Vec::new(), tickets: Vec::new(), installs: 0, is_halfway: false }
    }

    pub(crate) fn text(&self) -> String {
        let row = self.store.get(b"all").expect("readable");
        row.map_or_else(String::new, |row| String::from_utf8(row.to_vec()).expect("tests write text"))
    }
}

impl Machine for Appender {
    fn apply(&mut self, entry: EntryId, batch: &[u8], ticket: Option<u64>) -> Result<Executed, MachineError> {
        if batch == b"poison" {
            return Err(MachineError::Batch("the batch is poison".to_owned()));
        }
        if batch == b"damage" {
            let (path, detail) = (self.store.directory().to_owned(), "a row is damaged".to_owned());
            return Err(basalt_storage::Error::Corruption { path, detail }.into());
        }
        if batch == b"panic" {
            self.store.put(b"all", b"half of it");
            panic!("the batch is unlucky");
        }
        let mut text = self.store.get(b"all")?.map_or_else(Vec::new, |row| row.to_vec());
        if batch.starts_with(b"halves:") {
            self.is_halfway = !self.is_halfway;
            let (first, second) = batch[7..].split_at(batch[7..].len() / 2);
            text.extend_from_slice(if self.is_halfway { first } else { second });
            self.store.put(b"all", &text);
            if self.is_halfway {
                return Ok(Executed::Cold { read: ColdRead::Key(b"cold"[..].into()), pins: false });
            }
        } else {
            text.extend_from_slice(batch);
            self.store.put(b"all", &text);
        }
        self.count += 1;
        self.applied.push(entry);
        self.tickets.push(ticket);
        let bytes = self.count.to_string().into_bytes();
        Ok(Executed::Whole(Replies { ends: vec![bytes.len()], bytes }))
    }

    fn take_fetched(&mut self, rows: Fetched) {
        self.store.take_fetched(&rows);
    }

    fn installed(&mut self) {
        self.installs += 1;
    }

    fn store(&mut self) -> &mut Store {
        &mut self.store
    }
}

/// A thread per job.
pub(crate) struct Threads;

impl Background for Threads {
    fn run(&self, job: Job) {
        std::thread::spawn(job);
    }
}

/// Holds its jobs until a test lets them go.
#[derive(Default)]
pub(crate) struct Held(RefCell<Vec<Job>>);

impl Held {
    /// Counts the jobs that wait.
    pub(crate) fn job_count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Runs the jobs that wait, in the order in which they came, here and now.
    pub(crate) fn run_all(&self) {
        for job in self.0.take() {
            job();
        }
    }
}

impl Background for Held {
    fn run(&self, job: Job) {
        self.0.borrow_mut().push(job);
    }
}

/// A group of one in a directory, with the part of a core that it needs.
pub(crate) struct Shard {
    pub(crate) group: Group,
    pub(crate) machine: Rc<RefCell<Appender>>,
    pub(crate) outcomes: Rc<RefCell<Vec<(u64, Outcome)>>>,
    pub(crate) fatal: Rc<RefCell<Option<String>>>,
    woken: Arc<AtomicBool>,
    syncer: Option<LogSyncer>,
}

/// The settings of a test's shard.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) directory: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) memtable_bytes: usize,
    pub(crate) log_entries_max: u64,
    pub(crate) log_entries_kept: u64,
    pub(crate) log_kept_bytes: u64,
    pub(crate) in_flight_max: usize,
    pub(crate) node: NodeId,
    pub(crate) voters: BTreeMap<NodeId, crate::PeerAddress>,
    pub(crate) founder: bool,
    pub(crate) transport: Rc<dyn Transport>,
}

impl Setup {
    pub(crate) fn new(directory: &Path) -> Setup {
        Setup {
            directory: directory.to_owned(),
            durability: Durability::Always,
            memtable_bytes: 64 << 20,
            log_entries_max: 1_000_000,
            log_entries_kept: 0,
            log_kept_bytes: 0,
            in_flight_max: 1024,
            node: NodeId(1),
            voters: voters(&[1]),
            founder: true,
            transport: Rc::new(NoPeers),
        }
    }

    pub(crate) fn options(&self) -> GroupOptions {
        GroupOptions {
            log_entries_max: self.log_entries_max,
            log_entries_kept: self.log_entries_kept,
            log_kept_bytes: self.log_kept_bytes,
            in_flight_max: self.in_flight_max,
            voters: self.voters.clone(),
            founder: self.founder,
            ..GroupOptions::alone(7, self.node, self.directory.join("snapshots"))
        }
    }

    pub(crate) async fn open(&self) -> Shard {
        self.open_with(Rc::new(Threads)).await
    }

    /// Opens the shard with something else than a thread per job.
    pub(crate) async fn open_with(&self, background: Rc<dyn Background>) -> Shard {
        self.try_open_with(background).await.expect("the group opens")
    }

    /// Opens the shard and waits until it is ready; what it says if that fails.
    pub(crate) async fn start(&self) -> Result<Shard, String> {
        let shard = self.try_open_with(Rc::new(Threads)).await.map_err(|error| error.to_string())?;
        match shard.group.wait_ready().await {
            Ok(()) => Ok(shard),
            Err(error) => {
                shard.close().await;
                Err(error.to_string())
            }
        }
    }

    async fn try_open_with(&self, background: Rc<dyn Background>) -> Result<Shard, crate::Error> {
        let syncer = LogSyncer::start(0, self.durability).expect("the syncer starts");
        let log = open_log(&self.directory, &syncer);
        let machine = Rc::new(RefCell::new(Appender::open(&self.directory, self.memtable_bytes)));
        let outcomes: Rc<RefCell<Vec<(u64, Outcome)>>> = Rc::default();
        let fatal: Rc<RefCell<Option<String>>> = Rc::default();
        let woken = Arc::new(AtomicBool::new(false));
        let hooks = GroupHooks { background, ..hooks(&outcomes, &fatal, &woken) };
        let group = Group::open_with(self.options(), hooks, self.transport.clone(), log, machine.clone()).await?;
        Ok(Shard { group, machine, outcomes, fatal, woken, syncer: Some(syncer) })
    }
}

/// Hooks that note what they are given.
pub(crate) fn hooks(
    outcomes: &Rc<RefCell<Vec<(u64, Outcome)>>>,
    fatal: &Rc<RefCell<Option<String>>>,
    woken: &Arc<AtomicBool>,
) -> GroupHooks {
    let (outcomes, fatal, woken) = (outcomes.clone(), fatal.clone(), woken.clone());
    GroupHooks {
        on_outcome: Box::new(move |ticket, outcome| outcomes.borrow_mut().push((ticket, outcome))),
        on_fatal: Box::new(move |fault| *fatal.borrow_mut() = Some(fault.text)),
        wake: Arc::new(move || woken.store(true, Ordering::Release)),
        background: Rc::new(Threads),
        readers: Rc::new(Threads),
    }
}

pub(crate) fn open_log(directory: &Path, syncer: &LogSyncer) -> RaftLog {
    let options = LogOptions { warm_files: 0, segment_bytes: 1 << 20, ..LogOptions::default() };
    // That of a group which could not be opened is closed on another thread.
    let deadline = Instant::now() + PATIENCE;
    loop {
        match RaftLog::open(&directory.join("log"), &options, syncer) {
            Err(basalt_storage::Error::InUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened.expect("the log opens"),
        }
    }
}

/// Copies a directory and what is in it: what a process that is killed leaves, if nothing writes to it meanwhile.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the copy can be made");
    for entry in std::fs::read_dir(from).expect("the directory is there") {
        let entry = entry.expect("readable");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("readable").is_dir() {
            copy_directory(&from, &to);
        } else if entry.file_name() != "LOCK" {
            // Who opens and closes a file that this process has locked gives up the lock.
            std::fs::copy(&from, &to).expect("the file can be copied");
        }
    }
}

impl Shard {
    /// Lets the group work until `done`.
    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut(&Shard) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what} took too long: {:?}", self.group.status());
            if self.woken.swap(false, Ordering::AcqRel) {
                self.group.drain_completions();
            }
            GlommioRuntime::sleep(Duration::from_micros(50)).await;
        }
    }

    pub(crate) fn propose(&self, text: &str, ticket: u64) -> Result<(), ProposeError> {
        self.group.propose(Bytes::copy_from_slice(text.as_bytes()), ticket).map_err(|refused| {
            assert_eq!(refused.batch, text, "a refused batch comes back");
            refused.reason
        })
    }

    /// Proposes `texts` with their places as tickets, and waits for all outcomes.
    pub(crate) async fn write(&self, texts: &[&str]) {
        let before = self.outcomes.borrow().len();
        for (ticket, text) in texts.iter().enumerate() {
            self.propose(text, ticket as u64).expect("proposed");
        }
        self.until("the outcomes", |shard| shard.outcomes.borrow().len() == before + texts.len()).await;
    }

    /// Stops the log's syncer: every later sync fails.
    pub(crate) fn stop_syncer(&mut self) {
        self.syncer = None;
    }

    pub(crate) async fn close(self) {
        self.group.shutdown().await.expect("the log is durable");
    }
}

/// Runs a test on an executor of its own.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    GlommioRuntime::run(test)
}

/// Voters without addresses.
pub(crate) fn voters(ids: &[u64]) -> BTreeMap<NodeId, crate::PeerAddress> {
    ids.iter().map(|id| (NodeId(*id), crate::PeerAddress::default())).collect()
}

/// Generations without openraft, and what they work on.
pub(crate) struct Scene {
    pub(crate) log: LogStore,
    pub(crate) machine: Rc<RefCell<Appender>>,
    pub(crate) generations: Rc<Generations>,
    /// Without it every later sync of the log fails.
    pub(crate) syncer: Option<LogSyncer>,
}

impl Scene {
    pub(crate) fn new(directory: &Path) -> Scene {
        Scene::with_readers(directory, Rc::new(Threads))
    }

    /// A scene whose single rows are fetched by `readers`.
    pub(crate) fn with_readers(directory: &Path, readers: Rc<dyn Background>) -> Scene {
        Scene::with_threads(directory, Rc::new(Threads), readers)
    }

    /// A scene whose jobs are run by `background`.
    pub(crate) fn with_threads(directory: &Path, background: Rc<dyn Background>, readers: Rc<dyn Background>) -> Scene {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let wake: crate::Wake = Arc::new(|| {});
        let log = LogStore::new(open_log(directory, &syncer), readers.clone(), wake.clone());
        let machine = Rc::new(RefCell::new(Appender::open(directory, 1 << 20)));
        let options = Setup::new(directory).options();
        let generations = Generations::new(&options, machine.clone(), log.clone(), background, readers, wake).unwrap();
        Scene { log, machine, generations, syncer: Some(syncer) }
    }
}
