//! One run: a group from its founding through faults to its recovery, all from a seed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::checks::{Checks, Counts};
use super::executor::{Executor, Owner};
use super::log_twin::LogFiles;
use super::member::{Member, World};
use super::network::Network;
use super::scenario::Scenario;
use super::store_twin::forget_checkpoints;

/// Bounds of a group's recovery once all faults are over: in virtual time, and in steps.
const RECOVERY_TIME: Duration = Duration::from_secs(60);
const RECOVERY_STEPS: u64 = 400_000;
/// Time between two writes while it recovers.
const RECOVERY_WRITE: Duration = Duration::from_millis(200);
/// A step after which the group's recovery is looked at, of so many.
const RECOVERY_LOOK: u64 = 64;

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    /// Sum over all that was chosen, equal for each run of a seed.
    pub(crate) digest: u64,
    pub(crate) steps: u64,
    pub(crate) time: Duration,
    pub(crate) counts: Counts,
    /// The promise that was broken, if one was.
    pub(crate) violation: Option<String>,
    /// The last events, where they were asked for.
    pub(crate) trace: String,
}

/// A run to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) member_count: u64,
    /// Nodes beside them, which may become members, and whether one node founds the group alone.
    pub(crate) spare_count: u64,
    pub(crate) grows_from_one: bool,
    /// Has all clocks go as one, and no faults but crashes and those of network and disks.
    pub(crate) is_plain: bool,
    /// Has all logs be short, so that there are many snapshots.
    pub(crate) has_short_logs: bool,
    /// Steps until the faults end.
    pub(crate) steps: u64,
    /// Keeps the last events.
    pub(crate) is_traced: bool,
    /// Compares what members answer with what is on their disks: finds much at once, and not only by what comes of it.
    pub(crate) looks_at_disks: bool,
}

/// Makes a run.
pub(crate) fn run(settings: Settings) -> Run {
    let Settings { seed, steps, is_traced, looks_at_disks, .. } = settings;
    let executor = Executor::begin(seed);
    forget_checkpoints();
    let scenario = Rc::new(Scenario::draw(&executor, &settings));
    let files: BTreeMap<_, _> = scenario.nodes().map(|node| (node, Rc::<RefCell<LogFiles>>::default())).collect();
    let checks = Rc::new(RefCell::new(Checks::new(files.clone(), is_traced, looks_at_disks)));
    checks.borrow_mut().note(|| format!("{scenario:?}"));
    executor.set_step_time(scenario.step_time);
    for node in scenario.nodes() {
        let ppm = scenario.clock_ppm;
        executor.set_pace(node.0, 1_000_000 - ppm + executor.below(2 * ppm + 1));
    }
    let network = Network::new(executor.clone(), scenario.network, checks.clone());
    let world = World { executor: executor.clone(), network, checks: checks.clone(), scenario };
    let members = files.into_iter().map(|(node, files)| Member::new(node, files, world.clone())).collect();
    let stage = Stage {
        world,
        members,
        is_calm: Rc::default(),
        written: Rc::default(),
        changing: Rc::default(),
        changes_from: Rc::default(),
        mends_at: Rc::default(),
    };
    stage.members.iter().for_each(Member::start);
    executor.spawn(stage.clone().serve());
    executor.spawn(stage.clone().disturb());
    executor.spawn(stage.clone().operate());
    while executor.steps() < steps && stage.step() {}
    if checks.borrow().violation().is_none() {
        stage.recover();
    }
    let checks = checks.borrow();
    Run {
        seed,
        digest: executor.digest(),
        steps: executor.steps(),
        time: executor.now(),
        counts: checks.counts,
        violation: checks.violation().map(str::to_owned),
        trace: checks.trace(),
    }
}

/// The members, and what acts on them.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) world: World,
    /// All nodes, members or not.
    pub(super) members: Rc<[Rc<Member>]>,
    /// Set once no more faults are made.
    pub(super) is_calm: Rc<Cell<bool>>,
    /// Number of changes of the members that are under way.
    pub(super) changing: Rc<Cell<u64>>,
    /// The time from which on there may be one.
    pub(super) changes_from: Rc<Cell<Duration>>,
    /// The time of the operator's next step once no more faults are made.
    pub(super) mends_at: Rc<Cell<Duration>>,
    /// Number of the newest write.
    written: Rc<Cell<u64>>,
}

impl Stage {
    pub(super) fn executor(&self) -> &Rc<Executor> {
        &self.world.executor
    }

    /// Takes a step; false if the run is over.
    fn step(&self) -> bool {
        match self.executor().step() {
            Some(owner) => self.check(owner),
            None => self.world.checks.borrow_mut().fail("nothing will ever happen again".to_owned()),
        }
        self.world.checks.borrow().violation().is_none()
    }

    fn check(&self, owner: Owner) {
        if let Some(member) = owner.checked_sub(1).and_then(|place| self.members.get(place as usize)) {
            member.check();
        }
    }

    fn any_member(&self) -> &Rc<Member> {
        &self.members[self.executor().below(self.members.len() as u64) as usize]
    }

    /// One that leads, most of the time: an old leader is asked as well as the newest.
    pub(super) fn asked_member(&self) -> &Rc<Member> {
        let leaders: Vec<_> = self.members.iter().filter(|member| member.leads()).collect();
        if leaders.is_empty() || self.executor().happens(50) {
            return self.any_member();
        }
        leaders[self.executor().below(leaders.len() as u64) as usize]
    }

