//! The nodes that may have replicas, and the groups on them, by their places in lists.

use std::collections::{BTreeMap, BTreeSet};

use basalt_raft::NodeId;

use super::super::map::{Group, GroupPlacement, Map, Role};

/// A node that is there and stays.
#[derive(Debug)]
pub(super) struct Seat {
    number: NodeId,
    /// The zone's place among all zones.
    zone: usize,
    /// The seat of its master, if it is a replica and that one has a seat.
    master: Option<usize>,
    /// True if it may be a home.
    can_lead: bool,
}

/// A group that can be moved.
#[derive(Debug)]
pub(super) struct Row {
    /// Its place among the map's groups.
    at: usize,
    /// The number of replicas it should have on seats.
    wanted: usize,
    /// The seat of its home; none until one is found.
    home: Option<usize>,
    /// The seats that have it.
    replicas: BTreeSet<usize>,
    /// The seats that have it in the map.
    at_first: BTreeSet<usize>,
    /// Nodes without a seat that keep it, since there are too few seats.
    kept: Vec<NodeId>,
}

/// All of them. Seats and groups are known by their places here.
#[derive(Debug)]
pub(super) struct Board {
    seats: Vec<Seat>,
    zones: usize,
    rows: Vec<Row>,
    /// True for seats that others follow.
    is_followed: Vec<bool>,
    /// The groups of each seat.
    groups_at: Vec<BTreeSet<usize>>,
    /// The groups of which each seat is the home.
    homes_at: Vec<BTreeSet<usize>>,
}

impl Board {
    pub(super) fn of(map: &Map, lost: &BTreeSet<NodeId>) -> Board {
        let there: Vec<_> =
            map.nodes().iter().filter(|node| !lost.contains(&node.number) && !node.is_draining).collect();
        let seat_of: BTreeMap<NodeId, usize> =
            there.iter().enumerate().map(|(seat, node)| (node.number, seat)).collect();
        let has_masters = there.iter().any(|node| node.role == Role::Master);
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        let mut zone_count = 0;
        let seats: Vec<Seat> = there
            .iter()
            .map(|node| {
                let label = node.addresses.zone.as_str();
                let known = if label.is_empty() { None } else { zones.get(label).copied() };
                let zone = known.unwrap_or(zone_count);
                if known.is_none() {
                    zones.insert(label, zone);
                    zone_count += 1;
                }
                Seat {
                    number: node.number,
                    zone,
                    master: node.master().and_then(|master| seat_of.get(&master).copied()),
                    can_lead: node.role == Role::Master || !has_masters,
                }
            })
            .collect();
        let is_followed = (0..seats.len()).map(|at| seats.iter().any(|seat| seat.master == Some(at))).collect();
        let mut board = Board {
            zones: zone_count,
            is_followed,
            rows: Vec::new(),
            groups_at: vec![BTreeSet::new(); seats.len()],
            homes_at: vec![BTreeSet::new(); seats.len()],
            seats,
        };
        if board.seats.is_empty() {
            return board;
        }
        for (at, group) in map.groups().iter().enumerate() {
            // Nobody could copy it, or nobody has it yet.
            if !group.is_live || group.replicas.iter().all(|replica| lost.contains(replica)) {
                continue;
            }
            let all_wanted = usize::from(map.replicas_wanted(group));
            board.add(at, group, all_wanted, &seat_of, lost);
        }
        board
    }

    fn add(
        &mut self,
        at: usize,
        group: &Group,
        all_wanted: usize,
        seat_of: &BTreeMap<NodeId, usize>,
        lost: &BTreeSet<NodeId>,
    ) {
        let wanted = all_wanted.min(self.seats.len());
        let replicas: BTreeSet<usize> = group.replicas.iter().filter_map(|node| seat_of.get(node).copied()).collect();
        let mut kept: Vec<NodeId> = group.replicas.iter().copied().filter(|node| !seat_of.contains_key(node)).collect();
        // Draining nodes come first: they are there.
        kept.sort_by_key(|node| (lost.contains(node), *node));
        kept.truncate(all_wanted - wanted);
        let row = self.rows.len();
        for seat in &replicas {
            self.groups_at[*seat].insert(row);
        }
        let home = seat_of.get(&group.home).copied().filter(|seat| self.seats[*seat].can_lead);
        if let Some(home) = home {
            self.homes_at[home].insert(row);
        }
        self.rows.push(Row { at, wanted, home, at_first: replicas.clone(), replicas, kept });
    }

