//! The binary `bench-cluster`: loads a cluster of three nodes, one node, etcd and a replicated redis-server in turn, and prints how
//! they compare; or kills leaders, and prints how long their keys could not be written.
//!
//! Exit status: 0 when the report is printed, whether targets are met or not; 1 when something could not be measured, when an
//! acknowledged write is missing, or on Ctrl-C. Every server it started is stopped in either case.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use basalt_bench::cluster::{self, Options};
use clap::Parser;

fn main() -> ExitCode {
    match cluster::run(&Options::parse()) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}
