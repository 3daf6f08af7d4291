//! RENAME and COPY, and the steps of those whose keys are on two shards.

use basalt_net::resp::Reply;
use basalt_storage::DATABASE_COUNT;
use basalt_storage::keyspace::{EventClasses, SERIALIZED_BYTES_MAX, Serialized};

use crate::commands::arguments::{Options, parse_i64};
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// `RENAME key newkey`, both on this shard
pub(super) fn rename(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !context.keyspace.rename(args[1], args[2])? {
        return Err(CommandError::NO_SUCH_KEY);
    }
    notify_renamed(context, args);
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
        notify_renamed(context, args);
    }
    reply.integer(is_free.into());
    Ok(())
}

/// Tells that a key was renamed, unless it has the name that it had.
fn notify_renamed(context: &Context<'_>, args: Args<'_>) {
    if args[1] != args[2] {
        context.keyspace.notify(EventClasses::GENERIC, "rename_from", args[1]);
        context.keyspace.notify(EventClasses::GENERIC, "rename_to", args[2]);
    }
}

/// The options of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyOptions {
    /// The database to copy into.
    pub db: u8,
    /// True if a key that is there is to be replaced.
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

/// Reads the number of a database.
pub(in crate::commands) fn parse_db(arg: &[u8]) -> Result<u8, CommandError> {
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
        keyspace.notify_miss(args[1]);
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
    let is_copied = keyspace.copy_key(args[1], options.db, args[2])?;
    keyspace.select(options.db);
    keyspace.notify(EventClasses::GENERIC, "copy_to", args[2]);
    keyspace.select(from_db);
    reply.integer(is_copied.into());
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
    // Who has made the key tells what has become of it; but not of one that was there and has expired.
    let told = context.keyspace.tell(EventClasses::NONE);
    context.keyspace.tell(told & EventClasses::EXPIRED);
    let is_restored = context.keyspace.restore(args[1], args[2]);
    context.keyspace.tell(told);
    if !is_restored? {
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

#[cfg(test)]
mod tests {
    use basalt_net::resp::{Protocol, value};

    use crate::commands::table;
    use crate::commands::testing::Shard;

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
}
