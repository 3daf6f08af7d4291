//! Commands that each shard executes for its own keys: those of a transaction, each of whose keys are in one shard or that are
//! split anyway, and an MSET by itself.

use basalt_net::resp::{Reply, value};

use super::super::concerned::hold_concerned;
use super::super::gather::{Coordinator, Gather};
use super::sides::{Side, Sides, elements, place_of};
use super::{MISSHAPEN, Next, Work};
use crate::cluster::Router;
use crate::commands::{Command, CommandError, Kind, Merge, MultiShard, OverShards, Scatter, table};
use crate::entry::request::{self, ArgList, RequestHeader};
use crate::ids::ShardId;

/// The way the replies of a command's parts become its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    /// There is one.
    One,
    /// As anywhere; for arrays, where each part's elements stand.
    Merged(Merge, Vec<Vec<usize>>),
    /// Arrays, one behind the other.
    Joined,
    /// The first that is no null.
    First,
}

/// A command, and its parts: each a shard and the place among those that the shard executes.
#[derive(Debug)]
struct Member {
    how: How,
    parts: Vec<(ShardId, usize)>,
}

/// The arguments of a command that go to one shard, and the places of their replies among all.
type Split<'a> = (ShardId, Vec<&'a [u8]>, Vec<usize>);

/// Commands that shards execute for their own keys.
#[derive(Debug)]
pub struct Members {
    members: Vec<Member>,
    /// True if the reply is that of a transaction.
    is_transaction: bool,
}

/// The reason that commands are not executed like this: one has keys in several shards, of which it makes one thing.
#[derive(Debug)]
pub enum MustBeCarried {
    /// The keys are to be carried to where the command is executed.
    Yes,
    /// It is not to be executed at all.
    Refused(CommandError),
}

/// The refusal of a command that one shard has to execute.
fn in_one_shard(command: &Command) -> CommandError {
    let name = command.name();
    CommandError::owned(format!(
        "CROSSSLOT '{name}' is not executed over several shards of this node in a transaction: call it outside of MULTI, or give the \
         node one shard"
    ))
}

impl Members {
    /// Plans `commands`, encoded ones, of a transaction or of a single call.
    ///
    /// # Errors
    /// That they cannot be executed so.
    pub fn plan<'c>(
        commands: impl Iterator<Item = &'c [u8]>,
        router: &Router,
        is_transaction: bool,
    ) -> Result<(Vec<Side>, Members), MustBeCarried> {
        let (mut sides, mut members) = (Sides::default(), Vec::new());
        for bytes in commands {
            members.push(plan_one(bytes, router, &mut sides)?);
        }
        let mut sides = sides.settled();
        // One that writes nothing is read.
        for side in &mut sides {
            let is_write = |bytes: &Vec<u8>| {
                let command = request::command_id(bytes).and_then(table::by_id);
                command.is_some_and(|command| matches!(command.kind, Kind::Write(_)))
            };
            if !side.writes.iter().any(is_write) {
                side.reads = std::mem::take(&mut side.writes);
            }
        }
        Ok((sides, Members { members, is_transaction }))
    }
}

