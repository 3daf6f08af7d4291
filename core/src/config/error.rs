//! Reasons that a configuration was refused. Each text names the setting, where its value came from and what would be valid.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::source::Source;

/// The reason that one value does not fit its setting, and the nearest one that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    why: String,
    nearest: Option<String>,
}

impl Invalid {
    /// Refuses a value for the reason `why`, a clause without a full stop.
    pub fn new(why: impl Into<String>) -> Invalid {
        Invalid { why: why.into(), nearest: None }
    }

    /// Names the nearest valid value.
    pub fn nearest(mut self, value: impl Into<String>) -> Invalid {
        self.nearest = Some(value.into());
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.why)?;
        match &self.nearest {
            Some(nearest) => write!(out, "; the nearest valid value is '{nearest}'"),
            None => Ok(()),
        }
    }
}

/// The reason that the configuration as a whole was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The command line asks for help or the version, or has a word that is no setting. The text is clap's.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),

    /// A key of the file or a variable is no setting.
    #[error("{at}: there is no setting '{name}'{}", did_you_mean(.nearest))]
    Unknown {
        /// The place of the name.
        at: Source,
        /// The name as written.
        name: String,
        /// The setting with the most similar name, written as it would be in the same place.
        nearest: Option<String>,
    },

    /// A setting has a value that it cannot have.
    #[error("{at}: {name} = '{text}' is refused: {invalid}")]
    Invalid {
        /// The place of the value.
        at: Source,
        /// The setting.
        name: &'static str,
        /// The value as written.
        text: String,
        /// The reason, and the nearest value that fits.
        invalid: Invalid,
    },

    /// Two settings contradict each other.
    #[error("{0}")]
    Conflict(String),

    /// `CONFIG SET` of a setting that is fixed at start.
    #[error("{0} is read at start only: set it there and restart the node")]
    Fixed(&'static str),

    /// The file cannot be read.
    #[error("the configuration file {} cannot be read ({source}): check its path and permissions", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// The file is no TOML.
    #[error("{}: line {line}: {message}", .path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The parser's description of it.
        message: String,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean '{nearest}'?"),
        None => String::from("; `basalt --help` lists them"),
    }
}
