//! Messages for tests: one of each kind with pinned values, and arbitrary ones.

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

pub(super) const LANES: [Lane; 4] = [Lane::Entries, Lane::Votes, Lane::Snapshots, Lane::Published];

/// A message with the group and request of its frames.
pub(super) type Sent = (GroupNumber, RequestId, Message);

pub(super) fn vote(term: u64, node: u64, is_committed: bool) -> Vote {
    Vote { term, node: NodeNumber(node), is_committed }
}

/// One message of each kind, and of each outcome of those that have several.
pub(super) fn one_of_each() -> Vec<(Lane, Message)> {
    let id = |term, index| Some(LogId { term, index });
    let record = |index, term, body: &'static [u8]| Record { index, term, body: Bytes::from_static(body) };
    let entries = vec![record(8, 3, b"first"), record(9, 3, b""), record(10, 5, b"third")];
    let append =
        |entries| AppendEntries { vote: vote(5, 0xa1, true), previous: id(3, 7), committed: id(2, 6), entries };
    let request = VoteRequest { vote: vote(6, 0xb2, false), last: id(5, 10), is_transfer: true };
    let answer = VoteAnswer { vote: vote(6, 0xb2, false), last: None, is_granted: true };
    let heartbeat =
        Heartbeat { group: GroupNumber(4), vote: vote(5, 0xa1, true), matching: id(3, 9), committed: id(3, 8) };
    let position = SnapshotPosition { file: 2, offset: 0x1_0000_0001 };
    let file = |name: &str, bytes, crc32c| SnapshotFile { name: name.to_owned(), bytes, crc32c };
    let begin = SnapshotBegin {
        vote: vote(5, 0xa1, true),
        checkpoint: 0xc0ffee,
        meta: Bytes::from_static(b"meta"),
        files: vec![file("000012.sst", 64 << 20, 0xe306_9283), file("CURRENT", 16, 1)],
    };
    let published = |channel: &'static str, message: &'static str| PublishedMessage {
        channel: Bytes::from_static(channel.as_bytes()),
        message: Bytes::from_static(message.as_bytes()),
    };
    vec![
        (Lane::Votes, Message::Refusal(Refusal::new(RefusalReason::Closing, "bye"))),
        (Lane::Votes, Message::Unable(Unable::new(UnableReason::Opening, "soon"))),
        (Lane::Entries, Message::Unable(Unable { core: 2, ..Unable::new(UnableReason::OtherCore, "there") })),
        (Lane::Entries, Message::AppendEntries(append(entries))),
        (Lane::Entries, Message::AppendEntries(append(Vec::new()))),
        (Lane::Entries, Message::AppendEntriesTo(NodeNumber(0xe5), append(vec![record(8, 3, b"first")]))),
        (Lane::Entries, Message::AppendAnswer(AppendAnswer::Success)),
        (Lane::Entries, Message::AppendAnswer(AppendAnswer::PartialSuccess(id(3, 9)))),
        (Lane::Entries, Message::AppendAnswer(AppendAnswer::PartialSuccess(None))),
        (Lane::Entries, Message::AppendAnswer(AppendAnswer::Conflict)),
        (Lane::Entries, Message::AppendAnswer(AppendAnswer::HigherVote(vote(6, 0xb2, true)))),
        (Lane::Votes, Message::Vote(request)),
        (Lane::Votes, Message::VoteTo(NodeNumber(0xe5), request)),
        (Lane::Votes, Message::VoteAnswer(answer)),
        (Lane::Votes, Message::PreVote(request)),
        (Lane::Votes, Message::PreVoteTo(NodeNumber(0xe5), request)),
        (Lane::Votes, Message::PreVoteAnswer(answer)),
        (
            Lane::Votes,
            Message::TransferLeader(TransferLeader {
                from: vote(5, 0xa1, true),
                to: NodeNumber(0xb2),
                last: id(5, 10),
            }),
        ),
        (Lane::Votes, Message::TransferAnswer(TransferAnswer::Accepted)),
        (Lane::Votes, Message::TransferAnswer(TransferAnswer::VoteChanged(vote(6, 0xb2, true)))),
        (Lane::Votes, Message::TransferAnswer(TransferAnswer::NotFlushed(id(5, 9)))),
        (Lane::Votes, Message::Heartbeats(vec![heartbeat])),
        (Lane::Votes, Message::HeartbeatsTo(vec![(NodeNumber(0xe5), heartbeat)])),
        (
            Lane::Votes,
            Message::HeartbeatAnswers(vec![HeartbeatAnswer { group: GroupNumber(4), answer: AppendAnswer::Conflict }]),
        ),
        (Lane::Votes, Message::ReadIndex),
        (Lane::Votes, Message::ReadIndexAnswer(ReadIndexAnswer::At(id(5, 10)))),
        (Lane::Votes, Message::ReadIndexAnswer(ReadIndexAnswer::NotLeader(Some(NodeNumber(0xb2))))),
        (Lane::Votes, Message::Replica(Replica { node: NodeNumber(0xb2), number: 0xc3 })),
        (Lane::Votes, Message::ReplicaAnswer(ReplicaAnswer { number: 0xd4, is_out: true })),
        (Lane::Votes, Message::GoesOn(NodeNumber(0xb2))),
        (Lane::Votes, Message::GoesOnAnswer(true)),
        (Lane::Snapshots, Message::SnapshotBegin(begin.clone())),
        (Lane::Snapshots, Message::SnapshotBeginTo(NodeNumber(0xe5), begin)),
        (Lane::Snapshots, Message::SnapshotResume(position)),
        (Lane::Snapshots, Message::SnapshotPiece(SnapshotPiece { position, bytes: Bytes::from_static(b"rows") })),
        (Lane::Snapshots, Message::SnapshotAck(position)),
        (Lane::Snapshots, Message::SnapshotEnd),
        (Lane::Snapshots, Message::SnapshotAnswer(vote(5, 0xa1, true))),
        (Lane::Published, Message::Publish(vec![published("news", "hello"), published("x", "")])),
        (Lane::Published, Message::Publish(Vec::new())),
        (Lane::Published, Message::PublishAnswer(true)),
    ]
}

