//! A group of three members on three nodes, each on a thread of its own with a ring, real logs and real rows; their links go over
//! loopback sockets.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use basalt_net::peer::{GroupNumber, Own};
use basalt_raft::{
    Background, EntryId, Executed, Group, GroupHooks, GroupOptions, Job, Machine, MachineError, NodeId, Outcome,
    PeerAddress, Replies,
};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::log::{Durability, LogOptions, LogSyncer, RaftLog};
use basalt_storage::{BlockCache, Fetched, Rows as _, Store, StoreOptions};
use bytes::Bytes;

use super::testing::{PATIENCE, TestCore, Told, own};

const GROUP: GroupNumber = GroupNumber(9);
const MEMBERS: [u64; 3] = [1, 2, 3];

/// Appends each batch to one row, so that a lost or swapped one shows.
struct Appender(Store);

impl Appender {
    fn text(&self) -> String {
        let row = self.0.get(b"all").unwrap();
        row.map_or_else(String::new, |row| String::from_utf8(row.to_vec()).unwrap())
    }
}

impl Machine for Appender {
    fn apply(&mut self, _: EntryId, batch: &[u8], _: Option<u64>) -> Result<Executed, MachineError> {
        let text = [self.text().as_bytes(), batch].concat();
        self.0.put(b"all", &text);
        Ok(Executed::Whole(Replies { ends: vec![0], bytes: Vec::new() }))
    }

    fn take_fetched(&mut self, _: Fetched) {
        panic!("all rows are in memory");
    }

    fn installed(&mut self) {}

    fn store(&mut self) -> &mut Store {
        &mut self.0
    }
}

/// A thread per job.
struct Threads;

impl Background for Threads {
    fn run(&self, job: Job) {
        std::thread::spawn(job);
    }
}

/// A member on its thread.
struct Member {
    core: TestCore,
    group: Group,
    machine: Rc<RefCell<Appender>>,
    outcomes: Rc<RefCell<Vec<(u64, Outcome)>>>,
    _syncer: LogSyncer,
}

impl Member {
    async fn open(core: TestCore, directory: &Path) -> Member {
        let node = core.node().0;
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let log_options = LogOptions { warm_files: 0, segment_bytes: 1 << 20, ..LogOptions::default() };
        let log = when_free(|| RaftLog::open(&directory.join("log"), &log_options, &syncer));
        let store_options = StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20));
        let machine = Appender(when_free(|| Store::open(&directory.join("data"), &store_options)));
        let machine = Rc::new(RefCell::new(machine));
        let options = GroupOptions {
            founder: node == 1,
            voters: BTreeMap::from(MEMBERS.map(|node| (NodeId(node), PeerAddress::default()))),
            heartbeat_ms: 100,
            election_timeout_ms: (500, 1000),
            ..GroupOptions::alone(7, NodeId(node), directory.join("snapshots"))
        };
        let outcomes = Rc::new(RefCell::new(Vec::new()));
        let noted = outcomes.clone();
        let hooks = GroupHooks {
            on_outcome: Box::new(move |ticket, outcome| noted.borrow_mut().push((ticket, outcome))),
            on_fatal: Box::new(|fault| panic!("{fault}")),
            wake: Arc::new(|| {}),
            background: Rc::new(Threads),
            readers: Rc::new(Threads),
        };
        let transport = core.peers.transport(GROUP);
        let group = Group::open_with(options, hooks, transport, log, machine.clone()).await.unwrap();
        core.known.places.borrow_mut().insert(GROUP.0, Told::Here(group.clone()));
        Member { core, group, machine, outcomes, _syncer: syncer }
    }

    /// Takes turns until nobody has jobs for it any more.
    async fn run(mut self, jobs: &Receiver<Task>, addresses: &Addresses) {
        loop {
            self.core.known.addresses.borrow_mut().clone_from(&addresses.lock().unwrap());
            assert!(self.core.turn().is_empty(), "each node has one core");
            self.group.drain_completions();
            match jobs.try_recv() {
                Ok(task) => task(&mut self),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => break,
            }
            glommio::timer::sleep(Duration::from_micros(100)).await;
        }
        self.core.peers.stop(&mut self.core.ring, Instant::now());
        self.core.known.places.borrow_mut().clear();
        self.group.shutdown().await.unwrap();
    }
}

type Task = Box<dyn FnOnce(&mut Member) + Send>;
type Addresses = Arc<Mutex<HashMap<u64, SocketAddr>>>;

