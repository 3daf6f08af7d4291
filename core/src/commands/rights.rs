//! Rights to call commands, without the words that gave them: what is asked about each command of a user who may not do everything.
//!
//! Those of a script's caller go with the script into the log, since its commands are called wherever the entry is executed. There
//! the numbers of commands and the patterns of keys decide, which are the same on every node. So where the keys of a command are,
//! what it does with them (`key_specs`), and the steps of a match, are a part of what an entry means.

use super::command::Channels;
use super::facts::{Flags, KeySpec};
use super::table::ID_END;
use super::{Args, Command, find_used, flags_of_call, glob_matches_within, once};
use crate::limits;

const WORDS: usize = ID_END.div_ceil(64);
const ALL_COMMANDS: u8 = 0x01;
const ALL_KEYS: u8 = 0x02;
const NEW_COMMANDS: u8 = 0x04;
const WITH_CHANNELS: u8 = 0x08;
const ALL_CHANNELS: u8 = 0x10;
const READS: u8 = 0x01;
const WRITES: u8 = 0x02;

/// Steps that it takes to look at a set of rights, and at a pattern, beside the words and bytes of both.
const STEPS_PER_SET: usize = 8;
const STEPS_PER_PATTERN: usize = 4;

fn pay(steps_left: &mut u64, steps: usize) {
    *steps_left = steps_left.saturating_sub(steps as u64);
}

/// The reason that a call is denied, with the position of the key or the channel among its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command.
    Command,
    /// A key.
    Key(usize),
    /// A channel.
    Channel(usize),
}

impl Denied {
    /// The position of what is denied among the arguments; of a command that is its name's.
    pub fn position(self) -> usize {
        match self {
            Denied::Command => 0,
            Denied::Key(position) | Denied::Channel(position) => position,
        }
    }
}

/// Commands that are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedCommands {
    bits: Box<[u64; WORDS]>,
    /// True if nothing was taken away since all were allowed.
    is_all: bool,
    /// True if commands are allowed that are not there yet.
    allows_new: bool,
    /// Commands that are allowed with one of these words as their first argument.
    first_args: Vec<(u16, Box<[u8]>)>,
}

impl AllowedCommands {
    /// No command at all.
    pub fn none() -> AllowedCommands {
        AllowedCommands { bits: Box::new([0; WORDS]), is_all: false, allows_new: false, first_args: Vec::new() }
    }

    /// Every command, also those to come.
    pub fn all() -> AllowedCommands {
        AllowedCommands { bits: Box::new([u64::MAX; WORDS]), is_all: true, allows_new: true, first_args: Vec::new() }
    }

    /// Returns whether every command is allowed.
    pub fn is_all(&self) -> bool {
        self.is_all
    }

    /// Allows a command with its subcommands, or takes them away.
    pub fn set(&mut self, command: &Command, is_allowed: bool) {
        if !self.first_args.is_empty() {
            self.first_args.retain(|(id, _)| *id != command.id);
        }
        for id in std::iter::once(command.id).chain(command.subcommands.iter().map(|command| command.id)) {
            let (word, bit) = (&mut self.bits[usize::from(id) / 64], 1 << (id % 64));
            if is_allowed {
                *word |= bit;
            } else {
                *word &= !bit;
                self.is_all = false;
            }
        }
    }

    /// Allows a command with `word` as its first argument, whatever the case of its letters.
    pub fn allow_with(&mut self, command: &Command, word: &[u8]) {
        let first = (command.id, word.to_ascii_lowercase().into());
        if !self.first_args.contains(&first) {
            self.first_args.push(first);
        }
    }

    /// Returns whether a call of `command` with `args` is allowed.
    pub fn allow(&self, command: &Command, args: Args<'_>) -> bool {
        if self.is_all || self.has(command.id) {
            return true;
        }
        let first = args.get(1).copied().unwrap_or_default();
        self.first_args.iter().any(|(id, word)| *id == command.id && args.len() > 1 && word.eq_ignore_ascii_case(first))
    }

