//! Messages through an outbox, as bytes, and out of a decoder.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::frame::{HEADER_BYTES, PAYLOAD_BYTES, PIECE_BYTES};
use super::samples::{any_sent, decode, group_of, one_of_each, stream_of, vote};
use super::*;
use crate::limits::FRAME_BYTES_MAX;

const BOUNDS: Bounds = Bounds { message_bytes_max: 4 << 20, joined_bytes_max: 8 << 20 };

fn decoder(lane: Lane) -> Decoder {
    Decoder::new(lane, Versions::OWN.newest, Bounds::default())
}

/// Messages of a kind and group, which keep their order.
fn by_queue(sent: &[samples::Sent]) -> HashMap<(Kind, GroupNumber), Vec<samples::Sent>> {
    let mut queues: HashMap<_, Vec<samples::Sent>> = HashMap::new();
    for sent in sent {
        queues.entry((sent.2.kind(), sent.0)).or_default().push(sent.clone());
    }
    queues
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_message_comes_as_it_was_sent_in_the_order_of_its_kind_and_group((lane, sent) in any_sent(300)) {
        let stream = stream_of(lane, sent.clone());
        let (received, error) = decode(&mut decoder(lane), [stream.as_slice()]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(received.len(), sent.len());
        prop_assert_eq!(by_queue(&received), by_queue(&sent));
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_messages((lane, sent) in any_sent(300), cuts in vec(any::<Index>(), 0..20)) {
        let stream = stream_of(lane, sent);
        let whole = decode(&mut decoder(lane), [stream.as_slice()]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
        prop_assert_eq!(&decode(&mut decoder(lane), pieces), &whole);
        prop_assert_eq!(&decode(&mut decoder(lane), stream.chunks(1)), &whole);
    }

    #[test]
    fn a_damaged_byte_is_an_error_and_nothing_behind_it_is_taken(
        (lane, sent) in any_sent(300),
        at in any::<Index>(),
        damage in 1..=u8::MAX,
    ) {
        let mut stream = stream_of(lane, sent);
        prop_assume!(!stream.is_empty());
        let (before, _) = decode(&mut decoder(lane), [stream.as_slice()]);
        let at = at.index(stream.len());
        stream[at] ^= damage;
        let mut decoder = decoder(lane);
        let (received, error) = decode(&mut decoder, [stream.as_slice()]);
        // A length that has grown waits for bytes that never come.
        prop_assert!(error.is_some() || decoder.is_within_message());
        prop_assert!(received.len() < before.len());
        prop_assert_eq!(&received[..], &before[..received.len()]);
    }

    #[test]
    fn random_bytes_neither_panic_nor_take_memory(bytes in vec(any::<u8>(), 0..600), lane in 0..3_usize) {
        let mut decoder = decoder(samples::LANES[lane]);
        decode(&mut decoder, [bytes.as_slice()]);
        prop_assert!(decoder.kept_bytes() <= FRAME_BYTES_MAX);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn long_messages_come_in_pieces_however_they_are_cut((lane, sent) in any_sent(150_000), chunk in 1..40_000_usize) {
        let stream = stream_of(lane, sent.clone());
        let mut decoder = decoder(lane);
        let (received, error) = decode(&mut decoder, stream.chunks(chunk));
        prop_assert_eq!(error, None);
        prop_assert_eq!(by_queue(&received), by_queue(&sent));
        prop_assert_eq!(decoder.kept_bytes(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_peer_that_joins_one_message_at_a_time_gets_them_all(
        steps in vec((0..5_u64, prop_oneof![1..200_usize, 60_000..70_000_usize, 1_usize << 20..3 << 20], 0..900_000_usize), 1..25),
    ) {
        let bounds = Bounds { message_bytes_max: 4 << 20, joined_bytes_max: 4 << 20 };
        let mut outbox = Outbox::new(Lane::Entries, 1, bounds, usize::MAX);
        let mut decoder = Decoder::new(Lane::Entries, 1, bounds);
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        let mut step = |outbox: &mut Outbox, taken_bytes| {
            let mut output = Vec::new();
            outbox.take(taken_bytes, &mut output);
            assert!(output.len() < taken_bytes.saturating_add(FRAME_BYTES_MAX));
            let (messages, error) = decode(&mut decoder, [output.as_slice()]);
            received.extend(messages);
            error
        };
        for (group, bytes, taken_bytes) in steps {
            push(&mut outbox, group, entries(bytes)).unwrap();
            sent.push((GroupNumber(group), RequestId(group), entries(bytes)));
            prop_assert_eq!(step(&mut outbox, taken_bytes), None);
        }
        prop_assert_eq!(step(&mut outbox, usize::MAX), None);
        prop_assert!(outbox.is_empty());
        prop_assert!(by_queue(&received) == by_queue(&sent));
    }
}

fn entries(bytes: usize) -> Message {
    let body = Bytes::from(vec![7; bytes]);
    let entries = vec![Record { index: 0, term: 1, body }];
    Message::AppendEntries(AppendEntries { vote: vote(1, 1, true), previous: None, committed: None, entries })
}

fn push(outbox: &mut Outbox, group: u64, message: Message) -> Result<(), PushError> {
    outbox.push(GroupNumber(group), RequestId(group), message)
}

#[test]
fn a_short_entry_and_an_answer_pass_a_long_entry_of_another_group() {
    let mut outbox = Outbox::new(Lane::Entries, 1, BOUNDS, usize::MAX);
    push(&mut outbox, 1, entries(3 << 20)).unwrap();
    let mut stream = Vec::new();
    assert_eq!(outbox.take(1, &mut stream), FRAME_BYTES_MAX, "a frame of the long one is on its way");
    push(&mut outbox, 2, entries(10)).unwrap();
    push(&mut outbox, 3, entries(200_000)).unwrap();
    push(&mut outbox, 1, Message::AppendAnswer(AppendAnswer::Success)).unwrap();
    push(&mut outbox, 1, entries(11)).unwrap();
    outbox.take(usize::MAX, &mut stream);
    let (received, error) = decode(&mut decoder(Lane::Entries), stream.chunks(16 << 10));
    assert_eq!(error, None);
    let order: Vec<(u64, Kind)> = received.iter().map(|(group, _, message)| (group.0, message.kind())).collect();
    let (append, answer) = (Kind::AppendEntries, Kind::AppendAnswer);
    assert_eq!(order, [(1, answer), (2, append), (3, append), (1, append), (1, append)]);
    assert_eq!(received[4].2, entries(11), "a group's own entries keep their order");
}

#[test]
fn a_frame_is_never_longer_than_the_bound_and_a_take_ends_with_one() {
    let mut outbox = Outbox::new(Lane::Entries, 1, BOUNDS, usize::MAX);
    for bytes in [PAYLOAD_BYTES - 67, PAYLOAD_BYTES - 66, 1] {
        push(&mut outbox, 1, entries(bytes)).unwrap();
    }
    let mut takes = Vec::new();
    let mut output = Vec::new();
    while !outbox.is_empty() {
        takes.push(outbox.take(1, &mut output));
    }
    // Vote, two log ids, count and a row of the table are 67 bytes.
    let rest = HEADER_BYTES + PIECE_BYTES + PIECE_BYTES + 1;
    assert_eq!(takes, [FRAME_BYTES_MAX, FRAME_BYTES_MAX, rest, HEADER_BYTES + 68]);
    assert_eq!(decode(&mut decoder(Lane::Entries), [output.as_slice()]).0.len(), 3);
}

#[test]
fn no_more_long_messages_are_begun_than_the_peer_joins() {
    let mut outbox = Outbox::new(Lane::Entries, 1, BOUNDS, usize::MAX);
    // Two fit, the third waits; the fourth would fit and must not overtake it for ever.
    let sizes = [3 << 20, 3 << 20, 3 << 20, 100_000, 10];
    for (group, bytes) in sizes.into_iter().enumerate() {
        push(&mut outbox, group as u64, entries(bytes)).unwrap();
    }
    let mut decoder = Decoder::new(Lane::Entries, 1, BOUNDS);
    let mut order = Vec::new();
    while !outbox.is_empty() {
        let mut output = Vec::new();
        outbox.take(1, &mut output);
        let (received, error) = decode(&mut decoder, [output.as_slice()]);
        assert_eq!(error, None);
        assert!(decoder.kept_bytes() <= 8 << 20);
        order.extend(received.iter().map(|(group, ..)| group.0));
    }
    assert_eq!(order, [4, 0, 1, 3, 2]);
    assert_eq!(decoder.kept_bytes(), 0);
}

#[test]
fn a_full_queue_says_so_and_stays_as_it_was() {
    let mut outbox = Outbox::new(Lane::Entries, 1, BOUNDS, 0);
    let mut count = 0;
    let full = loop {
        let before = outbox.queued_bytes();
        match push(&mut outbox, 1, entries(1 << 20)) {
            Ok(()) => count += 1,
            Err(error) => {
                assert_eq!(outbox.queued_bytes(), before);
                break error;
            }
        }
        assert!(count < 100, "the queue has a bound");
    };
    assert!(matches!(full, PushError::Full { bytes_max, .. } if bytes_max == 8 << 20), "{full}");
    assert_eq!(count, 7);
    // Many small ones count with the memory that they take.
    let mut outbox = Outbox::new(Lane::Entries, 1, BOUNDS, 0);
    let pushed = (0..u64::MAX)
        .take_while(|&group| push(&mut outbox, group, Message::AppendAnswer(AppendAnswer::Success)).is_ok());
    assert!(pushed.count() < (8 << 20) / 100);
}

#[test]
fn messages_that_the_peer_would_refuse_are_not_queued() {
    let mut outbox = Outbox::new(Lane::Entries, 1, BOUNDS, usize::MAX);
    let hole = |indexes: [u64; 2], terms: [u64; 2]| {
        let entries = indexes.into_iter().zip(terms).map(|(index, term)| Record { index, term, body: Bytes::new() });
        Message::AppendEntries(AppendEntries {
            vote: vote(1, 1, true),
            previous: Some(LogId { term: 2, index: 4 }),
            committed: None,
            entries: entries.collect(),
        })
    };
    assert!(push(&mut outbox, 1, hole([5, 6], [2, 3])).is_ok());
    for (indexes, terms) in [([6, 7], [2, 2]), ([5, 7], [2, 2]), ([5, 5], [2, 2]), ([5, 6], [1, 2]), ([5, 6], [3, 2])] {
        let error = push(&mut outbox, 1, hole(indexes, terms)).unwrap_err();
        assert!(matches!(error, PushError::Hole { .. }), "{indexes:?} {terms:?}: {error}");
    }
    let error = push(&mut outbox, 1, entries(4 << 20)).unwrap_err();
    assert!(matches!(error, PushError::TooLong { .. }), "{error}");
    let error = push(&mut outbox, 1, Message::ReadIndex).unwrap_err();
    assert!(matches!(error, PushError::WrongLane { .. }), "{error}");
    for group in [1 << 63, u64::MAX] {
        let error = push(&mut outbox, group, Message::AppendAnswer(AppendAnswer::Success)).unwrap_err();
        assert!(matches!(error, PushError::WrongGroup { .. }), "{error}");
    }
    let mut votes = Outbox::new(Lane::Votes, 1, BOUNDS, usize::MAX);
    let beat = Heartbeat { group: GroupNumber(1), vote: vote(1, 1, true), matching: None, committed: None };
    let beats = |count| Message::Heartbeats(vec![beat; count]);
    assert!(votes.push(GroupNumber::NONE, RequestId(1), beats(Heartbeat::COUNT_MAX)).is_ok());
    let error = votes.push(GroupNumber::NONE, RequestId(1), beats(Heartbeat::COUNT_MAX + 1)).unwrap_err();
    assert!(matches!(error, PushError::TooMany { .. }), "{error}");
    let mut old = Outbox::new(Lane::Votes, 0, BOUNDS, usize::MAX);
    let error = push(&mut old, 1, Message::ReadIndex).unwrap_err();
    assert_eq!(error, PushError::UnknownKind { kind: Kind::ReadIndex, version: 0 });
}

#[test]
fn bounds_under_which_a_message_could_never_begin_are_not_believed() {
    let bounds = Bounds { message_bytes_max: 4 << 20, joined_bytes_max: 1 << 20 };
    let mut outbox = Outbox::new(Lane::Entries, 1, bounds, usize::MAX);
    assert!(matches!(push(&mut outbox, 1, entries(2 << 20)), Err(PushError::TooLong { .. })));
    push(&mut outbox, 1, entries(1 << 19)).unwrap();
    outbox.take(usize::MAX, &mut Vec::new());
    assert!(outbox.is_empty());
}

#[test]
fn each_kind_goes_through_and_none_is_forgotten() {
    let mut kinds: Vec<u8> = Vec::new();
    for (lane, message) in one_of_each() {
        let sent = (group_of(message.kind(), 3), RequestId(8), message);
        kinds.push(sent.2.kind().code());
        let stream = stream_of(lane, vec![sent.clone()]);
        assert_eq!(decode(&mut decoder(lane), stream.chunks(7)), (vec![sent], None));
    }
    kinds.extend([Kind::Greeting.code(), Kind::Proof.code()]);
    kinds.sort_unstable();
    kinds.dedup();
    let all: Vec<u8> = (0..=u8::MAX).filter(|&code| Kind::of(code, u16::MAX).is_some()).collect();
    assert_eq!(kinds, all);
}
