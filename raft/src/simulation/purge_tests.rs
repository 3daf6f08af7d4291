//! The part of its log that a group of several keeps, and for how long, in virtual time and with no faults but a test's own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::checks::Checks;
use super::executor::{Executor, Running};
use super::log_twin::LogFiles;
use super::member::{Member, World};
use super::network::{Network, NetworkFaults};
use super::scenario::Scenario;
use super::store_twin::{Twins, forget_checkpoints};
use crate::group::{Group, GroupStatus};
use crate::limits::FOLLOWER_GONE_AFTER;

/// Bytes of a write, and the time between two of them under load.
const WRITE_BYTES: usize = 100;
const WRITE_EVERY: Duration = Duration::from_millis(10);
/// Rows are written out after so many bytes of them.
const MEMTABLE_BYTES: usize = 1_000;
/// Bytes of entries that are kept: of ten seconds under load, or of half a second.
const PLENTY: u64 = 100_000;
const LITTLE: u64 = 5_000;
/// A cut that is no reason for a snapshot.
const BLIP: Duration = Duration::from_secs(5);
/// The longest wait, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three members that found a group.
struct Trio {
    world: World,
    members: Vec<Rc<Member>>,
    written: Cell<u64>,
    next_write: Cell<Duration>,
    /// Set while there is load.
    is_loaded: Cell<bool>,
    executor: Running,
}

impl Trio {
    fn new(log_kept_bytes: u64) -> Trio {
        let executor = Executor::begin(1);
        forget_checkpoints();
        let delay = (Duration::from_micros(200), Duration::from_millis(1));
        let scenario = Rc::new(Scenario {
            node_count: 3,
            founder_count: 3,
            heartbeat_ms: 250,
            election_timeout_ms: (300, 700),
            in_flight_max: 1024,
            log_entries_max: 1_000_000,
            log_entries_kept: 0,
            log_kept_bytes,
            memtable_bytes: MEMTABLE_BYTES,
            unapplied_bytes_max: 1 << 20,
            stalls_per_mille: 0,
            network: NetworkFaults { delay, lost_per_mille: 0, doubled_per_mille: 0, late_per_mille: 0 },
            operation_wait: Duration::ZERO,
            reads_per_mille: 0,
            is_plain: true,
            step_time: Duration::ZERO,
            clock_ppm: 0,
            fault_wait: Duration::ZERO,
            change_wait: None,
        });
        let files: BTreeMap<_, _> = scenario.nodes().map(|node| (node, Rc::<RefCell<LogFiles>>::default())).collect();
        let checks = Rc::new(RefCell::new(Checks::new(files.clone(), false, true)));
        let network = Network::new(executor.clone(), scenario.network, checks.clone());
        let world = World { executor: executor.clone(), network, checks, scenario };
        let members: Vec<_> = files.into_iter().map(|(node, files)| Member::new(node, files, world.clone())).collect();
        members.iter().for_each(Member::start);
        // Time goes on in steps that are no longer than from one write to the next.
        let ticking = executor.clone();
        executor.spawn(async move {
            loop {
                ticking.alarm(WRITE_EVERY).await;
            }
        });
        let trio = Trio {
            world,
            members,
            written: Cell::new(0),
            next_write: Cell::default(),
            is_loaded: Cell::default(),
            executor,
        };
        trio.until("a leader", |trio| trio.leader().is_some());
        trio
    }

    fn group(&self, member: &Member) -> Option<Group<Twins>> {
        self.world.network.group(member.node)
    }

    fn status(&self, member: &Member) -> GroupStatus {
        self.group(member).expect("it runs").status()
    }

    /// The member that leads and takes writes.
    fn leader(&self) -> Option<Rc<Member>> {
        let leads = |member: &&Rc<Member>| self.group(member).is_some_and(|group| group.check_room(1).is_ok());
        self.members.iter().find(leads).cloned()
    }

    /// The leader and two followers.
    fn parts(&self) -> (Rc<Member>, Rc<Member>, Rc<Member>) {
        let leader = self.leader().expect("one leads");
        let others: Vec<_> = self.members.iter().filter(|member| member.node != leader.node).collect();
        (leader.clone(), others[0].clone(), others[1].clone())
    }

    /// Lets all run until `done`, or for so long. The log is never purged beyond rows on disk meanwhile.
    fn run(&self, time: Duration, done: impl Fn(&Trio) -> bool) -> bool {
        let end = self.executor.now() + time;
        while self.executor.now() < end {
            if done(self) {
                return true;
            }
            if self.is_loaded.get() && self.executor.now() >= self.next_write.get() {
                self.next_write.set(self.executor.now() + WRITE_EVERY);
                self.write();
            }
            self.executor.step().expect("something is to come");
            for member in &self.members {
                member.check();
                let Some(status) = self.group(member).map(|group| group.status()) else { continue };
                assert!(status.purged <= status.durable_applied, "node {}: {status:?}", member.node);
            }
            assert_eq!(self.world.checks.borrow().violation(), None);
        }
        false
    }

    fn until(&self, what: &str, done: impl Fn(&Trio) -> bool) {
        let all =
            || self.members.iter().map(|member| self.group(member).map(|group| group.status())).collect::<Vec<_>>();
        assert!(self.run(PATIENCE, done), "{what} takes too long: {:?}", all());
    }

    fn pass(&self, time: Duration) {
        self.run(time, |_| false);
    }

