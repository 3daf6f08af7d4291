//! The commands on keys of any type, and the steps that those across shards are made of.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{KeyPosition, Keyspace, SERIALIZED_BYTES_MAX, Serialized, Type};
use basalt_storage::{DATABASE_COUNT, Direction};

use crate::commands::arguments::{ExpiryUnit, Options, deadline_ms, parse_i64, read_i64, read_u64_prefix};
use crate::commands::command_error::until_nul;
use crate::commands::{Args, CommandError, Context, glob_matches};

type Outcome = Result<(), CommandError>;

/// Keys that one step of SCAN or KEYS looks at, whatever COUNT says: a step holds its core for less than half a millisecond.
const SCAN_KEYS_MAX: usize = 1000;

/// Keys that one step of SCAN looks at if COUNT does not say.
const SCAN_KEYS_DEFAULT: usize = 10;

/// `DEL key [key …]` and `UNLINK key [key …]`
pub(super) fn del(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut count = 0;
    for key in &args[1..] {
        count += i64::from(context.keyspace.delete(key)?);
    }
    reply.integer(count);
    Ok(())
}

/// `EXISTS key [key …]` and `TOUCH key [key …]`
pub(super) fn exists(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut count = 0;
    for key in &args[1..] {
        count += i64::from(context.keyspace.exists(key)?);
    }
    reply.integer(count);
    Ok(())
}

/// `TYPE key`
pub(super) fn r#type(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let record = context.keyspace.record(args[1])?;
    reply.simple(record.map_or("none", |record| record.kind().name()));
    Ok(())
}

// ---- deadlines ----

/// The conditions of EXPIRE and its siblings.
#[derive(Debug, Clone, Copy, Default)]
struct ExpireConditions {
    /// Only if there is no deadline.
    if_none: bool,
    /// Only if there is a deadline.
    if_any: bool,
    /// Only if the new deadline is later; no deadline counts as latest.
    if_later: bool,
    /// Only if the new deadline is earlier.
    if_earlier: bool,
}

