//! Values as a user wrote them, wherever that was, before they are laid over the defaults.

use super::error::ConfigError;
use super::nearest::nearest;
use super::setting::{Setting, variable};
use super::source::Source;
use super::table::SETTINGS;

/// A value as a user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub setting: &'static Setting,
    pub text: String,
    pub at: Source,
}

/// An action that a process is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To serve.
    Run,
    /// To print the effective configuration and end.
    PrintConfig,
}

/// The refusal of a name that is no setting.
pub(super) fn unknown(at: Source, name: &str) -> ConfigError {
    let names = SETTINGS.iter().map(|setting| setting.name);
    let nearest = nearest(&name.replace('_', "-"), names).map(|near| match at {
        Source::Variable(_) => variable(near),
        _ => near.to_owned(),
    });
    ConfigError::Unknown { at, name: name.to_owned(), nearest }
}