    /// Returns whether the same commands are allowed, of those there are.
    pub fn allow_same(&self, other: &AllowedCommands) -> bool {
        let has_all_of = |one: &AllowedCommands, other: &AllowedCommands| {
            one.first_args.iter().all(|first| other.has(first.0) || other.first_args.contains(first))
        };
        self.bits == other.bits && has_all_of(self, other) && has_all_of(other, self)
    }

    fn has(&self, id: u16) -> bool {
        self.bits[usize::from(id) / 64] >> (id % 64) & 1 == 1
    }
}

/// The ways in which keys may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// True if what they hold may be told.
    pub reads: bool,
    /// True if they may be changed.
    pub writes: bool,
}

impl Permissions {
    /// Both ways.
    pub const BOTH: Permissions = Permissions { reads: true, writes: true };

    fn cover(self, wanted: Permissions) -> bool {
        (self.reads || !wanted.reads) && (self.writes || !wanted.writes)
    }
}

/// Keys that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern {
    /// The pattern that their names match.
    pub pattern: Box<[u8]>,
    /// The ways in which they may be.
    pub permissions: Permissions,
}

/// Commands with the keys on which they may be called.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a> {
    /// The commands.
    pub commands: &'a AllowedCommands,
    /// True if that is on every key.
    pub all_keys: bool,
    /// Else, the keys.
    pub keys: &'a [KeyPattern],
    /// True if they may be called with every channel.
    pub all_channels: bool,
    /// Else, the patterns of those.
    pub channels: &'a [Box<[u8]>],
}

