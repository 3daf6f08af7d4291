//! OBJECT: how Redis would hold a value.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{Keyspace, Type};

use crate::commands::arguments::read_i64;
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// Has look-ups of a key told to nobody, and count as no access to it: who asks about a key does not use it.
fn only_ask(keyspace: &mut Keyspace<'_>) {
    keyspace.tell_misses(false);
    keyspace.note_accesses(false);
}

/// `OBJECT ENCODING key`
pub(super) fn object_encoding(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    only_ask(&mut context.keyspace);
    reply.bulk_or_null(encoding(&context.keyspace, args[2])?);
    Ok(())
}

/// The form in which a value is kept, by the name that Redis has for it. As there, what has outgrown its small form keeps the large
/// one. A small set of other members than integers and a small list are listpacks, as in Redis from 7.2 on.
fn encoding(keyspace: &Keyspace<'_>, key: &[u8]) -> Result<Option<&'static str>, CommandError> {
    /// Longest string that Redis keeps in one allocation with its header
    const EMBEDDED_BYTES_MAX: usize = 44;
    // Not counted as a look-up: what opens or reads the value below is.
    let kind = keyspace.lookup(key)?.record.map(|record| record.kind());
    let small_and_large = match kind {
        Some(Type::Set) => {
            let Some(set) = keyspace.set(key)? else { return Ok(None) };
            Some((set.is_packed(), if set.is_of_integers() { "intset" } else { "listpack" }, "hashtable"))
        }
        Some(Type::List) => Some((keyspace.list(key)?.is_some_and(|list| list.is_packed()), "listpack", "quicklist")),
        Some(Type::SortedSet) => {
            Some((keyspace.sorted_set(key)?.is_some_and(|sorted_set| sorted_set.is_packed()), "listpack", "skiplist"))
        }
        Some(Type::Hash) => {
            let Some(hash) = keyspace.hash(key)? else { return Ok(None) };
            Some((hash.is_packed(), if hash.has_field_deadlines() { "listpackex" } else { "listpack" }, "hashtable"))
        }
        _ => None,
    };
    if let Some((is_small, small, large)) = small_and_large {
        return Ok(Some(if is_small { small } else { large }));
    }
    let Some(record) = keyspace.record(key)? else { return Ok(None) };
    Ok(Some(match record.kind() {
        Type::Stream => "stream",
        _ if read_i64(record.body()).is_some() => "int",
        _ if record.body().len() <= EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }))
}

/// `OBJECT REFCOUNT key`
pub(super) fn object_refcount(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    write_if_exists(context, args[2], 1, reply)
}

/// `OBJECT IDLETIME key`: whole seconds since the key was used last, as far as this replica knows. No policy that counts uses
/// instead can be set.
pub(super) fn object_idletime(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let seconds = idle_seconds(&context.keyspace, args[2]);
    write_if_exists(context, args[2], seconds, reply)
}

fn idle_seconds(keyspace: &Keyspace<'_>, key: &[u8]) -> i64 {
    i64::try_from(keyspace.idle_ms(key) / 1000).unwrap_or(i64::MAX)
}

fn write_if_exists(context: &mut Context<'_>, key: &[u8], number: i64, reply: &mut Reply<'_>) -> Outcome {
    only_ask(&mut context.keyspace);
    if context.keyspace.exists(key)? {
        reply.integer(number);
    } else {
        reply.null();
    }
    Ok(())
}

/// `OBJECT FREQ key`: how often a key is used is not counted
pub(super) fn object_freq(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    only_ask(&mut context.keyspace);
    if !context.keyspace.exists(args[2])? {
        reply.null();
        return Ok(());
    }
    Err(CommandError::text(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}

/// A step of DEBUG OBJECT: the line that it replies, as far as Redis' fields mean something here. The length is that of the key's
/// rows.
pub(super) fn step_describe(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    only_ask(&mut context.keyspace);
    let encoding = encoding(&context.keyspace, args[1])?;
    let bytes = context.keyspace.row_bytes(args[1], None)?;
    let (Some(encoding), Some(bytes)) = (encoding, bytes) else { return Err(CommandError::text("ERR no such key")) };
    let idle_seconds = idle_seconds(&context.keyspace, args[1]);
    reply.simple(format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:0 lru_seconds_idle:{idle_seconds}"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::table;
    use crate::commands::testing::Shard;

    #[test]
    fn objects_are_described() {
        let mut shard = Shard::new();
        shard.line(&format!("SET long {}", "x".repeat(45)));
        let numbers = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        let pairs =
            |count| numbers(count).iter().map(|number| format!("{number} {number}")).collect::<Vec<_>>().join(" ");
        for (key, line) in [
            ("l", "RPUSH l a".to_owned()),
            ("llong", format!("RPUSH llong {}", "x".repeat(8191))),
            ("lmany", format!("RPUSH lmany {}", "x ".repeat(4097).trim_end())),
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
                // as redis-server 7.0.15 says, and 7.2 of words and lists
                ("OBJECT ENCODING l", "$8 listpack"),
                ("OBJECT ENCODING llong", "$9 quicklist"),
                ("OBJECT ENCODING lmany", "$9 quicklist"),
                ("OBJECT ENCODING x", "$6 stream"),
                ("OBJECT ENCODING s512", "$6 intset"),
                ("OBJECT ENCODING s513", "$9 hashtable"),
                ("OBJECT ENCODING words", "$8 listpack"),
                ("OBJECT ENCODING h512", "$8 listpack"),
                ("OBJECT ENCODING h513", "$9 hashtable"),
                ("OBJECT ENCODING hlong", "$9 hashtable"),
                ("OBJECT ENCODING z128", "$8 listpack"),
                ("OBJECT ENCODING z129", "$8 skiplist"),
                ("OBJECT ENCODING zlong", "$8 skiplist"),
                ("ZREM z129 0", ":1"),
                ("OBJECT ENCODING z129", "$8 skiplist"),
                ("ZRANGESTORE z129 z129 0 9", ":10"),
                ("OBJECT ENCODING z129", "$8 listpack"),
                ("OBJECT REFCOUNT text", ":1"),
                ("OBJECT IDLETIME text", ":0"),
                ("OBJECT IDLETIME none", "$-1"),
                ("OBJECT FOO text", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
                ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
                ("OBJECT", "-ERR wrong number of arguments for 'object' command"),
            ],
        );
        assert!(shard.line("OBJECT FREQ text").starts_with("-ERR An LFU maxmemory policy is not selected"));
        shard.expect(Protocol::Resp2, &[("OBJECT FREQ none", "$-1")]);
    }

    #[test]
    fn keys_are_idle_until_somebody_uses_them() {
        let mut shard = Shard::new();
        for line in ["MSET a v b v c v e v other v", "HSET h f v", "RPUSH l x"] {
            shard.line(line);
        }
        shard.now_ms += 10_000;
        // As in Redis, who asks about a key does not use it.
        for line in ["EXISTS a", "TYPE a", "TTL a", "PEXPIRETIME a", "OBJECT ENCODING a", "OBJECT FREQ a"] {
            shard.line(line);
        }
        assert!(shard.step(table::STEP_DESCRIBE, &[b"a"]).ends_with(" lru_seconds_idle:10"));
        for (used, key) in [
            ("GET a", "a"),
            ("TOUCH b none", "b"),
            ("SET c w", "c"),
            ("EXPIRE e 100", "e"),
            ("HSET h f w", "h"),
            ("LRANGE l 0 0", "l"),
        ] {
            let ask = format!("OBJECT IDLETIME {key}");
            assert_eq!(shard.line(&ask), ":10", "before {used}");
            assert!(!shard.line(used).starts_with('-'));
            assert_eq!(shard.line(&ask), ":0", "after {used}");
        }
        shard.now_ms += 5_000;
        shard.expect(Protocol::Resp2, &[("OBJECT IDLETIME other", ":15"), ("OBJECT IDLETIME a", ":5")]);
        shard.expect(Protocol::Resp2, &[("RENAME other a", "+OK"), ("OBJECT IDLETIME a", ":0")]);
    }
}
