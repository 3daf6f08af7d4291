//! DUMP: a key's value as bytes that any Redis restores.
//!
//! What a newcomer would get wrong: the payload is made in one piece, and compressed, while its core does nothing else. So what is
//! too large is refused before it is read to the end.

use std::ops::ControlFlow;

use basalt_net::resp::Reply;
use basalt_rdb::limits::{DEADLINE_BYTES, SCORE_BYTES, STRING_OVERHEAD};
use basalt_rdb::{Strings, Value};
use basalt_storage::Direction;
use basalt_storage::keyspace::{Keyspace, ScoreRange, SortedSet, Type};

use super::stream::read_stream;
use crate::commands::{Args, CommandError, Context};
use crate::limits::migrations::DUMPED_BYTES_WANTED;
use crate::limits::{DUMPED_BYTES_MAX, DUMPED_BYTES_PER_WORK};

/// `DUMP key`
pub(super) fn dump(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let mut room = Room { left: DUMPED_BYTES_MAX };
    let value = read_value(&context.keyspace, args[1], &mut room)?;
    context.pay((DUMPED_BYTES_MAX - room.left) as u64 / DUMPED_BYTES_PER_WORK)?;
    reply.bulk_or_null(value.map(|value| basalt_rdb::write(&value)));
    Ok(())
}

/// Step of a MIGRATE: `step|dump key …`. Replies what DUMP and PEXPIRETIME reply, of the first key, the second one and so on, until
/// that is enough for one go: of one key at least, of the others when they are asked for again.
pub(super) fn step_dump(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let (start, mut count) = (reply.mark(), 0);
    for key in &args[1..] {
        let value = read_value(&context.keyspace, key, &mut Room { left: DUMPED_BYTES_MAX })?;
        let deadline_ms = match value {
            Some(_) => context.keyspace.lookup(key)?.record.map(|record| record.deadline_ms()),
            None => None,
        };
        reply.bulk_or_null(value.map(|value| basalt_rdb::write(&value)));
        reply.integer(deadline_ms.map_or(-2, |deadline_ms| deadline_ms.map_or(-1, |deadline_ms| deadline_ms as i64)));
        count += 1;
        if reply.written_since(start).len() >= DUMPED_BYTES_WANTED {
            break;
        }
    }
    reply.array_before(start, 2 * count);
    Ok(())
}

/// Bytes that may still be read, counted as RESTORE does: what is dumped is never too large to be restored.
pub(super) struct Room {
    left: usize,
}

impl Room {
    /// Returns whether so many bytes find room, which they then take.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// Adds a string, if it finds room.
    pub(super) fn push(&mut self, strings: &mut Strings, string: &[u8]) -> bool {
        let fits = self.take(string.len() + STRING_OVERHEAD);
        if fits {
            strings.push(string);
        }
        fits
    }
}

/// The error of a key that is too large.
pub(super) fn too_large() -> CommandError {
    CommandError::owned(format!("ERR the key is too large to dump: the limit is {DUMPED_BYTES_MAX} bytes"))
}