/// The group that frames of a kind have in tests.
pub(super) fn group_of(kind: Kind, group: u64) -> GroupNumber {
    [GroupNumber(group), GroupNumber::NONE].into_iter().find(|&group| kind.may_be_of(group)).unwrap()
}

fn any_vote() -> impl Strategy<Value = Vote> + Clone {
    (0..1_u64 << 63, any::<u64>(), any::<bool>()).prop_map(|(term, node, is_committed)| vote(term, node, is_committed))
}

fn any_id() -> impl Strategy<Value = Option<LogId>> + Clone {
    option::of((0..1_u64 << 63, 0..1_u64 << 63).prop_map(|(term, index)| LogId { term, index }))
}

fn any_body(bytes_max: usize) -> impl Strategy<Value = Bytes> {
    (0..=bytes_max, any::<u8>()).prop_map(|(bytes, first)| (0..bytes).map(|at| first.wrapping_add(at as u8)).collect())
}

fn any_append(body_bytes_max: usize) -> impl Strategy<Value = AppendEntries> {
    let previous = option::of((0..1_u64 << 62, 0..1_u64 << 63).prop_map(|(term, index)| LogId { term, index }));
    let entries = vec((0..3_u64, any_body(body_bytes_max)), 0..12);
    (any_vote(), previous, any_id(), entries).prop_map(|(vote, previous, committed, steps)| {
        let mut term = previous.map_or(0, |id| id.term);
        let first = previous.map_or(0, |id| id.index + 1);
        let entries = steps.into_iter().zip(first..).map(|((step, body), index)| {
            term += step;
            Record { index, term, body }
        });
        AppendEntries { vote, previous, committed, entries: entries.collect() }
    })
}

