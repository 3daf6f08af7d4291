//! The plot of a run: latencies by the second, requests per second beneath, and where nothing was answered.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::observer::Row;
use super::timeline::Latencies;
use crate::compare::percentile_plot::{decades, drawing};

const WIDTH: u32 = 1_200;
/// Room for the titles and the legend.
const HEAD_HEIGHT: u32 = 76;
const LATENCY_HEIGHT: u32 = 420;
const RATE_HEIGHT: u32 = 240;
/// Width left of the axes, the same in both panels, so that they stand under each other.
const Y_LABELS: u32 = 84;
/// The range of the latencies where there are none.
const NO_LATENCIES_MS: std::ops::Range<f64> = 0.1..10.0;

/// A place to draw on.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Neighbouring seconds with a point each.
type Segments = Vec<Vec<(f64, f64)>>;

/// One line of the upper panel.
struct Line {
    name: &'static str,
    color: RGBColor,
    width: u32,
    value: fn(&Latencies) -> f64,
}

/// The lines, those that others may cover first.
const LINES: [Line; 3] = [
    Line { name: "max", color: RGBColor(0xe6, 0x9f, 0x00), width: 1, value: |found| found.max_ms },
    Line { name: "P99", color: RGBColor(0x00, 0x72, 0xb2), width: 2, value: |found| found.p99_ms },
    Line { name: "P50", color: RGBColor(0x00, 0x9e, 0x73), width: 2, value: |found| found.p50_ms },
];
const RATE_COLOR: RGBColor = RGBColor(0x55, 0x55, 0x55);
const SILENT_COLOR: RGBColor = RGBColor(0xd0, 0x00, 0x30);

/// Draws `rows` as SVG, under a title and a line that says what was done.
///
/// # Errors
/// If the plotter fails.
pub fn draw(title: &str, subtitle: &str, rows: &[Row]) -> Result<String> {
    let mut svg = String::new();
    {
        let size = (WIDTH, HEAD_HEIGHT + LATENCY_HEIGHT + RATE_HEIGHT);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let (head, body) = root.split_vertically(HEAD_HEIGHT);
        let (latency_panel, rate_panel) = body.split_vertically(LATENCY_HEIGHT);
        draw_head(&head, title, subtitle, rows)?;
        draw_latencies(&latency_panel, rows)?;
        draw_rate(&rate_panel, rows)?;
        root.present().map_err(drawing)?;
    }
    Ok(svg)
}

fn draw_head(head: &Area<'_>, title: &str, subtitle: &str, rows: &[Row]) -> Result<()> {
    let text = |text: &str, place, size: i32| {
        head.draw(&Text::new(text.to_string(), place, ("sans-serif", size))).map_err(drawing)
    };
    text(title, (20, 10), 20)?;
    text(subtitle, (20, 34), 14)?;
    let silent = rows.iter().any(is_silent).then_some(("second without a reply", SILENT_COLOR));
    let mut x = Y_LABELS as i32 + 10;
    for (name, color) in LINES.iter().rev().map(|line| (line.name, line.color)).chain(silent) {
        head.draw(&PathElement::new([(x, 64), (x + 24, 64)], color.stroke_width(3))).map_err(drawing)?;
        text(name, (x + 30, 57), 14)?;
        x += 90;
    }
    Ok(())
}

fn draw_latencies(panel: &Area<'_>, rows: &[Row]) -> Result<()> {
    let found = || rows.iter().filter_map(|row| row.second.latencies);
    let least = found().map(|found| found.p50_ms).reduce(f64::min);
    let most = found().map(|found| found.max_ms).reduce(f64::max);
    // A latency below a microsecond is none, and a logarithm has no zero.
    let range =
        least.zip(most).map_or(NO_LATENCIES_MS, |(least, most)| decades(least.max(1e-3), most.max(1e-3) * 1.01));
    let mut chart = ChartBuilder::on(panel)
        .margin(8)
        .margin_right(28)
        .x_label_area_size(24)
        .y_label_area_size(Y_LABELS)
        .build_cartesian_2d(seconds(rows), range.clone().log_scale())
        .map_err(drawing)?;
    configure(&mut chart, "latency, ms (logarithmic)", None, &|ms| format!("{ms}"))?;
    chart.draw_series(silence(rows, range.start, range.end)).map_err(drawing)?;
    for line in &LINES {
        let points = |row: &Row| row.second.latencies.as_ref().map(line.value);
        for segment in segments(rows, points) {
            chart
                .draw_series(LineSeries::new(padded(segment), line.color.stroke_width(line.width)))
                .map_err(drawing)?;
        }
    }
    Ok(())
}

