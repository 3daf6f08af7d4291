//! Commands that the core puts together from steps on several shards: SCAN, KEYS, RANDOMKEY, RENAME and COPY.
//!
//! A key that changes its shard is read, written and deleted in three log entries, so another client may see it under both
//! names or change it in between; the last step deletes the old name only if it still is what was copied.

use basalt_net::resp::{Reply, value};
use basalt_storage::keyspace::KeyPosition;

use crate::commands::table::{STEP_DELETE, STEP_READ, STEP_SCAN, STEP_WRITE, Special};
use crate::commands::{Args, CommandError, CopyOptions, ScanCursor};
use crate::coordinator::{Coordinator, Part, Progress};
use crate::entry::request::Mode;
use crate::ids::ShardId;
use crate::limits;
use crate::reply_bounds::ReplyBounds;
use crate::router::Router;

/// How a special command starts.
pub enum Start {
    /// One shard can run it whole.
    Whole(ShardId),
    /// These parts are sent, and the coordinator goes on from their replies.
    Parts(Vec<Part>, Box<dyn Coordinator>),
}

/// Plans a special command that a connection called in database `db`.
///
/// # Errors
/// What is wrong with its arguments.
pub fn start(
    which: Special,
    db: u8,
    router: &Router,
    bounds: &ReplyBounds,
    args: Args<'_>,
) -> Result<Start, CommandError> {
    let shards = router.shard_count();
    if shards == 1 && which != Special::Keys {
        return Ok(Start::Whole(ShardId(0)));
    }
    match which {
        Special::Scan => start_scan(db, shards, args),
        Special::Keys => {
            let steps =
                Steps { db, options: vec![b"MATCH".to_vec(), args[1].to_vec(), b"COUNT".to_vec(), keys_per_step()] };
            let parts: Vec<Part> = router.shards().map(|shard| steps.part(shard, KeyPosition::START)).collect();
            let waiting = parts.iter().map(|part| part.shard).collect();
            Ok(Start::Parts(
                parts,
                Box::new(Keys {
                    steps,
                    shard_of_part: waiting,
                    open: shards.into(),
                    count: 0,
                    keys: Vec::new(),
                    bounds: *bounds,
                    error: None,
                }),
            ))
        }
        Special::RandomKey => {
            let first = ShardId(rand::random_range(0..shards));
            let random = RandomKey { command: args_command(args), db, shards, next: first, asked: 0 };
            let part = random.part();
            Ok(Start::Parts(vec![part], Box::new(random)))
        }
        Special::Rename => Ok(start_move(db, router, args, Move::rename(db, router, args))),
        Special::Copy => {
            let options = CopyOptions::read(args, db)?;
            Ok(start_move(db, router, args, Move::copy(db, options, router, args)))
        }
    }
}

fn args_command(args: Args<'_>) -> u16 {
    crate::commands::table::lookup(args[0]).map_or(0, |command| command.id)
}

fn keys_per_step() -> Vec<u8> {
    limits::KEYS_PER_STEP.to_string().into_bytes()
}

/// Steps of a walk over keys.
struct Steps {
    db: u8,
    options: Vec<Vec<u8>>,
}

impl Steps {
    fn part(&self, shard: ShardId, from: KeyPosition) -> Part {
        let mut args = vec![from.to_bits().to_string().into_bytes()];
        args.extend(self.options.iter().cloned());
        Part { shard, mode: Mode::Read, command: STEP_SCAN, db: self.db, args }
    }
}

/// A step's reply: where to go on, and the keys as they came.
fn read_step(reply: &[u8]) -> Option<(Option<KeyPosition>, &[u8])> {
    let mut elements = value::split_elements(reply).ok()?;
    let next = value::read_integer(elements.next()?)?;
    let next = u64::try_from(next).ok().and_then(KeyPosition::from_bits);
    Some((next, elements.next()?))
}

const MISSHAPEN: &str = "-ERR a shard gave a reply of another shape than the step has\r\n";

fn misshapen(out: &mut Reply<'_>) -> Progress {
    out.raw(MISSHAPEN.as_bytes());
    Progress::Done
}

