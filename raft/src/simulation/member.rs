//! One simulated member: its files, and the group that runs on them until it crashes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use openraft::AsyncRuntime;

use super::checks::Checks;
use super::executor::Executor;
use super::faults::{DiskFaults, Workers};
use super::log_twin::{LogFiles, LogTwin, LogView};
use super::machine::{Registers, batch};
use super::network::{Link, Network};
use super::scenario::Scenario;
use super::store_twin::{SharedFiles, StoreTwin, Twins, forget_files};
use crate::group::Group;
use crate::ids::{NodeId, PeerAddress};
use crate::options::{GroupHooks, GroupOptions};
use crate::runtime::GlommioRuntime;
use crate::sabotage::{self, Sabotage};

/// Time between two turns of a core that nobody wakes.
const TURN: Duration = Duration::from_millis(100);

/// A member's part of the world.
pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) faults: Rc<DiskFaults>,
    files: Rc<RefCell<LogFiles>>,
    store_files: SharedFiles,
    running: RefCell<Option<Running>>,
    /// Set once it is gone for good.
    is_lost: Cell<bool>,
    /// Set once it was removed from the group with all that it had.
    is_destroyed: Cell<bool>,
    world: World,
}

/// The parts of the world that all members share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) executor: Rc<Executor>,
    pub(crate) network: Rc<Network>,
    pub(crate) checks: Rc<RefCell<Checks>>,
    pub(crate) scenario: Rc<Scenario>,
}

/// The time from a start of a member to its crash.
struct Running {
    is_alive: Rc<Cell<bool>>,
    machine: Rc<RefCell<Registers>>,
    log: LogView,
    /// The newest term in which it was seen to lead.
    led: Cell<u64>,
}

/// Has a core's turn come.
#[derive(Default)]
struct Bell {
    is_rung: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    fn ring(&self) {
        self.is_rung.store(true, Ordering::Relaxed);
        self.waker.wake();
    }

