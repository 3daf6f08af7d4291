//! Transactions over several shards of a node, as bytes in the log and as what their coordinator asks of a shard.
//!
//! ```text
//! prepare  transaction decided_by part            keeps the part until it is decided
//! decide   transaction others part                executes this part: the transaction is executed from then on
//! commit   transaction                            executes the part that is kept here
//! abort    transaction                            lets go of it
//! forget   transaction …                          lets go of decisions that nobody asks for any more
//! ```
//!
//! A transaction is 16 bytes, a shard two, all little-endian; a part is a transaction as `transaction` encodes it, without guard.
//!
//! What a newcomer would get wrong: a part is its commands and not what they change. The keys stay held from before it is prepared
//! until it is executed, so that they find then what they would have found before.

use basalt_net::resp::Protocol;
use basalt_storage::keyspace::prepared::TransactionId;

use super::request::{self, ArgList, RequestHeader};
use super::tracking::TrackOrder;
use crate::ids::ShardId;

/// A key that a transaction holds in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldKey {
    /// The database.
    pub db: u8,
    /// The key.
    pub key: Box<[u8]>,
    /// True if nobody else may read it meanwhile; else nobody else may write it.
    pub is_exclusive: bool,
}

/// The part of a shard's keys that a transaction holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldKeys {
    /// Single keys.
    pub keys: Vec<HeldKey>,
    /// All keys of the shard: exclusively if so.
    pub whole: Option<bool>,
}

impl HeldKeys {
    /// Adds a key; one that is there becomes exclusive if either is.
    pub fn add(&mut self, db: u8, key: &[u8], is_exclusive: bool) {
        self.keys.push(HeldKey { db, key: key.into(), is_exclusive });
    }

    /// Adds all keys.
    pub fn add_all(&mut self, is_exclusive: bool) {
        self.whole = Some(self.whole.unwrap_or(false) || is_exclusive);
    }

    /// Brings the keys into order, each of them once.
    pub fn settle(&mut self) {
        self.keys.sort_by(|a, b| (a.db, &a.key, b.is_exclusive).cmp(&(b.db, &b.key, a.is_exclusive)));
        self.keys.dedup_by(|later, first| (later.db, &later.key) == (first.db, &first.key));
    }
}

/// A coordinator's wish to hold keys of a shard.
#[derive(Debug, Clone)]
pub struct HoldOrder {
    /// The transaction.
    pub transaction: TransactionId,
    /// The keys, settled.
    pub keys: HeldKeys,
    /// The watch whose keys must be as they were, and are held with the others. It ends with the hold.
    pub watch: Option<u64>,
    /// True if what is written later is executed at the time of what was read: nothing held expires until then.
    pub keeps_time: bool,
    /// The number of its client, if that does not want to hear of keys that it changes itself.
    pub deaf_client: Option<u32>,
    /// True if it may hold other keys here, and these only if nobody is in the way: it is refused then and waits for nobody.
    pub is_more: bool,
}

/// Orders of a coordinator to a shard. All but the last three are answered once.
#[derive(Debug, Clone)]
pub enum SpanningOrder {
    /// To hold keys: `OK` once it does and what was on its way to them is applied, null if what is watched has changed, or if they
    /// are more keys and somebody is in the way.
    Hold(Box<HoldOrder>),
    /// To run an encoded read; if a transaction is given, only while its keys are held.
    Read(Option<TransactionId>, Vec<u8>),
    /// To run an encoded write; if a transaction is given, only while its keys are held.
    Write(Option<TransactionId>, Vec<u8>),
    /// To say whether its keys are held: `OK` if so.
    CheckHeld(TransactionId),
    /// To say whether it has decided to execute the transaction: 1, or 0 if that is certain not to be so.
    AskDecision(TransactionId),
    /// To say whether it has a part of the transaction that is not executed: 1 or 0.
    AskPart(TransactionId),
    /// To hold nothing any more for the transaction.
    Release(TransactionId),
    /// To have settled what is left of the transaction, since its coordinator does no more.
    Leave(TransactionId, Left),
    /// To enter the client for keys that the transaction is about to read.
    Track(Box<TrackOrder>),
}

/// The rest of a transaction whose coordinator is gone, or was in an earlier run of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// A part that is prepared, and whose keys are held. This shard knows what is decided.
    Part(ShardId),
    /// A decision, to be forgotten once none of these shards has a part.
    Decision(Vec<ShardId>),
}

