//! Commands that make one thing of keys in several shards: the keys are carried to where the client is, the commands executed on
//! them there, and what has become of them is carried back.
//!
//! What a newcomer would get wrong: nothing of a key is carried that no command looks at. A destination that is overwritten is not
//! read, and of one that must not be there it is asked only if it is.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use basalt_net::resp::{Protocol, Reply, value};
use basalt_storage::MemoryRows;
use basalt_storage::keyspace::{
    EventClasses, KeyEvent, Keyspace, SERIALIZED_BYTES_MAX, Scratch, Serialized, VersionSource,
};

use super::super::concerned::{Concerned, visit_concerned};
use super::sides::{Side, Sides, elements, encode, place_of};
use super::{MISSHAPEN, Next, Work};
use crate::cluster::Router;
use crate::commands::table::{STEP_READ, STEP_REMOVE, STEP_TELL, STEP_WRITE};
use crate::commands::{
    Command, CommandError, Context, Copies, Kind, MultiShard, OverShards, Overwrites, Random, ReplyBounds, Scatter,
    TOO_MUCH_WORK, table,
};
use crate::entry::request::{self, ArgList};
use crate::ids::ShardId;
use crate::limits;

/// The part of a key that a command looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Nothing,
    Existence,
    Value,
}

/// A key that commands concern.
#[derive(Debug)]
struct CarriedKey {
    db: u8,
    key: Vec<u8>,
    shard: ShardId,
    needs: Needs,
    is_written: bool,
    /// The place of its read among those of its side.
    read: usize,
    /// Its bytes as they came, if they did.
    before: Option<Vec<u8>>,
}

/// Commands that are executed where their client is.
#[derive(Debug)]
pub struct Carried {
    commands: Vec<Vec<u8>>,
    keys: Vec<CarriedKey>,
    protocol: Protocol,
    is_transaction: bool,
    now_ms: u64,
    string_bytes_max: usize,
    bounds: ReplyBounds,
    reply: Vec<u8>,
    /// Classes of events of keys that are told.
    told: EventClasses,
    events: CarriedEvents,
}

/// Events of keys, which are told where the keys are.
#[derive(Debug, Default)]
struct CarriedEvents {
    /// Each with its database and its key.
    events: Vec<(EventClasses, String, u8, Vec<u8>)>,
    bytes: usize,
    dropped: u64,
}

impl CarriedEvents {
    /// Takes what `scratch` has noted of a command.
    fn take(&mut self, scratch: &Scratch) {
        let mut note = |event: KeyEvent<'_>| {
            self.bytes += event.key.len() + limits::CARRIED_EVENT_OVERHEAD;
            if self.bytes > limits::CARRIED_EVENTS_BYTES_MAX {
                self.dropped += 1;
                return;
            }
            let name = String::from_utf8_lossy(event.event).into_owned();
            self.events.push((event.class, name, event.db, event.key.to_vec()));
        };
        while scratch.take_event(&mut note) {}
    }
}

/// All that the execution depends on beside keys and commands.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// The protocol of the reply as a whole.
    pub protocol: Protocol,
    /// The time, in Unix milliseconds.
    pub now_ms: u64,
    /// Bytes that a command may make a string long.
    pub string_bytes_max: usize,
    /// Size that replies may reach.
    pub bounds: ReplyBounds,
    /// Classes of events of keys that are told.
    pub told: EventClasses,
}

/// The part of its key number `number` that `command` looks at.
fn needs(command: &Command, args: &[&[u8]], number: usize) -> Needs {
    let is_overwritten = match command.overwrites {
        Overwrites::Always => true,
        Overwrites::Never => false,
        Overwrites::With(word) => args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes())),
    };
    match (command.scatter, command.copies, number) {
        (Scatter::MultiShard(MultiShard::Rename | MultiShard::Copy), _, 1) if is_overwritten => Needs::Nothing,
        (Scatter::MultiShard(MultiShard::Rename | MultiShard::Copy), _, 1) => Needs::Existence,
        (_, Copies::Sources, 0) => Needs::Nothing,
        _ => Needs::Value,
    }
}