    async fn rung(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.is_rung.swap(false, Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Member {
    pub(crate) fn new(node: NodeId, files: Rc<RefCell<LogFiles>>, world: World) -> Rc<Member> {
        let faults = DiskFaults::new(world.scenario.stalls_per_mille);
        let (store_files, running) = (SharedFiles::default(), RefCell::default());
        Rc::new(Member {
            node,
            faults,
            files,
            store_files,
            running,
            is_lost: Cell::default(),
            is_destroyed: Cell::default(),
            world,
        })
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.borrow().is_some()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    /// Starts it, if it does not run and can.
    pub(crate) fn start_again(self: &Rc<Self>) {
        if !self.is_running() && !self.is_lost() {
            self.start();
        }
    }

    /// Crashes it and takes its disk: it never comes back. What was on the disk counts for the checks all the same.
    pub(crate) fn lose_disk(&self) {
        self.crash();
        self.world.checks.borrow_mut().note(|| format!("the disk of node {} is lost", self.node));
        self.world.checks.borrow_mut().counts.lost += 1;
        self.is_lost.set(true);
    }

    /// Ends it for good, as a node does that was removed from the group. Its number is never used again: what it had given its vote
    /// and its word to, it would not know any more.
    pub(crate) fn destroy(self: &Rc<Self>) {
        self.end();
        self.world.checks.borrow_mut().note(|| format!("node {} is destroyed", self.node));
        self.world.checks.borrow_mut().counts.destroyed += 1;
        self.is_destroyed.set(true);
        if sabotage::is(Sabotage::NumbersReused) {
            *self.files.borrow_mut() = LogFiles::default();
            forget_files(&self.store_files);
            self.world.checks.borrow_mut().crashed(self.node);
            return self.start();
        }
        self.is_lost.set(true);
    }

    /// Starts it on what its files hold.
    pub(crate) fn start(self: &Rc<Self>) {
        let World { executor, network, checks, scenario } = self.world.clone();
        checks.borrow_mut().note(|| format!("node {} starts", self.node));
        let kept_bytes = self.options().kept_bytes();
        let log = LogTwin::open(self.node, self.files.clone(), self.faults.clone(), checks.clone(), kept_bytes);
        let store = StoreTwin::open(self.node, self.store_files.clone(), &self.faults, scenario.memtable_bytes);
        let machine = Rc::new(RefCell::new(Registers::new(self.node, store, checks.clone())));
        let is_alive = Rc::new(Cell::new(true));
        let running =
            Running { is_alive: is_alive.clone(), machine: machine.clone(), log: log.view(), led: Cell::new(0) };
        *self.running.borrow_mut() = Some(running);
        let bell = Arc::new(Bell::default());
        let hooks = self.hooks(&is_alive, &bell);
        let transport = Rc::new(Link { network: network.clone(), node: self.node });
        let (node, options, unapplied_bytes_max) = (self.node, self.options(), scenario.unapplied_bytes_max);
        let core = async move {
            let opened = Group::<Twins>::open_with(options, hooks, transport, log, machine).await;
            let group = match opened {
                Ok(group) => group,
                Err(error) => return checks.borrow_mut().fail(format!("node {node} cannot be opened: {error}")),
            };
            group.set_unapplied_bytes_max(unapplied_bytes_max);
            network.connect(node, group.clone());
            loop {
                // It goes round as well when nobody wakes it.
                let _ = GlommioRuntime::timeout(TURN, bell.rung()).await;
                group.drain_completions();
            }
        };
        executor.owned(self.node.0, || executor.spawn(core));
    }

    fn options(&self) -> GroupOptions {
        let scenario = &self.world.scenario;
        let voters: BTreeMap<_, _> = scenario.founders().map(|node| (node, PeerAddress::default())).collect();
        GroupOptions {
            founder: self.node == NodeId(1) && !self.is_destroyed.get(),
            voters,
            heartbeat_ms: scenario.heartbeat_ms,
            election_timeout_ms: scenario.election_timeout_ms,
            in_flight_max: scenario.in_flight_max,
            log_entries_max: scenario.log_entries_max,
            log_entries_kept: scenario.log_entries_kept,
            log_kept_bytes: scenario.log_kept_bytes,
            ..GroupOptions::alone(0, self.node, format!("/node-{}/snapshots", self.node).into())
        }
    }

    fn hooks(&self, is_alive: &Rc<Cell<bool>>, bell: &Arc<Bell>) -> GroupHooks {
        let (node, checks, is_alive, bell) = (self.node, self.world.checks.clone(), is_alive.clone(), bell.clone());
        let (fatal_checks, is_alive_too) = (checks.clone(), is_alive.clone());
        // The newest write with a good outcome: they come in the order of the proposals.
        let executed = Cell::new(0);
        GroupHooks {
            background: Workers::writers(&self.faults, &is_alive),
            readers: Workers::readers(&self.faults, &is_alive),
            on_outcome: Box::new(move |id, outcome| {
                if !is_alive.get() {
                    return;
                }
                match outcome {
                    Ok(_) if executed.replace(id) >= id => {
                        checks.borrow_mut().fail(format!("node {node}: the outcome of write {id} comes too late"));
                    }
                    Ok(_) => checks.borrow_mut().acknowledged(node, id),
                    Err(error) if error.is_certain() => checks.borrow_mut().refused(node, id),
                    Err(_) => {}
                }
            }),
            on_fatal: Box::new(move |text| {
                if is_alive_too.get() {
                    fatal_checks.borrow_mut().fail(format!("the group of node {node} has stopped: {text}"));
                }
            }),
            wake: Arc::new(move || bell.ring()),
        }
    }

    /// Ends it where it stands, with the loss of what was not synced.
    pub(crate) fn crash(&self) {
        if self.is_running() {
            let mut checks = self.world.checks.borrow_mut();
            checks.note(|| format!("node {} crashes", self.node));
            checks.counts.crashes += 1;
            drop(checks);
            self.end();
        }
    }

    fn end(&self) {
        let Some(running) = self.running.take() else { return };
        let World { executor, network, .. } = &self.world;
        running.is_alive.set(false);
        network.disconnect(self.node);
        executor.kill(self.node.0);
        drop(running);
        self.files.borrow_mut().crash(executor);
        self.world.checks.borrow_mut().crashed(self.node);
    }

    /// Stops it as an operator does: nothing that it has is lost.
    pub(crate) fn shut_down(self: &Rc<Self>) {
        let World { executor, network, checks, .. } = &self.world;
        let Some(group) = network.group(self.node) else { return };
        let Some(is_alive) = self.running.borrow().as_ref().map(|running| running.is_alive.clone()) else { return };
        checks.borrow_mut().note(|| format!("node {} is shut down", self.node));
        checks.borrow_mut().counts.shutdowns += 1;
        // It takes no more messages.
        network.disconnect(self.node);
        let member = self.clone();
        let shutting = async move {
            let ended = group.shutdown().await;
            // It may have crashed meanwhile, and have started again.
            if !is_alive.get() {
                return;
            }
            let mut checks = member.world.checks.borrow_mut();
            match ended {
                Err(error) => checks.fail(format!("node {} cannot be shut down: {error}", member.node)),
                Ok(()) if group.status().in_flight_count > 0 => {
                    checks.fail(format!("node {} is shut down, and proposals of it have no outcome", member.node));
                }
                Ok(()) if !member.files.borrow().is_synced() => {
                    checks.fail(format!("node {} is shut down, and not all of its log is on disk", member.node));
                }
                Ok(()) => checks.note(|| format!("node {} is closed", member.node)),
            }
            drop(checks);
            // The last thing that any of its tasks does.
            member.end();
        };
        executor.owned(self.node.0, || executor.spawn(shutting));
    }

    /// Stops its core for a while, as a long command or the machine's owner does. Messages and finished work wait.
    pub(crate) fn pause(&self, time: Duration) {
        let World { executor, checks, .. } = &self.world;
        checks.borrow_mut().note(|| format!("the core of node {} stands still for {time:?}", self.node));
        executor.pause(self.node.0, time);
    }

    /// Proposes the write `id`. What becomes of it is told to the checks.
    pub(crate) fn write(&self, id: u64, bytes: usize) {
        let World { executor, network, checks, .. } = &self.world;
        let Some(group) = network.group(self.node) else { return };
        let proposed = executor.owned(self.node.0, || group.propose(batch(id, bytes), id));
        match proposed {
            Ok(()) => checks.borrow_mut().note(|| format!("node {} takes write {id}", self.node)),
            Err(_) => checks.borrow_mut().refused(self.node, id),
        }
    }

    /// Reads all rows, if this node leads.
    pub(crate) fn read(&self) {
        let World { executor, network, checks, .. } = &self.world;
        let Some(group) = network.group(self.node) else { return };
        let Some(machine) = self.running.borrow().as_ref().map(|running| running.machine.clone()) else { return };
        let (node, checks) = (self.node, checks.clone());
        let oldest = checks.borrow().read_begins();
        let read = async move {
            if group.needs_read_barrier() && group.read_barrier().await.is_err() {
                return;
            }
            let rows = machine.borrow().rows().clone();
            checks.borrow_mut().read_ends(node, oldest, &rows);
        };
        executor.owned(self.node.0, || executor.spawn(read));
    }

    /// Has it write its rows out, so that its log is purged.
    pub(crate) fn write_out(&self) {
        let World { executor, network, .. } = &self.world;
        let Some(group) = network.group(self.node) else { return };
        executor.owned(self.node.0, || {
            // A full disk is no fault.
            executor.spawn(async move { drop(group.write_out().await) });
        });
    }

    /// Has it give the lead to another.
    pub(crate) fn hand_over(&self, to: NodeId) {
        let World { executor, network, .. } = &self.world;
        let Some(group) = network.group(self.node) else { return };
        executor.owned(self.node.0, || executor.spawn(async move { drop(group.hand_over(to).await) }));
    }

    /// Checks what must hold after each step.
    pub(crate) fn check(&self) {
        let World { network, checks, .. } = &self.world;
        let running = self.running.borrow();
        let Some(running) = running.as_ref() else { return };
        let Some(group) = network.group(self.node) else { return };
        let Some(term) = group.leads_in() else { return };
        checks.borrow_mut().leads_still(self.node);
        if term <= running.led.get() {
            return;
        }
        running.led.set(term);
        checks.borrow_mut().leads(self.node, term, running.log.first(), |index| running.log.get(index));
    }

    /// The index of the last write in its rows, if it runs.
    pub(crate) fn last_write(&self) -> Option<u64> {
        self.running.borrow().as_ref().map(|running| running.machine.borrow().rows().last)
    }

    /// True if each of its proposals has had its outcome.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.world.network.group(self.node).is_some_and(|group| group.status().in_flight_count == 0)
    }

    /// True if it runs and leads.
    pub(crate) fn leads(&self) -> bool {
        self.world.network.group(self.node).is_some_and(|group| group.leads_in().is_some())
    }
}
