//! Whatever a peer may send: the body of the fuzz target `peer_decoder`, and of a test that feeds it random bytes.

use std::collections::HashMap;

use basalt_net::peer::{
    Acquaintance, Bounds, Decoder, Greeter, GroupNumber, Lane, Message, NodeNumber, Nonce, Outbox, Own, PeerError,
    RequestId, Route, Secret, Versions, Wanted,
};

type Sent = (GroupNumber, RequestId, Message);

/// Small enough that messages in pieces reach them.
const BOUNDS: Bounds = Bounds { message_bytes_max: 4 << 20, joined_bytes_max: 9 << 20 };
/// Bytes of a frame's header without the place of a piece.
const HEADER_BYTES: usize = 28;
/// Data of the longest piece.
const PIECE_BYTES: usize = (64 << 10) - HEADER_BYTES - 8;

/// Feeds the bytes to everything that takes bytes of a peer; returns the bytes that the longest message takes as frames.
///
/// # Panics
/// If it does not come to the same when it is cut, takes more memory than its bounds say, or gives a message that cannot be sent.
pub fn check(data: &[u8]) -> usize {
    greet(data);
    let Some((&first, data)) = data.split_first() else { return 0 };
    let mut longest = 0;
    let lane = [Lane::Entries, Lane::Votes, Lane::Snapshots, Lane::Published][usize::from(first % 4)];
    for stream in [data.to_vec(), frames(data)] {
        let whole = decode(lane, [stream.as_slice()]);
        assert_eq!(decode(lane, stream.chunks(usize::from(first) + 1)), whole);
        if stream.len() < 1 << 12 {
            assert_eq!(decode(lane, stream.chunks(1)), whole);
        }
        longest = longest.max(send_again(lane, whole.0));
    }
    longest
}

/// Frames with the right length and checksum out of bytes that say what is in them, since no random bytes have.
fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    // The messages in pieces that have begun: their kind and group, bytes of the whole, bytes so far.
    let mut begun: HashMap<(u8, u64), (u32, u32)> = HashMap::new();
    while let Some((head, rest)) = data.split_first_chunk::<7>() {
        let [kind, flags, group, request, total, place, length] = *head;
        let (given, rest) = rest.split_at(usize::from(length).min(rest.len()));
        data = rest;
        let (kind, is_piece) = (kind % 82, flags & 1 != 0);
        let group = if group == u8::MAX { u64::MAX } else { u64::from(group % 4) };
        let mut payload = given.to_vec();
        let mut of_piece = None;
        if is_piece {
            // Some are the next piece of their message, as long as it can be; others are anywhere.
            let (total, offset) = match begun.get(&(kind, group)) {
                Some(&begun) if place % 8 > 0 => begun,
                _ => (
                    PIECE_BYTES as u32 + 100 + u32::from(total) * if place > 127 { 1 << 15 } else { 1 },
                    u32::from(place % 2),
                ),
            };
            payload.resize(PIECE_BYTES.min((total - offset) as usize), place);
            begun.insert((kind, group), (total, offset + payload.len() as u32));
            of_piece = Some((total, offset));
        }
        let begin = stream.len();
        stream.extend_from_slice(&[0; 8]);
        stream.extend_from_slice(&[kind, if flags > 250 { flags } else { flags & 1 }, 0, 0]);
        stream.extend_from_slice(&group.to_le_bytes());
        stream.extend_from_slice(&u64::from(request == 0).to_le_bytes());
        if let Some((total, offset)) = of_piece {
            stream.extend_from_slice(&total.to_le_bytes());
            stream.extend_from_slice(&offset.to_le_bytes());
            if total == offset + payload.len() as u32 {
                begun.remove(&(kind, group));
            }
        }
        stream.extend_from_slice(&payload);
        let length = (stream.len() - begin - HEADER_BYTES) as u32;
        stream[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), &stream[begin + 8..]);
        stream[begin + 4..begin + 8].copy_from_slice(&checksum.to_le_bytes());
    }
    stream
}

fn decode<'a>(lane: Lane, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Sent>, Option<PeerError>) {
    let (mut decoder, mut received) = (Decoder::new(lane, Versions::OWN.newest, BOUNDS), Vec::new());
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
                Err(error) => {
                    assert_eq!(decoder.kept_bytes(), 0);
                    return (received, Some(error));
                }
            }
            assert!(decoder.kept_bytes() <= (9 << 20) + (64 << 10), "{} bytes are kept", decoder.kept_bytes());
        }
        assert!(piece.is_empty());
    }
    (received, None)
}

/// A message that is read can be written, and is read as the same. Texts are not: what is no text in them is replaced.
fn send_again(lane: Lane, received: Vec<Sent>) -> usize {
    let mut longest = 0;
    for sent in received {
        if matches!(sent.2, Message::Refusal(_) | Message::Unable(_)) {
            continue;
        }
        let mut outbox = Outbox::new(lane, Versions::OWN.newest, BOUNDS, 0);
        outbox.push(sent.0, sent.1, sent.2.clone()).expect("it has been received");
        let mut stream = Vec::new();
        longest = longest.max(outbox.take(usize::MAX, &mut stream));
        assert_eq!(decode(lane, [stream.as_slice()]), (vec![sent], None));
    }
    longest
}

/// Both sides of a greeting with a stranger, who gets no further for all that he may send.
fn greet(data: &[u8]) {
    let own = Own {
        cluster: [7; 20],
        node: NodeNumber(1),
        incarnation: 1,
        core_count: 1,
        versions: Versions::OWN,
        bounds: BOUNDS,
        secret: Secret::new(b"secret"),
    };
    let route = Route { lane: Lane::Votes, dialing_core: 0, accepting_core: 0 };
    let mut sent = Vec::new();
    let dialing = Greeter::dial(own.clone(), Wanted { node: NodeNumber(2), route }, Nonce([1; 32]), &mut sent);
    for mut greeter in [dialing, Greeter::accept(own, Nonce([2; 32]))] {
        for mut piece in data.chunks(11) {
            match greeter.feed(&mut piece, |_| Acquaintance::Unknown, &mut sent) {
                Ok(session) => assert_eq!(session, None),
                Err(_) => break,
            }
        }
    }
    assert!(sent.len() < 4096, "a stranger is told {} bytes", sent.len());
}
