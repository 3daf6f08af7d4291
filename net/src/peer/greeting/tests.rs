use std::cell::Cell;

use super::*;
use crate::limits::GREETING_BYTES_MAX;
use crate::peer::ids::{GroupNumber, RequestId};
use crate::peer::messages::Message;
use crate::peer::outbox::Outbox;

const A: NodeNumber = NodeNumber(0xa1);
const B: NodeNumber = NodeNumber(0xb2);
const C: NodeNumber = NodeNumber(0xc3);
const ROUTE: Route = Route { lane: Lane::Entries, dialing_core: 1, accepting_core: 2 };

fn own(node: NodeNumber) -> Own {
    Own {
        cluster: [7; 20],
        node,
        incarnation: 5,
        core_count: 4,
        versions: Versions::OWN,
        bounds: Bounds::default(),
        secret: Secret::new(b"open sesame"),
    }
}

fn wanted(node: NodeNumber) -> Wanted {
    Wanted { node, route: ROUTE }
}

/// Another one at each call, as of the operating system.
fn nonce() -> Nonce {
    thread_local!(static LAST: Cell<u8> = const { Cell::new(0) });
    LAST.set(LAST.get() + 1);
    Nonce([LAST.get(); 32])
}

fn unknown(_: NodeNumber) -> Acquaintance {
    Acquaintance::Unknown
}

type Outcome = Result<Option<Session>, PeerError>;

/// Lets both sides greet each other, `chunk` bytes at a time, until neither has anything to say; what each has come to.
fn greet(
    dialing: Own,
    wanted: Wanted,
    accepting: Own,
    known: [&dyn Fn(NodeNumber) -> Acquaintance; 2],
    chunk: usize,
) -> [Outcome; 2] {
    let mut sent = [Vec::new(), Vec::new()];
    let mut sides = [Greeter::dial(dialing, wanted, nonce(), &mut sent[0]), Greeter::accept(accepting, nonce())];
    let mut outcomes = [Ok(None), Ok(None)];
    while sent.iter().any(|sent| !sent.is_empty()) {
        for side in [1, 0] {
            let received = std::mem::take(&mut sent[1 - side]);
            for mut piece in received.chunks(chunk) {
                if outcomes[side] == Ok(None) {
                    outcomes[side] = sides[side].feed(&mut piece, known[side], &mut sent[side]);
                }
            }
        }
    }
    outcomes
}

fn greet_as(dialing: Own, wanted: Wanted, accepting: Own) -> [Outcome; 2] {
    greet(dialing, wanted, accepting, [&unknown, &unknown], usize::MAX)
}

/// The reason for which the side refuses, and that which the other one hears.
fn refused_by(side: usize, outcomes: &[Outcome; 2]) -> Refusal {
    match (&outcomes[side], &outcomes[1 - side]) {
        (Err(PeerError::Refused(said)), Err(PeerError::RefusedByPeer(heard))) => {
            assert_eq!(said, heard);
            said.clone()
        }
        other => panic!("{other:?}"),
    }
}

const DIALING: usize = 0;
const ACCEPTING: usize = 1;

#[test]
fn two_nodes_of_a_cluster_take_each_other_for_whom_they_are() {
    for chunk in [1, 7, usize::MAX] {
        let small = Bounds { message_bytes_max: 4 << 20, joined_bytes_max: 8 << 20 };
        let accepting = Own { core_count: 3, incarnation: 9, bounds: small, ..own(B) };
        let [dialing, accepting] = greet(own(A), wanted(B), accepting, [&unknown, &unknown], chunk);
        let of = |node, incarnation, core_count, bounds| Session {
            node,
            incarnation,
            core_count,
            route: ROUTE,
            version: 2,
            bounds,
        };
        assert_eq!(dialing, Ok(Some(of(B, 9, 3, small))));
        // Nothing longer than this node itself takes is sent to any.
        let joined_bytes_max = Bounds::default().joined_bytes_max;
        assert_eq!(accepting, Ok(Some(of(A, 5, 4, Bounds { message_bytes_max: 4 << 20, joined_bytes_max }))));
    }
}

