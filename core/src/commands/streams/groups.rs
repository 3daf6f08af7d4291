//! Handlers of XGROUP: consumer groups and their consumers.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::{Consumer, EventClasses, Group, Stream, StreamId};

use super::handlers::{parse_id, parse_interval_id};
use crate::commands::command_error::until_nul;
use crate::commands::{Args, CommandError, Context, parse_i64};

type Outcome = Result<(), CommandError>;

const NO_STREAM: CommandError = CommandError::text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create \
     an empty stream automatically.",
);

/// The error of a group that is not there.
pub(super) fn no_group_of(group: &[u8], key: &[u8]) -> CommandError {
    let [group, key] = [group, key].map(|name| String::from_utf8_lossy(until_nul(name)));
    CommandError::owned(format!("NOGROUP No such consumer group '{group}' for key name '{key}'"))
}

/// The error of a key or a group that is not there, with Redis' words behind.
pub(super) fn no_key_or_group(key: &[u8], group: &[u8], behind: &str) -> CommandError {
    let [group, key] = [group, key].map(|name| String::from_utf8_lossy(until_nul(name)));
    CommandError::owned(format!("NOGROUP No such key '{key}' or consumer group '{group}'{behind}"))
}

/// The stream at `key` and its group `name`.
pub(super) fn open(context: &Context<'_>, key: &[u8], name: &[u8]) -> Result<Option<(Stream, Group)>, CommandError> {
    let Some(stream) = context.keyspace.stream(key)? else { return Ok(None) };
    let group = stream.group(&context.keyspace, name)?;
    Ok(group.map(|group| (stream, group)))
}

/// The stream and the group that a subcommand of XGROUP names.
fn open_named(context: &Context<'_>, args: Args<'_>) -> Result<(Stream, Group), CommandError> {
    let stream = context.keyspace.stream(args[2])?.ok_or(NO_STREAM)?;
    let group = stream.group(&context.keyspace, args[3])?;
    Ok((stream, group.ok_or_else(|| no_group_of(args[3], args[2]))?))
}

/// The options behind the id of XGROUP CREATE and SETID.
#[derive(Default)]
struct GroupOptions {
    makes_stream: bool,
    entries_read: Option<u64>,
}

impl GroupOptions {
    fn read(args: Args<'_>, creates: bool) -> Result<GroupOptions, CommandError> {
        let mut options = GroupOptions::default();
        let mut words = &args[5..];
        while let [word, rest @ ..] = words {
            if creates && word.eq_ignore_ascii_case(b"mkstream") {
                options.makes_stream = true;
                words = rest;
                continue;
            }
            match rest {
                [value, rest @ ..] if word.eq_ignore_ascii_case(b"entriesread") => {
                    options.entries_read = match parse_i64(value)? {
                        -1 => None,
                        count => Some(
                            u64::try_from(count)
                                .map_err(|_| CommandError::text("ERR value for ENTRIESREAD must be positive or -1"))?,
                        ),
                    };
                    words = rest;
                }
                _ => return Err(CommandError::wrong_subcommand_arguments(args)),
            }
        }
        Ok(options)
    }
}

/// `XGROUP CREATE key group id | $ [MKSTREAM] [ENTRIESREAD entries-read]`
pub(super) fn create(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = GroupOptions::read(args, true)?;
    let existing = context.keyspace.stream(args[2])?;
    if existing.is_none() && !options.makes_stream {
        return Err(NO_STREAM);
    }
    // Redis counts its words with those of the longest call.
    if args.len() > 8 {
        return Err(CommandError::wrong_subcommand_arguments(args));
    }
    let last = match args[4] {
        b"$" => existing.as_ref().map_or(StreamId::MIN, Stream::last_id),
        id => parse_id(id, 0)?,
    };
    let mut stream = match existing {
        Some(stream) => stream,
        None => context.keyspace.stream_or_new(args[2])?,
    };
    if stream.group(&context.keyspace, args[3])?.is_some() {
        return Err(CommandError::text("BUSYGROUP Consumer Group name already exists"));
    }
    let group = stream.add_group(args[3], last, options.entries_read).ok_or(CommandError::text(
        "ERR the stream has had too many consumer groups: once all are destroyed there may be new ones",
    ))?;
    group.save(&mut context.keyspace, &stream)?;
    stream.save(&mut context.keyspace);
    context.keyspace.notify(EventClasses::STREAM, "xgroup-create", args[2]);
    reply.ok();
    Ok(())
}

/// `XGROUP SETID key group id | $ [ENTRIESREAD entries-read]`
pub(super) fn set_id(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = GroupOptions::read(args, false)?;
    let (stream, mut group) = open_named(context, args)?;
    if !matches!(args.len(), 5 | 7) {
        return Err(CommandError::wrong_subcommand_arguments(args));
    }
    group.last_delivered = match args[4] {
        b"$" => stream.last_id(),
        [b'(', ..] => parse_id(args[4], 0)?,
        id => parse_interval_id(id, 0)?.0,
    };
    group.entries_read = options.entries_read;
    group.save(&mut context.keyspace, &stream)?;
    context.keyspace.notify(EventClasses::STREAM, "xgroup-setid", args[2]);
    reply.ok();
    Ok(())
}