impl ExpireConditions {
    fn read(args: Args<'_>) -> Result<ExpireConditions, CommandError> {
        let mut conditions = ExpireConditions::default();
        let mut words = Options::new(args, 3);
        while let Some(word) = words.next_word() {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => conditions.if_none = true,
                b"xx" => conditions.if_any = true,
                b"gt" => conditions.if_later = true,
                b"lt" => conditions.if_earlier = true,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(CommandError::owned(format!("ERR Unsupported option {word}")));
                }
            }
        }
        if conditions.if_none && (conditions.if_any || conditions.if_later || conditions.if_earlier) {
            return Err(CommandError::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if conditions.if_later && conditions.if_earlier {
            return Err(CommandError::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    fn allow(self, old_ms: Option<u64>, new_ms: i64) -> bool {
        let is_later = old_ms.is_some_and(|old_ms| i128::from(new_ms) > i128::from(old_ms));
        let is_earlier = old_ms.is_none_or(|old_ms| i128::from(new_ms) < i128::from(old_ms));
        !(self.if_none && old_ms.is_some()
            || self.if_any && old_ms.is_none()
            || self.if_later && !is_later
            || self.if_earlier && !is_earlier)
    }
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub(super) fn expire(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(context, args, ExpiryUnit::Seconds, "expire", reply)
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpire(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(context, args, ExpiryUnit::Milliseconds, "pexpire", reply)
}

/// `EXPIREAT key unix-time-seconds [NX | XX | GT | LT]`
pub(super) fn expireat(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(context, args, ExpiryUnit::UnixSeconds, "expireat", reply)
}

/// `PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpireat(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadline(context, args, ExpiryUnit::UnixMilliseconds, "pexpireat", reply)
}

fn set_deadline(
    context: &mut Context<'_>,
    args: Args<'_>,
    unit: ExpiryUnit,
    command: &str,
    reply: &mut Reply<'_>,
) -> Outcome {
    let conditions = ExpireConditions::read(args)?;
    let keyspace = &mut context.keyspace;
    let new_ms = deadline_ms(parse_i64(args[2])?, unit, keyspace.now_ms(), command)?;
    let old_ms = match keyspace.record(args[1])? {
        Some(record) => record.deadline_ms(),
        None => {
            reply.integer(0);
            return Ok(());
        }
    };
    if !conditions.allow(old_ms, new_ms) {
        reply.integer(0);
        return Ok(());
    }
    match u64::try_from(new_ms) {
        Ok(new_ms) if new_ms > keyspace.now_ms() => keyspace.set_deadline(args[1], Some(new_ms))?,
        _ => keyspace.delete(args[1])?,
    };
    reply.integer(1);
    Ok(())
}

/// `PERSIST key`
pub(super) fn persist(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let has_deadline = context.keyspace.record(args[1])?.is_some_and(|record| record.deadline_ms().is_some());
    if has_deadline {
        context.keyspace.set_deadline(args[1], None)?;
    }
    reply.integer(has_deadline.into());
    Ok(())
}

/// `TTL key`
pub(super) fn ttl(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now_ms = context.keyspace.now_ms();
    write_deadline(context, args, reply, |deadline_ms| rounded_seconds(deadline_ms.saturating_sub(now_ms)))
}

/// `PTTL key`
pub(super) fn pttl(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let now_ms = context.keyspace.now_ms();
    write_deadline(context, args, reply, |deadline_ms| deadline_ms.saturating_sub(now_ms))
}

/// `EXPIRETIME key`
pub(super) fn expiretime(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    write_deadline(context, args, reply, rounded_seconds)
}

/// `PEXPIRETIME key`
pub(super) fn pexpiretime(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    write_deadline(context, args, reply, |deadline_ms| deadline_ms)
}

fn rounded_seconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(500) / 1000
}

/// Replies what `show` makes of the deadline: -2 without the key, -1 without a deadline.
fn write_deadline(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    show: impl FnOnce(u64) -> u64,
) -> Outcome {
    reply.integer(match context.keyspace.record(args[1])? {
        None => -2,
        Some(record) => record.deadline_ms().map_or(-1, |deadline_ms| show(deadline_ms) as i64),
    });
    Ok(())
}

// ---- moving keys ----

/// `RENAME key newkey`, both on this shard
pub(super) fn rename(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !context.keyspace.rename(args[1], args[2])? {
        return Err(CommandError::NO_SUCH_KEY);
    }
    reply.ok();
    Ok(())
}

/// `RENAMENX key newkey`, both on this shard
pub(super) fn renamenx(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !context.keyspace.exists(args[1])? {
        return Err(CommandError::NO_SUCH_KEY);
    }
    let is_free = !context.keyspace.exists(args[2])?;
    if is_free {
        context.keyspace.rename(args[1], args[2])?;
    }
    reply.integer(is_free.into());
    Ok(())
}

/// The options of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOptions {
    /// The database to copy into.
    pub db: u8,
    /// Whether to replace a key that is there.
    pub replace: bool,
}

impl CopyOptions {
    /// Reads the options of `COPY source destination [DB db] [REPLACE]`, called in database `db`.
    ///
    /// # Errors
    /// Redis' texts for options that make no sense, and for a key copied onto itself.
    pub fn read(args: Args<'_>, db: u8) -> Result<CopyOptions, CommandError> {
        let mut options = CopyOptions { db, replace: false };
        let mut words = Options::new(args, 3);
        while let Some(word) = words.next_word() {
            if word.eq_ignore_ascii_case(b"replace") {
                options.replace = true;
            } else if word.eq_ignore_ascii_case(b"db") {
                options.db = parse_db(words.argument()?)?;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        if args[1] == args[2] && options.db == db {
            return Err(CommandError::text("ERR source and destination objects are the same"));
        }
        Ok(options)
    }
}

fn parse_db(arg: &[u8]) -> Result<u8, CommandError> {
    let number = parse_i64(arg)?;
    if i32::try_from(number).is_err() {
        return Err(CommandError::text("ERR value is out of range, value must between -2147483648 and 2147483647"));
    }
    match u8::try_from(number) {
        Ok(db) if usize::from(db) < DATABASE_COUNT => Ok(db),
        _ => Err(CommandError::text("ERR DB index is out of range")),
    }
}

/// `COPY source destination [DB db] [REPLACE]`, both on this shard
pub(super) fn copy(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let keyspace = &mut context.keyspace;
    let from_db = keyspace.db();
    let options = CopyOptions::read(args, from_db)?;
    if !keyspace.exists(args[1])? {
        reply.integer(0);
        return Ok(());
    }
    keyspace.select(options.db);
    let is_taken = keyspace.exists(args[2]);
    keyspace.select(from_db);
    if is_taken? && !options.replace {
        reply.integer(0);
        return Ok(());
    }
    reply.integer(keyspace.copy_key(args[1], options.db, args[2])?.into());
    Ok(())
}

/// Step of a RENAME or COPY to another shard: `step|read key`. Replies the key as bytes, or null if there is none.
pub(super) fn step_read(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match context.keyspace.serialize(args[1], SERIALIZED_BYTES_MAX)? {
        Serialized::Absent => reply.null(),
        Serialized::Bytes(bytes) => reply.bulk(bytes),
        Serialized::TooLarge => {
            return Err(CommandError::owned(format!(
                "ERR the key is too large to move to another shard: the limit is {SERIALIZED_BYTES_MAX} bytes; \
                 use keys with a common {{hash tag}}, they are on one shard"
            )));
        }
    }
    Ok(())
}

/// Step of a RENAME or COPY to another shard: `step|write key bytes replace|keep`. Replies whether the key was written.
pub(super) fn step_write(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args[3] != b"replace" && context.keyspace.exists(args[1])? {
        reply.integer(0);
        return Ok(());
    }
    if !context.keyspace.restore(args[1], args[2])? {
        return Err(CommandError::text("ERR the bytes of a key that moved between shards are not readable"));
    }
    reply.integer(1);
    Ok(())
}

/// Last step of a RENAME to another shard: `step|delete key bytes`. Deletes the key if it still is what was read, and
/// replies whether it was: if not, a write came in between, and the key must be read and written again.
pub(super) fn step_delete(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let is_unchanged = match context.keyspace.serialize(args[1], SERIALIZED_BYTES_MAX)? {
        Serialized::Bytes(bytes) => bytes == args[2],
        Serialized::Absent => true,
        Serialized::TooLarge => false,
    };
    if is_unchanged {
        context.keyspace.delete(args[1])?;
    }
    reply.integer(is_unchanged.into());
    Ok(())
}

// ---- walking over keys ----

/// What SCAN was asked for.
struct ScanOptions<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    /// The outer option says whether a type is asked for; the inner one is `None` for names of no type.
    kind: Option<Option<Type>>,
}

impl<'a> ScanOptions<'a> {
    fn read(args: Args<'a>) -> Result<ScanOptions<'a>, CommandError> {
        let mut options = ScanOptions { count: SCAN_KEYS_DEFAULT, pattern: None, kind: None };
        let mut words = Options::new(args, 2);
        while let Some(word) = words.next_word() {
            match word.to_ascii_lowercase().as_slice() {
                b"count" => match parse_i64(words.argument()?)? {
                    count if count < 1 => return Err(CommandError::SYNTAX),
                    count => options.count = (count as usize).min(SCAN_KEYS_MAX),
                },
                b"match" => options.pattern = Some(words.argument()?).filter(|pattern| *pattern != b"*"),
                b"type" => options.kind = Some(Type::named(words.argument()?)),
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(options)
    }
}

/// The cursor of SCAN: the shard in the high bits, the position within the shard in the low ones.
///
/// A key's shard and its position in it never change, so whatever comes and goes between two calls, the keys that were
/// there throughout are all found. 0 is both the first cursor and the last: no position that a step ends at is the
/// start of the first shard. It needs no state on the server and fits 63 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanCursor {
    /// The index of the shard.
    pub shard: u64,
    /// Where in the shard.
    pub position: KeyPosition,
}

impl ScanCursor {
    /// Reads a client's cursor.
    ///
    /// # Errors
    /// [`CommandError::INVALID_CURSOR`] if it is not a number as `strtoul` reads it; nothing at all is 0, as in Redis. A number
    /// that no SCAN ever gave is accepted, as in Redis.
    pub fn read(arg: &[u8]) -> Result<ScanCursor, CommandError> {
        let text = until_nul(arg);
        let begins_with_space = arg.first().is_some_and(|&byte| matches!(byte, b' ' | b'\t'..=b'\r'));
        let number = read_u64_prefix(text).filter(|&(_, length)| length == text.len() && !begins_with_space);
        let (bits, _) = number.ok_or(CommandError::INVALID_CURSOR)?;
        let position = bits & ((1 << KeyPosition::BITS) - 1);
        let position = KeyPosition::from_bits(position).expect("masked to the bits of a position");
        Ok(ScanCursor { shard: bits >> KeyPosition::BITS, position })
    }

    /// The number a client gets.
    pub fn to_bits(self) -> u64 {
        self.shard << KeyPosition::BITS | self.position.to_bits()
    }

    /// The cursor to go on with after a step of this one's shard answered `next`: the next shard's
    /// start when this one is through, `None` after the last of `shard_count` shards.
    pub fn after_step(self, next: Option<KeyPosition>, shard_count: u64) -> Option<ScanCursor> {
        match next {
            Some(position) => Some(ScanCursor { position, ..self }),
            None if self.shard + 1 < shard_count => {
                Some(ScanCursor { shard: self.shard + 1, position: KeyPosition::START })
            }
            None => None,
        }
    }
}

/// Step of SCAN and KEYS: `step|scan position [MATCH pattern] [COUNT count] [TYPE type]`.
///
/// Replies an array of the position to go on from, `-1` when the shard is through, and the keys found.
pub(super) fn step_scan(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = ScanOptions::read(args)?;
    let bits = read_i64(args[1]).and_then(|bits| u64::try_from(bits).ok());
    let from = bits.and_then(KeyPosition::from_bits).ok_or(CommandError::INVALID_CURSOR)?;
    let mut keys = Vec::new();
    let mut count = 0;
    let mut found = Reply::new(&mut keys, reply.protocol());
    let next = context.keyspace.scan_keys(from, options.count, &mut |key, kind| {
        if options.kind.is_none_or(|wanted| wanted == Some(kind))
            && options.pattern.is_none_or(|pattern| glob_matches(pattern, key))
        {
            found.bulk(key);
            count += 1;
        }
    })?;
    reply.array(2);
    reply.integer(next.map_or(-1, |next| next.to_bits() as i64));
    reply.array(count);
    reply.raw(&keys);
    Ok(())
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]` on a node of one shard
pub(super) fn scan(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let cursor = ScanCursor::read(args[1])?;
    let options = ScanOptions::read(args)?;
    let (mut keys, mut next) = (Vec::new(), None);
    if cursor.shard == 0 {
        next = context.keyspace.scan_keys(cursor.position, options.count, &mut |key, kind| {
            if options.kind.is_none_or(|wanted| wanted == Some(kind))
                && options.pattern.is_none_or(|pattern| glob_matches(pattern, key))
            {
                keys.push(key.to_vec());
            }
        })?;
    }
    let cursor = cursor.after_step(next, 1);
    reply.array(2);
    reply.bulk_display(cursor.map_or(0, ScanCursor::to_bits));
    reply.array(keys.len());
    keys.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// `KEYS pattern` on one shard, in one go: the core takes bounded steps of [`step_scan`] instead
pub(super) fn keys(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut found = Vec::new();
    let mut from = Some(KeyPosition::START);
    while let Some(position) = from {
        from = context.keyspace.scan_keys(position, SCAN_KEYS_MAX, &mut |key, _| {
            if glob_matches(args[1], key) {
                found.push(key.to_vec());
            }
        })?;
    }
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// `RANDOMKEY` on one shard
pub(super) fn randomkey(context: &mut Context<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let random = &mut *context.random;
    let key = context.keyspace.random_key(&mut || random.next_u64())?;
    reply.bulk_or_null(key);
    Ok(())
}

// ---- databases ----

/// `DBSIZE` on one shard
pub(super) fn dbsize(context: &mut Context<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = usize::from(context.keyspace.db());
    reply.integer(context.keyspace.counters().keys[db] as i64);
    Ok(())
}

/// Checks the option of FLUSHDB and FLUSHALL: both ways are the same here, a flush drops ranges and never walks them.
fn check_flush_mode(args: Args<'_>) -> Outcome {
    match args {
        [_] => Ok(()),
        [_, mode] if mode.eq_ignore_ascii_case(b"async") || mode.eq_ignore_ascii_case(b"sync") => Ok(()),
        _ => Err(CommandError::SYNTAX),
    }
}

/// `FLUSHDB [ASYNC | SYNC]` on one shard
pub(super) fn flushdb(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_flush_mode(args)?;
    context.keyspace.flush()?;
    reply.ok();
    Ok(())
}

/// `FLUSHALL [ASYNC | SYNC]` on one shard
pub(super) fn flushall(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_flush_mode(args)?;
    context.keyspace.flush_all();
    reply.ok();
    Ok(())
}

/// Internal write: `step|expire count from`. Deletes up to `count` keys, of all databases, whose deadline lies at `from` or
/// later and that are due at the entry's time, and
/// replies how many.
pub(super) fn step_expire(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (count, from_ms) = (crate::commands::parse_usize(args[1])?, crate::commands::parse_usize(args[2])? as u64);
    reply.integer(context.keyspace.delete_expired(count, from_ms)? as i64);
    Ok(())
}

// ---- OBJECT ----

/// `OBJECT ENCODING key`
pub(super) fn object_encoding(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.bulk_or_null(encoding(&context.keyspace, args[2])?);
    Ok(())
}

/// The encoding that Redis would give such a value by default. Basalt has one encoding per type; clients and tests that look at
/// this expect Redis' names. Redis does not go back to a small encoding when a large value shrinks; this does.
fn encoding(keyspace: &Keyspace<'_>, key: &[u8]) -> Result<Option<&'static str>, CommandError> {
    /// Longest string that Redis keeps in one allocation with its header
    const EMBEDDED_BYTES_MAX: usize = 44;
    // Not counted as a look-up: what opens or reads the value below is.
    let kind = keyspace.lookup(key)?.record.map(|record| record.kind());
    let small_and_large = match kind {
        Some(Type::Set) => Some((is_intset(keyspace, key)?, "intset", "hashtable")),
        Some(Type::SortedSet) => Some((is_listpack(keyspace, key, Type::SortedSet)?, "listpack", "skiplist")),
        Some(Type::Hash) => Some((is_listpack(keyspace, key, Type::Hash)?, "listpack", "hashtable")),
        _ => None,
    };
    if let Some((is_small, small, large)) = small_and_large {
        return Ok(Some(if is_small { small } else { large }));
    }
    let Some(record) = keyspace.record(key)? else { return Ok(None) };
    Ok(Some(match record.kind() {
        Type::List => "quicklist",
        Type::Stream => "stream",
        _ if read_i64(record.body()).is_some() => "int",
        _ if record.body().len() <= EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }))
}

/// Whether Redis would keep the set at `key` as an array of integers.
fn is_intset(keyspace: &Keyspace<'_>, key: &[u8]) -> Result<bool, CommandError> {
    /// `set-max-intset-entries` of Redis
    const ENTRIES_MAX: u64 = 512;
    let Some(set) = keyspace.set(key)?.filter(|set| set.len() <= ENTRIES_MAX) else { return Ok(false) };
    let mut is_intset = true;
    set.each(keyspace, &mut |member| is_intset &= read_i64(member).is_some())?;
    Ok(is_intset)
}

/// Whether Redis would keep the hash or sorted set at `key` as one piece of memory.
fn is_listpack(keyspace: &Keyspace<'_>, key: &[u8], kind: Type) -> Result<bool, CommandError> {
    /// `hash-max-listpack-entries` and `zset-max-listpack-entries` of Redis 7.0
    const HASH_ENTRIES_MAX: u64 = 512;
    const SORTED_SET_ENTRIES_MAX: u64 = 128;
    /// `hash-max-listpack-value` and `zset-max-listpack-value` of Redis
    const VALUE_BYTES_MAX: usize = 64;
    let mut longest = 0;
    if kind == Type::Hash {
        let Some(hash) = keyspace.hash(key)?.filter(|hash| hash.len() <= HASH_ENTRIES_MAX) else { return Ok(false) };
        hash.each(keyspace, &mut |field, value| longest = longest.max(field.len()).max(value.len()))?;
    } else {
        let Some(sorted) = keyspace.sorted_set(key)?.filter(|sorted| sorted.len() <= SORTED_SET_ENTRIES_MAX) else {
            return Ok(false);
        };
        let visit = &mut |member: &[u8], _| longest = longest.max(member.len());
        sorted.each_rank(keyspace, 0..sorted.len(), Direction::Forward, visit)?;
    }
    Ok(longest <= VALUE_BYTES_MAX)
}

/// `OBJECT REFCOUNT key`
pub(super) fn object_refcount(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    write_if_exists(context, args[2], 1, reply)
}

/// `OBJECT IDLETIME key`: the time of a key's last use is not kept
pub(super) fn object_idletime(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    write_if_exists(context, args[2], 0, reply)
}

fn write_if_exists(context: &mut Context<'_>, key: &[u8], number: i64, reply: &mut Reply<'_>) -> Outcome {
    if context.keyspace.exists(key)? {
        reply.integer(number);
    } else {
        reply.null();
    }
    Ok(())
}

/// `OBJECT FREQ key`: how often a key is used is not counted
pub(super) fn object_freq(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !context.keyspace.exists(args[2])? {
        reply.null();
        return Ok(());
    }
    Err(CommandError::text(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use basalt_net::resp::{Protocol, value};

    use super::*;
    use crate::commands::table;
    use crate::commands::testing::Shard;

    #[test]
    fn keys_are_counted_deleted_and_typed() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("MSET a 1 b 2", "+OK"),
                ("RPUSH l x", ":1"),
                ("EXISTS a a none", ":2"),
                ("TOUCH a l none", ":2"),
                ("TYPE a", "+string"),
                ("TYPE l", "+list"),
                ("TYPE none", "+none"),
                ("DBSIZE", ":3"),
                ("DEL a l none a", ":2"),
                ("UNLINK b", ":1"),
                ("DBSIZE", ":0"),
            ],
        );
    }

    #[test]
    fn deadlines_follow_their_conditions() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("SET k v", "+OK"),
                ("TTL none", ":-2"),
                ("TTL k", ":-1"),
                ("EXPIRE none 10", ":0"),
                ("EXPIRE k 10 XX", ":0"),
                ("EXPIRE k 10 GT", ":0"),
                ("EXPIRE k 100 LT", ":1"),
                ("EXPIRE k 10 NX", ":0"),
                ("EXPIRE k 10 GT", ":0"),
                ("EXPIRE k 100 GT", ":0"),
                ("EXPIRE k 200 GT", ":1"),
                ("EXPIRE k 200 LT", ":0"),
                ("EXPIRE k 50 XX LT", ":1"),
                ("PTTL k", ":50000"),
                ("EXPIRETIME k", ":1700000050"),
                ("PEXPIRETIME k", ":1700000050000"),
                ("PEXPIRE k 1499", ":1"),
                ("TTL k", ":1"),
                ("PEXPIREAT k 1700000001500", ":1"),
                ("TTL k", ":2"),
                ("PERSIST k", ":1"),
                ("PERSIST k", ":0"),
                ("EXPIREAT k 1800000000", ":1"),
                ("TTL k", ":100000000"),
                ("EXPIRE k 10 NX GT", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
                ("EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible"),
                ("EXPIRE k 10 FOO", "-ERR Unsupported option FOO"),
                ("EXPIRE k x", "-ERR value is not an integer or out of range"),
                ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
                ("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
                ("EXPIREAT k 9223372036854775807", "-ERR invalid expire time in 'expireat' command"),
                ("EXPIRE k -1", ":1"),
                ("EXISTS k", ":0"),
            ],
        );
    }

    #[test]
    fn expired_keys_are_gone_for_every_command() {
        let mut shard = Shard::new();
        for line in ["SET s v PX 10", "RPUSH l a", "PEXPIRE l 10", "SADD set a", "PEXPIRE set 10"] {
            shard.line(line);
        }
        shard.now_ms += 10;
        shard.expect(Protocol::Resp2, &[("EXISTS s l set", ":3"), ("PTTL s", ":0")]);
        shard.now_ms += 1;
        shard.expect(
            Protocol::Resp2,
            &[
                ("EXISTS s l set", ":0"),
                ("GET s", "$-1"),
                ("SCAN 0", "*2 $1 0 *0"),
                ("KEYS *", "*0"),
                ("RANDOMKEY", "$-1"),
                ("DEL s", ":0"),
                ("RPUSH l b", ":1"),
                ("LRANGE l 0 -1", "*1 $1 b"),
                ("TTL l", ":-1"),
                ("RENAME set x", "-ERR no such key"),
                ("DBSIZE", ":2"),
            ],
        );
    }

    #[test]
    fn due_keys_are_deleted_in_bounded_batches() {
        let mut shard = Shard::new();
        for number in 0..10 {
            shard.line(&format!("SET k{number} v PX {}", number + 1));
        }
        shard.line("SET forever v");
        shard.now_ms += 6;
        assert_eq!(shard.step(table::DELETE_EXPIRED, &[b"3", b"0"]), ":3");
        assert_eq!(shard.line("DBSIZE"), ":8");
        assert_eq!(shard.step(table::DELETE_EXPIRED, &[b"100", b"0"]), ":2");
        assert_eq!(shard.step(table::DELETE_EXPIRED, &[b"100", b"0"]), ":0");
        shard.now_ms += 4;
        let after_those_left = (shard.now_ms + 1).to_string();
        assert_eq!(shard.step(table::DELETE_EXPIRED, &[b"100", after_those_left.as_bytes()]), ":0", "none is as late");
        assert_eq!(shard.line("DBSIZE"), ":6");
    }

    #[test]
    fn keys_are_renamed_and_copied_with_what_they_hold() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("HSET h f v", ":1"),
                ("EXPIRE h 100", ":1"),
                ("SET s v", "+OK"),
                ("RENAME h s", "+OK"),
                ("HGETALL s", "*2 $1 f $1 v"),
                ("TTL s", ":100"),
                ("EXISTS h", ":0"),
                ("RENAME none s", "-ERR no such key"),
                ("RENAME s s", "+OK"),
                ("RENAMENX s s", ":0"),
                ("SET t v", "+OK"),
                ("RENAMENX s t", ":0"),
                ("RENAMENX s u", ":1"),
                ("RENAMENX none u", "-ERR no such key"),
                ("COPY u v", ":1"),
                ("HGET v f", "$1 v"),
                ("COPY u v", ":0"),
                ("COPY u t REPLACE", ":1"),
                ("TYPE t", "+hash"),
                ("COPY none x", ":0"),
                ("COPY u u", "-ERR source and destination objects are the same"),
                ("COPY u u DB 1", ":1"),
                ("COPY u u DB 1", ":0"),
                ("COPY u w DB 16", "-ERR DB index is out of range"),
                ("COPY u w DB x", "-ERR value is not an integer or out of range"),
                ("COPY u w FOO", "-ERR syntax error"),
                ("DBSIZE", ":3"),
            ],
        );
    }

    #[test]
    fn a_key_is_carried_to_another_shard_in_steps() {
        let (mut here, mut there) = (Shard::new(), Shard::new());
        here.line("RPUSH l a b c");
        let read = here.step_bytes(table::STEP_READ, &[b"l"]);
        let bytes = value::read_bulk(&read).unwrap().to_vec();
        assert_eq!(there.step(table::STEP_WRITE, &[b"m", &bytes, b"keep"]), ":1");
        assert_eq!(there.step(table::STEP_WRITE, &[b"m", &bytes, b"keep"]), ":0");
        assert_eq!(there.step(table::STEP_WRITE, &[b"m", &bytes, b"replace"]), ":1");
        assert_eq!(there.line("LRANGE m 0 -1"), "*3 $1 a $1 b $1 c");
        here.line("LPUSH l new");
        assert_eq!(here.step(table::STEP_DELETE, &[b"l", &bytes]), ":0");
        assert_eq!(here.line("LLEN l"), ":4");
        here.line("LPOP l");
        assert_eq!(here.step(table::STEP_DELETE, &[b"l", &bytes]), ":1");
        assert_eq!(here.line("EXISTS l"), ":0");
        assert_eq!(here.step(table::STEP_READ, &[b"l"]), "$-1");
        assert!(here.step(table::STEP_WRITE, &[b"m", b"junk", b"keep"]).starts_with("-ERR"));
    }

    #[test]
    fn scan_filters_and_ends_at_zero() {
        let mut shard = Shard::new();
        for number in 0..40 {
            shard.line(&format!("SET key:{number} v"));
        }
        shard.line("RPUSH list x");
        for (options, expected) in
            [("", 41), ("MATCH key:1*", 11), ("TYPE list", 1), ("TYPE foo", 0), ("COUNT 3 TYPE STRING", 40)]
        {
            let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
            for _ in 0..100 {
                let reply = shard.run(Protocol::Resp2, &[&["SCAN", &cursor], options_of(options).as_slice()].concat());
                let elements: Vec<&[u8]> = value::split_elements(&reply).unwrap().collect();
                cursor = String::from_utf8(value::read_bulk(elements[0]).unwrap().to_vec()).unwrap();
                found.extend(value::split_elements(elements[1]).unwrap().map(<[u8]>::to_vec));
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!((cursor.as_str(), found.len()), ("0", expected), "{options}");
        }
        shard.expect(
            Protocol::Resp2,
            &[
                ("SCAN x", "-ERR invalid cursor"),
                ("SCAN -1", "*2 $1 0 *0"),
                ("SCAN -", "-ERR invalid cursor"),
                ("SCAN 0 COUNT 0", "-ERR syntax error"),
                ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
                ("SCAN 0 FOO", "-ERR syntax error"),
                ("SCAN 0 MATCH", "-ERR syntax error"),
                ("SCAN 18446744073709551615", "*2 $1 0 *0"),
                ("KEYS key:39", "*1 $6 key:39"),
                ("KEYS nothing*", "*0"),
            ],
        );
    }

    fn options_of(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    #[test]
    fn cursors_go_from_shard_to_shard() {
        let position = KeyPosition::of(b"key");
        let cursor = ScanCursor { shard: 5, position };
        let text = cursor.to_bits().to_string();
        assert_eq!(ScanCursor::read(text.as_bytes()).unwrap(), cursor);
        assert!(cursor.to_bits() < 1 << 63, "clients may read it as a signed number");
        let next = cursor.after_step(None, 7).unwrap();
        assert_eq!((next.shard, next.position), (6, KeyPosition::START));
        assert_eq!(next.after_step(None, 7), None);
        assert_eq!(cursor.after_step(Some(position), 6), Some(cursor));
    }

    #[test]
    fn steps_of_a_scan_go_on_where_they_ended() {
        let mut shard = Shard::new();
        for number in 0..2500 {
            shard.line(&format!("SET {{tag}}{number} v"));
        }
        let (mut position, mut found, mut steps) = ("0".to_owned(), 0, 0);
        while position != "-1" {
            let reply = shard.step_bytes(table::STEP_SCAN, &[position.as_bytes(), b"COUNT", b"1000000"]);
            let elements: Vec<&[u8]> = value::split_elements(&reply).unwrap().collect();
            position = value::read_integer(elements[0]).unwrap().to_string();
            let count = value::split_elements(elements[1]).unwrap().count();
            assert!(count <= SCAN_KEYS_MAX + 10, "a step is bounded whatever COUNT says");
            found += count;
            steps += 1;
        }
        assert_eq!((found, steps), (2500, 3));
    }

    #[test]
    fn flushes_empty_one_database_or_all() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("SET a 1 EX 10", "+OK"),
                ("COPY a a DB 1", ":1"),
                ("FLUSHDB FOO", "-ERR syntax error"),
                ("FLUSHDB ASYNC", "+OK"),
                ("DBSIZE", ":0"),
                ("SET a 2 EX 10", "+OK"),
                ("COPY a b DB 1", ":1"),
                ("FLUSHALL SYNC", "+OK"),
                ("DBSIZE", ":0"),
                ("SET b 3", "+OK"),
                ("COPY b b DB 1", ":1"),
            ],
        );
    }

    #[test]
    fn objects_are_described() {
        let mut shard = Shard::new();
        shard.line(&format!("SET long {}", "x".repeat(45)));
        let numbers = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        let pairs =
            |count| numbers(count).iter().map(|number| format!("{number} {number}")).collect::<Vec<_>>().join(" ");
        for (key, line) in [
            ("l", "RPUSH l a".to_owned()),
            ("x", "XADD x 1-1 f v".to_owned()),
            ("s512", format!("SADD s512 {}", numbers(512).join(" "))),
            ("s513", format!("SADD s513 {}", numbers(513).join(" "))),
            ("words", "SADD words 1 2 three".to_owned()),
            ("h512", format!("HSET h512 {}", pairs(512))),
            ("h513", format!("HSET h513 {}", pairs(513))),
            ("hlong", format!("HSET hlong a 1 b {}", "x".repeat(65))),
            ("z128", format!("ZADD z128 {}", pairs(128))),
            ("z129", format!("ZADD z129 {}", pairs(129))),
            ("zlong", format!("ZADD zlong 1 {}", "x".repeat(65))),
        ] {
            assert!(!shard.line(&line).starts_with('-'), "{key}");
        }
        shard.expect(
            Protocol::Resp2,
            &[
                ("MSET number 12 text x", "+OK"),
                ("OBJECT ENCODING number", "$3 int"),
                ("OBJECT encoding text", "$6 embstr"),
                ("OBJECT ENCODING long", "$3 raw"),
                ("OBJECT ENCODING none", "$-1"),
                // as redis-server 7.0.15 says
                ("OBJECT ENCODING l", "$9 quicklist"),
                ("OBJECT ENCODING x", "$6 stream"),
                ("OBJECT ENCODING s512", "$6 intset"),
                ("OBJECT ENCODING s513", "$9 hashtable"),
                ("OBJECT ENCODING words", "$9 hashtable"),
                ("OBJECT ENCODING h512", "$8 listpack"),
                ("OBJECT ENCODING h513", "$9 hashtable"),
                ("OBJECT ENCODING hlong", "$9 hashtable"),
                ("OBJECT ENCODING z128", "$8 listpack"),
                ("OBJECT ENCODING z129", "$8 skiplist"),
                ("OBJECT ENCODING zlong", "$8 skiplist"),
                ("OBJECT REFCOUNT text", ":1"),
                ("OBJECT IDLETIME text", ":0"),
                ("OBJECT IDLETIME none", "$-1"),
                ("OBJECT FOO text", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
                ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
                ("OBJECT", "-ERR wrong number of arguments for 'object' command"),
            ],
        );
        assert!(shard.line("OBJECT FREQ text").starts_with("-ERR An LFU maxmemory policy is not selected"));
    }

    #[test]
    fn nothing_is_written_by_a_command_that_fails() {
        let mut shard = Shard::new();
        for line in ["SET s v", "RPUSH l a b", "HSET h f v", "SADD set m", "ZADD z 1 m", "XADD x 1-1 f v"] {
            shard.line(line);
        }
        let before = shard.content();
        let keys = ["s", "l", "h", "set", "z", "x", "none"];
        let arguments = ["x", "-1", "1.5", "NX", "9223372036854775807", "", "EX"];
        for command in table::commands().filter(|command| command.is_write()) {
            for key in keys {
                for argument in arguments {
                    for count in 0..5 {
                        let mut words = vec![command.name(), key];
                        words.extend(std::iter::repeat_n(argument, count));
                        let mut copy = shard.copy();
                        if copy.run(Protocol::Resp2, &words).starts_with(b"-") {
                            assert_eq!(copy.content(), before, "{words:?}");
                        }
                    }
                }
            }
        }
    }
}
