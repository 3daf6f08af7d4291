//! Deadlines and patience of the way to peers, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::rc::Rc;
use std::time::Duration;

use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::{AsyncRuntime, RaftNetworkFactory, RaftNetworkV2};

use super::checks::Checks;
use super::executor::{Executor, Running};
use super::faults::{DiskFaults, Workers};
use super::log_twin::{LogFiles, LogTwin};
use super::machine::{Registers, batch};
use super::store_twin::{SharedFiles, StoreTwin, Twins, forget_checkpoints};
use crate::error::{ChangeError, ProposeError};
use crate::group::Group;
use crate::ids::{EntryId, NodeId, PeerAddress};
use crate::limits::SNAPSHOT_SILENCE;
use crate::messages::{
    Append, AppendAnswer, Handover, HandoverAnswer, SentSnapshot, VoteAnswer, VoteParts, VoteQuestion,
};
use crate::options::{GroupHooks, GroupOptions};
use crate::peer::{Client, Peers, Restraints};
use crate::runtime::GlommioRuntime;
use crate::snapshot::{Checkpoint, Snapshot, SnapshotData};
use crate::source::Instant;
use crate::support::{Held, voters};
use crate::transport::{Answering, Peer, Transport, Unreached};
use crate::types::{SnapshotMeta, TypeConfig, Vote, log_id};

/// Rows are written out after so many bytes of them, and so many bytes of entries are kept.
const MEMTABLE_BYTES: usize = 10_000;
const KEPT_BYTES: u64 = 100_000;

/// Time after which the receiver of a snapshot gives a sign of life, or is done with.
const SIGN_AFTER: Duration = Duration::from_secs(SNAPSHOT_SILENCE.as_secs() - 5);

/// A way on which appends are answered as a test says, and snapshots only with signs of life.
struct Scripted {
    appends: Cell<u64>,
    answer: Cell<fn() -> Answering<AppendAnswer>>,
    pre_votes: Cell<u64>,
    pre_vote_answer: Cell<fn() -> Answering<VoteAnswer>>,
    snapshots: Cell<u64>,
}

impl Scripted {
    fn new(answer: fn() -> Answering<AppendAnswer>) -> Rc<Scripted> {
        Rc::new(Scripted {
            appends: Cell::new(0),
            answer: Cell::new(answer),
            pre_votes: Cell::new(0),
            pre_vote_answer: Cell::new(refused),
            snapshots: Cell::new(0),
        })
    }
}

fn taken() -> Answering<AppendAnswer> {
    Box::pin(ready(Ok(AppendAnswer::Success)))
}

fn refused<T: 'static>() -> Answering<T> {
    Box::pin(ready(Err(Unreached::Unreachable("nobody is there".to_owned()))))
}

impl Transport for Scripted {
    fn append(&self, _: &Peer, _: Append) -> Answering<AppendAnswer> {
        self.appends.set(self.appends.get() + 1);
        (self.answer.get())()
    }

    fn vote(&self, _: &Peer, _: VoteQuestion) -> Answering<VoteAnswer> {
        refused()
    }

    fn pre_vote(&self, _: &Peer, _: VoteQuestion) -> Answering<VoteAnswer> {
        self.pre_votes.set(self.pre_votes.get() + 1);
        (self.pre_vote_answer.get())()
    }

    fn hand_over(&self, _: &Peer, _: Handover) -> Answering<HandoverAnswer> {
        refused()
    }

    fn snapshot(&self, _: &Peer, snapshot: SentSnapshot) -> Answering<VoteParts> {
        self.snapshots.set(self.snapshots.get() + 1);
        Box::pin(async move {
            for _ in 0..3 {
                GlommioRuntime::sleep(SIGN_AFTER).await;
                snapshot.life.note();
            }
            pending().await
        })
    }
}

/// Runs tasks in virtual time until `done`.
fn until(executor: &Executor, done: impl Fn() -> bool) {
    for _ in 0..1_000_000 {
        if done() {
            return;
        }
        executor.step().expect("something is to come");
    }
    panic!("it takes too long");
}

/// Runs `work` in virtual time, and returns its result and how long it took.
fn timed<T: 'static>(executor: &Running, work: impl Future<Output = T> + 'static) -> (T, Duration) {
    let result: Rc<RefCell<Option<T>>> = Rc::default();
    let (into, begin) = (result.clone(), executor.now());
    executor.spawn(async move {
        let done = work.await;
        *into.borrow_mut() = Some(done);
    });
    until(executor, || result.borrow().is_some());
    (result.take().unwrap(), executor.now() - begin)
}

async fn client(answer: fn() -> Answering<AppendAnswer>) -> Client<Twins> {
    let wait = Duration::from_secs(1);
    let mut peers = Peers::<Twins>::new(Scripted::new(answer), wait, Restraints::new(wait));
    peers.new_client(NodeId(2), &PeerAddress::default()).await
}

