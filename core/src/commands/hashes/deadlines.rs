//! Deadlines of fields: HEXPIRE, HPERSIST, HTTL and their siblings, and the step that removes fields that are due.
//!
//! What a newcomer would get wrong: Redis looks at the key's type before it reads any number, and replies one number for each field
//! also where there is no key.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{EventClasses, Keyspace};

use crate::commands::{Args, CommandError, Context, parse_i64, parse_usize};
use crate::limits::FIELD_DEADLINE_MS_MAX;

type Outcome = Result<(), CommandError>;

/// The field is not there.
const NO_FIELD: i64 = -2;
/// The field has no deadline.
const NO_DEADLINE: i64 = -1;
/// The condition does not hold.
const NOT_MET: i64 = 0;
/// The deadline is set, or taken off.
const DONE: i64 = 1;
/// The deadline has passed, and the field is removed.
const REMOVED: i64 = 2;

const NO_FIELDS: CommandError =
    CommandError::text("ERR Mandatory argument FIELDS is missing or not at the right position");
const OTHER_NUMBER: CommandError =
    CommandError::text("ERR The `numfields` parameter must match the number of arguments");

/// The way in which a time is given and told.
#[derive(Clone, Copy)]
struct Clock {
    /// Milliseconds that one stands for.
    unit_ms: i64,
    /// True if it counts from now, else from 1970.
    from_now: bool,
}

const SECONDS: Clock = Clock { unit_ms: 1000, from_now: true };
const MILLISECONDS: Clock = Clock { unit_ms: 1, from_now: true };
const UNIX_SECONDS: Clock = Clock { unit_ms: 1000, from_now: false };
const UNIX_MILLISECONDS: Clock = Clock { unit_ms: 1, from_now: false };

impl Clock {
    /// The time, in Unix milliseconds, from which it counts.
    fn base_ms(self, keyspace: &Keyspace<'_>) -> i64 {
        if self.from_now { keyspace.now_ms() as i64 } else { 0 }
    }

    /// The deadline that `arg` gives, in Unix milliseconds.
    fn read(self, arg: &[u8], keyspace: &Keyspace<'_>, command: &str) -> Result<i64, CommandError> {
        let time = parse_i64(arg)?;
        if time < 0 {
            return Err(CommandError::text("ERR invalid expire time, must be >= 0"));
        }
        let deadline_ms = time.checked_mul(self.unit_ms).and_then(|ms| ms.checked_add(self.base_ms(keyspace)));
        deadline_ms
            .filter(|deadline_ms| *deadline_ms <= FIELD_DEADLINE_MS_MAX)
            .ok_or_else(|| CommandError::owned(format!("ERR invalid expire time in '{command}' command")))
    }

    /// The number that tells a deadline: what is left of a second counts as one.
    fn show(self, deadline_ms: u64, keyspace: &Keyspace<'_>) -> i64 {
        (deadline_ms as i64 - self.base_ms(keyspace) + self.unit_ms - 1) / self.unit_ms
    }
}

/// The condition of HEXPIRE and its siblings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    /// Only if there is no deadline.
    IfNone,
    /// Only if there is a deadline.
    IfAny,
    /// Only if the new deadline is later; no deadline counts as latest.
    IfLater,
    /// Only if the new deadline is earlier.
    IfEarlier,
}

impl Condition {
    fn read(word: &[u8]) -> Condition {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => Condition::IfNone,
            b"xx" => Condition::IfAny,
            b"gt" => Condition::IfLater,
            b"lt" => Condition::IfEarlier,
            _ => Condition::Always,
        }
    }

    fn allows(self, old_ms: Option<u64>, new_ms: u64) -> bool {
        match self {
            Condition::Always => true,
            Condition::IfNone => old_ms.is_none(),
            Condition::IfAny => old_ms.is_some(),
            Condition::IfLater => old_ms.is_some_and(|old_ms| new_ms > old_ms),
            Condition::IfEarlier => old_ms.is_none_or(|old_ms| new_ms < old_ms),
        }
    }
}

