//! Links between cores of some nodes, without Raft behind them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use basalt_net::peer::Message as Spoken;
use basalt_net::peer::{
    Acquaintance, Bounds, GroupNumber, Heard, Lane, Link, NodeNumber, Nonce, Own, RequestId, Route, Secret, Session,
    SnapshotPosition, Wanted,
};
use basalt_raft::{Answering, Append, AppendAnswer, NodeId, Peer, PeerAddress, Unreached, VoteParts, VoteQuestion};
use basalt_storage::log::LogRecord;
use bytes::Bytes;

use super::testing::{PATIENCE, TestCore, Told, begin, listener, own, run, turn, until, wait};
use crate::limits::peers as limits;

const GROUP: u64 = 5;

fn peer(node: u64) -> Peer {
    Peer { node: NodeId(node), address: PeerAddress::default() }
}

/// Node 1 with a core, which knows node 2; and as many cores of node 2, of which the first listens.
fn two_nodes(core_count: u16) -> (TestCore, Vec<TestCore>) {
    let asker = TestCore::new(0, own(1, 1));
    let mut others: Vec<_> = (0..core_count).map(|core| TestCore::new(core, own(2, core_count))).collect();
    asker.known.addresses.borrow_mut().insert(2, others[0].listen());
    (asker, others)
}

/// Asks a member of the group on node 2 for its vote.
fn ask(core: &TestCore) -> Answering<basalt_raft::VoteAnswer> {
    let vote = VoteParts { term: 3, node: NodeId(1), is_committed: false };
    let question = VoteQuestion { vote, last: None, is_transfer: false };
    core.peers.transport(GroupNumber(GROUP)).vote(&peer(2), question)
}

/// Sends it an entry.
fn append(core: &TestCore, body: &Bytes) -> Answering<AppendAnswer> {
    let vote = VoteParts { term: 3, node: NodeId(1), is_committed: true };
    let records = vec![LogRecord { index: 0, term: 1, body: body.clone() }];
    let message = Append { vote, previous: None, committed: None, records };
    core.peers.transport(GroupNumber(GROUP)).append(&peer(2), message)
}