impl Carried {
    /// Plans `commands`, encoded ones, of a transaction or a single one.
    ///
    /// # Errors
    /// That one of them concerns all shards, or is not carried although its keys are in several.
    pub fn plan(
        commands: Vec<Vec<u8>>,
        router: &Router,
        is_transaction: bool,
        around: Surroundings,
    ) -> Result<(Vec<Side>, Carried), CommandError> {
        let Surroundings { protocol, now_ms, string_bytes_max, bounds, told } = around;
        let mut keys: Vec<CarriedKey> = Vec::new();
        let mut places = HashMap::new();
        for bytes in &commands {
            let mut args = ArgList::new();
            args.push(b"");
            let header = request::decode(bytes, &mut args).expect("it was encoded by this process");
            let command = table::by_id(header.command).expect("it was found in the table");
            let (mut number, mut concerns_all) = (0, false);
            let mut shards = command.keys(&args).map(|position| router.shard_of(args[position]));
            if command.over_shards == OverShards::Refused
                && let Some(first) = shards.next()
                && shards.any(|shard| shard != first)
            {
                return Err(CommandError::CROSS_SHARD);
            }
            visit_concerned(bytes, &mut |concerned, is_written| {
                let Concerned::Key(db, key) = concerned else {
                    concerns_all = true;
                    return;
                };
                let mut needs = needs(command, &args, number);
                if told != EventClasses::NONE {
                    // That it is new is told, or that it is gone.
                    needs = needs.max(Needs::Existence);
                }
                number += 1;
                let place = *places.entry((db, key.to_vec())).or_insert(keys.len());
                if place == keys.len() {
                    let shard = router.shard_of(key);
                    let key = key.to_vec();
                    keys.push(CarriedKey { db, key, shard, needs, is_written, read: 0, before: None });
                }
                keys[place].needs = keys[place].needs.max(needs);
                keys[place].is_written |= is_written;
            });
            if concerns_all || matches!(command.scatter, Scatter::MultiShard(MultiShard::Scan)) {
                if !is_transaction {
                    return Err(CommandError::CROSS_SHARD);
                }
                let name = command.name();
                return Err(CommandError::owned(format!(
                    "CROSSSLOT '{name}' concerns all shards of this node, and other commands of the transaction have keys in several: \
                     call it outside of MULTI, or give the node one shard"
                )));
            }
        }
        let mut sides = Sides::default();
        let exists = table::lookup(b"exists").expect("it is in the table").id;
        for key in &mut keys {
            let side = sides.of(key.shard);
            side.keys.add(key.db, &key.key, key.is_written);
            key.read = side.reads.len();
            match key.needs {
                Needs::Nothing => {}
                Needs::Existence => side.reads.push(encode(exists, protocol, key.db, [&key.key[..]])),
                Needs::Value => side.reads.push(encode(STEP_READ, protocol, key.db, [&key.key[..]])),
            }
        }
        let (reply, events) = (Vec::new(), CarriedEvents::default());
        let carried =
            Carried { commands, keys, protocol, is_transaction, now_ms, string_bytes_max, bounds, reply, told, events };
        Ok((sides.settled(), carried))
    }

    /// Takes the keys as they came. The error to reply, if they cannot be used.
    fn load(
        &mut self,
        sides: &[Side],
        read: &[Vec<u8>],
        rows: &mut MemoryRows,
        versions: &mut VersionSource,
    ) -> Result<(), Vec<u8>> {
        // In the place of what nobody looks at: if it is there in the end, the key stays as it is.
        let untouched: [u8; 32] = rand::random();
        let misshapen = || format!("-{MISSHAPEN}\r\n").into_bytes();
        let mut scratch = Scratch::default();
        let mut bytes_left = limits::CARRIED_BYTES_AT_ONCE;
        // Split once: a side may have very many keys.
        let replies: Vec<Vec<&[u8]>> = read.iter().map(|reply| elements(reply)).collect();
        for key in &mut self.keys {
            let replies = &replies[place_of(sides, key.shard)];
            let reply = if key.needs == Needs::Nothing { b"" } else { *replies.get(key.read).ok_or_else(misshapen)? };
            if value::is_error(reply) {
                return Err(reply.to_vec());
            }
            bytes_left = bytes_left.checked_sub(reply.len()).ok_or_else(|| {
                let most = limits::CARRIED_BYTES_AT_ONCE >> 20;
                let text = format!(
                    "-ERR the keys have more than {most} MB together, too much for several shards: give them a common hash tag\r\n"
                );
                text.into_bytes()
            })?;
            let mut keyspace = Keyspace::new(rows, &mut scratch, *versions, key.db, self.now_ms);
            match key.needs {
                Needs::Existence if value::read_integer(reply) == Some(0) => {}
                Needs::Nothing | Needs::Existence => {
                    keyspace.set_string(&key.key, &untouched, None).map_err(|_| misshapen())?;
                }
                Needs::Value if matches!(reply, b"$-1\r\n" | b"_\r\n") => {}
                Needs::Value => {
                    let bytes = value::read_bulk(reply).ok_or_else(misshapen)?;
                    if !keyspace.restore(&key.key, bytes).map_err(|_| misshapen())? {
                        return Err(misshapen());
                    }
                }
            }
            *versions = keyspace.versions();
            key.before = serialized(&keyspace, &key.key).map_err(|_| misshapen())?;
        }
        Ok(())
    }

