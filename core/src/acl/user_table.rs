//! All users of the node, at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::user::words_of;
use super::{DEFAULT_USER, RuleError, User, split_rules};
use crate::limits;

/// The users by their names, of whom the default one is always there.
#[derive(Debug, Clone)]
pub struct UserTable {
    users: BTreeMap<Box<[u8]>, Arc<User>>,
    /// The connection, by its client's id, that has made the last change; 0 if none has. It hears what came of it, whatever became
    /// of its own user.
    pub(super) changed_by: u64,
    /// Users that were made.
    born: u64,
    /// Bytes of all lines.
    bytes: usize,
}

impl UserTable {
    /// The default user alone.
    pub fn plain() -> UserTable {
        let default = Arc::new(User::plain_default());
        UserTable { users: BTreeMap::from([(DEFAULT_USER.into(), default)]), changed_by: 0, born: 0, bytes: 0 }
    }

    /// The default user alone, with a password unless that is empty.
    pub fn of_password(password: &str) -> UserTable {
        let mut table = UserTable::plain();
        table.set_default_password(password);
        table
    }

    /// Sets the one password of the default user, or none.
    pub fn set_default_password(&mut self, password: &str) {
        let mut default = User::clone(self.default_user());
        default.set_password(password);
        self.users.insert(DEFAULT_USER.into(), Arc::new(default));
    }

    /// The user `name`.
    pub fn user(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// The user of who has said nothing.
    pub fn default_user(&self) -> &Arc<User> {
        self.users.get(DEFAULT_USER).expect("the default user is always there")
    }

    /// All of them, by their names.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// The client whose connection has made the last change, by its id.
    pub fn changed_by(&self) -> u64 {
        self.changed_by
    }

    /// The user who is let in by the name `name` with `password`.
    pub fn let_in(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        let user = self.user(name);
        // The time that it takes does not tell if there is such a user.
        let is_let_in = user.unwrap_or_else(|| self.default_user()).is_let_in_with(password);
        user.filter(|_| is_let_in)
    }

    /// Puts a user in the place of the one that has its name, if there is one.
    ///
    /// # Errors
    /// A text, if there would be too many, or one could not be read back from a file.
    pub fn put(&mut self, mut user: User) -> Result<(), String> {
        let known = self.user(user.name()).map(|known| (known.born, known.line_bytes));
        if known.is_none() && self.users.len() >= limits::ACL_USERS_MAX {
            return Err(format!("there are {} users already, there cannot be more", limits::ACL_USERS_MAX));
        }
        let line = user.line();
        check_size(&[&line])?;
        user.line_bytes = line.len() + 1;
        let bytes = self.bytes + user.line_bytes - known.map_or(0, |(_, line_bytes)| line_bytes);
        if bytes as u64 > limits::ACL_FILE_BYTES_MAX {
            return Err(format!("all users would have more than {} bytes", limits::ACL_FILE_BYTES_MAX));
        }
        if !user.reads_back(&line) {
            return Err("the rules are refused: the user could not be read back from a file as it is".to_owned());
        }
        self.bytes = bytes;
        user.born = known.map(|(born, _)| born).unwrap_or_else(|| {
            self.born += 1;
            self.born
        });
        self.users.insert(user.name().into(), Arc::new(user));
        Ok(())
    }

    /// Puts all users in the place of these: those of the same names are the same users.
    ///
    /// # Errors
    /// As [`UserTable::put`].
    pub fn put_all(&mut self, others: UserTable) -> Result<(), String> {
        let gone = self.users.extract_if(.., |name, _| others.user(name).is_none());
        self.bytes -= gone.map(|(_, user)| user.line_bytes).sum::<usize>();
        others.users.into_values().try_for_each(|user| self.put(Arc::unwrap_or_clone(user)))
    }

    /// Removes a user other than the default one; returns whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let removed = if name == DEFAULT_USER { None } else { self.users.remove(name) };
        self.bytes -= removed.as_ref().map_or(0, |user| user.line_bytes);
        removed.is_some()
    }

    /// Makes or changes the user `name` by rules. Nothing has changed if one is refused.
    ///
    /// # Errors
    /// A text that names the rule.
    pub fn set(&mut self, name: &[u8], words: &[&[u8]], all_channels: bool) -> Result<(), String> {
        check_size(words)?;
        let rules = split_rules(words).map_err(|open| {
            let open = String::from_utf8_lossy(&open).into_owned();
            format!("Unmatched parenthesis in acl selector starting at '{open}'.")
        })?;
        let mut user = self.user(name).map_or_else(|| User::new(name, all_channels), |user| User::clone(user));
        for rule in &rules {
            let told = |error: RuleError| {
                format!("Error in ACL SETUSER modifier '{}': {error}", String::from_utf8_lossy(rule))
            };
            user.add(rule, all_channels).map_err(told)?;
        }
        self.put(user)
    }
}

/// Checks what one user is made of: words of a call, or a line.
fn check_size(words: &[&[u8]]) -> Result<(), String> {
    let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
    if bytes > limits::ACL_USER_BYTES_MAX {
        return Err(format!("the rules of a user have {} bytes at most", limits::ACL_USER_BYTES_MAX));
    }
    let count: usize = words.iter().map(|word| words_of(word).len()).sum();
    if count > limits::ACL_WORDS_MAX {
        return Err(format!("the rules of a user are {} words at most", limits::ACL_WORDS_MAX));
    }
    Ok(())
}