#[test]
fn entries_and_what_follows_them_may_take_as_long_as_a_slow_disk() {
    let executor = Executor::begin(1);
    let work = async {
        let slow = || -> Answering<AppendAnswer> {
            Box::pin(async {
                GlommioRuntime::sleep(Duration::from_millis(700)).await;
                Ok(AppendAnswer::Success)
            })
        };
        let mut client = client(slow).await;
        let vote = Vote::new_committed(1, NodeId(1));
        let prev_log_id = Some(log_id(1, 4));
        let request: AppendEntriesRequest<TypeConfig> =
            AppendEntriesRequest { vote, prev_log_id, entries: Vec::new(), leader_commit: prev_log_id };
        client.append_entries(request, RPCOption::new(Duration::from_millis(250))).await
    };
    let (answer, _) = timed(&executor, work);
    assert_eq!(answer.unwrap(), AppendEntriesResponse::Success);
}

#[test]
fn a_snapshot_is_given_up_when_its_receiver_has_said_nothing_for_long() {
    let executor = Executor::begin(1);
    let work = async {
        let mut client = client(refused).await;
        let meta = SnapshotMeta { last_log_id: Some(log_id(1, 4)), ..SnapshotMeta::default() };
        let received = Checkpoint::new::<StoreTwin>("/node-1/checkpoint".into(), Rc::new(Held::default()));
        let snapshot = Snapshot::<Twins> { snapshot: SnapshotData::received(received, meta.clone()), meta };
        let vote = Vote::new_committed(1, NodeId(1));
        client.full_snapshot(vote, snapshot, pending(), RPCOption::new(Duration::from_secs(1))).await
    };
    let (sent, time) = timed(&executor, work);
    assert!(sent.unwrap_err().to_string().contains("nothing for too long"));
    let least = 3 * SIGN_AFTER + SNAPSHOT_SILENCE;
    assert!(time >= least && time < least + Duration::from_secs(1), "{time:?}");
}

/// Opens a group of one.
async fn open(faults: Rc<DiskFaults>, transport: Rc<Scripted>) -> Group<Twins> {
    let group = open_with_voters(faults, transport, &[1]).await;
    group.wait_ready().await.unwrap();
    group
}

/// Opens a member of a group with these voters.
async fn open_with_voters(faults: Rc<DiskFaults>, transport: Rc<Scripted>, ids: &[u64]) -> Group<Twins> {
    let (node, files) = (NodeId(1), Rc::<RefCell<LogFiles>>::default());
    let checks = Rc::new(RefCell::new(Checks::new(BTreeMap::from([(node, files.clone())]), false, false)));
    let log = LogTwin::open(node, files, faults.clone(), checks.clone(), 0);
    let store = StoreTwin::open(node, SharedFiles::default(), &faults, MEMTABLE_BYTES);
    let machine = Rc::new(RefCell::new(Registers::new(node, store, checks)));
    let is_alive = Rc::new(Cell::new(true));
    let hooks = GroupHooks {
        background: Workers::writers(&faults, &is_alive),
        readers: Workers::readers(&faults, &is_alive),
        on_outcome: Box::new(|_, outcome| assert!(outcome.is_ok(), "{outcome:?}")),
        on_fatal: Box::new(|fault| panic!("{fault}")),
        wake: std::sync::Arc::new(|| {}),
    };
    let alone = GroupOptions::alone(0, node, "/node-1/snapshots".into());
    let options = GroupOptions { voters: voters(ids), log_kept_bytes: KEPT_BYTES, ..alone };
    let group = Group::open_with(options, hooks, transport, log, machine).await.unwrap();
    let turning = group.clone();
    drop(GlommioRuntime::spawn(async move {
        loop {
            turning.drain_completions();
            GlommioRuntime::sleep(Duration::from_millis(1)).await;
        }
    }));
    group
}

#[test]
fn a_peer_that_is_known_to_be_away_is_asked_less_and_less_often() {
    let executor = Executor::begin(1);
    forget_checkpoints();
    let transport = Scripted::new(refused);
    let faults = DiskFaults::new(0);
    let counted = transport.clone();
    let work = async move {
        let group = open(faults, transport).await;
        group.add_learner(NodeId(2), PeerAddress::default()).await.unwrap();
        let (begin, end) = (counted.appends.get(), Instant::now() + Duration::from_secs(60));
        for id in 1.. {
            if Instant::now() >= end {
                break;
            }
            assert!(group.propose(batch(id, 8), id).is_ok());
            GlommioRuntime::sleep(Duration::from_millis(100)).await;
        }
        assert!(!group.needs_read_barrier());
        counted.appends.get() - begin
    };
    let (appends, _) = timed(&executor, work);
    // Four heartbeats a second, and entries once a second in the end.
    assert!((240..=240 + 75).contains(&appends), "{appends} messages in a minute");
}

