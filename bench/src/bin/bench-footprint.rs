//! The binary `bench-footprint`: fills Basalt and redis-server with small keys of each type and prints what a key takes.
//!
//! Exit status: 0 when the report is printed; 1 when something could not be measured, or on Ctrl-C. Every server it started is
//! stopped and its data removed in either case.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use basalt_bench::footprint::{self, Options};
use clap::Parser;

fn main() -> ExitCode {
    match footprint::run(&Options::parse()) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-footprint: {error:#}");
            ExitCode::FAILURE
        }
    }
}