fn any_append_answer() -> impl Strategy<Value = AppendAnswer> {
    prop_oneof![
        Just(AppendAnswer::Success),
        any_id().prop_map(AppendAnswer::PartialSuccess),
        Just(AppendAnswer::Conflict),
        any_vote().prop_map(AppendAnswer::HigherVote),
    ]
}

fn any_reason() -> impl Strategy<Value = Message> {
    prop_oneof![
        (select(RefusalReason::ALL), "[ -~ä]{0,80}")
            .prop_map(|(reason, text)| Message::Refusal(Refusal { reason, text })),
        (select(UnableReason::ALL), any::<u16>(), "[ -~ä]{0,80}").prop_map(|(reason, core, text)| {
            let names_a_core = matches!(reason, UnableReason::OtherCore | UnableReason::Other);
            Message::Unable(Unable { reason, core: if names_a_core { core } else { 0 }, text })
        }),
    ]
}

fn any_group() -> impl Strategy<Value = GroupNumber> {
    (0..1_u64 << 63).prop_map(GroupNumber)
}

fn any_of_votes() -> impl Strategy<Value = Message> {
    let request = (any_vote(), any_id(), any::<bool>());
    let request = request.prop_map(|(vote, last, is_transfer)| VoteRequest { vote, last, is_transfer });
    let answer = (any_vote(), any_id(), any::<bool>());
    let answer = answer.prop_map(|(vote, last, is_granted)| VoteAnswer { vote, last, is_granted });
    let heartbeat = (any_group(), any_vote(), any_id(), any_id());
    let heartbeat =
        heartbeat.prop_map(|(group, vote, matching, committed)| Heartbeat { group, vote, matching, committed });
    let beat_answer = (any_group(), any_append_answer()).prop_map(|(group, answer)| HeartbeatAnswer { group, answer });
    let leader = option::of((1..=u64::MAX).prop_map(NodeNumber));
    prop_oneof![
        request.clone().prop_map(Message::Vote),
        request.prop_map(Message::PreVote),
        answer.clone().prop_map(Message::VoteAnswer),
        answer.prop_map(Message::PreVoteAnswer),
        (any_vote(), any::<u64>(), any_id()).prop_map(|(from, to, last)| {
            Message::TransferLeader(TransferLeader { from, to: NodeNumber(to), last })
        }),
        prop_oneof![
            Just(TransferAnswer::Accepted),
            any_vote().prop_map(TransferAnswer::VoteChanged),
            any_id().prop_map(TransferAnswer::NotFlushed),
        ]
        .prop_map(Message::TransferAnswer),
        vec(heartbeat, 0..40).prop_map(Message::Heartbeats),
        vec(beat_answer, 0..40).prop_map(Message::HeartbeatAnswers),
        Just(Message::ReadIndex),
        any_id().prop_map(|id| Message::ReadIndexAnswer(ReadIndexAnswer::At(id))),
        leader.prop_map(|leader| Message::ReadIndexAnswer(ReadIndexAnswer::NotLeader(leader))),
        (any::<u64>(), any::<u64>())
            .prop_map(|(node, number)| Message::Replica(Replica { node: NodeNumber(node), number })),
        (any::<u64>(), any::<bool>())
            .prop_map(|(number, is_out)| Message::ReplicaAnswer(ReplicaAnswer { number, is_out })),
        any::<u64>().prop_map(|without| Message::GoesOn(NodeNumber(without))),
        any::<bool>().prop_map(Message::GoesOnAnswer),
    ]
}

