//! The rules by which a change makes a map of the one before.
//!
//! Each function checks everything first and changes the map after, so that a refused change has changed nothing.

use std::collections::{BTreeMap, BTreeSet};

use basalt_raft::NodeId;
use basalt_storage::keyspace::Slot;

use super::Map;
use super::change::{Change, Outcome, SlotOwner};
use super::group::{FormerGroup, Group, GroupMove, GroupPlacement};
use super::ids::{ClusterId, GroupNumber};
use super::node::{Addresses, Forgotten, Newcomer, Node, Role};
use super::owners::Owners;
use super::refused::Refused;
use super::slots::{SlotRange, SlotSet};
use crate::limits::map::{CONFIG_EPOCH_MAX, FORGOTTEN_MAX, GROUPS_MAX, NODES_MAX, REPLICAS_MAX};
use crate::limits::{GROUP_NUMBER_MAX, REPLICAS_OTHER_MIN};

impl Map {
    /// Applies the entry at `index`. A change that is refused leaves everything as it was but the epoch.
    ///
    /// # Errors
    /// The reason for which the change was refused, the same on every node.
    ///
    /// # Panics
    /// If `index` is not beyond that of the entry before: entries are applied once, in their order.
    pub fn apply(&mut self, index: u64, change: Change) -> Result<Outcome, Refused> {
        assert!(index > self.epoch, "entry {index} comes behind entry {}", self.epoch);
        self.epoch = index;
        let outcome = self.change(change)?;
        self.owners = Owners::of(&self.nodes, &self.groups);
        Ok(outcome)
    }

    fn change(&mut self, change: Change) -> Result<Outcome, Refused> {
        match change {
            Change::FoundCluster { cluster_id, replication_factor, node, groups } => {
                self.found_cluster(cluster_id, replication_factor, node, groups)
            }
            _ if !self.is_founded() => Err(Refused::NotFounded),
            Change::Join { node, claimed } => self.join(node, &claimed),
            Change::Announce { node, incarnation, addresses } => self.announce(node, incarnation, addresses),
            Change::Forget { node } => self.forget(node),
            Change::ForgetWithReplicas { node } => self.forget_with_replicas(node),
            Change::ForgetLost { node } => self.forget_lost(node),
            Change::NoteGone { node, groups } => Ok(self.note_gone(node, &groups)),
            Change::ClaimSlots { node, ranges } => self.claim_slots(node, &ranges),
            Change::ReleaseSlots { ranges } => self.release_slots(&ranges),
            Change::FlushSlots { node } => self.flush_slots(node),
            Change::SetConfigEpoch { node, epoch } => self.set_config_epoch(node, epoch),
            Change::BumpConfigEpoch { node } => self.bump_config_epoch(node),
            Change::SetRole { node, role } => self.set_role(node, role),
            Change::FoundGroups { node, count } => self.found_groups(node, count),
            Change::GiveUpSlots { node } => self.give_up_slots(node),
            Change::NoteLive { groups } => self.note_live(&groups),
            Change::PlaceGroups { placements } => self.place_groups(placements),
            Change::MoveGroups { moves } => self.move_groups(moves),
            Change::SetHomes { homes } => self.set_homes(&homes),
            Change::SetReplicasWanted { group, count } => self.set_replicas_wanted(group, count),
            Change::MoveSlots { slots, from, to } => self.move_slots(&slots, from, to),
            Change::RemoveGroup { group } => self.remove_group(group),
            Change::SetReplicationFactor { count } => self.set_replication_factor(count),
            Change::SetDraining { node, is_draining } => self.set_draining(node, is_draining),
        }
    }

