//! Settings that are passwords, and names and files that go with them.
//!
//! What a newcomer would get wrong: a password is told to whoever asks by `CONFIG GET` and may do so, as in Redis; a secret between
//! nodes is not. Neither is told by `basalt config`, by the log or by an error.

use std::fmt;
use std::path::PathBuf;

use super::error::Invalid;
use super::kind::Kind;
use crate::limits::PASSWORD_BYTES_MAX;

/// A password, or none.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password(String);

impl Password {
    /// The password; empty if there is none.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() { "none" } else { "hidden" })
    }
}

/// The name of the value of a setting that is not shown.
pub(super) const PLACEHOLDER: &str = "PASSWORD";

/// A password, or none.
pub(super) struct PasswordOrBlank;

impl Kind for PasswordOrBlank {
    type Value = Password;

    fn parse(&self, text: &str) -> Result<Password, Invalid> {
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(Invalid::new(format!("it has {PASSWORD_BYTES_MAX} bytes at most")));
        }
        Ok(Password(text.to_owned()))
    }

    fn show(&self, value: &Password) -> String {
        value.0.clone()
    }

    fn unit(&self) -> String {
        String::from("a password, or nothing")
    }

    fn placeholder(&self) -> &'static str {
        PLACEHOLDER
    }
}

/// The word that `CONFIG GET` tells for a secret, if there is one.
const UNTOLD: &str = "(set)";

/// A secret that the node's operators share with other nodes, and with no client: `CONFIG GET` does not tell it.
pub(super) struct SecretOrBlank;

impl Kind for SecretOrBlank {
    type Value = Password;

    fn parse(&self, text: &str) -> Result<Password, Invalid> {
        PasswordOrBlank.parse(text)
    }

    fn show(&self, value: &Password) -> String {
        value.0.clone()
    }

    fn show_plain(&self, value: &Password) -> String {
        String::from(if value.0.is_empty() { "" } else { UNTOLD })
    }

    fn unit(&self) -> String {
        String::from("a secret, or nothing")
    }

    fn placeholder(&self) -> &'static str {
        PLACEHOLDER
    }
}

/// The name of a user, or nothing.
pub(super) struct UserOrBlank;

impl Kind for UserOrBlank {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, Invalid> {
        if text.len() > PASSWORD_BYTES_MAX || text.contains([' ', '\t', '\r', '\n', '\0']) {
            return Err(Invalid::new(format!("it has no spaces, and {PASSWORD_BYTES_MAX} bytes at most")));
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn unit(&self) -> String {
        String::from("the name of a user, or nothing")
    }

    fn placeholder(&self) -> &'static str {
        "USER"
    }
}

/// A file, or none.
pub(super) struct FileOrBlank;

impl Kind for FileOrBlank {
    type Value = Option<PathBuf>;

    fn parse(&self, text: &str) -> Result<Option<PathBuf>, Invalid> {
        Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
    }

    fn show(&self, value: &Option<PathBuf>) -> String {
        value.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }

    fn unit(&self) -> String {
        String::from("path of a file that is there, or nothing")
    }

    fn placeholder(&self) -> &'static str {
        "FILE"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_to_nobody_by_chance() {
        let password = PasswordOrBlank.parse("a secret").unwrap();
        assert_eq!((password.text(), format!("{password:?}")), ("a secret", "hidden".to_owned()));
        assert_eq!(format!("{:?}", Password::default()), "none");
        let refusal = PasswordOrBlank.parse(&"x".repeat(PASSWORD_BYTES_MAX + 1)).unwrap_err().to_string();
        assert!(!refusal.contains("xx"), "{refusal}");
        let secret = SecretOrBlank.parse("a secret").unwrap();
        assert_eq!(
            (SecretOrBlank.show_plain(&secret), SecretOrBlank.show_plain(&Password::default())),
            ("(set)".into(), "".into())
        );
        assert!(UserOrBlank.parse("a b").is_err() && UserOrBlank.parse("ab").is_ok());
    }
}
