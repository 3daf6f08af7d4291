//! Messages that go to plain values and come back, and those that are none.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, VoteRequest, VoteResponse};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::entry::{encode_entry, encode_snapshot_meta, new_batch};
use crate::error::MessageError;
use crate::ids::PeerAddress;
use crate::types::{Entry, EntryPayload, LogId, Membership, StoredMembership, Vote, log_id};

const END: u64 = 1 << 63;

fn any_vote() -> impl Strategy<Value = Vote> {
    (0..END, any::<u64>(), any::<bool>()).prop_map(|(term, node, is_committed)| match is_committed {
        true => Vote::new_committed(term, NodeId(node)),
        false => Vote::new(term, NodeId(node)),
    })
}

fn any_log_id() -> impl Strategy<Value = Option<LogId>> {
    option::of((0..END, 0..END).prop_map(|(term, index)| log_id(term, index)))
}

fn any_entry_id() -> impl Strategy<Value = Option<EntryId>> {
    option::of((0..END, 0..END).prop_map(|(term, index)| EntryId { term, index }))
}

fn any_membership() -> impl Strategy<Value = Membership> {
    (vec(vec(0_u64..9, 1..4), 1..3), vec("[a-z0-9.:]{0,20}", 9)).prop_map(|(configs, addresses)| {
        let configs = configs.into_iter().map(|voters| voters.into_iter().map(NodeId).collect::<BTreeSet<_>>());
        let addresses: BTreeMap<_, _> = (0..9).map(NodeId).zip(addresses.into_iter().map(PeerAddress)).collect();
        Membership::new(configs.collect(), addresses).unwrap()
    })
}

fn any_payload() -> impl Strategy<Value = EntryPayload> {
    prop_oneof![
        Just(EntryPayload::Blank),
        vec(any::<u8>(), 0..40).prop_map(|commands| EntryPayload::Normal(new_batch(&commands))),
        any_membership().prop_map(EntryPayload::Membership),
    ]
}

/// A leader's message as it may be.
fn any_append() -> impl Strategy<Value = Append> {
    let before = option::of((0..1_u64 << 40, 0..1_u64 << 40).prop_map(|(term, index)| EntryId { term, index }));
    let entries = vec((0..3_u64, any_payload()), 0..8);
    (before, entries, any_entry_id(), 0..9_u64, any::<u64>()).prop_map(|(previous, entries, committed, later, node)| {
        let mut place = previous;
        let records = entries.into_iter().map(|(terms, payload)| {
            let (term, index) = place.map_or((0, 0), |before| (before.term, before.index + 1));
            let entry = EntryId { term: term + terms, index };
            place = Some(entry);
            encode_entry(&Entry::new(log_id(entry.term, entry.index), payload))
        });
        let records = records.collect();
        let term = place.map_or(0, |last| last.term) + later;
        Append { vote: VoteParts { term, node: NodeId(node), is_committed: true }, previous, committed, records }
    })
}

/// Something that may be wrong with a message.
#[derive(Debug, Clone)]
enum Change {
    Byte(Index, Index, u8),
    Cut(Index, Index),
    Index(Index, u64),
    Term(Index, u64),
    Drop(Index),
    Previous(Option<EntryId>),
    Vote(u64, bool),
}

fn any_change() -> impl Strategy<Value = Change> {
    let number = || prop_oneof![0..4_u64, END - 2..END + 2, any::<u64>(), Just(u64::MAX)];
    let entry_id = (number(), number()).prop_map(|(term, index)| EntryId { term, index });
    prop_oneof![
        (any::<Index>(), any::<Index>(), any::<u8>()).prop_map(|(at, byte, to)| Change::Byte(at, byte, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, length)| Change::Cut(at, length)),
        (any::<Index>(), number()).prop_map(|(at, to)| Change::Index(at, to)),
        (any::<Index>(), number()).prop_map(|(at, to)| Change::Term(at, to)),
        any::<Index>().prop_map(Change::Drop),
        option::of(entry_id).prop_map(Change::Previous),
        (number(), any::<bool>()).prop_map(|(term, is_committed)| Change::Vote(term, is_committed)),
    ]
}