    fn found_cluster(
        &mut self,
        cluster_id: ClusterId,
        replication_factor: u8,
        node: Newcomer,
        groups: Vec<FormerGroup>,
    ) -> Result<Outcome, Refused> {
        if self.is_founded() {
            return Err(Refused::Founded);
        }
        if cluster_id == ClusterId::default() {
            return Err(Refused::NotFounded);
        }
        check_replica_count(replication_factor.into())?;
        self.check_newcomer(&node)?;
        if groups.len() > GROUPS_MAX {
            return Err(Refused::TooManyGroups);
        }
        let mut before = 0;
        let mut taken = BTreeSet::new();
        for group in &groups {
            if group.number.0 <= before || group.number.0 >= GROUP_NUMBER_MAX {
                return Err(Refused::GroupNumbers);
            }
            before = group.number.0;
            if let Some(slot) = group.slots.slots().find(|slot| !taken.insert(*slot)) {
                return Err(Refused::SlotRepeated(slot));
            }
        }
        self.cluster_id = cluster_id;
        self.replication_factor = replication_factor;
        self.next_group = before + 1;
        let home = node.number;
        self.groups.extend(
            groups.into_iter().map(|former| Group { is_live: true, ..first_placed(former.number, former.slots, home) }),
        );
        self.add(node, SlotSet::default());
        Ok(Outcome::Done)
    }

    /// Checks a node that is not there yet.
    fn check_newcomer(&self, node: &Newcomer) -> Result<(), Refused> {
        if node.number.0 == 0 || self.node(node.number).is_some() {
            return Err(Refused::NumberTaken(node.number));
        }
        if self.node_named(node.name).is_some() {
            return Err(Refused::NameTaken(node.name));
        }
        for gone in &self.forgotten {
            match (gone.number == node.number, gone.name == node.name) {
                (true, true) => check_incarnation(gone.name, gone.incarnation, node.incarnation)?,
                (true, false) => return Err(Refused::NumberTaken(node.number)),
                (false, true) => return Err(Refused::NameTaken(node.name)),
                (false, false) => {}
            }
        }
        if node.config_epoch > CONFIG_EPOCH_MAX {
            return Err(Refused::InvalidConfigEpoch(node.config_epoch.into()));
        }
        node.addresses.check()
    }

    fn add(&mut self, node: Newcomer, claimed: SlotSet) {
        let at = self.nodes.partition_point(|other| other.number < node.number);
        let mut config_epoch = node.config_epoch;
        self.config_epoch = self.config_epoch.max(config_epoch);
        // Nodes that were alone may have been given the same one.
        if config_epoch > 0 && self.nodes.iter().any(|other| other.config_epoch == config_epoch) {
            config_epoch = self.config_epoch + 1;
            self.config_epoch = config_epoch;
        }
        self.forgotten.retain(|gone| gone.number != node.number);
        let Newcomer { number, name, incarnation, addresses, config_epoch: _ } = node;
        let role = Role::Master;
        let node = Node { number, name, incarnation, addresses, role, is_draining: false, config_epoch, claimed };
        self.nodes.insert(at, node);
    }

    fn join(&mut self, node: Newcomer, claimed: &SlotSet) -> Result<Outcome, Refused> {
        let known = self.node(node.number);
        let number = node.number;
        match known {
            Some(known) if known.name != node.name => return Err(Refused::NumberTaken(number)),
            Some(known) => {
                check_incarnation(known.name, known.incarnation, node.incarnation)?;
                node.addresses.check()?;
                if !claimed.is_empty() && known.role != Role::Master {
                    return Err(Refused::ReplicaClaims(known.name));
                }
            }
            None if self.nodes.len() >= NODES_MAX => return Err(Refused::TooManyNodes),
            None if self.config_epoch >= CONFIG_EPOCH_MAX => return Err(Refused::NoNumbersLeft),
            None => self.check_newcomer(&node)?,
        }
        let is_others = |slot: &u16| ![SlotOwner::Nobody, SlotOwner::Claimed(number)].contains(&self.owner_of(*slot));
        if let Some(slot) = claimed.slots().find(is_others) {
            return Err(Refused::SlotBusy(slot));
        }
        match self.node_mut(number) {
            Ok(known) => {
                known.incarnation = node.incarnation;
                known.addresses = node.addresses;
                known.claimed = known.claimed.with(claimed);
            }
            Err(_) => self.add(node, claimed.clone()),
        }
        Ok(Outcome::Done)
    }

