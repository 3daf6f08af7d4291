//! Keys that a client is about to read and wants to hear of when they change, on their way to their shard.

use basalt_storage::Reader;

use crate::ids::{CoreId, ShardId};

/// The order to enter a client for keys of a shard. It goes ahead of the read itself.
#[derive(Debug, Clone)]
pub struct TrackOrder {
    /// The shard.
    pub shard: ShardId,
    /// The client.
    pub reader: Reader,
    /// The keys.
    pub keys: Vec<Box<[u8]>>,
}

impl TrackOrder {
    /// Bytes of memory that it holds on to, about.
    pub fn bytes(&self) -> usize {
        size_of::<TrackOrder>() + self.keys.iter().map(|key| key.len() + size_of::<Box<[u8]>>()).sum::<usize>()
    }
}

/// The number by which shards know who reads: its core, and its number there.
pub fn reader_id(core: CoreId, client: u32) -> u64 {
    u64::from(core.0) << 32 | u64::from(client)
}

/// The core and the number there that make a reader's number.
pub fn client_of_reader(id: u64) -> (CoreId, u32) {
    (CoreId((id >> 32) as u16), id as u32)
}