/// Goes on while there is room, which `fits` says.
pub(super) fn flow(fits: bool) -> ControlFlow<()> {
    if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn read_value(keyspace: &Keyspace<'_>, key: &[u8], room: &mut Room) -> Result<Option<Value>, CommandError> {
    let Some(record) = keyspace.record(key)? else { return Ok(None) };
    let (mut fits, mut strings) = (true, Strings::default());
    let value = match record.kind() {
        Type::String => {
            fits = room.take(record.body().len() + STRING_OVERHEAD);
            Value::String(if fits { record.body().to_vec() } else { Vec::new() })
        }
        Type::List => {
            let Some(list) = keyspace.list(key)? else { return Ok(None) };
            list.search(keyspace, 0..list.len(), Direction::Forward, &mut |_, element| {
                fits = room.push(&mut strings, element);
                flow(fits)
            })?;
            Value::List(strings)
        }
        Type::Hash if record.fields_due_ms().is_some() => {
            let (mut deadlines, hash) = (Vec::new(), keyspace.hash(key)?);
            let Some(hash) = hash else { return Ok(None) };
            hash.each_with_deadline(keyspace, &mut |field, value, deadline_ms| {
                fits = room.take(DEADLINE_BYTES) && room.push(&mut strings, field) && room.push(&mut strings, value);
                deadlines.push(deadline_ms.unwrap_or(0));
                Ok(flow(fits))
            })?;
            match deadlines.iter().max() {
                // All of it is past its deadline.
                None => return Ok(None),
                Some(0) => Value::Hash(strings),
                Some(_) => Value::HashWithDeadlines(strings, deadlines),
            }
        }
        kind @ (Type::Set | Type::Hash) => {
            let Some(names) = keyspace.names(key, kind)? else { return Ok(None) };
            names.each(keyspace, &mut |name, value| {
                fits = room.push(&mut strings, name) && (kind == Type::Set || room.push(&mut strings, value));
                Ok(flow(fits))
            })?;
            if kind == Type::Set { Value::Set(strings) } else { Value::Hash(strings) }
        }
        Type::SortedSet => {
            let Some(sorted) = keyspace.sorted_set(key)? else { return Ok(None) };
            let scores = read_members(keyspace, &sorted, room, &mut strings)?;
            fits = scores.is_some();
            Value::SortedSet(strings, scores.unwrap_or_default())
        }
        Type::Stream => {
            let Some(stream) = keyspace.stream(key)? else { return Ok(None) };
            let stream = read_stream(keyspace, &stream, room)?;
            fits = stream.is_some();
            Value::Stream(stream.unwrap_or_default())
        }
    };
    if fits { Ok(Some(value)) } else { Err(too_large()) }
}

/// Reads the members by ascending scores, which it returns, if there is room.
fn read_members(
    keyspace: &Keyspace<'_>,
    sorted: &SortedSet,
    room: &mut Room,
    members: &mut Strings,
) -> Result<Option<Vec<f64>>, CommandError> {
    let (mut scores, mut fits) = (Vec::new(), true);
    let all = ScoreRange { min: f64::NEG_INFINITY, min_exclusive: false, max: f64::INFINITY, max_exclusive: false };
    sorted.each_score(keyspace, &all, Direction::Forward, 0, &mut |member, score| {
        fits = room.take(SCORE_BYTES) && room.push(members, member);
        if fits {
            scores.push(score);
        }
        flow(fits)
    })?;
    Ok(fits.then_some(scores))
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::{Protocol, value};
    use basalt_rdb::Bounds;
    use basalt_storage::keyspace::{Keyspace, Scratch, VersionSource};

    use super::{Room, read_value};
    use crate::commands::table::STEP_DUMP;
    use crate::commands::testing::Shard;
    use crate::limits::migrations::DUMPED_BYTES_WANTED;
    use crate::limits::{DUMPED_BYTES_MAX, RESTORED_BYTES_MAX};

    #[test]
    fn every_type_comes_back_as_it_was_dumped() {
        let mut shard = Shard::new();
        for line in [
            "SET s text",
            "RPUSH l a b 1",
            "SADD set a b 1",
            "SADD ints 3 -1 2",
            "HSET h f v g w",
            "ZADD z 1 a 2.5 b -inf c",
            "XADD x 1-1 f v",
            "XADD x 2-1 g w",
            "XDEL x 1-1",
            "XGROUP CREATE x g 0",
            "XREADGROUP GROUP g alice STREAMS x >",
            "XGROUP CREATECONSUMER x g bob",
            "XGROUP CREATE empty g $ MKSTREAM",
        ] {
            assert!(!shard.line(line).starts_with('-'), "{line}");
        }
        for key in ["s", "l", "set", "ints", "h", "z", "x", "empty"] {
            let reply = shard.run(Protocol::Resp2, &["DUMP", key]);
            let payload = value::read_bulk(&reply).unwrap().to_vec();
            let restore: [&[u8]; 4] = [b"RESTORE", b"copy", b"0", &payload];
            assert_eq!(shard.run(Protocol::Resp2, &restore), b"+OK\r\n", "{key}");
            assert_eq!(shard.run(Protocol::Resp2, &["DUMP", "copy"]), reply, "{key}");
            for look in ["TYPE", "XINFO STREAM"] {
                let [of_key, of_copy] = [key, "copy"].map(|name| shard.line(&format!("{look} {name}")));
                assert_eq!(of_copy, of_key, "{look} {key}");
            }
            shard.line("DEL copy");
        }
        assert_eq!(shard.line("DUMP none"), "$-1");
    }

    #[test]
    fn whatever_is_dumped_is_small_enough_to_be_restored() {
        const { assert!(DUMPED_BYTES_MAX <= RESTORED_BYTES_MAX) };
        let mut shard = Shard::new();
        for number in 1..=1000 {
            for line in [
                format!("RPUSH l {number}"),
                format!("SADD set m{number}"),
                format!("SADD ints {number}"),
                format!("HSET h f{number} v"),
                format!("ZADD z {number}.5 m{number}"),
                format!("XADD x {number}-1 field v"),
                format!("XADD fields {number}-1 f{number} v g w"),
            ] {
                assert!(!shard.line(&line).starts_with('-'), "{line}");
            }
        }
        for line in [
            "XGROUP CREATE x g 0",
            "XREADGROUP GROUP g alice COUNT 500 STREAMS x >",
            "XREADGROUP GROUP g robert STREAMS x >",
            "XGROUP CREATE x group 0",
        ] {
            assert!(!shard.line(line).starts_with('-'), "{line}");
        }
        for key in ["l", "set", "ints", "h", "z", "x", "fields"] {
            let (mut scratch, mut room) = (Scratch::default(), Room { left: DUMPED_BYTES_MAX });
            let keyspace = Keyspace::new(&mut shard.rows, &mut scratch, VersionSource::none(), 0, shard.now_ms);
            let value = read_value(&keyspace, key.as_bytes(), &mut room).unwrap().unwrap();
            let bounds = Bounds { string_bytes: 0, collection_bytes: DUMPED_BYTES_MAX - room.left };
            assert_eq!(basalt_rdb::read(&basalt_rdb::write(&value), bounds).err(), None, "{key}: {bounds:?}");
        }
    }

    #[test]
    fn keys_are_dumped_with_their_deadlines_until_it_is_enough_for_one_go() {
        let mut shard = Shard::new();
        let deadline_ms = shard.now_ms + 5000;
        for line in ["SET a 1", "SET b 2 PX 5000", "SET gone 3 PX 1", "SET c 4"] {
            shard.line(line);
        }
        // Bytes of which none are like those before: they are not made shorter.
        let mut state = 1u32;
        let mut unlike = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        let large: Vec<u8> = (0..DUMPED_BYTES_WANTED).map(|_| unlike()).collect();
        shard.run(Protocol::Resp2, &[b"SET" as &[u8], b"large", &large]);
        shard.now_ms += 2;
        let mut dump = |keys: &[&str]| {
            let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
            shard.step_bytes(STEP_DUMP, &keys)
        };
        let read = |reply: &[u8]| -> Vec<(bool, i64)> {
            let replies: Vec<&[u8]> = value::split_elements(reply).unwrap().collect();
            let pair = |pair: &[&[u8]]| (value::read_bulk(pair[0]).is_some(), value::read_integer(pair[1]).unwrap());
            replies.chunks_exact(2).map(pair).collect()
        };
        let few = dump(&["a", "none", "b", "gone", "c"]);
        assert_eq!(read(&few), [(true, -1), (false, -2), (true, deadline_ms as i64), (false, -2), (true, -1)]);
        // Not what is behind a large one.
        assert_eq!(read(&dump(&["a", "large", "c", "b"])), [(true, -1), (true, -1)]);
        assert_eq!(read(&dump(&["large", "c"])), [(true, -1)]);
        let payload = shard.run(Protocol::Resp2, &["DUMP", "a"]);
        assert!(few.windows(payload.len()).any(|bytes| bytes == payload));
    }

    #[test]
    fn what_is_too_large_is_refused_by_name() {
        let mut shard = Shard::new();
        let half = vec![b'x'; DUMPED_BYTES_MAX / 2];
        for (command, key) in [("APPEND", "s"), ("RPUSH", "l"), ("SADD", "set")] {
            for _ in 0..2 {
                shard.run(Protocol::Resp2, &[command.as_bytes(), key.as_bytes(), &half]);
                // Another member.
                shard.run(Protocol::Resp2, &[command.as_bytes(), key.as_bytes(), &half[1..]]);
            }
            let reply = shard.line(&format!("DUMP {key}"));
            let fits = reply.starts_with('$');
            assert_eq!(fits, key == "set" && half.len() * 2 <= DUMPED_BYTES_MAX - 16, "{key}: {}", &reply[..40]);
            assert!(fits || reply == "-ERR the key is too large to dump: the limit is 33554432 bytes", "{key}");
        }
    }
}