    fn announce(&mut self, node: NodeId, incarnation: u64, addresses: Addresses) -> Result<Outcome, Refused> {
        let node = self.node_mut(node)?;
        check_incarnation(node.name, node.incarnation, incarnation)?;
        addresses.check()?;
        node.incarnation = incarnation;
        node.addresses = addresses;
        Ok(Outcome::Done)
    }

    fn forget_with_replicas(&mut self, number: NodeId) -> Result<Outcome, Refused> {
        if let Ok(node) = self.known(number)
            && let Some(group) = self.groups.iter().find(|group| group.home == number)
        {
            return Err(Refused::NodeInUse { name: node.name, group: group.number });
        }
        let has = |group: &&Group| group.replicas.contains(&number) || group.leaving.contains(&number);
        for group in self.groups.iter().filter(has) {
            let Ok(node) = self.known(number) else { break };
            // Which of them vote is not known here.
            if let Some(other) = group.leaving.iter().find(|other| **other != number) {
                let (name, from, group) = (node.name, self.known(*other)?.name, group.number);
                return Err(Refused::OthersOnTheWay { name, from, group });
            }
            // Two such changes may be on their way at once, each asked for by who did not know of the other.
            if group.replicas.contains(&number) && group.replicas.len() <= 2 {
                return Err(Refused::LastButOne { name: node.name, group: group.number });
            }
        }
        let before = self.groups.clone();
        for group in &mut self.groups {
            group.replicas.retain(|replica| *replica != number);
        }
        let outcome = self.forget(number);
        if outcome.is_err() {
            self.groups = before;
        }
        outcome
    }

    fn forget_lost(&mut self, number: NodeId) -> Result<Outcome, Refused> {
        let before = self.groups.clone();
        let mut homes: BTreeMap<NodeId, usize> = BTreeMap::new();
        for group in &self.groups {
            *homes.entry(group.home).or_default() += 1;
        }
        for group in self.groups.iter_mut().filter(|group| group.home == number) {
            // Where there is none, the change is refused.
            let others = group.replicas.iter().copied().filter(|replica| *replica != number);
            if let Some(home) = others.min_by_key(|other| (homes.get(other).copied().unwrap_or(0), *other)) {
                *homes.entry(home).or_default() += 1;
                group.home = home;
            }
        }
        let outcome = self.forget_with_replicas(number);
        if outcome.is_err() {
            self.groups = before;
        }
        outcome
    }

    fn note_gone(&mut self, node: NodeId, groups: &[GroupNumber]) -> Outcome {
        for number in groups {
            // A group may be no more by now.
            if let Ok(group) = self.group_mut(*number) {
                group.leaving.retain(|leaving| *leaving != node);
            }
        }
        Outcome::Done
    }

    fn forget(&mut self, number: NodeId) -> Result<Outcome, Refused> {
        if self.forgotten.iter().any(|gone| gone.number == number) {
            return Ok(Outcome::Unchanged);
        }
        let node = self.known(number)?;
        if self.nodes.len() == 1 {
            return Err(Refused::LastNode(node.name));
        }
        if let Some(group) = self.groups.iter().find(|group| group.replicas.contains(&number)) {
            return Err(Refused::NodeInUse { name: node.name, group: group.number });
        }
        let gone =
            Forgotten { number, name: node.name, incarnation: node.incarnation, addresses: node.addresses.clone() };
        if self.forgotten.len() >= FORGOTTEN_MAX {
            self.forgotten.remove(0);
        }
        self.forgotten.push(gone);
        self.nodes.retain(|node| node.number != number);
        for group in &mut self.groups {
            group.leaving.retain(|leaving| *leaving != number);
        }
        for replica in self.nodes.iter_mut().filter(|node| node.role == Role::ReplicaOf(number)) {
            replica.role = Role::Master;
        }
        Ok(Outcome::Done)
    }

