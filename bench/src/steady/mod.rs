//! The long run that shows whether latency has cliffs.
//!
//! One server is filled with more keys than a memtable holds and then loaded for long, so that everything it does in the background
//! (freezing, ingesting, merging, purging; Redis' rewrite of its append-only file) happens under load and more than once.
//! What counts is each second by itself: a mean over half an hour hides ten bad seconds.

mod connection;
mod generator;
mod key_order;
mod measurement;
mod observer;
mod options;
mod output_files;
mod random;
mod reply_parser;
mod request_source;
mod run;
mod summary;
mod timeline;
mod timeline_plot;

pub use options::Options;
pub use run::{Outcome, run};