#[test]
fn a_session_comes_about_exactly_where_everything_fits() {
    let secrets = [None, Secret::new(b"open sesame"), Secret::new(b"open barley")];
    for cluster in [[7; 20], [8; 20]] {
        for dialing_node in [A, B, NodeNumber(0)] {
            for wanted_node in [B, C] {
                for (at, dialing_secret) in secrets.iter().enumerate() {
                    for (other, accepting_secret) in secrets.iter().enumerate() {
                        let dialing = Own { cluster, secret: dialing_secret.clone(), ..own(dialing_node) };
                        let accepting = Own { secret: accepting_secret.clone(), ..own(B) };
                        let outcomes = greet_as(dialing, wanted(wanted_node), accepting);
                        let fits = cluster == [7; 20] && dialing_node == A && wanted_node == B && at == other;
                        assert_eq!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Some(_)))), fits, "{outcomes:?}");
                        if !fits {
                            refused_by(ACCEPTING, &outcomes);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_accepting_side_refuses_by_name() {
    use RefusalReason::*;
    let cluster = |cluster| Own { cluster, ..own(A) };
    let secret = |secret: &[u8], node| Own { secret: Secret::new(secret), ..own(node) };
    let versions = |oldest, newest| Own { versions: Versions { oldest, newest }, ..own(A) };
    let bounds =
        |message_bytes_max, joined_bytes_max| Own { bounds: Bounds { message_bytes_max, joined_bytes_max }, ..own(A) };
    let core =
        |dialing_core, accepting_core| Wanted { node: B, route: Route { dialing_core, accepting_core, ..ROUTE } };
    for (dialing, wanted, accepting, reason, words) in [
        (cluster([8; 20]), wanted(B), own(B), OtherCluster, "is of cluster 0808"),
        (own(A), wanted(C), own(B), OtherNode, "this is node 00000000000000b2, not node 00000000000000c3"),
        (own(B), wanted(B), own(B), OwnNumber, "this is node 00000000000000b2 itself"),
        (own(NodeNumber(0)), wanted(B), own(B), UnusableIdentity, "more than 0"),
        (Own { incarnation: 0, ..own(A) }, wanted(B), own(B), UnusableIdentity, "more than 0"),
        (secret(b"", A), wanted(B), own(B), SecretMissing, "node 00000000000000a1 has no cluster-secret"),
        (own(A), wanted(B), secret(b"", B), SecretUnexpected, "this one has none"),
        (secret(b"open barley", A), wanted(B), own(B), WrongProof, "does not know this cluster's secret"),
        (versions(3, 4), wanted(B), own(B), NoCommonVersion, "speaks versions 3 to 4 of the protocol, this one 1 to 2"),
        (own(A), core(1, 4), own(B), UnknownCore, "no core 4 on this node, which has 4"),
        (own(A), core(4, 1), own(B), UnknownCore, "greets for core 4, and has 4"),
        (bounds(1 << 20, 8 << 20), wanted(B), own(B), UnusableBounds, "messages of 1048576 bytes"),
        (bounds(8 << 20, 4 << 20), wanted(B), own(B), UnusableBounds, "joined up to 4194304"),
    ] {
        let refusal = refused_by(ACCEPTING, &greet_as(dialing, wanted, accepting));
        assert_eq!(refusal.reason, reason, "{refusal}");
        assert!(refusal.text.contains(words), "{refusal}");
    }
}

#[test]
fn an_old_copy_and_a_removed_node_are_refused_in_both_directions() {
    let seen = |node: NodeNumber, incarnation| {
        move |asked| if asked == node { Acquaintance::Seen { incarnation } } else { Acquaintance::Unknown }
    };
    for incarnation in [4, 5] {
        let outcomes = greet(own(A), wanted(B), own(B), [&seen(B, incarnation), &seen(A, incarnation)], 7);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Some(_)))), "{outcomes:?}");
    }
    let accepting = greet(own(A), wanted(B), own(B), [&unknown, &seen(A, 6)], 7);
    let dialing = greet(own(A), wanted(B), own(B), [&seen(B, 6), &unknown], 7);
    for refusal in [refused_by(ACCEPTING, &accepting), refused_by(DIALING, &dialing)] {
        assert_eq!(refusal.reason, RefusalReason::OldIncarnation);
        assert!(refusal.text.contains("started 6 times already, and this one 5 times"), "{refusal}");
    }
    let removed = |_| Acquaintance::Removed;
    let accepting = greet(own(A), wanted(B), own(B), [&unknown, &removed], 7);
    let dialing = greet(own(A), wanted(B), own(B), [&removed, &unknown], 7);
    for refusal in [refused_by(ACCEPTING, &accepting), refused_by(DIALING, &dialing)] {
        assert_eq!(refusal.reason, RefusalReason::Removed);
    }
}

