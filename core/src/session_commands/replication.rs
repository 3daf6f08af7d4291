//! WAIT and WAITAOF (<https://redis.io/docs/latest/commands/wait/>), which ask how many followers have on disk what a connection
//! has written; and ROLE, with all that others tell of the followers of this node.
//!
//! Every write that was acknowledged is on the disks of a majority, so this asks for more than that. A follower has told its leader
//! up to where it has the log on disk; what is counted are those that have it up to where it ended when the connection asked, in
//! each group that it has written to, and the least of these counts is the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use basalt_net::resp::Reply;
use basalt_raft::NodeId;

use super::SessionContext;
use super::outcome::{Outcome, Ran, ReplicaCall};
use crate::commands::{Args, CommandError, parse_i64};
use crate::config::Durability;
use crate::limits;
use crate::node::Server;

/// `WAIT numreplicas timeout`.
pub(super) fn wait(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let wanted = parse_i64(args[1])?;
    call(wanted, args[2], None)
}

/// `WAITAOF numlocal numreplicas timeout`, as since Redis 7.2.
pub(super) fn wait_aof(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let wanted_here = parse_i64(args[1])?;
    if !(0..=1).contains(&wanted_here) {
        return Err(CommandError::text("ERR value is out of range, value must between 0 and 1"));
    }
    let wanted = parse_i64(args[2])?;
    if wanted < 0 {
        return Err(CommandError::text("ERR value is out of range, must be positive"));
    }
    // What was acknowledged is on this disk, or nobody knows when it is.
    let local = i64::from(context.server.config.durability == Durability::Always);
    if wanted_here > local {
        return Err(CommandError::text(
            "ERR WAITAOF cannot be used when numlocal is set but durability is not 'always'.",
        ));
    }
    call(wanted, args[3], Some(local))
}

fn call(wanted: i64, timeout: &[u8], local: Option<i64>) -> Ran {
    let not_a_time = CommandError::text("ERR timeout is not an integer or out of range");
    let timeout_ms = parse_i64(timeout).map_err(|_| not_a_time)?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms));
    // More than there can be is never reached.
    let wanted = usize::try_from(wanted.max(0)).unwrap_or(usize::MAX);
    Ok(Outcome::AwaitReplicas(ReplicaCall { wanted, timeout, local }))
}

/// `REPLICAOF NO ONE`, or `SLAVEOF`: a node by itself follows nobody. To have it follow another by this is refused.
pub(super) fn replica_of(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    if context.server.config.cluster_enabled {
        return Err(CommandError::text("ERR REPLICAOF not allowed in cluster mode."));
    }
    if args[1].eq_ignore_ascii_case(b"no") && args[2].eq_ignore_ascii_case(b"one") {
        reply.ok();
        return Ok(Outcome::Done);
    }
    if !parse_i64(args[2]).is_ok_and(|port| (0..=65_535).contains(&port)) {
        return Err(CommandError::text("ERR Invalid master port"));
    }
    Err(CommandError::text(
        "ERR REPLICAOF knows NO ONE alone here: a node has replicas as one of a cluster (cluster-enabled), and follows no other \
         server",
    ))
}

/// A node that follows this one in some groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replica {
    /// Its place, where this node's is [`Replicas::offset`]: less by the entries that it lacks of the groups that it follows.
    pub(super) offset: u64,
    /// The time since the newest answer of all its groups; `None` if one has answered nothing yet.
    pub(super) silent: Option<Duration>,
}

/// The nodes that follow this one.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    /// The entries in the logs of the groups that this node leads, of those that have followers.
    pub(super) offset: u64,
    pub(super) nodes: BTreeMap<NodeId, Replica>,
}

impl Replicas {
    /// Those of a node, as its cores have told last: a second ago at most.
    pub(super) fn of(server: &Server) -> Replicas {
        let told =
            server.shards.iter().map(|shard| shard.followers.get()).filter(|(_, followers)| !followers.is_empty());
        let told: Vec<_> = told.collect();
        let offset = told.iter().map(|(entries, _)| entries).sum();
        let mut nodes: BTreeMap<NodeId, Replica> = BTreeMap::new();
        for follower in told.into_iter().flat_map(|(_, followers)| followers) {
            let first = Replica { offset, silent: Some(Duration::ZERO) };
            let replica = nodes.entry(follower.node).or_insert(first);
            replica.offset -= follower.behind.min(replica.offset);
            replica.silent = replica.silent.zip(follower.silent).map(|(one, other)| one.max(other));
        }
        Replicas { offset, nodes }
    }

