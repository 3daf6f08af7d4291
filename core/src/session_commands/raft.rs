//! RAFT: the groups of this node as Raft sees them, and what an operator may order of them. Redis has nothing of the kind.
//!
//! What a newcomer would get wrong: nobody is told to lead here. The map says which node is a group's home, and who leads the group
//! hands it over to its home; so an order that was taken holds, whoever is lost meanwhile.

use basalt_net::resp::Reply;
use basalt_raft::NodeId;

use super::SessionContext;
use super::cluster::Known;
use super::outcome::{Outcome, Ran};
use crate::cluster::LocalGroup;
use crate::cluster::map::{Change, Group, GroupNumber};
use crate::commands::{Args, CommandError, Merge, parse_i64};
use crate::mail::Control;

/// `RAFT STATUS [group]`.
pub(super) fn status(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let group = args.get(2).map(|arg| read_group(arg)).transpose()?;
    if let Some(number) = group {
        local(&known, number)?;
    }
    Ok(Outcome::Control(Control::RaftStatus(group), Merge::Arrays))
}

/// `RAFT TRANSFER group node`: the node becomes the group's home, and is given its lead.
pub(super) fn transfer(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    let number = read_group(args[2])?;
    let node = known.map.named_by_client(args[3])?.number;
    let group =
        known.map.group(number).ok_or_else(|| CommandError::owned(format!("ERR there is no group {number}")))?;
    if !group.replicas.contains(&node) {
        return Err(CommandError::owned(format!("ERR this node has no replica of group {number}")));
    }
    if known.cluster().silent.contains(&node) {
        return Err(CommandError::text("ERR nothing is heard of this node, so that it cannot be given a lead"));
    }
    Ok(Outcome::Change(Box::new(Change::SetHomes { homes: vec![(number, node)] })))
}

/// `RAFT SNAPSHOT group`: the rows of this node's replica that are in memory are written to disk, and its log is purged up to
/// there, as far as nobody needs it.
pub(super) fn snapshot(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let known = Known::of(context)?;
    Ok(Outcome::WriteOut(local(&known, read_group(args[2])?)?.shard))
}

/// `CLUSTER FAILOVER [FORCE|TAKEOVER]`: this node becomes the home of the groups of its master that it has replicas of. One that is
/// a master by its role takes back what nodes in the role of its replicas have been given.
pub(super) fn fail_over(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let is = |word: &str| args.get(2).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let is_forced = is("force") || is("takeover");
    if args.len() > 3 || (args.len() == 3 && !is_forced) {
        return Err(CommandError::SYNTAX);
    }
    let known = Known::of(context)?;
    if is_forced {
        return Err(CommandError::text(
            "ERR a lead that a majority of the replicas does not know of would lose writes, and they elect another one by themselves when \
             theirs is lost: use CLUSTER FAILOVER without FORCE and TAKEOVER",
        ));
    }
    let (myself, master) = (known.myself().number, known.myself().master());
    let is_meant = |group: &&Group| {
        let is_mine = || known.map.node(group.home).is_some_and(|home| home.master() == Some(myself));
        let is_meant = master.map_or_else(is_mine, |master| master == group.home);
        group.is_live && group.home != myself && is_meant && group.replicas.contains(&myself)
    };
    let groups = known.map.groups().iter().filter(is_meant);
    let homes: Vec<(GroupNumber, NodeId)> = groups.map(|group| (group.number, myself)).collect();
    if homes.is_empty() {
        // In Redis' words. It is none, or its master leads nothing that it has replicas of.
        return Err(CommandError::text("ERR You should send CLUSTER FAILOVER to a replica"));
    }
    Ok(Outcome::Change(Box::new(Change::SetHomes { homes })))
}

fn read_group(arg: &[u8]) -> Result<GroupNumber, CommandError> {
    let number = u64::try_from(parse_i64(arg)?);
    number.map(GroupNumber).map_err(|_| CommandError::NOT_AN_INTEGER)
}

fn local(known: &Known, number: GroupNumber) -> Result<LocalGroup, CommandError> {
    let found = known.cluster().local.get(&number).copied();
    found.ok_or_else(|| CommandError::owned(format!("ERR this node has no replica of group {number}")))
}