#[test]
fn a_successor_that_came_in_the_meantime_counts() {
    let asked = Cell::new(0);
    let known = |_| {
        asked.set(asked.get() + 1);
        Acquaintance::Seen { incarnation: if asked.get() == 1 { 5 } else { 6 } }
    };
    let refusal = refused_by(ACCEPTING, &greet(own(A), wanted(B), own(B), [&unknown, &known], usize::MAX));
    assert_eq!(refusal.reason, RefusalReason::OldIncarnation);
}

/// A frame of the greeting as a stranger would make it.
fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_short_frame(kind, payload, &mut bytes);
    bytes
}

/// The payload of the only frame in `bytes`.
fn payload(bytes: &[u8]) -> &[u8] {
    &bytes[28..28 + usize::from(bytes[0]) + 256 * usize::from(bytes[1])]
}

/// Dials B as A does, and returns A's side with its greeting.
fn dial() -> (Greeter, Vec<u8>) {
    let mut sent = Vec::new();
    (Greeter::dial(own(A), wanted(B), nonce(), &mut sent), sent)
}

fn feed(greeter: &mut Greeter, mut bytes: &[u8]) -> (Outcome, Vec<u8>) {
    let mut sent = Vec::new();
    let outcome = greeter.feed(&mut bytes, unknown, &mut sent);
    (outcome, sent)
}

fn reason(outcome: &Outcome) -> Option<RefusalReason> {
    match outcome {
        Err(PeerError::Refused(refusal)) => Some(refusal.reason),
        _ => None,
    }
}

#[test]
fn the_dialing_side_refuses_an_answer_that_is_not_of_whom_it_wanted() {
    use RefusalReason::*;
    let greeting = own(B).greeting(Role::Accepts, A, ROUTE, nonce());
    let changed = |change: &dyn Fn(&mut Greeting)| {
        let mut greeting = greeting.clone();
        change(&mut greeting);
        let outcome = feed(&mut dial().0, &frame(Kind::Greeting, &greeting.encode())).0;
        reason(&outcome)
    };
    assert_eq!(changed(&|_| {}), None);
    assert_eq!(changed(&|greeting| greeting.from = C), Some(OtherNode));
    assert_eq!(changed(&|greeting| greeting.to = C), Some(OtherNode));
    assert_eq!(changed(&|greeting| greeting.from = A), Some(OwnNumber));
    assert_eq!(changed(&|greeting| greeting.cluster = [8; 20]), Some(OtherCluster));
    assert_eq!(changed(&|greeting| greeting.incarnation = 0), Some(UnusableIdentity));
    assert_eq!(changed(&|greeting| greeting.has_secret = false), Some(SecretMissing));
    assert_eq!(changed(&|greeting| greeting.lane = 2), Some(UnknownLane));
    assert_eq!(changed(&|greeting| greeting.lane = 9), Some(UnknownLane));
    assert_eq!(changed(&|greeting| greeting.accepting_core = 1), Some(UnknownLane));
    assert_eq!(changed(&|greeting| greeting.core_count = 2), Some(UnknownCore));
    assert_eq!(changed(&|greeting| greeting.versions = Versions { oldest: 3, newest: 3 }), Some(NoCommonVersion));
    assert_eq!(changed(&|greeting| greeting.bounds.message_bytes_max = 1), Some(UnusableBounds));
}

#[test]
fn a_lane_of_a_newer_version_is_refused_by_name() {
    let mut greeting = own(A).greeting(Role::Dials, B, ROUTE, nonce());
    greeting.lane = 9;
    let outcome = feed(&mut Greeter::accept(own(B), nonce()), &frame(Kind::Greeting, &greeting.encode())).0;
    assert_eq!(reason(&outcome), Some(RefusalReason::UnknownLane));
}

