//! Messages that clients of a node have published, on their way to the subscribers of another.
//!
//! What a newcomer would get wrong: they belong to no group. Subscribers are a node's, wherever the keys of the cluster are.

use bytes::{BufMut, Bytes};

use super::Encoded;
use crate::limits::PUBLISHED_MAX;
use crate::peer::error::PeerError;
use crate::peer::fields::Fields;
use crate::peer::kind::Kind;
use crate::peer::push_error::PushError;

/// Bytes of a message in the table: the lengths of its channel and of itself.
const ROW_BYTES: usize = 8;
/// Bytes before the table.
const FIXED_BYTES: usize = 4;

/// A message that a client has published. Both are slices of what they came with: they keep all of that in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedMessage {
    /// The channel.
    pub channel: Bytes,
    /// The message.
    pub message: Bytes,
}

impl PublishedMessage {
    /// The most of them that go together.
    pub const COUNT_MAX: usize = PUBLISHED_MAX;

    /// Bytes that it takes between nodes.
    pub fn bytes(&self) -> usize {
        ROW_BYTES + self.channel.len() + self.message.len()
    }
}

/// Lays them out: a table of lengths, and behind it channels and messages by turns.
pub(super) fn encode(messages: Vec<PublishedMessage>) -> Result<Encoded, PushError> {
    let kind = Kind::Publish;
    if messages.len() > PUBLISHED_MAX {
        return Err(PushError::TooMany { kind, count: messages.len(), most: PUBLISHED_MAX });
    }
    let mut head = Vec::with_capacity(FIXED_BYTES + ROW_BYTES * messages.len());
    head.put_u32_le(messages.len() as u32);
    let mut bodies = Vec::with_capacity(2 * messages.len());
    for PublishedMessage { channel, message } in messages {
        for body in [channel, message] {
            let bytes = body.len();
            head.put_u32_le(u32::try_from(bytes).map_err(|_| PushError::too_long(kind, bytes as u64))?);
            bodies.push(body);
        }
    }
    Ok(Encoded { kind, head, bodies })
}

pub(super) fn decode(payload: Bytes) -> Result<Vec<PublishedMessage>, PeerError> {
    let mut fields = Fields::new(Kind::Publish, &payload);
    let count = fields.count(PUBLISHED_MAX, ROW_BYTES)?;
    let mut begin = FIXED_BYTES + ROW_BYTES * count;
    let mut take = |bytes: u32| {
        let end = begin.checked_add(bytes as usize).filter(|&end| end <= payload.len())?;
        Some(payload.slice(std::mem::replace(&mut begin, end)..end))
    };
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        let lengths = (fields.u32()?, fields.u32()?);
        let (Some(channel), Some(message)) = (take(lengths.0), take(lengths.1)) else {
            return Err(fields.malformed("what was published is longer than the message"));
        };
        messages.push(PublishedMessage { channel, message });
    }
    if begin != payload.len() {
        return Err(fields.malformed("it goes on behind its end"));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn malformed(payload: &[u8]) -> &'static str {
        match decode(Bytes::copy_from_slice(payload)) {
            Err(PeerError::Malformed { kind: Kind::Publish, what }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lengths_that_do_not_fit_the_message_are_refused() {
        let of = |count: u32, lengths: &[u32], bodies: &[u8]| {
            let table = lengths.iter().flat_map(|length| length.to_le_bytes());
            [&count.to_le_bytes()[..], &table.collect::<Vec<u8>>(), bodies].concat()
        };
        assert_eq!(decode(of(1, &[2, 1], b"abc").into()).map(|messages| messages.len()), Ok(1));
        assert_eq!(decode(of(0, &[], b"").into()), Ok(Vec::new()));
        assert_eq!(malformed(&of(1, &[2, 2], b"abc")), "what was published is longer than the message");
        assert_eq!(malformed(&of(1, &[u32::MAX, u32::MAX], b"abc")), "what was published is longer than the message");
        assert_eq!(malformed(&of(1, &[1, 1], b"abc")), "it goes on behind its end");
        assert_eq!(malformed(&of(2, &[0, 0], b"")), "a count is more than there are bytes for");
        assert_eq!(malformed(&of(u32::MAX, &[], b"")), "a count is more than is allowed");
    }

    #[test]
    fn more_than_may_go_together_are_not_sent() {
        let message = PublishedMessage { channel: Bytes::new(), message: Bytes::new() };
        assert!(encode(vec![message.clone(); PUBLISHED_MAX]).is_ok());
        let too_many = encode(vec![message; PUBLISHED_MAX + 1]);
        assert!(matches!(too_many, Err(PushError::TooMany { kind: Kind::Publish, count: 1025, most: 1024 })));
    }
}