fn draw_rate(panel: &Area<'_>, rows: &[Row]) -> Result<()> {
    let rate = |row: &Row| row.second.tally.requests() as f64;
    // One at least: an axis from 0 to 0 has no length.
    let most = rows.iter().map(rate).fold(1.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(panel)
        .margin(8)
        .margin_right(28)
        .x_label_area_size(40)
        .y_label_area_size(Y_LABELS)
        .build_cartesian_2d(seconds(rows), 0.0..most)
        .map_err(drawing)?;
    configure(&mut chart, "requests/s", Some("second of the load"), &|rate| grouped(*rate as u64))?;
    chart.draw_series(silence(rows, 0.0, most)).map_err(drawing)?;
    for segment in segments(rows, |row| Some(rate(row))) {
        chart.draw_series(LineSeries::new(padded(segment), RATE_COLOR.stroke_width(2))).map_err(drawing)?;
    }
    Ok(())
}

/// Mesh, labels and descriptions of a panel.
fn configure<'a, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'a>, Cartesian2d<plotters::coord::types::RangedCoordf64, Y>>,
    y_description: &str,
    x_description: Option<&str>,
    y_label: &dyn Fn(&f64) -> String,
) -> Result<()>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut mesh = chart.configure_mesh();
    mesh.x_labels(13)
        .x_label_formatter(&|second| format!("{second:.0}"))
        .y_label_formatter(y_label)
        .y_labels(6)
        .y_desc(y_description)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14));
    if let Some(description) = x_description {
        mesh.x_desc(description);
    }
    mesh.draw().map_err(drawing)
}

/// The axis of seconds: second 1 is from 0 to 1.
fn seconds(rows: &[Row]) -> std::ops::Range<f64> {
    0.0..rows.last().map_or(1.0, |row| (row.second.index + 1) as f64)
}

fn is_silent(row: &Row) -> bool {
    row.second.tally.requests() == 0
}

/// A band over each second without a reply.
fn silence(rows: &[Row], bottom: f64, top: f64) -> impl Iterator<Item = Rectangle<(f64, f64)>> {
    rows.iter().filter(|row| is_silent(row)).map(move |row| {
        let left = row.second.index as f64;
        Rectangle::new([(left, bottom), (left + 1.0, top)], SILENT_COLOR.mix(0.35).filled())
    })
}

/// Cuts a line where `value` has none: a line over a gap would hide it.
fn segments(rows: &[Row], value: impl Fn(&Row) -> Option<f64>) -> Segments {
    rows.chunk_by(|row, next| value(row).is_some() == value(next).is_some())
        .map(|chunk| {
            chunk.iter().filter_map(|row| Some((row.second.index as f64 + 0.5, value(row)?))).collect::<Vec<_>>()
        })
        .filter(|segment| !segment.is_empty())
        .collect()
}

/// A line of one point would not be seen: it becomes as long as its second.
fn padded(segment: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    match segment[..] {
        [(x, y)] => vec![(x - 0.5, y), (x + 0.5, y)],
        _ => segment,
    }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::timeline::{Second, Tally};
    use super::*;

    fn rows(requests: &[u64]) -> Vec<Row> {
        let row = |(index, &sets): (u64, &u64)| {
            let latencies = Latencies { p50_ms: 1.0, p99_ms: 2.0, p999_ms: 3.0, max_ms: 40.0 };
            let tally = Tally { sets, ..Tally::default() };
            let second = Second { index, tally, latencies: (sets > 0).then_some(latencies) };
            Row { second, cpu_percent: 1.0, resident_bytes: 1, disk_bytes: 1 }
        };
        (0..).zip(requests).map(row).collect()
    }

    #[test]
    fn a_second_without_a_reply_is_a_gap() {
        let rows = rows(&[5, 5, 0, 5]);
        let lines = segments(&rows, |row| row.second.latencies.map(|found| found.p50_ms));
        assert_eq!(lines, [vec![(0.5, 1.0), (1.5, 1.0)], vec![(3.5, 1.0)]]);
        let svg = draw("title", "subtitle", &rows).unwrap();
        assert!(svg.contains("second without a reply") && svg.contains("#D00030"));
        assert!(!draw("title", "subtitle", &rows[..2]).unwrap().contains("#D00030"));
    }

    #[test]
    fn a_run_without_a_single_reply_can_be_drawn() {
        draw("title", "subtitle", &rows(&[0, 0])).unwrap();
        draw("title", "subtitle", &rows(&[1])).unwrap();
        draw("title", "subtitle", &[]).unwrap();
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 50_000_000].map(grouped), ["0", "999", "1,000", "50,000,000"]);
    }
}
