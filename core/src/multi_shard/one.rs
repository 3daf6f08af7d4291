//! A read of one key by a step that its client has not named.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::Slot;

use super::gather::{Coordinator, Part, Progress};
use crate::cluster::Router;
use crate::entry::request::Mode;

/// The reply of the one part, as it is.
pub struct OneRead;

impl OneRead {
    /// The part that reads `key` of database `db` by the step `command`; `None` if the key is not on this node.
    pub fn of_key(router: &Router, command: u16, db: u8, key: &[u8]) -> Option<(Vec<Part>, OneRead)> {
        let shard = router.shard_of_slot(Slot::of(key))?;
        Some((vec![Part { shard, mode: Mode::Read, command, db, args: vec![key.to_vec()] }], OneRead))
    }
}

impl Coordinator for OneRead {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        out.raw(reply);
        Progress::Done
    }
}
