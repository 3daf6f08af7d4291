//! The report: the machine, the medians, the ratios, the targets.

use super::figures::Figure;
use super::load::{self, KEY_COUNT, VALUE_BYTES};
use super::machine::Machine;
use super::options::Options;
use super::results::Results;
use super::server_kind::ServerKind;
use super::table::{Style, Table};
use super::targets::{self, Verdict};

/// Writes the report.
pub fn render(options: &Options, machine: &Machine, results: &Results) -> String {
    let style = if options.markdown { Style::Markdown } else { Style::Plain };
    let mut sections = vec![("Machine", facts(options, machine).render(style))];
    let judged = targets(results);
    if let Some(table) = judged {
        sections.push(("Targets", table.render(style)));
    }
    if results.has_loads() {
        sections.push(("Medians", medians(results).render(style)));
        sections.push(("Ratios: Basalt divided by Redis", ratios(results).render(style)));
    }
    if ServerKind::ALL.iter().any(|&kind| results.idle(kind).is_some()) {
        sections.push(("Idle", idle(results).render(style)));
    }
    let sections = sections.into_iter().map(|(title, body)| match style {
        Style::Plain => format!("{title}\n{}\n{body}", "=".repeat(title.chars().count())),
        Style::Markdown => format!("### {title}\n\n{body}"),
    });
    sections.collect::<Vec<String>>().join("\n")
}

fn facts(options: &Options, machine: &Machine) -> Table {
    let mut table = Table::new(2, ["fact", "value"]);
    for (name, value) in machine.facts() {
        table.push(vec![name.to_string(), value.clone()]);
    }
    let own = [
        ("rounds", options.rounds().to_string()),
        ("load", format!("values of {VALUE_BYTES} bytes, {KEY_COUNT} keys; {}", requests(options))),
        ("placement", placement(options)),
        ("arguments of Basalt", options.servers.basalt_args_shown()),
    ];
    for (name, value) in own {
        table.push(vec![name.to_string(), value]);
    }
    table
}

fn requests(options: &Options) -> String {
    let counts = load::all().map(|load| load.requests(options.requests()));
    let (least, most) = counts.fold((u64::MAX, 0), |(least, most), count| (least.min(count), most.max(count)));
    format!("{least} to {most} requests a measurement")
}

fn placement(options: &Options) -> String {
    if options.pin {
        "server on processor 0, client on processor 1".to_string()
    } else {
        "every server and the client on all processors".to_string()
    }
}

fn medians(results: &Results) -> Table {
    let titles = ["load", "server"].into_iter().chain(Figure::ALL.map(Figure::title)).chain(["spread"]);
    let mut table = Table::new(2, titles);
    for load in results.loads() {
        for kind in ServerKind::ALL {
            let Some(medians) = results.medians(kind, load) else { continue };
            let mut row = vec![load.to_string(), kind.to_string()];
            row.extend(Figure::ALL.map(|figure| figure.show(medians.get(figure))));
            row.push(results.spread(kind, load).map_or("—".to_string(), |spread| format!("{:.0} %", spread * 100.0)));
            table.push(row);
        }
    }
    table
}

fn ratios(results: &Results) -> Table {
    let mut table = Table::new(2, ["load", "against"].into_iter().chain(Figure::ALL.map(Figure::name)));
    for load in results.loads() {
        for against in [ServerKind::RedisAlways, ServerKind::RedisMemory] {
            let ratio = |figure| targets::ratio(results, load, figure, against);
            let mut row = vec![load.to_string(), against.to_string()];
            row.extend(Figure::ALL.map(|figure| ratio(figure).map_or("—".to_string(), |ratio| format!("{ratio:.2}×"))));
            table.push(row);
        }
    }
    table
}

fn targets(results: &Results) -> Option<Table> {
    let judged = targets::judge(results);
    let mut table = Table::new(2, ["target", "against", "must", "aim", "measured", "verdict"]);
    for one in &judged {
        let verdict = match one.verdict {
            Verdict::Aim => "met, and the aim",
            Verdict::Must => "met",
            Verdict::Missed => "MISSED",
        };
        let cells = [&one.subject, &one.against, &one.must, &one.aim, &one.measured];
        table.push(cells.into_iter().cloned().chain([verdict.to_string()]).collect());
    }
    (!judged.is_empty()).then_some(table)
}

fn idle(results: &Results) -> Table {
    let mut table = Table::new(1, ["server", "part of a core", "resident"]);
    for kind in ServerKind::ALL {
        let Some(figures) = results.idle(kind) else { continue };
        table.push(vec![
            kind.to_string(),
            format!("{:.2} %", figures.cpu * 100.0),
            format!("{:.1} MB", figures.resident_bytes / 1e6),
        ]);
    }
    table
}