fn plan_one(bytes: &[u8], router: &Router, sides: &mut Sides) -> Result<Member, MustBeCarried> {
    let mut args = ArgList::new();
    args.push(b"");
    let header = request::decode(bytes, &mut args).expect("it was encoded by this process");
    let command = table::by_id(header.command).expect("it was found in the table");
    let mut add = |shard: ShardId, part: Vec<u8>| {
        let side = sides.of(shard);
        hold_concerned(&part, &mut side.keys);
        side.writes.push(part);
        (shard, side.writes.len() - 1)
    };
    let mut shards: Vec<ShardId> = command.keys(&args).map(|key| router.shard_of(args[key])).collect();
    shards.sort_unstable();
    shards.dedup();
    let in_all = |add: &mut dyn FnMut(ShardId, Vec<u8>) -> (ShardId, usize)| {
        router.shards().map(|shard| add(shard, bytes.to_vec())).collect::<Vec<_>>()
    };
    match command.scatter {
        Scatter::AllShards { merge } => Ok(Member { how: How::Merged(merge, Vec::new()), parts: in_all(&mut add) }),
        Scatter::MultiShard(MultiShard::Keys) => Ok(Member { how: How::Joined, parts: in_all(&mut add) }),
        Scatter::MultiShard(MultiShard::RandomKey) => {
            let mut parts = in_all(&mut add);
            let first = rand::random_range(0..parts.len().max(1));
            parts.rotate_left(first);
            Ok(Member { how: How::First, parts })
        }
        Scatter::MultiShard(MultiShard::Scan) => Err(MustBeCarried::Refused(in_one_shard(command))),
        // It is nothing but an error, and the first one says it.
        Scatter::Split { step, .. } if !(args.len() - 1).is_multiple_of(step) => {
            let shard = router.shard_of(args[1]);
            Ok(Member { how: How::One, parts: vec![add(shard, bytes.to_vec())] })
        }
        Scatter::Split { step, merge } if shards.len() > 1 => {
            let mut parts: Vec<Split<'_>> = Vec::new();
            for (place, group) in args[1..].chunks(step).enumerate() {
                let shard = router.shard_of(group[0]);
                let index = parts.iter().position(|part| part.0 == shard).unwrap_or_else(|| {
                    parts.push((shard, Vec::new(), Vec::new()));
                    parts.len() - 1
                });
                parts[index].1.extend_from_slice(group);
                parts[index].2.push(place);
            }
            let order = parts.iter().map(|part| part.2.clone()).collect();
            let parts = parts.into_iter().map(|(shard, args, _)| add(shard, encode_part(header, args))).collect();
            Ok(Member { how: How::Merged(merge, order), parts })
        }
        _ if shards.len() > 1 && command.over_shards == OverShards::Refused => {
            Err(MustBeCarried::Refused(CommandError::CROSS_SHARD))
        }
        _ if shards.len() > 1 => Err(MustBeCarried::Yes),
        _ => {
            let shard = shards.first().copied().or(router.first_shard());
            let shard = shard.expect("a node without shards has no transactions over several");
            Ok(Member { how: How::One, parts: vec![add(shard, bytes.to_vec())] })
        }
    }
}

fn encode_part(header: RequestHeader, args: Vec<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request::encode(&mut bytes, header, args.into_iter());
    bytes
}

impl Work for Members {
    fn decide(&mut self, _sides: &mut [Side], _read: &[Vec<u8>], _out: &mut Reply<'_>) -> Next {
        Next::Execute
    }

    fn finish(&mut self, sides: &[Side], read: &[Vec<u8>], written: &[Vec<u8>], out: &mut Reply<'_>) {
        let replies: Vec<Vec<&[u8]>> = read
            .iter()
            .zip(written)
            .map(|(read, written)| elements(if written.is_empty() { read } else { written }))
            .collect();
        if self.is_transaction {
            out.array(self.members.len());
        }
        for member in &self.members {
            let of_part = |(shard, index): &(ShardId, usize)| replies[place_of(sides, *shard)].get(*index).copied();
            match member.parts.iter().map(of_part).collect::<Option<Vec<&[u8]>>>() {
                Some(parts) => merge(&member.how, &parts, out),
                None => out.error(MISSHAPEN),
            }
        }
    }
}

fn merge(how: &How, parts: &[&[u8]], out: &mut Reply<'_>) {
    match how {
        How::One => out.raw(parts[0]),
        How::Merged(way, order) => {
            let mut gather = match way {
                Merge::ArrayInOrder => Gather::in_order(order.clone()),
                way => Gather::new(*way, parts.len()),
            };
            for (number, part) in parts.iter().enumerate() {
                gather.answered(number, part, out);
            }
        }
        How::Joined => {
            if let Some(error) = parts.iter().find(|part| value::is_error(part)) {
                return out.raw(error);
            }
            let all: Vec<&[u8]> = parts.iter().flat_map(|part| elements(part)).collect();
            out.array(all.len());
            all.into_iter().for_each(|element| out.raw(element));
        }
        How::First => {
            let is_null = |part: &&&[u8]| matches!(**part, b"$-1\r\n" | b"_\r\n");
            out.raw(parts.iter().find(|part| !is_null(part)).or(parts.first()).copied().unwrap_or(b"$-1\r\n"));
        }
    }
}
