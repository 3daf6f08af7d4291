//! A user: a name, passwords, and selectors, any of which allows what it allows.

use std::sync::{Arc, OnceLock};

use super::RuleError;
use super::password::{PasswordHash, is_one_of};
use super::selector::Selector;
use crate::commands::rights::CallerRights;
use crate::limits;

/// The user of a connection that has said nothing about who it is.
pub const DEFAULT_USER: &[u8] = b"default";

/// A wish about the payload of RESTORE, which is checked here in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sanitizing {
    Unsaid,
    Always,
    Skipped,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: Box<[u8]>,
    /// Bytes of its line.
    pub(super) line_bytes: usize,
    /// A number that no other user of this run has that was made, also none of that name.
    pub(super) born: u64,
    is_enabled: bool,
    /// True if any password will do.
    needs_no_password: bool,
    sanitizing: Sanitizing,
    passwords: Vec<PasswordHash>,
    root: Selector,
    selectors: Vec<Selector>,
    written: Written,
}

/// The rights of a user, once somebody has asked for them. What is changed is a copy, which has not been asked.
#[derive(Debug, Default)]
struct Written(OnceLock<Arc<[u8]>>);

impl Clone for Written {
    fn clone(&self) -> Written {
        Written::default()
    }
}

impl PartialEq for Written {
    fn eq(&self, _: &Written) -> bool {
        true
    }
}

impl Eq for Written {}

/// Returns whether a user may have that name.
pub fn is_name(name: &[u8]) -> bool {
    (1..=limits::ACL_NAME_BYTES_MAX).contains(&name.len())
        && !name.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}

/// The words of a line of rules.
pub(super) fn words_of(line: &[u8]) -> Vec<&[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

/// Puts together what stands between parentheses, which are a selector: such a rule may come in several words.
///
/// # Errors
/// The beginning of a selector that does not end.
pub fn split_rules(words: &[&[u8]]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut rules = Vec::new();
    // Its first word, and what of it there is.
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        let (first, rule) = match open.take() {
            Some((first, selector)) => (first, [&selector, *word].join(&b' ')),
            None => (*word, word.to_vec()),
        };
        if rule.first() == Some(&b'(') && rule.last() != Some(&b')') {
            open = Some((first, rule));
        } else {
            rules.push(rule);
        }
    }
    match open {
        Some((first, _)) => Err(first.to_vec()),
        None => Ok(rules),
    }
}

impl User {
    /// A user who may do nothing, but for channels if `all_channels` says so.
    pub fn new(name: &[u8], all_channels: bool) -> User {
        User {
            name: name.into(),
            line_bytes: 0,
            born: 0,
            is_enabled: false,
            needs_no_password: false,
            sanitizing: Sanitizing::Unsaid,
            passwords: Vec::new(),
            root: Selector::new(all_channels),
            selectors: Vec::new(),
            written: Written::default(),
        }
    }

