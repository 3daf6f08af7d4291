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

use basalt_net::peer::{Acquaintance, GroupNumber, NodeNumber, Own};
use basalt_raft::{
    Append, Background, ChangeError, EntryId, Executed, Former, Group, GroupHooks, GroupOptions, Handover, Job,
    Machine, MachineError, NodeId, Outcome, Peer, PeerAddress, Replies, Unreached, VoteParts, VoteQuestion,
};
use basalt_storage::keyspace::ROW_RULES;
use basalt_storage::log::{Durability, LogOptions, LogSyncer, RaftLog};
use basalt_storage::{BlockCache, Fetched, Rows as _, Store, StoreOptions};
use bytes::Bytes;

use super::Peers;
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
    async fn open(core: TestCore, number: u64, directory: &Path) -> Member {
        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let log_options = LogOptions { warm_files: 0, segment_bytes: 1 << 20, ..LogOptions::default() };
        let log = when_free(|| RaftLog::open(&directory.join("log"), &log_options, &syncer));
        let store_options = StoreOptions::new(ROW_RULES, 1 << 20, BlockCache::new(1 << 20));
        let machine = Appender(when_free(|| Store::open(&directory.join("data"), &store_options)));
        let machine = Rc::new(RefCell::new(machine));
        let options = GroupOptions {
            founder: number == 1,
            voters: BTreeMap::from(MEMBERS.map(|node| (NodeId(node), PeerAddress::default()))),
            heartbeat_ms: 100,
            election_timeout_ms: (500, 1000),
            ..GroupOptions::alone(7, NodeId(number), directory.join("snapshots"))
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
            addresses.lock().unwrap().tell(&self.core);
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
type Addresses = Arc<Mutex<Network>>;

/// The network between the nodes.
#[derive(Default)]
struct Network {
    addresses: HashMap<u64, SocketAddr>,
    /// Nodes that are cut off from all others but these.
    island: Vec<u64>,
}

impl Network {
    /// Tells a core whom it reaches. The others are as good as gone.
    fn tell(&self, core: &TestCore) {
        let is_inside = |node: &u64| self.island.contains(node);
        let own = core.node().0;
        let (near, far): (HashMap<_, _>, HashMap<_, _>) =
            self.addresses.iter().partition(|(node, _)| is_inside(node) == is_inside(&own));
        core.known.addresses.replace(near);
        core.known.acquaintances.replace(far.into_keys().map(|node| (node, Acquaintance::Removed)).collect());
    }
}

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

    /// Has the member ask another one, and gives the answer.
    fn ask<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        question: impl FnOnce(Peers) -> F + Send + 'static,
    ) -> T {
        let (tell, told) = channel();
        self.call(move |member| {
            let answer = question(member.core.peers.clone());
            glommio::spawn_local(async move { tell.send(answer.await).unwrap() }).detach();
        });
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
        self.start_replica(node, node, incarnation);
    }

    /// Starts a node whose replica has this number.
    fn start_replica(&mut self, node: u64, number: u64, incarnation: u64) {
        let (tasks, inbox) = channel();
        let (addresses, directory) = (self.addresses.clone(), self.directory(node, number));
        let run = move || {
            super::testing::run(async move {
                let mut core = TestCore::new(0, Own { incarnation, ..own(node, 1) });
                let address = core.listen();
                addresses.lock().unwrap().addresses.insert(node, address);
                let member = Member::open(core, number, &directory).await;
                member.run(&inbox, &addresses).await;
            });
        };
        let thread = std::thread::Builder::new().name(format!("member-{node}")).spawn(run).unwrap();
        self.members.insert(node, Handle { tasks, thread });
    }

    fn directory(&self, node: u64, number: u64) -> PathBuf {
        self.directory.join(format!("{node}-{number}"))
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
        let nodes: Vec<_> = self.members.keys().copied().collect();
        self.write_on(&nodes);
    }

    /// The same, and waits until these have it.
    fn write_on(&mut self, nodes: &[u64]) {
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
            let texts: Vec<_> = nodes.iter().map(|node| scene.members[node].text()).collect();
            texts.iter().all(|other| *other == texts[0] && other.contains(&text))
        });
    }

    /// Makes changes of the members, by whoever leads, until one is made.
    fn change<F: Future<Output = Result<(), ChangeError>> + 'static>(
        &self,
        change: impl Fn(Group) -> F + Clone + Send + 'static,
    ) {
        self.until("the members have changed", |scene| {
            let (tell, told) = channel();
            let change = change.clone();
            scene.members[&scene.leader()].call(move |member| {
                let changing = change(member.group.clone());
                glommio::spawn_local(async move { tell.send(changing.await).unwrap() }).detach();
            });
            told.recv_timeout(PATIENCE).unwrap().is_ok()
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

#[test]
fn only_who_leads_says_that_a_replica_is_out_and_only_of_one_that_nobody_wants() {
    let directory = tempfile::tempdir().unwrap();
    let (addresses, members) = (Addresses::default(), BTreeMap::new());
    let mut scene = Scene { directory: directory.path().to_owned(), addresses, members, written: 0 };
    for node in MEMBERS {
        scene.start(node, 1);
    }
    scene.write();
    let leader = scene.leader();
    let [asker, other] = MEMBERS.into_iter().filter(|node| *node != leader).collect::<Vec<_>>()[..] else { panic!() };
    let number_of = |of| {
        let number = scene.members[&asker].ask(move |peers| peers.number_of_replica(GROUP, NodeNumber(of)));
        number.unwrap()
    };
    assert_eq!((number_of(leader), number_of(other)), (leader, other));
    let is_out = |of, number| {
        scene.members[&asker].ask(move |peers| async move { peers.is_replica_out(GROUP, NodeNumber(of), number).await })
    };
    // A number that is no member, and whose node the map has still.
    assert!(!is_out(leader, 99));
    for node in MEMBERS {
        scene.members[&node].call(move |member| member.core.known.without_place.borrow_mut().push((GROUP.0, asker)));
    }
    assert!(is_out(leader, 99));
    assert!(!is_out(other, 99), "it does not lead");
    assert!(!is_out(leader, asker), "it is a member");
    assert!(!is_out(leader, 0), "nobody was asked about");
    scene.members[&other].call(move |member| member.core.known.disk_is_well.set(false));
    let asked = scene.members[&asker].ask(move |peers| peers.number_of_replica(GROUP, NodeNumber(other)));
    assert!(asked.is_err(), "who asks would give it something");
    for node in MEMBERS {
        scene.stop(node);
    }
}

#[test]
fn only_who_leads_and_does_not_hear_a_node_says_that_the_group_goes_on_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let (addresses, members) = (Addresses::default(), BTreeMap::new());
    let mut scene = Scene { directory: directory.path().to_owned(), addresses, members, written: 0 };
    for node in MEMBERS {
        scene.start(node, 1);
    }
    scene.write();
    let first = scene.leader();
    let lost = MEMBERS.into_iter().find(|node| *node != first).expect("there are three");
    let goes_on = |scene: &Scene, asker, asked, without| {
        let (asked, without) = (NodeNumber(asked), NodeNumber(without));
        scene.members[&asker].ask(move |peers| peers.goes_on_without(GROUP, asked, without))
    };
    // Whoever leads by now, and the third one.
    let pair = |scene: &Scene| {
        let leader = scene.leader();
        let other = MEMBERS.into_iter().find(|node| ![leader, lost].contains(node));
        (leader, other.expect("there are three"))
    };
    let is_lost = |scene: &Scene| {
        let (leader, other) = pair(scene);
        goes_on(scene, other, leader, lost)
    };
    assert!(!is_lost(&scene), "it is heard");
    scene.stop(lost);
    scene.until("the leader hears it no more", is_lost);
    let (leader, other) = pair(&scene);
    assert!(!goes_on(&scene, leader, other, lost), "it does not lead");
    assert!(!goes_on(&scene, other, leader, other), "two are needed");
    scene.start(lost, 2);
    scene.until("it is heard again", |scene| !is_lost(scene));
    scene.check();
    for node in MEMBERS {
        scene.stop(node);
    }
}

#[test]
fn a_replica_that_was_made_anew_never_answers_for_the_member_that_its_node_had_before() {
    const ANEW: u64 = 11;
    let directory = tempfile::tempdir().unwrap();
    let (addresses, members) = (Addresses::default(), BTreeMap::new());
    let mut scene = Scene { directory: directory.path().to_owned(), addresses, members, written: 0 };
    for node in MEMBERS {
        scene.start(node, 1);
    }
    scene.write();
    // Member 2 is away, and knows of 1, 2 and 3 alone.
    scene.stop(2);
    scene.start(4, 1);
    scene.change(|group| async move { group.add_learner(NodeId(4), PeerAddress::default()).await });
    scene.write();
    let voters = [NodeId(2), NodeId(3), NodeId(4)];
    scene.change(move |group| async move { group.set_voters(voters.into(), Former::Gone).await });
    scene.until("another one than 1 leads", |scene| [3, 4].contains(&scene.leader()));
    scene.stop(1);
    std::fs::remove_dir_all(scene.directory(1, 1)).unwrap();
    // What it comes back with has nothing of it.
    scene.start_replica(1, ANEW, 2);
    scene.write_on(&[3, 4]);

    scene.addresses.lock().unwrap().island = vec![1, 2];
    for node in [1, 3, 4] {
        scene.members[&node].call(cut);
    }
    scene.start(2, 2);
    let refused = |scene: &Scene| scene.members[&1].call(|member| member.core.peers.figures().unable);
    let before = refused(&scene);
    scene.until("1 has refused 2 often", |scene| {
        assert!(!scene.members[&2].call(|member| member.group.is_leader()), "nobody but 2 has a vote for it here");
        refused(scene) >= before + 5
    });
    assert!(scene.members[&1].call(|member| member.group.status().term) == 0, "it has voted for nobody");

    // Nor is anything else that is meant for an earlier member answered, by whatever number.
    let leads = VoteParts { term: 1000, node: NodeId(2), is_committed: true };
    let wants = VoteParts { is_committed: false, ..leads };
    for number in [1, 12] {
        let address = PeerAddress::on(NodeId(1), NodeId(number));
        let to = Peer { node: NodeId(number), address };
        let refused = scene.members[&2].ask(move |peers| async move {
            let way = peers.transport(GROUP);
            let previous = Some(EntryId { term: 1, index: 1 });
            let beat = Append { vote: leads, previous, committed: previous, records: Vec::new() };
            let record = basalt_storage::log::LogRecord { index: 0, term: 1, body: Bytes::from_static(b"x") };
            let entries = Append { vote: leads, previous: None, committed: None, records: vec![record] };
            let question =
                VoteQuestion { vote: wants, last: Some(EntryId { term: 999, index: 999 }), is_transfer: false };
            let handover = Handover { from: leads, to: NodeId(number), last: None };
            [
                way.append(&to, beat).await.err(),
                way.append(&to, entries).await.err(),
                way.vote(&to, question).await.err(),
                way.pre_vote(&to, question).await.err(),
                way.hand_over(&to, handover).await.err(),
            ]
        });
        for why in refused {
            let Some(Unreached::Unreachable(text)) = &why else { panic!("{number}: {why:?}") };
            assert!(text.contains("another member"), "{text}");
        }
    }
    assert!(scene.members[&1].call(|member| member.group.status().term) == 0);

    // It is a member of the new ones as soon as they have added it.
    scene.addresses.lock().unwrap().island.clear();
    scene
        .change(|group| async move { group.add_learner(NodeId(ANEW), PeerAddress::on(NodeId(1), NodeId(ANEW))).await });
    scene.write();
    scene.check();
    for node in [1, 2, 3, 4] {
        scene.stop(node);
    }
}