    fn write(&self) {
        let id = self.written.get() + 1;
        self.written.set(id);
        let bytes = if self.executor().happens(20) { 4000 } else { 8 + self.executor().below(100) };
        self.asked_member().write(id, bytes as usize);
    }

    /// Writes and reads, as clients do.
    async fn serve(self) {
        let executor = self.executor().clone();
        let scenario = self.world.scenario.clone();
        while !self.is_calm.get() {
            executor.alarm(executor.between(Duration::ZERO, scenario.operation_wait)).await;
            if executor.happens(scenario.reads_per_mille) {
                self.asked_member().read();
            } else {
                self.write();
            }
        }
    }

    /// Makes faults, and ends each after a while.
    async fn disturb(self) {
        let executor = self.executor().clone();
        while !self.is_calm.get() {
            executor.alarm(executor.between(Duration::ZERO, self.world.scenario.fault_wait)).await;
            if !self.is_calm.get() {
                self.fault();
            }
        }
    }

    fn fault(&self) {
        let executor = self.executor();
        let member = self.any_member().clone();
        let other = self.any_member().node;
        let network = self.world.network.clone();
        match executor.below(if self.world.scenario.is_plain { 13 } else { 15 }) {
            0..3 => {
                member.crash();
                self.later(move || member.start_again());
            }
            3 => {
                // Who leads loses what it has not synced.
                let member = self.asked_member().clone();
                member.crash();
                self.later(move || member.start_again());
            }
            4..6 => {
                network.cut(member.node, other);
                self.later(move || network.heal());
            }
            6..8 => {
                let member = if executor.happens(500) { self.asked_member().clone() } else { member };
                let directions = executor.below(3);
                for peer in self.members.iter().filter(|peer| peer.node != member.node) {
                    if directions != 1 {
                        network.cut(member.node, peer.node);
                    }
                    if directions != 0 {
                        network.cut(peer.node, member.node);
                    }
                }
                self.later(move || network.heal());
            }
            8 => {
                self.world.checks.borrow_mut().note(|| format!("the disk of node {} is full", member.node));
                member.faults.set_full(true);
                self.later(move || member.faults.set_full(false));
            }
            9 => {
                self.world.checks.borrow_mut().note(|| format!("the disk of node {} is slow", member.node));
                member.faults.set_slow(true);
                self.later(move || member.faults.set_slow(false));
            }
            10 => member.write_out(),
            11 => {
                let member = if executor.happens(500) { self.asked_member().clone() } else { member };
                member.pause(executor.between(Duration::from_millis(20), Duration::from_secs(4)));
            }
            12 => self.asked_member().hand_over(other),
            13 => {
                let member = if executor.happens(500) { self.asked_member().clone() } else { member };
                member.shut_down();
                self.later(move || member.start_again());
            }
            _ => self.lose_disk(&member),
        }
    }

    /// Does `end` after a while, unless all is calm by then.
    fn later(&self, end: impl FnOnce() + 'static) {
        let (executor, is_calm) = (self.executor().clone(), self.is_calm.clone());
        let wait = executor.between(Duration::from_millis(50), Duration::from_secs(4));
        self.executor().spawn(async move {
            executor.alarm(wait).await;
            if !is_calm.get() {
                end();
            }
        });
    }

    /// Ends all faults, and waits until the group works again and all members have the same rows.
    fn recover(&self) {
        let World { executor, network, checks, .. } = &self.world;
        checks.borrow_mut().note(|| "all faults are over".to_owned());
        self.is_calm.set(true);
        network.heal();
        network.calm();
        for member in self.members.iter() {
            member.faults.set_full(false);
            member.faults.set_slow(false);
            member.start_again();
        }
        let (until, steps) = (executor.now() + RECOVERY_TIME, executor.steps() + RECOVERY_STEPS);
        let (before, first) = (checks.borrow().counts.acknowledged, self.written.get());
        let mut next_write = executor.now();
        while executor.now() < until && executor.steps() < steps {
            if !self.step() {
                return;
            }
            let has_served = checks.borrow().counts.acknowledged > before && self.written.get() > first;
            if !has_served && executor.now() >= next_write {
                next_write = executor.now() + RECOVERY_WRITE;
                self.write();
            }
            // One may have been on its way to be shut down.
            self.members.iter().for_each(Member::start_again);
            if executor.steps().is_multiple_of(RECOVERY_LOOK) && self.mend() && has_served && self.is_equal() {
                return;
            }
        }
        let stand = |member: &Rc<Member>| (member.last_write(), member.leads(), member.owes_nothing());
        let stands: Vec<_> = self.members.iter().map(stand).collect();
        let newest = checks.borrow().newest();
        checks
            .borrow_mut()
            .fail(format!("no recovery: of write {newest}, members have, lead, owe nothing: {stands:?}"));
    }

    /// True if all members have all writes, and each proposal has had its outcome.
    fn is_equal(&self) -> bool {
        let newest = self.world.checks.borrow().newest();
        let Some((_, members)) = self.leader_and_members() else { return false };
        let mut nodes = self.members.iter().filter(|member| members.get(member.node).is_some());
        nodes.all(|member| member.last_write() == Some(newest) && member.owes_nothing())
    }
}
