//! The commands on the cluster (<https://redis.io/docs/latest/commands/?group=cluster>): what a client is shown of the map, and the
//! changes of it that a client may ask for.
//!
//! What a newcomer would get wrong: none of these is called on a node alone, which has no map.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};

use basalt_net::resp::Reply;
use basalt_raft::NodeId;
use basalt_storage::keyspace::{SLOT_COUNT, Slot};

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use super::placing::Answering;
use super::replication::Replicas;
use crate::acl;
use crate::cluster::OTHER_CLUSTER;
use crate::cluster::map::{
    Change, Group, GroupNumber, Map, Node, Refused, forget_target, read_config_epoch, read_slot_ranges, read_slots,
};
use crate::cluster::texts::{self, Health, View};
use crate::cluster::{InCluster, Routing};
use crate::commands::{Args, CommandError, Merge, parse_i64, table};
use crate::mail::Control;
use crate::multi_shard::SlotKeys;
use crate::node::{GroupState, Server, ShardStats};

impl From<Refused> for CommandError {
    fn from(refused: Refused) -> CommandError {
        CommandError::owned(refused.to_string())
    }
}

/// The cluster as this node knows it now.
pub(super) struct Known {
    routing: Arc<Routing>,
    pub(super) map: Arc<Map>,
}

impl Known {
    pub(super) fn of(context: &SessionContext<'_>) -> Result<Known, CommandError> {
        let routing = context.routing.clone();
        let map = routing.cluster.as_ref().and_then(|cluster| cluster.map.clone());
        // A node whose map does not name it yet has just been created.
        let map = map.filter(|map| routing.cluster.as_ref().is_some_and(|cluster| map.node(cluster.myself).is_some()));
        map.map(|map| Known { routing, map }).ok_or(CommandError::LOADING)
    }

    pub(super) fn cluster(&self) -> &InCluster {
        self.routing.cluster.as_ref().expect("it has a map")
    }

    pub(super) fn myself(&self) -> &Node {
        self.map.node(self.cluster().myself).expect("this was looked at before")
    }

    /// Shows the cluster to a client.
    fn show(&self, server: &Server, write: impl FnOnce(&View<'_>)) {
        let cluster = self.cluster();
        let mut peers = server.peers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let replicas = Replicas::of(server);
        for (node, replica) in &replicas.nodes {
            if let Some(peer) = peers.get_mut(node) {
                peer.replication_offset = replica.offset;
            }
        }
        let leads = |shard| server.shards.get(shard).is_some_and(|stats| stats.state.get() == GroupState::Leader);
        let leader = |group: &Group| {
            let local = cluster.local.get(&group.number);
            let leader = cluster.leader_of(group).filter(|_| group.is_live)?;
            let is_there = if leader == cluster.myself {
                local.is_some_and(|local| leads(local.shard))
            } else {
                peers.get(&leader).is_some_and(|peer| peer.health == Health::Up)
            };
            is_there.then_some((group.number, leader))
        };
        let leaders: BTreeMap<GroupNumber, NodeId> = self.map.groups().iter().filter_map(leader).collect();
        write(&View {
            map: &self.map,
            myself: cluster.myself,
            leaders: &leaders,
            peers: &peers,
            replication_offset: replicas.offset,
            messages_sent: 0,
            messages_received: 0,
        });
    }
}

fn shown(context: &SessionContext<'_>, write: impl FnOnce(&View<'_>)) -> Ran {
    Known::of(context)?.show(context.server, write);
    Ok(Outcome::Done)
}

pub(super) fn changed(change: Change) -> Ran {
    Ok(Outcome::Change(Box::new(change)))
}

/// `CLUSTER INFO`.
pub(super) fn info(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    shown(context, |view| texts::reply_info(view, reply))
}

/// `CLUSTER NODES`.
pub(super) fn nodes(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    shown(context, |view| texts::reply_nodes(view, reply))
}

/// `CLUSTER SLOTS`.
pub(super) fn slots(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    shown(context, |view| texts::reply_slots(view, reply))
}

/// `CLUSTER SHARDS`.
pub(super) fn shards(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    shown(context, |view| texts::reply_shards(view, reply))
}

