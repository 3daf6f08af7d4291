//! Options of the servers to start, as command lines give them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

/// Programs of the servers, their options and the place of their data.
#[derive(Debug, Clone, Args)]
pub struct ServerOptions {
    /// Directory for the servers' data; it must be on the disk to be measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,

    /// The Basalt to measure [default: `basalt` beside this program]
    #[arg(long, value_name = "FILE")]
    basalt: Option<PathBuf>,

    /// The redis-server to compare with
    #[arg(long, value_name = "FILE", default_value = "redis-server")]
    pub redis: PathBuf,

    /// Passes an argument to Basalt, as --basalt-arg=--durability=interval (repeatable): measures what a setting does
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub basalt_arg: Vec<String>,
}

impl ServerOptions {
    /// Returns the Basalt to measure.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn basalt(&self) -> Result<PathBuf> {
        let path = match &self.basalt {
            Some(path) => path.clone(),
            None => std::env::current_exe().context("this program's own path is unknown")?.with_file_name("basalt"),
        };
        ensure!(
            path.is_file(),
            "there is no {}: build it with `make build`, or name one with --basalt",
            path.display()
        );
        Ok(path)
    }

    /// Returns the arguments of Basalt as a report shows them.
    pub fn basalt_args_shown(&self) -> String {
        match self.basalt_arg.join(" ") {
            none if none.is_empty() => "none: the defaults".to_string(),
            some => some,
        }
    }
}
