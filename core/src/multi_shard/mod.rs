//! Commands whose keys are in several shards: those that the core puts together from parts, each of which a shard executes by
//! itself (SCAN, KEYS, RANDOMKEY, MGET, DEL …), and those that are executed as one ([`spanning`]).

mod concerned;
mod gather;
mod one;
mod over_groups;
mod random_key;
mod slot_keys;
pub mod spanning;
mod walk;

pub use concerned::{Concerned, hold_concerned, visit_concerned};
pub use gather::{Coordinator, Gather, MISSHAPEN, Part, Plan, Progress};
pub use one::OneRead;
pub use over_groups::{GroupKeys, GroupPart, GroupRandomKey, GroupScan};
pub use slot_keys::SlotKeys;

use crate::cluster::Router;
use crate::commands::{Args, Command, CommandError, MultiShard, ReplyBounds};
use crate::ids::ShardId;

use random_key::RandomKey;
use walk::{start_keys, start_scan};

/// Plans the `steps` of a command that a connection called in database `db`.
///
/// # Errors
/// What is wrong with its arguments.
pub fn plan(
    command: &Command,
    steps: MultiShard,
    db: u8,
    router: &Router,
    bounds: &ReplyBounds,
    args: Args<'_>,
) -> Result<Plan, CommandError> {
    let is_whole = match steps {
        MultiShard::Keys => false,
        // A cursor names its shard, and others may come, or be led here again, before it does.
        MultiShard::Scan => router.all_shards().eq([ShardId(0)]),
        MultiShard::RandomKey | MultiShard::Rename | MultiShard::Copy => true,
    };
    if let (true, Some(shard)) = (router.is_whole() && is_whole, router.first_shard()) {
        return Ok(Plan::Whole(shard));
    }
    match steps {
        MultiShard::Scan => start_scan(db, router, args),
        MultiShard::Keys => Ok(start_keys(db, router, args[1], *bounds)),
        MultiShard::RandomKey => {
            let mut shards: Vec<ShardId> = router.shards().collect();
            let first = rand::random_range(0..shards.len());
            shards.rotate_left(first);
            let random = RandomKey { command: command.id, db, shards, asked: 0 };
            let part = random.part();
            Ok(Plan::Parts(vec![part], Box::new(random)))
        }
        // Over several shards they are executed as one.
        MultiShard::Rename | MultiShard::Copy => Ok(Plan::Whole(router.shard_of(args[1]))),
    }
}
