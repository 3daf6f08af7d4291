//! COMMAND DOCS: what `redis-cli` reads at its start for its hints.

use basalt_net::resp::Reply;

use super::SessionContext;
use super::command::write_words;
use super::outcome::{Outcome, Ran};
use crate::commands::facts::Argument;
use crate::commands::table::{commands, named};
use crate::commands::{Args, Command};

/// `COMMAND DOCS [name …]`; names that are no command are passed over.
pub(super) fn docs(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let (mark, mut count) = (reply.mark(), 0);
    let mut add = |command: &Command| {
        write_docs(command, reply);
        count += 1;
    };
    match args.get(2..) {
        None | Some([]) => commands().for_each(&mut add),
        Some(names) => names.iter().filter_map(|name| named(name)).for_each(&mut add),
    }
    reply.map_before(mark, count);
    Ok(Outcome::Done)
}

/// The name and the map of one command (<https://redis.io/docs/latest/commands/command-docs/>).
fn write_docs(command: &Command, reply: &mut Reply<'_>) {
    let facts = command.facts;
    reply.bulk(facts.name);
    let mark = reply.mark();
    let mut fields = Fields { reply, count: 0 };
    for (name, text) in [
        ("summary", facts.summary),
        ("since", facts.since),
        ("group", facts.group.name()),
        ("complexity", facts.complexity),
    ] {
        if !text.is_empty() {
            fields.named(name).bulk(text);
        }
    }
    if facts.is_internal {
        write_words(&["syscmd"], fields.named("doc_flags"));
    }
    if let Some(deprecation) = facts.deprecation {
        write_words(&["deprecated"], fields.named("doc_flags"));
        fields.named("deprecated_since").bulk(deprecation.since);
        fields.named("replaced_by").bulk(deprecation.replaced_by);
    }
    if !facts.history.is_empty() {
        let reply = fields.named("history");
        reply.set(facts.history.len());
        for (since, change) in facts.history {
            reply.array(2);
            reply.bulk(since);
            reply.bulk(change);
        }
    }
    if !facts.arguments.is_empty() {
        write_arguments(facts.arguments, fields.named("arguments"));
    }
    if !command.subcommands.is_empty() {
        let reply = fields.named("subcommands");
        reply.map(command.subcommands.len());
        for subcommand in command.subcommands {
            write_docs(subcommand, reply);
        }
    }
    fields.end(mark);
}

fn write_arguments(arguments: &[Argument], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        let mark = reply.mark();
        let mut fields = Fields { reply: &mut *reply, count: 0 };
        fields.named("name").bulk(argument.name);
        fields.named("type").bulk(argument.kind);
        if let Some(index) = argument.key_spec {
            fields.named("key_spec_index").integer(index);
        }
        if let Some(token) = argument.token {
            fields.named("token").bulk(token);
        }
        if let Some(since) = argument.since {
            fields.named("since").bulk(since);
        }
        if let Some(since) = argument.deprecated_since {
            fields.named("deprecated_since").bulk(since);
        }
        if !argument.flags.is_empty() {
            write_words(argument.flags, fields.named("flags"));
        }
        if !argument.arguments.is_empty() {
            write_arguments(argument.arguments, fields.named("arguments"));
        }
        fields.end(mark);
    }
}

/// A map that is counted as it is written.
struct Fields<'a, 'r> {
    reply: &'a mut Reply<'r>,
    count: usize,
}

impl<'r> Fields<'_, 'r> {
    /// Begins the field `name`; its value is to be written next.
    fn named(&mut self, name: &str) -> &mut Reply<'r> {
        self.count += 1;
        self.reply.bulk(name);
        self.reply
    }

    fn end(self, mark: usize) {
        self.reply.map_before(mark, self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;

    #[test]
    fn docs_are_written_as_redis_writes_them() {
        let mut client = Client::new();
        let fields = "$7|summary|$54|Set the string value of a key and return its old value|$5|since|$5|1.0.0|$5|group|$6|\
                      string|$10|complexity|$4|O(1)|$9|doc_flags|";
        let resp2 = format!(
            "*2|$6|getset|*16|{fields}*1|+deprecated|$16|deprecated_since|$5|6.2.0|$11|replaced_by|$30|\
             `SET` with the `!GET` argument|$9|arguments|*2|*6|$4|name|$3|key|$4|type|$3|key|$14|key_spec_index|:0|\
             *4|$4|name|$5|value|$4|type|$6|string|"
        );
        assert_eq!(client.ask("command docs getset"), resp2);
        client.ask("hello 3");
        let resp3 = resp2
            .replacen("*2|", "%1|", 1)
            .replacen("*16|", "%8|", 1)
            .replacen("*1|", "~1|", 1)
            .replacen("*6|", "%3|", 1)
            .replacen("*4|$4|name|$5|value", "%2|$4|name|$5|value", 1);
        assert_eq!(client.ask("command docs getset nosuch"), resp3);
    }

    #[test]
    fn without_names_all_are_told_with_their_subcommands() {
        let mut client = Client::new();
        let docs = client.ask("command docs");
        assert!(docs.starts_with(&format!("*{}|", 2 * commands().count())));
        assert!(docs.contains("|$11|subcommands|"));
        assert_eq!(client.ask("command docs nosuch"), "*0|");
    }
}