#[test]
fn a_leader_whose_quorum_is_silent_says_so_and_takes_batches_again_when_it_answers() {
    let executor = Executor::begin(1);
    forget_checkpoints();
    let transport = Scripted::new(taken);
    let (faults, script) = (DiskFaults::new(0), transport.clone());
    let work = async move {
        let group = open(faults, transport).await;
        group.add_learner(NodeId(2), PeerAddress::default()).await.unwrap();
        while group.promote(NodeId(2)).await == Err(ChangeError::NotCaughtUp { node: NodeId(2) }) {
            GlommioRuntime::sleep(Duration::from_millis(10)).await;
        }
        // Nothing of what was proposed all the while was refused.
        assert_eq!((group.check_room(1), group.needs_read_barrier()), (Ok(()), true));
        script.answer.set(refused);
        GlommioRuntime::sleep(Duration::from_secs(10)).await;
        assert!(group.is_leader());
        let batch = batch(1, 8);
        let refused = group.propose(batch.clone(), 1).unwrap_err();
        assert_eq!((refused.reason, refused.batch), (ProposeError::Unconfirmed, batch.clone()));
        script.answer.set(taken);
        while group.check_room(1).is_err() {
            GlommioRuntime::sleep(Duration::from_millis(10)).await;
        }
        group.propose(batch, 1).unwrap();
        while group.status().in_flight_count > 0 {
            GlommioRuntime::sleep(Duration::from_millis(10)).await;
        }
        group.read_barrier().await.unwrap();
        assert!(group.needs_read_barrier());
    };
    timed(&executor, work);
}

#[test]
fn a_follower_that_is_slower_than_what_is_written_does_not_hold_the_log() {
    let executor = Executor::begin(1);
    forget_checkpoints();
    let transport = Scripted::new(taken);
    let (faults, script) = (DiskFaults::new(0), transport.clone());
    let work = async move {
        let group = open(faults, transport).await;
        group.add_learner(NodeId(2), PeerAddress::default()).await.unwrap();
        // It has all of each message in time, and a message has but so many entries.
        script.answer.set(|| {
            Box::pin(async {
                GlommioRuntime::sleep(Duration::from_millis(900)).await;
                Ok(AppendAnswer::Success)
            })
        });
        let (mut id, mut longest) = (0, 0);
        for _ in 0..20_000 {
            id += 1;
            while group.propose(batch(id, 100), id).is_err() {
                GlommioRuntime::sleep(Duration::from_millis(1)).await;
            }
            GlommioRuntime::sleep(Duration::from_millis(1)).await;
            longest = group.log_bytes().max(longest);
        }
        while group.status().in_flight_count > 0 {
            GlommioRuntime::sleep(Duration::from_millis(1)).await;
        }
        (longest, script.snapshots.get())
    };
    let ((longest, snapshots), _) = timed(&executor, work);
    // What is written between two looks, and while a message is on its way.
    assert!(longest < 5 * KEPT_BYTES, "{longest} bytes");
    assert!(snapshots > 0, "it is sent what it needs");
}

/// The leader that a member's peers have, which does not count it among the group's any more.
const LEADER: VoteParts = VoteParts { term: 7, node: NodeId(2), is_committed: true };

fn has_a_leader() -> Answering<VoteAnswer> {
    let last = Some(EntryId { term: 7, index: 100 });
    Box::pin(ready(Ok(VoteAnswer { vote: LEADER, is_granted: false, last })))
}

/// Has a voter ask two others, and counts its questions in each of `minutes`; then once more after it has heard of a leader.
fn pre_votes_by_minute(answer: fn() -> Answering<VoteAnswer>, minutes: usize) -> (Vec<u64>, u64) {
    let executor = Executor::begin(1);
    forget_checkpoints();
    let transport = Scripted::new(refused);
    transport.pre_vote_answer.set(answer);
    let (faults, script) = (DiskFaults::new(0), transport.clone());
    let minute = Duration::from_secs(60);
    let work = async move {
        let group = open_with_voters(faults, transport, &[1, 2, 3]).await;
        let mut counts = Vec::new();
        for _ in 0..minutes {
            script.pre_votes.set(0);
            GlommioRuntime::sleep(minute).await;
            counts.push(script.pre_votes.get());
        }
        let heartbeat = Append { vote: LEADER, previous: None, committed: None, records: Vec::new() };
        assert_eq!(group.receive_append(heartbeat).await.unwrap(), AppendAnswer::Success);
        script.pre_votes.set(0);
        GlommioRuntime::sleep(minute).await;
        (counts, script.pre_votes.get())
    };
    timed(&executor, work).0
}

#[test]
fn a_member_that_nobody_wants_asks_less_and_less_often_until_it_hears_of_a_leader() {
    let (by_minute, after) = pre_votes_by_minute(has_a_leader, 10);
    // Each round asks two, and who has the shorter log waits for longer.
    assert!(by_minute[0] >= 2 * 8, "it is let ask for a while: {by_minute:?}");
    assert!(by_minute[3..].iter().all(|count| (2..=2 * 3).contains(count)), "{by_minute:?}");
    assert!(after >= 2 * 8, "{after} questions in a minute after it has heard of a leader");
}

#[test]
fn a_member_that_nobody_answers_goes_on_asking() {
    let (by_minute, _) = pre_votes_by_minute(refused, 10);
    assert!(by_minute.iter().all(|count| *count >= 2 * 20), "{by_minute:?}");
}
