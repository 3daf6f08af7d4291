//! CONFIG GET, SET, RESETSTAT and REWRITE (<https://redis.io/docs/latest/commands/?name=config>).

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use crate::commands::{Args, CommandError, Merge, glob_matches_any_case};
use crate::config::{Config, ParameterError, parameters};
use crate::mail::Control;
use crate::node::Server;

const NO_FILE: CommandError = CommandError::text("ERR The server is running without a config file");

/// `CONFIG GET pattern [pattern …]`.
pub(super) fn get(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let patterns = &args[2..];
    let config = context.server.settings.config();
    let (mark, mut count) = (reply.mark(), 0);
    for (name, value) in parameters(&config) {
        let name = name.as_bytes();
        if let Some(pattern) = patterns.iter().find(|pattern| glob_matches_any_case(pattern, name)) {
            // As in Redis: who asks for a name gets it back as it was spelt.
            reply.bulk(if pattern.eq_ignore_ascii_case(name) { pattern } else { name });
            reply.bulk(value.as_bytes());
            count += 1;
        }
    }
    reply.map_before(mark, count);
    Ok(Outcome::Done)
}

/// `CONFIG SET name value [name value …]`: all of them, or none.
pub(super) fn set(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let server = context.server;
    let words: Vec<_> = args[2..].iter().map(|arg| String::from_utf8_lossy(arg)).collect();
    if words.len() % 2 == 1 {
        return Err(CommandError::SYNTAX);
    }
    let pairs: Vec<(&str, &str)> = words.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1])).collect();
    let refused = |error: ParameterError| CommandError::owned(format!("ERR {error}"));
    let before = server.settings.config();
    let mut after = before.clone();
    after.set_parameters(&pairs).map_err(refused)?;
    if after.maxclients > before.maxclients {
        make_room_for_clients(&after, server)?;
    }
    server.settings.set_parameters(&pairs).map_err(refused)?;
    if pairs.iter().any(|(name, _)| name.eq_ignore_ascii_case("requirepass")) {
        server.users.change(context.session.id, |table| {
            table.set_default_password(after.requirepass.text());
            Ok::<_, CommandError>(())
        })?;
        return Ok(Outcome::Control(Control::TakeUsers(None), Merge::Ok));
    }
    reply.ok();
    Ok(Outcome::Done)
}

/// Each client is an open file: the limit on them is raised before `maxclients` is.
fn make_room_for_clients(config: &Config, server: &Server) -> Result<(), CommandError> {
    server.open_files.raise_for_clients(config.maxclients).map_err(|clients| {
        CommandError::owned(format!(
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating system is not able to handle the \
             specified number of clients, try with {clients}"
        ))
    })
}

/// `CONFIG RESETSTAT`: counters begin anew; what is a state and not a count stays.
pub(super) fn reset_stat(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    for core in &context.server.cores {
        core.reset();
    }
    for shard in context.server.shards.iter() {
        shard.reset();
    }
    reply.ok();
    Ok(Outcome::Done)
}

