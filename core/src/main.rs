//! The binary `basalt`: reads the configuration, checks the machine, runs the node.
//!
//! Exit status: 0 after a graceful stop, 1 when the node could not start or go on, 2 when the configuration was refused.

#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use basalt_core::boot::{self, StopRequest};
use basalt_core::config::{self, Action, Config, ConfigError};
use basalt_core::{HEAP_ARENAS, start};
use basalt_net::heap;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const FAILED: u8 = 1;
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    heap::share_arenas(HEAP_ARENAS);
    let invocation = match config::load(env::args_os(), env::vars_os()) {
        Ok(invocation) => invocation,
        // Help and version too; clap knows the text, the stream and the status.
        Err(ConfigError::CommandLine(error)) => error.exit(),
        Err(error) => return refuse(&error, REFUSED),
    };
    match invocation.action {
        Action::PrintConfig => match io::stdout().write_all(invocation.to_toml().as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error, FAILED),
        },
        Action::Run => serve(invocation.config, invocation.file),
    }
}

fn serve(config: Config, file: Option<PathBuf>) -> ExitCode {
    let stop = StopRequest::default();
    if let Err(error) = boot::watch_signals(&stop) {
        return refuse(&error, FAILED);
    }
    let log = match boot::start_log(&config) {
        Ok(log) => log,
        Err(error) => return refuse(&error, FAILED),
    };
    let prepared = match boot::prepare(config, stop) {
        Ok(prepared) => prepared,
        Err(error) => return refuse(&error, FAILED),
    };
    let ended = start::run(prepared, file);
    match &ended {
        Ok(()) => tracing::info!("stopped"),
        Err(error) => tracing::error!("{error}"),
    }
    drop(log);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error, FAILED),
    }
}

fn refuse(error: &dyn std::error::Error, status: u8) -> ExitCode {
    eprintln!("basalt: {error}");
    ExitCode::from(status)
}