/// The fields of `FIELDS numfields field [field …]`, which begins at the argument `at`.
fn read_fields<'a>(args: Args<'a>, at: usize, not_a_number: CommandError) -> Result<Args<'a>, CommandError> {
    let Some([word, count, fields @ ..]) = args.get(at..) else { return Err(NO_FIELDS) };
    if !word.eq_ignore_ascii_case(b"fields") {
        return Err(NO_FIELDS);
    }
    let count = parse_i64(count).ok().filter(|count| *count > 0).ok_or(not_a_number)?;
    if usize::try_from(count) == Ok(fields.len()) { Ok(fields) } else { Err(OTHER_NUMBER) }
}

/// `HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field …]`
pub(super) fn hexpire(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadlines(context, args, SECONDS, "hexpire", reply)
}

/// `HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]`
pub(super) fn hpexpire(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadlines(context, args, MILLISECONDS, "hpexpire", reply)
}

/// `HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field …]`
pub(super) fn hexpireat(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadlines(context, args, UNIX_SECONDS, "hexpireat", reply)
}

/// `HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field …]`
pub(super) fn hpexpireat(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_deadlines(context, args, UNIX_MILLISECONDS, "hpexpireat", reply)
}

fn set_deadlines(
    context: &mut Context<'_>,
    args: Args<'_>,
    clock: Clock,
    command: &str,
    reply: &mut Reply<'_>,
) -> Outcome {
    let keyspace = &mut context.keyspace;
    let hash = keyspace.hash(args[1])?;
    let deadline_ms = clock.read(args[2], keyspace, command)? as u64;
    let condition = Condition::read(args[3]);
    let at = if condition == Condition::Always { 3 } else { 4 };
    let not_a_number = CommandError::text("ERR Parameter `numFields` should be greater than 0");
    let fields = read_fields(args, at, not_a_number)?;
    reply.array(fields.len());
    let Some(mut hash) = hash else {
        fields.iter().for_each(|_| reply.integer(NO_FIELD));
        return Ok(());
    };
    let (mut is_changed, mut has_removed) = (false, false);
    for field in fields {
        let outcome = if hash.get(keyspace, field)?.is_none() {
            NO_FIELD
        } else if !condition.allows(hash.field_deadline_ms(keyspace, field)?, deadline_ms) {
            NOT_MET
        } else if deadline_ms <= keyspace.now_ms() {
            hash.remove(keyspace, field)?;
            has_removed = true;
            REMOVED
        } else {
            hash.set_field_deadline(keyspace, field, Some(deadline_ms))?;
            is_changed = true;
            DONE
        };
        reply.integer(outcome);
    }
    if is_changed || has_removed {
        hash.save(keyspace)?;
        let event = if has_removed { "hdel" } else { "hexpire" };
        keyspace.notify_taken(EventClasses::HASH, event, args[1], hash.is_empty());
    }
    Ok(())
}

/// `HPERSIST key FIELDS numfields field [field …]`
pub(super) fn hpersist(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let keyspace = &mut context.keyspace;
    let hash = keyspace.hash(args[1])?;
    let fields = read_fields(args, 2, CommandError::text("ERR Number of fields must be a positive integer"))?;
    reply.array(fields.len());
    let Some(mut hash) = hash else {
        fields.iter().for_each(|_| reply.integer(NO_FIELD));
        return Ok(());
    };
    let mut is_changed = false;
    for field in fields {
        let outcome = if hash.get(keyspace, field)?.is_none() {
            NO_FIELD
        } else if hash.field_deadline_ms(keyspace, field)?.is_none() {
            NO_DEADLINE
        } else {
            hash.set_field_deadline(keyspace, field, None)?;
            is_changed = true;
            DONE
        };
        reply.integer(outcome);
    }
    if is_changed {
        hash.save(keyspace)?;
        keyspace.notify(EventClasses::HASH, "hpersist", args[1]);
    }
    Ok(())
}