    /// The user that there is before anybody has said something of users: without a password, and with all rights.
    pub fn plain_default() -> User {
        User {
            is_enabled: true,
            needs_no_password: true,
            root: Selector::everything(),
            ..User::new(DEFAULT_USER, true)
        }
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns whether it is served without a password.
    pub fn needs_no_password(&self) -> bool {
        self.needs_no_password
    }

    /// Returns whether a connection is its without having said so, if it is the default one.
    pub fn is_for_everybody(&self) -> bool {
        self.needs_no_password && self.is_enabled
    }

    /// Returns whether it may do everything.
    pub fn may_do_everything(&self) -> bool {
        self.all_selectors().any(Selector::is_everything)
    }

    /// Everything that it may do, as a script takes it along: [`CallerRights`], written.
    pub fn rights(&self) -> Arc<[u8]> {
        let written = || CallerRights::of(self.all_selectors().map(Selector::rights)).encode().into();
        self.written.0.get_or_init(written).clone()
    }

    /// Returns whether `password` lets somebody be this user.
    pub fn is_let_in_with(&self, password: &[u8]) -> bool {
        // A longer one is none, and would take long to be compared.
        let is_right = password.len() <= limits::PASSWORD_BYTES_MAX && is_one_of(password, &self.passwords);
        self.is_enabled && (self.needs_no_password || is_right)
    }

    pub(super) fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Returns whether it is the same user, maybe with other rights: none that was made anew.
    pub fn is_still(&self, before: &User) -> bool {
        self.born == before.born
    }

    /// Returns whether it may hear of the channels that `other` may hear of, and of no others.
    pub fn has_channels_of(&self, other: &User) -> bool {
        let mut pairs = self.all_selectors().zip(other.all_selectors());
        self.selectors.len() == other.selectors.len() && pairs.all(|(own, others)| own.has_channels_of(others))
    }

    /// Sets the one password, or none.
    pub fn set_password(&mut self, password: &str) {
        self.needs_no_password = password.is_empty();
        self.passwords = if password.is_empty() { Vec::new() } else { vec![PasswordHash::of(password.as_bytes())] };
    }

    /// Adds a rule. With `reset`, channels become what `all_channels` says.
    ///
    /// # Errors
    /// The reason that it is none. Nothing has changed then.
    pub fn add(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        match (rule.to_ascii_lowercase().as_slice(), rule) {
            (b"", _) => {}
            (b"on", _) => self.is_enabled = true,
            (b"off", _) => self.is_enabled = false,
            (b"nopass", _) => (self.needs_no_password, self.passwords) = (true, Vec::new()),
            (b"resetpass", _) => (self.needs_no_password, self.passwords) = (false, Vec::new()),
            (b"skip-sanitize-payload", _) => self.sanitizing = Sanitizing::Skipped,
            (b"sanitize-payload", _) => self.sanitizing = Sanitizing::Always,
            (b"clearselectors", _) => self.selectors = Vec::new(),
            (b"reset", _) => {
                let (sanitizing, born, line_bytes) = (Sanitizing::Always, self.born, self.line_bytes);
                *self =
                    User { sanitizing, born, line_bytes, ..User::new(&std::mem::take(&mut self.name), all_channels) };
            }
            (_, [b'>', password @ ..]) if password.len() > limits::PASSWORD_BYTES_MAX => {
                return Err(RuleError::LongPassword);
            }
            (_, [b'>', password @ ..]) => self.add_password(PasswordHash::of(password))?,
            (_, [b'#', hash @ ..]) => self.add_password(PasswordHash::read(hash).ok_or(RuleError::Hash)?)?,
            (_, [b'<', password @ ..]) => self.remove_password(PasswordHash::of(password))?,
            (_, [b'!', hash @ ..]) => self.remove_password(PasswordHash::read(hash).ok_or(RuleError::Hash)?)?,
            (_, [b'(', rules @ .., b')']) => {
                if self.selectors.len() >= limits::ACL_RULES_MAX {
                    return Err(RuleError::TooMany);
                }
                let mut selector = Selector::new(all_channels);
                let rules = rules.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty());
                for rule in rules {
                    // A file's line would end it there.
                    if rule.starts_with(b"(") || rule.ends_with(b")") {
                        return Err(RuleError::Syntax);
                    }
                    selector.add(rule)?;
                }
                self.selectors.push(selector);
            }
            _ => self.root.add(rule)?,
        }
        Ok(())
    }

    fn add_password(&mut self, hash: PasswordHash) -> Result<(), RuleError> {
        if !self.passwords.contains(&hash) {
            if self.passwords.len() >= limits::ACL_RULES_MAX {
                return Err(RuleError::TooMany);
            }
            self.passwords.push(hash);
        }
        self.needs_no_password = false;
        Ok(())
    }

    fn remove_password(&mut self, hash: PasswordHash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| *known == hash).ok_or(RuleError::NoPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// Its flags, in Redis' words and order.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> + use<> {
        let flags = [
            (self.is_enabled, "on"),
            (!self.is_enabled, "off"),
            (self.needs_no_password, "nopass"),
            (self.sanitizing == Sanitizing::Skipped, "skip-sanitize-payload"),
            (self.sanitizing == Sanitizing::Always, "sanitize-payload"),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag)
    }

    /// The hashes of its passwords, as hexadecimal digits.
    pub fn passwords(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(PasswordHash::hex)
    }

    /// The rules of each selector on commands, keys and channels, as they could be said again; the root comes first.
    pub fn selectors(&self) -> Vec<[Vec<u8>; 3]> {
        let describe = |of: &Selector| [of.describe_commands(), of.describe_keys(), of.describe_channels()];
        self.all_selectors().map(describe).collect()
    }

    /// Returns whether its line makes a user that is told by the same line, and who may call the same.
    pub(super) fn reads_back(&self, line: &[u8]) -> bool {
        let words: Vec<&[u8]> = words_of(line);
        let [b"user", name, rules @ ..] = &words[..] else { return false };
        let Ok(rules) = split_rules(rules) else { return false };
        let mut read = User::new(name, false);
        let is_read = rules.iter().all(|rule| read.add(rule, false).is_ok());
        let has_same = |(own, others): (&Selector, &Selector)| own.allows_same_commands(others);
        is_read && read.line() == line && self.all_selectors().zip(read.all_selectors()).all(has_same)
    }

