//! MIGRATE: keys of whatever shards that go to another server.
//!
//! All keys are held first, then they are dumped, some of each shard at a time, and handed out as a [`Parcel`]. The [`Delivery`] says
//! which of them the other server has taken; these are deleted, if they are not to stay.
//!
//! What a newcomer would get wrong: keys are numbered in the order of the call, over all shards. In that order they are sent, and the
//! first that is refused is the reply.

use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply, value};

use super::sides::{Side, Sides, elements, place_of};
use super::MISSHAPEN;
use crate::cluster::Router;
use crate::commands::table::{self, STEP_EXEC};
use crate::commands::{Args, MigrateCall, Target};
use crate::entry::request::{self, RequestHeader};
use crate::entry::transaction;
use crate::ids::ShardId;
use crate::limits::migrations as limits;

/// The keys of a call, in its order.
type Keys = Arc<[Box<[u8]>]>;

/// A call of MIGRATE, from the keys that are held to those that are gone.
#[derive(Debug)]
pub struct Migration {
    target: Arc<Target>,
    copies: bool,
    db: u8,
    keys: Keys,
    shards: Vec<Dumping>,
    dumps: Vec<Dump>,
    bytes_left: usize,
}

/// The keys of a shard, as far as they are dumped.
#[derive(Debug)]
struct Dumping {
    shard: ShardId,
    /// The numbers of its keys.
    keys: Vec<usize>,
    /// The first ones that are dumped, and those behind them that are asked for.
    dumped: usize,
    asked_for: usize,
    at_once: usize,
}

/// A key that is there.
#[derive(Debug)]
struct Dump {
    number: usize,
    deadline_ms: Option<u64>,
    /// The reply that its payload is in, and the place there.
    reply: Arc<[u8]>,
    payload: std::ops::Range<usize>,
}

/// Keys that are sent to another server.
#[derive(Debug)]
pub struct Parcel {
    /// The server.
    pub target: Arc<Target>,
    keys: Keys,
    dumps: Vec<Dump>,
}

/// A key in a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parcelled<'a> {
    /// Its number.
    pub number: usize,
    /// Its name.
    pub key: &'a [u8],
    /// Its deadline, in Unix milliseconds.
    pub deadline_ms: Option<u64>,
    /// The value that it has, as RESTORE takes it.
    pub payload: &'a [u8],
}

impl Parcel {
    /// A parcel of these keys, each with its deadline and its payload.
    #[cfg(test)]
    pub(crate) fn of(target: Target, keys: &[(&[u8], Option<u64>, &[u8])]) -> Parcel {
        let dump = |(number, (_, deadline_ms, payload)): (usize, &(&[u8], Option<u64>, &[u8]))| Dump {
            number,
            deadline_ms: *deadline_ms,
            reply: (*payload).into(),
            payload: 0..payload.len(),
        };
        let names = keys.iter().map(|(key, ..)| (*key).into()).collect();
        Parcel { target: Arc::new(target), keys: names, dumps: keys.iter().enumerate().map(dump).collect() }
    }

    /// Its keys, in the order of the call: at least one.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Parcelled<'_>> {
        self.dumps.iter().map(|dump| Parcelled {
            number: dump.number,
            key: &self.keys[dump.number],
            deadline_ms: dump.deadline_ms,
            payload: &dump.reply[dump.payload.clone()],
        })
    }
}

/// The end of a parcel.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Numbers of keys that the other server has for certain.
    pub taken: Vec<usize>,
    /// The first error, without the sign in front of it: that server has refused a key, or does not answer.
    pub error: Option<Vec<u8>>,
}

impl Delivery {
    /// Notes an error, if it is the first one.
    pub fn fail(&mut self, error: &[u8]) {
        if self.error.is_none() {
            // What others say must stay one line.
            self.error = Some(error.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect());
        }
    }

