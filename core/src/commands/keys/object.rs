//! OBJECT: how Redis would hold a value.

use basalt_net::resp::Reply;
use basalt_rdb::limits::{
    HASH_LISTPACK_ENTRIES_MAX, INTSET_ENTRIES_MAX, LISTPACK_VALUE_BYTES_MAX, SORTED_SET_LISTPACK_ENTRIES_MAX,
};
use basalt_storage::Direction;
use basalt_storage::keyspace::{Keyspace, Type};

use crate::commands::arguments::read_i64;
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

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

/// Returns whether Redis would keep the set at `key` as an array of integers.
fn is_intset(keyspace: &Keyspace<'_>, key: &[u8]) -> Result<bool, CommandError> {
    let Some(set) = keyspace.set(key)?.filter(|set| set.len() <= INTSET_ENTRIES_MAX as u64) else { return Ok(false) };
    let mut is_intset = true;
    set.each(keyspace, &mut |member| is_intset &= read_i64(member).is_some())?;
    Ok(is_intset)
}

/// Returns whether Redis would keep the hash or sorted set at `key` as one piece of memory.
fn is_listpack(keyspace: &Keyspace<'_>, key: &[u8], kind: Type) -> Result<bool, CommandError> {
    const HASH_ENTRIES_MAX: u64 = HASH_LISTPACK_ENTRIES_MAX as u64;
    const SORTED_SET_ENTRIES_MAX: u64 = SORTED_SET_LISTPACK_ENTRIES_MAX as u64;
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
    Ok(longest <= LISTPACK_VALUE_BYTES_MAX)
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

/// A step of DEBUG OBJECT: the line that it replies, as far as Redis' fields mean something here. The length is that of the key's
/// rows.
pub(super) fn step_describe(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let encoding = encoding(&context.keyspace, args[1])?;
    let bytes = context.keyspace.row_bytes(args[1], None)?;
    let (Some(encoding), Some(bytes)) = (encoding, bytes) else { return Err(CommandError::text("ERR no such key")) };
    reply.simple(format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:0 lru_seconds_idle:0"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

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
}
