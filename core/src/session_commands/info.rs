//! INFO: sections of true figures (<https://redis.io/docs/latest/commands/info/>).
//!
//! All of Redis' sections are there, and some of Basalt's own: `cores`, `peers`, `shards`, `raft` and `storage`. A field of Redis
//! that would be a lie here is left out. Figures are read from counters that each core publishes; no core is asked, so INFO never
//! waits for one. What a client may have caused itself (commands, clients, keys, hits) is published before it hears of it, the
//! rest at every tick. The times of `commandstats` come from a sample: of each command on each core the first 64 runs are
//! timed, then one in 64 or so. Redis' fields come first in a section, Basalt's own after them.

use std::fmt::{Display, Write};

use basalt_net::resp::Reply;

use super::SessionContext;
use super::info_sections as sections;
use super::outcome::{Outcome, Ran};
use crate::clients::Session;
use crate::commands::Args;
use crate::config::Config;
use crate::node::Server;

/// Everything that the sections are written from.
pub(super) struct Scene<'a> {
    pub(super) server: &'a Server,
    pub(super) session: &'a Session,
    /// The settings as they are now.
    pub(super) config: Config,
}

/// One section.
struct Section {
    /// Its heading; its name is this in lower case.
    title: &'static str,
    /// True if a bare INFO has it.
    is_default: bool,
    write: fn(&Scene<'_>, &mut Fields),
}

/// Every section, in the order in which they are written.
static SECTIONS: &[Section] = &[
    Section { title: "Server", is_default: true, write: sections::server },
    Section { title: "Clients", is_default: true, write: sections::clients },
    Section { title: "Memory", is_default: true, write: sections::memory },
    Section { title: "Persistence", is_default: true, write: sections::persistence },
    Section { title: "Stats", is_default: true, write: sections::stats },
    Section { title: "Replication", is_default: true, write: sections::replication },
    Section { title: "CPU", is_default: true, write: sections::cpu },
    Section { title: "Modules", is_default: true, write: |_, _| {} },
    Section { title: "Commandstats", is_default: false, write: sections::command_stats },
    Section { title: "Errorstats", is_default: true, write: sections::error_stats },
    // No latency is kept per command: as a Redis with `latency-tracking no`.
    Section { title: "Latencystats", is_default: false, write: |_, _| {} },
    Section { title: "Cluster", is_default: true, write: sections::cluster },
    Section { title: "Keyspace", is_default: true, write: sections::keyspace },
    Section { title: "Cores", is_default: false, write: sections::cores },
    Section { title: "Peers", is_default: false, write: sections::peers },
    Section { title: "Shards", is_default: false, write: sections::shards },
    Section { title: "Raft", is_default: false, write: sections::raft },
    Section { title: "Storage", is_default: false, write: sections::storage },
];

/// `INFO [section …]`; unknown sections are passed over, as in Redis.
pub(super) fn info(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let scene = Scene { server: context.server, session: context.session, config: context.server.settings.config() };
    let mut text = String::new();
    for section in SECTIONS.iter().filter(|section| section.is_asked(&args[1..])) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        text.push_str("# ");
        text.push_str(section.title);
        text.push_str("\r\n");
        let mut fields = Fields { text };
        (section.write)(&scene, &mut fields);
        text = fields.text;
    }
    reply.verbatim(b"txt", text);
    Ok(Outcome::Done)
}

impl Section {
    fn is_asked(&self, names: Args<'_>) -> bool {
        let is = |name: &[u8], word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        let names_it = |name: &&[u8]| {
            is(name, self.title)
                || is(name, "all")
                || is(name, "everything")
                || (self.is_default && is(name, "default"))
        };
        if names.is_empty() { self.is_default } else { names.iter().any(names_it) }
    }
}

/// The lines of a section.
pub(super) struct Fields {
    text: String,
}

impl Fields {
    /// Adds a field.
    pub(super) fn add(&mut self, name: impl Display, value: impl Display) {
        // Writing to a String does not fail.
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    /// Adds a field if its value is known.
    pub(super) fn add_known(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// Adds a size in bytes, and once more with a unit.
    pub(super) fn add_bytes(&mut self, name: &str, bytes: u64) {
        self.add(name, bytes);
        self.add(format_args!("{name}_human"), Human(bytes));
    }
}

/// A size with a unit, as Redis prints it for people.
struct Human(u64);

impl Display for Human {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        match UNITS.iter().find(|(shift, _)| self.0 >> shift > 0) {
            Some((shift, unit)) => write!(out, "{:.2}{unit}", self.0 as f64 / (1u64 << shift) as f64),
            None => write!(out, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;

    #[test]
    fn sections_are_chosen_by_name_each_once_in_their_order() {
        let mut client = Client::new();
        let titles = |client: &mut Client, line: &str| -> Vec<String> {
            let info = client.ask(line);
            info.split('|').filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
        };
        let defaults = [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Modules",
            "Errorstats",
            "Cluster",
            "Keyspace",
        ];
        assert_eq!(titles(&mut client, "info"), defaults);
        assert_eq!(titles(&mut client, "info default"), defaults);
        assert_eq!(titles(&mut client, "info everything").len(), SECTIONS.len());
        assert_eq!(titles(&mut client, "INFO ALL").len(), SECTIONS.len());
        assert_eq!(titles(&mut client, "info clients SERVER clients nosuch"), ["Server", "Clients"]);
        assert_eq!(titles(&mut client, "info default cores").last().unwrap(), "Cores");
        assert_eq!(client.ask("info nosuch"), "$0||");
        assert_eq!(client.ask("info modules cluster"), "$43|# Modules||# Cluster|cluster_enabled:0||");
    }

    #[test]
    fn the_text_is_verbatim_in_resp3() {
        let mut client = Client::new();
        client.ask("hello 3");
        assert_eq!(client.ask("info modules"), "=15|txt:# Modules||");
    }

    #[test]
    fn sizes_are_shown_as_redis_shows_them() {
        let cases = [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (916_352, "894.88K"), (25_276_510_208, "23.54G")];
        for (bytes, shown) in cases {
            assert_eq!(Human(bytes).to_string(), shown);
        }
    }

    #[test]
    fn every_line_is_a_field_whose_name_is_there_once() {
        let mut client = Client::new();
        client.server.cores[0].error_replies.count(b"-ERR x");
        client.server.shards[0].keys[0].set(1);
        let info = client.ask("info everything");
        let mut names: Vec<&str> = Vec::new();
        for line in info.split('|').skip(1).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, _) = line.split_once(':').unwrap_or_else(|| panic!("'{line}' is no field"));
            assert!(!names.contains(&name), "{name} is there twice");
            names.push(name);
        }
        assert!(names.len() > 90, "{}", names.len());
    }
}
