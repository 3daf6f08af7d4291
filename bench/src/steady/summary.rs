//! The summary: whether there are cliffs, the figures of the whole run, and where they come from.

use super::measurement::{Measurement, TAIL_MAX};
use super::options::{Measured, Options};
use super::request_source::KEY_BYTES;
use super::timeline::Latencies;
use super::timeline_plot::grouped;
use crate::compare::machine::Machine;
use crate::compare::table::{Style, Table};

/// Says what was measured, in one line.
pub fn load(options: &Options) -> String {
    format!(
        "{} keys of {KEY_BYTES} bytes with values of {} bytes, uniformly random; -c {} -P {}, {} % SET and {} % GET",
        grouped(options.keys()),
        options.data_bytes,
        options.clients,
        options.pipeline,
        options.set_percent,
        100 - options.set_percent,
    )
}

/// Writes the summary; `ended` says why it is over, if that was not as planned.
pub fn render(
    options: &Options,
    command_line: &str,
    machine: &Machine,
    found: &Measurement,
    ended: Option<&str>,
    style: Style,
) -> String {
    let mut sections = Vec::new();
    if let Some(reason) = ended {
        sections.push(("Ended early", format!("{reason}\n")));
    }
    sections.push(("No latency cliff", verdicts(found).render(style)));
    sections.push(("Load", figures(found).render(style)));
    sections.push(("Fill", fill(found).render(style)));
    sections.push(("Machine", facts(options, command_line, machine).render(style)));
    let sections = sections.into_iter().map(|(title, body)| match style {
        Style::Plain => format!("{title}\n{}\n{body}", "=".repeat(title.chars().count())),
        Style::Markdown => format!("### {title}\n\n{body}"),
    });
    sections.collect::<Vec<String>>().join("\n")
}

fn verdicts(found: &Measurement) -> Table {
    let verdict = |is_met: bool| if is_met { "met" } else { "MISSED" }.to_string();
    let mut table = Table::new(1, ["target", "must", "measured", "verdict"]);
    // A run without a reply has no tail, and has missed it.
    let tail = found.tail();
    table.push(vec![
        "P99.9 / P50".into(),
        format!("≤ {TAIL_MAX}×"),
        tail.map_or("—".into(), |tail| format!("{tail:.2}×")),
        verdict(tail.is_some_and(|tail| tail <= TAIL_MAX)),
    ]);
    table.push(vec![
        "seconds without a completed request".into(),
        "0".into(),
        found.silent_seconds.to_string(),
        verdict(found.silent_seconds == 0 && tail.is_some()),
    ]);
    table
}

fn figures(found: &Measurement) -> Table {
    let seconds = found.elapsed.as_secs_f64();
    let mut table = Table::new(1, ["figure", "value"]);
    let mut push = |name: &str, value: String| table.push(vec![name.into(), value]);
    push("seconds", format!("{seconds:.0}"));
    push("requests", grouped(found.tally.requests()));
    push("requests/s", grouped(found.requests_per_s() as u64));
    for (name, value) in named(found.latencies) {
        push(name, value);
    }
    let slowest = found.rows.iter().filter(|row| row.second.latencies.is_some());
    let slowest = slowest.map(|row| row.second.tally.requests()).min();
    push("requests of the slowest second", slowest.map_or("—".into(), grouped));
    push("errors", grouped(found.tally.errors));
    if let Some(error) = &found.first_error {
        push("first error", error.clone());
    }
    push("GETs without the key's value", grouped(found.tally.misses));
    push("CPU µs/request", format!("{:.2}", found.cpu_us_per_request()));
    push("processors used by the server", format!("{:.2}", found.cpu.as_secs_f64() / seconds));
    push("processors used by the clients", format!("{:.2}", found.generator_cpu.as_secs_f64() / seconds));
    push("resident at most", mb(found.resident_bytes_max()));
    push("resident bytes/key", format!("{:.1}", found.resident_bytes_max() as f64 / found.fill.keys as f64));
    push("keys and values", mb(found.payload_bytes()));
    push("on disk at the end", mb(found.disk_bytes));
    push("space amplification at the end", format!("{:.2}×", found.space_amplification()));
    push("space amplification at most", format!("{:.2}×", found.space_amplification_max()));
    table
}

fn fill(found: &Measurement) -> Table {
    let fill = &found.fill;
    let mut table = Table::new(1, ["figure", "value"]);
    let mut push = |name: &str, value: String| table.push(vec![name.into(), value]);
    push("keys", grouped(fill.keys));
    push("seconds", format!("{:.1}", fill.elapsed.as_secs_f64()));
    push("SETs/s", grouped((fill.keys as f64 / fill.elapsed.as_secs_f64()) as u64));
    for (name, value) in named(fill.latencies) {
        push(name, value);
    }
    push("seconds without a completed request", fill.silent_seconds.to_string());
    push("CPU µs/request", format!("{:.2}", fill.cpu.as_secs_f64() * 1e6 / fill.keys as f64));
    table
}

fn named(latencies: Option<Latencies>) -> Vec<(&'static str, String)> {
    let Some(found) = latencies else { return Vec::new() };
    let values =
        [("P50 ms", found.p50_ms), ("P99 ms", found.p99_ms), ("P99.9 ms", found.p999_ms), ("max ms", found.max_ms)];
    values.into_iter().map(|(name, ms)| (name, format!("{ms:.2}"))).collect()
}

fn facts(options: &Options, command_line: &str, machine: &Machine) -> Table {
    let mut table = Table::new(2, ["fact", "value"]);
    for (name, value) in machine.facts() {
        table.push(vec![name.to_string(), value.clone()]);
    }
    table.push(vec!["load".into(), load(options)]);
    if options.server == Measured::Basalt {
        table.push(vec!["arguments of Basalt".into(), options.servers.basalt_args_shown()]);
    }
    table.push(vec!["command".into(), format!("`{command_line}`")]);
    table
}

fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::measurement::tests::measurement;
    use super::*;

    fn verdict_lines(found: &Measurement) -> Vec<String> {
        let text = verdicts(found).render(Style::Plain);
        text.lines().skip(2).map(|line| line.split_whitespace().last().unwrap().to_string()).collect()
    }

    #[test]
    fn each_target_has_its_verdict() {
        let mut found = measurement();
        assert_eq!(verdict_lines(&found), ["met", "met"]);
        found.latencies.as_mut().unwrap().p999_ms = 10.1;
        assert_eq!(verdict_lines(&found), ["MISSED", "met"]);
        found.silent_seconds = 1;
        assert_eq!(verdict_lines(&found), ["MISSED", "MISSED"]);
    }

    #[test]
    fn a_run_without_a_reply_meets_nothing() {
        let mut found = measurement();
        found.latencies = None;
        assert_eq!(verdict_lines(&found), ["MISSED", "MISSED"]);
    }
}
