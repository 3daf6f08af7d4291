//! The report: what a key takes, and the ratio of the two servers.

use super::contents::Contents;
use super::{Footprint, Options};
use crate::compare::machine::Machine;
use crate::compare::server_kind::ServerKind;
use crate::compare::table::{Style, Table};

/// Writes the report of what was found, type by type.
pub fn render(options: &Options, machine: &Machine, found: &[(Contents, ServerKind, Footprint)]) -> String {
    let mut facts = Table::new(2, ["fact", "value"]);
    for (name, value) in machine.facts() {
        facts.push(vec![(*name).to_owned(), value.clone()]);
    }
    facts.push(vec!["keys of each type".into(), options.keys().to_string()]);
    facts.push(vec!["arguments of Basalt".into(), options.servers.basalt_args_shown()]);
    let sections = [
        ("Machine", facts),
        ("A key", keys(options.keys(), found)),
        ("Ratios: Basalt divided by Redis", ratios(found)),
    ];
    let style = options.style();
    let sections = sections.map(|(title, table)| match style {
        Style::Plain => format!("{title}\n{}\n{}", "=".repeat(title.chars().count()), table.render(style)),
        Style::Markdown => format!("### {title}\n\n{}", table.render(style)),
    });
    sections.join("\n")
}

fn keys(count: u64, found: &[(Contents, ServerKind, Footprint)]) -> Table {
    let mut table = Table::new(2, ["keys", "server", "resident bytes", "bytes on disk", "keys/s", "CPU µs"]);
    for (contents, kind, footprint) in found {
        let a_key = |sum: f64| sum / count as f64;
        table.push(vec![
            contents.name().into(),
            kind.to_string(),
            format!("{:.0}", a_key(footprint.resident_bytes as f64)),
            format!("{:.0}", a_key(footprint.disk_bytes as f64)),
            format!("{:.0}", count as f64 / footprint.elapsed.as_secs_f64()),
            format!("{:.2}", a_key(footprint.cpu.as_secs_f64() * 1e6)),
        ]);
    }
    table
}

fn ratios(found: &[(Contents, ServerKind, Footprint)]) -> Table {
    let mut table = Table::new(1, ["keys", "resident", "on disk", "keys/s", "CPU"]);
    for pair in found.chunks_exact(2) {
        let [(contents, _, basalt), (_, _, redis)] = pair else { continue };
        let ratio = |one: f64, other: f64| format!("{:.2}×", one / other);
        table.push(vec![
            contents.name().into(),
            ratio(basalt.resident_bytes as f64, redis.resident_bytes as f64),
            ratio(basalt.disk_bytes as f64, redis.disk_bytes as f64),
            ratio(redis.elapsed.as_secs_f64(), basalt.elapsed.as_secs_f64()),
            ratio(basalt.cpu.as_secs_f64(), redis.cpu.as_secs_f64()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_key_takes_its_part_and_ratios_are_of_basalt_to_redis() {
        let of = |resident_bytes, disk_bytes, seconds| Footprint {
            resident_bytes,
            disk_bytes,
            elapsed: Duration::from_secs(seconds),
            cpu: Duration::from_secs(2 * seconds),
        };
        let found = [
            (Contents::Hashes, ServerKind::Basalt, of(5_000, 9_000, 2)),
            (Contents::Hashes, ServerKind::RedisAlways, of(10_000, 6_000, 1)),
        ];
        let last = |table: Table| table.render(Style::Plain).lines().last().unwrap().to_owned();
        let words = |line: String| line.split_whitespace().rev().take(4).map(String::from).collect::<Vec<_>>();
        assert_eq!(words(last(keys(100, &found))), ["20000.00", "100", "60", "100"]);
        assert_eq!(words(last(ratios(&found))), ["2.00×", "0.50×", "1.50×", "0.50×"]);
    }
}
