//! A group of three on real logs and stores, one of whose members comes late: its leader's snapshot comes by a socket.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::mpsc::{Receiver as Handed, Sender as Hands, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use basalt_net::peer::{GroupNumber, Lane, NodeNumber, Recipient, Route, Unable, UnableReason, Wanted};
use basalt_raft::{
    Answering, Append, AppendAnswer, Background, EntryId, Executed, Group, GroupHooks, GroupOptions, Handover,
    HandoverAnswer, Job, Machine, MachineError, NodeId, Peer, PeerAddress, ReceivedSnapshot, Replies, SentSnapshot,
    Transport, Unreached, VoteAnswer, VoteParts, VoteQuestion,
};
use basalt_storage::{Durability, Fetched, LogOptions, LogSyncer, RaftLog, Rows, Store};
use bytes::Bytes;
use glommio::timer::sleep;

use super::node::{Port, receiver_options};
use super::proxy::{Fate, Proxy};
use super::source::{GROUP, PATIENCE, open, own, patient, rows};
use crate::snapshots::{Answer, Groups, Receiver, SendOrder, Sender, SenderOptions};

const ENTRIES: u64 = 150;
const BATCH_BYTES: usize = 20_000;

/// Puts each batch under the index of its entry.
struct Puts {
    store: Store,
    installs: u32,
}

impl Machine for Puts {
    fn apply(&mut self, entry: EntryId, batch: &[u8], _: Option<u64>) -> Result<Executed, MachineError> {
        self.store.put(&[&[0], &entry.index.to_be_bytes()[..]].concat(), batch);
        Ok(Executed::Whole(Replies { bytes: b"1".to_vec(), ends: vec![1] }))
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
struct Threads;

impl Background for Threads {
    fn run(&self, job: Job) {
        std::thread::spawn(job);
    }
}

/// The way between members: messages are handed over at once, snapshots go by a sender.
struct Way {
    groups: RefCell<BTreeMap<NodeId, Group>>,
    addresses: RefCell<BTreeMap<NodeId, SocketAddr>>,
    sender: Sender,
}

/// The way of one member.
struct WayOut(Rc<Way>);

impl WayOut {
    fn call<T: 'static, F: Future<Output = basalt_raft::Result<T>> + 'static>(
        &self,
        to: &Peer,
        take: impl FnOnce(Group) -> F + 'static,
    ) -> Answering<T> {
        let group = self.0.groups.borrow().get(&to.node).cloned();
        let node = to.node;
        Box::pin(async move {
            let group = group.ok_or_else(|| Unreached::Unreachable(format!("node {node} is not there")))?;
            take(group).await.map_err(|error| Unreached::Lost(error.to_string()))
        })
    }
}

impl Transport for WayOut {
    fn append(&self, to: &Peer, message: Append) -> Answering<AppendAnswer> {
        self.call(to, move |group| async move { group.receive_append(message).await })
    }

    fn vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer> {
        self.call(to, move |group| async move { group.receive_vote(question).await })
    }

    fn pre_vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer> {
        self.call(to, move |group| async move { group.receive_pre_vote(question).await })
    }

    fn hand_over(&self, to: &Peer, message: Handover) -> Answering<HandoverAnswer> {
        self.call(to, move |group| async move { group.receive_handover(message).await })
    }

    fn snapshot(&self, to: &Peer, snapshot: SentSnapshot) -> Answering<VoteParts> {
        let route = Route { lane: Lane::Snapshots, dialing_core: 0, accepting_core: 0 };
        let wanted = Wanted { node: NodeNumber(to.node.0), route };
        let address = self.0.addresses.borrow().get(&to.node).copied();
        let Some(address) = address else {
            let text = format!("node {} is not there", to.node);
            return Box::pin(async move { Err(Unreached::Unreachable(text)) });
        };
        let SentSnapshot { vote, meta, directory, life } = snapshot;
        let sending = self.0.sender.send(SendOrder {
            to: address,
            wanted,
            group: GROUP,
            member: wanted.node,
            vote,
            meta,
            directory,
        });
        let sending = sending.on_sign(move || life.note());
        Box::pin(async move { sending.await.map_err(Unreached::from) })
    }
}

/// The way from a receiver's threads to the core.
struct ToCore {
    place: PathBuf,
    hands: Mutex<Hands<(ReceivedSnapshot, Answer)>>,
}

impl Groups for ToCore {
    fn place(&self, _: GroupNumber, _: Recipient) -> Result<PathBuf, Unable> {
        Ok(self.place.clone())
    }

    fn install(&self, _: GroupNumber, _: Recipient, snapshot: ReceivedSnapshot, answer: Answer) {
        self.hands.lock().unwrap().send((snapshot, answer)).unwrap();
    }
}

struct Member {
    group: Group,
    machine: Rc<RefCell<Puts>>,
    handed: Handed<(ReceivedSnapshot, Answer)>,
    port: Port,
    receiver: Arc<Receiver>,
    _syncer: LogSyncer,
}

/// Opens a member, and lets its core turn.
async fn open_member(directory: &Path, way: &Rc<Way>, node: u64) -> Rc<Member> {
    let directory = directory.join(node.to_string());
    std::fs::create_dir(&directory).unwrap();
    let (hands, handed) = channel();
    let to_core = ToCore { place: directory.join("received"), hands: Mutex::new(hands) };
    let receiver = Arc::new(Receiver::start(receiver_options(), Arc::new(to_core)).unwrap());
    let port = Port::open(NodeNumber(node), receiver.clone());
    let syncer = LogSyncer::start(0, Durability::Always).unwrap();
    let options = LogOptions { warm_files: 0, segment_bytes: 1 << 20, reserve_bytes: 0, ..LogOptions::default() };
    let log = RaftLog::open(&directory.join("log"), &options, &syncer).unwrap();
    let machine = Rc::new(RefCell::new(Puts { store: open(&directory.join("data")), installs: 0 }));
    let hooks = GroupHooks {
        on_outcome: Box::new(|_, _| ()),
        on_fatal: Box::new(|fault| eprintln!("{}", fault.text)),
        wake: Arc::new(|| ()),
        background: Rc::new(Threads),
        readers: Rc::new(Threads),
    };
    let options = GroupOptions {
        founder: node == 1,
        // A busy machine is no reason for another leader.
        election_timeout_ms: (4000, 8000),
        voters: (1..=3).map(|node| (NodeId(node), PeerAddress::default())).collect(),
        // Who comes late finds nothing of the log.
        log_kept_bytes: 0,
        ..GroupOptions::alone(7, NodeId(node), directory.join("snapshots"))
    };
    let transport = Rc::new(WayOut(way.clone()));
    let group = Group::open_with(options, hooks, transport, log, machine.clone()).await.unwrap();
    way.addresses.borrow_mut().insert(NodeId(node), port.address);
    way.groups.borrow_mut().insert(NodeId(node), group.clone());
    let member = Rc::new(Member { group, machine, handed, port, receiver, _syncer: syncer });
    glommio::spawn_local(turn(Rc::downgrade(&member))).detach();
    member
}

async fn turn(member: Weak<Member>) {
    while let Some(member) = member.upgrade() {
        member.group.drain_completions();
        if let Ok((snapshot, answer)) = member.handed.try_recv() {
            let group = member.group.clone();
            glommio::spawn_local(async move {
                let unused = |error: basalt_raft::Error| Unable::new(UnableReason::Damaged, error.to_string());
                answer.send(group.receive_snapshot(snapshot).await.map_err(unused));
            })
            .detach();
        }
        drop(member);
        sleep(Duration::from_micros(200)).await;
    }
}

/// Lets the members work until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came: {what}");
        sleep(Duration::from_micros(200)).await;
    }
}