/// `CLUSTER MYID`.
pub(super) fn my_id(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    shown(context, |view| texts::reply_myid(view, reply))
}

/// `CLUSTER MYSHARDID`: the id of the master, which is the shard's name here.
pub(super) fn my_shard_id(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let myself = known.myself();
    let master = myself.master().and_then(|master| known.map.node(master)).unwrap_or(myself);
    reply.bulk_display(master.name);
    Ok(Outcome::Done)
}

/// `CLUSTER KEYSLOT key`.
pub(super) fn key_slot(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    texts::reply_keyslot(args[2], reply);
    Ok(Outcome::Done)
}

/// `CLUSTER LINKS`: the connections of all cores with other nodes.
pub(super) fn links(context: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    Known::of(context)?;
    Ok(Outcome::Control(Control::ListLinks, Merge::Arrays))
}

/// `CLUSTER REPLICAS node` and `CLUSTER SLAVES node`.
pub(super) fn replicas(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let node = known.map.named_by_client(args[2])?;
    if node.master().is_some() {
        return Err(CommandError::text("ERR The specified node is not a master"));
    }
    known.show(context.server, |view| texts::reply_replicas(view, node, reply));
    Ok(Outcome::Done)
}

/// `CLUSTER COUNT-FAILURE-REPORTS node`: nodes are not voted on here.
pub(super) fn count_failure_reports(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    Known::of(context)?.map.named_by_client(args[2])?;
    reply.integer(0);
    Ok(Outcome::Done)
}

/// `CLUSTER ADDSLOTS slot …`.
pub(super) fn add_slots(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let node = Known::of(context)?.cluster().myself;
    changed(Change::ClaimSlots { node, ranges: read_slots(args[2..].iter().copied())? })
}

/// `CLUSTER ADDSLOTSRANGE first last …`.
pub(super) fn add_slots_range(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let node = Known::of(context)?.cluster().myself;
    changed(Change::ClaimSlots { node, ranges: read_slot_ranges(pairs("addslotsrange", args)?)? })
}

/// `CLUSTER DELSLOTS slot …`.
pub(super) fn delete_slots(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    changed(Change::ReleaseSlots { ranges: read_slots(args[2..].iter().copied())? })
}

/// `CLUSTER DELSLOTSRANGE first last …`.
pub(super) fn delete_slots_range(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    changed(Change::ReleaseSlots { ranges: read_slot_ranges(pairs("delslotsrange", args)?)? })
}

/// The arguments of a command that takes pairs.
fn pairs<'a>(subcommand: &str, args: Args<'a>) -> Result<Args<'a>, CommandError> {
    let pairs = &args[2..];
    if pairs.len().is_multiple_of(2) {
        return Ok(pairs);
    }
    Err(CommandError::wrong_argument_count(&format!("cluster|{subcommand}")))
}

/// `CLUSTER FLUSHSLOTS`.
pub(super) fn flush_slots(context: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    Known::of(context)?;
    give_up(context.server, GIVE_UP_WITH_KEYS[0])
}

/// `CLUSTER RESET [HARD|SOFT]`.
pub(super) fn reset(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let is = |word: &str| args.get(2).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    if args.len() > 3 || (args.len() == 3 && !is("hard") && !is("soft")) {
        return Err(CommandError::SYNTAX);
    }
    let cluster = context.routing.cluster.as_ref().ok_or(CommandError::LOADING)?;
    if is("hard") {
        return Err(CommandError::text(
            "ERR a node keeps its id as long as its data directory: start it with another --dir instead of CLUSTER RESET HARD",
        ));
    }
    let map = cluster.map.as_deref().or(cluster.old_map.as_deref()).filter(|map| map.is_founded());
    let map = map.ok_or(CommandError::LOADING)?;
    if map.nodes().iter().all(|node| node.number == cluster.myself) {
        return give_up(context.server, GIVE_UP_WITH_KEYS[1]);
    }
    if !cluster.local.is_empty() {
        return Err(CommandError::owned(format!(
            "ERR the node has replicas of {} groups: empty it first with BASALT DRAIN",
            cluster.local.len()
        )));
    }
    Ok(Outcome::LeaveCluster)
}

