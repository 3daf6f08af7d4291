//! DEBUG, as far as tests and tools of clients use it: <https://redis.io/docs/latest/commands/debug/>.
//!
//! What a newcomer would get wrong: nothing here stops a core. SLEEP, which in Redis stops the server, holds up its client only.

use std::sync::atomic::Ordering;
use std::time::Duration;

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use crate::commands::{Args, CommandError, table};
use crate::config::DebugCommand;
use crate::limits;
use crate::multi_shard::OneRead;

const NOT_ALLOWED: CommandError = CommandError::text(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, \
     otherwise you need to set this option in the configuration file, and then restart the server.",
);

const HELP: [&str; 9] = [
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 has no keys deleted that are due; nobody sees them all the same. Setting it to 1 has them deleted again.",
    "SLEEP <seconds>",
    "    Answer after <seconds>, and hold up nobody else. Decimals allowed.",
    "HELP",
    "    Prints this help.",
];

/// `DEBUG subcommand …`.
pub(super) fn debug(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let is_local = || context.session.peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let is_allowed = match context.server.config.enable_debug_command {
        DebugCommand::No => false,
        DebugCommand::Yes => true,
        DebugCommand::Local => is_local(),
    };
    if !is_allowed {
        return Err(NOT_ALLOWED);
    }
    match (args[1].to_ascii_lowercase().as_slice(), &args[2..]) {
        (b"help", []) => {
            reply.array(HELP.len());
            HELP.iter().for_each(|line| reply.simple(line));
            Ok(Outcome::Done)
        }
        (b"sleep", [seconds]) => {
            // What is no number is 0, as for C's strtod.
            let seconds = str::from_utf8(seconds).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
            let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
            Ok(Outcome::Sleep(time.min(limits::DEBUG_SLEEP_MAX)))
        }
        (b"set-active-expire", [word]) => {
            let is_on = !matches!(*word, b"0");
            context.server.expires_actively.store(is_on, Ordering::Relaxed);
            reply.ok();
            Ok(Outcome::Done)
        }
        (b"object", [key]) => describe(context, key),
        (_, _) => {
            let name = String::from_utf8_lossy(args[1]);
            let text = format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP.");
            Err(CommandError::owned(text))
        }
    }
}

fn describe(context: &SessionContext<'_>, key: &[u8]) -> Ran {
    // Redis looks among its own keys only.
    let read = OneRead::of_key(&context.routing.router, table::STEP_DESCRIBE, context.session.db, key);
    let (parts, coordinator) = read.ok_or(CommandError::text("ERR no such key"))?;
    Ok(Outcome::Parts(parts, Box::new(coordinator)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;
    use crate::config::Config;

    fn with(enable_debug_command: DebugCommand) -> Client {
        Client::of(Config { memory: 1 << 30, enable_debug_command, ..Config::default() })
    }

    #[test]
    fn it_is_for_those_for_whom_it_is_enabled() {
        let text = format!("-{NOT_ALLOWED}|");
        assert_eq!(Client::new().ask("debug sleep 0"), text);
        assert_eq!(with(DebugCommand::No).ask("debug help"), text);
        for mut client in [with(DebugCommand::Yes), with(DebugCommand::Local)] {
            assert!(client.ask("debug help").starts_with("*9|"));
            assert!(matches!(client.run("debug SLEEP 0.25"), Ok(Outcome::Sleep(time)) if time.as_millis() == 250));
            client.session.peer = Some("10.0.0.7:5".parse().unwrap());
            let is_local = client.server.config.enable_debug_command == DebugCommand::Local;
            assert_eq!(client.ask("debug help") == text, is_local);
        }
    }

    #[test]
    fn times_and_switches_are_read_as_redis_reads_them() {
        let mut client = with(DebugCommand::Yes);
        for (word, time) in
            [("x", Duration::ZERO), ("-1", Duration::ZERO), ("nan", Duration::ZERO), ("1e300", Duration::ZERO)]
        {
            assert!(
                matches!(client.run(&format!("debug sleep {word}")), Ok(Outcome::Sleep(slept)) if slept == time),
                "{word}"
            );
        }
        let longest = limits::DEBUG_SLEEP_MAX;
        assert!(matches!(client.run("debug sleep 1000000000"), Ok(Outcome::Sleep(time)) if time == longest));
        assert_eq!(client.ask("debug set-active-expire 0"), "+OK|");
        assert!(!client.server.expires_actively.load(Ordering::Relaxed));
        assert_eq!(client.ask("debug set-active-expire 1"), "+OK|");
        assert!(client.server.expires_actively.load(Ordering::Relaxed));
        for line in ["debug jmap", "debug sleep", "debug object", "debug sleep 1 2", "debug segfault"] {
            assert!(
                client.ask(line).starts_with("-ERR unknown subcommand or wrong number of arguments for '"),
                "{line}"
            );
        }
    }
}
