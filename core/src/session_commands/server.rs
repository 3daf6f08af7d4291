//! TIME, LASTSAVE and SHUTDOWN (<https://redis.io/docs/latest/commands/?group=server>), and what Redis does not have.

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use crate::commands::facts::REDIS_VERSION;
use crate::commands::{Args, CommandError, parse_i64};
use crate::ids::ShardId;
use crate::node::{Reopening, Server};

/// `TIME`.
pub(super) fn time(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let now = context.server.clock.unix();
    reply.array(2);
    reply.bulk_display(now.as_secs());
    reply.bulk_display(now.subsec_micros());
    Ok(Outcome::Done)
}

/// `LASTSAVE`: when a shard last wrote its rows to disk, or when the node started. What is acknowledged is in the log
/// before that, see `durability`.
pub(super) fn last_save(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.integer(last_save_unix_s(context.server) as i64);
    Ok(Outcome::Done)
}

/// See [`last_save`].
pub(super) fn last_save_unix_s(server: &Server) -> u64 {
    server.shards.iter().map(|shard| shard.last_save_unix_s.get()).fold(server.started_unix_s, u64::max)
}

/// `MODULE LIST`: there are none, and no way to load one.
pub(super) fn modules(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.array(0);
    Ok(Outcome::Done)
}

/// `LOLWUT [VERSION version] …`: the version, as of a Redis whose picture nobody has drawn yet.
pub(super) fn lolwut(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    if args.len() >= 3 && args[1].eq_ignore_ascii_case(b"version") {
        parse_i64(args[2])?;
    }
    reply.verbatim(b"txt", format!("Redis ver. {REDIS_VERSION}\n"));
    Ok(Outcome::Done)
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]`.
///
/// The options are checked and make no difference: what was acknowledged is kept as `durability` says, and what is in
/// memory is written out, so that the next start replays nothing.
pub(super) fn shutdown(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let (mut save, mut no_save, mut abort) = (false, false, false);
    for arg in &args[1..] {
        match arg.to_ascii_lowercase().as_slice() {
            b"nosave" => no_save = true,
            b"save" => save = true,
            b"now" | b"force" => {}
            b"abort" => abort = true,
            _ => return Err(CommandError::SYNTAX),
        }
    }
    match (abort, save && no_save) {
        (true, _) if args.len() > 2 => Err(CommandError::SYNTAX),
        (_, true) => Err(CommandError::SYNTAX),
        (true, _) => Err(CommandError::text("ERR No shutdown in progress.")),
        _ => Ok(Outcome::Stop),
    }
}

/// `BASALT REOPEN <shard> [SKIP <index>]`: opens a shard again that has failed. It is answered when that is ordered; the shard's
/// state in INFO tells when it is done, or why it could not be.
pub(super) fn reopen(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let number = |arg: &[u8]| str::from_utf8(arg).ok()?.parse::<u64>().ok();
    let shard = number(args[2]).and_then(|shard| u16::try_from(shard).ok()).ok_or(CommandError::NOT_AN_INTEGER)?;
    let skip = match &args[3..] {
        [] => None,
        [word, index] if word.eq_ignore_ascii_case(b"skip") => Some(number(index).ok_or(CommandError::NOT_AN_INTEGER)?),
        _ => return Err(CommandError::SYNTAX),
    };
    context.server.order_reopening(Reopening { shard: ShardId(shard), skip })?;
    reply.simple("OK");
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;

    #[test]
    fn shutdown_reads_its_options() {
        let mut client = Client::new();
        for line in ["shutdown", "shutdown NOSAVE", "shutdown save now force"] {
            assert!(matches!(client.run(line), Ok(Outcome::Stop)), "{line}");
        }
        for line in ["shutdown save nosave", "shutdown abort now", "shutdown x"] {
            assert_eq!(client.ask(line), "-ERR syntax error|", "{line}");
        }
        assert_eq!(client.ask("shutdown abort"), "-ERR No shutdown in progress.|");
    }

    #[test]
    fn the_last_save_is_the_newest_of_a_shard_or_the_start() {
        let mut client = Client::new();
        assert_eq!(client.ask("lastsave"), ":1000|");
        client.server.shards[1].last_save_unix_s.set(2000);
        assert_eq!(client.ask("lastsave"), ":2000|");
    }

    #[test]
    fn only_a_shard_that_has_failed_is_opened_again_and_once() {
        let mut client = Client::new();
        for (line, said) in [
            ("basalt reopen 1", "-ERR shard 1 has not failed, its state is 'leader'|"),
            ("basalt reopen 2", "-ERR there is no shard 2|"),
            ("basalt reopen 65535", "-ERR there is no shard 65535|"),
            ("basalt reopen 65536", "-ERR value is not an integer or out of range|"),
            ("basalt reopen 1 SKIP", "-ERR syntax error|"),
            ("basalt reopen 1 SKIP -1", "-ERR value is not an integer or out of range|"),
            ("basalt reopen 1 KEEP 7", "-ERR syntax error|"),
        ] {
            assert_eq!(client.ask(line), said, "{line}");
        }
        client.server.note_failed(ShardId(1), "entry 7 cannot be executed");
        let info = client.ask("info shards");
        assert!(info.contains("state=failed") && info.contains("shard_1_fault:entry 7 cannot be executed|"), "{info}");
        assert_eq!(client.ask("basalt reopen 1 skip 7"), "+OK|");
        assert_eq!(client.ask("basalt reopen 1"), "-ERR shard 1 has not failed, its state is 'opening'|");
        assert!(!client.ask("info shards").contains("fault"));
    }

    #[test]
    fn time_is_seconds_and_microseconds() {
        let time = Client::new().ask("time");
        let fields: Vec<&str> = time.split('|').collect();
        assert_eq!((fields[0], fields[1]), ("*2", "$10"), "{time}");
        assert!(fields[4].parse::<u32>().unwrap() < 1_000_000);
    }
}