/// Has the keeper give up all slots of the node. It closes the shards first and looks again; what is seen here only spares it that.
fn give_up(server: &Server, refusal: &'static str) -> Ran {
    let is_open = |stats: &ShardStats| matches!(stats.state.get(), GroupState::Leader | GroupState::Follower);
    if !server.shards.iter().all(is_open) {
        return Err(CommandError::text("LOADING the node's shards are not all open"));
    }
    if server.shards.iter().any(|stats| stats.keys.iter().any(|keys| keys.get() > 0)) {
        return Err(CommandError::text(refusal));
    }
    Ok(Outcome::GiveUp(refusal))
}

/// Redis' words for a node with keys, on FLUSHSLOTS and on RESET.
const GIVE_UP_WITH_KEYS: [&str; 2] = [
    "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.",
    "ERR CLUSTER RESET can't be called with master nodes containing keys",
];

/// `CLUSTER SET-CONFIG-EPOCH epoch`.
pub(super) fn set_config_epoch(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let node = Known::of(context)?.cluster().myself;
    changed(Change::SetConfigEpoch { node, epoch: read_config_epoch(parse_i64(args[2])?)? })
}

/// `CLUSTER BUMPEPOCH`.
pub(super) fn bump_epoch(context: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    changed(Change::BumpConfigEpoch { node: Known::of(context)?.cluster().myself })
}

/// `CLUSTER SAVECONFIG`: the map is on disk before anybody hears of it.
pub(super) fn save_config(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    Known::of(context)?;
    reply.ok();
    Ok(Outcome::Done)
}

/// `CLUSTER FORGET node`.
pub(super) fn forget(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let node = forget_target(&known.map, known.cluster().myself, args[2])?;
    if let (Some(node), Some(group)) =
        (known.map.node(node), known.map.groups().iter().find(|group| group.home == node))
    {
        return Err(Refused::NodeInUse { name: node.name, group: group.number }.into());
    }
    if !Answering::of(context, &known).is_lost(node) {
        // It may be needed by what it answers, which is not to be seen from here.
        let is_needed = |group: &&Group| group.leaving.contains(&node) || group.replicas.contains(&node);
        if let Some(group) = known.map.groups().iter().find(is_needed) {
            let name = known.map.node(node).map_or_else(|| node.to_string(), |node| node.name.to_string());
            let text = format!(
                "ERR node {name} is not known to be lost, and has a replica of group {}: BASALT DRAIN empties it",
                group.number
            );
            return Err(CommandError::owned(text));
        }
    }
    changed(Change::ForgetWithReplicas { node })
}

/// `CLUSTER REPLICATE node`.
pub(super) fn replicate(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    use crate::cluster::map::Role;
    let known = Known::of(context)?;
    let master = known.map.named_by_client(args[2])?.number;
    changed(Change::SetRole { node: known.cluster().myself, role: Role::ReplicaOf(master) })
}

/// Makes sure that a client learns nothing by having this node give the password that it has for others to an address of the
/// client's choice: it may ask for that password anyway, or is the user to whom that belongs.
fn check_may_show_password(context: &SessionContext<'_>) -> Result<(), CommandError> {
    let config = context.server.settings.config();
    let Some((user, password)) = config.for_other_nodes() else { return Ok(()) };
    let asker = &context.session.user;
    let knows_it = !asker.needs_no_password() && asker.is_let_in_with(password.as_bytes());
    let is_of_nodes = asker.name() == user.as_bytes() && knows_it;
    let names = [&b"config"[..], b"get", b"masterauth"];
    let may_ask = || table::find(&names).is_ok_and(|get| acl::check(asker, get, &names).is_ok());
    if is_of_nodes || may_ask() {
        return Ok(());
    }
    Err(CommandError::text(
        "NOPERM CLUSTER MEET gives the password that this node has for others to that address: it needs a user who may call 'config|get', \
         or who is the masteruser",
    ))
}

