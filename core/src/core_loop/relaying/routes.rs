//! The way of a command in a cluster whose nodes pass commands on.

use basalt_raft::NodeId;
use basalt_storage::keyspace::Slot;

use super::request::Aim;
use crate::clients::Connection;
use crate::cluster::Elsewhere;
use crate::cluster::map::{GroupNumber, SlotOwner};
use crate::commands::{Args, Command, CommandError, why_not_in_cluster};
use crate::core_loop::core::Core;
use crate::ids::ShardId;
use crate::node::GroupState;

/// The place where a group is led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// This shard of the node has it.
    Here(ShardId),
    /// Another node leads it.
    Node(NodeId),
    /// Nobody does, as far as is known.
    Unknown,
}

/// The way that a command takes.
#[derive(Debug)]
pub(in crate::core_loop) enum Course {
    /// That of all commands of this node.
    Own,
    /// To whoever leads this.
    To(Aim),
    /// To the leaders of all groups.
    AllGroups,
    /// None.
    Refused(CommandError),
}

impl Core {
    /// True if commands of a connection are passed on. What another node has passed on never is.
    #[inline]
    pub(in crate::core_loop) fn passes_on(&self, connection: &Connection) -> bool {
        self.is_proxy && self.routing.cluster.is_some() && connection.session.forwarded.is_none()
    }

    /// The group that is aimed at, if there is one.
    pub(super) fn group_of(&self, aim: Aim) -> Option<GroupNumber> {
        let map = self.routing.cluster.as_ref()?.map.as_deref()?;
        match aim {
            Aim::Group(group) => map.group(group).map(|group| group.number),
            Aim::Slot(slot) => match map.owner(slot) {
                SlotOwner::Group(group) => Some(group),
                SlotOwner::Nobody | SlotOwner::Claimed(_) => None,
            },
        }
    }

    /// The place where a group is led.
    pub(super) fn way_to(&self, aim: Aim) -> Way {
        let (Some(cluster), Some(number)) = (self.routing.cluster.as_ref(), self.group_of(aim)) else {
            return Way::Unknown;
        };
        let Some(group) = cluster.map.as_deref().and_then(|map| map.group(number)) else { return Way::Unknown };
        match cluster.leader_of(group).filter(|leader| *leader != cluster.myself) {
            Some(leader) => Way::Node(leader),
            None => match cluster.local.get(&number).map(|local| local.shard) {
                Some(shard) if self.leads(shard) => Way::Here(shard),
                _ => Way::Unknown,
            },
        }
    }

    /// False if a shard of this node knows of nobody who leads its group: what is for it waits for an election.
    fn leads(&self, shard: ShardId) -> bool {
        self.routing.router.shards().any(|routed| routed == shard) && self.knows_leader(shard)
    }

    fn knows_leader(&self, shard: ShardId) -> bool {
        let state = self.server.shards.get(shard).map(|stats| stats.state.get());
        !matches!(state, Some(GroupState::Leaderless | GroupState::Recovering))
    }

    /// The way of a command of a connection whose commands are passed on.
    pub(in crate::core_loop) fn course_of(&self, db: u8, command: &Command, args: Args<'_>) -> Course {
        // A migration is refused here, wherever its keys are.
        if (command.is_of_session() && !command.is_by_slot && !command.watches) || command.migrates {
            return Course::Own;
        }
        if command.concerns_all_shards() {
            // Libraries of functions are each node's own, as in Redis Cluster.
            let is_of_functions = command.changes_functions.is_some() || command.is_of_functions;
            // Here it is refused: there is one database.
            let is_own = is_of_functions || command.swaps_databases;
            return if is_own { Course::Own } else { Course::AllGroups };
        }
        let mut slots = command.keys(args).map(|key| Slot::of(args[key]));
        let Some(slot) = slots.next() else {
            // A script without keys runs anywhere, but on a node that leads nothing.
            let is_anywhere = !command.is_of_session() && self.routing.router.first_shard().is_none();
            let aim = Aim::Slot(Slot::new(0));
            return if is_anywhere && self.group_of(aim).is_some() { Course::To(aim) } else { Course::Own };
        };
        // Most commands of a client that knows the cluster.
        if self.routing.router.shard_of_slot(slot).is_some_and(|shard| self.knows_leader(shard)) {
            return Course::Own;
        }
        let aim = Aim::Slot(slot);
        let way = self.way_to(aim);
        let Some(cluster) = self.routing.cluster.as_ref().filter(|_| !matches!(way, Way::Here(_))) else {
            return Course::Own;
        };
        // In the order in which a node looks that sends clients on.
        if let nowhere @ (Elsewhere::NotServed | Elsewhere::Loading) = cluster.elsewhere(slot) {
            return Course::Refused(CommandError::owned(nowhere.to_string()));
        }
        if slots.any(|other| other != slot) {
            return Course::Refused(CommandError::CROSS_SLOT);
        }
        if let Some(reason) = why_not_in_cluster(command, args, db) {
            return Course::Refused(CommandError::owned(format!("ERR {reason}")));
        }
        if self.group_of(aim).is_none() || (command.is_by_slot && way == Way::Unknown) {
            // The slots are to be given to groups yet.
            return Course::Own;
        }
        if command.is_by_slot && !command.publishes {
            return Course::Refused(self.not_forwarded(command.name(), aim));
        }
        Course::To(aim)
    }

    /// The refusal of what is not passed on, with the address where it is executed.
    pub(super) fn not_forwarded(&self, name: &str, aim: Aim) -> CommandError {
        let address = match self.way_to(aim) {
            Way::Node(node) => self.client_address(node),
            Way::Here(_) | Way::Unknown => None,
        };
        let address = address.unwrap_or_else(|| "the node that leads the key's group".to_owned());
        CommandError::owned(format!("ERR '{name}' is not forwarded: send it to {address}"))
    }

    fn client_address(&self, node: NodeId) -> Option<String> {
        let map = self.routing.cluster.as_ref()?.map.as_deref()?;
        let addresses = &map.node(node)?.addresses;
        Some(format!("{}:{}", addresses.ip?, addresses.port))
    }

    /// The node that has this address for clients.
    pub(super) fn node_at(&self, host: &str, port: u16) -> Option<NodeId> {
        let map = self.routing.cluster.as_ref()?.map.as_deref()?;
        let is_there = |ip: Option<std::net::IpAddr>| ip.is_some_and(|ip| ip.to_string() == host);
        map.nodes()
            .iter()
            .find(|node| node.addresses.port == port && is_there(node.addresses.ip))
            .map(|node| node.number)
    }
}
