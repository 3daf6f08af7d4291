//! SCAN, KEYS and RANDOMKEY, and the step that those over shards are made of.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{KeyPosition, Type};

use crate::commands::arguments::{Options, parse_i64, read_i64};
use crate::commands::names::parse_cursor;
use crate::commands::{Args, CommandError, Context, NamePattern};
use crate::limits;

type Outcome = Result<(), CommandError>;

/// Keys that one step of SCAN looks at if COUNT does not say.
const SCAN_KEYS_DEFAULT: usize = 10;

/// The options of SCAN.
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
                    count => options.count = (count as usize).min(limits::SCAN_KEYS_MAX),
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
    /// The place in the shard.
    pub position: KeyPosition,
}

impl ScanCursor {
    /// Reads a client's cursor.
    ///
    /// # Errors
    /// [`CommandError::INVALID_CURSOR`] if it is not a number as `strtoul` reads it; nothing at all is 0, as in Redis. A number
    /// that no SCAN ever gave is accepted, as in Redis.
    pub fn read(arg: &[u8]) -> Result<ScanCursor, CommandError> {
        let bits = parse_cursor(arg)?;
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
    let mut pattern = NamePattern::new(context, options.pattern);
    let next = context.keyspace.scan_keys(from, options.count, &mut |key, kind| {
        if pattern.matches(key) && options.kind.is_none_or(|wanted| wanted == Some(kind)) {
            found.bulk(key);
            count += 1;
        }
    })?;
    pattern.pay(context, limits::WALKED_KEY_WORK)?;
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
    let mut pattern = NamePattern::new(context, options.pattern);
    if cursor.shard == 0 {
        next = context.keyspace.scan_keys(cursor.position, options.count, &mut |key, kind| {
            if pattern.matches(key) && options.kind.is_none_or(|wanted| wanted == Some(kind)) {
                keys.push(key.to_vec());
            }
        })?;
    }
    // By as many keys as it may visit: how many places without any it has met is another replica's business, too.
    context.pay((options.count as u64).saturating_mul(limits::WALKED_KEY_WORK))?;
    pattern.pay(context, 0)?;
    let cursor = cursor.after_step(next, 1);
    reply.array(2);
    reply.bulk_display(cursor.map_or(0, ScanCursor::to_bits));
    reply.array(keys.len());
    keys.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// `KEYS pattern` on one shard, in one go: the core takes bounded steps of [`step_scan`] instead
pub(super) fn keys(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    all_keys(context, Some(args[1]), None, reply)
}

/// `cursor [MATCH pattern] [COUNT count] [TYPE type]`: all keys of one shard that SCAN comes to find, in the order of KEYS,
/// whatever the cursor says.
pub(super) fn step_scan_all(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ScanCursor::read(args[1])?;
    let options = ScanOptions::read(args)?;
    all_keys(context, options.pattern, options.kind, reply)
}

fn all_keys(
    context: &mut Context<'_>,
    pattern: Option<&[u8]>,
    kind: Option<Option<Type>>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut found = Vec::new();
    let mut from = Some(KeyPosition::START);
    context.pay(limits::WALK_WORK)?;
    let mut pattern = NamePattern::new(context, pattern);
    while let Some(position) = from {
        from = context.keyspace.scan_keys(position, limits::SCAN_KEYS_MAX, &mut |key, of| {
            if pattern.matches(key) && kind.is_none_or(|wanted| wanted == Some(of)) {
                found.push(key.to_vec());
            }
        })?;
        pattern.pay(context, limits::WALKED_KEY_WORK)?;
    }
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// `RANDOMKEY` on one shard
pub(super) fn randomkey(context: &mut Context<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    context.pay(limits::RANDOM_KEY_WORK)?;
    let random = &mut *context.random;
    let key = context.keyspace.random_key(&mut || random.next_u64())?;
    reply.bulk_or_null(key);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use basalt_net::resp::{Protocol, value};

    use super::*;
    use crate::commands::table;
    use crate::commands::testing::Shard;

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
            assert!(count <= limits::SCAN_KEYS_MAX + 10, "a step is bounded whatever COUNT says");
            found += count;
            steps += 1;
        }
        assert_eq!((found, steps), (2500, 3));
    }
}