fn change(append: &mut Append, change: Change) {
    let count = append.records.len();
    match change {
        Change::Previous(to) => append.previous = to,
        Change::Vote(term, is_committed) => (append.vote.term, append.vote.is_committed) = (term, is_committed),
        _ if count == 0 => {}
        Change::Byte(at, byte, to) => {
            let record = &mut append.records[at.index(count)];
            let mut body = record.body.to_vec();
            if !body.is_empty() {
                let byte = byte.index(body.len());
                body[byte] = to;
            }
            record.body = body.into();
        }
        Change::Cut(at, length) => {
            let record = &mut append.records[at.index(count)];
            record.body.truncate(length.index(record.body.len() + 1));
        }
        Change::Index(at, to) => append.records[at.index(count)].index = to,
        Change::Term(at, to) => append.records[at.index(count)].term = to,
        Change::Drop(at) => drop(append.records.remove(at.index(count))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn entries_come_back_as_they_were(append in any_append()) {
        let request = append.clone().into_request().unwrap();
        prop_assert_eq!(request.entries.len(), append.records.len());
        prop_assert_eq!(request.entries.last().map(|entry| entry.log_id()).or(request.prev_log_id),
            append.last().map(|last| log_id(last.term, last.index)));
        prop_assert_eq!(Append::of(request), append);
    }

    /// It may be taken as it stands: all that openraft relies on is true of it.
    #[test]
    fn entries_that_were_changed_are_refused_or_can_still_be_entries(
        append in any_append(),
        changes in vec(any_change(), 1..3),
    ) {
        let mut append = append;
        changes.into_iter().for_each(|one| change(&mut append, one));
        if let Ok(request) = append.clone().into_request() {
            prop_assert!(request.vote.is_committed() && request.vote.leader_id().term < END);
            let mut before = request.prev_log_id;
            for entry in &request.entries {
                prop_assert_eq!(entry.index(), before.map_or(0, |before| before.index() + 1));
                prop_assert!(entry.index() < END && before.is_none_or(|before| before <= entry.log_id()));
                prop_assert!(**entry.log_id().committed_leader_id() <= request.vote.leader_id().term);
                before = Some(entry.log_id());
            }
            prop_assert_eq!(Append::of(request), append);
        }
    }

    #[test]
    fn answers_to_entries_come_back_as_they_were(
        vote in any_vote(),
        bounds in (any_log_id(), any_log_id(), any_log_id()),
    ) {
        let mut bounds = <[_; 3]>::from(bounds);
        bounds.sort();
        let [previous, upto, last] = bounds;
        let plain = |id: Option<LogId>| id.map(|id| EntryId { term: **id.committed_leader_id(), index: id.index() });
        let (before, end) = (plain(previous), plain(last));
        for response in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(upto),
            AppendEntriesResponse::HigherVote(vote),
        ] {
            let answer = AppendAnswer::of(response.clone());
            prop_assert_eq!(answer.into_response(before, end), Ok(response));
        }
        let conflict = AppendAnswer::of(AppendEntriesResponse::Conflict);
        prop_assert_eq!(conflict.into_response(before, end).is_ok(), before.is_some());
    }

    #[test]
    fn votes_come_back_as_they_were(vote in any_vote(), last in any_log_id(), flag in any::<bool>()) {
        let mut request = VoteRequest::new(vote, last);
        request.leadership_transfer = flag;
        let back = VoteQuestion::of(&request).into_request();
        prop_assert_eq!(back, if vote.is_committed() { Err(wrong(vote, "a candidate")) } else { Ok(request) });
        let response = VoteResponse::new(vote, last, flag);
        prop_assert_eq!(VoteAnswer::of(&response).into_response(), Ok(response));
    }

    #[test]
    fn handovers_come_back_as_they_were(
        vote in any_vote(),
        (expected, actual) in (any_log_id(), any_log_id()),
        (to, other) in (any::<u64>(), any_vote()),
    ) {
        let request = TransferLeaderRequest::new(vote, NodeId(to), expected);
        let sent = Handover::of(&request);
        let back = sent.into_request();
        prop_assert_eq!(back, if vote.is_committed() { Ok(request) } else { Err(wrong(vote, "a leader")) });
        for response in [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: vote, actual: other }),
            Err(TransferLeaderError::LogNotFlushed { expected, actual }),
        ] {
            prop_assert_eq!(HandoverAnswer::of(response.clone()).into_response(&sent), Ok(response));
        }
    }
}