/// `CONFIG REWRITE`: puts what CONFIG SET has changed into the file. Flags and variables win over it at the next start.
pub(super) fn rewrite(context: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    if context.server.settings.has_file() { Ok(Outcome::RewriteConfig) } else { Err(NO_FILE) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;

    #[test]
    fn get_answers_what_tools_ask_for_at_their_start() {
        let mut client = Client::new();
        assert_eq!(client.ask("config get save"), "*2|$4|save|$0||");
        assert_eq!(client.ask("config get appendonly"), "*2|$10|appendonly|$3|yes|");
        assert_eq!(client.ask("config get DATABASES nosuch"), "*2|$9|DATABASES|$2|16|");
        assert_eq!(client.ask("config get timeout"), "*2|$7|timeout|$1|0|");
        assert_eq!(client.ask("config get proto-max-bulk-len"), "*2|$18|proto-max-bulk-len|$8|67108864|");
        assert_eq!(client.ask("config get maxmemory-policy"), "*2|$16|maxmemory-policy|$10|noeviction|");
        assert_eq!(client.ask("config get durability"), "*2|$10|durability|$6|always|");
        let limit = "normal 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(
            client.ask("config get client-output-buffer-limit"),
            format!("*2|$26|client-output-buffer-limit|${}|{limit}|", limit.len())
        );
        assert_eq!(client.ask("config get nosuch"), "*0|");
    }

    #[test]
    fn get_takes_patterns_and_tells_each_name_once() {
        let mut client = Client::new();
        client.ask("hello 3");
        let found = client.ask("config get MAXCL* maxclients port");
        assert_eq!(found, "%2|$4|port|$4|6379|$10|maxclients|$5|10000|");
        let all = client.ask("config get *");
        assert!(all.starts_with(&format!("%{}|", parameters(&client.server.config).count())));
    }

    #[test]
    fn set_changes_all_or_nothing() {
        let mut client = Client::new();
        assert_eq!(client.ask("config set timeout 30 MaxClients 9"), "+OK|");
        assert_eq!(client.ask("config get timeout maxclients"), "*4|$10|maxclients|$1|9|$7|timeout|$2|30|");
        assert!(
            client.ask("config set timeout 40 port 1").starts_with(
                "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config"
            )
        );
        assert_eq!(client.ask("config get timeout"), "*2|$7|timeout|$2|30|");
    }

    #[test]
    fn set_refuses_by_name() {
        let mut client = Client::new();
        for (line, error) in [
            ("config set foo bar", "ERR Unknown option or number of arguments for CONFIG SET - 'foo'"),
            ("config set timeout", "ERR wrong number of arguments for 'config|set' command"),
            ("config set timeout 1 foo", "ERR syntax error"),
            (
                "config set timeout 1 TIMEOUT 2",
                "ERR CONFIG SET failed (possibly related to argument 'TIMEOUT') - duplicate parameter",
            ),
            (
                "config set maxclients x",
                "ERR CONFIG SET failed (possibly related to argument 'maxclients') - it takes a whole number of clients",
            ),
            (
                "config set maxmemory 100mb",
                "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - can't set immutable config, it is always '0'",
            ),
            ("config rewrite", "ERR The server is running without a config file"),
        ] {
            let answer = client.ask(line);
            assert!(answer.starts_with(&format!("-{error}")), "{line}: {answer}");
        }
        assert_eq!(client.server.settings.version(), 0, "nothing was changed");
    }

    #[test]
    fn what_is_so_already_may_be_set() {
        let mut client = Client::new();
        assert_eq!(client.ask_args(&[b"config", b"set", b"save", b"", b"appendonly", b"yes"]), "+OK|");
    }

    #[test]
    fn more_clients_than_the_system_has_files_are_refused() {
        let mut client = Client::new();
        let answer = client.ask("config set maxclients 1000000");
        // A machine whose hard limit is that high takes it.
        if answer != "+OK|" {
            assert!(answer.contains("'maxclients') - The operating system is not able to handle the spec"), "{answer}");
            assert_eq!(client.ask("config get maxclients"), "*2|$10|maxclients|$5|10000|");
        }
    }

    #[test]
    fn resetstat_begins_counters_anew() {
        let mut client = Client::new();
        client.server.cores[1].commands.add(5);
        client.server.cores[1].clients.set(3);
        client.server.cores[0].by_command[701].calls.add(2);
        client.server.cores[0].error_replies.count(b"-WRONGTYPE x");
        client.server.shards[0].hits.add(4);
        client.server.shards[0].keys[0].set(6);
        assert_eq!(client.ask("config resetstat"), "+OK|");
        let server = &client.server;
        assert_eq!((server.cores[1].commands.get(), server.cores[0].by_command[701].calls.get()), (0, 0));
        assert_eq!((server.shards[0].hits.get(), server.cores[0].error_replies.total()), (0, 0));
        assert_eq!((server.cores[1].clients.get(), server.shards[0].keys[0].get()), (3, 6), "states stay");
        server.cores[1].commands.add(1);
        assert_eq!(server.cores[1].commands.get(), 1);
    }
}