    /// Executes the commands, and has the reply. The work of that is taken off what is left.
    ///
    /// # Errors
    /// That of a script which would do more.
    fn execute(
        &mut self,
        rows: &mut MemoryRows,
        versions: &mut VersionSource,
        work_left: &mut u64,
    ) -> Result<(), CommandError> {
        let (mut scratch, mut seedless) = (Scratch::default(), Random::new(rand::random()));
        // What is read is not written anywhere: that a key was not there is told to nobody.
        scratch.tell(self.told.without(EventClasses::MISS));
        let mut out = Vec::new();
        if self.is_transaction {
            Reply::new(&mut out, self.protocol).array(self.commands.len());
        }
        for bytes in &self.commands {
            let mut args = ArgList::new();
            args.push(b"");
            let header = request::decode(bytes, &mut args).expect("it was encoded by this process");
            let command = table::by_id(header.command).expect("it was found in the table");
            args[0] = command.name().as_bytes();
            let (Kind::Read(run) | Kind::Write(run)) = command.kind else { continue };
            let left = self.bounds.one_bytes_max.saturating_sub(out.len()).max(limits::SMALL_REPLY_BYTES_MAX);
            let mut reply = Reply::bounded(&mut out, header.protocol, left);
            let mark = reply.mark();
            let keyspace = Keyspace::new(rows, &mut scratch, *versions, header.db, self.now_ms);
            let mut own = header.seed.map(Random::new);
            let random = own.as_mut().unwrap_or(&mut seedless);
            let string_bytes_max = self.string_bytes_max;
            let mut context = Context { keyspace, random, string_bytes_max, work_left: Cell::new(*work_left) };
            let outcome = run(&mut context, &args, &mut reply);
            *versions = context.keyspace.versions();
            *work_left = context.work_left.get();
            self.events.take(&scratch);
            match outcome {
                Ok(()) if reply.is_over() => {
                    reply.truncate(mark);
                    reply.error(self.bounds.too_large(matches!(command.kind, Kind::Write(_))));
                }
                Ok(()) => {}
                Err(error @ CommandError::Undone(_)) => return Err(error),
                Err(error) => {
                    reply.truncate(mark);
                    reply.error_display(&error);
                }
            }
        }
        self.reply = out;
        Ok(())
    }

    /// Gives each side what has become of its keys, to be written there. The error to reply, if a key has become too large.
    fn carry_back(&self, sides: &mut [Side], rows: &mut MemoryRows, versions: VersionSource) -> Result<(), Vec<u8>> {
        let mut scratch = Scratch::default();
        // One command each, however many they are.
        let mut deleted: BTreeMap<(usize, u8), Vec<&[u8]>> = BTreeMap::new();
        for key in self.keys.iter().filter(|key| key.is_written) {
            let keyspace = Keyspace::new(rows, &mut scratch, versions, key.db, self.now_ms);
            let after = serialized(&keyspace, &key.key).map_err(|error| format!("-{error}\r\n").into_bytes())?;
            let place = place_of(sides, key.shard);
            match after {
                after if after == key.before => {}
                None => deleted.entry((place, key.db)).or_default().push(&key.key),
                Some(bytes) => {
                    let args = [&key.key[..], &bytes, b"replace"];
                    sides[place].writes.push(encode(STEP_WRITE, self.protocol, key.db, args));
                }
            }
        }
        for ((place, db), keys) in deleted {
            sides[place].writes.push(encode(STEP_REMOVE, self.protocol, db, keys));
        }
        self.carry_events(sides);
        Ok(())
    }

