//! SCAN and KEYS: walks over the keys of all shards, a step at a time.

use basalt_net::resp::{Reply, value};
use basalt_storage::keyspace::KeyPosition;

use super::gather::{Coordinator, MISSHAPEN, Part, Plan, Progress, misshapen};
use crate::cluster::Router;
use crate::commands::table::STEP_SCAN;
use crate::commands::{Args, CommandError, ReplyBounds, ScanCursor};
use crate::entry::request::Mode;
use crate::ids::ShardId;
use crate::limits;

pub(super) fn keys_per_step() -> Vec<u8> {
    limits::KEYS_PER_STEP.to_string().into_bytes()
}

/// Steps of a walk over keys.
pub(super) struct Steps {
    pub(super) db: u8,
    pub(super) options: Vec<Vec<u8>>,
}

impl Steps {
    pub(super) fn part(&self, shard: ShardId, from: KeyPosition) -> Part {
        let mut args = vec![from.to_bits().to_string().into_bytes()];
        args.extend(self.options.iter().cloned());
        Part { shard, mode: Mode::Read, command: STEP_SCAN, db: self.db, args }
    }
}

/// A step's reply: where to go on, and the keys as they came.
pub(super) fn read_step(reply: &[u8]) -> Option<(Option<KeyPosition>, &[u8])> {
    let mut elements = value::split_elements(reply).ok()?;
    let next = value::read_integer(elements.next()?)?;
    let next = u64::try_from(next).ok().and_then(KeyPosition::from_bits);
    Some((next, elements.next()?))
}

pub(super) fn start_scan(db: u8, router: &Router, args: Args<'_>) -> Result<Plan, CommandError> {
    let cursor = ScanCursor::read(args[1])?;
    let steps = Steps { db, options: args[2..].iter().map(|arg| arg.to_vec()).collect() };
    // A cursor may name a shard that has gone since or is led by another node now, and one that no SCAN gave one that never was:
    // then the walk goes on behind it, or is over.
    let named = u16::try_from(cursor.shard).unwrap_or(u16::MAX);
    let (shard, position) = match router.shard_from(named) {
        Some(shard) if shard.0 == named => (Some(shard), cursor.position),
        next => (next, KeyPosition::START),
    };
    // The arguments are looked at even where nothing is left.
    let asked = shard.or(router.first_shard()).expect("a node without shards walks over none");
    let next = shard.and_then(|shard| router.shard_from(shard.0.saturating_add(1)));
    Ok(Plan::Parts(vec![steps.part(asked, position)], Box::new(Scan { shard, next })))
}

/// One step of a walk.
struct Scan {
    /// The shard that is walked over; `None` if the walk is over.
    shard: Option<ShardId>,
    /// The one behind it.
    next: Option<ShardId>,
}

impl Coordinator for Scan {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        let number = |shard: ShardId| u64::from(shard.0);
        answer_scan(reply, self.shard.map(number), self.next.map(number), out)
    }
}

/// Answers a SCAN with a step over the shard or group of the number `at`, behind which comes the one of the number `next`. It is
/// none if the walk was over before.
pub(super) fn answer_scan(reply: &[u8], at: Option<u64>, next: Option<u64>, out: &mut Reply<'_>) -> Progress {
    if reply.starts_with(b"-") {
        out.raw(reply);
        return Progress::Done;
    }
    let Some((position, keys)) = read_step(reply) else { return misshapen(out) };
    let cursor = match position {
        Some(position) => at.map(|shard| ScanCursor { shard, position }),
        None => next.map(|shard| ScanCursor { shard, position: KeyPosition::START }),
    };
    out.array(2);
    out.bulk_display(cursor.map_or(0, ScanCursor::to_bits));
    if at.is_some() {
        out.raw(keys)
    } else {
        out.array(0)
    }
    Progress::Done
}

/// The keys of walks that go on at the same time, until the last one is through.
pub(super) struct WalkedKeys {
    /// Walks that are not through.
    open: usize,
    count: usize,
    keys: Vec<u8>,
    bounds: ReplyBounds,
    error: Option<Vec<u8>>,
}

impl WalkedKeys {
    /// No keys yet of `open` walks.
    pub(super) fn of(open: usize, bounds: ReplyBounds) -> WalkedKeys {
        WalkedKeys { open, count: 0, keys: Vec::new(), bounds, error: None }
    }

    /// Takes a step's reply and says where its walk goes on; `None` if it does not.
    pub(super) fn take(&mut self, reply: &[u8]) -> Option<KeyPosition> {
        let next = match self.read(reply) {
            // After an error the other walks are only heard out.
            Ok(next) => next.filter(|_| self.error.is_none()),
            Err(error) => {
                self.keys = Vec::new();
                self.error.get_or_insert(error);
                None
            }
        };
        if next.is_none() {
            self.open -= 1;
        }
        next
    }

    /// Takes the keys of a step; or says what was said instead.
    fn read(&mut self, reply: &[u8]) -> Result<Option<KeyPosition>, Vec<u8>> {
        if reply.starts_with(b"-") {
            return Err(reply.to_vec());
        }
        let step = read_step(reply).and_then(|(next, keys)| Some((next, value::split_elements(keys).ok()?)));
        let (next, keys) = step.ok_or_else(|| MISSHAPEN.as_bytes().to_vec())?;
        if self.error.is_none() {
            for key in keys {
                self.keys.extend_from_slice(key);
                self.count += 1;
            }
        }
        if self.keys.len() > self.bounds.one_bytes_max {
            return Err(format!("-{}\r\n", self.bounds.too_large(false)).into_bytes());
        }
        Ok(next)
    }

    /// Answers with all keys, or the first error, if all walks are through.
    pub(super) fn answer(&self, out: &mut Reply<'_>) -> Progress {
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

    pub(super) fn held_bytes(&self) -> usize {
        self.keys.capacity()
    }
}

struct Keys {
    steps: Steps,
    shard_of_part: Vec<ShardId>,
    walked: WalkedKeys,
}

/// KEYS: all shards are walked over at the same time.
pub(super) fn start_keys(db: u8, router: &Router, pattern: &[u8], bounds: ReplyBounds) -> Plan {
    let steps = Steps { db, options: vec![b"MATCH".to_vec(), pattern.to_vec(), b"COUNT".to_vec(), keys_per_step()] };
    let parts: Vec<Part> = router.shards().map(|shard| steps.part(shard, KeyPosition::START)).collect();
    let shard_of_part: Vec<ShardId> = parts.iter().map(|part| part.shard).collect();
    let walked = WalkedKeys::of(parts.len(), bounds);
    Plan::Parts(parts, Box::new(Keys { steps, shard_of_part, walked }))
}

impl Coordinator for Keys {
    fn answered(&mut self, part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        let Some(position) = self.walked.take(reply) else { return self.walked.answer(out) };
        let shard = self.shard_of_part[part];
        self.shard_of_part.push(shard);
        Progress::Send(vec![self.steps.part(shard, position)])
    }

    fn held_bytes(&self) -> usize {
        self.walked.held_bytes()
    }
}
