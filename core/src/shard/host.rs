//! Calls of a shard to its core.

use basalt_storage::ColdRead;

use crate::ids::{CoreId, Origin, ShardId};

/// Calls of a shard to its core after an operation.
pub trait ShardHost {
    /// Delivers a reply to whoever waits for it.
    fn reply(&mut self, origin: Origin, reply: &[u8]);
    /// Returns whether replies for `core` that can wait are to be delivered now.
    fn has_room_for_replies(&self, core: CoreId) -> bool;
    /// Has a reader thread fetch `read`; `Shard::warmed` is called with `client` afterwards. If it `pins` the rows, it is given
    /// them.
    fn warm(&mut self, shard: ShardId, client: (CoreId, u32), read: ColdRead, pins: bool);
}
