//! Commands that take from the first list there is, or from one list to another: LMPOP, LMOVE and RPOPLPUSH.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{End, EventClasses};

use super::handlers::{pop_event, push_event};
use crate::commands::arguments::{read_counted_keys, read_pop_count};
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

pub(super) fn parse_end(word: &[u8]) -> Result<End, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"left" => Ok(End::Head),
        b"right" => Ok(End::Tail),
        _ => Err(CommandError::SYNTAX),
    }
}

/// The arguments of LMPOP: from which keys, at which end and how many.
pub(super) struct PopFirst<'a> {
    keys: Args<'a>,
    end: End,
    count: u64,
}

impl<'a> PopFirst<'a> {
    /// Reads `numkeys key [key …] LEFT | RIGHT [COUNT count]`.
    pub(super) fn read(args: Args<'a>) -> Result<PopFirst<'a>, CommandError> {
        let Some((keys, [end, options @ ..])) = read_counted_keys(args)? else { return Err(CommandError::SYNTAX) };
        Ok(PopFirst { keys, end: parse_end(end)?, count: read_pop_count(options)? })
    }

    /// Pops from the first list that there is.
    pub(super) fn run(self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Outcome {
        for key in self.keys {
            let Some(mut list) = context.keyspace.list(key)? else { continue };
            reply.array(2);
            reply.bulk(key);
            reply.array(self.count.min(list.len()) as usize);
            list.pop(&mut context.keyspace, self.end, self.count, &mut |value| reply.bulk(value))?;
            list.save(&mut context.keyspace);
            context.keyspace.notify_taken(EventClasses::LIST, pop_event(self.end), key, list.is_empty());
            return Ok(());
        }
        reply.null_array();
        Ok(())
    }
}

/// `LMPOP numkeys key [key …] LEFT | RIGHT [COUNT count]`
pub(super) fn lmpop(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    PopFirst::read(&args[1..])?.run(context, reply)
}

/// `LMOVE source destination LEFT | RIGHT LEFT | RIGHT`
pub(super) fn lmove(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (from, to) = (parse_end(args[3])?, parse_end(args[4])?);
    move_element(context, args, reply, from, to)
}

/// `RPOPLPUSH source destination`
pub(super) fn rpoplpush(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    move_element(context, args, reply, End::Tail, End::Head)
}

pub(super) fn move_element(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    from: End,
    to: End,
) -> Outcome {
    let Some(mut source) = context.keyspace.list(args[1])? else {
        reply.null();
        return Ok(());
    };
    let mut destination = if args[1] == args[2] { None } else { Some(context.keyspace.list_or_new(args[2])?) };
    let mut value: Box<[u8]> = Box::default();
    source.pop(&mut context.keyspace, from, 1, &mut |popped| value = popped.into())?;
    // A list that turns is saved once, so that one of a single element keeps its deadline.
    let target = destination.as_mut().unwrap_or(&mut source);
    target.push(&mut context.keyspace, to, &value)?;
    target.save(&mut context.keyspace);
    context.keyspace.notify(EventClasses::LIST, push_event(to), args[2]);
    if destination.is_some() {
        source.save(&mut context.keyspace);
    }
    context.keyspace.notify_taken(EventClasses::LIST, pop_event(from), args[1], source.is_empty());
    reply.bulk(&value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn elements_move_from_list_to_list() {
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("RPUSH one a b c", ":3"),
                ("LMOVE one two LEFT RIGHT", "$1 a"),
                ("LMOVE one two right left", "$1 c"),
                ("LRANGE two 0 -1", "*2 $1 c $1 a"),
                ("RPOPLPUSH one one", "$1 b"),
                ("RPOPLPUSH one two", "$1 b"),
                ("EXISTS one", ":0"),
                ("LMOVE one two LEFT LEFT", "$-1"),
                ("LMOVE two two LEFT RIGHT", "$1 b"),
                ("LRANGE two 0 -1", "*3 $1 c $1 a $1 b"),
                ("LMPOP 2 one two LEFT", "*2 $3 two *1 $1 c"),
                ("LMPOP 1 two RIGHT COUNT 5", "*2 $3 two *2 $1 b $1 a"),
                ("LMPOP 1 two RIGHT COUNT 5", "*-1"),
                ("EXISTS two", ":0"),
            ],
        );
    }

    #[test]
    fn a_list_of_one_element_that_turns_keeps_its_deadline() {
        Shard::new().expect(
            Protocol::Resp2,
            &[("RPUSH l a", ":1"), ("EXPIRE l 100", ":1"), ("RPOPLPUSH l l", "$1 a"), ("TTL l", ":100")],
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        Shard::new().expect(
            Protocol::Resp2,
            &[
                ("SADD s a", ":1"),
                ("RPUSH l a", ":1"),
                ("LMOVE l s LEFT LEFT", WRONG_TYPE),
                ("LMOVE s l LEFT LEFT", WRONG_TYPE),
                ("RPOPLPUSH none s", "$-1"),
                ("LMOVE l l UP LEFT", "-ERR syntax error"),
                ("LMPOP 2 none s LEFT", WRONG_TYPE),
                ("LMPOP 2 l s LEFT", "*2 $1 l *1 $1 a"),
                ("LMPOP 0 l LEFT", "-ERR numkeys should be greater than 0"),
                ("LMPOP 1 l MIN", "-ERR syntax error"),
                ("LMPOP 1 l LEFT COUNT -1", "-ERR count should be greater than 0"),
                ("LMPOP 9 l LEFT", "-ERR syntax error"),
            ],
        );
    }
}
