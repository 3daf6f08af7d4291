//! Commands that a selector allows: a bit for each, and the rules that have set them, as they were said.
//!
//! The text begins with all or with none, and has of each command or category the last rule on it, as since Redis 7.2. Redis 7.0
//! makes up a text from the bits, which forgets what was meant for commands to come.

use super::selector::check_pattern;
use crate::acl::{CATEGORIES, RuleError};
use crate::commands::rights::AllowedCommands;
use crate::commands::table;
use crate::limits;

/// The commands that are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandRules {
    pub(super) allowed: AllowedCommands,
    /// True if all were allowed and then some taken away; false if none were and then some given.
    begins_with_all: bool,
    /// Rules behind that, each with its sign, in lower case.
    rules: Vec<Vec<u8>>,
}

impl CommandRules {
    /// No command at all.
    pub(super) fn none() -> CommandRules {
        CommandRules { allowed: AllowedCommands::none(), begins_with_all: false, rules: Vec::new() }
    }

    /// Every command, also those to come.
    pub(super) fn all() -> CommandRules {
        CommandRules { allowed: AllowedCommands::all(), begins_with_all: true, rules: Vec::new() }
    }

    /// Adds a rule, which begins with `+` or `-`.
    ///
    /// # Errors
    /// The reason that it is none. Nothing has changed then.
    pub(super) fn add(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let (is_allowed, name) = match rule {
            [b'+', name @ ..] => (true, name),
            [b'-', name @ ..] => (false, name),
            _ => return Err(RuleError::Syntax),
        };
        if let [b'@', category @ ..] = name {
            return self.set_category(category, is_allowed);
        }
        let bar = name.iter().rposition(|&byte| byte == b'|').filter(|_| is_allowed);
        let Some(bar) = bar else {
            let command = table::named(name).ok_or(RuleError::Unknown)?;
            self.check_room(command.name().as_bytes())?;
            self.allowed.set(command, is_allowed);
            self.note(command.name().as_bytes(), is_allowed);
            return Ok(());
        };
        let container = table::named(&name[..bar]).ok_or(RuleError::Unknown)?;
        let word = &name[bar + 1..];
        if name[..bar].contains(&b'|') {
            return Err(RuleError::Subcommand);
        }
        if word.is_empty() {
            return Err(RuleError::Syntax);
        }
        check_pattern(word)?;
        self.check_room(&name.to_ascii_lowercase())?;
        if container.subcommands.is_empty() {
            self.allowed.allow_with(container, word);
        } else {
            self.allowed.set(table::named(name).ok_or(RuleError::Unknown)?, true);
        }
        // A word of a command that has no subcommands may be anything.
        self.note(&name.to_ascii_lowercase(), true);
        Ok(())
    }

    fn set_category(&mut self, category: &[u8], is_allowed: bool) -> Result<(), RuleError> {
        let is_named = |known: &&&str| known.as_bytes().eq_ignore_ascii_case(category);
        let category = *CATEGORIES.iter().find(is_named).ok_or(RuleError::Unknown)?;
        let name = format!("@{category}");
        self.check_room(name.as_bytes())?;
        for command in table::with_subcommands().filter(|command| command.is_in_category(category)) {
            self.allowed.set(command, is_allowed);
        }
        self.note(name.as_bytes(), is_allowed);
        Ok(())
    }

    /// Notes a rule in the place of those before it on the same, or on a part of it.
    fn note(&mut self, name: &[u8], is_allowed: bool) {
        self.rules.retain(|rule| !is_part_of(rule, name));
        self.rules.push([if is_allowed { b"+" } else { b"-" }, name].concat());
    }

    /// Makes sure that there is room for one more rule, or that it takes the place of another.
    fn check_room(&self, name: &[u8]) -> Result<(), RuleError> {
        let has_room = self.rules.len() < limits::ACL_RULES_MAX || self.rules.iter().any(|rule| is_part_of(rule, name));
        if has_room { Ok(()) } else { Err(RuleError::TooMany) }
    }

    /// Appends the rules, as they could be said again.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.begins_with_all { b"+@all" } else { b"-@all" });
        for rule in &self.rules {
            out.push(b' ');
            out.extend_from_slice(rule);
        }
    }
}

/// Returns whether a rule, with its sign, is on what is called `name`, or on a part of it.
fn is_part_of(rule: &[u8], name: &[u8]) -> bool {
    rule[1..].strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(of: &str) -> Result<CommandRules, RuleError> {
        let mut rules = CommandRules::none();
        for rule in of.split_terminator(' ') {
            match rule {
                "+@all" => rules = CommandRules::all(),
                rule => rules.add(rule.as_bytes())?,
            }
        }
        Ok(rules)
    }

    fn allows(rules: &CommandRules, line: &str) -> bool {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        rules.allowed.allow(table::called(&args).expect("a command"), &args)
    }

    #[test]
    fn the_last_rule_on_a_command_counts() {
        for (text, allowed, denied, told) in [
            ("", "", "get|config get", "-@all"),
            ("+@all", "get|config set|acl setuser", "", "+@all"),
            ("+@all -get", "set|config get", "get", "+@all -get"),
            ("+GET +set -get", "set", "get|config get", "-@all +set -get"),
            ("+config|get", "config get", "config set|get", "-@all +config|get"),
            ("+config|get +config", "config get|config set", "get", "-@all +config"),
            ("+config -config|set", "config get", "config set", "-@all +config -config|set"),
            ("+@string -@write", "get", "set|hget", "-@all +@string -@write"),
            ("+@all -@dangerous +config|get", "get|config get", "config set|flushall", "+@all -@dangerous +config|get"),
            ("+select|0 +select|1", "select 0|select 1", "select 2", "-@all +select|0 +select|1"),
            ("+select|0 -select", "get x", "select 0", "-@all -select"),
        ] {
            let rules = rules(text).unwrap();
            let lines = |lines: &'static str| {
                lines.split_terminator('|').map(|line| line.trim()).filter(|line| *line != "get x")
            };
            lines(allowed).for_each(|line| assert!(allows(&rules, line), "{text}: {line}"));
            lines(denied).for_each(|line| assert!(!allows(&rules, line), "{text}: {line}"));
            let mut described = Vec::new();
            rules.describe(&mut described);
            assert_eq!(String::from_utf8(described).unwrap(), told, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (text, error) in [
            ("+nosuch", RuleError::Unknown),
            ("-nosuch", RuleError::Unknown),
            ("+@nosuch", RuleError::Unknown),
            ("-get|x", RuleError::Unknown),
            ("+config|nosuch", RuleError::Unknown),
            ("+config|", RuleError::Syntax),
            ("+get|", RuleError::Syntax),
            ("+config|get|x", RuleError::Subcommand),
            ("get", RuleError::Syntax),
            ("+get|a\tb", RuleError::Syntax),
        ] {
            assert_eq!(rules(text), Err(error), "{text}");
        }
        let mut many = CommandRules::none();
        let added = (0..=limits::ACL_RULES_MAX).map(|number| many.add(format!("+get|{number}").as_bytes()));
        assert_eq!(added.last(), Some(Err(RuleError::TooMany)));
        assert_eq!(many.add(b"+get|7"), Ok(()), "it takes the place of another");
        assert_eq!(many.add(b"-get"), Ok(()), "it leaves fewer");
        assert_eq!(many.rules, [b"-get"]);
    }
}
