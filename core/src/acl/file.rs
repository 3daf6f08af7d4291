//! The file of users: one a line, as `ACL LIST` tells them.
//!
//! Blocks: for threads that are no cores. A file is replaced as a whole or not at all, whenever the power fails.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::user::words_of;
use super::{UserTable, is_name};
use crate::limits;

/// The reason that a file of users was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system says why.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("{path}:{line}: {text}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1 on.
        line: usize,
        /// The reason.
        text: String,
    },
}

/// Reads the users in the file at `path`; blank lines and such that begin with `# ` are left out. A default user who is not in it
/// is the plain one.
///
/// # Errors
/// [`FileError`], with the first line that is wrong.
pub fn read_file(path: &Path, all_channels: bool) -> Result<UserTable, FileError> {
    let failed = |source: io::Error| FileError::Io { path: path.to_owned(), source };
    // Another kind of file might have no end, or nothing to read for a long time.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
    }
    let (mut text, most) = (Vec::new(), limits::ACL_FILE_BYTES_MAX);
    File::open(path).map_err(failed)?.take(most + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > most {
        let text = format!("the file has more than {most} bytes, which are read at most");
        return Err(FileError::Line { path: path.to_owned(), line: 1, text });
    }
    let mut table = UserTable::plain();
    let mut names = std::collections::BTreeSet::new();
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let wrong = |text: String| FileError::Line { path: path.to_owned(), line: number, text };
        let words = words_of(line);
        let (name, rules) = match words[..] {
            [] | [b"#", ..] => continue,
            [b"user", name, ref rules @ ..] if is_name(name) => (name, rules),
            _ => return Err(wrong("should start with user keyword followed by the username".to_owned())),
        };
        let shown = String::from_utf8_lossy(name);
        if !names.insert(name.to_vec()) {
            return Err(wrong(format!(
                "Duplicate user '{shown}' found. A user can only be defined once in config files"
            )));
        }
        // The default user of the file begins as any other: with what its line says.
        let mut alone = UserTable::plain();
        alone.put(super::User::new(name, all_channels)).map_err(wrong)?;
        alone.set(name, rules, all_channels).map_err(|text| wrong(without_password(&text)))?;
        table.put(alone.user(name).expect("it was put there").as_ref().clone()).map_err(wrong)?;
    }
    Ok(table)
}

/// The reason that rules were refused, for the node's log: a password in it is not told.
fn without_password(text: &str) -> String {
    let Some(rule) = text.strip_prefix("Error in ACL SETUSER modifier ") else { return text.to_owned() };
    match rule.rsplit_once("': ") {
        // A word that is no rule may be a password whose sign was forgotten.
        Some((rule, why)) if !rule[1..].starts_with(['+', '-', '~', '%', '&', '(']) => {
            let sign = rule[1..].chars().next().filter(char::is_ascii_punctuation);
            format!("rule '{}…': {why}", sign.map(String::from).unwrap_or_default())
        }
        _ => format!("rule {rule}"),
    }
}

/// Writes the users to the file at `path`: to another one beside it, which takes its name once it is on disk.
///
/// # Errors
/// [`FileError::Io`]; the file is as before then.
pub fn write_file(path: &Path, table: &UserTable) -> Result<(), FileError> {
    let mut text = Vec::new();
    for user in table.users() {
        text.extend_from_slice(&user.line());
        text.push(b'\n');
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp-{}-{:08x}", std::process::id(), rand::random::<u32>()));
    let temporary = path.with_file_name(name);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        // Whoever reads it may try passwords on the hashes.
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|source| {
        // It may not be there.
        let _ = fs::remove_file(&temporary);
        FileError::Io { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<UserTable, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.acl");
        fs::write(&path, text).unwrap();
        read_file(&path, false).map_err(|error| error.to_string().rsplit_once("users.acl:").unwrap().1.to_owned())
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_users() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.acl");
        let mut table = UserTable::plain();
        let words: [&[u8]; 5] = [b"on", b">secret", b"~k*", b"+@read", b"(+set %W~w &c)"];
        table.set(b"bob", &words, false).unwrap();
        table.set(b"default", &[b"off"], false).unwrap();
        for _ in 0..2 {
            write_file(&path, &table).unwrap();
            let lines = |table: &UserTable| table.users().map(|user| user.line()).collect::<Vec<_>>();
            assert_eq!(lines(&read_file(&path, true).unwrap()), lines(&table));
        }
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["users.acl"], "nothing is left beside it");
        assert!(!fs::read_to_string(&path).unwrap().contains("secret"));
        assert!(write_file(&directory.path().join("none/users.acl"), &table).is_err());
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        let table = read("\n# a comment\r\n user alice on nopass +@all\n").unwrap();
        assert!(table.user(b"alice").is_some() && table.default_user().may_do_everything());
        for (text, error) in [
            ("alice on", "1: should start with user keyword followed by the username"),
            ("user", "1: should start with user keyword followed by the username"),
            ("\nuser a on\nuser a off", "3: Duplicate user 'a' found. A user can only be defined once in config files"),
            ("user a +nosuch", "1: rule '+nosuch': Unknown command or category name in ACL"),
            ("user a <secret", "1: rule '<…': The password you are trying to remove from the user does not exist"),
            ("user a (+get", "1: Unmatched parenthesis in acl selector starting at '(+get'."),
        ] {
            assert_eq!(read(text).unwrap_err(), error, "{text}");
        }
    }
}
