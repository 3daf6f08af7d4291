//! The record of each second: replies that came, and what the server took meanwhile.
//!
//! It has a thread of its own. The load's thread must wait for nothing but the server: a walk through the data directory takes
//! milliseconds, and a write to a file waits for the disk that the server keeps busy.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::Result;

use super::output_files::OutputFile;
use super::timeline::Second;
use crate::compare::server::resident_bytes_of;
use crate::disk_usage::disk_bytes;

/// Seconds that may wait to be written down; then the load waits, which a minute's stall of this thread would show anyway.
pub const SECONDS_QUEUED_MAX: usize = 60;
/// Seconds between two lines to the terminal.
const PROGRESS_EVERY: u64 = 10;

/// The columns of the file.
const TITLES: &str = "second\trequests\tsets\tgets\tp50_ms\tp99_ms\tp999_ms\tmax_ms\tserver_cpu_percent\trss_mb\tdisk_bytes\terrors\tmisses\n";

/// A second, and the processor time that the server used in it.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Replies that came, and their latencies.
    pub second: Second,
    /// Processor time since the sample before.
    pub cpu: Duration,
}

/// All that is known of a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Replies that came, and their latencies.
    pub second: Second,
    /// Processor time of the server, 100 being one processor.
    pub cpu_percent: f64,
    /// Resident memory of the server.
    pub resident_bytes: u64,
    /// Bytes of its data on the disk.
    pub disk_bytes: u64,
}

impl Row {
    /// Returns its line in the file. A second without a reply has no latencies.
    fn line(&self) -> String {
        let Second { index, tally, latencies } = self.second;
        let latencies = match latencies {
            Some(found) => {
                format!("{:.3}\t{:.3}\t{:.3}\t{:.3}", found.p50_ms, found.p99_ms, found.p999_ms, found.max_ms)
            }
            None => "\t\t\t".to_string(),
        };
        format!(
            "{}\t{}\t{}\t{}\t{latencies}\t{:.1}\t{:.1}\t{}\t{}\t{}\n",
            index + 1,
            tally.requests(),
            tally.sets,
            tally.gets,
            self.cpu_percent,
            self.resident_bytes as f64 / 1e6,
            self.disk_bytes,
            tally.errors,
            tally.misses,
        )
    }

    /// Returns what the terminal is told.
    fn progress(&self, seconds: u64) -> String {
        let latencies = match self.second.latencies {
            Some(found) => {
                format!("P50 {:.2} ms, P99 {:.2} ms, max {:.2} ms", found.p50_ms, found.p99_ms, found.max_ms)
            }
            None => "no reply".to_string(),
        };
        format!(
            "second {} of {seconds}: {} requests, {latencies}, CPU {:.0} %, {:.0} MB resident, {:.0} MB on disk",
            self.second.index + 1,
            self.second.tally.requests(),
            self.cpu_percent,
            self.resident_bytes as f64 / 1e6,
            self.disk_bytes as f64 / 1e6,
        )
    }
}

/// Looks at the server and writes down what it sees.
#[derive(Debug)]
pub struct Observer {
    /// The server's process.
    pub pid: u32,
    /// Its data.
    pub data: PathBuf,
    /// Seconds that the load is to last.
    pub seconds: u64,
}

impl Observer {
    /// Writes a line for each sample until there are no more; returns all of them.
    ///
    /// # Errors
    /// If the file cannot be written, or the server cannot be looked at.
    pub fn observe(&self, samples: &Receiver<Sample>, file: &mut OutputFile) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = Vec::new();
        file.write(TITLES)?;
        for Sample { second, cpu } in samples {
            // A server that has just ended took what it took before.
            let resident_bytes = match (resident_bytes_of(self.pid), rows.last()) {
                (Ok(bytes), _) => bytes,
                (Err(_), Some(row)) => row.resident_bytes,
                (Err(error), None) => return Err(error),
            };
            let row = Row {
                second,
                cpu_percent: cpu.as_secs_f64() * 100.0,
                resident_bytes,
                disk_bytes: disk_bytes(&self.data)?,
            };
            file.write(&row.line())?;
            if second.index % PROGRESS_EVERY == 0 || second.tally.requests() == 0 {
                eprintln!("{}", row.progress(self.seconds));
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use super::super::timeline::{Latencies, Tally};
    use super::*;

    #[test]
    fn every_second_is_a_line_and_one_without_a_reply_has_no_latencies() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = OutputFile::create(&dir.path().join("run"), "tsv", false).unwrap();
        let latencies = Latencies { p50_ms: 1.0, p99_ms: 2.5, p999_ms: 3.0, max_ms: 4.0 };
        let tally = Tally { sets: 3, gets: 4, errors: 1, misses: 2 };
        let (sender, samples) = mpsc::channel();
        let seconds = [
            Second { index: 0, tally, latencies: Some(latencies) },
            Second { index: 1, tally: Tally::default(), latencies: None },
        ];
        for second in seconds {
            sender.send(Sample { second, cpu: Duration::from_millis(1_500) }).unwrap();
        }
        drop(sender);

        let observer = Observer { pid: std::process::id(), data: dir.path().join("none"), seconds: 2 };
        let rows = observer.observe(&samples, &mut file).unwrap();

        let text = std::fs::read_to_string(Path::new(file.path())).unwrap();
        let mb: Vec<String> = rows.iter().map(|row| format!("{:.1}", row.resident_bytes as f64 / 1e6)).collect();
        let expected = [
            format!("1\t7\t3\t4\t1.000\t2.500\t3.000\t4.000\t150.0\t{}\t0\t1\t2", mb[0]),
            format!("2\t0\t0\t0\t\t\t\t\t150.0\t{}\t0\t0\t0", mb[1]),
        ];
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), expected);
        let columns = TITLES.split('\t').count();
        assert!(text.lines().all(|line| line.split('\t').count() == columns));
    }
}