impl Rights<'_> {
    /// Checks a call of `command` with `args`, the number of which has been checked. Patterns are matched in so many steps as are
    /// left, and each takes some.
    ///
    /// # Errors
    /// What is denied. A key is, too, if no steps are left.
    pub fn check(&self, command: &Command, args: Args<'_>, steps_left: &mut u64) -> Result<(), Denied> {
        let words = if self.commands.has(command.id) { 0 } else { self.commands.first_args.len() };
        pay(steps_left, STEPS_PER_SET + args.len() + words);
        if !command.facts.flags.contains(Flags::NO_AUTH) && !self.commands.allow(command, args) {
            return Err(Denied::Command);
        }
        command.facts.key_specs.iter().try_for_each(|spec| self.check_keys(command, spec, args, steps_left))?;
        match once::inner(command, args) {
            // Within itself it is refused, and so is one with too few arguments.
            Some((inner, args)) if inner.id != command.id && inner.check_arity(args).is_ok() => {
                self.check(inner, args, steps_left).map_err(|denied| match denied {
                    Denied::Key(position) => Denied::Key(once::COMMAND_AT + position),
                    other => other,
                })
            }
            _ => Ok(()),
        }
    }

    /// Checks the channels of a call: one that a message is for has to match a pattern, a pattern has to be one of them. Patterns
    /// are matched in so many steps as are left, and each takes some.
    ///
    /// # Errors
    /// The channel that is denied, as any is if no steps are left.
    pub fn check_channels(&self, command: &Command, args: Args<'_>, steps_left: &mut u64) -> Result<(), Denied> {
        let Channels { mut positions, are_patterns } = command.channels(args);
        let mut fits = |own: &[u8], channel: &[u8]| {
            let steps_max = u64::from(limits::GLOB_STEPS_MAX).min(*steps_left) as u32;
            let (matches, steps) = match are_patterns {
                true => (own == channel && steps_max > 0, 0),
                false => glob_matches_within(own, channel, steps_max),
            };
            pay(steps_left, STEPS_PER_PATTERN + steps as usize);
            matches
        };
        let is_denied = |position: &usize| !self.channels.iter().any(|own| fits(own, args[*position]));
        match if self.all_channels { None } else { positions.find(is_denied) } {
            Some(position) => Err(Denied::Channel(position)),
            None => Ok(()),
        }
    }

    /// Checks a call as [`Rights::check`] does, and returns whether it may read every key besides.
    pub fn may_read_all(&self, command: &Command, args: Args<'_>, steps_left: &mut u64) -> bool {
        let is_all = |of: &KeyPattern| of.permissions.reads && *of.pattern == *b"*";
        (self.all_keys || self.keys.iter().any(is_all)) && self.check(command, args, steps_left).is_ok()
    }

    fn check_keys(
        &self,
        command: &Command,
        spec: &KeySpec,
        args: Args<'_>,
        steps_left: &mut u64,
    ) -> Result<(), Denied> {
        // It has names in the place of keys that are none.
        if self.all_keys || spec.flags.contains(&"not_key") {
            return Ok(());
        }
        // What makes no sense is refused by the handler, which touches no key then.
        let Some((first, end, step)) = find_used(spec, args) else { return Ok(()) };
        let flags = if spec.flags.contains(&"variable_flags") { flags_of_call(command, args) } else { spec.flags };
        let has = |words: &[&str]| flags.iter().any(|flag| words.contains(flag));
        let wanted = Permissions { reads: has(&["access"]), writes: has(&["insert", "delete", "update"]) };
        let mut fits = |of: &KeyPattern, key: &[u8]| {
            let steps_max = u64::from(limits::GLOB_STEPS_MAX).min(*steps_left) as u32;
            let (matches, steps) = glob_matches_within(&of.pattern, key, steps_max);
            pay(steps_left, STEPS_PER_PATTERN + steps as usize);
            matches && of.permissions.cover(wanted)
        };
        match (first..end).step_by(step).find(|position| !self.keys.iter().any(|of| fits(of, args[*position]))) {
            Some(position) => Err(Denied::Key(position)),
            None => Ok(()),
        }
    }

    /// Writes them as bytes: `[flags u8: 1 all commands, 2 all keys, 4 commands to come, 8 channels follow, 16 all channels]`,
    /// `[words u16 LE]{[bits of commands u64 LE]}…`, `[first arguments u16 LE]{[command u16 LE][length u32 LE][bytes]}…`, and
    /// `[patterns u16 LE]{[1 reads, 2 writes][length u32 LE][bytes]}…`, and channels as `[patterns u16 LE]{[length u32
    /// LE][bytes]}…`.
    fn encode(&self, out: &mut Vec<u8>) {
        let AllowedCommands { bits, is_all, allows_new, first_args } = self.commands;
        let count = |length: usize| u16::try_from(length).expect("rules have a bound").to_le_bytes();
        let put = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend_from_slice(&u32::try_from(bytes.len()).expect("a rule has a bound").to_le_bytes());
            out.extend_from_slice(bytes);
        };
        let bits = if *is_all { &[][..] } else { &bits[..] };
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let of_channels = WITH_CHANNELS | flag(self.all_channels, ALL_CHANNELS);
        out.push(
            flag(*is_all, ALL_COMMANDS) | flag(self.all_keys, ALL_KEYS) | flag(*allows_new, NEW_COMMANDS) | of_channels,
        );
        out.extend_from_slice(&count(bits.len()));
        bits.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        out.extend_from_slice(&count(first_args.len()));
        for (id, word) in first_args {
            out.extend_from_slice(&id.to_le_bytes());
            put(out, word);
        }
        out.extend_from_slice(&count(self.keys.len()));
        for KeyPattern { pattern, permissions } in self.keys {
            out.push(flag(permissions.reads, READS) | flag(permissions.writes, WRITES));
            put(out, pattern);
        }
        out.extend_from_slice(&count(self.channels.len()));
        self.channels.iter().for_each(|pattern| put(out, pattern));
    }
}

/// The rights of somebody who calls a script: sets of them, each of which allows a call as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerRights {
    sets: Vec<RightSet>,
}

/// As [`Rights`], by itself. One that an earlier version wrote has no channels.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RightSet {
    commands: AllowedCommands,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

