//! The binary `bench-compare`: loads redis-server and Basalt in turn with redis-benchmark and prints how they compare.
//!
//! Exit status: 0 when the report is printed, whether targets are met or not; 1 when something could not be measured, or on
//! Ctrl-C. Every server it started is stopped in either case.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use basalt_bench::compare::{self, Options};
use clap::Parser;

fn main() -> ExitCode {
    match compare::run(&Options::parse()) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}
