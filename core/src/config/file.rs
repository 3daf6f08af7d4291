//! Settings from a TOML file: flat, one key per setting, each with the line it stands on.

use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Invalid};
use super::setting::Setting;
use super::source::Source;
use super::written::{Written, unknown};

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> Result<Vec<Written>, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    parse(path, &text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Written>, ConfigError> {
    let line_at = |offset: usize| 1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| ConfigError::Toml {
        path: path.to_owned(),
        line: line_at(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut written = Vec::new();
    for (key, value) in table.get_ref() {
        let at = Source::File { path: path.to_owned(), line: line_at(key.span().start) };
        let Some(setting) = find_exactly(key.get_ref()) else {
            return Err(unknown(at, key.get_ref()));
        };
        let text = value_text(value.get_ref()).map_err(|invalid| ConfigError::Invalid {
            at: at.clone(),
            name: setting.name,
            text: if setting.is_secret() { String::from("…") } else { text[value.span()].to_owned() },
            invalid,
        })?;
        written.push(Written { setting, text, at });
    }
    Ok(written)
}

/// Keys are written exactly as the table has them.
fn find_exactly(key: &str) -> Option<&'static Setting> {
    Setting::find(key).filter(|setting| setting.name == key)
}

/// The text that the value's setting parses: `6379` and `"6379"` are the same, `true` and `"yes"`, `["::1", "127.0.0.1"]`
/// and `"::1,127.0.0.1"` too.
fn value_text(value: &DeValue<'_>) -> Result<String, Invalid> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Boolean(yes) => Ok(if *yes { "yes" } else { "no" }.to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Array(items) => {
            let items: Result<Vec<String>, Invalid> = items.iter().map(|item| value_text(item.get_ref())).collect();
            Ok(items?.join(","))
        }
        other => Err(Invalid::new(format!("it takes a string or a whole number, not a TOML {}", other.type_str()))),
    }
}