fn start_scan(db: u8, shards: u16, args: Args<'_>) -> Result<Start, CommandError> {
    let cursor = ScanCursor::read(args[1])?;
    let steps = Steps { db, options: args[2..].iter().map(|arg| arg.to_vec()).collect() };
    // A cursor that no SCAN gave may name a shard that is not there: then the walk is over.
    let shard = if cursor.shard < u64::from(shards) { cursor.shard } else { u64::from(shards) - 1 };
    let part = steps.part(ShardId(shard as u16), cursor.position);
    Ok(Start::Parts(vec![part], Box::new(Scan { cursor, shards: u64::from(shards) })))
}

struct Scan {
    cursor: ScanCursor,
    shards: u64,
}

impl Coordinator for Scan {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        if reply.starts_with(b"-") {
            out.raw(reply);
            return Progress::Done;
        }
        let Some((next, keys)) = read_step(reply) else { return misshapen(out) };
        let is_known = self.cursor.shard < self.shards;
        let next = if is_known { self.cursor.after_step(next, self.shards) } else { None };
        out.array(2);
        out.bulk_display(next.map_or(0, ScanCursor::to_bits));
        if is_known {
            out.raw(keys)
        } else {
            out.array(0)
        }
        Progress::Done
    }
}

struct Keys {
    steps: Steps,
    shard_of_part: Vec<ShardId>,
    /// Shards that are not through.
    open: usize,
    count: usize,
    keys: Vec<u8>,
    bounds: ReplyBounds,
    error: Option<Vec<u8>>,
}

impl Keys {
    /// Takes the keys of a step and says where its shard goes on; or what the shard said instead.
    fn take(&mut self, reply: &[u8]) -> Result<Option<KeyPosition>, Vec<u8>> {
        if reply.starts_with(b"-") {
            return Err(reply.to_vec());
        }
        let step = read_step(reply).and_then(|(next, keys)| Some((next, value::split_elements(keys).ok()?)));
        let (next, keys) = step.ok_or_else(|| MISSHAPEN.as_bytes().to_vec())?;
        for key in keys {
            self.keys.extend_from_slice(key);
            self.count += 1;
        }
        if self.keys.len() > self.bounds.one_bytes_max {
            self.keys = Vec::new();
            return Err(format!("-{}\r\n", self.bounds.too_large(false)).into_bytes());
        }
        Ok(next)
    }
}

impl Coordinator for Keys {
    fn answered(&mut self, part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        match self.take(reply) {
            // After an error the other shards are only heard out.
            Ok(Some(position)) if self.error.is_none() => {
                let shard = self.shard_of_part[part];
                self.shard_of_part.push(shard);
                return Progress::Send(vec![self.steps.part(shard, position)]);
            }
            Ok(_) => {}
            Err(error) => {
                self.keys = Vec::new();
                self.error.get_or_insert(error);
            }
        }
        self.open -= 1;
        if self.open > 0 {
            return Progress::Wait;
        }
        match &self.error {
            Some(error) => out.raw(error),
            None => {
                out.array(self.count);
                out.raw(&self.keys);
            }
        }
        Progress::Done
    }

    fn held_bytes(&self) -> usize {
        self.keys.capacity()
    }
}

struct RandomKey {
    command: u16,
    db: u8,
    shards: u16,
    next: ShardId,
    asked: u16,
}

impl RandomKey {
    fn part(&self) -> Part {
        Part { shard: self.next, mode: Mode::Read, command: self.command, db: self.db, args: Vec::new() }
    }
}

impl Coordinator for RandomKey {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        self.asked += 1;
        if self.asked < self.shards && matches!(reply, b"$-1\r\n" | b"_\r\n") {
            self.next = ShardId((self.next.0 + 1) % self.shards);
            return Progress::Send(vec![self.part()]);
        }
        out.raw(reply);
        Progress::Done
    }
}

