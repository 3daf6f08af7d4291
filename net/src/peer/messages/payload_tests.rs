//! Payloads that are not as their kind lays down: an error, never a panic, and nothing read that would be written otherwise.

use bytes::BufMut;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::limits::{ENTRIES_MAX, HEARTBEATS_MAX, SNAPSHOT_FILES_MAX};
use crate::peer::samples::{LANES, any_message, one_of_each};

fn written(message: Message) -> Vec<u8> {
    let encoded = message.encode().unwrap();
    [&encoded.head[..], &encoded.bodies.concat()].concat()
}

fn read(kind: Kind, payload: &[u8]) -> Result<Message, PeerError> {
    Message::decode(kind, Payload::Borrowed(payload))
}

/// The part of the payload that is wrong.
fn wrong_part(kind: Kind, payload: &[u8]) -> &'static str {
    match read(kind, payload) {
        Err(PeerError::Malformed { kind: found, what }) if found == kind => what,
        other => panic!("{other:?}"),
    }
}

/// Texts are the exception: what is no text in them is replaced, and those of a refusal may be followed by more.
fn has_text(kind: Kind) -> bool {
    matches!(kind, Kind::Refusal | Kind::Unable)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_changed_payload_is_an_error_or_another_message(
        message in select(LANES.as_slice()).prop_flat_map(|lane| any_message(lane, 30)),
        changes in vec((any::<Index>(), prop_oneof![0..3_u8, any::<u8>()]), 1..3),
    ) {
        let kind = message.kind();
        let mut payload = written(message);
        for (at, byte) in changes {
            if !payload.is_empty() {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
        }
        if let Ok(message) = read(kind, &payload) {
            prop_assert!(has_text(kind) || written(message) == payload);
        }
    }

    #[test]
    fn random_payloads_are_read_or_refused(code in any::<u8>(), payload in vec(0..4_u8, 0..200)) {
        if let Some(kind) = Kind::of(code, u16::MAX)
            && let Ok(message) = read(kind, &payload)
        {
            prop_assert!(has_text(kind) || written(message) == payload);
        }
    }

    #[test]
    fn a_payload_that_ends_early_or_goes_on_is_an_error(
        message in select(LANES.as_slice()).prop_flat_map(|lane| any_message(lane, 30)),
        end in any::<Index>(),
    ) {
        let kind = message.kind();
        let mut payload = written(message);
        if !payload.is_empty() && kind != Kind::SnapshotPiece {
            prop_assert!(read(kind, &payload[..end.index(payload.len())]).is_err());
        }
        payload.push(0);
        prop_assert_eq!(read(kind, &payload).is_ok(), matches!(kind, Kind::Refusal | Kind::SnapshotPiece));
    }
}

#[test]
fn counts_are_checked_before_anything_is_made_of_them() {
    let counts = |most: usize| [most as u32 + 1, u32::MAX];
    for (kind, before, most) in [
        (Kind::AppendEntries, 51, ENTRIES_MAX),
        (Kind::AppendEntriesTo, 59, ENTRIES_MAX),
        (Kind::Heartbeats, 0, HEARTBEATS_MAX),
        (Kind::HeartbeatsTo, 0, HEARTBEATS_MAX),
        (Kind::HeartbeatAnswers, 0, HEARTBEATS_MAX),
        (Kind::SnapshotBegin, 29, SNAPSHOT_FILES_MAX),
        (Kind::SnapshotBeginTo, 37, SNAPSHOT_FILES_MAX),
    ] {
        for count in counts(most) {
            let mut payload = vec![0; before];
            payload.put_u32_le(count);
            payload.put_bytes(0, 64 << 10);
            assert_eq!(wrong_part(kind, &payload), "a count is more than is allowed", "{kind}");
        }
        let mut payload = vec![0; before];
        payload.put_u32_le(most as u32);
        payload.put_bytes(0, 100);
        assert_eq!(wrong_part(kind, &payload), "a count is more than there are bytes for", "{kind}");
    }
}

#[test]
fn what_has_no_meaning_is_refused() {
    let of = |wanted: Kind| {
        let mut samples = one_of_each().into_iter().map(|(_, message)| message);
        written(samples.find(|message| message.kind() == wanted).unwrap())
    };
    let with = |kind, at: usize, byte| {
        let mut payload = of(kind);
        payload[at] = byte;
        wrong_part(kind, &payload)
    };
    assert_eq!(with(Kind::AppendEntries, 16, 2), "a flag is neither 0 nor 1");
    assert_eq!(with(Kind::AppendEntries, 17, 0), "a log id that is missing has a value");
    assert_eq!(with(Kind::AppendEntries, 55, 2), "a term falls");
    assert_eq!(with(Kind::AppendEntries, 63, 200), "an entry is longer than the message");
    assert_eq!(with(Kind::AppendEntries, 63, 4), "it goes on behind its end");
    assert_eq!(with(Kind::AppendEntriesTo, 71, 200), "an entry is longer than the message");
    assert_eq!(with(Kind::AppendEntriesTo, 71, 4), "it goes on behind its end");
    assert_eq!(with(Kind::HeartbeatsTo, 19, 0x80), "no group has such a number");
    assert_eq!(with(Kind::AppendAnswer, 17, 1), "bytes without meaning are not 0");
    assert_eq!(with(Kind::AppendAnswer, 0, 4), "its outcome is unknown");
    assert_eq!(with(Kind::TransferAnswer, 0, 3), "its outcome is unknown");
    assert_eq!(with(Kind::ReadIndexAnswer, 0, 2), "its outcome is unknown");
    assert_eq!(with(Kind::Heartbeats, 11, 0x80), "no group has such a number");
    assert_eq!(with(Kind::HeartbeatAnswers, 11, 0x80), "no group has such a number");
    assert_eq!(with(Kind::SnapshotBegin, 38, b'/'), "a file's name or size is not one, or it is not in its place");
    assert_eq!(wrong_part(Kind::SnapshotPiece, &[0; 12]), "it is empty or has no end");
    assert_eq!(wrong_part(Kind::SnapshotPiece, &[0xff; 13]), "it is empty or has no end");
    // A term, and the index before the first entry.
    for at in [7, 25, 33, 62] {
        assert_eq!(with(Kind::AppendEntries, at, 0x80), "a term or an index is not below 2^63");
    }
    assert_eq!(wrong_part(Kind::Greeting, &[]), "it is no message by itself");
}