#[test]
fn a_recorded_greeting_is_worth_nothing_on_another_connection() {
    let (mut dialing, greeting) = dial();
    let mut accepting = Greeter::accept(own(B), nonce());
    let answer = feed(&mut accepting, &greeting).1;
    let proof = feed(&mut dialing, &answer).1;
    let (outcome, last_proof) = feed(&mut accepting, &proof);
    assert!(matches!(outcome, Ok(Some(_))));

    // All that A has sent, to B again.
    let (outcome, sent) = feed(&mut Greeter::accept(own(B), nonce()), &[greeting.as_slice(), &proof].concat());
    assert_eq!(reason(&outcome), Some(RefusalReason::WrongProof));
    assert!(!sent.windows(last_proof.len()).any(|bytes| bytes == last_proof), "B has proved nothing to a stranger");
    // All that B has sent, to A.
    let (mut again, _) = dial();
    assert_eq!(feed(&mut again, &answer).0, Ok(None));
    assert_eq!(reason(&feed(&mut again, &last_proof).0), Some(RefusalReason::WrongProof));
}

#[test]
fn what_a_node_says_is_worth_nothing_when_it_comes_back() {
    // A's own greeting.
    let (mut dialing, greeting) = dial();
    assert_eq!(reason(&feed(&mut dialing, &greeting).0), Some(RefusalReason::OwnNumber));
    let outcome = feed(&mut Greeter::accept(own(A), nonce()), &greeting).0;
    assert_eq!(reason(&outcome), Some(RefusalReason::OwnNumber));

    // Its proof: a stranger takes B's number and greets with what he needs.
    let (mut dialing, _) = dial();
    let stranger = own(B).greeting(Role::Accepts, A, ROUTE, nonce()).encode();
    let proof = feed(&mut dialing, &frame(Kind::Greeting, &stranger)).1;
    assert_eq!(reason(&feed(&mut dialing, &proof).0), Some(RefusalReason::WrongProof));

    // Two of A's connections, one that it has made and one that it has accepted, played off against each other.
    let (mut dialing, greeting) = dial();
    let mut accepting = Greeter::accept(own(A), nonce());
    let mut stranger = Greeting::decode(payload(&greeting)).unwrap();
    (stranger.from, stranger.to) = (B, A);
    let answer = feed(&mut accepting, &frame(Kind::Greeting, &stranger.encode())).1;
    let mut stranger = Greeting::decode(payload(&answer)).unwrap();
    (stranger.from, stranger.to) = (B, A);
    let proof = feed(&mut dialing, &frame(Kind::Greeting, &stranger.encode())).1;
    assert_eq!(proof[8], Kind::Proof.code());
    assert_eq!(reason(&feed(&mut accepting, &proof).0), Some(RefusalReason::WrongProof));
}

#[test]
fn a_secret_is_not_talked_away() {
    // A stranger in between takes the flag out of both greetings, and both empty proofs with it.
    let (mut dialing, greeting) = dial();
    let mut plain = Greeting::decode(payload(&greeting)).unwrap();
    plain.has_secret = false;
    let outcome = feed(&mut Greeter::accept(own(B), nonce()), &frame(Kind::Greeting, &plain.encode())).0;
    assert_eq!(reason(&outcome), Some(RefusalReason::SecretMissing));
    let answer = own(B).greeting(Role::Accepts, A, ROUTE, nonce()).encode();
    assert_eq!(feed(&mut dialing, &frame(Kind::Greeting, &answer)).0, Ok(None));
    assert_eq!(reason(&feed(&mut dialing, &frame(Kind::Proof, &[])).0), Some(RefusalReason::WrongProof));
    // Without secrets a proof has no bytes.
    let mut accepting = Greeter::accept(Own { secret: None, ..own(B) }, nonce());
    assert_eq!(feed(&mut accepting, &frame(Kind::Greeting, &plain.encode())).0, Ok(None));
    assert_eq!(reason(&feed(&mut accepting, &frame(Kind::Proof, &[0; 32])).0), Some(RefusalReason::WrongProof));
}

#[test]
fn nothing_else_is_accepted_before_the_greeting_is_over() {
    let mut entries = Vec::new();
    let mut outbox = Outbox::new(Lane::Entries, 1, Bounds::default(), usize::MAX);
    outbox.push(GroupNumber(1), RequestId(1), Message::AppendAnswer(crate::peer::AppendAnswer::Success)).unwrap();
    outbox.take(1, &mut entries);
    let (_, greeting) = dial();
    let entries_error = PeerError::WrongLane { kind: Kind::AppendAnswer, lane: None };
    let turn = |kind| PeerError::Malformed { kind, what: "it is not its turn" };
    for (bytes, error) in [
        (entries.clone(), entries_error.clone()),
        ([greeting.as_slice(), &entries].concat(), entries_error),
        (frame(Kind::Proof, &[0; 32]), turn(Kind::Proof)),
        ([greeting.as_slice(), &greeting].concat(), turn(Kind::Greeting)),
        (
            [greeting.as_slice(), &frame(Kind::Proof, &[0; 1025])].concat(),
            PeerError::FrameTooLong { bytes: 1025, bytes_max: 1024 },
        ),
    ] {
        let (outcome, sent) = feed(&mut Greeter::accept(own(B), nonce()), &bytes);
        assert_eq!(outcome, Err(error.clone()));
        // The peer hears why.
        let refusal = Refusal::new(RefusalReason::Protocol, error.to_string());
        let mut text = Vec::new();
        refusal.put(&mut text);
        assert!(sent.ends_with(&text), "{error}");
    }
}

