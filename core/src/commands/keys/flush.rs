//! DBSIZE, FLUSHDB and FLUSHALL.

use basalt_net::resp::Reply;

use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// `DBSIZE` on one shard
pub(super) fn dbsize(context: &mut Context<'_>, _args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = usize::from(context.keyspace.db());
    reply.integer(context.keyspace.counters().keys[db] as i64);
    Ok(())
}

/// Checks the option of FLUSHDB and FLUSHALL: both ways are the same here, a flush drops ranges and never walks them.
fn check_flush_mode(args: Args<'_>) -> Outcome {
    match args {
        [_] => Ok(()),
        [_, mode] if mode.eq_ignore_ascii_case(b"async") || mode.eq_ignore_ascii_case(b"sync") => Ok(()),
        _ => Err(CommandError::SYNTAX),
    }
}

/// `FLUSHDB [ASYNC | SYNC]` on one shard
pub(super) fn flushdb(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_flush_mode(args)?;
    context.keyspace.flush()?;
    reply.ok();
    Ok(())
}

/// `FLUSHALL [ASYNC | SYNC]` on one shard
pub(super) fn flushall(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    check_flush_mode(args)?;
    context.keyspace.flush_all();
    reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    #[test]
    fn flushes_empty_one_database_or_all() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("SET a 1 EX 10", "+OK"),
                ("COPY a a DB 1", ":1"),
                ("FLUSHDB FOO", "-ERR syntax error"),
                ("FLUSHDB ASYNC", "+OK"),
                ("DBSIZE", ":0"),
                ("SET a 2 EX 10", "+OK"),
                ("COPY a b DB 1", ":1"),
                ("FLUSHALL SYNC", "+OK"),
                ("DBSIZE", ":0"),
                ("SET b 3", "+OK"),
                ("COPY b b DB 1", ":1"),
            ],
        );
    }
}
