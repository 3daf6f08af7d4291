//! The command line of `bench-footprint`.

use clap::Parser;

use super::contents::Contents;
use crate::compare::server_options::ServerOptions;
use crate::compare::table::Style;

/// Keys of each type by default.
const KEYS: u64 = 10_000_000;
/// Keys with `--quick`.
const KEYS_QUICK: u64 = 20_000;

/// Fills Basalt and redis-server with small keys of each type and shows what a key takes in memory and on disk.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-footprint", version)]
pub struct Options {
    /// Keys of each type [default: 10000000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    keys: Option<u64>,

    /// Only these types (repeatable)
    #[arg(long, value_enum, value_name = "TYPE")]
    only: Vec<Contents>,

    /// 20000 keys of each: shows that everything runs, measures nothing
    #[arg(long)]
    quick: bool,

    /// Prints the report as Markdown
    #[arg(long)]
    markdown: bool,

    /// The servers.
    #[command(flatten)]
    pub servers: ServerOptions,
}

impl Options {
    /// Returns how many keys of each type there are.
    pub fn keys(&self) -> u64 {
        self.keys.unwrap_or(if self.quick { KEYS_QUICK } else { KEYS })
    }

    /// Returns whether keys of this type are wanted.
    pub fn takes(&self, contents: Contents) -> bool {
        self.only.is_empty() || self.only.contains(&contents)
    }

    /// Returns how the report is written.
    pub fn style(&self) -> Style {
        if self.markdown { Style::Markdown } else { Style::Plain }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_types_are_chosen_by_name() {
        Options::command().debug_assert();
        let parse = |args: &[&str]| Options::try_parse_from(std::iter::once(&"bench-footprint").chain(args)).unwrap();
        assert_eq!((parse(&[]).keys(), parse(&["--quick"]).keys()), (10_000_000, 20_000));
        assert_eq!(parse(&["--quick", "--keys", "7"]).keys(), 7);
        let some = parse(&["--only", "hashes", "--only", "integer-sets"]);
        let taken: Vec<Contents> = Contents::ALL.into_iter().filter(|contents| some.takes(*contents)).collect();
        assert_eq!(taken, [Contents::Hashes, Contents::IntegerSets]);
        assert!(Contents::ALL.into_iter().all(|contents| parse(&[]).takes(contents)));
    }
}