/// `HTTL key FIELDS numfields field [field …]`
pub(super) fn httl(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell_deadlines(context, args, SECONDS, reply)
}

/// `HPTTL key FIELDS numfields field [field …]`
pub(super) fn hpttl(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell_deadlines(context, args, MILLISECONDS, reply)
}

/// `HEXPIRETIME key FIELDS numfields field [field …]`
pub(super) fn hexpiretime(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell_deadlines(context, args, UNIX_SECONDS, reply)
}

/// `HPEXPIRETIME key FIELDS numfields field [field …]`
pub(super) fn hpexpiretime(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell_deadlines(context, args, UNIX_MILLISECONDS, reply)
}

fn tell_deadlines(context: &mut Context<'_>, args: Args<'_>, clock: Clock, reply: &mut Reply<'_>) -> Outcome {
    let keyspace = &context.keyspace;
    let hash = keyspace.hash(args[1])?;
    let fields = read_fields(args, 2, CommandError::text("ERR Number of fields must be a positive integer"))?;
    reply.array(fields.len());
    for field in fields {
        let Some(hash) = &hash else {
            reply.integer(NO_FIELD);
            continue;
        };
        reply.integer(match hash.get(keyspace, field)?.is_some() {
            false => NO_FIELD,
            true => match hash.field_deadline_ms(keyspace, field)? {
                None => NO_DEADLINE,
                Some(deadline_ms) => clock.show(deadline_ms, keyspace),
            },
        });
    }
    Ok(())
}

