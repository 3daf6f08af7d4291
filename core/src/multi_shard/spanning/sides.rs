//! The shards of a command or transaction, and what each is asked for.

use basalt_net::resp::{Protocol, value};

use crate::entry::request::{self, RequestHeader};
use crate::entry::spanning::{HeldKey, HeldKeys};
use crate::ids::ShardId;

/// A shard, as far as a command or transaction concerns it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Side {
    /// Its number.
    pub shard: u16,
    /// The keys to be held there.
    pub keys: HeldKeys,
    /// Encoded reads, to be run first.
    pub reads: Vec<Vec<u8>>,
    /// Encoded commands to be executed, some of which write; or none, if nothing is written there.
    pub writes: Vec<Vec<u8>>,
}

impl Side {
    /// The shard.
    pub fn shard(&self) -> ShardId {
        ShardId(self.shard)
    }

    /// Bytes of memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let of_keys: usize = self.keys.keys.iter().map(|held| size_of::<HeldKey>() + held.key.len()).sum();
        of_keys + self.reads.iter().chain(&self.writes).map(Vec::len).sum::<usize>()
    }
}

/// Sides by shard, in ascending order.
#[derive(Debug, Default)]
pub(super) struct Sides(Vec<Side>);

impl Sides {
    /// The position of a shard's side, which is there from then on. Positions change when others come.
    pub(super) fn of(&mut self, shard: ShardId) -> &mut Side {
        let place = match self.0.binary_search_by_key(&shard.0, |side| side.shard) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, Side { shard: shard.0, ..Side::default() });
                place
            }
        };
        &mut self.0[place]
    }

    /// All of them, their keys settled.
    pub(super) fn settled(mut self) -> Vec<Side> {
        self.0.iter_mut().for_each(|side| side.keys.settle());
        self.0
    }
}

/// The place of a shard's side.
pub(super) fn place_of(sides: &[Side], shard: ShardId) -> usize {
    sides.binary_search_by_key(&shard.0, |side| side.shard).expect("every shard that is asked for has a side")
}

/// Encodes a command that is called by none of a connection's own.
pub(super) fn encode<'a>(
    command: u16,
    protocol: Protocol,
    db: u8,
    args: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let args: Vec<&[u8]> = args.into_iter().collect();
    let mut bytes = Vec::new();
    request::encode(&mut bytes, RequestHeader::new(protocol, db, command), args.into_iter());
    bytes
}

/// The replies in a side's reply; none if there are none.
pub(super) fn elements(reply: &[u8]) -> Vec<&[u8]> {
    if reply.is_empty() {
        return Vec::new();
    }
    value::split_elements(reply).map_or_else(|_| Vec::new(), Iterator::collect)
}
