//! The command line: one flag per setting, `--config FILE`, and the subcommand `config`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::error::ConfigError;
use super::source::Source;
use super::table::SETTINGS;
use super::written::{Action, Written};

const ABOUT: &str = "Redis-compatible, Raft-replicated, durable key-value server";

const AFTER_HELP: &str = "\
Every setting above is also a key of the TOML file (port = 6379, memory = \"4gb\") and an environment variable \
(BASALT_PORT, BASALT_MEMORY). A flag wins over a variable, a variable over the file, the file over the default.

Sizes: kb, mb, gb, tb are powers of 1024; k, m, g, t of 1000. Durations: us, ms, s, min, h, d.";

/// Action, file and settings of the command line.
#[derive(Debug)]
pub(super) struct CommandLine {
    pub action: Action,
    pub file: Option<PathBuf>,
    pub written: Vec<Written>,
}

/// Reads `arguments`, the program's name first.
pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<CommandLine, ConfigError> {
    let matches = command().try_get_matches_from(arguments)?;
    let action = match matches.subcommand_name() {
        Some("config") => Action::PrintConfig,
        _ => Action::Run,
    };
    let written = SETTINGS
        .iter()
        .filter_map(|setting| {
            let text = value(&matches, setting.name)?;
            Some(Written { setting, text, at: Source::Flag(setting.name) })
        })
        .collect();
    let file = matches.get_one::<PathBuf>("config").cloned();
    Ok(CommandLine { action, file, written })
}

fn value(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

fn command() -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("TOML file to read settings from [unit: path] [default: none]");
    let flags = SETTINGS.iter().map(|setting| {
        Arg::new(setting.name)
            .long(setting.name)
            .value_name((setting.placeholder)())
            .help(format!("{} [unit: {}] [default: {}]", setting.help.trim(), setting.unit(), setting.default))
            .help_heading(setting.group.heading())
            .global(true)
    });
    Command::new("basalt")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .next_line_help(true)
        .arg(file)
        .args(flags)
        .subcommand(
            Command::new("config").about("Prints the effective configuration as TOML, with where each value came from"),
        )
}