    fn claim_slots(&mut self, node: NodeId, ranges: &[SlotRange]) -> Result<Outcome, Refused> {
        let known = self.known(node)?;
        if known.role != Role::Master {
            return Err(Refused::ReplicaClaims(known.name));
        }
        if known.is_draining {
            return Err(Refused::Draining(known.name));
        }
        self.check_each(ranges, |slot, owner| match owner {
            SlotOwner::Nobody => Ok(()),
            _ => Err(Refused::SlotBusy(slot)),
        })?;
        let claimed = SlotSet::of(ranges.iter().copied());
        let node = self.node_mut(node)?;
        node.claimed = node.claimed.with(&claimed);
        Ok(Outcome::Done)
    }

    fn release_slots(&mut self, ranges: &[SlotRange]) -> Result<Outcome, Refused> {
        self.check_each(ranges, |slot, owner| match owner {
            SlotOwner::Claimed(_) => Ok(()),
            SlotOwner::Nobody => Err(Refused::SlotUnassigned(slot)),
            SlotOwner::Group(group) => Err(Refused::SlotHasGroup { slot, group }),
        })?;
        let released = SlotSet::of(ranges.iter().copied());
        for node in &mut self.nodes {
            node.claimed = node.claimed.without(&released);
        }
        Ok(Outcome::Done)
    }

    fn flush_slots(&mut self, node: NodeId) -> Result<Outcome, Refused> {
        self.node_mut(node)?.claimed = SlotSet::default();
        Ok(Outcome::Done)
    }

    fn set_config_epoch(&mut self, number: NodeId, epoch: u64) -> Result<Outcome, Refused> {
        let is_alone = self.nodes.len() == 1;
        let node = self.node_mut(number)?;
        if epoch > CONFIG_EPOCH_MAX {
            return Err(Refused::InvalidConfigEpoch(epoch.into()));
        }
        if !is_alone {
            return Err(Refused::ConfigEpochAmongOthers);
        }
        if node.config_epoch != 0 {
            return Err(Refused::ConfigEpochSet);
        }
        node.config_epoch = epoch;
        self.config_epoch = self.config_epoch.max(epoch);
        Ok(Outcome::Done)
    }

    fn bump_config_epoch(&mut self, number: NodeId) -> Result<Outcome, Refused> {
        let epoch = self.known(number)?.config_epoch;
        if epoch != 0 && epoch == self.config_epoch {
            return Ok(Outcome::ConfigEpoch { epoch, is_new: false });
        }
        if self.config_epoch >= CONFIG_EPOCH_MAX {
            return Err(Refused::NoNumbersLeft);
        }
        let epoch = self.config_epoch + 1;
        self.node_mut(number)?.config_epoch = epoch;
        self.config_epoch = epoch;
        Ok(Outcome::ConfigEpoch { epoch, is_new: true })
    }

    fn set_role(&mut self, number: NodeId, role: Role) -> Result<Outcome, Refused> {
        let node = self.known(number)?;
        if node.role == role {
            return Ok(Outcome::Unchanged);
        }
        if let Role::ReplicaOf(master) = role {
            let master = self.known(master)?;
            if master.number == number {
                return Err(Refused::ReplicateItself);
            }
            if master.role != Role::Master {
                return Err(Refused::ReplicateReplica);
            }
            let leads = self.groups.iter().any(|group| group.home == number);
            if !node.claimed.is_empty() || leads {
                return Err(Refused::ReplicaNotEmpty);
            }
            // A replica has no replicas: they follow it.
            for replica in self.nodes.iter_mut().filter(|node| node.role == Role::ReplicaOf(number)) {
                replica.role = role;
            }
        }
        self.node_mut(number)?.role = role;
        Ok(Outcome::Done)
    }