/// Internal write: `step|expire_fields count from`. Removes up to `count` fields, of the hashes of all databases, that are past
/// their deadline at the entry's time, of hashes whose earliest deadline lies at `from` or later, and replies how many.
pub(super) fn step_expire_fields(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (count, from_ms) = (parse_usize(args[1])?, parse_usize(args[2])? as u64);
    // Nobody has used them.
    context.keyspace.note_accesses(false);
    reply.integer(context.keyspace.delete_expired_fields(count, from_ms)? as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::{Protocol, value};
    use basalt_storage::keyspace::EventClasses;
    use basalt_storage::{Counters, Rows};

    use crate::commands::table;
    use crate::commands::testing::Shard;

    // The replies are those of Redis 7.4.

    /// A shard with the hash `h` of the fields a to d, in one row and in rows of its own.
    fn shards() -> [Shard; 2] {
        [false, true].map(|has_rows| {
            let mut shard = Shard::new();
            if has_rows {
                shard.line(&format!("HSET h long {}", "x".repeat(100)));
            }
            shard.line("HSET h a 1 b 2 c 3 d 4");
            shard.line("HDEL h long");
            assert_eq!(shard.line("OBJECT ENCODING h"), if has_rows { "$9 hashtable" } else { "$8 listpack" });
            shard
        })
    }

    #[test]
    fn deadlines_follow_their_conditions_and_are_told() {
        for mut shard in shards() {
            shard.expect(
                Protocol::Resp2,
                &[
                    ("HTTL none FIELDS 2 a b", "*2 :-2 :-2"),
                    ("HEXPIRE none 10 FIELDS 1 a", "*1 :-2"),
                    ("HPERSIST none FIELDS 1 a", "*1 :-2"),
                    ("HTTL h FIELDS 2 a x", "*2 :-1 :-2"),
                    ("HPERSIST h FIELDS 2 a x", "*2 :-1 :-2"),
                    ("HEXPIRE h 10 XX FIELDS 1 a", "*1 :0"),
                    ("HEXPIRE h 10 GT FIELDS 1 a", "*1 :0"),
                    ("HEXPIRE h 100 lt FIELDS 3 a x b", "*3 :1 :-2 :1"),
                    ("HEXPIRE h 10 NX FIELDS 2 a c", "*2 :0 :1"),
                    ("HEXPIRE h 100 GT fields 1 a", "*1 :0"),
                    ("HEXPIRE h 200 GT FIELDS 1 a", "*1 :1"),
                    ("HEXPIRE h 200 LT FIELDS 1 a", "*1 :0"),
                    ("HEXPIRE h 50 LT FIELDS 1 a", "*1 :1"),
                    ("HTTL h FIELDS 4 a b c d", "*4 :50 :100 :10 :-1"),
                    ("HPTTL h FIELDS 1 a", "*1 :50000"),
                    ("HEXPIRETIME h FIELDS 1 a", "*1 :1700000050"),
                    ("HPEXPIRETIME h FIELDS 1 a", "*1 :1700000050000"),
                    ("HPEXPIRE h 1001 FIELDS 1 a", "*1 :1"),
                    ("HTTL h FIELDS 1 a", "*1 :2"),
                    ("HEXPIRETIME h FIELDS 1 a", "*1 :1700000002"),
                    ("HEXPIREAT h 1700000003 FIELDS 1 a", "*1 :1"),
                    ("HPTTL h FIELDS 1 a", "*1 :3000"),
                    ("HPEXPIREAT h 1700000000500 FIELDS 2 a a", "*2 :1 :1"),
                    ("HPTTL h FIELDS 1 a", "*1 :500"),
                    ("HPERSIST h FIELDS 3 a d x", "*3 :1 :-1 :-2"),
                    ("HPTTL h FIELDS 1 a", "*1 :-1"),
                    ("HLEN h", ":4"),
                ],
            );
        }
    }

    #[test]
    fn a_deadline_that_has_passed_removes_the_field_and_the_last_one_the_key() {
        for mut shard in shards() {
            shard.expect(
                Protocol::Resp2,
                &[
                    ("HEXPIRE h 0 FIELDS 2 a x", "*2 :2 :-2"),
                    ("HPEXPIREAT h 1700000000000 FIELDS 1 b", "*1 :2"),
                    ("HEXPIREAT h 1 GT FIELDS 1 c", "*1 :0"),
                    ("HEXPIREAT h 1 LT FIELDS 3 c c d", "*3 :2 :-2 :2"),
                    ("EXISTS h", ":0"),
                ],
            );
            assert_eq!(*shard.rows.counters(), Counters::default());
        }
    }

    #[test]
    fn errors_are_those_of_redis() {
        const PLACE: &str = "-ERR Mandatory argument FIELDS is missing or not at the right position";
        const COUNT: &str = "-ERR The `numfields` parameter must match the number of arguments";
        const NUMBER: &str = "-ERR Number of fields must be a positive integer";
        const POSITIVE: &str = "-ERR Parameter `numFields` should be greater than 0";
        const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        let mut shard = Shard::new();
        for (line, expected) in [
            ("SET s v", "+OK"),
            ("HEXPIRE s x FIELDS 1 a", WRONG_TYPE),
            ("HPERSIST s x 1 a", WRONG_TYPE),
            ("HTTL s FIELDS 1 a", WRONG_TYPE),
            ("HEXPIRE h 1 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command"),
            ("HTTL h FIELDS 1", "-ERR wrong number of arguments for 'httl' command"),
            ("HPERSIST h FIELDS 1", "-ERR wrong number of arguments for 'hpersist' command"),
            ("HEXPIRE h x FIELDS 1 a", "-ERR value is not an integer or out of range"),
            ("HEXPIRE h -1 FIELDS 1 a", "-ERR invalid expire time, must be >= 0"),
            ("HEXPIREAT h 70368744178 FIELDS 1 a", "-ERR invalid expire time in 'hexpireat' command"),
            ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "-ERR invalid expire time in 'hpexpireat' command"),
            ("HPEXPIREAT h 70368744177663 FIELDS 1 a", "*1 :-2"),
            ("HEXPIRE h 68668744178 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
            ("HPEXPIRE h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hpexpire' command"),
            ("HEXPIRE h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
            ("HEXPIRE h 1 FOO FIELDS 1 a", PLACE),
            ("HEXPIRE h 1 NX XX FIELDS 1 a", PLACE),
            ("HEXPIRE h 1 FIELDS 2 a", COUNT),
            ("HEXPIRE h 1 FIELDS 1 a b", COUNT),
            ("HEXPIRE h 1 FIELDS 0 a", POSITIVE),
            ("HEXPIRE h 1 FIELDS x a", POSITIVE),
            ("HEXPIRE h 1 NX FIELDS 1", COUNT),
            ("HTTL h FOO 1 a", PLACE),
            ("HTTL h FIELDS 0 a", NUMBER),
            ("HTTL h FIELDS 9223372036854775807 a", COUNT),
            ("HPERSIST h FIELDS x a", NUMBER),
            ("HPERSIST h FIELDS 2 a", COUNT),
        ] {
            assert_eq!(shard.line(line), expected, "{line}");
        }
    }

    #[test]
    fn a_field_past_its_deadline_is_gone_for_every_command() {
        for mut shard in shards() {
            shard.line("HPEXPIRE h 10 FIELDS 3 a b c");
            shard.now_ms += 10;
            shard.expect(Protocol::Resp2, &[("HGET h a", "$1 1"), ("HPTTL h FIELDS 1 a", "*1 :0")]);
            shard.now_ms += 1;
            shard.expect(
                Protocol::Resp2,
                &[
                    ("HGET h a", "$-1"),
                    ("HMGET h a d", "*2 $-1 $1 4"),
                    ("HGETALL h", "*2 $1 d $1 4"),
                    ("HKEYS h", "*1 $1 d"),
                    ("HVALS h", "*1 $1 4"),
                    ("HEXISTS h a", ":0"),
                    ("HSTRLEN h a", ":0"),
                    ("HRANDFIELD h", "$1 d"),
                    ("HRANDFIELD h 5 WITHVALUES", "*2 $1 d $1 4"),
                    ("HRANDFIELD h -2", "*2 $1 d $1 d"),
                    ("HSCAN h 0", "*2 $1 0 *2 $1 d $1 4"),
                    ("HTTL h FIELDS 2 a d", "*2 :-2 :-1"),
                    ("HPERSIST h FIELDS 1 a", "*1 :-2"),
                    ("HEXPIRE h 10 FIELDS 1 a", "*1 :-2"),
                    ("HDEL h a", ":0"),
                    ("HINCRBY h a 5", ":5"),
                    ("HTTL h FIELDS 1 a", "*1 :-1"),
                    ("HSETNX h b 6", ":1"),
                    ("HSET h c 7", ":1"),
                    ("HTTL h FIELDS 2 b c", "*2 :-1 :-1"),
                    ("HLEN h", ":4"),
                ],
            );
            assert_eq!(shard.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]), ":0");
        }
    }

    #[test]
    fn a_hash_of_nothing_but_fields_past_their_deadline_is_empty() {
        for mut shard in shards() {
            shard.line("HPEXPIRE h 10 FIELDS 4 a b c d");
            shard.now_ms += 11;
            let mut swept = shard.copy();
            assert_eq!(swept.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]), ":4");
            assert_eq!(swept.line("DBSIZE"), ":0");
            assert_eq!(*swept.rows.counters(), Counters::default());
            shard.expect(
                Protocol::Resp2,
                &[
                    ("HGETALL h", "*0"),
                    ("HKEYS h", "*0"),
                    ("HRANDFIELD h", "$-1"),
                    ("HRANDFIELD h 3", "*0"),
                    ("HRANDFIELD h -3", "*0"),
                    ("HSCAN h 0", "*2 $1 0 *0"),
                    ("DUMP h", "$-1"),
                    ("HDEL h a b c d", ":0"),
                    ("HSET h e 1", ":1"),
                    ("HGETALL h", "*2 $1 e $1 1"),
                ],
            );
            shard.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]);
            shard.expect(Protocol::Resp2, &[("HLEN h", ":1"), ("DBSIZE", ":1"), ("HDEL h e", ":1"), ("DBSIZE", ":0")]);
        }
    }

    #[test]
    fn what_overwrites_a_field_takes_its_deadline_off_and_what_counts_keeps_it() {
        for mut shard in shards() {
            shard.line("HEXPIRE h 100 FIELDS 4 a b c d");
            shard.expect(
                Protocol::Resp2,
                &[
                    ("HSET h a 2", ":0"),
                    ("HINCRBY h b 1", ":3"),
                    ("HINCRBYFLOAT h c 0.5", "$3 3.5"),
                    ("HSETNX h d 1", ":0"),
                    ("HTTL h FIELDS 4 a b c d", "*4 :-1 :100 :100 :100"),
                    ("HMSET h d 1", "+OK"),
                    ("HDEL h b", ":1"),
                    ("HSET h b 1", ":1"),
                    ("HTTL h FIELDS 4 a b c d", "*4 :-1 :-1 :100 :-1"),
                ],
            );
        }
    }

    #[test]
    fn deadlines_go_where_the_key_goes() {
        for mut shard in shards() {
            shard.line("HEXPIRE h 100 FIELDS 2 a b");
            shard.expect(
                Protocol::Resp2,
                &[
                    ("COPY h copy", ":1"),
                    ("COPY h copy DB 3", ":1"),
                    ("EXPIRE h 1000", ":1"),
                    ("RENAME h other", "+OK"),
                    ("HTTL other FIELDS 3 a b c", "*3 :100 :100 :-1"),
                    ("TTL other", ":1000"),
                    ("MOVE other 5", ":1"),
                    ("RPUSH list py", ":1"),
                    ("SORT list BY nosort GET co*->a GET co*->c", "*2 $1 1 $1 3"),
                    ("HPEXPIRE copy 10 FIELDS 1 a", "*1 :1"),
                ],
            );
            shard.now_ms += 11;
            assert_eq!(shard.line("SORT list BY nosort GET co*->a GET co*->c"), "*2 $-1 $1 3");
            for (db, key) in [(0, "copy"), (3, "copy"), (5, "other")] {
                shard.db = db;
                let expected = if db == 0 { "*3 :-2 :100 :-1" } else { "*3 :100 :100 :-1" };
                assert_eq!(shard.line(&format!("HTTL {key} FIELDS 3 a b c")), expected, "{key} of {db}");
            }
            shard.now_ms += 200_000;
            assert_eq!(shard.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]), ":6", "of all databases");
        }
    }

    #[test]
    fn a_dump_has_the_deadlines_and_restore_reads_them() {
        for mut shard in shards() {
            shard.line("HEXPIRE h 100 FIELDS 2 a b");
            shard.line("HPEXPIRE h 10 FIELDS 1 c");
            let reply = shard.run(Protocol::Resp2, &["DUMP", "h"]);
            let payload = value::read_bulk(&reply).unwrap().to_vec();
            assert_eq!(payload[0], 24, "RDB_TYPE_HASH_METADATA");
            shard.now_ms += 11;
            let restore: [&[u8]; 4] = [b"RESTORE", b"copy", b"0", &payload];
            assert_eq!(shard.run(Protocol::Resp2, &restore), b"+OK\r\n");
            shard.expect(
                Protocol::Resp2,
                &[
                    ("HPTTL copy FIELDS 4 a b c d", "*4 :99989 :99989 :-2 :-1"),
                    ("HLEN copy", ":3"),
                    ("HGET copy d", "$1 4"),
                    ("OBJECT ENCODING copy", "$10 listpackex"),
                ],
            );
            shard.line("DEL copy");
            // Entries of before refuse it.
            for step in [1431, 1432] {
                let refused = shard.step(step, &[b"copy", b"0", &payload]);
                assert_eq!(refused, "-ERR DUMP payload version or checksum are wrong");
            }
            let deadlines = vec![shard.now_ms, 1];
            let pairs = ["a", "1", "b", "2"].iter().collect();
            let payload = basalt_rdb::write(&basalt_rdb::Value::HashWithDeadlines(pairs, deadlines));
            let over: [&[u8]; 5] = [b"RESTORE", b"h", b"0", &payload, b"REPLACE"];
            assert_eq!(shard.run(Protocol::Resp2, &over), b"+OK\r\n");
            assert_eq!(shard.line("EXISTS h"), ":0", "all of it is past its deadline");
        }
    }

    #[test]
    fn events_are_those_of_redis() {
        for mut shard in shards() {
            shard.tell(EventClasses::HASH | EventClasses::GENERIC | EventClasses::EXPIRED);
            for (line, expected) in [
                ("HEXPIRE h 10 XX FIELDS 2 a b", &[][..]),
                ("HEXPIRE h 10 FIELDS 2 a b", &["0 hexpire h"]),
                ("HPERSIST h FIELDS 1 a", &["0 hpersist h"]),
                ("HPERSIST h FIELDS 1 a", &[]),
                ("HEXPIRE h 0 FIELDS 1 a", &["0 hdel h"]),
                ("HINCRBY h c 1", &["0 hincrby h"]),
                ("HDEL h d", &["0 hdel h"]),
                ("HPEXPIRE h 5000 FIELDS 1 c", &["0 hexpire h"]),
            ] {
                shard.line(line);
                assert_eq!(shard.events(), expected, "{line}");
            }
            shard.now_ms += 5001;
            shard.line("HGETALL h");
            assert_eq!(shard.events(), [""; 0]);
            shard.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]);
            assert_eq!(shard.events(), ["0 hexpired h"]);
            shard.now_ms += 5000;
            shard.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]);
            assert_eq!(shard.events(), ["0 hexpired h", "0 del h"]);
        }
    }

    #[test]
    fn due_fields_are_removed_in_bounded_batches() {
        let mut shard = Shard::new();
        let long = "x".repeat(100);
        for hash in 0..3 {
            for field in 0..10 {
                shard.line(&format!("HSET h{hash} f{field} {long}"));
                shard.line(&format!("HPEXPIRE h{hash} {} FIELDS 1 f{field}", field + 1));
            }
        }
        shard.line("HSET stays f v");
        shard.now_ms += 6;
        let mut removed = Vec::new();
        while removed.last().is_none_or(|count| count != ":0") {
            removed.push(shard.step(table::DELETE_EXPIRED_FIELDS, &[b"4", b"0"]));
        }
        assert_eq!(removed, [":4", ":4", ":4", ":3", ":0"]);
        shard.expect(Protocol::Resp2, &[("HLEN h0", ":5"), ("HLEN h1", ":5"), ("HLEN h2", ":5"), ("DBSIZE", ":4")]);
        shard.now_ms += 4;
        let after_those_left = (shard.now_ms + 1).to_string();
        let step = [&b"100"[..], after_those_left.as_bytes()];
        assert_eq!(shard.step(table::DELETE_EXPIRED_FIELDS, &step), ":0", "none is as late");
        assert_eq!(shard.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]), ":12");
        shard.now_ms += 1;
        assert_eq!(shard.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]), ":3");
        assert_eq!(shard.line("DBSIZE"), ":1");
    }

    #[test]
    fn a_hash_past_its_own_deadline_is_deleted_with_its_fields() {
        for mut shard in shards() {
            shard.line("HPEXPIRE h 10 FIELDS 2 a b");
            shard.line("PEXPIRE h 5");
            shard.now_ms += 11;
            assert_eq!(shard.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]), ":1");
            assert_eq!(*shard.rows.counters(), Counters::default());
            assert_eq!(shard.step(table::DELETE_EXPIRED_FIELDS, &[b"100", b"0"]), ":0");
        }
    }
}