    fn write(&self) {
        if let Some(leader) = self.leader() {
            self.written.set(self.written.get() + 1);
            leader.write(self.written.get(), WRITE_BYTES);
        }
    }

    /// Writes for a while.
    fn load(&self, time: Duration) {
        self.is_loaded.set(true);
        self.pass(time);
        self.is_loaded.set(false);
    }

    fn cut_off(&self, member: &Member) {
        for other in self.members.iter().filter(|other| other.node != member.node) {
            self.world.network.cut(member.node, other.node);
            self.world.network.cut(other.node, member.node);
        }
    }

    /// Waits until all that run have the same rows. Returns how many snapshots were installed so far.
    fn level(&self) -> u64 {
        let newest = || Some(self.world.checks.borrow().newest());
        let is_level = |member: &Rc<Member>| !member.is_running() || member.last_write() == newest();
        self.until("that all have the same rows", |trio| trio.members.iter().all(is_level));
        self.world.checks.borrow().counts.installs
    }
}

/// Has a follower cut off for a while under load, and back under load. Returns how many snapshots there were.
fn installs_after_a_blip(log_kept_bytes: u64) -> u64 {
    let trio = Trio::new(log_kept_bytes);
    trio.load(BLIP);
    let (leader, away, _) = trio.parts();
    trio.cut_off(&away);
    trio.load(BLIP);
    let (status, last) = (trio.status(&leader), trio.status(&away).last_log);
    assert!(status.durable_applied > last, "rows of what it misses are on disk: {status:?}, it has {last:?}");
    trio.world.network.heal();
    trio.load(BLIP);
    trio.level()
}

#[test]
fn a_follower_that_was_cut_off_goes_on_with_the_log_if_what_it_missed_is_kept() {
    assert_eq!(installs_after_a_blip(PLENTY), 0);
}

#[test]
fn a_follower_that_missed_more_than_is_kept_gets_a_snapshot() {
    assert!(installs_after_a_blip(LITTLE) > 0);
    assert!(installs_after_a_blip(0) > 0);
}

#[test]
fn the_leader_keeps_what_its_slowest_follower_needs_and_others_what_anybody_may_need() {
    let trio = Trio::new(PLENTY);
    trio.load(2 * BLIP);
    let (leader, away, other) = trio.parts();
    // All have all: it is no longer than rows need.
    trio.until("a purge", |trio| trio.status(&leader).purged == trio.status(&leader).durable_applied);
    assert!(trio.status(&leader).purged > trio.status(&other).purged);
    trio.cut_off(&away);
    let has = trio.status(&away).last_log;
    trio.load(BLIP);
    let status = trio.status(&leader);
    assert!(status.purged <= has && has < status.durable_applied, "{status:?}, it has {has:?}");
    // Enough for twice as much.
    trio.load(2 * BLIP);
    for member in [&leader, &other] {
        let status = trio.status(member);
        assert!(status.purged > has && status.purged < status.durable_applied, "{status:?}, it had {has:?}");
        let bytes = status.log_bytes;
        assert!(bytes >= PLENTY - 2 * WRITE_BYTES as u64 && bytes < PLENTY + PLENTY / 4, "{bytes} bytes");
    }
    trio.world.network.heal();
    assert_eq!(trio.level(), 1);
    trio.until("a purge", |trio| trio.status(&leader).purged == trio.status(&leader).durable_applied);
}

#[test]
fn a_follower_that_is_gone_holds_the_log_for_a_while_and_no_longer() {
    let trio = Trio::new(PLENTY);
    trio.load(BLIP);
    let (leader, gone, other) = trio.parts();
    trio.level();
    gone.crash();
    let died_at = trio.executor.now();
    let has = trio.status(&leader).last_log;
    trio.load(BLIP);
    trio.level();
    let held = trio.status(&leader);
    assert!(held.purged <= has && has < held.durable_applied, "{held:?}, it had {has:?}");
    trio.pass(died_at + FOLLOWER_GONE_AFTER - BLIP - trio.executor.now());
    assert_eq!(trio.status(&leader).purged, held.purged);
    // Nothing is written, and nobody looks but the group itself.
    trio.pass(2 * BLIP);
    let status = trio.status(&leader);
    assert_eq!(status.purged, status.durable_applied);
    assert!(trio.status(&other).purged < has, "who follows keeps what it kept");
    // It holds nothing any more.
    trio.load(BLIP);
    trio.until("a purge", |trio| trio.status(&leader).purged == trio.status(&leader).durable_applied);
    gone.start_again();
    assert_eq!(trio.level(), 1);
}

#[test]
fn a_new_leader_has_what_its_followers_need() {
    let trio = Trio::new(PLENTY);
    trio.load(BLIP);
    let (leader, away, heir) = trio.parts();
    trio.cut_off(&away);
    trio.load(BLIP);
    let has = trio.status(&away).last_log;
    assert!(trio.status(&heir).durable_applied > has);
    leader.crash();
    trio.world.network.heal();
    trio.until("another leader", |trio| trio.leader().is_some());
    assert_eq!(trio.leader().unwrap().node, heir.node, "the other lacks what is committed");
    // The old one is away, and has not been heard of by the new one.
    trio.load(BLIP);
    assert_eq!(trio.world.checks.borrow().counts.installs, 0);
    assert!(trio.status(&heir).durable_applied > trio.status(&heir).purged);
    leader.start_again();
    assert_eq!(trio.level(), 0);
}