fn any_of_snapshots(body_bytes_max: usize) -> impl Strategy<Value = Message> {
    let position = (any::<u32>(), 0..u64::MAX - (1 << 20));
    let position = position.prop_map(|(file, offset)| SnapshotPosition { file, offset });
    let files = btree_map("[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", (0..1_u64 << 40, any::<u32>()), 0..20);
    let files = files.prop_map(|files| {
        files.into_iter().map(|(name, (bytes, crc32c))| SnapshotFile { name, bytes, crc32c }).collect()
    });
    let begin = (any_vote(), any::<u64>(), any_body(200), files);
    let piece = (position.clone(), any_body(body_bytes_max)).prop_filter("a piece has bytes", |(_, b)| !b.is_empty());
    prop_oneof![
        begin.prop_map(|(vote, checkpoint, meta, files)| {
            Message::SnapshotBegin(SnapshotBegin { vote, checkpoint, meta, files })
        }),
        position.clone().prop_map(Message::SnapshotResume),
        position.prop_map(Message::SnapshotAck),
        piece.prop_map(|(position, bytes)| Message::SnapshotPiece(SnapshotPiece { position, bytes })),
        Just(Message::SnapshotEnd),
        any_vote().prop_map(Message::SnapshotAnswer),
    ]
}

fn any_of_published(body_bytes_max: usize) -> impl Strategy<Value = Message> {
    let published = (any_body(20), any_body(body_bytes_max));
    let published = published.prop_map(|(channel, message)| PublishedMessage { channel, message });
    prop_oneof![
        3 => vec(published, 0..12).prop_map(Message::Publish),
        1 => any::<bool>().prop_map(Message::PublishAnswer),
    ]
}

/// Any message of a lane; those with bodies have up to `body_bytes_max` bytes in each. Some name the member that they are for.
pub(super) fn any_message(lane: Lane, body_bytes_max: usize) -> BoxedStrategy<Message> {
    let message = any_nameless(lane, body_bytes_max);
    let to = option::of(any::<u64>().prop_map(NodeNumber));
    (message, to).prop_map(|(message, to)| if let Some(to) = to { message.for_member(to) } else { message }).boxed()
}

fn any_nameless(lane: Lane, body_bytes_max: usize) -> BoxedStrategy<Message> {
    let own = match lane {
        Lane::Entries => prop_oneof![
            3 => any_append(body_bytes_max).prop_map(Message::AppendEntries),
            1 => any_append_answer().prop_map(Message::AppendAnswer),
        ]
        .boxed(),
        Lane::Votes => any_of_votes().boxed(),
        Lane::Snapshots => any_of_snapshots(body_bytes_max).boxed(),
        Lane::Published => any_of_published(body_bytes_max).boxed(),
        // It has no frames of its own.
        Lane::Clients => any_reason().boxed(),
    };
    prop_oneof![8 => own, 1 => any_reason()].boxed()
}

/// A lane and some messages of it, of a few groups.
pub(super) fn any_sent(body_bytes_max: usize) -> impl Strategy<Value = (Lane, Vec<Sent>)> {
    select(LANES.as_slice()).prop_flat_map(move |lane| {
        let sent = (0..4_u64, any::<u64>(), any_message(lane, body_bytes_max))
            .prop_map(|(group, request, message)| (group_of(message.kind(), group), RequestId(request), message));
        (Just(lane), vec(sent, 0..12))
    })
}

/// The frames of all messages, in the order in which an outbox sends them.
pub(super) fn stream_of(lane: Lane, sent: Vec<Sent>) -> Vec<u8> {
    let mut outbox = Outbox::new(lane, Versions::OWN.newest, Bounds::default(), usize::MAX);
    for (group, request, message) in sent {
        outbox.push(group, request, message).unwrap();
    }
    let mut stream = Vec::new();
    outbox.take(usize::MAX, &mut stream);
    assert!(outbox.is_empty());
    stream
}

/// All messages of a stream that comes in `pieces`, and the error that ends it.
pub(super) fn decode<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Sent>, Option<PeerError>) {
    let mut received = Vec::new();
    for mut piece in pieces {
        loop {
            match decoder.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let (group, request) = (frame.group, frame.request);
                    match frame.message() {
                        Ok(message) => received.push((group, request, message)),
                        Err(error) => return (received, Some(error)),
                    }
                }
                Err(error) => return (received, Some(error)),
            }
        }
        assert!(piece.is_empty(), "a decoder leaves no bytes");
    }
    (received, None)
}
