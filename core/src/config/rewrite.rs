//! CONFIG REWRITE: puts what CONFIG SET has changed into the file that the node was started with.
//!
//! What a newcomer would get wrong: nothing else of the file changes, neither comments nor order. A setting that stands in it gets
//! another value where it stands; another one is put behind all that is there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use toml::de::DeTable;

use super::setting::Setting;
use super::table::Config;
use super::{file, load};

/// The rights of who is neither a file's owner nor of its group.
const FOR_OTHERS: u32 = 0o007;

/// Writes the values that the settings with these names have in `config` into the file at `path`, and puts it in the place of the
/// one that is there once it is on disk.
///
/// # Errors
/// What could not be read or written, or what of the file is no configuration.
pub fn rewrite(path: &Path, config: &Config, names: &BTreeSet<&'static str>) -> Result<(), String> {
    // The file that a link leads to.
    let path = &path.canonicalize().map_err(|error| error.to_string())?;
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    // This one's errors name the line, and do not show it: it may have a password.
    file::parse(path, &text).map_err(|error| error.to_string())?;
    let text = with_values(&text, config, names).map_err(|error| error.message().to_owned())?;
    let written = file::parse(path, &text).and_then(|written| load::merge(&[written]));
    let (written, _) = written.map_err(|error| error.to_string())?;
    for setting in settings(names) {
        if setting.value(&written) != setting.value(config) {
            return Err(format!("{} would not be read back as it is", setting.name));
        }
    }
    let is_secret = settings(names).any(|setting| setting.is_secret() && !setting.value(config).is_empty());
    replace(path, &text, is_secret).map_err(|error| error.to_string())
}

fn settings(names: &BTreeSet<&'static str>) -> impl Iterator<Item = &'static Setting> {
    names.iter().map(|name| Setting::find(name).expect("it was found in the table when it was set"))
}

fn with_values(text: &str, config: &Config, names: &BTreeSet<&'static str>) -> Result<String, toml::de::Error> {
    let table = DeTable::parse(text)?;
    let mut places = Vec::new();
    let mut others = String::new();
    for setting in settings(names) {
        let (name, value) = (setting.name, literal(&setting.value(config)));
        match table.get_ref().iter().find(|(key, _)| key.get_ref() == name) {
            Some((_, now)) => places.push((now.span(), value)),
            None => others.push_str(&format!("{name} = {value}\n")),
        }
    }
    // From the end on, so that the places before stay where they are.
    places.sort_unstable_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = text.to_owned();
    for (span, value) in places {
        text.replace_range(span, &value);
    }
    if !others.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&others);
    Ok(text)
}

/// A value as TOML has it: a number where it is one, else a text.
fn literal(value: &str) -> String {
    match value.parse::<i64>() {
        Ok(number) if number.to_string() == value => value.to_owned(),
        _ => toml::Value::String(value.to_owned()).to_string(),
    }
}

/// Puts a file with `text` in the place of the one at `path`, with the same rights; with none for everybody if it `is_secret`.
fn replace(path: &Path, text: &str, is_secret: bool) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp-{}-{:08x}", std::process::id(), rand::random::<u32>()));
    let temporary = path.with_file_name(name);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let write = || -> io::Result<()> {
        // It may have passwords.
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        let mut rights = fs::metadata(path)?.permissions();
        if is_secret && rights.mode() & FOR_OTHERS != 0 {
            tracing::warn!(path = %path.display(), "the file of settings has a password now: only its owner and group may read it");
            rights.set_mode(rights.mode() & !FOR_OTHERS);
        }
        file.set_permissions(rights)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    write().inspect_err(|_| {
        // It may not be there.
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Of this node.\nport = 7000  # not the usual one\n\n  maxclients=5 # few\nbind = ['127.0.0.1',\n  '::1']\n\
                        timeout = '3s'\n# the end";

    fn rewritten(text: &str, pairs: &[(&str, &str)]) -> (Result<(), String>, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("basalt.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut config = Config::default();
        config.set_parameters(pairs).unwrap();
        let names = pairs.iter().map(|(name, _)| Setting::find(name).unwrap().name).collect();
        let done = rewrite(&path, &config, &names);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        (done, fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn what_was_set_stands_in_the_file_then_and_all_else_stays() {
        let (done, text) = rewritten(TEXT, &[("MaxClients", "77"), ("requirepass", "a\"b\\c 'd'"), ("timeout", "90")]);
        assert_eq!(done, Ok(()));
        let expected = TEXT.replace("maxclients=5", "maxclients=77").replace("'3s'", "\"90s\"");
        let line = text.lines().last().unwrap();
        assert!(line.starts_with("requirepass = "), "{text}");
        assert_eq!(text.strip_suffix(&format!("\n{line}\n")), Some(expected.as_str()), "{text}");
        let mut read = Config::default();
        for written in file::parse(Path::new("basalt.toml"), &text).unwrap() {
            written.setting.set(&mut read, &written.text, &written.at).unwrap();
        }
        assert_eq!((read.requirepass.text(), read.maxclients, read.timeout.as_secs()), ("a\"b\\c 'd'", 77, 90));
    }

    #[test]
    fn nothing_that_was_set_changes_nothing_and_an_empty_file_takes_it_all() {
        assert_eq!(rewritten(TEXT, &[]), (Ok(()), TEXT.to_owned()));
        assert_eq!(rewritten("", &[("maxclients", "8")]), (Ok(()), "maxclients = 8\n".to_owned()));
    }

    #[test]
    fn a_file_that_gets_a_password_is_not_for_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("basalt.toml");
        for (mode, pairs, after) in [
            (0o644, &[("requirepass", "secret"), ("timeout", "9")][..], 0o640),
            (0o644, &[("requirepass", ""), ("timeout", "9")], 0o644),
            (0o600, &[("masterauth", "secret")], 0o600),
        ] {
            fs::write(&path, TEXT).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut config = Config::default();
            config.set_parameters(pairs).unwrap();
            let names = pairs.iter().map(|(name, _)| Setting::find(name).unwrap().name).collect();
            assert_eq!(rewrite(&path, &config, &names), Ok(()));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, after, "{pairs:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_without_its_passwords() {
        for line in ["requirepass = \"secret", "requirepass = ['secret", "requirepass = {a = 'secret'}"] {
            let (done, _) = rewritten(&format!("port = 7000\n{line}\n"), &[("maxclients", "8")]);
            let why = done.expect_err("it is no configuration");
            assert!(!why.contains("secret") && why.contains("basalt.toml"), "{why}");
        }
    }

    #[test]
    fn a_file_that_is_no_configuration_any_more_stays_as_it_is() {
        for text in ["port = \n", "nosuch = 1\n", "proto-max-bulk-len = '512mb'\n"] {
            let (done, after) = rewritten(text, &[("maxclients", "8")]);
            assert!(done.is_err() && after == text, "{text}: {done:?}");
        }
        assert!(rewrite(Path::new("/no/such/file"), &Config::default(), &BTreeSet::new()).is_err());
    }
}
