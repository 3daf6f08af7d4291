//! The thread of a core, and what it tells the thread that has started it.

use std::net::TcpListener;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use basalt_net::ring::{Park, Ring, RingOptions};
use basalt_net::thread;
use glommio::{LocalExecutorBuilder, Placement};

use super::RunError;
use super::keeper::Event;
use super::shards::{Files, end_meta, end_shard, open_groups};
use super::snapshots::Snapshots;
use super::surroundings::NodeSurroundings;
use crate::boot::META_INDEX;
use crate::core_loop::{self, Core, Groups, SyncPlacement, Watched, wake_for_peers};
use crate::ids::{CoreId, ShardId};
use crate::limits;
use crate::mail::Doorbell;
use crate::node::Server;
use crate::peers::{Hooks, Peers};
use crate::shard::Threads;

/// The word of a core whose ring is there, or the reason that it is not.
pub(super) type Hello = Result<(CoreId, Doorbell), String>;
/// The word of a core that is about to take its first turn.
pub(super) type Ready = Result<Watched, String>;
/// The word to a core once all have their rings.
pub(super) type ServerIs = Receiver<(Arc<Server>, Listeners, Option<Snapshots>)>;

/// The sockets that a core accepts on.
#[derive(Default)]
pub(super) struct Listeners {
    /// For clients.
    pub(super) clients: Vec<TcpListener>,
    /// For other nodes.
    pub(super) peers: Vec<TcpListener>,
}

/// Everything that a core thread starts with.
pub(super) struct CoreStart {
    pub(super) id: CoreId,
    /// Its shards' files, as they are opened.
    pub(super) files: Files,
    /// Takes what is to be said of its groups.
    pub(super) tell: Sender<Event>,
    pub(super) server: ServerIs,
    pub(super) threads: Threads,
    pub(super) sync_placement: SyncPlacement,
}

pub(super) type CoreThread = JoinHandle<Result<(), String>>;

pub(super) fn spawn_core(
    placement: Placement,
    start: CoreStart,
    hello: Sender<Hello>,
    ready: Sender<Ready>,
) -> Result<CoreThread, RunError> {
    let id = start.id;
    let started = std::thread::Builder::new().name(format!("basalt-core-{}", start.id)).spawn(move || {
        if let Err(error) = thread::set_timer_slack(limits::TIMER_SLACK) {
            tracing::debug!(%error, "the kernel keeps its timer slack");
        }
        // The preempt timer is off: see `core_loop`.
        let executor = LocalExecutorBuilder::new(placement)
            .name("basalt-core")
            .preempt_timer(Duration::from_secs(3600))
            .make()
            .map_err(|error| format!("no executor could be made for core {}: {error}", start.id));
        let outcome = match executor {
            Ok(executor) => executor.run(run_core(start, &hello, &ready)),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = &outcome {
            // Whichever of the two is still awaited.
            let _ = hello.send(Err(reason.clone()));
            let _ = ready.send(Err(reason.clone()));
        }
        outcome
    });
    started.map_err(|error| RunError(format!("no thread could be started for core {id}: {error}")))
}

async fn run_core(start: CoreStart, hello: &Sender<Hello>, ready: &Sender<Ready>) -> Result<(), String> {
    let CoreStart { id, files, tell, server, threads, sync_placement } = start;
    let mut ring = Ring::new(&RingOptions {
        output_high_bytes: limits::OUTPUT_BYTES_STALLED,
        output_low_bytes: limits::OUTPUT_BYTES_TAKEN,
        ..RingOptions::default()
    })
    .map_err(|error| error.to_string())?;
    let park = Park::new(&mut ring).map_err(|error| format!("core {id} cannot park: {error}"))?;
    let _ = hello.send(Ok((id, Doorbell::new(ring.waker(), park.signal()))));
    let Ok((server, listeners, snapshots)) = server.recv() else { return Err("another core could not start".into()) };
    let panics = FailOnPanic(&server);
    // Nobody listens any more if the node was told to stop meanwhile.
    let tell = move |shard, news| drop(tell.send(Event::OfGroup(shard, news)));
    let groups = Rc::new_cyclic(|groups: &Weak<Groups>| {
        let (of_shards, of_map, tell_of_map) = (groups.clone(), groups.clone(), tell.clone());
        let (tell_of_shards, forget) = (tell.clone(), |groups: &Weak<Groups>, shard| {
            // Whoever has it from here keeps its files open.
            groups.upgrade().expect("it calls this").forget(shard);
        });
        Groups::with_meta(
            Vec::new(),
            move |shard| {
                forget(&of_shards, shard.id());
                end_shard(shard, tell_of_shards.clone());
            },
            move |meta| {
                forget(&of_map, ShardId(META_INDEX));
                end_meta(meta, tell_of_map.clone());
            },
        )
    });
    let readers = threads.readers.clone();
    let mut core = Core::new(id, server.clone(), ring, groups.clone(), readers, sync_placement);
    for listener in listeners.clients {
        core.listen(listener);
    }
    let peers = snapshots.map(|snapshots| {
        let receiving = snapshots.clone();
        let surroundings = NodeSurroundings { server: server.clone(), core: id, groups: groups.clone() };
        let hooks = Hooks {
            send_snapshot: Box::new(move |to, group, snapshot| snapshots.send(id, to, group, snapshot)),
            take_snapshots: Box::new(move |peer| receiving.take(peer)),
            wake: Box::new(wake_for_peers(server.clone(), id)),
        };
        let peers = Peers::new(id, Rc::new(surroundings), hooks);
        core.join_peers(peers.clone());
        peers
    });
    for listener in listeners.peers {
        core.listen_for_peers(listener);
    }
    let (heartbeat, watched) = core_loop::watch(id).await;
    let _ = ready.send(Ok(watched));
    // Beside the loop: with several voters a group finds its leader only while the core takes turns.
    glommio::spawn_local(open_groups(files, server.clone(), id, threads, (groups, peers), tell)).detach();
    if server.config.timer_probe {
        core_loop::probe_timers(server.clone(), id);
    }
    let outcome = core_loop::run(&mut core, park, heartbeat).await;
    if let Err(reason) = &outcome {
        // The other cores cannot go on without this one's shards.
        server.fail(reason.clone());
    }
    let closed = core.close_shards().await;
    drop(panics);
    outcome.and(closed)
}

/// Stops the node if the core that holds this panics: the others would wait for its shards for ever.
struct FailOnPanic<'a>(&'a Server);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("a core failed: see the panic's message above".into());
        }
    }
}

pub(super) fn collect(hellos: &Receiver<Hello>, core_count: usize) -> Result<Vec<Doorbell>, RunError> {
    let mut bells: Vec<Option<Doorbell>> = (0..core_count).map(|_| None).collect();
    for _ in 0..core_count {
        let (core, bell) = receive(hellos)?;
        bells[core.index()] = Some(bell);
    }
    Ok(bells.into_iter().flatten().collect())
}

pub(super) fn collect_watched(ready: &Receiver<Ready>, core_count: usize) -> Result<Vec<Watched>, RunError> {
    (0..core_count).map(|_| receive(ready)).collect()
}

fn receive<T>(from: &Receiver<Result<T, String>>) -> Result<T, RunError> {
    from.recv().unwrap_or_else(|_| Err("a core ended while it started".into())).map_err(RunError)
}

pub(super) fn join(thread: CoreThread) -> Result<(), String> {
    thread.join().unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
        Err(format!("a core failed: {}", text.unwrap_or_else(|| "no reason given".into())))
    })
}
