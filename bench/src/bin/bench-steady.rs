//! The binary `bench-steady`: fills a server with many keys, loads it for long and shows by the second whether latency has cliffs.
//!
//! Exit status: 0 when the summary is printed, whether targets are met or not, also of a run that Ctrl-C has ended early; 1 when
//! nothing could be measured, or the server died or hung. The server is stopped and its data removed in either case.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use basalt_bench::steady::{self, Options};
use clap::Parser;

fn main() -> ExitCode {
    match steady::run(&Options::parse()) {
        Ok(outcome) => {
            print!("{}", outcome.summary);
            match outcome.failure {
                None => ExitCode::SUCCESS,
                Some(failure) => {
                    eprintln!("bench-steady: {failure}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            eprintln!("bench-steady: {error:#}");
            ExitCode::FAILURE
        }
    }
}
