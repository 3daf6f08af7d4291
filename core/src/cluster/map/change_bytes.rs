//! The bytes of a change, as an entry of the meta group has them.
//!
//! ```text
//! change     [version u8 = 1][kind u8][fields …]
//!  1 found   [cluster id 20][replication factor u8][newcomer][list of {group u64, slots}]
//!  2 join    [newcomer][slots]                       10 role        [node u64][role]
//!  3 announce[node u64][starts u64][addresses]       11 found groups[node u64][count u16]
//!  4 forget  [node u64]                              12 place       [list of {group u64, home u64, list of node u64}]
//!  5 claim   [node u64][ranges]                      13 wanted      [group u64][count u8, 0 for the cluster's]
//!  6 release [ranges]                                14 move        [slots][owner][owner]
//!  7 flush   [node u64]                              15 remove      [group u64]
//!  8 epoch   [node u64][epoch u64]                   16 factor      [count u8]
//!  9 bump    [node u64]                              17 drain       [node u64][0 or 1 u8]
//! 18 live    [list of group u64]                     19 give up     [node u64]
//! 20 forget with its replicas [node u64]             21 gone        [node u64][list of group u64]
//! 22 forget the lost one [node u64]                 23 homes       [list of {group u64, home u64}]
//! 24 move places   [list of {group u64; of the place from which: home u64, list of node u64; of the other: the same}]
//! newcomer   [number u64][name 20][starts u64][addresses][configuration epoch u64]
//! addresses  [0 u8, or 4 u8 and 4 bytes, or 6 u8 and 16 bytes][port u16][bus port u16][host name][zone]
//! role       [0 u8: master], or [1 u8][master u64]
//! owner      [0 u8: nobody], or [1 u8][node u64: claimed], or [2 u8][group u64]
//! ranges     list of {first u16, last u16}           slots           the same, in order, with a gap between each and the next
//! list       [count u32]{element}…                   host name, zone [bytes u16]{byte}…
//! ```
//!
//! All numbers are little-endian. A kind is never used again. One that is not known is an error: whoever meets it cannot know the
//! map any more.

use basalt_raft::NodeId;
use basalt_storage::Versions;

use super::bytes::{DecodeError, Reader, Result, Writer};
use super::change::{Change, SlotOwner};
use super::group::{FormerGroup, GroupMove, GroupPlacement};
use super::ids::{ClusterId, GroupNumber};
use crate::limits::map::GROUPS_MAX;

/// Versions of a change.
const CHANGE_VERSIONS: Versions = Versions::new(1, 1);

/// The newest kind.
const KIND_NEWEST: u8 = 24;

impl Change {
    /// The bytes of the change.
    ///
    /// # Panics
    /// If a host name or a zone is longer than 65,535 bytes: [`super::Addresses::check`] refuses far shorter ones.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(CHANGE_VERSIONS);
        match self {
            Change::FoundCluster { cluster_id, replication_factor, node, groups } => {
                out.u8(1);
                out.bytes(&cluster_id.0);
                out.u8(*replication_factor);
                out.newcomer(node);
                out.list(groups, |out, group| {
                    out.u64(group.number.0);
                    out.ranges(group.slots.ranges());
                });
            }
            Change::Join { node, claimed } => {
                out.u8(2);
                out.newcomer(node);
                out.ranges(claimed.ranges());
            }
            Change::Announce { node, incarnation, addresses } => {
                write_of_node(&mut out, 3, *node);
                out.u64(*incarnation);
                out.addresses(addresses);
            }
            Change::Forget { node } => write_of_node(&mut out, 4, *node),
            Change::ClaimSlots { node, ranges } => {
                write_of_node(&mut out, 5, *node);
                out.ranges(ranges);
            }
            Change::ReleaseSlots { ranges } => {
                out.u8(6);
                out.ranges(ranges);
            }
            Change::FlushSlots { node } => write_of_node(&mut out, 7, *node),
            Change::SetConfigEpoch { node, epoch } => {
                write_of_node(&mut out, 8, *node);
                out.u64(*epoch);
            }
            Change::BumpConfigEpoch { node } => write_of_node(&mut out, 9, *node),
            Change::SetRole { node, role } => {
                write_of_node(&mut out, 10, *node);
                out.role(*role);
            }
            Change::FoundGroups { node, count } => {
                write_of_node(&mut out, 11, *node);
                out.u16(*count);
            }
            Change::NoteLive { groups } => {
                out.u8(18);
                out.list(groups, |out, group| out.u64(group.0));
            }
            Change::GiveUpSlots { node } => write_of_node(&mut out, 19, *node),
            Change::ForgetWithReplicas { node } => write_of_node(&mut out, 20, *node),
            Change::ForgetLost { node } => write_of_node(&mut out, 22, *node),
            Change::NoteGone { node, groups } => {
                write_of_node(&mut out, 21, *node);
                out.list(groups, |out, group| out.u64(group.0));
            }
            Change::PlaceGroups { placements } => {
                out.u8(12);
                out.list(placements, |out, placement| {
                    out.u64(placement.group.0);
                    out.u64(placement.home.0);
                    out.replicas(&placement.replicas);
                });
            }
            Change::MoveGroups { moves } => {
                out.u8(24);
                out.list(moves, |out, GroupMove { from, to }| {
                    out.u64(to.group.0);
                    for place in [from, to] {
                        out.u64(place.home.0);
                        out.replicas(&place.replicas);
                    }
                });
            }
            Change::SetHomes { homes } => {
                out.u8(23);
                out.list(homes, |out, (group, home)| {
                    out.u64(group.0);
                    out.u64(home.0);
                });
            }
            Change::SetReplicasWanted { group, count } => {
                write_of_group(&mut out, 13, *group);
                out.replicas_wanted(*count);
            }
            Change::MoveSlots { slots, from, to } => {
                out.u8(14);
                out.ranges(slots.ranges());
                write_owner(&mut out, *from);
                write_owner(&mut out, *to);
            }
            Change::RemoveGroup { group } => write_of_group(&mut out, 15, *group),
            Change::SetReplicationFactor { count } => {
                out.u8(16);
                out.u8(*count);
            }
            Change::SetDraining { node, is_draining } => {
                write_of_node(&mut out, 17, *node);
                out.u8(u8::from(*is_draining));
            }
        }
        out.into_bytes()
    }

    /// Reads a change, all of `bytes`.
    ///
    /// # Errors
    /// The reason for which they are no change that this program knows. A change that is read may still be refused by the map.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Change, DecodeError> {
        let mut read = Reader::new("change", CHANGE_VERSIONS, bytes)?;
        let kind = read.u8()?;
        let change = read_kind(&mut read, kind)?;
        read.end()?;
        Ok(change)
    }
}