/// `XGROUP DESTROY key group`
pub(super) fn destroy(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut stream = context.keyspace.stream(args[2])?.ok_or(NO_STREAM)?;
    let group = stream.group(&context.keyspace, args[3])?;
    reply.integer(group.is_some().into());
    if let Some(group) = group {
        stream.remove_group(&mut context.keyspace, group)?;
        stream.save(&mut context.keyspace);
        context.keyspace.notify(EventClasses::STREAM, "xgroup-destroy", args[2]);
    }
    Ok(())
}

/// The consumer `name` of a group, and whether it is new, which is told.
pub(super) fn consumer_or_new<'g>(
    context: &Context<'_>,
    stream: &Stream,
    group: &'g mut Group,
    name: &[u8],
) -> Result<(&'g mut Consumer, bool), CommandError> {
    let (consumer, is_new) = group.consumer_or_new(&context.keyspace, stream, name)?;
    if is_new {
        context.keyspace.notify(EventClasses::STREAM, "xgroup-createconsumer", stream.key());
    }
    Ok((consumer, is_new))
}

/// `XGROUP CREATECONSUMER key group consumer`
pub(super) fn create_consumer(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (stream, mut group) = open_named(context, args)?;
    let (_, is_new) = consumer_or_new(context, &stream, &mut group, args[4])?;
    if is_new {
        group.save(&mut context.keyspace, &stream)?;
    }
    reply.integer(is_new.into());
    Ok(())
}

/// `XGROUP DELCONSUMER key group consumer`
pub(super) fn delete_consumer(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (stream, mut group) = open_named(context, args)?;
    if group.consumer(&context.keyspace, &stream, args[4])?.is_none() {
        reply.integer(0);
        return Ok(());
    }
    let pending = group.remove_consumer(&mut context.keyspace, &stream, args[4])?;
    group.save(&mut context.keyspace, &stream)?;
    context.keyspace.notify(EventClasses::STREAM, "xgroup-delconsumer", args[2]);
    reply.integer(pending as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    // The replies are those of redis-server 7.0.15.

    #[test]
    fn groups_and_consumers_are_made_and_go() {
        Shard::new().expect(Protocol::Resp2, &[
            ("XGROUP CREATE x g $", "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically."),
            ("XGROUP CREATE x g $ MKSTREAM", "+OK"),
            ("XGROUP CREATE x g 0", "-BUSYGROUP Consumer Group name already exists"),
            ("XLEN x", ":0"),
            ("XADD x 1-1 a 1", "$3 1-1"),
            ("XGROUP CREATE x h 1-1 ENTRIESREAD 1", "+OK"),
            ("XGROUP CREATECONSUMER x g c", ":1"),
            ("XGROUP CREATECONSUMER x g c", ":0"),
            ("XGROUP CREATECONSUMER x none c", "-NOGROUP No such consumer group 'none' for key name 'x'"),
            ("XREADGROUP GROUP g c STREAMS x >", "*1 *2 $1 x *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XGROUP SETID x g 0", "+OK"),
            ("XREADGROUP GROUP g d STREAMS x >", "*1 *2 $1 x *1 *2 $3 1-1 *2 $1 a $1 1"),
            ("XPENDING x g", "*4 :1 $3 1-1 $3 1-1 *1 *2 $1 d $1 1"),
            ("XGROUP DELCONSUMER x g c", ":0"),
            ("XGROUP DELCONSUMER x g d", ":1"),
            ("XGROUP DELCONSUMER x g d", ":0"),
            ("XPENDING x g", "*4 :0 $-1 $-1 *-1"),
            ("XGROUP DESTROY x g", ":1"),
            ("XGROUP DESTROY x g", ":0"),
            ("XPENDING x g", "-NOGROUP No such key 'x' or consumer group 'g'"),
            ("XGROUP CREATE x g 0", "+OK"),
            ("XPENDING x g", "*4 :0 $-1 $-1 *-1"),
            ("XINFO GROUPS x", "*2 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read $-1 $3 lag :1 *12 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 1-1 $12 entries-read :1 $3 lag :0"),
        ]);
    }

    #[test]
    fn errors_are_those_of_redis() {
        Shard::new().expect(Protocol::Resp2, &[
            ("RPUSH l a", ":1"),
            ("XGROUP CREATE l g 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("XGROUP DESTROY none g", "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically."),
            ("XGROUP SETID none g 0", "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically."),
            ("XADD x 1 a 1", "$3 1-0"),
            ("XGROUP SETID x g 0", "-NOGROUP No such consumer group 'g' for key name 'x'"),
            ("XGROUP CREATE x g x", "-ERR Invalid stream ID specified as stream command argument"),
            ("XGROUP CREATE x g -", "-ERR Invalid stream ID specified as stream command argument"),
            ("XGROUP CREATE x g 0 FOO", "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP."),
            ("XGROUP CREATE x g 0 ENTRIESREAD", "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP."),
            ("XGROUP CREATE x g 0 ENTRIESREAD -2", "-ERR value for ENTRIESREAD must be positive or -1"),
            ("XGROUP CREATE x g 0 ENTRIESREAD x", "-ERR value is not an integer or out of range"),
            ("XGROUP CREATE x g 0 ENTRIESREAD -1 MKSTREAM", "+OK"),
            ("XGROUP SETID x g + MKSTREAM", "-ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP."),
            ("XGROUP SETID x g +", "+OK"),
            ("XINFO GROUPS x", "*1 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $41 18446744073709551615-18446744073709551615 $12 entries-read $-1 $3 lag $-1"),
            ("XGROUP FOO x g", "-ERR unknown subcommand 'FOO'. Try XGROUP HELP."),
        ]);
    }
}
