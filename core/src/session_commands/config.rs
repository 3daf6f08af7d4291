//! CONFIG GET, SET, RESETSTAT and REWRITE (<https://redis.io/docs/latest/commands/?name=config>).

use basalt_net::resp::Reply;

use super::parameters::{Parameter, parameters, unchangeable};
use crate::boot::raise_open_files;
use crate::commands::{Args, CommandError, glob_matches_any_case};
use crate::config::{Config, ConfigError};
use crate::server::Server;

/// `CONFIG REWRITE`: a file that a person or a deployment wrote is theirs, and flags and variables would win over it.
pub(super) const REWRITE_REFUSED: CommandError = CommandError::text(
    "ERR Basalt does not rewrite its configuration file: put what CONFIG SET changed into the file, the flags or the \
     BASALT_* variables it is started with",
);

/// `CONFIG GET pattern [pattern …]`.
pub(super) fn get(args: Args<'_>, server: &Server, reply: &mut Reply<'_>) {
    let patterns = &args[2..];
    let config = server.settings.config();
    let (mark, mut count) = (reply.mark(), 0);
    for parameter in parameters() {
        let name = parameter.name.as_bytes();
        if let Some(pattern) = patterns.iter().find(|pattern| glob_matches_any_case(pattern, name)) {
            // As in Redis: who asks for a name gets it back as it was spelt.
            reply.bulk(if pattern.eq_ignore_ascii_case(name) { pattern } else { name });
            reply.bulk(parameter.value(&config).as_bytes());
            count += 1;
        }
    }
    reply.map_before(mark, count);
}

/// `CONFIG SET name value [name value …]`: all of them, or none.
///
/// A parameter of Redis that cannot be changed may be set to the value it has: tools do so to be sure of it.
pub(super) fn set(args: Args<'_>, server: &Server, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let pairs = read_pairs(&args[2..])?;
    let mut config = server.settings.config();
    let mut changes = Vec::new();
    for (name, value) in &pairs {
        match unchangeable(name) {
            Some(parameter) => check_unchanged(&parameter, value, &config)?,
            None => {
                config.change(name, value).map_err(|error| refusal(name, &error))?;
                changes.push((name.as_str(), value.as_str()));
            }
        }
    }
    if config.maxclients > server.settings.config().maxclients {
        raise_open_files(&config, server.cores.len(), server.router.shard_count())
            .map_err(|error| failed("maxclients", &error.to_string()))?;
    }
    server.settings.change(changes).map_err(|error| refusal(&pairs[0].0, &error))?;
    reply.ok();
    Ok(())
}

fn read_pairs(args: Args<'_>) -> Result<Vec<(String, String)>, CommandError> {
    let text = |arg: &[u8]| String::from_utf8_lossy(arg).into_owned();
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in args.chunks(2) {
        let [name, value] = pair else { return Err(CommandError::SYNTAX) };
        let (name, value) = (text(name), text(value));
        if pairs.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            return Err(failed(&name, "duplicate parameter"));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn check_unchanged(parameter: &Parameter, value: &str, config: &Config) -> Result<(), CommandError> {
    let current = parameter.value(config);
    if current.eq_ignore_ascii_case(value) {
        return Ok(());
    }
    Err(failed(parameter.name, &format!("can't set immutable config: it is '{current}' in Basalt")))
}

fn refusal(name: &str, error: &ConfigError) -> CommandError {
    match error {
        ConfigError::Unknown { nearest, .. } => {
            let hint = nearest.as_ref().map_or_else(String::new, |nearest| format!("; did you mean '{nearest}'?"));
            CommandError::owned(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'{hint}"))
        }
        ConfigError::Fixed(_) => failed(name, &format!("can't set immutable config: {error}")),
        ConfigError::Invalid { invalid, .. } => failed(name, &invalid.to_string()),
        other => failed(name, &other.to_string()),
    }
}

fn failed(name: &str, why: &str) -> CommandError {
    CommandError::owned(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"))
}

/// `CONFIG RESETSTAT`: counters begin anew; what is a state and not a count stays.
pub(super) fn reset_stat(server: &Server, reply: &mut Reply<'_>) {
    for core in &server.cores {
        core.reset();
    }
    for shard in &server.shards {
        shard.reset();
    }
    reply.ok();
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
        let limit = "normal 268435456 67108864 60";
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
        assert!(all.starts_with(&format!("%{}|", parameters().count())));
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
                "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - can't set immutable config: it is '0'",
            ),
            ("config rewrite", "ERR Basalt does not rewrite its configuration file"),
        ] {
            let answer = client.ask(line);
            assert!(answer.starts_with(&format!("-{error}")), "{line}: {answer}");
        }
        assert_eq!(client.server.settings.version(), 0, "nothing was changed");
    }

    #[test]
    fn what_is_so_already_may_be_set() {
        let mut client = Client::new();
        assert_eq!(client.ask_args(&[b"config", b"set", b"save", b"", b"appendonly", b"YES"]), "+OK|");
    }

    #[test]
    fn more_clients_than_the_system_has_files_are_refused() {
        let mut client = Client::new();
        let answer = client.ask("config set maxclients 1000000");
        // A machine whose hard limit is that high takes it.
        if answer != "+OK|" {
            assert!(answer.contains("'maxclients') - ") && answer.contains("open files"), "{answer}");
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