/// A key on its way to another shard.
struct Move {
    from: (ShardId, u8, Vec<u8>),
    to: (ShardId, u8, Vec<u8>),
    replace: bool,
    /// RENAME deletes the source, COPY keeps it.
    delete_source: bool,
    /// What a source that is not there means: an error for RENAME, 0 for COPY.
    missing_is_error: bool,
    /// RENAME says OK, RENAMENX and COPY say whether.
    answer_ok: bool,
    bytes: Vec<u8>,
    step: MoveStep,
    /// Whether it may hold a large key.
    has_turn: bool,
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MoveStep {
    Reading,
    Writing,
    Deleting,
}

fn start_move(db: u8, router: &Router, args: Args<'_>, moving: Move) -> Start {
    if router.shard_of(args[1]) == router.shard_of(args[2]) {
        return Start::Whole(moving.from.0);
    }
    let part = Part { shard: moving.from.0, mode: Mode::Read, command: STEP_READ, db, args: vec![args[1].to_vec()] };
    Start::Parts(vec![part], Box::new(moving))
}

impl Move {
    fn between(db: (u8, u8), router: &Router, args: Args<'_>) -> Move {
        Move {
            from: (router.shard_of(args[1]), db.0, args[1].to_vec()),
            to: (router.shard_of(args[2]), db.1, args[2].to_vec()),
            replace: true,
            delete_source: true,
            missing_is_error: true,
            answer_ok: true,
            bytes: Vec::new(),
            step: MoveStep::Reading,
            has_turn: false,
            attempts: 0,
        }
    }

    fn rename(db: u8, router: &Router, args: Args<'_>) -> Move {
        let only_if_free = args[0].eq_ignore_ascii_case(b"renamenx");
        Move { replace: !only_if_free, answer_ok: !only_if_free, ..Move::between((db, db), router, args) }
    }

    fn copy(db: u8, options: CopyOptions, router: &Router, args: Args<'_>) -> Move {
        Move {
            replace: options.replace,
            delete_source: false,
            missing_is_error: false,
            answer_ok: false,
            ..Move::between((db, options.db), router, args)
        }
    }

    fn read(&mut self) -> Vec<Part> {
        self.step = MoveStep::Reading;
        let (shard, db, key) = self.from.clone();
        vec![Part { shard, mode: Mode::Read, command: STEP_READ, db, args: vec![key] }]
    }

    fn write(&mut self, bytes: &[u8]) -> Progress {
        self.step = MoveStep::Writing;
        self.bytes = bytes.to_vec();
        let how = if self.replace { b"replace".to_vec() } else { b"keep".to_vec() };
        let (shard, db, key) = self.to.clone();
        let args = vec![key, self.bytes.clone(), how];
        Progress::Send(vec![Part { shard, mode: Mode::Write, command: STEP_WRITE, db, args }])
    }

    fn delete(&mut self) -> Progress {
        self.step = MoveStep::Deleting;
        let (shard, db, key) = self.from.clone();
        let args = vec![key, std::mem::take(&mut self.bytes)];
        Progress::Send(vec![Part { shard, mode: Mode::Write, command: STEP_DELETE, db, args }])
    }

    fn done(&self, out: &mut Reply<'_>) -> Progress {
        if self.answer_ok {
            out.ok()
        } else {
            out.integer(1)
        }
        Progress::Done
    }
}

impl Coordinator for Move {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        if reply.starts_with(b"-") {
            out.raw(reply);
            return Progress::Done;
        }
        match self.step {
            MoveStep::Reading => match value::read_bulk(reply) {
                Some(bytes) if bytes.len() > limits::MOVED_BYTES_AT_WILL && !self.has_turn => {
                    // Read again then: meanwhile it is not held.
                    self.has_turn = true;
                    Progress::Turn(self.read())
                }
                Some(bytes) => self.write(bytes),
                // It was there when the last attempt copied it, and someone has deleted it since: the rename is through.
                None if self.attempts > 0 => self.done(out),
                None if self.missing_is_error => {
                    out.error("ERR no such key");
                    Progress::Done
                }
                None => {
                    out.integer(0);
                    Progress::Done
                }
            },
            MoveStep::Writing if value::read_integer(reply) == Some(0) => {
                out.integer(0);
                Progress::Done
            }
            MoveStep::Writing if self.delete_source => self.delete(),
            MoveStep::Writing => self.done(out),
            MoveStep::Deleting if value::read_integer(reply) == Some(1) => self.done(out),
            MoveStep::Deleting if self.attempts < limits::MOVE_ATTEMPTS => {
                // A write came between reading and deleting: what was copied is old. From here on the new name is ours.
                self.attempts += 1;
                self.replace = true;
                Progress::Send(self.read())
            }
            MoveStep::Deleting => {
                out.error("ERR the key is written to so often that it could not be moved; both names hold it now");
                Progress::Done
            }
        }
    }

    fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}
