//! SLOWLOG (<https://redis.io/docs/latest/commands/?name=slowlog>).

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use crate::commands::{Args, CommandError};

/// Entries that are told if nobody says how many.
const TOLD: usize = 10;

/// `SLOWLOG GET [count]`: the newest, of all cores; all of them for -1.
pub(super) fn get(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let count = match args.get(2) {
        None => TOLD,
        Some(_) if args.len() > 3 => {
            let name = String::from_utf8_lossy(args[1]);
            let text = format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try SLOWLOG HELP.");
            return Err(CommandError::owned(text));
        }
        Some(word) => match str::from_utf8(word).ok().and_then(|word| word.parse::<i64>().ok()) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => count as usize,
            _ => return Err(CommandError::text("ERR count should be greater than or equal to -1")),
        },
    };
    let entries = context.server.slow_log.newest(count);
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.at_s as i64);
        reply.integer(entry.took_us as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(&entry.client.address);
        reply.bulk(&entry.client.name);
    }
    Ok(Outcome::Done)
}

/// `SLOWLOG LEN`.
pub(super) fn len(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.integer(context.server.slow_log.count() as i64);
    Ok(Outcome::Done)
}

/// `SLOWLOG RESET`.
pub(super) fn reset(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    context.server.slow_log.clear();
    reply.ok();
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use crate::commands::table;
    use crate::ids::{CoreId, Origin, Ticket};
    use crate::node::SlowClient;

    #[test]
    fn entries_are_told_the_newest_first_and_as_many_as_are_asked_for() {
        let mut client = Client::new();
        assert_eq!((client.ask("slowlog len"), client.ask("slowlog get")), (":0|".into(), "*0|".into()));
        let log = &client.server.slow_log;
        log.set_most(128);
        for core in [0, 1] {
            let args: [&[u8]; 2] = [b"keys", b"*"];
            let origin = Origin { core: CoreId(core), client: 1, ticket: Ticket(0) };
            log.arrive(origin, (1_700_000_000, 20_000), table::find(&args).unwrap(), &args);
            let of = |_| SlowClient { address: "10.0.0.1:5".into(), name: b"me".as_slice().into() };
            log.take_in(CoreId(core), of);
        }
        assert_eq!(client.ask("slowlog len"), ":2|");
        let entry = |id| format!("*6|:{id}|:1700000000|:20000|*2|$4|keys|$1|*|$10|10.0.0.1:5|$2|me|");
        assert_eq!(client.ask("slowlog get"), format!("*2|{}{}", entry(1), entry(0)));
        assert_eq!(client.ask("slowlog get 1"), format!("*1|{}", entry(1)));
        assert_eq!(client.ask("slowlog get -1"), client.ask("slowlog get"));
        assert_eq!(client.ask("slowlog reset"), "+OK|");
        assert_eq!(client.ask("slowlog get -1"), "*0|");
    }
}
