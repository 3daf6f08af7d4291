//! The source of a setting's value.

use std::fmt;
use std::path::PathBuf;

/// The place that a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line, from 1, of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// `CONFIG SET` of a running node.
    Command,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => out.write_str("default"),
            Source::File { path, line } => write!(out, "{}: line {line}", path.display()),
            Source::Variable(name) => write!(out, "environment: {name}"),
            Source::Flag(name) => write!(out, "command line: --{name}"),
            Source::Command => out.write_str("CONFIG SET"),
        }
    }
}