fn unreachable<T: std::fmt::Debug>(answer: Result<T, Unreached>) -> String {
    match answer {
        Err(Unreached::Unreachable(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_question_finds_the_core_that_has_the_group_and_the_next_one_goes_there_at_once() {
    run(async {
        let (mut asker, mut others) = two_nodes(3);
        others[0].known.places.borrow_mut().insert(GROUP, Told::Core(2));
        others[2].known.places.borrow_mut().insert(GROUP, Told::Opening);
        let [first, second, third] = &mut others[..] else { panic!("three cores") };
        let asked = ask(&asker);
        let text = unreachable(wait("an answer", &mut [&mut asker, first, second, third], asked).await);
        assert!(text.contains("being opened"), "{text}");
        let figures = asker.peers.figures();
        assert_eq!((figures.dials, figures.referrals, figures.dialed_open, figures.unreached), (2, 1, 2, 1));
        assert_eq!(first.peers.figures().handed_over, 1);
        assert_eq!((first.peers.figures().messages_in, third.peers.figures().messages_in), (1, 1));
        assert_eq!((second.peers.figures().accepted_open, third.peers.figures().accepted_open), (0, 1));
        assert_eq!(*first.known.met.borrow(), [(1, 5), (1, 5)], "who greets is told of");

        for _ in 0..3 {
            let asked = ask(&asker);
            unreachable(wait("an answer", &mut [&mut asker, first, second, third], asked).await);
        }
        assert_eq!((first.peers.figures().messages_in, third.peers.figures().messages_in), (1, 4));
        assert_eq!((asker.peers.figures().dials, third.peers.figures().unable), (2, 4));

        // It has moved on: the question is lost, and the next one finds it.
        third.known.places.borrow_mut().insert(GROUP, Told::Core(1));
        second.known.places.borrow_mut().insert(GROUP, Told::Opening);
        let asked = ask(&asker);
        let answer = wait("an answer", &mut [&mut asker, first, second, third], asked).await;
        assert!(matches!(answer, Err(Unreached::Lost(_))), "{answer:?}");
        let asked = ask(&asker);
        let text = unreachable(wait("an answer", &mut [&mut asker, first, second, third], asked).await);
        assert!(text.contains("being opened") && second.peers.figures().messages_in == 1, "{text}");

        // Nobody has it.
        third.known.places.borrow_mut().insert(GROUP + 1, Told::Core(0));
        second.known.places.borrow_mut().clear();
        let asked = ask(&asker);
        let text = unreachable(wait("an answer", &mut [&mut asker, first, second, third], asked).await);
        assert!(text.contains("not-here"), "{text}");
        // So the first core is asked again.
        let before = first.peers.figures().messages_in;
        let asked = ask(&asker);
        unreachable(wait("an answer", &mut [&mut asker, first, second, third], asked).await);
        assert_eq!(first.peers.figures().messages_in, before + 1);
    });
}

#[test]
fn a_member_with_a_number_of_its_own_is_named_and_a_link_that_cannot_say_it_carries_nothing_for_it() {
    run(async {
        let (mut asker, mut others) = two_nodes(1);
        let other = &mut others[0];
        other.known.places.borrow_mut().insert(GROUP, Told::Opening);
        let own_number = |core: &TestCore| {
            let to = Peer { node: NodeId(9), address: PeerAddress::on(NodeId(2), NodeId(9)) };
            let vote = VoteParts { term: 3, node: NodeId(1), is_committed: false };
            let question = VoteQuestion { vote, last: None, is_transfer: false };
            core.peers.transport(GroupNumber(GROUP)).vote(&to, question)
        };
        let asked = own_number(&asker);
        let text = unreachable(wait("an answer", &mut [&mut asker, other], asked).await);
        assert!(text.contains("being opened"), "{text}");

        // The same node with a program of the version before.
        let now = std::time::Instant::now();
        asker.peers.forget_all(&mut asker.ring, now);
        other.known.own.borrow_mut().versions.newest = 1;
        let before = other.peers.figures().messages_in;
        let asked = own_number(&asker);
        let text = unreachable(wait("an answer", &mut [&mut asker, other], asked).await);
        assert!(text.contains("vote-to"), "{text}");
        assert_eq!(other.peers.figures().messages_in, before);
        let asked = ask(&asker);
        let text = unreachable(wait("an answer", &mut [&mut asker, other], asked).await);
        assert!(text.contains("being opened"), "who has its node's number is asked as ever: {text}");
        assert_eq!(asker.peers.figures().dialed_open, 1);
    });
}

#[test]
fn an_identity_that_is_wrong_is_refused_by_name() {
    type Change = fn(&mut Own);
    let wrong: [(&str, Change); 6] = [
        ("other-cluster", |own| own.cluster = [8; 20]),
        ("other-node", |own| own.node = NodeNumber(3)),
        ("own-number", |own| own.node = NodeNumber(1)),
        ("wrong-proof", |own| own.secret = Secret::new(b"guessed")),
        ("secret-missing", |own| own.secret = None),
        ("no-common-version", |own| own.versions.newest = 0),
    ];
    for (name, change) in wrong {
        run(async {
            let (mut asker, mut others) = two_nodes(1);
            let other = &mut others[0];
            change(&mut other.known.own.borrow_mut());
            let asked = ask(&asker);
            let text = unreachable(wait(name, &mut [&mut asker, other], asked).await);
            // Who is dialed sees the other first. Of a secret that it does not have it says that it was not expected.
            let name = if name == "secret-missing" { "secret-unexpected" } else { name };
            assert!(text.contains(name), "{name}: {text}");
            assert_eq!((other.errors(name), asker.errors("refused-by-peer")), (1, 1), "{name}");
            assert_eq!((asker.peers.figures().dialed_open, other.peers.figures().accepted_open), (0, 0));
        });
    }
}

#[test]
fn an_old_copy_of_a_node_and_one_that_was_removed_are_refused_by_name() {
    for (name, known) in
        [("old-incarnation", Acquaintance::Seen { incarnation: 6 }), ("removed", Acquaintance::Removed)]
    {
        run(async {
            let (mut asker, mut others) = two_nodes(1);
            let other = &mut others[0];
            other.known.acquaintances.borrow_mut().insert(1, known);
            let asked = ask(&asker);
            let text = unreachable(wait(name, &mut [&mut asker, other], asked).await);
            assert!(text.contains(name) && other.errors(name) == 1, "{text}");
        });
    }
}

#[test]
fn a_peer_that_is_away_is_left_in_peace_for_a_moment_and_found_when_it_is_back() {
    run(async {
        let (mut asker, mut others) = two_nodes(1);
        let mut other = others.remove(0);
        let (closed, address) = listener();
        drop(closed);
        asker.known.addresses.borrow_mut().insert(2, address);
        let asked = ask(&asker);
        unreachable(wait("no way", &mut [&mut asker], asked).await);
        // On a slow machine the moment is over before the next question; then it is dialed again, and the moment is longer.
        loop {
            let dials = asker.peers.figures().dials;
            let asked = ask(&asker);
            let text = unreachable(wait("no way", &mut [&mut asker], asked).await);
            if text.contains("a moment ago") {
                assert_eq!(asker.peers.figures().dials, dials, "it is left in peace: {text}");
                break;
            }
            assert_eq!(asker.peers.figures().dials, dials + 1, "{text}");
        }
        let failures = asker.peers.figures().dial_failures;
        assert_eq!(failures, asker.peers.figures().dials);
        // It has another address now, which the map knows.
        asker.known.addresses.borrow_mut().insert(2, other.listen());
        let mut asked = begin(ask(&asker));
        until("it is found", &mut [&mut asker, &mut other], |cores| {
            if asked.borrow().is_some() {
                asked = begin(ask(cores[0]));
            }
            cores[1].peers.figures().messages_in > 0
        })
        .await;
        assert_eq!(asker.peers.figures().dial_failures, failures);

        let stranger = Peer { node: NodeId(77), address: PeerAddress("127.0.0.1:1".to_owned()) };
        let vote = VoteParts { term: 3, node: NodeId(1), is_committed: false };
        let question = VoteQuestion { vote, last: None, is_transfer: false };
        let asked = asker.peers.transport(GroupNumber(GROUP)).pre_vote(&stranger, question);
        let text = unreachable(wait("no way", &mut [&mut asker], asked).await);
        assert!(text.contains("no address"), "a membership's address is not used: {text}");
    });
}

#[test]
fn questions_on_a_link_that_ends_are_lost_and_the_link_is_made_anew() {
    run(async {
        let (mut asker, mut others) = two_nodes(1);
        let other = &mut others[0];
        let asked = ask(&asker);
        unreachable(wait("an answer", &mut [&mut asker, other], asked).await);
        // The other core does not turn: this question stays without an answer.
        let asked = begin(ask(&asker));
        let entries = begin(append(&asker, &Bytes::from_static(b"entry")));
        until("it is sent", &mut [&mut asker], |cores| cores[0].peers.figures().messages_out == 2).await;
        for core in [&asker, &*other] {
            let links = core.peers.0.links.borrow();
            for entry in links.all() {
                let socket = core.ring.socket(entry.id).unwrap();
                let _ = nix::sys::socket::shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Both);
            }
        }
        until("the end is seen", &mut [&mut asker], |_| asked.borrow().is_some()).await;
        assert!(matches!(asked.take(), Some(Err(Unreached::Lost(_)))));
        assert_eq!(asker.peers.figures().lost, 1);
        // The other lane has waited for its greeting, or has its answer.
        until("an answer", &mut [&mut asker, other], |_| entries.borrow().is_some()).await;
        let mut asked = begin(ask(&asker));
        until("a new link", &mut [&mut asker, other], |cores| {
            if asked.borrow().is_some() {
                asked = begin(ask(cores[0]));
            }
            cores[0].peers.figures().reconnects > 0 && cores[1].peers.figures().messages_in > 2
        })
        .await;
    });
}

#[test]
fn strangers_are_few_and_have_little_time() {
    run(async {
        let (_, mut others) = two_nodes(1);
        let other = &mut others[0];
        let address = other.listen();
        let strangers: Vec<_> = (0..limits::STRANGERS_MAX + 3).map(|_| TcpStream::connect(address).unwrap()).collect();
        until("they have come", &mut [other], |cores| {
            let figures = cores[0].peers.figures();
            figures.accepted + figures.strangers_refused == strangers.len() as u64
        })
        .await;
        assert_eq!(other.peers.figures().strangers_refused, 3);
        assert!(other.peers.has_deadlines());
        other.later.set(limits::GREETING_WAIT + Duration::from_millis(1));
        turn(&mut [other]).await;
        assert_eq!(other.errors("too-slow"), limits::STRANGERS_MAX as u64);
        assert!(!other.peers.has_deadlines());
        let is_over = |stranger: &TcpStream| {
            stranger.set_nonblocking(true).unwrap();
            let read = (&*stranger).read(&mut [0; 1024]);
            !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
        };
        until("all are closed", &mut [other], |_| strangers.iter().all(is_over)).await;

        let mut browser = TcpStream::connect(address).unwrap();
        browser.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
        until("it is no peer", &mut [other], |cores| cores[0].errors("not-a-peer") == 1).await;
    });
}

#[test]
fn a_peer_that_does_not_greet_is_given_up() {
    run(async {
        let asker = &mut TestCore::new(0, own(1, 1));
        let (silent, address) = listener();
        asker.known.addresses.borrow_mut().insert(2, address);
        let asked = begin(ask(asker));
        until("it is dialed", &mut [asker], |cores| cores[0].peers.figures().dials == 1).await;
        assert!(asked.borrow().is_none());
        asker.later.set(limits::GREETING_WAIT + Duration::from_millis(1));
        until("it is given up", &mut [asker], |_| asked.borrow().is_some()).await;
        let text = unreachable(asked.take().unwrap());
        assert!(text.contains("too long"), "{text}");
        drop(silent);
    });
}

#[test]
fn a_peer_that_does_not_read_is_cut_off() {
    run(async {
        let (mut asker, mut others) = two_nodes(1);
        let other = &mut others[0];
        let body = Bytes::from(vec![7; 4 << 20]);
        let asked = append(&asker, &body);
        unreachable(wait("an answer", &mut [&mut asker, other], asked).await);
        let mut asked = Vec::new();
        while asker.peers.figures().cut_off == 0 {
            assert!(asked.len() * body.len() <= 2 * limits::QUEUE_BYTES_MAX, "the queue has a bound");
            asked.push(begin(append(&asker, &body)));
            turn(&mut [&mut asker]).await;
        }
        assert!(asked.len() * body.len() > limits::QUEUE_BYTES_MAX / 2, "{} questions", asked.len());
        until("all are answered", &mut [&mut asker], |_| asked.iter().all(|asked| asked.borrow().is_some())).await;
        assert_eq!(asker.peers.figures().dialed_open, 0);
        assert_eq!(asker.peers.figures().lost as usize, asked.len() - 1);
        unreachable(asked.last().unwrap().take().unwrap());
    });
}

#[test]
fn long_messages_arrive_and_what_nobody_uses_is_closed() {
    run(async {
        let (mut asker, mut others) = two_nodes(1);
        let other = &mut others[0];
        let body = Bytes::from(vec![7; 20 << 20]);
        let asked = append(&asker, &body);
        let text = unreachable(wait("an answer", &mut [&mut asker, other], asked).await);
        assert!(text.contains("not-here"), "{text}");
        assert!(other.peers.figures().bytes_in > body.len() as u64);
        assert_eq!((asker.peers.figures().dialed_open, other.peers.figures().accepted_open), (1, 1));
        asker.later.set(limits::IDLE_MAX + Duration::from_secs(1));
        until("it is closed", &mut [&mut asker, other], |cores| {
            cores[0].peers.figures().dialed_open + cores[1].peers.figures().accepted_open == 0
        })
        .await;
        let asked = ask(&asker);
        unreachable(wait("an answer", &mut [&mut asker, other], asked).await);
        assert_eq!(asker.peers.figures().dial_failures, 0);
    });
}

#[test]
fn a_node_that_starts_anew_takes_the_place_of_its_connections_and_one_that_stops_says_so() {
    run(async {
        let (mut asker, mut others) = two_nodes(1);
        let other = &mut others[0];
        let asked = ask(&asker);
        unreachable(wait("an answer", &mut [&mut asker, other], asked).await);
        // Its predecessor has gone without a word.
        let mut next = TestCore::new(0, Own { incarnation: 6, ..own(1, 1) });
        next.known.addresses.borrow_mut().clone_from(&asker.known.addresses.borrow());
        let asked = ask(&next);
        unreachable(wait("an answer", &mut [&mut next, other], asked).await);
        assert_eq!(other.peers.figures().accepted_open, 1);
        until("its end is seen", &mut [&mut asker], |cores| cores[0].peers.figures().dialed_open == 0).await;

        other.peers.stop(&mut other.ring, std::time::Instant::now());
        let asked = ask(other);
        let text = unreachable(wait("an answer", &mut [other], asked).await);
        assert!(text.contains("stops"), "{text}");
        until("it is told", &mut [&mut next, other], |cores| cores[0].peers.figures().dialed_open == 0).await;
        assert_eq!(next.errors("refused-by-peer"), 1);
    });
}

/// Reads, although the executor's timer interrupts.
fn read(mut stream: &TcpStream, bytes: &mut [u8]) -> usize {
    loop {
        match stream.read(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read.unwrap(),
        }
    }
}

/// Dials by hand up to the proof of the other side, which is not waited for, and returns the own one.
fn dial(address: SocketAddr, route: Route) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut said, mut bytes) = (Vec::new(), [0; 4096]);
    let wanted = Wanted { node: NodeNumber(2), route };
    let mut link = Link::dial(own(1, 1), wanted, Nonce([3; 32]), 0, &mut said);
    stream.write_all(&said).unwrap();
    said.clear();
    while said.is_empty() {
        let count = read(&stream, &mut bytes);
        let heard = link.feed(&mut &bytes[..count], |_| Acquaintance::Unknown, &mut said).unwrap();
        assert!(heard.is_none());
    }
    (stream, said)
}

#[test]
fn a_connection_for_snapshots_goes_to_who_takes_them_with_all_that_came() {
    const FILES: u32 = 20_000;
    run(async {
        let (_, mut others) = two_nodes(2);
        let [first, second] = &mut others[..] else { panic!("two cores") };
        let address = first.listen();
        let route = Route { lane: Lane::Snapshots, dialing_core: 0, accepting_core: 1 };
        let dialing = std::thread::spawn(move || {
            let (mut stream, mut said) = dial(address, route);
            let (node, bounds) = (NodeNumber(2), Bounds::default());
            let session = Session { node, incarnation: 5, core_count: 2, route, version: 1, bounds };
            let mut link = Link::of_session(session, bounds, 0);
            for file in 0..FILES {
                let position = Spoken::SnapshotAck(SnapshotPosition { file, offset: 0 });
                link.push(GroupNumber(1), RequestId(1), position).unwrap();
            }
            link.take(usize::MAX, &mut said);
            // More than is received at once, and behind the proof at once.
            stream.write_all(&said).unwrap();
            stream
        });
        until("it has come", &mut [first, second], |cores| !cores[0].snapshots.borrow().is_empty()).await;
        let peer = first.snapshots.borrow_mut().pop().unwrap();
        let (stream, session) = (TcpStream::from(peer.socket), peer.session);
        assert!(matches!(session, Session { node: NodeNumber(1), incarnation: 5, route: found, .. } if found == route));
        let mut link = Link::of_session(session, Bounds::default(), 0);
        let (mut files, mut bytes, mut said) = (Vec::new(), peer.received, Vec::new());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        while files.len() < FILES as usize {
            let mut input = bytes.as_slice();
            while let Some(heard) = link.feed(&mut input, |_| Acquaintance::Unknown, &mut said).unwrap() {
                let Heard::Message(_, _, Spoken::SnapshotAck(position)) = heard else { panic!("{heard:?}") };
                files.push(position.file);
            }
            if files.len() < FILES as usize {
                bytes.resize(4096, 0);
                let count = read(&stream, &mut bytes);
                bytes.truncate(count);
            }
        }
        assert!(files.into_iter().eq(0..FILES));
        dialing.join().unwrap();
    });
}
