//! Cores of a node with a peer: its connections find their cores, and a core neither sleeps on what it has for it nor for too long.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use basalt_net::peer::GroupNumber;
use basalt_net::ring::{Park, Ring, RingOptions};
use basalt_raft::{Answering, NodeId, Peer, PeerAddress, Unreached, VoteAnswer, VoteParts, VoteQuestion};
use glommio::LocalExecutorBuilder;

use super::Groups;
use super::core::Core;
use super::isolation_tests::turn;
use super::sync_placement::SyncPlacement;
use super::{run, wake_for_peers, watch};
use crate::ids::CoreId;
use crate::limits;
use crate::mail::Doorbell;
use crate::node::Background;
use crate::peers::testing::{self, Known, TestCore, Told, begin, own};
use crate::peers::{Hooks, Peers};
use crate::shard::tests::{log_options, server_with_bells, with_server};

const GROUP: u64 = 5;
const SELF: CoreId = CoreId(0);

/// Asks the group's member on `node`.
fn ask(peers: &Peers, node: u64) -> Answering<VoteAnswer> {
    let vote = VoteParts { term: 3, node: NodeId(1), is_committed: false };
    let question = VoteQuestion { vote, last: None, is_transfer: false };
    let to = Peer { node: NodeId(node), address: PeerAddress::default() };
    peers.transport(GroupNumber(GROUP)).pre_vote(&to, question)
}

/// The answer of a member that is being opened.
fn is_of_an_opening<T>(answer: Result<T, Unreached>) -> bool {
    matches!(answer, Err(Unreached::Unreachable(text)) if text.contains("being opened"))
}

#[test]
fn a_peer_reaches_the_core_that_has_the_group_by_way_of_the_one_that_listens() {
    with_server(2, log_options(), |server, _shard| async move {
        let cores = [0, 1].map(|id| {
            let (ring, readers) =
                (Ring::new(&RingOptions::default()).unwrap(), Background::start("test", 1, 8).unwrap());
            let groups = Groups::new(Vec::new(), drop);
            let mut core = Core::new(CoreId(id), server.clone(), ring, groups, readers, SyncPlacement::of(None));
            let links = TestCore::new(id, own(2, 2));
            core.join_peers(links.peers.clone());
            (core, links.known)
        });
        let [(mut first, known_to_first), (mut second, known_to_second)] = cores;
        let (listener, address) = testing::listener();
        first.listen_for_peers(listener);
        known_to_first.places.borrow_mut().insert(GROUP, Told::Core(1));
        known_to_second.places.borrow_mut().insert(GROUP, Told::Opening);

        let mut peer = TestCore::new(0, own(1, 1));
        peer.known.addresses.borrow_mut().insert(2, address);
        let asked = begin(ask(&peer.peers, 2));
        let deadline = Instant::now() + testing::PATIENCE;
        let (mut has_had_work, mut has_had_deadlines) = (false, false);
        while asked.borrow().is_none() {
            assert!(Instant::now() < deadline, "{:?}", peer.peers.figures());
            peer.turn();
            for core in [&mut first, &mut second] {
                turn(core, &mut []).await;
                has_had_work |= core.has_work();
                core.clock.idle_parks = limits::IDLE_PARKS;
                has_had_deadlines |= core.sleep_max() == limits::TICK;
                core.fill_peers();
                assert!(!core.has_work(), "all is in the ring");
            }
        }
        assert!(has_had_work && has_had_deadlines);
        assert!(asked.take().is_some_and(is_of_an_opening));
        assert_eq!(first.sleep_max(), limits::TICK_IDLE, "links that are open need no looks");
        assert_eq!(server.client_count.load(Ordering::Relaxed), 0, "a peer is no client");

        first.publish_now();
        let figure = |name| server.cores[0].peers.iter().find(|&(known, _)| known == name).map(|(_, figure)| figure);
        assert_eq!((figure("handed_over"), figure("messages_in"), figure("too-slow")), (Some(1), Some(1), Some(0)));

        for core in [&mut first, &mut second] {
            core.end_peers();
        }
        while peer.peers.figures().dialed_open > 0 {
            assert!(Instant::now() < deadline, "{:?}", peer.peers.figures());
            peer.turn();
            glommio::timer::sleep(Duration::from_micros(50)).await;
        }
        assert_eq!(peer.errors("refused-by-peer"), 2);
    });
}

#[test]
fn a_core_that_sleeps_wakes_for_a_peer_and_for_what_its_tasks_have_for_one() {
    const QUESTIONS: usize = 30;
    const OVER: usize = usize::MAX;
    let (listener, core_address) = testing::listener();
    let (peer_listener, peer_address) = testing::listener();
    // Answers that the peer has had; the test ends it.
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = answered.clone();
    let turning = std::thread::spawn(move || {
        testing::run(async move {
            let mut peer = TestCore::new(0, own(1, 1));
            peer.peers.listen(peer_listener, &mut peer.ring);
            peer.known.addresses.borrow_mut().insert(2, core_address);
            peer.known.places.borrow_mut().insert(GROUP, Told::Opening);
            let mut asked = begin(ask(&peer.peers, 2));
            while counted.load(Ordering::Acquire) != OVER {
                peer.turn();
                if let Some(answer) = asked.take() {
                    assert!(is_of_an_opening(answer));
                    if counted.fetch_add(1, Ordering::AcqRel) + 1 < QUESTIONS {
                        asked = begin(ask(&peer.peers, 2));
                    }
                }
                glommio::timer::sleep(Duration::from_micros(50)).await;
            }
        });
    });
    let executor = LocalExecutorBuilder::default().preempt_timer(Duration::from_secs(3600)).make().unwrap();
    let waits = executor.run(async move {
        let mut ring = Ring::new(&RingOptions::default()).unwrap();
        let park = Park::new(&mut ring).unwrap();
        let server = server_with_bells(1, vec![Doorbell::new(ring.waker(), park.signal())]);
        let known = Known::new(own(2, 1));
        known.addresses.borrow_mut().insert(1, peer_address);
        known.places.borrow_mut().insert(GROUP, Told::Opening);
        let hooks = Hooks { wake: Box::new(wake_for_peers(server.clone(), SELF)), ..testing::hooks(&Rc::default()) };
        let peers = Peers::new(SELF, known, hooks);
        let (groups, readers) = (Groups::new(Vec::new(), drop), Background::start("test", 1, 8).unwrap());
        let mut core = Core::new(SELF, server.clone(), ring, groups, readers, SyncPlacement::of(None));
        core.join_peers(peers.clone());
        core.listen_for_peers(listener);
        let (heartbeat, _watched) = watch(SELF).await;
        let asking = begin(async move {
            let mut waits = Vec::new();
            while answered.load(Ordering::Acquire) < QUESTIONS {
                glommio::timer::sleep(Duration::from_millis(1)).await;
            }
            for _ in 0..QUESTIONS {
                while !server.mailboxes.bell(SELF).is_parked() {
                    glommio::timer::sleep(Duration::from_millis(1)).await;
                }
                let begun = Instant::now();
                assert!(is_of_an_opening(ask(&peers, 1).await));
                waits.push(begun.elapsed());
            }
            answered.store(OVER, Ordering::Release);
            server.stop_all();
            waits
        });
        run(&mut core, park, heartbeat).await.unwrap();
        asking.take().expect("the loop ends when all are answered")
    });
    turning.join().unwrap();
    // Who is not woken sleeps for a tick.
    assert!(waits.iter().min() < Some(&(limits::TICK / 4)), "{waits:?}");
}
