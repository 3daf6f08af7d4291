//! The table that has the owner of each slot.

use std::fmt;

use basalt_storage::keyspace::SLOT_COUNT;

use super::change::SlotOwner;
use super::group::Group;
use super::node::Node;
use crate::limits::map::{GROUPS_MAX, NODES_MAX};

const _: () = assert!(GROUPS_MAX + NODES_MAX < u16::MAX as usize, "an owner's place fits 16 bits");

/// For each slot 0 if it is nobody's, or the place of its group among the groups, counted from 1, or behind all groups that of the
/// node that has claimed it among the nodes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Owners(Box<[u16]>);

impl Owners {
    /// The table of these nodes and groups.
    pub(super) fn of(nodes: &[Node], groups: &[Group]) -> Owners {
        let mut owners = vec![0; usize::from(SLOT_COUNT)];
        let sets = groups.iter().map(|group| &group.slots).chain(nodes.iter().map(|node| &node.claimed));
        for (at, set) in sets.enumerate() {
            let place = u16::try_from(at + 1).expect("nodes and groups are fewer than 65,535");
            for range in set.ranges() {
                owners[usize::from(range.first())..=usize::from(range.last())].fill(place);
            }
        }
        Owners(owners.into())
    }

    /// The owner of `slot`; `nodes` and `groups` are those that the table was made of.
    pub(super) fn of_slot(&self, slot: u16, nodes: &[Node], groups: &[Group]) -> SlotOwner {
        match usize::from(self.0[usize::from(slot)]) {
            0 => SlotOwner::Nobody,
            place if place <= groups.len() => SlotOwner::Group(groups[place - 1].number),
            place => SlotOwner::Claimed(nodes[place - 1 - groups.len()].number),
        }
    }
}

/// 16,384 numbers that follow from the rest help nobody.
impl fmt::Debug for Owners {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}