async fn write(leader: &Member, count: u64) {
    for ticket in 0..count {
        until("room", || leader.group.check_room(BATCH_BYTES).is_ok()).await;
        let batch: Vec<u8> = (0..BATCH_BYTES).map(|_| rand::random()).collect();
        leader.group.propose(Bytes::from(batch), ticket).unwrap();
    }
    until("the entries", || {
        let status = leader.group.status();
        status.in_flight_count == 0 && status.applied == status.last_log
    })
    .await;
}

#[test]
fn a_member_that_comes_late_gets_its_leader_s_snapshot_over_a_connection_that_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
    executor.run(async {
        let sender = Sender::start(SenderOptions { own: Arc::new(|| own(NodeNumber(1))), ..patient() }).unwrap();
        let way = Rc::new(Way { groups: RefCell::default(), addresses: RefCell::default(), sender });
        let second = open_member(directory.path(), &way, 2).await;
        let first = open_member(directory.path(), &way, 1).await;
        // Before a quorum has said that it leads, it refuses what is proposed.
        until("the lead", || first.group.check_room(1).is_ok()).await;
        first.group.read_barrier().await.unwrap();
        write(&first, ENTRIES).await;
        first.group.write_out().await.unwrap();
        until("the purge", || first.group.status().purged >= Some(ENTRIES / 2)).await;

        let third = open_member(directory.path(), &way, 3).await;
        let fate = |at| if at == 0 { Fate::Cut(BATCH_BYTES as u64 * ENTRIES / 2) } else { Fate::Lasts };
        let proxy = Proxy::new(third.port.address, fate, |_| ());
        way.addresses.borrow_mut().insert(NodeId(3), proxy.address);

        until("the snapshot", || third.machine.borrow().installs > 0).await;
        write(&first, 3).await;
        let last = first.group.status().applied;
        until("the last entries", || third.group.status().applied == last).await;
        // More, if the leader has purged what came behind the snapshot: then it sends another one.
        assert!(proxy.forwarded().len() > 1, "{:?}", proxy.forwarded());
        until("an empty directory", || {
            let places = ["3/received", "1/snapshots"].map(|place| directory.path().join(place));
            places.iter().all(|place| std::fs::read_dir(place).unwrap().count() == 0)
        })
        .await;
        assert!(rows(&first.machine.borrow().store) == rows(&third.machine.borrow().store));
        way.groups.borrow_mut().clear();
        for member in [first, second, third] {
            member.receiver.stop();
            member.group.shutdown().await.unwrap();
        }
    });
}
