//! The percentile plot: latency by percentile, a panel for each load, a line for each server.
//!
//! The axes are those of HdrHistogram's plotter: percentiles by the number of nines, so that the tail has as much room as the
//! middle; latencies logarithmic, so that servers far apart fit one panel.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::load::{Load, Shape, Test};
use super::results::Results;
use super::server_kind::ServerKind;

const PANEL_WIDTH: u32 = 460;
const PANEL_HEIGHT: u32 = 300;
/// Room for the legend above the panels.
const HEAD_HEIGHT: u32 = 40;
/// The axis of percentiles ends at five nines.
const NINES_MAX: f64 = 5.0;

/// A place to draw on.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws all loads of `results` into an SVG file.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, results: &Results) -> Result<()> {
    let loads: Vec<Load> = results.loads().collect();
    let shapes: Vec<Shape> = Shape::ALL.into_iter().filter(|&s| loads.iter().any(|load| load.shape == s)).collect();
    let tests: Vec<Test> = Test::ALL.into_iter().filter(|&t| loads.iter().any(|load| load.test == t)).collect();
    let size = (PANEL_WIDTH * shapes.len() as u32, HEAD_HEIGHT + PANEL_HEIGHT * tests.len() as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    let (head, body) = root.split_vertically(HEAD_HEIGHT);
    draw_legend(&head)?;
    let panels = body.split_evenly((tests.len(), shapes.len()));
    let places = tests.iter().flat_map(|&test| shapes.iter().map(move |&shape| Load { test, shape }));
    for (panel, load) in panels.iter().zip(places) {
        if loads.contains(&load) {
            draw_panel(panel, load, results).with_context(|| format!("the panel of {load}"))?;
        }
    }
    root.present().map_err(drawing)
}

/// An error of the plotter.
pub(crate) fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing failed: {error}")
}

fn color(kind: ServerKind) -> RGBColor {
    match kind {
        ServerKind::Basalt => RGBColor(0xd5, 0x5e, 0x00),
        ServerKind::RedisAlways => RGBColor(0x00, 0x72, 0xb2),
        ServerKind::RedisMemory => RGBColor(0x99, 0x99, 0x99),
    }
}

fn draw_legend(head: &Area<'_>) -> Result<()> {
    let mut x = 20;
    for kind in ServerKind::ALL {
        let line = PathElement::new([(x, 20), (x + 24, 20)], color(kind).stroke_width(3));
        head.draw(&line).map_err(drawing)?;
        head.draw(&Text::new(kind.to_string(), (x + 30, 13), ("sans-serif", 15))).map_err(drawing)?;
        x += 150;
    }
    Ok(())
}

fn draw_panel(panel: &Area<'_>, load: Load, results: &Results) -> Result<()> {
    let lines: Vec<(ServerKind, Vec<(f64, f64)>)> = ServerKind::ALL
        .into_iter()
        .filter_map(|kind| Some((kind, line(results.latencies_us(kind, load)?))))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let latencies = || lines.iter().flat_map(|(_, points)| points.iter().map(|&(_, latency_ms)| latency_ms));
    let least = latencies().fold(f64::INFINITY, f64::min);
    let most = latencies().fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(load.to_string(), ("sans-serif", 16))
        .margin(8)
        .margin_right(28)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..NINES_MAX, decades(least, most).log_scale())
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .x_labels(NINES_MAX as usize + 1)
        .x_label_formatter(&|nines| percentile(*nines))
        .x_desc("percentile")
        .y_label_formatter(&|latency_ms| format!("{latency_ms}"))
        .y_desc("ms")
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.15))
        .label_style(("sans-serif", 12))
        .draw()
        .map_err(drawing)?;
    for (kind, points) in lines {
        chart.draw_series(LineSeries::new(points, color(kind).stroke_width(2))).map_err(drawing)?;
    }
    Ok(())
}

/// The whole powers of ten around `least` and `most`.
pub(crate) fn decades(least: f64, most: f64) -> std::ops::Range<f64> {
    10f64.powf(least.log10().floor())..10f64.powf(most.log10().ceil())
}

/// The points of a histogram: number of nines of the percentile, latency in milliseconds.
///
/// The last point of the axis is the highest percentile the histogram can tell: of a thousand requests, the slowest stands at 99.9
/// %.
fn line(latencies_us: &Histogram<u64>) -> Vec<(f64, f64)> {
    let highest = nines(1.0 - 1.0 / latencies_us.len().max(1) as f64);
    latencies_us
        .iter_recorded()
        .map(|value| (nines(value.quantile()).min(highest), value.value_iterated_to() as f64 / 1e3))
        .take_while(|&(nines, _)| nines <= NINES_MAX)
        .collect()
}

/// 0 for the fastest request, 1 for 90 %, 2 for 99 % and so on.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// The label of a number of nines.
fn percentile(nines: f64) -> String {
    let quantile = 1.0 - 10f64.powf(-nines);
    let digits = (nines.round() as usize).saturating_sub(2);
    format!("{:.digits$} %", quantile * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::benchmark_output::{BenchmarkOutput, empty_histogram};
    use super::*;

    #[test]
    fn percentiles_are_labelled_by_their_nines() {
        let labels: Vec<String> = (0..=5).map(|nines| percentile(f64::from(nines))).collect();
        assert_eq!(labels, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
    }

    #[test]
    fn latencies_stand_between_whole_powers_of_ten() {
        let range = decades(0.02, 118.0);
        assert!((range.start - 0.01).abs() < 1e-9 && (range.end - 1000.0).abs() < 1e-9, "{range:?}");
    }

    #[test]
    fn the_slowest_of_a_thousand_requests_stands_at_three_nines() {
        let mut histogram = empty_histogram();
        histogram.record_n(100, 999).unwrap();
        histogram.record(2_000).unwrap();
        let points = line(&histogram);
        assert!((points[0].0 - 3.0).abs() < 1e-6 && (points[0].1 - 0.1).abs() < 1e-3, "{points:?}");
        assert!((points[1].0 - 3.0).abs() < 1e-6 && (points[1].1 - 2.0).abs() < 1e-2, "{points:?}");
    }

    #[test]
    fn the_plot_has_a_panel_for_each_load_and_a_line_for_each_server() {
        let mut latencies_us = empty_histogram();
        for value in 100..2_000 {
            latencies_us.record(value).unwrap();
        }
        let output = BenchmarkOutput { requests_per_s: 1.0, p50_ms: 1.0, p99_ms: 1.0, p999_ms: 1.0, latencies_us };
        let mut results = Results::default();
        for shape in Shape::ALL {
            for kind in ServerKind::ALL {
                results.add(kind, Load { test: Test::Get, shape }, &output, 1.0);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plot.svg");

        write(&path, &results).unwrap();

        let svg = std::fs::read_to_string(&path).unwrap();
        for shape in Shape::ALL {
            assert!(svg.contains(&format!("GET {shape}")), "no panel of {shape}");
        }
        for kind in ServerKind::ALL {
            let RGBColor(red, green, blue) = color(kind);
            let lines = svg.matches(&format!("\"#{red:02X}{green:02X}{blue:02X}\"")).count();
            assert_eq!(lines, 1 + Shape::ALL.len(), "lines of {kind}, its legend among them");
        }
    }
}