    /// The places that differ from those in `map`.
    pub(super) fn changed(&self, map: &Map) -> Vec<GroupPlacement> {
        let placements = self.rows.iter().filter_map(|row| {
            let group = &map.groups()[row.at];
            let home = self.seats[row.home.expect("every group has found a home")].number;
            let mut replicas: Vec<NodeId> = row.replicas.iter().map(|seat| self.seats[*seat].number).collect();
            replicas.extend(&row.kept);
            replicas.sort_unstable();
            let is_same = group.home == home && group.replicas == replicas;
            (!is_same).then_some(GroupPlacement { group: group.number, home, replicas })
        });
        placements.collect()
    }

    pub(super) fn seats(&self) -> std::ops::Range<usize> {
        0..self.seats.len()
    }

    pub(super) fn rows(&self) -> std::ops::Range<usize> {
        0..self.rows.len()
    }

    /// The place of a group among those of the map.
    pub(super) fn place(&self, row: usize) -> usize {
        self.rows[row].at
    }

    /// The node on a seat.
    pub(super) fn number(&self, seat: usize) -> NodeId {
        self.seats[seat].number
    }

    pub(super) fn can_lead(&self, seat: usize) -> bool {
        self.seats[seat].can_lead
    }

    pub(super) fn home(&self, row: usize) -> Option<usize> {
        self.rows[row].home
    }

    /// The replicas that the group has more than it should, or fewer if negative.
    pub(super) fn excess(&self, row: usize) -> isize {
        self.rows[row].replicas.len() as isize - self.rows[row].wanted as isize
    }

    pub(super) fn replicas(&self, row: usize) -> &BTreeSet<usize> {
        &self.rows[row].replicas
    }

    pub(super) fn groups_at(&self, seat: usize) -> &BTreeSet<usize> {
        &self.groups_at[seat]
    }

    pub(super) fn homes_at(&self, seat: usize) -> &BTreeSet<usize> {
        &self.homes_at[seat]
    }

    /// Replicas of the group in the zone of `seat`.
    pub(super) fn in_zone_of(&self, row: usize, seat: usize) -> usize {
        if self.zones == self.seats.len() {
            return usize::from(self.rows[row].replicas.contains(&seat));
        }
        let zone = self.seats[seat].zone;
        self.rows[row].replicas.iter().filter(|replica| self.seats[**replica].zone == zone).count()
    }

    /// True if both are in one zone.
    pub(super) fn is_one_zone(&self, one: usize, other: usize) -> bool {
        self.seats[one].zone == self.seats[other].zone
    }

    /// True if the group has a replica there in the map.
    pub(super) fn was_at(&self, row: usize, seat: usize) -> bool {
        self.rows[row].at_first.contains(&seat)
    }

    /// True if there are replica nodes of which `seat` is the master.
    pub(super) fn is_followed(&self, seat: usize) -> bool {
        self.is_followed[seat]
    }

    /// True if `seat` is a replica of the group's home by its role.
    pub(super) fn follows_home(&self, row: usize, seat: usize) -> bool {
        self.seats[seat].master.is_some() && self.seats[seat].master == self.rows[row].home
    }

    pub(super) fn set_home(&mut self, row: usize, seat: usize) {
        if let Some(before) = self.rows[row].home.replace(seat) {
            self.homes_at[before].remove(&row);
        }
        self.homes_at[seat].insert(row);
        self.insert(row, seat);
    }

    pub(super) fn insert(&mut self, row: usize, seat: usize) {
        self.rows[row].replicas.insert(seat);
        self.groups_at[seat].insert(row);
    }

    pub(super) fn remove(&mut self, row: usize, seat: usize) {
        assert_ne!(self.rows[row].home, Some(seat), "a group's home has a replica of it");
        self.rows[row].replicas.remove(&seat);
        self.groups_at[seat].remove(&row);
    }
}