    /// It as a reply between threads: an array of the numbers, and what the client hears.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        reply.array(2);
        reply.array(self.taken.len());
        self.taken.iter().for_each(|&number| reply.integer(number as i64));
        out.extend_from_slice(&self.reply());
        out
    }

    fn reply(&self) -> Vec<u8> {
        match &self.error {
            Some(error) => [&b"-"[..], error, b"\r\n"].concat(),
            None => b"+OK\r\n".to_vec(),
        }
    }

    /// Reads what [`encode`](Self::encode) has made: the numbers, and the reply.
    fn read(bytes: &[u8]) -> Option<(Vec<usize>, &[u8])> {
        let mut elements = value::split_elements(bytes).ok()?;
        let numbers = value::split_elements(elements.next()?).ok()?;
        let numbers = numbers.map(|number| usize::try_from(value::read_integer(number)?).ok());
        Some((numbers.collect::<Option<_>>()?, elements.next()?))
    }
}

/// The step that follows for a migration.
#[derive(Debug)]
pub enum MigrationStep {
    /// These reads, each of a shard.
    Dump(Vec<(ShardId, Vec<u8>)>),
    /// To send this.
    Send(Parcel),
    /// None: none of the keys is there.
    NoKey,
}

impl Migration {
    /// Plans the call `args` in database `db`. Without sides if it names no keys.
    pub fn plan(router: &Router, db: u8, call: MigrateCall, args: Args<'_>) -> (Vec<Side>, Migration) {
        let keys: Keys = args[call.keys].iter().map(|key| (*key).into()).collect();
        let (mut sides, mut shards) = (Sides::default(), Vec::<Dumping>::new());
        for (number, key) in keys.iter().enumerate() {
            let shard = router.shard_of(key);
            // Who leaves it here may let others read it.
            sides.of(shard).keys.add(db, key, !call.copies);
            match shards.iter_mut().find(|dumping| dumping.shard == shard) {
                Some(dumping) => dumping.keys.push(number),
                None => shards.push(Dumping { shard, keys: vec![number], dumped: 0, asked_for: 0, at_once: 1 }),
            }
        }
        let (target, copies) = (Arc::new(call.target), call.copies);
        let bytes_left = limits::BYTES_MAX;
        (sides.settled(), Migration { target, copies, db, keys, shards, dumps: Vec::new(), bytes_left })
    }

    /// Bytes of memory that it takes before anything is dumped, about, beside its sides.
    pub fn bytes(&self) -> usize {
        let of_key = size_of::<Box<[u8]>>() + size_of::<usize>() + size_of::<Dump>();
        self.keys.iter().map(|key| key.len() + of_key).sum()
    }

    /// Returns whether the keys stay.
    pub fn copies(&self) -> bool {
        self.copies
    }

    /// The next step, once all keys are held and all that was asked for is answered. `asked` is the command that its client has called.
    pub fn next(&mut self, asked: u16) -> MigrationStep {
        let (db, keys) = (self.db, &self.keys);
        let reads: Vec<(ShardId, Vec<u8>)> = self
            .shards
            .iter_mut()
            .filter(|dumping| dumping.dumped < dumping.keys.len())
            .map(|dumping| {
                dumping.asked_for = dumping.at_once.min(dumping.keys.len() - dumping.dumped);
                let numbers = &dumping.keys[dumping.dumped..][..dumping.asked_for];
                (dumping.shard, dumps_of(asked, db, numbers.iter().map(|&number| &*keys[number])))
            })
            .collect();
        if !reads.is_empty() {
            return MigrationStep::Dump(reads);
        }
        if self.dumps.is_empty() {
            return MigrationStep::NoKey;
        }
        let mut dumps = std::mem::take(&mut self.dumps);
        dumps.sort_unstable_by_key(|dump| dump.number);
        MigrationStep::Send(Parcel { target: self.target.clone(), keys: self.keys.clone(), dumps })
    }