impl CallerRights {
    /// These sets.
    pub fn of<'a>(sets: impl Iterator<Item = Rights<'a>>) -> CallerRights {
        let own = |of: Rights<'_>| RightSet {
            commands: of.commands.clone(),
            all_keys: of.all_keys,
            keys: of.keys.to_vec(),
            all_channels: of.all_channels,
            channels: of.channels.to_vec(),
        };
        CallerRights { sets: sets.map(own).collect() }
    }

    fn rights(&self) -> impl Iterator<Item = Rights<'_>> {
        self.sets.iter().map(|RightSet { commands, all_keys, keys, all_channels, channels }| Rights {
            commands,
            all_keys: *all_keys,
            keys,
            all_channels: *all_channels,
            channels,
        })
    }

    /// Writes them as bytes: `[sets u16 LE]`, and each as [`Rights`] are.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = u16::try_from(self.sets.len()).expect("selectors have a bound").to_le_bytes().to_vec();
        self.rights().for_each(|rights| rights.encode(&mut out));
        out
    }

    /// Reads what [`CallerRights::encode`] wrote; `None` if it is something else.
    pub fn decode(bytes: &[u8]) -> Option<CallerRights> {
        let mut input = Input(bytes);
        let count = input.u16()?;
        let mut sets = Vec::new();
        for _ in 0..count {
            sets.push(input.set()?);
        }
        input.0.is_empty().then_some(CallerRights { sets })
    }

    /// Checks a call as [`Rights::check`] does, and its channels.
    ///
    /// # Errors
    /// What comes closest to be allowed, of all sets.
    pub fn check(&self, command: &Command, args: Args<'_>, steps_left: &mut u64) -> Result<(), Denied> {
        let mut closest = Denied::Command;
        for rights in self.rights() {
            let checked = rights.check(command, args, steps_left);
            match checked.and_then(|()| rights.check_channels(command, args, steps_left)) {
                Ok(()) => return Ok(()),
                Err(denied) => closest = closest.max(denied),
            }
        }
        Err(closest)
    }
}

impl CallerRights {
    /// Returns whether one of the sets allows a call and to read every key besides.
    pub fn may_read_all(&self, command: &Command, args: Args<'_>, steps_left: &mut u64) -> bool {
        self.rights().any(|rights| rights.may_read_all(command, args, steps_left))
    }
}

