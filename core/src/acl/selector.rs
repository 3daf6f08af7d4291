//! A selector: commands, with the keys and channels on which they may be called.

use super::RuleError;
use super::command_rules::CommandRules;
use crate::commands::glob_matches;
use crate::commands::rights::{KeyPattern, Permissions, Rights};
use crate::limits;

/// Commands, and the keys and channels on which they may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector {
    commands: CommandRules,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    pub(super) all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// Nothing at all, but for channels if that `all_channels` says.
    pub(super) fn new(all_channels: bool) -> Selector {
        Selector {
            commands: CommandRules::none(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    /// Everything.
    pub(super) fn everything() -> Selector {
        Selector { commands: CommandRules::all(), all_keys: true, ..Selector::new(true) }
    }

    /// Returns whether it allows everything, whatever that is.
    pub(super) fn is_everything(&self) -> bool {
        self.commands.allowed.is_all() && self.all_keys && self.all_channels
    }

    /// Everything that it allows.
    pub(super) fn rights(&self) -> Rights<'_> {
        Rights {
            commands: &self.commands.allowed,
            all_keys: self.all_keys,
            keys: &self.keys,
            all_channels: self.all_channels,
            channels: &self.channels,
        }
    }

    /// Returns whether it allows `channel`, or the pattern of such that this is, which has to be one of its own.
    pub(super) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let fits = |own: &[u8]| if is_pattern { own == channel } else { glob_matches(own, channel) };
        self.all_channels || self.channels.iter().any(|own| fits(own))
    }

    /// Returns whether it allows the same commands, of those there are.
    pub(super) fn allows_same_commands(&self, other: &Selector) -> bool {
        self.commands.allowed.allow_same(&other.commands.allowed)
    }

    /// Returns whether it has the same channels.
    pub(super) fn has_channels_of(&self, other: &Selector) -> bool {
        (self.all_channels, &self.channels) == (other.all_channels, &other.channels)
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// The reason that it is none. Nothing has changed then.
    pub(super) fn add(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match (rule.to_ascii_lowercase().as_slice(), rule) {
            (b"allkeys" | b"~*", _) => (self.all_keys, self.keys) = (true, Vec::new()),
            (b"resetkeys", _) => (self.all_keys, self.keys) = (false, Vec::new()),
            (b"allchannels" | b"&*", _) => (self.all_channels, self.channels) = (true, Vec::new()),
            (b"resetchannels", _) => (self.all_channels, self.channels) = (false, Vec::new()),
            (b"allcommands" | b"+@all", _) => self.commands = CommandRules::all(),
            (b"nocommands" | b"-@all", _) => self.commands = CommandRules::none(),
            (_, [b'~', pattern @ ..]) => self.add_keys(Ok((pattern, Permissions::BOTH)))?,
            (_, [b'%', rest @ ..]) => self.add_keys(read_permissions(rest))?,
            (_, [b'&', pattern @ ..]) => self.add_channels(pattern)?,
            _ => self.commands.add(rule)?,
        }
        Ok(())
    }

    fn add_keys(&mut self, read: Result<(&[u8], Permissions), RuleError>) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeys);
        }
        let (pattern, permissions) = read?;
        check_pattern(pattern)?;
        if let Some(known) = self.keys.iter_mut().find(|known| *known.pattern == *pattern) {
            known.permissions.reads |= permissions.reads;
            known.permissions.writes |= permissions.writes;
            return Ok(());
        }
        check_count(self.keys.len())?;
        self.keys.push(KeyPattern { pattern: pattern.into(), permissions });
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannels);
        }
        check_pattern(pattern)?;
        if !self.channels.iter().any(|known| **known == *pattern) {
            check_count(self.channels.len())?;
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    /// The rules on commands, as they could be said again.
    pub(super) fn describe_commands(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.commands.describe(&mut out);
        out
    }

    /// The rules on keys, as they could be said again.
    pub(super) fn describe_keys(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.all_keys {
            out.extend_from_slice(b"~*");
        }
        for (index, KeyPattern { pattern, permissions }) in self.keys.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(match permissions {
                Permissions { reads: true, writes: true } => b"~",
                Permissions { reads: true, writes: false } => b"%R~",
                Permissions { reads: false, .. } => b"%W~",
            });
            out.extend_from_slice(pattern);
        }
        out
    }

    /// The rules on channels, as they could be said again.
    pub(super) fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let named: Vec<Vec<u8>> = self.channels.iter().map(|channel| [b"&", &**channel].concat()).collect();
        named.join(&b' ')
    }

    /// Appends all its rules, as one line.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        let mut keys = self.describe_keys();
        if !self.all_keys {
            // By itself it would allow all keys, and no pattern may stand behind it.
            let words: Vec<&[u8]> = keys.split(|&byte| byte == b' ').collect();
            keys = words
                .into_iter()
                .map(|word| if word == b"~*" { &b"%RW~*"[..] } else { word })
                .collect::<Vec<_>>()
                .join(&b' ');
        }
        if self.all_keys || !self.keys.is_empty() {
            out.extend_from_slice(&keys);
            out.push(b' ');
        }
        if !self.all_channels {
            out.extend_from_slice(b"resetchannels ");
        }
        if self.all_channels || !self.channels.is_empty() {
            out.extend_from_slice(&self.describe_channels());
            out.push(b' ');
        }
        out.extend_from_slice(&self.describe_commands());
    }
}

/// Reads a pattern of keys with letters before it that say how they may be used.
fn read_permissions(rule: &[u8]) -> Result<(&[u8], Permissions), RuleError> {
    let mut permissions = Permissions { reads: false, writes: false };
    let mut rest = rule;
    while let [letter, behind @ ..] = rest {
        rest = behind;
        match letter {
            b'r' | b'R' if !permissions.reads => permissions.reads = true,
            b'w' | b'W' if !permissions.writes => permissions.writes = true,
            b'~' => break,
            _ => return Err(RuleError::Syntax),
        }
    }
    if permissions.reads || permissions.writes { Ok((rest, permissions)) } else { Err(RuleError::Syntax) }
}

/// Checks what stands in a line of rules, between spaces.
pub(super) fn check_pattern(pattern: &[u8]) -> Result<(), RuleError> {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b);
    if pattern.len() > limits::ACL_RULE_BYTES_MAX {
        return Err(RuleError::TooLong);
    }
    if pattern.iter().any(is_space) { Err(RuleError::Syntax) } else { Ok(()) }
}

fn check_count(count: usize) -> Result<(), RuleError> {
    if count >= limits::ACL_RULES_MAX { Err(RuleError::TooMany) } else { Ok(()) }
}