/// `CLUSTER MEET ip port [bus-port]`: the node is asked for its own port for other nodes.
pub(super) fn meet(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    check_may_show_password(context)?;
    let text = |arg: &[u8]| String::from_utf8_lossy(arg).replace(|letter: char| letter.is_control(), " ");
    let port = |arg: &[u8], what: &str| {
        let found = parse_i64(arg).ok().and_then(|port| u16::try_from(port).ok());
        found.ok_or_else(|| CommandError::owned(format!("ERR Invalid {what} port specified: {}", text(arg))))
    };
    let to = port(args[3], "TCP base")?;
    args.get(4).map_or(Ok(0), |bus_port| port(bus_port, "TCP bus"))?;
    let ip = std::str::from_utf8(args[2]).ok().and_then(|ip| ip.parse::<IpAddr>().ok()).filter(|_| to != 0);
    let invalid =
        || CommandError::owned(format!("ERR Invalid node address specified: {}:{}", text(args[2]), text(args[3])));
    Ok(Outcome::Meet(SocketAddr::new(ip.ok_or_else(invalid)?, to)))
}

/// `BASALT CHANGE cluster-id change`: a change of the map that another node wants. It is made where the map's group is led only,
/// and only in the cluster that is meant: an address may be another node's by now.
pub(super) fn change_for_node(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let cluster = context.routing.cluster.as_ref().ok_or(CommandError::LOADING)?.id;
    if args[2] != cluster.to_string().as_bytes() {
        return Err(CommandError::owned(format!("{OTHER_CLUSTER}, {cluster}")));
    }
    let change = Change::decode(args[3]).map_err(|error| CommandError::owned(format!("ERR {error}")))?;
    if matches!(change, Change::FoundCluster { .. }) {
        return Err(CommandError::text("ERR a cluster is founded by its first node itself"));
    }
    Ok(Outcome::ChangeForNode(Box::new(change)))
}

/// `BASALT MAP`: the map's bytes.
pub(super) fn tell_map(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.bulk(Known::of(context)?.map.encode());
    Ok(Outcome::Done)
}

/// `CLUSTER SETSLOT slot …`.
pub(super) fn set_slot(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    Err(CommandError::text(
        "ERR CLUSTER SETSLOT is not there: slots are moved from group to group by the cluster itself",
    ))
}

/// `CLUSTER COUNTKEYSINSLOT slot`.
pub(super) fn count_keys_in_slot(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let slot = read_slot(parse_i64(args[2])?).ok_or(CommandError::text("ERR Invalid slot"))?;
    match Known::of(context)?.routing.router.shard_of_slot(slot) {
        Some(shard) => {
            let (parts, walk) = SlotKeys::start(shard, slot, None, context.server.reply_bounds());
            Ok(Outcome::Parts(parts, Box::new(walk)))
        }
        None => {
            reply.integer(0);
            Ok(Outcome::Done)
        }
    }
}

/// `CLUSTER GETKEYSINSLOT slot count`.
pub(super) fn get_keys_in_slot(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let (slot, most) = (parse_i64(args[2])?, parse_i64(args[3])?);
    let slot = read_slot(slot).zip(usize::try_from(most).ok());
    let (slot, most) = slot.ok_or(CommandError::text("ERR Invalid slot or number of keys"))?;
    match Known::of(context)?.routing.router.shard_of_slot(slot) {
        Some(shard) if most > 0 => {
            let (parts, walk) = SlotKeys::start(shard, slot, Some(most), context.server.reply_bounds());
            Ok(Outcome::Parts(parts, Box::new(walk)))
        }
        _ => {
            reply.array(0);
            Ok(Outcome::Done)
        }
    }
}

fn read_slot(slot: i64) -> Option<Slot> {
    u16::try_from(slot).ok().filter(|slot| *slot < SLOT_COUNT).map(Slot::new)
}

/// `READONLY`: the connection reads what the replicas of this node have.
pub(super) fn read_only(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    context.session.is_readonly = true;
    reply.ok();
    Ok(Outcome::Done)
}

/// `READWRITE`: it reads what is newest again.
pub(super) fn read_write(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    context.session.is_readonly = false;
    reply.ok();
    Ok(Outcome::Done)
}

/// `ASKING`: no slot is on its way, so there is nothing to allow.
pub(super) fn allow(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.ok();
    Ok(Outcome::Done)
}
