//! MSETNX over several shards: nothing is set if a key is there.

use basalt_net::resp::{Protocol, Reply, value};

use super::sides::{Side, Sides, elements, encode};
use super::{MISSHAPEN, Next, Work};
use crate::cluster::Router;
use crate::commands::{Args, table};

/// An MSETNX.
#[derive(Debug)]
pub struct SetIfNone {
    /// The MSET of each side if none of the keys is there.
    sets: Vec<Vec<u8>>,
}

impl SetIfNone {
    /// Plans the call `args` in database `db`.
    pub fn plan(router: &Router, protocol: Protocol, db: u8, args: Args<'_>) -> (Vec<Side>, SetIfNone) {
        let id = |name: &[u8]| table::lookup(name).expect("it is in the table").id;
        let (exists, set) = (id(b"exists"), id(b"mset"));
        let mut sides = Sides::default();
        for pair in args[1..].chunks_exact(2) {
            sides.of(router.shard_of(pair[0])).keys.add(db, pair[0], true);
        }
        let mut sides = sides.settled();
        let mut sets = Vec::new();
        for side in &mut sides {
            let of_side = |pair: &&[&[u8]]| router.shard_of(pair[0]) == side.shard();
            let pairs: Vec<&[&[u8]]> = args[1..].chunks_exact(2).filter(of_side).collect();
            side.reads.push(encode(exists, protocol, db, pairs.iter().map(|pair| pair[0])));
            sets.push(encode(set, protocol, db, pairs.into_iter().flatten().copied()));
        }
        (sides, SetIfNone { sets })
    }
}

impl Work for SetIfNone {
    fn bytes(&self) -> usize {
        self.sets.iter().map(Vec::len).sum()
    }

    fn decide(&mut self, sides: &mut [Side], read: &[Vec<u8>], out: &mut Reply<'_>) -> Next {
        let mut count = 0;
        for reply in read {
            let replies = elements(reply);
            match replies.first().and_then(|reply| value::read_integer(reply)) {
                Some(there) => count += there,
                None => {
                    out.error(MISSHAPEN);
                    return Next::Reply;
                }
            }
        }
        if count > 0 {
            out.integer(0);
            return Next::Reply;
        }
        sides.iter_mut().zip(std::mem::take(&mut self.sets)).for_each(|(side, set)| side.writes.push(set));
        Next::Execute
    }

    fn finish(&mut self, _sides: &[Side], _read: &[Vec<u8>], _written: &[Vec<u8>], out: &mut Reply<'_>) {
        out.integer(1);
    }
}
