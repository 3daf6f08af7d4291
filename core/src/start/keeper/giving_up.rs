//! The attempt of a node to give up all its slots, which it may if it has no keys.

use std::collections::{BTreeMap, BTreeSet};

use basalt_raft::NodeId;
use basalt_storage::Store;
use basalt_storage::log::RaftLog;

use super::{Keeper, count_keys};
use crate::cluster::map::{Change, Group, GroupNumber};
use crate::ids::ShardId;
use crate::node::{Asker, GroupState};
use crate::start::shards::Opened;

/// Shards that are closed to see if they have keys, before the map is told that the node gives them up: so nothing that was
/// acknowledged is in them when they are removed.
pub(super) struct GivingUp {
    pub(super) asker: Asker,
    /// The answer if there are keys.
    refusal: &'static str,
    /// Shards that their cores have not let go yet.
    pub(super) open: BTreeSet<ShardId>,
    /// The others, with the number of their keys if it is known.
    closed: BTreeMap<ShardId, Option<u64>>,
}

impl GivingUp {
    /// Returns whether a shard is among those that are closed for it.
    pub(super) fn knows(&self, shard: ShardId) -> bool {
        self.open.contains(&shard) || self.closed.contains_key(&shard)
    }
}

impl Keeper<'_> {
    /// Closes all shards to see if they have keys.
    pub(super) fn begin_to_give_up(&mut self, asker: Asker, refusal: &'static str) {
        let shards: BTreeSet<ShardId> = self.data.shards().iter().map(|group| ShardId(group.index)).collect();
        let is_shared = |group: &&Group| {
            group.replicas.len() > 1 && self.data.groups().iter().any(|here| here.number == group.number.0)
        };
        if let Some(shared) = self.server.routes.map().and_then(|map| map.groups().iter().find(is_shared).cloned()) {
            let text =
                format!("-ERR group {} has replicas on other nodes: its slots cannot be given up\r\n", shared.number);
            return self.server.answer_late(asker, text.into_bytes());
        }
        let is_open = |shard: &ShardId| {
            self.server.shards.get(*shard).is_some_and(|stats| stats.state.get() == GroupState::Leader)
        };
        if self.giving_up.is_some() || self.joining.is_some() || !self.leaving.is_empty() || !shards.iter().all(is_open)
        {
            return self
                .server
                .answer_late(asker, b"-BUSY shards of the node are being opened or closed, try again\r\n".to_vec());
        }
        if shards.is_empty() {
            let node = NodeId(self.data.node_number());
            self.server.change_late(Change::GiveUpSlots { node }, asker);
        }
        for shard in &shards {
            self.hand_to(self.core_of(*shard), Opened::Leaving(*shard));
        }
        self.giving_up = Some(GivingUp { asker, refusal, open: shards, closed: BTreeMap::new() });
    }

    /// A shard is closed that may be given up. Once all are, the map is told, or they are opened again.
    pub(super) fn closed(&mut self, shard: ShardId, log: Option<RaftLog>, store: Option<Store>) {
        let key_count = count_keys(store.as_ref());
        drop((log, store));
        if self.server.shards[shard.index()].state.get() != GroupState::Failed {
            self.server.note_state(shard, GroupState::Opening);
        }
        let Some(giving_up) = &mut self.giving_up else { return };
        giving_up.open.remove(&shard);
        giving_up.closed.insert(shard, key_count);
        if !giving_up.open.is_empty() {
            return;
        }
        if giving_up.closed.values().all(|count| *count == Some(0)) {
            let node = NodeId(self.data.node_number());
            return self.server.change_late(Change::GiveUpSlots { node }, giving_up.asker);
        }
        let is_unknown = giving_up.closed.values().any(Option::is_none);
        let refusal =
            if is_unknown { "BUSY the node's shards are still being read, try again" } else { giving_up.refusal };
        let (asker, reply) = (giving_up.asker, format!("-{refusal}\r\n").into_bytes());
        let closed = self.giving_up.take().map(|giving_up| giving_up.closed).unwrap_or_default();
        self.open_again(closed.into_keys());
        self.server.answer_late(asker, reply);
    }

    /// Ends the attempt to give up all slots: the map has taken it, or not.
    pub(super) fn given_up(&mut self, is_done: bool) {
        let Some(GivingUp { asker, closed, .. }) = self.giving_up.take() else { return };
        if !is_done {
            return self.open_again(closed.into_keys());
        }
        // A group may have got another replica meanwhile: then the map has it still.
        let map = self.server.routes.map();
        let is_gone = |shard: &ShardId| {
            let number = GroupNumber(self.data.group(shard.0).number);
            map.as_ref().is_some_and(|map| map.group(number).is_none())
        };
        let (gone, kept): (Vec<ShardId>, Vec<ShardId>) = closed.into_keys().partition(is_gone);
        for shard in gone {
            self.destroy(shard);
        }
        if !kept.is_empty() {
            self.open_again(kept.into_iter());
            let reply =
                b"-ERR some of the node's groups have replicas on other nodes: their slots are not given up\r\n";
            self.server.answer_late(asker, reply.to_vec());
            return self.tell_local();
        }
        self.tell_local();
        self.share_out();
        self.server.answer_late(asker, b"+OK\r\n".to_vec());
    }
}
