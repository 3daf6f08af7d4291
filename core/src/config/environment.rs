//! Settings from `BASALT_*` variables.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::{ConfigError, Invalid};
use super::setting::{PREFIX, Setting, variable};
use super::source::Source;
use super::written::{Written, unknown};

/// The variable that names the configuration file.
pub(super) const FILE_VARIABLE: &str = "BASALT_CONFIG";

/// File and settings that the environment names.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub file: Option<PathBuf>,
    pub written: Vec<Written>,
}

/// Reads every variable that begins with `BASALT_`; one that names no setting is refused, since it was meant to.
pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Environment, ConfigError> {
    let mut environment = Environment::default();
    let mut ours: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ours.sort();
    for (name, value) in ours {
        if name == FILE_VARIABLE {
            environment.file = Some(PathBuf::from(value));
            continue;
        }
        let at = Source::Variable(name.clone());
        let key = name[PREFIX.len()..].replace('_', "-");
        let setting = Setting::find(&key).filter(|setting| variable(setting.name) == name);
        let Some(setting) = setting else {
            return Err(unknown(at, &key.to_ascii_lowercase()));
        };
        let text = value.into_string().map_err(|value| not_text(setting, &at, &value))?;
        if text.starts_with("tcp://") {
            return Err(set_by_kubernetes(setting, &at, text));
        }
        environment.written.push(Written { setting, text, at });
    }
    Ok(environment)
}

fn not_text(setting: &Setting, at: &Source, value: &OsString) -> ConfigError {
    ConfigError::Invalid {
        at: at.clone(),
        name: setting.name,
        text: value.to_string_lossy().into_owned(),
        invalid: Invalid::new("it is not UTF-8"),
    }
}

/// Kubernetes sets `X_PORT=tcp://…` in every pod beside a service named x.
fn set_by_kubernetes(setting: &Setting, at: &Source, text: String) -> ConfigError {
    let why = "Kubernetes set it for a service of this name: set enableServiceLinks: false in the pod";
    ConfigError::Invalid { at: at.clone(), name: setting.name, text, invalid: Invalid::new(why) }
}
