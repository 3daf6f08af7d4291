//! DEL, UNLINK, EXISTS, TOUCH and TYPE.
//!
//! What a newcomer would get wrong: TOUCH is EXISTS that counts as an access to the keys, which is all that it is for.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::EventClasses;

use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// `DEL key [key …]` and `UNLINK key [key …]`
pub(super) fn del(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut count = 0;
    for key in &args[1..] {
        if context.keyspace.delete(key)? {
            context.keyspace.notify(EventClasses::GENERIC, "del", key);
            count += 1;
        }
    }
    reply.integer(count);
    Ok(())
}

/// `EXISTS key [key …]`
pub(super) fn exists(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    context.keyspace.note_accesses(false);
    touch(context, args, reply)
}

/// `TOUCH key [key …]`
pub(super) fn touch(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut count = 0;
    for key in &args[1..] {
        count += i64::from(context.keyspace.exists(key)?);
    }
    reply.integer(count);
    Ok(())
}

/// `TYPE key`
pub(super) fn r#type(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    context.keyspace.note_accesses(false);
    let record = context.keyspace.record(args[1])?;
    reply.simple(record.map_or("none", |record| record.kind().name()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    #[test]
    fn keys_are_counted_deleted_and_typed() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("MSET a 1 b 2", "+OK"),
                ("RPUSH l x", ":1"),
                ("EXISTS a a none", ":2"),
                ("TOUCH a l none", ":2"),
                ("TYPE a", "+string"),
                ("TYPE l", "+list"),
                ("TYPE none", "+none"),
                ("DBSIZE", ":3"),
                ("DEL a l none a", ":2"),
                ("UNLINK b", ":1"),
                ("DBSIZE", ":0"),
            ],
        );
    }
}