fn wrong(vote: Vote, from: &'static str) -> MessageError {
    let VoteParts { node, term, .. } = VoteParts::of(&vote);
    MessageError::WrongVote { node, term, from }
}

#[test]
fn batches_are_not_copied_on_their_way() {
    let body = encode_entry(&Entry::new(log_id(1, 0), EntryPayload::Normal(new_batch(b"SET k v")))).body;
    let record = LogRecord { index: 0, term: 1, body: body.clone() };
    let vote = VoteParts { term: 1, node: NodeId(1), is_committed: true };
    let request = Append { vote, previous: None, committed: None, records: vec![record] }.into_request().unwrap();
    let sent = Append::of(request);
    assert_eq!((sent.records[0].body.as_ptr(), sent.record_bytes()), (body.as_ptr(), body.len()));
}

#[test]
fn numbers_that_leave_no_room_to_count_on_are_refused() {
    let vote = |term| VoteParts { term, node: NodeId(1), is_committed: false };
    let last = |term, index| Some(EntryId { term, index });
    let question = |vote, last| VoteQuestion { vote, last, is_transfer: false }.into_request().map(drop);
    assert_eq!(question(vote(END - 1), last(END - 1, END - 1)), Ok(()));
    for (vote, last, what, value) in [
        (vote(END), None, "term", END),
        (vote(1), last(u64::MAX, 1), "term", u64::MAX),
        (vote(1), last(1, END), "index", END),
    ] {
        assert_eq!(question(vote, last), Err(MessageError::TooLarge { what, value }));
    }
}

#[test]
fn answers_that_there_cannot_be_are_refused() {
    let at = |term, index| Some(EntryId { term, index });
    for (answer, previous, last) in [
        (AppendAnswer::Conflict, None, at(1, 4)),
        (AppendAnswer::PartialSuccess(None), at(1, 1), at(1, 4)),
        (AppendAnswer::PartialSuccess(at(1, 5)), at(1, 1), at(1, 4)),
        (AppendAnswer::PartialSuccess(at(1, 0)), at(1, 1), at(1, 4)),
    ] {
        let refused = answer.into_response(previous, last);
        assert!(matches!(refused, Err(MessageError::WrongAnswer(_))), "{answer:?}: {refused:?}");
    }
}

#[test]
fn an_entry_of_a_newer_program_is_named_as_such() {
    let record = LogRecord { index: 0, term: 1, body: Bytes::from_static(&[9, 0]) };
    let vote = VoteParts { term: 1, node: NodeId(1), is_committed: true };
    let refused = Append { vote, previous: None, committed: None, records: vec![record] }.into_request().unwrap_err();
    assert!(refused.to_string().contains("a log entry has format 9"), "{refused}");
}

#[test]
fn what_comes_with_a_snapshot_is_checked_before_its_rows() {
    let vote = |term, is_committed| VoteParts { term, node: NodeId(1), is_committed };
    let meta = encode_snapshot_meta(&log_id(7, 9), &StoredMembership::default());
    for term in [7, END - 1] {
        assert_eq!(check_snapshot(vote(term, true), &meta), Ok(()));
    }
    let refused = check_snapshot(vote(7, false), &meta);
    assert_eq!(refused, Err(MessageError::WrongVote { node: NodeId(1), term: 7, from: "a leader" }));
    assert_eq!(check_snapshot(vote(END, true), &meta), Err(MessageError::TooLarge { what: "term", value: END }));
    let refused = check_snapshot(vote(6, true), &meta).unwrap_err();
    assert!(refused.to_string().contains("entry 7.9 cannot come here"), "{refused}");
    let mut newer = meta.clone();
    newer[0] = 99;
    for bytes in [&meta[..16], &[], &[&meta[..], &[1, 7]].concat(), &newer] {
        let refused = check_snapshot(vote(7, true), bytes);
        assert!(matches!(refused, Err(MessageError::Undecodable(_))), "{bytes:?}: {refused:?}");
    }
}
