//! RESTORE: a key of what DUMP, of this server or any Redis up to 7.4, replied.

use basalt_net::resp::Reply;
use basalt_rdb::{Bounds, Error, Strings, Value};
use basalt_storage::keyspace::{End, EventClasses, Keyspace};

use super::stream::write_stream;
use crate::commands::{Args, CommandError, Context, parse_i64};
use crate::limits::{DUMPED_BYTES_PER_WORK, RESTORED_BYTES_MAX, RESTORED_ROW_OVERHEAD, RESTORED_ROWS_BYTES_MAX};

const BUSY: CommandError = CommandError::text("BUSYKEY Target key name already exists.");

/// The options of RESTORE.
#[derive(Debug, Default)]
struct RestoreOptions {
    /// True if a key that is there is to be replaced.
    replace: bool,
    /// True if the deadline is a time, and not one from now.
    is_absolute: bool,
    /// Milliseconds since the key was used last, if they are given.
    idle_ms: Option<u64>,
}

impl RestoreOptions {
    /// Reads them. How often the key was used is checked, and not kept, as in Redis without a policy that asks for it.
    fn read(args: Args<'_>) -> Result<RestoreOptions, CommandError> {
        let mut options = RestoreOptions::default();
        let mut has_frequency = false;
        let mut words = &args[4..];
        while let Some((word, rest)) = words.split_first() {
            words = rest;
            match (word.to_ascii_lowercase().as_slice(), words.split_first()) {
                (b"replace", _) => options.replace = true,
                (b"absttl", _) => options.is_absolute = true,
                (b"idletime", Some((value, rest))) if !has_frequency => {
                    let seconds = u64::try_from(parse_i64(value)?)
                        .map_err(|_| CommandError::text("ERR Invalid IDLETIME value, must be >= 0"))?;
                    (options.idle_ms, words) = (Some(seconds.saturating_mul(1000)), rest);
                }
                (b"freq", Some((value, rest))) if options.idle_ms.is_none() => {
                    if !(0..=255).contains(&parse_i64(value)?) {
                        return Err(CommandError::text("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                    }
                    (has_frequency, words) = (true, rest);
                }
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(options)
    }
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
pub(super) fn restore(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    restore_by(basalt_rdb::read, context, args, reply)
}

/// The same as it was when payloads of Redis 7.4 were not read.
pub(super) fn restore_before(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    restore_by(basalt_rdb::read_before, context, args, reply)
}

fn restore_by(
    read: fn(&[u8], Bounds) -> Result<Value, Error>,
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let options = RestoreOptions::read(args)?;
    if !options.replace && context.keyspace.exists(args[1])? {
        return Err(BUSY);
    }
    let time_to_live = parse_i64(args[2])?;
    if time_to_live < 0 {
        return Err(CommandError::text("ERR Invalid TTL value, must be >= 0"));
    }
    let inflated_bytes = basalt_rdb::size(args[3], RESTORED_BYTES_MAX).inflated_bytes;
    let bytes = args[3].len() + inflated_bytes.min(context.string_bytes_max);
    context.pay(bytes as u64 / DUMPED_BYTES_PER_WORK)?;
    let bounds = Bounds { string_bytes: context.string_bytes_max, collection_bytes: RESTORED_BYTES_MAX };
    let value = read(args[3], bounds).map_err(refusal)?;
    // Elements, fields and names may be far more than the pieces that they stood in.
    let rows_bytes = rows_bytes(&value, args[1]);
    context.pay(rows_bytes.saturating_sub(bytes) as u64 / DUMPED_BYTES_PER_WORK)?;
    if rows_bytes > RESTORED_ROWS_BYTES_MAX {
        return Err(CommandError::owned(format!(
            "ERR the value is too large to restore: each row of it has the key, and the limit of them is \
             {RESTORED_ROWS_BYTES_MAX} bytes"
        )));
    }
    let keyspace = &mut context.keyspace;
    let deadline_ms = match (time_to_live as u64, options.is_absolute) {
        (0, _) => None,
        (deadline_ms, true) => Some(deadline_ms),
        // Redis' clock runs over beyond the range, into the past.
        (from_now_ms, false) => Some(from_now_ms.saturating_add(keyspace.now_ms()))
            .map(|deadline_ms| if i64::try_from(deadline_ms).is_ok() { deadline_ms } else { 0 }),
    };
    let has_passed = deadline_ms.is_some_and(|deadline_ms| deadline_ms <= keyspace.now_ms());
    if has_passed || is_expired(&value, keyspace.now_ms()) {
        if keyspace.delete(args[1])? {
            keyspace.notify(EventClasses::GENERIC, "del", args[1]);
        }
    } else {
        keyspace.put_anew();
        keyspace.note_accesses(options.idle_ms.is_none());
        write_value(keyspace, args[1], &value, deadline_ms)?;
        if let Some(idle_ms) = options.idle_ms {
            keyspace.note_used_before(args[1], idle_ms);
        }
        keyspace.notify(EventClasses::GENERIC, "restore", args[1]);
    }
    reply.ok();
    Ok(())
}

/// Returns whether all of a hash is past its deadline.
fn is_expired(value: &Value, now_ms: u64) -> bool {
    let Value::HashWithDeadlines(_, deadlines) = value else { return false };
    deadlines.iter().all(|deadline_ms| *deadline_ms > 0 && *deadline_ms <= now_ms)
}

fn refusal(error: Error) -> CommandError {
    match error {
        Error::TooLarge => CommandError::owned(format!(
            "ERR the value is too large to restore: the limit of a collection is {RESTORED_BYTES_MAX} bytes, that of a string \
             proto-max-bulk-len"
        )),
        error => CommandError::owned(format!("ERR {error}")),
    }
}

/// Bytes of the rows of a collection, about; none of a string.
fn rows_bytes(value: &Value, key: &[u8]) -> usize {
    let (rows, bytes) = match value {
        Value::String(_) => (0, 0),
        Value::List(strings) | Value::Set(strings) => (strings.len(), strings.byte_count()),
        Value::Hash(pairs) => (pairs.len() / 2, pairs.byte_count()),
        // Its own, and two of its deadline.
        Value::HashWithDeadlines(pairs, _) => (3 * pairs.len() / 2, 3 * pairs.byte_count()),
        // By their names and by their scores.
        Value::SortedSet(members, _) => (2 * members.len(), 2 * members.byte_count()),
        Value::Stream(stream) => {
            let of_groups = stream.groups.iter().map(|group| {
                let names = group.pending.iter().map(|pending| group.consumers[pending.consumer].name.len());
                let consumers: usize = group.consumers.iter().map(|consumer| consumer.name.len()).sum();
                let rows = 1 + group.consumers.len() + 2 * group.pending.len();
                (rows, group.name.len() + consumers + names.sum::<usize>())
            });
            let of_entries = (stream.entries.len(), stream.strings.byte_count());
            of_groups.fold(of_entries, |(rows, bytes), (more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes))
        }
    };
    rows * (key.len() + RESTORED_ROW_OVERHEAD) + bytes
}

/// Replaces whatever `key` holds by `value`.
fn write_value(
    keyspace: &mut Keyspace<'_>,
    key: &[u8],
    value: &Value,
    deadline_ms: Option<u64>,
) -> Result<(), CommandError> {
    match value {
        Value::String(string) => return Ok(keyspace.set_string(key, string, deadline_ms)?),
        Value::List(elements) => {
            let mut list = keyspace.list_replacing(key)?;
            elements.iter().try_for_each(|element| list.push(keyspace, End::Tail, element))?;
            list.save(keyspace);
        }
        Value::Set(members) => {
            let mut set = keyspace.set_replacing(key)?;
            for member in members.iter() {
                set.insert(keyspace, member)?;
            }
            set.save(keyspace)?;
        }
        Value::Hash(pairs) => {
            let mut hash = keyspace.hash_replacing(key)?;
            for (field, value) in by_twos(pairs) {
                hash.insert(keyspace, field, value)?;
            }
            hash.save(keyspace)?;
        }
        Value::HashWithDeadlines(pairs, deadlines) => {
            let (mut hash, now_ms) = (keyspace.hash_replacing(key)?, keyspace.now_ms());
            for ((field, value), &deadline_ms) in by_twos(pairs).zip(deadlines) {
                let deadline_ms = Some(deadline_ms).filter(|deadline_ms| *deadline_ms > 0);
                if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
                    continue;
                }
                hash.insert(keyspace, field, value)?;
                if deadline_ms.is_some() {
                    hash.set_field_deadline(keyspace, field, deadline_ms)?;
                }
            }
            hash.save(keyspace)?;
        }
        Value::SortedSet(members, scores) => {
            let mut sorted = keyspace.sorted_set_replacing(key)?;
            for (member, &score) in members.iter().zip(scores) {
                sorted.insert(keyspace, member, None, score)?;
            }
            sorted.save(keyspace)?;
        }
        Value::Stream(stream) => write_stream(keyspace, key, stream)?,
    }
    if deadline_ms.is_some() {
        keyspace.set_deadline(key, deadline_ms)?;
    }
    Ok(())
}

fn by_twos(strings: &Strings) -> impl Iterator<Item = (&[u8], &[u8])> {
    strings.iter().step_by(2).zip(strings.iter().skip(1).step_by(2))
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::{Protocol, value};
    use basalt_rdb::Value;

    use crate::commands::testing::Shard;
    use crate::limits::RESTORED_BYTES_MAX;

    /// The reply to RESTORE with these words around the payload.
    fn restore(shard: &mut Shard, key: &str, time_to_live: &str, payload: &[u8], options: &str) -> String {
        let mut words: Vec<&[u8]> = vec![b"RESTORE", key.as_bytes(), time_to_live.as_bytes(), payload];
        words.extend(options.split(' ').filter(|word| !word.is_empty()).map(str::as_bytes));
        String::from_utf8_lossy(&shard.run(Protocol::Resp2, &words)).trim_end().to_owned()
    }

    #[test]
    fn options_are_checked_in_the_order_of_redis() {
        const BUSY: &str = "-BUSYKEY Target key name already exists.";
        const PAYLOAD: &str = "-ERR DUMP payload version or checksum are wrong";
        let payload = basalt_rdb::write(&Value::String(b"value".to_vec()));
        let mut shard = Shard::new();
        shard.line("SET taken before");
        for (key, time_to_live, bytes, options, expected) in [
            ("taken", "x", &b"junk"[..], "", BUSY),
            ("taken", "x", b"junk", "FOO", "-ERR syntax error"),
            ("taken", "x", b"junk", "REPLACE IDLETIME", "-ERR syntax error"),
            ("taken", "x", b"junk", "IDLETIME 1 FREQ 1", "-ERR syntax error"),
            ("taken", "x", b"junk", "IDLETIME x", "-ERR value is not an integer or out of range"),
            ("taken", "x", b"junk", "IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0"),
            ("taken", "x", b"junk", "freq 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("taken", "x", b"junk", "replace", "-ERR value is not an integer or out of range"),
            ("taken", "-1", b"junk", "replace", "-ERR Invalid TTL value, must be >= 0"),
            ("taken", "0", b"junk", "replace", PAYLOAD),
            ("taken", "0", b"", "replace", PAYLOAD),
            ("taken", "0", &payload, "", BUSY),
            ("new", "0", &payload, "absttl FREQ 3", "+OK"),
            ("taken", "100000", &payload, "REPLACE IDLETIME 5 IDLETIME 6", "+OK"),
            ("past", "1", &payload, "ABSTTL", "+OK"),
            ("new", "9223372036854775807", &payload, "REPLACE", "+OK"),
        ] {
            assert_eq!(
                restore(&mut shard, key, time_to_live, bytes, options),
                expected,
                "{key} {time_to_live} {options}"
            );
        }
        shard.expect(
            Protocol::Resp2,
            &[("GET taken", "$5 value"), ("TTL taken", ":100"), ("EXISTS past new", ":0"), ("DBSIZE", ":1")],
        );
    }

    #[test]
    fn a_key_is_idle_since_it_was_where_it_comes_from() {
        let payload = basalt_rdb::write(&Value::String(b"value".to_vec()));
        let mut shard = Shard::new();
        shard.now_ms += 100_000;
        assert_eq!(restore(&mut shard, "k", "0", &payload, "IDLETIME 40"), "+OK");
        assert_eq!(restore(&mut shard, "new", "0", &payload, ""), "+OK");
        shard.expect(
            Protocol::Resp2,
            &[
                ("OBJECT IDLETIME k", ":40"),
                ("OBJECT IDLETIME new", ":0"),
                ("GET k", "$5 value"),
                ("OBJECT IDLETIME k", ":0"),
            ],
        );
    }

    #[test]
    fn a_malformed_payload_changes_nothing() {
        let mut shard = Shard::new();
        shard.line("RPUSH l before");
        let before = shard.content();
        // As a string that ends early, its checksum right.
        let payload = b"\0\x05abc\x0a\0\xf7\xe1\x46\xe6\xd2\x57\x5e\xfd";
        assert_eq!(restore(&mut shard, "l", "0", payload, "REPLACE"), "-ERR Bad data format");
        assert_eq!(shard.content(), before);
    }

    #[test]
    fn what_is_larger_than_it_may_be_is_refused() {
        let mut shard = Shard::new();
        shard.string_bytes_max = 1000;
        let string = basalt_rdb::write(&Value::String(vec![b'x'; 1001]));
        assert!(string.len() < 100, "it is compressed");
        let element = vec![b'x'; RESTORED_BYTES_MAX / 4];
        let list = basalt_rdb::write(&Value::List((0..4).map(|_| &element[..]).collect()));
        for payload in [&string, &list] {
            let reply = restore(&mut shard, "k", "0", payload, "");
            assert!(reply.starts_with("-ERR the value is too large to restore"), "{reply}");
        }
        let list = basalt_rdb::write(&Value::List((0..3).map(|_| &element[..]).collect()));
        assert_eq!(restore(&mut shard, "k", "0", &list, ""), "+OK");
        assert_eq!(shard.line("LLEN k"), ":3");
    }

    #[test]
    fn many_small_elements_are_refused_where_the_key_is_long() {
        let mut shard = Shard::new();
        let list = basalt_rdb::write(&Value::List((0..300_000).map(|_| b"").collect()));
        let reply = restore(&mut shard, &"k".repeat(2000), "0", &list, "");
        assert_eq!(
            reply,
            "-ERR the value is too large to restore: each row of it has the key, and the limit of them is 536870912 bytes"
        );
        assert_eq!(shard.line("DBSIZE"), ":0");
        assert_eq!(restore(&mut shard, "k", "0", &list, ""), "+OK");
        assert_eq!(shard.line("LLEN k"), ":300000");
    }

    #[test]
    fn what_it_replaces_is_gone_whatever_it_was() {
        let mut shard = Shard::new();
        for line in
            ["SET string s", "RPUSH list a", "SADD set a b", "HSET hash f v", "ZADD zset 1 a", "XADD stream 1-1 f v"]
        {
            shard.line(line);
        }
        let types = ["string", "list", "set", "hash", "zset", "stream"];
        for from in types {
            let reply = shard.run(Protocol::Resp2, &["DUMP", from]);
            let payload = value::read_bulk(&reply).unwrap().to_vec();
            for to in types {
                let mut copy = shard.copy();
                assert_eq!(restore(&mut copy, to, "0", &payload, "REPLACE"), "+OK", "{from} over {to}");
                assert_eq!(copy.line(&format!("TYPE {to}")), format!("+{from}"));
                assert_eq!(copy.line("DBSIZE"), ":6");
            }
        }
    }
}