/// Opens files that another thread may be about to close.
fn when_free<T>(open: impl Fn() -> Result<T, basalt_storage::Error>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open() {
            Err(basalt_storage::Error::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// A member's thread, as the test sees it.
struct Handle {
    tasks: Sender<Task>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Has `task` run between two turns of the member, and gives what it returns.
    fn call<T: Send + 'static>(&self, task: impl FnOnce(&mut Member) -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        self.tasks.send(Box::new(move |member| tell.send(task(member)).unwrap())).unwrap();
        told.recv_timeout(PATIENCE).unwrap()
    }

    fn text(&self) -> String {
        self.call(|member| member.machine.borrow().text())
    }
}

/// The members that run, and where they are reached.
struct Scene {
    directory: PathBuf,
    addresses: Addresses,
    members: BTreeMap<u64, Handle>,
    written: u64,
}

impl Scene {
    fn start(&mut self, node: u64, incarnation: u64) {
        let (tasks, inbox) = channel();
        let (addresses, directory) = (self.addresses.clone(), self.directory.join(node.to_string()));
        let run = move || {
            super::testing::run(async move {
                let mut core = TestCore::new(0, Own { incarnation, ..own(node, 1) });
                let address = core.listen();
                addresses.lock().unwrap().insert(node, address);
                let member = Member::open(core, &directory).await;
                member.run(&inbox, &addresses).await;
            });
        };
        let thread = std::thread::Builder::new().name(format!("member-{node}")).spawn(run).unwrap();
        self.members.insert(node, Handle { tasks, thread });
    }

    fn stop(&mut self, node: u64) {
        let Handle { tasks, thread } = self.members.remove(&node).unwrap();
        drop(tasks);
        thread.join().unwrap();
    }

    fn until(&self, what: &str, mut is_so: impl FnMut(&Scene) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let seen = |member: &mut Member| (member.group.status(), member.core.peers.figures());
            let seen = || self.members.values().map(|member| member.call(seen)).collect::<Vec<_>>();
            assert!(Instant::now() < deadline, "not so: {what}: {:#?}", seen());
            std::thread::yield_now();
        }
    }

    /// The member that leads, once it would take a batch.
    fn leader(&self) -> u64 {
        let mut leader = None;
        self.until("somebody leads", |scene| {
            let mut members = scene.members.iter();
            let leads = |member: &Handle| member.call(|member| member.group.check_room(1).is_ok());
            leader = members.find(|(_, member)| leads(member)).map(|(&node, _)| node);
            leader.is_some()
        });
        leader.expect("somebody leads")
    }

    /// Writes something, however often the lead changes meanwhile, and waits until all members that run have it.
    fn write(&mut self) {
        self.written += 1;
        let (number, text) = (self.written, format!("<{}>", self.written));
        let mut is_done = false;
        while !is_done {
            let leader = self.leader();
            let batch = Bytes::from(text.clone());
            let taken = self.members[&leader].call(move |member| {
                member.outcomes.borrow_mut().clear();
                member.group.propose(batch, number).is_ok()
            });
            if taken {
                self.until("an outcome", |scene| {
                    let outcome = scene.members[&leader].call(|member| member.outcomes.borrow_mut().pop());
                    is_done = matches!(outcome, Some((ticket, Ok(_))) if ticket == number);
                    outcome.is_some()
                });
            }
        }
        self.until("all have it", |scene| {
            let texts: Vec<_> = scene.members.values().map(Handle::text).collect();
            texts.iter().all(|other| *other == texts[0] && other.contains(&text))
        });
    }

    /// Everything that was written is there, in order.
    fn check(&self) {
        for (node, member) in &self.members {
            let text = member.text();
            let places: Vec<_> = (1..=self.written).map(|number| text.find(&format!("<{number}>"))).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "node {node}: {text}");
        }
    }
}

/// Takes the sockets away under all links of a member, as a network does that is cut for a moment.
fn cut(member: &mut Member) -> usize {
    let links = member.core.peers.0.links.borrow();
    let sockets = links.all().filter(|entry| entry.is_open()).filter_map(|entry| member.core.ring.socket(entry.id));
    let shut = |fd| nix::sys::socket::shutdown(fd, nix::sys::socket::Shutdown::Both).is_ok();
    sockets.filter(|socket| shut(socket.as_raw_fd())).count()
}

#[test]
fn three_members_agree_over_sockets_and_survive_cuts_and_the_stop_of_each() {
    let directory = tempfile::tempdir().unwrap();
    let (addresses, members) = (Addresses::default(), BTreeMap::new());
    let mut scene = Scene { directory: directory.path().to_owned(), addresses, members, written: 0 };
    for node in MEMBERS {
        scene.start(node, 1);
    }
    for _ in 0..5 {
        scene.write();
    }
    let leader = scene.leader();
    let figures = scene.members[&leader].call(|member| member.core.peers.figures());
    assert!(figures.dialed_open >= 2 && figures.messages_in > 0 && figures.bytes_out > 0, "{figures:?}");

    for _ in 0..3 {
        for node in MEMBERS {
            assert!(scene.members[&node].call(cut) > 0, "it has links");
            scene.write();
        }
    }
    let reconnects = |member: &Handle| member.call(|member| member.core.peers.figures().reconnects);
    assert!(scene.members.values().map(reconnects).sum::<u64>() > 0);

    // Each member in its turn, the one that leads first, is away while the others write, and catches up under another address.
    let first = scene.leader();
    let others = MEMBERS.into_iter().filter(|&node| node != first);
    for node in [first].into_iter().chain(others) {
        scene.stop(node);
        scene.write();
        assert_ne!(scene.leader(), node);
        scene.start(node, 2);
        scene.write();
    }
    scene.check();
    for node in MEMBERS {
        let errors = scene.members[&node].call(|member| member.core.peers.figures().errors);
        let unexpected = |&(name, count): &(&str, u64)| count > 0 && name != "refused-by-peer";
        assert_eq!(errors.iter().find(unexpected), None, "no member has spoken out of turn");
        scene.stop(node);
    }
}
