//! The state of the groups and links of a core, for operators, and what they may order of a group.

use std::time::Duration;

use basalt_net::resp::Reply;
use basalt_raft::{Group, GroupStatus, Member, NodeId, Role, Standing};

use super::core::Core;
use crate::cluster::map::{GroupNumber, Map};
use crate::commands::CommandError;
use crate::ids::ShardId;
use crate::node::Asker;

impl Core {
    /// Replies with the state of each group that this core has, or of one of them.
    pub(super) fn reply_raft_status(&self, wanted: Option<GroupNumber>, reply: &mut Reply<'_>) {
        let Some(cluster) = &self.routing.cluster else { return reply.array(0) };
        let is_wanted = |number: &GroupNumber| wanted.is_none_or(|wanted| wanted == *number);
        let of_core = |shard: ShardId| Some(self.seat(shard)?.group().clone());
        let groups = cluster.local.iter().filter(|(number, _)| is_wanted(number));
        let groups: Vec<(GroupNumber, ShardId, Group)> =
            groups.filter_map(|(number, local)| Some((*number, local.shard, of_core(local.shard)?))).collect();
        reply.array(groups.len());
        for (number, shard, group) in groups {
            reply_group((number, shard), &group, cluster.map.as_deref(), reply);
        }
    }

    /// Replies with each connection that this core has with another node.
    pub(super) fn reply_links(&self, reply: &mut Reply<'_>) {
        let map = self.routing.cluster.as_ref().and_then(|cluster| cluster.map.as_deref());
        let links = self.peers.as_ref().map_or_else(Vec::new, |peers| peers.list());
        let named: Vec<_> = links.into_iter().filter_map(|link| Some((map?.node(link.node)?.name, link))).collect();
        reply.array(named.len());
        let now = self.clock.now;
        for (name, link) in named {
            let since =
                Duration::from_millis(self.clock.now_ms).saturating_sub(now.saturating_duration_since(link.since));
            reply.map(6);
            reply.bulk("direction");
            reply.bulk(if link.is_dialed { "to" } else { "from" });
            reply.bulk("node");
            reply.bulk_display(name);
            reply.bulk("create-time");
            reply.integer(since.as_millis() as i64);
            reply.bulk("events");
            reply.bulk(if link.queued_bytes > 0 { "rw" } else { "r" });
            reply.bulk("send-buffer-allocated");
            reply.integer(link.queued_bytes as i64);
            reply.bulk("send-buffer-used");
            reply.integer(link.queued_bytes as i64);
        }
    }

    /// Has the rows of a shard that are in memory written to disk, and answers when they are.
    pub(super) fn write_out(&mut self, asker: Asker, shard: ShardId) {
        let Some(local) = self.seat(shard).filter(|local| !local.takes_nothing()) else {
            let error = self.server.why_away(shard).unwrap_or(CommandError::LOADING);
            return self.outbox.reply_to(asker.core, asker.ticket, format!("-{error}\r\n").as_bytes());
        };
        let (group, server) = (local.group().clone(), self.server.clone());
        let writing = async move {
            let reply = match group.write_out().await {
                Ok(()) => "+OK\r\n".to_owned(),
                Err(error) => format!("-ERR {error}\r\n"),
            };
            // It may hold on to the log until then.
            drop(group);
            server.answer_late(asker, reply.into_bytes());
        };
        glommio::spawn_local(writing).detach();
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        _ => "stopped",
    }
}

fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Voter => "voter",
        Standing::Joining => "joining",
        Standing::Leaving => "leaving",
        Standing::Learner => "learner",
    }
}

/// The name of a node, or its number if the map does not have it.
fn name_of(map: Option<&Map>, node: NodeId) -> String {
    map.and_then(|map| map.node(node)).map_or_else(|| node.to_string(), |node| node.name.to_string())
}

/// Replies with names and values in turns, as CLUSTER SHARDS does by the old protocol. An index that there is not is -1.
fn reply_group((number, shard): (GroupNumber, ShardId), group: &Group, map: Option<&Map>, reply: &mut Reply<'_>) {
    let (status, members) = (group.status(), group.members());
    let GroupStatus { term, leader, last_log, committed, applied, durable_applied, purged, log_bytes, .. } = status;
    reply.map(13);
    let mut text = |name: &str, value: &str| {
        reply.bulk(name);
        reply.bulk(value);
    };
    text("role", role_name(status.role));
    let host = |number: NodeId| members.get(number).map_or(number, Member::host);
    text("leader", &leader.map_or_else(String::new, |leader| name_of(map, host(leader))));
    let index = |index: Option<u64>| index.map_or(-1, |index| index as i64);
    for (name, value) in [
        ("group", number.0 as i64),
        ("shard", shard.0.into()),
        ("term", term as i64),
        ("last", index(last_log)),
        ("committed", index(committed)),
        ("applied", index(applied)),
        ("on-disk", index(durable_applied)),
        ("purged", index(purged)),
        ("log-bytes", log_bytes as i64),
        ("is-changing", i64::from(members.is_changing)),
    ] {
        reply.bulk(name);
        reply.integer(value);
    }
    reply.bulk("members");
    reply.array(members.members.len());
    for member in &members.members {
        let (standing, progress) = (member.standing, member.progress);
        let matching = progress.map(|progress| index(progress.matching));
        let silent_ms = progress.and_then(|progress| progress.silent).map_or(-1, |silent| silent.as_millis() as i64);
        reply.map(6);
        reply.bulk("node");
        reply.bulk(name_of(map, member.host()));
        reply.bulk("replica");
        reply.bulk_display(member.node);
        reply.bulk("standing");
        reply.bulk(standing_name(standing));
        for (name, value) in [
            ("matched", matching.unwrap_or(-1)),
            ("lag", matching.map_or(-1, |matching| index(last_log) - matching)),
            ("silent-ms", silent_ms),
        ] {
            reply.bulk(name);
            reply.integer(value);
        }
    }
}
