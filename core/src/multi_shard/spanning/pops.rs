//! LMOVE, RPOPLPUSH, SMOVE, LMPOP and ZMPOP over several shards: what they move or take is looked at, and no more of a key.

use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply, value};

use super::sides::{Side, Sides, elements, encode, place_of};
use super::{MISSHAPEN, Next, Work};
use crate::cluster::Router;
use crate::commands::{Args, table};
use crate::entry::waiting::Claim;
use crate::ids::ShardId;

fn id(name: &[u8]) -> u16 {
    table::lookup(name).expect("it is in the table").id
}

fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"_\r\n")
}

/// The database, the protocol, and a key with its shard.
#[derive(Debug, Clone)]
struct Place {
    protocol: Protocol,
    db: u8,
    key: Vec<u8>,
    shard: ShardId,
}

impl Place {
    fn new(router: &Router, (protocol, db): (Protocol, u8), key: &[u8]) -> Place {
        Place { protocol, db, key: key.to_vec(), shard: router.shard_of(key) }
    }

    fn encode(&self, command: &[u8], args: &[&[u8]]) -> Vec<u8> {
        encode(id(command), self.protocol, self.db, [&self.key[..]].into_iter().chain(args.iter().copied()))
    }

    fn hold(&self, sides: &mut Sides) {
        sides.of(self.shard).keys.add(self.db, &self.key, true);
    }
}

/// The replies of a key's side.
fn replies<'r>(sides: &[Side], read: &'r [Vec<u8>], place: &Place) -> Vec<&'r [u8]> {
    elements(&read[place_of(sides, place.shard)])
}

/// The client for which an element is moved, if it waits for that.
#[derive(Debug)]
pub struct MovedFor {
    /// Its claim, which ends before its wait does only if it is gone: nothing is moved for it any more.
    pub claim: Arc<Claim>,
    /// True if it waits on where the source holds something else by now.
    pub ignores_other_types: bool,
}

/// An LMOVE or RPOPLPUSH, or one of those that wait.
#[derive(Debug)]
pub struct MoveElement {
    from: Place,
    to: Place,
    /// True if it takes the first element, and if it puts it first.
    ends: (bool, bool),
    moved: Vec<u8>,
    moved_for: Option<MovedFor>,
}

impl MoveElement {
    /// Plans a call with the keys `args[1]` and `args[2]`, and the ends behind them if it names some.
    pub fn plan(router: &Router, at: (Protocol, u8), args: Args<'_>) -> (Vec<Side>, MoveElement) {
        let is_head = |arg: &&[u8]| arg.eq_ignore_ascii_case(b"left");
        // RPOPLPUSH and BRPOPLPUSH name none: they take the last element and put it first.
        let ends = (args.get(3).is_some_and(is_head), args.get(4).is_none_or(is_head));
        let (from, to) = (Place::new(router, at, args[1]), Place::new(router, at, args[2]));
        let mut sides = Sides::default();
        from.hold(&mut sides);
        to.hold(&mut sides);
        sides.of(from.shard).reads.push(from.encode(b"lindex", &[if ends.0 { b"0" } else { b"-1" }]));
        sides.of(to.shard).reads.push(to.encode(b"llen", &[]));
        (sides.settled(), MoveElement { from, to, ends, moved: Vec::new(), moved_for: None })
    }

    /// The same for a client that waits.
    pub fn for_waiter(self, moved_for: MovedFor) -> MoveElement {
        MoveElement { moved_for: Some(moved_for), ..self }
    }
}

impl Work for MoveElement {
    fn decide(&mut self, sides: &mut [Side], read: &[Vec<u8>], out: &mut Reply<'_>) -> Next {
        let (source, destination) = (replies(sides, read, &self.from), replies(sides, read, &self.to));
        let ([source], [destination]) = (&source[..], &destination[..]) else {
            out.error(MISSHAPEN);
            return Next::Reply;
        };
        let moved_for = self.moved_for.as_ref();
        let is_over = moved_for.is_some_and(|of| of.claim.gets_nothing());
        let is_other = source.starts_with(b"-WRONGTYPE ") && moved_for.is_some_and(|of| of.ignores_other_types);
        if is_over || is_other {
            out.null();
            return Next::Reply;
        }
        if value::is_error(source) || is_null(source) {
            out.raw(source);
            return Next::Reply;
        }
        if value::is_error(destination) {
            out.raw(destination);
            return Next::Reply;
        }
        let Some(element) = value::read_bulk(source) else {
            out.error(MISSHAPEN);
            return Next::Reply;
        };
        self.moved = source.to_vec();
        let (from, to) = (place_of(sides, self.from.shard), place_of(sides, self.to.shard));
        sides[from].writes.push(self.from.encode(if self.ends.0 { b"lpop" } else { b"rpop" }, &[]));
        sides[to].writes.push(self.to.encode(if self.ends.1 { b"lpush" } else { b"rpush" }, &[element]));
        Next::Execute
    }