    /// Those that answer, as Redis has nobody else among the replicas of a master.
    pub(super) fn online(&self) -> impl Iterator<Item = (NodeId, Replica)> {
        let is_online = |replica: &Replica| replica.silent.is_some_and(|silent| silent < limits::PEER_SUSPECTED);
        self.nodes.iter().map(|(node, replica)| (*node, *replica)).filter(move |(_, replica)| is_online(replica))
    }
}

/// `ROLE`: a master, with those that follow it. Offsets count entries of logs, not bytes.
pub(super) fn role(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let replicas = Replicas::of(context.server);
    let map = context.routing.cluster.as_ref().and_then(|cluster| cluster.map.as_deref());
    let known: Vec<_> = replicas.online().filter_map(|(node, replica)| Some((map?.node(node)?, replica))).collect();
    reply.array(3);
    reply.bulk("master");
    reply.integer(i64::try_from(replicas.offset).unwrap_or(i64::MAX));
    reply.array(known.len());
    for (node, replica) in known {
        reply.array(3);
        reply.bulk(node.addresses.ip.map_or_else(String::new, |ip| ip.to_string()));
        reply.bulk_display(node.addresses.port);
        reply.bulk_display(replica.offset);
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;
    use crate::config::Config;
    use crate::node::Follower;

    fn read(client: &mut Client, line: &str) -> ReplicaCall {
        match client.run(line) {
            Ok(Outcome::AwaitReplicas(call)) => call,
            Ok(_) => panic!("{line} does something else"),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn calls_are_read_as_redis_reads_them() {
        let mut client = Client::new();
        let second = Some(Duration::from_secs(1));
        assert_eq!(read(&mut client, "wait 2 1000"), ReplicaCall { wanted: 2, timeout: second, local: None });
        assert_eq!(read(&mut client, "wait -3 0"), ReplicaCall { wanted: 0, timeout: None, local: None });
        assert_eq!(read(&mut client, "waitaof 1 2 1000"), ReplicaCall { wanted: 2, timeout: second, local: Some(1) });
        for (line, said) in [
            ("wait x 0", "-ERR value is not an integer or out of range|"),
            ("wait 1 x", "-ERR timeout is not an integer or out of range|"),
            ("wait 1 -1", "-ERR timeout is negative|"),
            ("wait 1", "-ERR wrong number of arguments for 'wait' command|"),
            ("waitaof 2 1 0", "-ERR value is out of range, value must between 0 and 1|"),
            ("waitaof 0 -1 0", "-ERR value is out of range, must be positive|"),
            ("waitaof 0 1 -1", "-ERR timeout is negative|"),
        ] {
            assert_eq!(client.ask(line), said, "{line}");
        }
    }

    #[test]
    fn a_replica_is_behind_by_what_it_lacks_of_all_its_groups() {
        let mut client = Client::new();
        assert_eq!(client.ask("role"), "*3|$6|master|:0|*0|", "nobody follows");
        let told = |node: u64, behind, seconds: u64| Follower {
            node: NodeId(node),
            behind,
            silent: Some(Duration::from_secs(seconds)),
        };
        client.server.shards[0].followers.set(100, vec![told(2, 1, 0), told(3, 7, 0)]);
        client.server.shards[1].followers.set(50, vec![told(2, 3, 0), told(3, 0, 60)]);
        let replicas = Replicas::of(&client.server);
        assert_eq!(replicas.offset, 150);
        assert_eq!((replicas.nodes[&NodeId(2)].offset, replicas.nodes[&NodeId(3)].offset), (146, 143));
        assert_eq!(replicas.online().map(|(node, _)| node).collect::<Vec<_>>(), [NodeId(2)], "the other is silent");
        assert_eq!(client.ask("role x"), "-ERR wrong number of arguments for 'role' command|");
    }

    #[test]
    fn a_log_that_is_synced_later_is_not_counted() {
        let config = Config { durability: Durability::Interval, memory: 1 << 30, ..Config::default() };
        let mut client = Client::of(config);
        assert_eq!(read(&mut client, "waitaof 0 0 1").local, Some(0));
        let refused = client.ask("waitaof 1 0 1");
        assert!(refused.starts_with("-ERR WAITAOF cannot be used when numlocal is set"), "{refused}");
    }
}
