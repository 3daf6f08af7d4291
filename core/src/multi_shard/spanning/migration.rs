//! MIGRATE: keys of whatever shards that go to another server.
//!
//! All keys are held first, then they are dumped, some of each shard at a time, and handed out as a [`Parcel`]. The [`Delivery`]
//! says which of them the other server has taken; these are deleted, if they are not to stay.
//!
//! What a newcomer would get wrong: keys are numbered in the order of the call, over all shards. In that order they are sent, and
//! the error of the first that is refused is the reply.

use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply, value};

use super::MISSHAPEN;
use super::sides::{Side, Sides, elements, place_of};
use crate::cluster::Router;
use crate::commands::table::{self, STEP_DUMP};
use crate::commands::{Args, MigrateCall, Target};
use crate::entry::request::{self, RequestHeader};
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
        let names = keys.iter().map(|(key, ..)| (*key).into()).collect();
        let mut dumps = Vec::new();
        for (number, &(_, deadline_ms, payload)) in keys.iter().enumerate() {
            dumps.push(Dump { number, deadline_ms, reply: payload.into(), payload: 0..payload.len() });
        }
        Parcel { target: Arc::new(target), keys: names, dumps }
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
            self.error =
                Some(error.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect());
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
                None => shards.push(Dumping { shard, keys: vec![number], dumped: 0, asked_for: 0 }),
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

    /// The next step, once all keys are held and all that was asked for is answered. `asked` is the command that its client has
    /// called.
    pub fn next(&mut self, asked: u16) -> MigrationStep {
        let (db, keys) = (self.db, &self.keys);
        let reads: Vec<(ShardId, Vec<u8>)> = self
            .shards
            .iter_mut()
            .filter(|dumping| dumping.dumped < dumping.keys.len())
            .map(|dumping| {
                dumping.asked_for = limits::DUMPED_AT_ONCE.min(dumping.keys.len() - dumping.dumped);
                let numbers = &dumping.keys[dumping.dumped..][..dumping.asked_for];
                let names = numbers.iter().map(|&number| &*keys[number]);
                (dumping.shard, encode_for(asked, STEP_DUMP, db, names))
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
        // Of those behind a large one there is nothing yet.
        let count = replies.len() / 2;
        if !replies.len().is_multiple_of(2) || count == 0 || count > std::mem::take(&mut dumping.asked_for) {
            return Err(misshapen());
        }
        self.bytes_left = self.bytes_left.checked_sub(reply.len()).ok_or_else(|| {
            let most = limits::BYTES_MAX >> 20;
            format!("-ERR the keys have more than {most} MB together, too much for one MIGRATE: nothing was sent, name fewer\r\n")
                .into_bytes()
        })?;
        let numbers = &dumping.keys[dumping.dumped..][..count];
        let mut at = reply.len() - replies.iter().map(|reply| reply.len()).sum::<usize>();
        for (&number, pair) in numbers.iter().zip(replies.chunks_exact(2)) {
            let end = at + pair[0].len();
            at = end + pair[1].len();
            let (Some(payload), Some(deadline_ms)) = (value::read_bulk(pair[0]), value::read_integer(pair[1])) else {
                // The key is not there.
                continue;
            };
            // In front of its line end.
            let payload = end - 2 - payload.len()..end - 2;
            self.dumps.push(Dump {
                number,
                deadline_ms: u64::try_from(deadline_ms).ok(),
                reply: reply.clone(),
                payload,
            });
        }
        dumping.dumped += count;
        Ok(())
    }

    /// Gives each side the keys that are to be deleted there, now that the other server has them. Returns the reply to the client,
    /// for when that is done.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Command;
    use crate::entry::request::ArgList;

    const ASKED: u16 = 1570;

    fn plan(line: &str) -> (Vec<Side>, Migration) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Migration::plan(&Router::new(2, 1), 3, MigrateCall::read(&args).unwrap(), &args)
    }

    /// A name of a key in this shard.
    fn key_of(shard: u16, name: &str) -> String {
        let router = Router::new(2, 1);
        let mut names = (0..).map(|number| format!("{name}{number}"));
        names.find(|name| router.shard_of(name.as_bytes()) == ShardId(shard)).unwrap()
    }

    fn line(bytes: &[u8]) -> String {
        let mut args = ArgList::new();
        let header = request::decode(bytes, &mut args).unwrap();
        assert_eq!((header.asked, header.db), (ASKED, 3));
        let name = table::by_id(header.command).map(Command::name).unwrap();
        let args = args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned());
        std::iter::once(name.to_owned()).chain(args).collect::<Vec<_>>().join(" ")
    }

    /// The reply of a shard: a payload and a deadline for each key; nothing of those that are not there.
    fn dumped(keys: &[Option<(&[u8], i64)>]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        reply.array(2 * keys.len());
        for key in keys {
            reply.bulk_or_null(key.map(|(payload, _)| payload));
            reply.integer(key.map_or(-2, |(_, deadline_ms)| deadline_ms));
        }
        out
    }

    fn reads(migration: &mut Migration) -> Vec<(ShardId, String)> {
        match migration.next(ASKED) {
            MigrationStep::Dump(reads) => reads.into_iter().map(|(shard, bytes)| (shard, line(&bytes))).collect(),
            other => panic!("something is to be dumped, not {other:?}"),
        }
    }

    #[test]
    fn keys_of_two_shards_are_sent_in_the_order_of_the_call_and_those_that_were_taken_are_deleted() {
        let [a, b, c, d] = [(0, "a"), (1, "b"), (0, "c"), (1, "d")].map(|(shard, name)| key_of(shard, name));
        let (mut sides, mut migration) = plan(&format!("migrate h 1  0 1 keys {a} {b} {c} {d}"));
        assert!(sides.iter().flat_map(|side| &side.keys.keys).all(|held| held.is_exclusive && held.db == 3));
        assert_eq!(sides.iter().map(|side| side.keys.keys.len()).collect::<Vec<_>>(), [2, 2]);
        let (of_first, of_second) = (format!("step|dump {a} {c}"), format!("step|dump {b} {d}"));
        assert_eq!(reads(&mut migration), [(ShardId(0), of_first), (ShardId(1), of_second)]);
        // One of them has enough with the first key.
        migration.take_dumps(ShardId(1), &dumped(&[Some((b"of b", -1))])).unwrap();
        migration.take_dumps(ShardId(0), &dumped(&[Some((b"of a", 77)), None])).unwrap();
        assert_eq!(reads(&mut migration), [(ShardId(1), format!("step|dump {d}"))]);
        migration.take_dumps(ShardId(1), &dumped(&[Some((b"", -1))])).unwrap();
        let MigrationStep::Send(parcel) = migration.next(ASKED) else { panic!("all is dumped") };
        let sent: Vec<_> = parcel.keys().map(|key| (key.number, key.key, key.deadline_ms, key.payload)).collect();
        assert_eq!(
            sent,
            [(0, a.as_bytes(), Some(77), &b"of a"[..]), (1, b.as_bytes(), None, b"of b"), (3, d.as_bytes(), None, b""),]
        );
        let mut delivery = Delivery { taken: vec![3, 0], error: None };
        delivery.fail(b"ERR first\nof\r\nall");
        delivery.fail(b"ERR second");
        let reply = migration.delivered(ASKED, &delivery.encode(), &mut sides);
        assert_eq!(reply, b"-ERR first of  all\r\n");
        let writes: Vec<Vec<String>> =
            sides.iter().map(|side| side.writes.iter().map(|bytes| line(bytes)).collect()).collect();
        assert_eq!(writes, [[format!("del {a}")], [format!("del {d}")]]);
    }

    #[test]
    fn keys_that_stay_are_held_for_others_to_read_and_are_not_deleted() {
        let (mut sides, migration) = plan("migrate h 1 a 0 1 copy");
        assert!(migration.copies() && !sides[0].keys.keys[0].is_exclusive);
        let delivery = Delivery { taken: vec![0], error: None };
        assert_eq!(migration.delivered(ASKED, &delivery.encode(), &mut sides), b"+OK\r\n");
        assert!(sides[0].writes.is_empty());
    }

    #[test]
    fn nothing_is_sent_of_what_is_not_there_or_too_large() {
        let (_, mut migration) = plan("migrate h 1 a 0 1");
        reads(&mut migration);
        let shard = Router::new(2, 1).shard_of(b"a");
        for count in [0, 2] {
            migration.take_dumps(shard, &dumped(&vec![None; count])).unwrap_err();
        }
        reads(&mut migration);
        migration.take_dumps(shard, &dumped(&[None])).unwrap();
        assert!(matches!(migration.next(ASKED), MigrationStep::NoKey));

        let (_, mut migration) = plan("migrate h 1  0 1 keys {a}1 {a}2 {a}3");
        let half = vec![b'x'; limits::BYTES_MAX / 2];
        reads(&mut migration);
        migration.take_dumps(shard, &dumped(&[Some((&half, -1))])).unwrap();
        assert_eq!(reads(&mut migration), [(shard, "step|dump {a}2 {a}3".to_owned())]);
        let refused = migration.take_dumps(shard, &dumped(&[Some((&half, -1))])).unwrap_err();
        assert!(refused.starts_with(b"-ERR the keys have more than 64 MB together"));
    }

    #[test]
    fn many_keys_are_dumped_so_many_at_a_time() {
        let names: Vec<String> = (0..70).map(|number| format!("{{a}}{number}")).collect();
        let (_, mut migration) = plan(&format!("migrate h 1  0 1 keys {}", names.join(" ")));
        let shard = Router::new(2, 1).shard_of(b"a");
        let mut rounds = Vec::new();
        while let MigrationStep::Dump(reads) = migration.next(ASKED) {
            let count = line(&reads[0].1).split(' ').count() - 1;
            rounds.push(count);
            migration.take_dumps(shard, &dumped(&vec![Some((&b"x"[..], -1)); count])).unwrap();
        }
        assert_eq!(rounds, [32, 32, 6]);
    }
}