    fn finish(&mut self, _sides: &[Side], _read: &[Vec<u8>], _written: &[Vec<u8>], out: &mut Reply<'_>) {
        out.raw(&self.moved);
    }
}

/// An SMOVE.
#[derive(Debug)]
pub struct MoveMember {
    from: Place,
    to: Place,
    member: Vec<u8>,
}

impl MoveMember {
    /// Plans the call `args`.
    pub fn plan(router: &Router, at: (Protocol, u8), args: Args<'_>) -> (Vec<Side>, MoveMember) {
        let (from, to) = (Place::new(router, at, args[1]), Place::new(router, at, args[2]));
        let mut sides = Sides::default();
        from.hold(&mut sides);
        to.hold(&mut sides);
        sides.of(from.shard).reads.push(from.encode(b"exists", &[]));
        sides.of(from.shard).reads.push(from.encode(b"sismember", &[args[3]]));
        sides.of(to.shard).reads.push(to.encode(b"scard", &[]));
        (sides.settled(), MoveMember { from, to, member: args[3].to_vec() })
    }
}

impl Work for MoveMember {
    fn decide(&mut self, sides: &mut [Side], read: &[Vec<u8>], out: &mut Reply<'_>) -> Next {
        let (source, destination) = (replies(sides, read, &self.from), replies(sides, read, &self.to));
        let ([exists, is_member], [destination]) = (&source[..], &destination[..]) else {
            out.error(MISSHAPEN);
            return Next::Reply;
        };
        if value::read_integer(exists) == Some(0) {
            out.integer(0);
            return Next::Reply;
        }
        if let Some(error) = [is_member, destination].into_iter().find(|reply| value::is_error(reply)) {
            out.raw(error);
            return Next::Reply;
        }
        if value::read_integer(is_member) != Some(1) {
            out.integer(0);
            return Next::Reply;
        }
        let (from, to) = (place_of(sides, self.from.shard), place_of(sides, self.to.shard));
        sides[from].writes.push(self.from.encode(b"srem", &[&self.member]));
        sides[to].writes.push(self.to.encode(b"sadd", &[&self.member]));
        Next::Execute
    }

    fn finish(&mut self, _sides: &[Side], _read: &[Vec<u8>], _written: &[Vec<u8>], out: &mut Reply<'_>) {
        out.integer(1);
    }
}

/// An LMPOP or ZMPOP.
#[derive(Debug)]
pub struct PopFirst {
    keys: Vec<Place>,
    command: &'static [u8],
    rest: Vec<Vec<u8>>,
    /// The place of the side that has something.
    taken_from: usize,
}

impl PopFirst {
    /// Plans the call `args` of `command`, whose keys are `args[2..end]`, of a type whose size `count` tells.
    pub fn plan(
        router: &Router,
        at: (Protocol, u8),
        args: Args<'_>,
        end: usize,
        (command, count): (&'static [u8], &'static [u8]),
    ) -> (Vec<Side>, PopFirst) {
        let keys: Vec<Place> = args[2..end].iter().map(|key| Place::new(router, at, key)).collect();
        let mut sides = Sides::default();
        for key in &keys {
            key.hold(&mut sides);
            sides.of(key.shard).reads.push(key.encode(count, &[]));
        }
        let rest = args[end..].iter().map(|arg| arg.to_vec()).collect();
        (sides.settled(), PopFirst { keys, command, rest, taken_from: 0 })
    }
}

impl Work for PopFirst {
    fn decide(&mut self, sides: &mut [Side], read: &[Vec<u8>], out: &mut Reply<'_>) -> Next {
        let mut next = vec![0; sides.len()];
        for key in &self.keys {
            let place = place_of(sides, key.shard);
            let replies = elements(&read[place]);
            let reply = replies.get(next[place]).copied().unwrap_or_default();
            next[place] += 1;
            if value::is_error(reply) {
                out.raw(reply);
                return Next::Reply;
            }
            match value::read_integer(reply) {
                Some(0) => {}
                Some(_) => {
                    let args = [&b"1"[..], &key.key].into_iter().chain(self.rest.iter().map(Vec::as_slice));
                    sides[place].writes.push(encode(id(self.command), key.protocol, key.db, args));
                    self.taken_from = place;
                    return Next::Execute;
                }
                None => {
                    out.error(MISSHAPEN);
                    return Next::Reply;
                }
            }
        }
        out.null_array();
        Next::Reply
    }

    fn finish(&mut self, _sides: &[Side], _read: &[Vec<u8>], written: &[Vec<u8>], out: &mut Reply<'_>) {
        match elements(&written[self.taken_from]).first() {
            Some(reply) => out.raw(reply),
            None => out.error(MISSHAPEN),
        }
    }
}
