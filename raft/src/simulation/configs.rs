//! The memberships in the members' logs and rows, as they lie there, and what a quorum of each has on disk.

use std::collections::{BTreeMap, BTreeSet};

use basalt_storage::log::LogRecord;

use crate::entry::{decode_entry, decode_stored_membership};
use crate::ids::{EntryId, NodeId};
use crate::sabotage;
use crate::types::{EntryPayload, Membership, entry_id};

/// A membership, and the entry that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) entry: EntryId,
    /// The sets of voters, each of which has to agree.
    pub(crate) sets: Vec<BTreeSet<NodeId>>,
    /// The voters and learners.
    pub(crate) members: BTreeSet<NodeId>,
}

impl Config {
    fn new(entry: EntryId, membership: &Membership) -> Config {
        Config {
            entry,
            sets: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(node, _)| *node).collect(),
        }
    }

    /// The membership that a record brings, if it is one. Read as it is, whatever fault reading is to have.
    pub(crate) fn of(record: &LogRecord) -> Option<Config> {
        let decoded = sabotage::without(|| decode_entry(record.clone()));
        let EntryPayload::Membership(membership) = decoded.ok()?.payload else { return None };
        Some(Config::new(EntryId { term: record.term, index: record.index }, &membership))
    }

    /// True if a majority of each set is among those for whom `holds` is true.
    pub(crate) fn is_quorum(&self, holds: impl Fn(&NodeId) -> bool) -> bool {
        self.sets.iter().all(|set| set.iter().filter(|node| holds(node)).count() * 2 > set.len())
    }

    /// True if one may follow on the other: any two quorums of them have a member in common.
    pub(crate) fn may_follow(&self, before: &Config) -> bool {
        self.sets.iter().any(|set| before.sets.contains(set))
    }
}

/// The memberships of all members.
#[derive(Debug, Default)]
pub(crate) struct Configs(BTreeMap<NodeId, BTreeMap<u64, Config>>);

impl Configs {
    /// A member has this one in its log.
    pub(crate) fn appended(&mut self, node: NodeId, config: Config) {
        self.0.entry(node).or_default().insert(config.entry.index, config);
    }

    /// A member has rows with this membership from another.
    pub(crate) fn installed(&mut self, node: NodeId, membership: &[u8]) {
        let Ok(stored) = sabotage::without(|| decode_stored_membership(membership)) else { return };
        if let Some(id) = stored.log_id() {
            self.appended(node, Config::new(entry_id(id), stored.membership()));
        }
    }

    /// A member has nothing any more from this index on.
    pub(crate) fn truncated(&mut self, node: NodeId, from: u64) {
        self.0.entry(node).or_default().split_off(&from);
    }

    /// A member has lost what is not `kept`.
    pub(crate) fn retain(&mut self, node: NodeId, kept: impl Fn(EntryId) -> bool) {
        self.0.entry(node).or_default().retain(|_, config| kept(config.entry));
    }

    /// The one before an index in a member's log.
    pub(crate) fn before(&self, node: NodeId, index: u64) -> Option<&Config> {
        self.0.get(&node)?.range(..index).next_back().map(|(_, config)| config)
    }

    /// Those by which a member may have decided that the entry at `index` is committed: the one that it had there, and later ones.
    pub(crate) fn deciding(&self, node: NodeId, index: u64) -> impl Iterator<Item = &Config> {
        let own = self.0.get(&node);
        let from = own.and_then(|own| own.range(..=index).next_back()).map_or(0, |(from, _)| *from);
        own.into_iter().flat_map(move |own| own.range(from..)).map(|(_, config)| config)
    }

    /// The newest of each member.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Config> {
        self.0.values().filter_map(|own| own.values().next_back())
    }

    /// True if the newest of all has this member.
    pub(crate) fn has_member(&self, node: NodeId) -> bool {
        self.newest()
            .max_by_key(|config| (config.entry.index, config.entry.term))
            .is_some_and(|newest| newest.members.contains(&node))
    }
}