    /// Gives each side what has become of its keys, to be told there, in its order.
    fn carry_events(&self, sides: &mut [Side]) {
        if self.events.events.is_empty() {
            return;
        }
        let places: HashMap<(u8, &[u8]), usize> =
            self.keys.iter().map(|key| ((key.db, &key.key[..]), place_of(sides, key.shard))).collect();
        let mut dropped = self.events.dropped;
        // Those of one side and one database that follow each other are one command. By side: its database, and the arguments.
        let mut told: BTreeMap<usize, (u8, Vec<Vec<u8>>)> = BTreeMap::new();
        let give = |side: &mut Side, (db, args): (u8, Vec<Vec<u8>>)| {
            side.writes.push(encode(STEP_TELL, self.protocol, db, args.iter().map(Vec::as_slice)));
        };
        for (class, event, db, key) in &self.events.events {
            let Some(&place) = places.get(&(*db, &key[..])) else { continue };
            if told.get(&place).is_some_and(|(of, _)| of != db) {
                give(&mut sides[place], told.remove(&place).expect("it was found a moment ago"));
            }
            let (_, args) =
                told.entry(place).or_insert_with(|| (*db, vec![std::mem::take(&mut dropped).to_string().into_bytes()]));
            args.extend([class.bits().to_string().into_bytes(), event.clone().into_bytes(), key.clone()]);
        }
        told.into_iter().for_each(|(place, args)| give(&mut sides[place], args));
    }
}

/// Takes work for bytes that are carried off what is left.
fn pay_for_bytes<'a>(work_left: &mut u64, carried: impl Iterator<Item = &'a Vec<u8>>) -> Result<(), CommandError> {
    let bytes: u64 = carried.map(|bytes| bytes.len() as u64).sum();
    let left = work_left.checked_sub(bytes / limits::CARRIED_BYTES_PER_WORK);
    *work_left = left.ok_or_else(|| CommandError::Undone(TOO_MUCH_WORK.into()))?;
    Ok(())
}

