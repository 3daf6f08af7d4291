//! The sending side: a store with rows, its checkpoint, and a sender.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use basalt_net::peer::{Acquaintance, Bounds, GroupNumber, Lane, NodeNumber, Own, Route, Versions, Wanted};
use basalt_raft::{NodeId, VoteParts};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::{BlockCache, Direction, Rows, Store, StoreOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::snapshots::{Bandwidth, SendError, SendOrder, Sender, SenderOptions, Sending};

/// A bound on everything that a test waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// The group that snapshots are of.
pub(super) const GROUP: GroupNumber = GroupNumber(5);
/// The node that sends, and the one that receives.
pub(super) const SENDER: NodeNumber = NodeNumber(0xa1);
pub(super) const RECEIVER: NodeNumber = NodeNumber(0xb2);

pub(super) fn options() -> StoreOptions {
    StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20))
}

/// Opens a store whose database was closed a moment ago.
pub(super) fn open(directory: &Path) -> Store {
    Store::open(directory, &options()).unwrap()
}

/// All rows, for comparing.
pub(super) fn rows(store: &Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    let scan = store.scan(Bound::Unbounded, Bound::Unbounded, Direction::Forward, &mut |key, value| {
        rows.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    });
    scan.unwrap();
    rows
}

/// A store that was filled by entries up to an index, and a checkpoint of it.
pub(super) struct Source {
    _directory: tempfile::TempDir,
    pub(super) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    vote: VoteParts,
    meta: Vec<u8>,
    checkpoint: PathBuf,
}

/// The id of the entry with this index, encoded as the raft crate does.
pub(super) fn log_id(index: u64) -> Vec<u8> {
    [&[1][..], &1u64.to_be_bytes(), &index.to_be_bytes()].concat()
}

impl Source {
    /// Rows of `kibibytes` that do not compress, and a leader of `term`.
    pub(super) fn new(kibibytes: u64, term: u64) -> Source {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(&directory.path().join("data"));
        let mut random = StdRng::seed_from_u64(term);
        for index in 1..=kibibytes {
            let mut value = vec![0; 1000];
            random.fill_bytes(&mut value);
            store.put(&[&[0], &index.to_be_bytes()[..]].concat(), &value);
            store.set_applied(index, &log_id(index), None);
            if store.is_full() {
                let done = store.freeze().unwrap().run();
                drop(store.finish(done).unwrap());
            }
        }
        let checkpoint = directory.path().join("checkpoint");
        let done = store.checkpoint(&checkpoint).run();
        let (applied, retired) = store.finish_checkpoint(done).unwrap();
        drop(retired);
        assert_eq!(applied.index, kibibytes);
        let vote = VoteParts { term, node: NodeId(SENDER.0), is_committed: true };
        let meta = [applied.log_id, applied.membership].concat();
        Source { rows: rows(&store), _directory: directory, vote, meta, checkpoint }
    }

    pub(super) fn checkpoint(&self) -> &Path {
        &self.checkpoint
    }

    /// The files of the checkpoint with their sizes, in the order of their names.
    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files: Vec<_> = std::fs::read_dir(self.checkpoint())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
            .collect();
        files.sort();
        files
    }

    /// Bytes of the checkpoint.
    pub(super) fn total(&self) -> u64 {
        self.files().iter().map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn order(&self, to: SocketAddr) -> SendOrder {
        let route = Route { lane: Lane::Snapshots, dialing_core: 0, accepting_core: 0 };
        SendOrder {
            to,
            wanted: Wanted { node: RECEIVER, route },
            group: GROUP,
            member: RECEIVER,
            vote: self.vote,
            meta: self.meta.clone(),
            directory: self.checkpoint.clone(),
        }
    }
}

/// A node as it greets.
pub(super) fn own(node: NodeNumber) -> Own {
    Own {
        cluster: [7; 20],
        node,
        incarnation: 3,
        core_count: 1,
        versions: Versions::OWN,
        bounds: Bounds::default(),
        secret: None,
    }
}

/// Waits that end a test soon.
pub(super) fn impatient() -> SenderOptions {
    let bandwidth = Arc::new(Bandwidth::new(0, 0));
    let options = SenderOptions::new(Arc::new(|| own(SENDER)), Arc::new(|_| Acquaintance::Unknown), bandwidth);
    SenderOptions {
        silence_wait: Duration::from_millis(300),
        progress_wait: Duration::from_secs(2),
        back_off: Duration::from_millis(5),
        sign_every: Duration::ZERO,
        ..options
    }
}

/// Waits that no test reaches.
pub(super) fn patient() -> SenderOptions {
    SenderOptions { silence_wait: Duration::from_secs(30), progress_wait: PATIENCE, ..impatient() }
}

pub(super) fn sender(options: &SenderOptions) -> Sender {
    Sender::start(options.clone()).unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a snapshot to arrive; returns the vote that was the answer.
pub(super) fn wait(sending: Sending) -> Result<VoteParts, SendError> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut sending, deadline) = (pin!(sending), Instant::now() + PATIENCE);
    loop {
        if let Poll::Ready(answer) = sending.as_mut().poll(&mut Context::from_waker(&waker)) {
            return answer;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no answer has come");
        std::thread::park_timeout(left);
    }
}

/// Waits until it is so.
#[track_caller]
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
