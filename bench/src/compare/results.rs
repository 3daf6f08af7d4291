//! Measurements, by server and load.

use hdrhistogram::Histogram;

use super::benchmark_output::{BenchmarkOutput, empty_histogram};
use super::figures::{Figures, IdleFigures};
use super::load::{self, Load};
use super::server_kind::ServerKind;

/// The measurements of one server under one load.
#[derive(Debug)]
struct Cell {
    kind: ServerKind,
    load: Load,
    rounds: Vec<Figures>,
    latencies_us: Histogram<u64>,
}

/// All measurements of a run.
#[derive(Debug, Default)]
pub struct Results {
    cells: Vec<Cell>,
    idle: Vec<(ServerKind, IdleFigures)>,
}

impl Results {
    /// Adds a measurement in which the server used `cpu_us` per request.
    ///
    /// # Panics
    /// Never: the histograms added up have the same bounds.
    pub fn add(&mut self, kind: ServerKind, load: Load, output: &BenchmarkOutput, cpu_us: f64) {
        let place = match self.cells.iter().position(|cell| cell.kind == kind && cell.load == load) {
            Some(place) => place,
            None => {
                self.cells.push(Cell { kind, load, rounds: Vec::new(), latencies_us: empty_histogram() });
                self.cells.len() - 1
            }
        };
        let cell = &mut self.cells[place];
        cell.rounds.push(Figures::new(output, cpu_us));
        cell.latencies_us.add(&output.latencies_us).expect("all histograms of latencies have the same bounds");
    }

    /// Adds a measurement of an idle server.
    pub fn add_idle(&mut self, kind: ServerKind, figures: IdleFigures) {
        self.idle.push((kind, figures));
    }

    /// Returns whether any load was measured.
    pub fn has_loads(&self) -> bool {
        !self.cells.is_empty()
    }

    /// Returns the loads that were measured, in the order of the report.
    pub fn loads(&self) -> impl Iterator<Item = Load> {
        load::all().filter(|&load| self.cells.iter().any(|cell| cell.load == load))
    }

    /// Returns the medians of a server under a load.
    pub fn medians(&self, kind: ServerKind, load: Load) -> Option<Figures> {
        Figures::medians(&self.cell(kind, load)?.rounds)
    }

    /// Returns how far the rounds of a server under a load lie apart.
    pub fn spread(&self, kind: ServerKind, load: Load) -> Option<f64> {
        Figures::spread(&self.cell(kind, load)?.rounds)
    }

    /// Returns the latencies of all rounds of a server under a load, in microseconds.
    pub fn latencies_us(&self, kind: ServerKind, load: Load) -> Option<&Histogram<u64>> {
        Some(&self.cell(kind, load)?.latencies_us)
    }

    /// Returns the medians of an idle server.
    pub fn idle(&self, kind: ServerKind) -> Option<IdleFigures> {
        let of_kind: Vec<IdleFigures> =
            self.idle.iter().filter(|(other, _)| *other == kind).map(|(_, figures)| *figures).collect();
        IdleFigures::medians(&of_kind)
    }

    fn cell(&self, kind: ServerKind, load: Load) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.kind == kind && cell.load == load)
    }
}