fn serialized(keyspace: &Keyspace<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, CommandError> {
    match keyspace.serialize(key, SERIALIZED_BYTES_MAX)? {
        Serialized::Absent => Ok(None),
        Serialized::Bytes(bytes) => Ok(Some(bytes)),
        Serialized::TooLarge => Err(CommandError::owned(format!(
            "ERR a key is too large for several shards: the limit is {SERIALIZED_BYTES_MAX} bytes; use keys with a common {{hash tag}}"
        ))),
    }
}

impl Work for Carried {
    fn bytes(&self) -> usize {
        let of_keys: usize = self.keys.iter().map(|key| size_of::<CarriedKey>() + key.key.len()).sum();
        of_keys + self.commands.iter().map(Vec::len).sum::<usize>()
    }

    fn decide(&mut self, sides: &mut [Side], read: &[Vec<u8>], out: &mut Reply<'_>) -> Next {
        // Of a client's own, nothing but the bytes is bounded.
        let next = self.decide_within(&mut { u64::MAX }, sides, read, out);
        next.unwrap_or_else(|error| {
            out.error_display(error);
            Next::Reply
        })
    }

    fn decide_within(
        &mut self,
        work_left: &mut u64,
        sides: &mut [Side],
        read: &[Vec<u8>],
        out: &mut Reply<'_>,
    ) -> Result<Next, CommandError> {
        let (mut rows, mut versions) = (MemoryRows::default(), VersionSource::entry(1));
        pay_for_bytes(work_left, read.iter())?;
        if let Err(error) = self.load(sides, read, &mut rows, &mut versions) {
            out.raw(&error);
            return Ok(Next::Reply);
        }
        self.execute(&mut rows, &mut versions, work_left)?;
        if let Err(error) = self.carry_back(sides, &mut rows, versions) {
            out.raw(&error);
            return Ok(Next::Reply);
        }
        if sides.iter().all(|side| side.writes.is_empty()) {
            out.raw(&self.reply);
            return Ok(Next::Reply);
        }
        pay_for_bytes(work_left, sides.iter().flat_map(|side| &side.writes))?;
        Ok(Next::Execute)
    }

    fn finish(&mut self, _sides: &[Side], _read: &[Vec<u8>], _written: &[Vec<u8>], out: &mut Reply<'_>) {
        out.raw(&self.reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_gone_are_deleted_by_one_command_however_many_they_are() {
        const KEYS: usize = limits::TRANSACTION_COMMANDS_MAX + 1;
        let bounds = ReplyBounds { one_bytes_max: usize::MAX, shard_bytes_max: usize::MAX };
        let around = Surroundings {
            protocol: Protocol::Resp2,
            now_ms: 1,
            string_bytes_max: 1 << 20,
            bounds,
            told: EventClasses::NONE,
        };
        let keys: Vec<String> = (0..KEYS).map(|number| format!("{{tag}}{number}")).collect();
        let del = table::lookup(b"del").unwrap().id;
        let command = encode(del, Protocol::Resp2, 0, keys.iter().map(String::as_bytes));
        let (mut sides, mut carried) = Carried::plan(vec![command], &Router::new(2, 1), true, around).unwrap();
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 1);
        keyspace.set_string(b"k", b"value", None).unwrap();
        let bytes = serialized(&keyspace, b"k").unwrap().unwrap();
        let mut read = Vec::new();
        let mut reply = Reply::new(&mut read, Protocol::Resp2);
        reply.array(KEYS);
        (0..KEYS).for_each(|_| reply.bulk(&bytes));
        let mut out = Vec::new();
        let next = carried.decide(&mut sides, &[read], &mut Reply::new(&mut out, Protocol::Resp2));
        assert_eq!((next, sides.len(), sides[0].writes.len()), (Next::Execute, 1, 1));
        carried.finish(&sides, &[], &[], &mut Reply::new(&mut out, Protocol::Resp2));
        assert_eq!(out, format!("*1\r\n:{KEYS}\r\n").into_bytes());
    }

    #[test]
    fn a_script_pays_for_what_is_executed_where_it_runs() {
        const LENGTH: usize = 999;
        let bounds = ReplyBounds { one_bytes_max: usize::MAX, shard_bytes_max: usize::MAX };
        let around = Surroundings {
            protocol: Protocol::Resp2,
            now_ms: 1,
            string_bytes_max: 1 << 20,
            bounds,
            told: EventClasses::NONE,
        };
        let lcs = table::lookup(b"lcs").unwrap().id;
        let command = encode(lcs, Protocol::Resp2, 0, [&b"{tag}a"[..], b"{tag}b", b"len"]);
        let (mut sides, mut carried) = Carried::plan(vec![command], &Router::new(2, 1), false, around).unwrap();
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 1);
        keyspace.set_string(b"k", &[b'v'; LENGTH], None).unwrap();
        let bytes = serialized(&keyspace, b"k").unwrap().unwrap();
        let mut read = Vec::new();
        let mut reply = Reply::new(&mut read, Protocol::Resp2);
        reply.array(2);
        (0..2).for_each(|_| reply.bulk(&bytes));
        let cells = ((LENGTH + 1) * (LENGTH + 1)) as u64 / limits::LCS_CELLS_PER_WORK;
        let needed = cells + read.len() as u64 / limits::CARRIED_BYTES_PER_WORK;
        for (given, is_enough) in [(needed, true), (needed - 1, false)] {
            let (mut left, mut out) = (given, Vec::new());
            let read = std::slice::from_ref(&read);
            let next = carried.decide_within(&mut left, &mut sides, read, &mut Reply::new(&mut out, Protocol::Resp2));
            assert_eq!((next.is_ok(), left), (is_enough, if is_enough { 0 } else { cells - 1 }));
            assert_eq!(out, if is_enough { format!(":{LENGTH}\r\n").into_bytes() } else { Vec::new() });
        }
    }
}