    fn found_groups(&mut self, number: NodeId, count: u16) -> Result<Outcome, Refused> {
        let node = self.known(number)?;
        let slots: Vec<u16> = node.claimed.slots().collect();
        if slots.is_empty() {
            return Err(Refused::NothingClaimed(node.name));
        }
        if count == 0 {
            return Err(Refused::GroupNumbers);
        }
        let count = usize::from(count).min(slots.len());
        if self.groups.len() + count > GROUPS_MAX {
            return Err(Refused::TooManyGroups);
        }
        if self.next_group > GROUP_NUMBER_MAX - count as u64 {
            return Err(Refused::NoNumbersLeft);
        }
        let first = GroupNumber(self.next_group);
        let begin = |part: usize| (part * slots.len()).div_ceil(count);
        for part in 0..count {
            let dealt = SlotSet::of_slots(slots[begin(part)..begin(part + 1)].iter().copied());
            self.groups.push(first_placed(GroupNumber(first.0 + part as u64), dealt, number));
        }
        self.next_group += count as u64;
        self.node_mut(number)?.claimed = SlotSet::default();
        Ok(Outcome::Founded { first, count: u16::try_from(count).expect("no more than were asked for") })
    }

    fn note_live(&mut self, groups: &[GroupNumber]) -> Result<Outcome, Refused> {
        if let Some(unknown) = groups.iter().find(|group| self.group(**group).is_none()) {
            return Err(Refused::UnknownGroup(*unknown));
        }
        for group in groups {
            self.group_mut(*group)?.is_live = true;
        }
        Ok(Outcome::Done)
    }

    fn give_up_slots(&mut self, node: NodeId) -> Result<Outcome, Refused> {
        self.node_mut(node)?.claimed = SlotSet::default();
        self.groups.retain(|group| group.replicas != [node]);
        Ok(Outcome::Done)
    }