#[test]
fn strangers_are_cut_off_at_once_without_a_word() {
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"PING\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\xff\xff\xff\xff",
        &frame(Kind::Greeting, b"hello, this is no greeting"),
    ] {
        let (outcome, sent) = feed(&mut Greeter::accept(own(B), nonce()), bytes);
        assert_eq!((outcome, sent), (Err(PeerError::NotAPeer), Vec::new()), "{bytes:?}");
        let (outcome, sent) = feed(&mut dial().0, bytes);
        assert_eq!((outcome, sent), (Err(PeerError::NotAPeer), Vec::new()), "{bytes:?}");
    }
    let mut greeter = Greeter::accept(own(B), nonce());
    assert_eq!(feed(&mut greeter, b"GET").0, Ok(None));
    assert_eq!(feed(&mut greeter, b" ").0, Err(PeerError::NotAPeer), "four bytes tell");
}

#[test]
fn a_greeting_ends_within_its_bound_whatever_comes() {
    for first in 0..=u8::MAX {
        let bytes = vec![first; 3 * GREETING_BYTES_MAX];
        for mut greeter in [Greeter::accept(own(B), nonce()), dial().0] {
            let mut input = bytes.as_slice();
            let outcome = greeter.feed(&mut input, unknown, &mut Vec::new());
            assert!(outcome.is_err(), "{first}: {outcome:?}");
            assert!(bytes.len() - input.len() <= GREETING_BYTES_MAX + 28);
        }
    }
}

#[test]
fn bytes_behind_the_greeting_are_left_to_the_decoder() {
    let (mut dialing, greeting) = dial();
    let mut accepting = Greeter::accept(own(B), nonce());
    let proof = feed(&mut dialing, &feed(&mut accepting, &greeting).1).1;
    let mut last = feed(&mut accepting, &proof).1;
    last.extend_from_slice(b"frames");
    let mut input = last.as_slice();
    assert!(matches!(dialing.feed(&mut input, unknown, &mut Vec::new()), Ok(Some(_))));
    assert_eq!(input, b"frames");
}

#[test]
fn a_newer_program_talks_to_this_one_in_its_version() {
    let newer = |node| Own { versions: Versions { oldest: 2, newest: 3 }, ..own(node) };
    for [dialing, accepting] in [greet_as(newer(A), wanted(B), own(B)), greet_as(own(A), wanted(B), newer(B))] {
        for outcome in [dialing, accepting] {
            assert_eq!(outcome.unwrap().unwrap().version, 2);
        }
    }
    for outcome in greet_as(newer(A), wanted(B), newer(B)) {
        assert_eq!(outcome.unwrap().unwrap().version, 3);
    }
    // Its greeting is longer, and the proof is of all of it.
    let longer = [own(A).greeting(Role::Dials, B, ROUTE, nonce()).encode().as_slice(), b"more"].concat();
    for (proven, is_taken) in [(longer.as_slice(), true), (&longer[..longer.len() - 4], false)] {
        let mut accepting = Greeter::accept(own(B), nonce());
        let answer = feed(&mut accepting, &frame(Kind::Greeting, &longer)).1;
        let secret = own(A).secret.unwrap();
        let proof = secret.prove(Role::Dials, proven, payload(&answer));
        assert_eq!(matches!(feed(&mut accepting, &frame(Kind::Proof, &proof)).0, Ok(Some(_))), is_taken);
    }
}

#[test]
#[should_panic(expected = "a greeting that is over takes no bytes")]
fn a_greeting_that_has_failed_takes_no_more() {
    let mut greeter = Greeter::accept(own(B), nonce());
    assert!(feed(&mut greeter, b"GET ").0.is_err());
    let _ = feed(&mut greeter, b"/");
}