    /// The line that makes such a user, without an end.
    pub fn line(&self) -> Vec<u8> {
        let mut line = [b"user ", &*self.name, b" "].concat();
        let words = self.flags().map(str::to_owned).chain(self.passwords().map(|hash| format!("#{hash}")));
        for word in words {
            line.extend_from_slice(word.as_bytes());
            line.push(b' ');
        }
        self.root.describe(&mut line);
        for selector in &self.selectors {
            line.extend_from_slice(b" (");
            selector.describe(&mut line);
            line.push(b')');
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(rules: &str) -> Result<User, RuleError> {
        let mut user = User::new(b"u", false);
        let words: Vec<&[u8]> = rules.split_terminator(' ').map(str::as_bytes).collect();
        split_rules(&words).unwrap().iter().try_for_each(|rule| user.add(rule, false))?;
        Ok(user)
    }

    fn line(rules: &str) -> String {
        String::from_utf8(user(rules).unwrap().line()).unwrap()
    }

    // The lines are those of redis-server 7.0.15.

    #[test]
    fn a_user_is_told_as_redis_tells_it() {
        let hash = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
        for (rules, told) in [
            ("", "off resetchannels -@all"),
            ("on nopass ~* &* +@all", "on nopass ~* &* +@all"),
            ("reset", "off sanitize-payload resetchannels -@all"),
            ("skip-sanitize-payload ALLKEYS allchannels", "off skip-sanitize-payload ~* &* -@all"),
            (
                "on >a ~k* %R~r* +get (+set ~x %W~y)",
                &format!("on #{hash} ~k* %R~r* resetchannels -@all +get (~x %W~y resetchannels -@all +set)"),
            ),
            ("%r~a %W~a %R~", "off ~a %R~ resetchannels -@all"),
            ("%R~ ~ & &ch*", "off ~ resetchannels & &ch* -@all"),
            ("nopass >a <a", "off resetchannels -@all"),
            (&format!("#{hash} !{hash} >b resetpass"), "off resetchannels -@all"),
            ("(+get) (+set &a) clearselectors", "off resetchannels -@all"),
            ("( +get ~a )", "off resetchannels -@all (~a resetchannels -@all +get)"),
            ("~* resetkeys ~a &* resetchannels &b", "off ~a resetchannels &b -@all"),
        ] {
            assert_eq!(line(rules), format!("user u {told}"), "{rules}");
            assert_eq!(line(told), format!("user u {told}"), "{rules}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_and_why() {
        for (rules, error) in [
            ("foo", RuleError::Syntax),
            ("%~a", RuleError::Syntax),
            ("%RR~a", RuleError::Syntax),
            ("%x~a", RuleError::Syntax),
            ("~* ~a", RuleError::AllKeys),
            ("&* &a", RuleError::AllChannels),
            ("<a", RuleError::NoPassword),
            ("#abc", RuleError::Hash),
            ("!abc", RuleError::Hash),
            ("(on)", RuleError::Syntax),
            ("(+nosuch)", RuleError::Unknown),
        ] {
            assert_eq!(user(rules), Err(error), "{rules}");
        }
        assert_eq!(split_rules(&[b"on", b"(+get", b"~a"]), Err(b"(+get".to_vec()));
        assert_eq!(User::new(b"u", false).add(b"~a b", false), Err(RuleError::Syntax));
    }

    #[test]
    fn passwords_let_in_who_knows_one_of_them() {
        let one = user("on >a >b").unwrap();
        assert!(one.is_let_in_with(b"a") && one.is_let_in_with(b"b") && !one.is_let_in_with(b"c"));
        assert!(!user(">a").unwrap().is_let_in_with(b"a"), "it is off");
        assert!(user("on nopass").unwrap().is_let_in_with(b"whatever"));
        assert!(!user("on").unwrap().is_let_in_with(b""));
        let mut default = User::plain_default();
        assert!(default.is_for_everybody() && default.may_do_everything());
        default.set_password("secret");
        assert!(!default.is_for_everybody() && default.is_let_in_with(b"secret") && default.may_do_everything());
        default.set_password("");
        assert_eq!(default, User::plain_default());
        assert!(user("(~* &* +@all)").unwrap().may_do_everything());
    }
}