    fn place_groups(&mut self, mut placements: Vec<GroupPlacement>) -> Result<Outcome, Refused> {
        let mut placed = BTreeSet::new();
        for GroupPlacement { group, home, replicas } in &mut placements {
            if !self.group(*group).ok_or(Refused::UnknownGroup(*group))?.is_live {
                return Err(Refused::NotLive(*group));
            }
            check_replica_count(replicas.len())?;
            replicas.sort_unstable();
            if !placed.insert(*group) || replicas.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Refused::PlacedTwice(*group));
            }
            if let Some(stranger) = replicas.iter().find(|replica| self.node(**replica).is_none()) {
                return Err(Refused::UnknownNumber(*stranger));
            }
            if !replicas.contains(home) {
                return Err(Refused::HomeElsewhere(*group));
            }
        }
        for GroupPlacement { group, home, replicas } in placements {
            let group = self.group_mut(group)?;
            group.leaving.extend(group.replicas.iter().copied());
            group.leaving.retain(|node| !replicas.contains(node));
            group.leaving.sort_unstable();
            group.leaving.dedup();
            (group.home, group.replicas) = (home, replicas);
        }
        Ok(Outcome::Done)
    }

    fn move_groups(&mut self, moves: Vec<GroupMove>) -> Result<Outcome, Refused> {
        for GroupMove { from, to } in &moves {
            let group = self.group(to.group).ok_or(Refused::UnknownGroup(to.group))?;
            if (group.home, &group.replicas) != (from.home, &from.replicas) {
                return Err(Refused::MovedMeanwhile(to.group));
            }
            let drains = |node: &&Node| node.is_draining && !group.replicas.contains(&node.number);
            if let Some(node) = to.replicas.iter().filter_map(|node| self.node(*node)).find(drains) {
                return Err(Refused::Draining(node.name));
            }
        }
        self.place_groups(moves.into_iter().map(|moved| moved.to).collect())
    }

    fn set_homes(&mut self, homes: &[(GroupNumber, NodeId)]) -> Result<Outcome, Refused> {
        let mut placed = BTreeSet::new();
        for &(number, home) in homes {
            let group = self.group(number).ok_or(Refused::UnknownGroup(number))?;
            if !group.is_live {
                return Err(Refused::NotLive(number));
            }
            if !placed.insert(number) {
                return Err(Refused::PlacedTwice(number));
            }
            // Whoever asked for it may have known of others.
            if !group.replicas.contains(&home) {
                return Err(Refused::HomeElsewhere(number));
            }
        }
        for &(number, home) in homes {
            self.group_mut(number)?.home = home;
        }
        Ok(Outcome::Done)
    }

    fn set_replicas_wanted(&mut self, group: GroupNumber, count: Option<u8>) -> Result<Outcome, Refused> {
        count.map_or(Ok(()), |count| check_replica_count(count.into()))?;
        self.group_mut(group)?.replicas_wanted = count;
        Ok(Outcome::Done)
    }

    fn move_slots(&mut self, slots: &SlotSet, from: SlotOwner, to: SlotOwner) -> Result<Outcome, Refused> {
        for owner in [from, to] {
            match owner {
                SlotOwner::Nobody => {}
                SlotOwner::Claimed(node) => {
                    let node = self.known(node)?;
                    if node.role != Role::Master {
                        return Err(Refused::ReplicaClaims(node.name));
                    }
                }
                SlotOwner::Group(group) => {
                    self.group(group).ok_or(Refused::UnknownGroup(group))?;
                }
            }
        }
        if let Some(slot) = slots.slots().find(|slot| self.owner_of(*slot) != from) {
            return Err(Refused::SlotElsewhere(slot));
        }
        if let Some(set) = self.slots_mut(from) {
            *set = set.without(slots);
        }
        if let Some(set) = self.slots_mut(to) {
            *set = set.with(slots);
        }
        Ok(Outcome::Done)
    }

    fn remove_group(&mut self, number: GroupNumber) -> Result<Outcome, Refused> {
        let group = self.group(number).ok_or(Refused::UnknownGroup(number))?;
        if !group.slots.is_empty() {
            return Err(Refused::GroupHasSlots(number));
        }
        self.groups.retain(|group| group.number != number);
        Ok(Outcome::Done)
    }

    fn set_replication_factor(&mut self, count: u8) -> Result<Outcome, Refused> {
        check_replica_count(count.into())?;
        self.replication_factor = count;
        Ok(Outcome::Done)
    }

    fn set_draining(&mut self, number: NodeId, is_draining: bool) -> Result<Outcome, Refused> {
        let stays = |node: &&Node| node.number != number && !node.is_draining;
        let staying = self.nodes.iter().filter(stays).count();
        if is_draining && !self.known(number)?.is_draining && staying < REPLICAS_OTHER_MIN {
            return Err(Refused::TooFewStay(staying));
        }
        self.node_mut(number)?.is_draining = is_draining;
        Ok(Outcome::Done)
    }

    /// Checks slot by slot, in the order in which they were named, that `check` takes its owner, and that none is named twice.
    fn check_each(
        &self,
        ranges: &[SlotRange],
        check: impl Fn(u16, SlotOwner) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let mut named = BTreeSet::new();
        for slot in ranges.iter().flat_map(|range| range.slots()) {
            check(slot, self.owner_of(slot))?;
            if !named.insert(slot) {
                return Err(Refused::SlotRepeated(slot));
            }
        }
        Ok(())
    }

    fn owner_of(&self, slot: u16) -> SlotOwner {
        self.owner(Slot::new(slot))
    }

    fn slots_mut(&mut self, owner: SlotOwner) -> Option<&mut SlotSet> {
        match owner {
            SlotOwner::Nobody => None,
            SlotOwner::Claimed(node) => self.node_mut(node).ok().map(|node| &mut node.claimed),
            SlotOwner::Group(group) => self.group_mut(group).ok().map(|group| &mut group.slots),
        }
    }
}

/// A group that is on one node only.
fn first_placed(number: GroupNumber, slots: SlotSet, home: NodeId) -> Group {
    Group { number, slots, is_live: false, replicas_wanted: None, home, replicas: vec![home], leaving: Vec::new() }
}

fn check_incarnation(name: super::NodeName, known: u64, found: u64) -> Result<(), Refused> {
    if found < known { Err(Refused::OldIncarnation { name, known, found }) } else { Ok(()) }
}

pub(super) fn check_replica_count(count: usize) -> Result<(), Refused> {
    if (1..=REPLICAS_MAX).contains(&count) { Ok(()) } else { Err(Refused::ReplicaCount(count)) }
}
