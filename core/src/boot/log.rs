//! Log lines to the standard error, written by a thread of their own: a terminal or pipe that takes nothing must not stop a core.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::error::BootError;
use crate::config::{Config, LogFormat};
use crate::limits::{LOG_FLUSH_MAX, LOG_LINES_MAX};

/// Writes what is still waiting when dropped; keep it until the process ends.
#[derive(Debug)]
pub struct LogGuard {
    lines: SyncSender<Line>,
}

#[derive(Debug)]
enum Line {
    Text(Vec<u8>),
    /// Asks to be told when everything before it is written.
    Flush(SyncSender<()>),
}

/// Starts logging as `config` says, for the whole process.
///
/// # Errors
/// [`BootError::System`] when the writing thread cannot be started.
///
/// # Panics
/// When the process has a `tracing` subscriber already.
pub fn start_log(config: &Config) -> Result<LogGuard, BootError> {
    let (lines, waiting) = sync_channel(LOG_LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let writer = LineWriter { lines: lines.clone(), dropped: Arc::clone(&dropped) };
    thread::Builder::new()
        .name(String::from("log"))
        .spawn(move || write_lines(&waiting, &dropped, &mut io::stderr()))
        .map_err(|source| BootError::System { doing: "start a thread", source })?;
    // openraft says what is debugging to an operator, and warns of each message to a node that is away, of which the links tell
    // once. A directive of the setting's own comes later and wins.
    let filter = EnvFilter::builder().parse_lossy(format!("openraft=error,{}", config.log_level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    match config.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(LogGuard { lines })
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, flushed) = sync_channel(1);
        if self.lines.try_send(Line::Flush(done)).is_ok() {
            // Late lines are worth a moment, not a hang: whoever reads the pipe may have stopped reading.
            let _ = flushed.recv_timeout(LOG_FLUSH_MAX);
        }
    }
}

fn write_lines(waiting: &Receiver<Line>, dropped: &AtomicU64, out: &mut dyn Write) {
    for line in waiting {
        // Where could a failure to log be logged?
        match line {
            Line::Text(text) => drop(out.write_all(&text)),
            Line::Flush(done) => drop(done.send(())),
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            drop(writeln!(out, "basalt: {lost} log lines dropped: the standard error takes them too slowly"));
        }
    }
}

#[derive(Clone)]
struct LineWriter {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = OpenLine<'a>;

    fn make_writer(&'a self) -> OpenLine<'a> {
        OpenLine { text: Vec::new(), writer: self }
    }
}

/// One line being formatted; sent off when dropped.
struct OpenLine<'a> {
    text: Vec<u8>,
    writer: &'a LineWriter,
}

impl Write for OpenLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OpenLine<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() && self.writer.lines.try_send(Line::Text(text)).is_err() {
            self.writer.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_lines_and_counts_them() {
        let (lines, waiting) = sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = LineWriter { lines, dropped: Arc::clone(&dropped) };
        for number in 0..5 {
            writeln!(writer.make_writer(), "line {number}").expect("a line takes every write");
        }
        drop(writer);

        let mut written = Vec::new();
        write_lines(&waiting, &dropped, &mut written);

        let written = String::from_utf8(written).expect("text");
        assert!(written.starts_with("line 0\n") && written.contains("3 log lines dropped"), "{written}");
        assert!(written.ends_with("line 1\n"), "{written}");
    }
}