/// Bytes that are read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn set(&mut self) -> Option<RightSet> {
        let [flags] = self.take()?;
        if flags & !(ALL_COMMANDS | ALL_KEYS | NEW_COMMANDS | WITH_CHANNELS | ALL_CHANNELS) != 0 {
            return None;
        }
        let is_begun_with_all = flags & (ALL_COMMANDS | NEW_COMMANDS) != 0;
        let mut commands = if is_begun_with_all { AllowedCommands::all() } else { AllowedCommands::none() };
        commands.is_all = flags & ALL_COMMANDS != 0;
        for index in 0..self.u16()? {
            let word = u64::from_le_bytes(self.take()?);
            // Those behind are of commands that are not there yet.
            if let Some(bits) = commands.bits.get_mut(usize::from(index)) {
                *bits = word;
            }
        }
        for _ in 0..self.u16()? {
            let first = (self.u16()?, self.bytes()?.into());
            commands.first_args.push(first);
        }
        let mut keys = Vec::new();
        for _ in 0..self.u16()? {
            let [ways] = self.take()?;
            if ways & !(READS | WRITES) != 0 {
                return None;
            }
            let permissions = Permissions { reads: ways & READS != 0, writes: ways & WRITES != 0 };
            keys.push(KeyPattern { pattern: self.bytes()?.into(), permissions });
        }
        let mut channels = Vec::new();
        let channel_count = if flags & WITH_CHANNELS != 0 { self.u16()? } else { 0 };
        for _ in 0..channel_count {
            channels.push(self.bytes()?.into());
        }
        let (all_keys, all_channels) = (flags & ALL_KEYS != 0, flags & ALL_CHANNELS != 0);
        Some(RightSet { commands, all_keys, keys, all_channels, channels })
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn check(rights: &CallerRights, line: &str, steps_left: &mut u64) -> Result<(), Denied> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        rights.check(table::called(&args).expect("a command"), &args, steps_left)
    }

    fn some_rights() -> CallerRights {
        let mut some = AllowedCommands::none();
        some.set(table::named(b"get").expect("a command"), true);
        some.allow_with(table::named(b"select").expect("a command"), b"3");
        let mut most = AllowedCommands::all();
        most.set(table::named(b"flushall").expect("a command"), false);
        let keys = [
            KeyPattern { pattern: (*b"app:*").into(), permissions: Permissions::BOTH },
            KeyPattern { pattern: (*b"log:*").into(), permissions: Permissions { reads: true, writes: false } },
        ];
        let all = AllowedCommands::all();
        let channels = [Box::from(&b"news.*"[..]), Box::from(&b"plain"[..])];
        let of = |commands, keys| Rights { commands, all_keys: false, keys, all_channels: false, channels: &[] };
        let sets = [
            Rights { all_keys: true, all_channels: true, ..of(&some, &[]) },
            Rights { channels: &channels, ..of(&most, &keys) },
            of(&all, &[]),
        ];
        CallerRights::of(sets.into_iter())
    }

    #[test]
    fn rights_that_were_written_allow_the_same() {
        let rights = CallerRights::decode(&some_rights().encode()).expect("they were written here");
        assert_eq!(rights, some_rights());
        for (line, outcome) in [
            ("get any", Ok(())),
            ("select 3", Ok(())),
            ("set app:1 v", Ok(())),
            ("set other v", Err(Denied::Key(1))),
            ("hget log:1 f", Ok(())),
            ("set log:1 v", Err(Denied::Key(1))),
            ("mget app:1 log:1 other", Err(Denied::Key(3))),
            // The last set has every command, but no key at all.
            ("flushall", Ok(())),
            ("publish news.x m", Ok(())),
            ("spublish plain m", Ok(())),
            ("publish other m", Err(Denied::Channel(1))),
            ("psubscribe news.*", Ok(())),
            ("psubscribe news.x", Err(Denied::Channel(1))),
        ] {
            assert_eq!(check(&rights, line, &mut { u64::MAX }), outcome, "{line}");
        }
        let none = CallerRights::of(std::iter::empty());
        assert_eq!(CallerRights::decode(&none.encode()), Some(none));
    }

    #[test]
    fn commands_that_are_not_there_yet_are_allowed_to_who_had_all_of_them() {
        let last = table::by_id(table::ID_END as u16 - 1).map(|command| command.id);
        assert_eq!(last, None, "an id that is free");
        for (all, is_allowed) in [(true, true), (false, false)] {
            let mut commands = if all { AllowedCommands::all() } else { AllowedCommands::none() };
            commands.set(table::named(b"flushall").expect("a command"), false);
            let of_old = Rights { commands: &commands, all_keys: true, keys: &[], all_channels: false, channels: &[] };
            let mut bytes = CallerRights::of(std::iter::once(of_old)).encode();
            // An older version has one word less.
            let words = WORDS as u16;
            assert_eq!(bytes[3..5], words.to_le_bytes());
            bytes[3..5].copy_from_slice(&(words - 1).to_le_bytes());
            bytes.drain(5 + 8 * (WORDS - 1)..5 + 8 * WORDS);
            let rights = CallerRights::decode(&bytes).expect("they are rights");
            assert_eq!(rights.sets[0].commands.has(table::ID_END as u16 - 1), is_allowed);
            assert!(!rights.sets[0].commands.has(table::named(b"flushall").expect("a command").id));
        }
    }

    #[test]
    fn what_was_not_written_here_is_no_rights() {
        let bytes = some_rights().encode();
        for length in 0..bytes.len() {
            assert_eq!(CallerRights::decode(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(CallerRights::decode(&[&bytes[..], b"x"].concat()), None);
        let mut other = bytes;
        other[2] |= 0x40;
        assert_eq!(CallerRights::decode(&other), None);
    }

    #[test]
    fn matching_takes_steps_and_ends_with_them() {
        let rights = some_rights();
        let mut left = 1000;
        assert_eq!(check(&rights, "set app:1 v", &mut left), Ok(()));
        assert!((930..980).contains(&left), "{left}");
        let mut few = 26;
        assert_eq!(check(&rights, "set app:1 v", &mut few), Err(Denied::Key(1)));
        assert_eq!(few, 0);
    }
}