    /// Takes what a shard has dumped.
    ///
    /// # Errors
    /// The reply to the call, of which nothing is sent: the keys are too large.
    pub fn take_dumps(&mut self, shard: ShardId, reply: &[u8]) -> Result<(), Vec<u8>> {
        let misshapen = || format!("-{MISSHAPEN}\r\n").into_bytes();
        let dumping = self.shards.iter_mut().find(|dumping| dumping.shard == shard).ok_or_else(misshapen)?;
        let reply: Arc<[u8]> = reply.into();
        let replies = elements(&reply);
        if replies.len() != 2 * dumping.asked_for {
            return Err(misshapen());
        }
        self.bytes_left = self.bytes_left.checked_sub(reply.len()).ok_or_else(|| {
            let most = limits::BYTES_MAX >> 20;
            format!("-ERR the keys have more than {most} MB together, too much for one MIGRATE: nothing was sent, name fewer\r\n")
                .into_bytes()
        })?;
        let numbers = &dumping.keys[dumping.dumped..][..dumping.asked_for];
        let mut at = reply.len() - replies.iter().map(|reply| reply.len()).sum::<usize>();
        for (&number, pair) in numbers.iter().zip(replies.chunks_exact(2)) {
            let end = at + pair[0].len();
            at = end + pair[1].len();
            if let Some(error) = pair.iter().find(|reply| value::is_error(reply)) {
                return Err(error.to_vec());
            }
            let (Some(payload), Some(deadline_ms)) = (value::read_bulk(pair[0]), value::read_integer(pair[1])) else {
                // The key is not there.
                continue;
            };
            // In front of its line end.
            let payload = end - 2 - payload.len()..end - 2;
            self.dumps.push(Dump { number, deadline_ms: u64::try_from(deadline_ms).ok(), reply: reply.clone(), payload });
        }
        dumping.dumped += std::mem::take(&mut dumping.asked_for);
        let were_small = reply.len() < limits::DUMPED_BYTES_WANTED;
        dumping.at_once = if were_small { (2 * dumping.at_once).min(limits::DUMPED_AT_ONCE) } else { 1 };
        Ok(())
    }

    /// Gives each side the keys that are to be deleted there, now that the other server has them. Gives the reply to the client once
    /// that is done.
    pub fn delivered(&self, asked: u16, delivery: &[u8], sides: &mut [Side]) -> Vec<u8> {
        let Some((taken, reply)) = Delivery::read(delivery) else {
            return format!("-{MISSHAPEN}\r\n").into_bytes();
        };
        if self.copies {
            return reply.to_vec();
        }
        let mut is_taken = vec![false; self.keys.len()];
        taken.into_iter().filter(|number| *number < self.keys.len()).for_each(|number| is_taken[number] = true);
        let del = table::lookup(b"del").expect("it is in the table").id;
        for dumping in &self.shards {
            let keys = dumping.keys.iter().filter(|number| is_taken[**number]).map(|&number| &*self.keys[number]);
            let keys: Vec<&[u8]> = keys.collect();
            if !keys.is_empty() {
                let place = place_of(sides, dumping.shard);
                sides[place].writes.push(encode_for(asked, del, self.db, keys.into_iter()));
            }
        }
        reply.to_vec()
    }
}

/// Encodes a command that is a step of the command `asked`.
fn encode_for<'a>(asked: u16, command: u16, db: u8, args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = RequestHeader { asked, ..RequestHeader::new(Protocol::Resp2, db, command) };
    request::encode(&mut bytes, header, args);
    bytes
}

/// A read of these keys, of each what DUMP and PEXPIRETIME reply.
fn dumps_of<'a>(asked: u16, db: u8, keys: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let id = |name: &[u8]| table::lookup(name).expect("it is in the table").id;
    let reads = [id(b"dump"), id(b"pexpiretime")];
    let of_key = |key: &'a [u8]| reads.map(|read| encode_for(asked, read, db, [key].into_iter()));
    let commands: Vec<Vec<u8>> = keys.flat_map(of_key).collect();
    let mut bytes = Vec::new();
    let header = RequestHeader { asked, ..RequestHeader::new(Protocol::Resp2, 0, STEP_EXEC) };
    transaction::encode(&mut bytes, header, None, commands.iter().map(Vec::as_slice));
    bytes
}