impl SpanningOrder {
    /// Bytes of memory that it holds on to, about.
    pub fn bytes(&self) -> usize {
        match self {
            SpanningOrder::Hold(order) => {
                order.keys.keys.iter().map(|held| held.key.len() + size_of::<HeldKey>()).sum()
            }
            SpanningOrder::Read(_, bytes) | SpanningOrder::Write(_, bytes) => bytes.capacity(),
            SpanningOrder::Track(order) => order.bytes(),
            SpanningOrder::CheckHeld(_)
            | SpanningOrder::AskDecision(_)
            | SpanningOrder::AskPart(_)
            | SpanningOrder::Release(_)
            | SpanningOrder::Leave(..) => 0,
        }
    }
}

/// Encodes a step of a transaction over several shards whose arguments are these.
pub fn encode_step(command: u16, asked: u16, args: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let header = RequestHeader { asked, ..RequestHeader::new(Protocol::Resp2, 0, command) };
    request::encode(&mut out, header, args.iter().copied());
    out
}

/// The arguments of such a step.
pub fn step_args(bytes: &[u8]) -> Option<ArgList<'_>> {
    let mut args = ArgList::new();
    request::decode(bytes, &mut args)?;
    Some(args)
}

/// The last of the three arguments of an encoded step, which is the part in those that bring one. None if there are more or fewer.
pub fn third_arg(bytes: &[u8]) -> Option<&[u8]> {
    let (_, mut rest) = request::decode_header(bytes)?;
    let has_part = request::read_varint(&mut rest)? == 3;
    let parts = has_part.then(|| (0..3).map_while(|_| request::read_arg(&mut rest)).collect::<ArgList<'_>>())?;
    parts.get(2).copied()
}

/// Reads a transaction's number from an argument.
pub fn read_id(arg: &[u8]) -> Option<TransactionId> {
    Some(TransactionId::from_le_bytes(arg.try_into().ok()?))
}

/// Reads the numbers of shards from an argument.
pub fn read_shards(arg: &[u8]) -> Option<Vec<u16>> {
    let shards = arg.chunks_exact(2).map(|shard| u16::from_le_bytes([shard[0], shard[1]])).collect();
    arg.len().is_multiple_of(2).then_some(shards)
}

/// The numbers of shards as an argument.
pub fn shards_arg(shards: &[ShardId]) -> Vec<u8> {
    shards.iter().flat_map(|shard| shard.0.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_documented_one() {
        let id = 0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10_u128.to_le_bytes();
        let others = shards_arg(&[ShardId(1), ShardId(0x0302)]);
        let bytes = encode_step(1194, 1102, &[&id, &others, b"part"]);
        let reversed = [16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1];
        let head = [2, 0, 0xAA, 4, 0x4E, 4, 3];
        assert_eq!(bytes, [&head[..], &[16], &reversed, &[4, 1, 0, 2, 3, 4], b"part"].concat());
        let args = step_args(&bytes).unwrap();
        assert_eq!(read_id(args[0]), Some(u128::from_le_bytes(id)));
        assert_eq!(read_shards(args[1]), Some(vec![1, 0x0302]));
        assert_eq!(args[2], b"part");
        assert_eq!(third_arg(&bytes), Some(&b"part"[..]));
        assert_eq!(third_arg(&encode_step(1195, 1102, &[&id])), None);
    }

    #[test]
    fn numbers_of_another_length_are_refused() {
        assert_eq!((read_id(&[0; 15]), read_id(&[0; 17])), (None, None));
        assert_eq!((read_shards(&[1]), read_shards(&[])), (None, Some(vec![])));
    }

    #[test]
    fn a_key_is_held_once_and_exclusively_if_once_is() {
        let mut keys = HeldKeys::default();
        for (db, key, is_exclusive) in [(0, b"a", false), (1, b"a", false), (0, b"b", false), (0, b"a", true)] {
            keys.add(db, key, is_exclusive);
        }
        keys.settle();
        let held: Vec<_> = keys.keys.iter().map(|held| (held.db, held.key[0], held.is_exclusive)).collect();
        assert_eq!(held, [(0, b'a', true), (0, b'b', false), (1, b'a', false)]);
        keys.add_all(false);
        keys.add_all(true);
        keys.add_all(false);
        assert_eq!(keys.whole, Some(true));
    }
}
