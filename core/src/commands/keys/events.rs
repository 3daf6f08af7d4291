//! Steps that carry a key back to its shard, beside those of `moving.rs`: what has become of it is told there, so that events of a
//! key come in the order of what is done to it.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::EventClasses;

use crate::commands::{Args, CommandError, Context, parse_usize};

type Outcome = Result<(), CommandError>;

const NO_EVENTS: CommandError = CommandError::text("ERR events that moved between shards are not readable");

/// Step of a command over several shards: `step|tell dropped class event key [class event key …]`. Tells what has become of keys,
/// and counts how many events there was no room for. A class is its bit, as a number.
pub(super) fn step_tell(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let dropped = parse_usize(args[1])? as u64;
    let (events, []) = args[2..].as_chunks::<3>() else { return Err(NO_EVENTS) };
    let mut told = Vec::with_capacity(events.len());
    for [class, event, key] in events {
        let class = u16::try_from(parse_usize(class)?).map_err(|_| NO_EVENTS)?;
        let event = std::str::from_utf8(event).ok().filter(|event| event.len() <= usize::from(u8::MAX));
        told.push((EventClasses::of_bits(class), event.ok_or(NO_EVENTS)?, key));
    }
    context.keyspace.note_dropped_events(dropped);
    told.into_iter().for_each(|(class, event, key)| context.keyspace.notify(class, event, key));
    reply.ok();
    Ok(())
}

/// Step of a command over several shards: `step|remove key [key …]`. Deletes keys as DEL does; who has it done tells what has
/// become of them.
pub(super) fn step_remove(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut count = 0;
    for key in &args[1..] {
        count += i64::from(context.keyspace.delete(key)?);
    }
    reply.integer(count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_storage::keyspace::EventClasses;

    use crate::commands::table;
    use crate::commands::testing::Shard;

    #[test]
    fn what_came_from_elsewhere_is_told_as_if_it_had_happened_here() {
        let mut shard = Shard::new();
        shard.tell(EventClasses::GENERIC | EventClasses::STRING | EventClasses::LIST);
        shard.line("set a 1");
        assert_eq!(shard.events(), ["0 set a"]);
        assert_eq!(shard.step(table::STEP_REMOVE, &[b"a", b"b"]), ":1");
        assert_eq!(shard.events(), [""; 0], "who has it done tells of it");
        let told: &[&[u8]] = &[b"3", b"4", b"ltrim", b"a", b"1", b"del", b"a", b"1024", b"new", b"b"];
        assert_eq!(shard.step(table::STEP_TELL, told), "+OK");
        assert_eq!(shard.events(), ["0 ltrim a", "0 del a"], "what is not chosen is not told");
        for odd in [&[&b"0"[..], b"4", b"x"][..], &[b"0", b"70000", b"x", b"a"], &[b"x"], &[b"0", b"1", &[0xFF], b"a"]]
        {
            assert!(shard.step(table::STEP_TELL, odd).starts_with("-ERR"), "{odd:?}");
        }
        assert_eq!(shard.events(), [""; 0]);
    }
}