fn read_kind(read: &mut Reader<'_>, kind: u8) -> Result<Change> {
    Ok(match kind {
        1 => Change::FoundCluster {
            cluster_id: ClusterId(read.array()?),
            replication_factor: read.u8()?,
            node: read.newcomer()?,
            groups: read.list("groups", GROUPS_MAX, 12, |read| {
                Ok(FormerGroup { number: read.group()?, slots: read.slots()? })
            })?,
        },
        2 => Change::Join { node: read.newcomer()?, claimed: read.slots()? },
        3 => Change::Announce { node: read.node()?, incarnation: read.u64()?, addresses: read.addresses()? },
        4 => Change::Forget { node: read.node()? },
        5 => Change::ClaimSlots { node: read.node()?, ranges: read.ranges()? },
        6 => Change::ReleaseSlots { ranges: read.ranges()? },
        7 => Change::FlushSlots { node: read.node()? },
        8 => Change::SetConfigEpoch { node: read.node()?, epoch: read.u64()? },
        9 => Change::BumpConfigEpoch { node: read.node()? },
        10 => Change::SetRole { node: read.node()?, role: read.role()? },
        11 => Change::FoundGroups { node: read.node()?, count: read.u16()? },
        12 => Change::PlaceGroups {
            placements: read.list("places", GROUPS_MAX, 20, |read| {
                Ok(GroupPlacement { group: read.group()?, home: read.node()?, replicas: read.replicas()? })
            })?,
        },
        24 => Change::MoveGroups { moves: read.list("moves", GROUPS_MAX, 32, read_move)? },
        13 => Change::SetReplicasWanted { group: read.group()?, count: read.replicas_wanted()? },
        14 => Change::MoveSlots { slots: read.slots()?, from: read_owner(read)?, to: read_owner(read)? },
        15 => Change::RemoveGroup { group: read.group()? },
        16 => Change::SetReplicationFactor { count: read.u8()? },
        17 => Change::SetDraining { node: read.node()?, is_draining: read.bool("draining")? },
        19 => Change::GiveUpSlots { node: read.node()? },
        20 => Change::ForgetWithReplicas { node: read.node()? },
        21 => Change::NoteGone { node: read.node()?, groups: read.list("groups", GROUPS_MAX, 8, Reader::group)? },
        22 => Change::ForgetLost { node: read.node()? },
        23 => Change::SetHomes { homes: read.list("homes", GROUPS_MAX, 16, |read| Ok((read.group()?, read.node()?)))? },
        18 => Change::NoteLive { groups: read.list("groups", GROUPS_MAX, 8, Reader::group)? },
        found => return Err(DecodeError::UnknownKind { found, newest: KIND_NEWEST }),
    })
}

fn read_move(read: &mut Reader<'_>) -> Result<GroupMove> {
    let group = read.group()?;
    let mut place = || Ok(GroupPlacement { group, home: read.node()?, replicas: read.replicas()? });
    Ok(GroupMove { from: place()?, to: place()? })
}

fn write_of_node(out: &mut Writer, kind: u8, node: NodeId) {
    out.u8(kind);
    out.u64(node.0);
}

fn write_of_group(out: &mut Writer, kind: u8, group: GroupNumber) {
    out.u8(kind);
    out.u64(group.0);
}

fn write_owner(out: &mut Writer, owner: SlotOwner) {
    match owner {
        SlotOwner::Nobody => out.u8(0),
        SlotOwner::Claimed(node) => write_of_node(out, 1, node),
        SlotOwner::Group(group) => write_of_group(out, 2, group),
    }
}

fn read_owner(read: &mut Reader<'_>) -> Result<SlotOwner> {
    match read.u8()? {
        0 => Ok(SlotOwner::Nobody),
        1 => read.node().map(SlotOwner::Claimed),
        2 => read.group().map(SlotOwner::Group),
        found => Err(DecodeError::Invalid { what: "an owner of slots", found: found.into() }),
    }
}
