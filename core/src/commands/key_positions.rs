//! Keys among the arguments of a command: where they are, by the facts of the command.

use super::arguments::read_i64;
use super::facts::{BeginSearch, Facts, FindKeys, Flags, KeySpec};
use super::streams::entry_option_words;
use super::{Args, Command};

/// The positions of a command's keys among its arguments.
#[derive(Debug, Clone)]
pub struct KeyPositions<'a> {
    args: Args<'a>,
    specs: &'static [KeySpec],
    next: usize,
    end: usize,
    step: usize,
    /// The position of the command's name.
    from: usize,
}

impl<'a> KeyPositions<'a> {
    /// The positions in `args` of the keys of the command that `facts` describe.
    pub(super) fn of(facts: &'static Facts, args: Args<'a>) -> KeyPositions<'a> {
        let (first, last, step) = facts.keys;
        if facts.flags.contains(Flags::MOVABLEKEYS) {
            return KeyPositions { args, specs: facts.key_specs, next: 0, end: 0, step: 1, from: 0 };
        }
        let last = if last < 0 { args.len() as i64 + i64::from(last) } else { i64::from(last) };
        let end = (last + 1).clamp(0, args.len() as i64) as usize;
        let end = if first == 0 { 0 } else { end };
        KeyPositions { args, specs: &[], next: first.max(0) as usize, end, step: step.max(1) as usize, from: 0 }
    }

    /// The same, of a command whose name is the argument `from` of another one.
    pub(super) fn behind(self, from: usize) -> KeyPositions<'a> {
        KeyPositions { from, ..self }
    }
}

impl Iterator for KeyPositions<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            if self.next < self.end {
                let position = self.next;
                self.next += self.step;
                return Some(self.from + position);
            }
            let (spec, rest) = self.specs.split_first()?;
            self.specs = rest;
            let (first, end, step) = find_used(spec, self.args).unwrap_or((0, 0, 1));
            (self.next, self.end, self.step) = (first, end, step);
        }
    }
}

/// As [`find_keys`], but of words that are there twice the one that counts: what COMMAND tells of these is not where a command
/// runs.
pub fn find_used(spec: &KeySpec, args: Args<'_>) -> Option<(usize, usize, usize)> {
    let from = match spec.begin {
        BeginSearch::Keyword("STORE", from) => usize::try_from(from).ok()?,
        // Of both words one counts.
        BeginSearch::Keyword("STOREDIST", _) => return None,
        _ => return find_keys(spec, args),
    };
    let at = last_stored(args, from, |word| match word {
        b"count" => Some(1),
        b"store" | b"storedist" => None,
        _ => Some(0),
    })?;
    Some((at, at + 1, 1))
}

/// The position of the key behind the last word, from `from` on, that says where a result is stored: for which `skipped` is `None`.
/// It is the number of arguments of the others.
fn last_stored(args: Args<'_>, from: usize, skipped: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let (mut at, mut found) = (from, None);
    while let Some(word) = args.get(at) {
        at += 1 + skipped(&word.to_ascii_lowercase()).unwrap_or_else(|| {
            found = Some(at + 1).filter(|key| *key < args.len()).or(found);
            1
        });
    }
    found
}

/// The range `first..end` with a step that `spec` finds in `args`; `None` if they do not fit it.
pub fn find_keys(spec: &KeySpec, args: Args<'_>) -> Option<(usize, usize, usize)> {
    let start = match spec.begin {
        // Of MIGRATE, which says there that its keys are behind a word.
        BeginSearch::Index(3) if spec.flags.contains(&"delete") && migrated_keys_at(args).is_some() => return None,
        BeginSearch::Keyword("KEYS", _) => {
            let has_one = args.get(3).is_some_and(|key| !key.is_empty());
            let first = migrated_keys_at(args).filter(|_| !has_one)?;
            return Some((first, args.len(), 1));
        }
        BeginSearch::Index(index) => usize::try_from(index).ok()?,
        BeginSearch::Keyword("STREAMS", _) if let Some(at) = streams_at(args) => at + 1,
        BeginSearch::Keyword(word, from) => {
            let from = usize::try_from(from).ok()?;
            let at = args.iter().skip(from).position(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))?;
            from + at + 1
        }
        // Of SORT: those of patterns nobody knows before it runs.
        BeginSearch::Unknown if spec.flags.contains(&"OW") => {
            let at = last_stored(args, 2, |word| match word {
                b"limit" => Some(2),
                b"by" | b"get" => Some(1),
                b"store" => None,
                _ => Some(0),
            })?;
            return Some((at, at + 1, 1));
        }
        BeginSearch::Unknown => return None,
    };
    let (end, step) = match spec.find {
        FindKeys::Range { last, step, limit } => {
            let end = if last >= 0 {
                start.checked_add(usize::try_from(last).ok()?)? + 1
            } else {
                let end = args.len().checked_sub(usize::try_from(-1 - last).ok()?)?;
                let limit = usize::try_from(limit).ok()?;
                if limit > 1 { start + end.checked_sub(start)? / limit } else { end }
            };
            (end, step)
        }
        FindKeys::Count { count_at, first, step } => {
            let count = read_i64(args.get(start + usize::try_from(count_at).ok()?)?)?;
            let first = start + usize::try_from(first).ok()?;
            let count = usize::try_from(count).ok().filter(|&count| count > 0 && count <= args.len())?;
            let step = usize::try_from(step).ok()?;
            let end = first + (count - 1) * step + 1;
            return (end <= args.len()).then_some((first, end, step));
        }
        FindKeys::Unknown => return None,
    };
    let step = usize::try_from(step).ok().filter(|&step| step > 0)?;
    (start < args.len() && end <= args.len()).then_some((start, end, step))
}

/// The position of the first key of MIGRATE behind the word for them. As in Redis, a word with nothing behind it does not count.
fn migrated_keys_at(args: Args<'_>) -> Option<usize> {
    migrated_keys_word(args).map(|word| word + 1).filter(|first| *first < args.len())
}

/// The position of the word before the keys of MIGRATE, if it has that: users and passwords may be called as it.
pub(super) fn migrated_keys_word(args: Args<'_>) -> Option<usize> {
    let mut at = 6;
    loop {
        at += match args.get(at)? {
            word if word.eq_ignore_ascii_case(b"keys") => return Some(at),
            word if word.eq_ignore_ascii_case(b"auth") => 2,
            word if word.eq_ignore_ascii_case(b"auth2") => 3,
            _ => 1,
        };
    }
}

/// The position of the word before the keys of XREAD and XREADGROUP, where a group or a consumer may be called as it. `None` if
/// there are other options than theirs.
fn streams_at(args: Args<'_>) -> Option<usize> {
    let mut at = 1;
    loop {
        match args.get(at)? {
            option if option.eq_ignore_ascii_case(b"streams") => return Some(at),
            option => at += entry_option_words(option)?,
        }
    }
}

/// Flags of a key of which a specification says that options decide on them: it is overwritten, or read before, or only read.
pub fn flags_of_call(command: &Command, args: Args<'_>) -> &'static [&'static str] {
    match command.only_changes_with(args) {
        Some(false) => &["RO", "access"],
        None if !command.returns_values(args) => &["OW", "update"],
        _ => &["RW", "access", "update"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::{commands, with_subcommands};
    use crate::commands::{geo, keys, lists, sorted_sets, sorting, streams, strings, whole_keys};

    // A command that is not there yet: its keys are before a last word.
    const BLPOP: Facts = Facts { keys: (1, -2, 1), ..Facts::BLANK };

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn keys_are_where_redis_finds_them() {
        // `COMMAND GETKEYS` of redis-server 7.0.15
        for (facts, line, expected) in [
            (&strings::facts::GET, "GET k", "1"),
            (&strings::facts::MGET, "MGET a b c", "1 2 3"),
            (&strings::facts::MSET, "MSET a 1 b 2", "1 3"),
            (&keys::facts::OBJECT_ENCODING, "OBJECT ENCODING k", "2"),
            (&keys::facts::RENAME, "RENAME a b", "1 2"),
            (&BLPOP, "BLPOP a b 0", "1 2"),
            (&lists::facts::LMPOP, "LMPOP 2 a b LEFT", "2 3"),
            (&lists::facts::LMPOP, "LMPOP 3 a b", ""),
            (&lists::facts::LMPOP, "LMPOP x a b", ""),
            (&lists::facts::LMPOP, "LMPOP -1 a b", ""),
            (&sorted_sets::facts::ZUNIONSTORE, "ZUNIONSTORE d 2 a b WEIGHTS 1 2", "1 3 4"),
            (&streams::facts::XREAD, "XREAD COUNT 2 STREAMS a b 0 0", "4 5"),
            (&streams::facts::XREAD, "XREAD COUNT 2 streams a 0", "4"),
            (&streams::facts::XREAD, "XREAD COUNT 2", ""),
            (&streams::facts::XREADGROUP, "XREADGROUP COUNT 1 GROUP g STREAMS STREAMS a b > >", "7 8"),
            (&streams::facts::XREADGROUP, "XREADGROUP GROUP STREAMS c STREAMS STREAMS >", "5"),
            (&geo::facts::GEOSEARCHSTORE, "GEOSEARCHSTORE d k FROMMEMBER m BYRADIUS 1 km", "1 2"),
            (&geo::facts::GEORADIUS, "GEORADIUS k 1 1 1 km STORE a", "1 7"),
            (&geo::facts::GEORADIUSBYMEMBER, "GEORADIUSBYMEMBER k STORE 1 km COUNT 5 storedist b ASC", "1 8"),
            (&sorting::facts::SORT, "SORT k BY store GET store LIMIT store 1 STORE a", "1 10"),
            (&sorting::facts::SORT, "SORT k STORE a STORE b", "1 5"),
            (&sorting::facts::SORT, "SORT k BY a STORE", "1"),
            (&sorting::facts::SORT_RO, "SORT_RO k BY a GET b", "1"),
            (&whole_keys::facts::MIGRATE, "MIGRATE h 1 k 0 1", "3"),
            (&whole_keys::facts::MIGRATE, "MIGRATE h 1 k 0 1 COPY AUTH keys", "3"),
            (&whole_keys::facts::MIGRATE, "MIGRATE h 1 k 0 1 AUTH2 keys keys REPLACE", "3"),
            (&whole_keys::facts::MIGRATE, "MIGRATE h 1  0 1 AUTH keys Keys a b", "9 10"),
            (&whole_keys::facts::MIGRATE, "MIGRATE h 1  0 1 KEYS keys keys", "7 8"),
            (&whole_keys::facts::MIGRATE, "MIGRATE h 1  0 1 KEYS", "3"),
            // It is an error.
            (&whole_keys::facts::MIGRATE, "MIGRATE h 1 k 0 1 KEYS a b", ""),
            (&keys::facts::DBSIZE, "DBSIZE", ""),
            (&strings::facts::MGET, "MGET", ""),
        ] {
            let positions: Vec<String> = KeyPositions::of(facts, &words(line)).map(|at| at.to_string()).collect();
            assert_eq!(positions.join(" "), expected, "{line}");
        }
    }

    #[test]
    fn of_words_that_are_there_twice_the_one_counts_that_names_what_is_written() {
        // Unlike `COMMAND GETKEYS`, which tells of the first one, or of both.
        for (line, expected) in [
            ("GEORADIUS k 1 1 1 km STORE a STORE b", "1 9"),
            ("GEORADIUS k 1 1 1 km STOREDIST a COUNT 1 STORE b", "1 11"),
        ] {
            let positions: Vec<String> =
                KeyPositions::of(&geo::facts::GEORADIUS, &words(line)).map(|at| at.to_string()).collect();
            assert_eq!(positions.join(" "), expected, "{line}");
        }
    }

    #[test]
    fn one_command_alone_has_keys_behind_its_word_for_them_or_in_their_place() {
        let has_place = |spec: &KeySpec| spec.begin == BeginSearch::Index(3) && spec.flags.contains(&"delete");
        let has_word = |spec: &KeySpec| matches!(spec.begin, BeginSearch::Keyword("KEYS", _));
        for command in with_subcommands() {
            let specs = command.facts.key_specs;
            assert_eq!(specs.iter().any(has_place), command.migrates, "{}", command.name());
            assert_eq!(specs.iter().any(has_word), command.migrates, "{}", command.name());
        }
    }

    #[test]
    fn no_arguments_make_key_positions_leave_them() {
        let arguments = ["1", "2", "-1", "9223372036854775807", "STREAMS", "x", ""];
        for command in commands() {
            for count in 0..6 {
                for argument in arguments {
                    let words: Vec<&[u8]> = std::iter::repeat_n(argument.as_bytes(), count).collect();
                    assert!(command.keys(&words).all(|position| position < count), "{} {words:?}", command.name());
                }
            }
        }
    }
}
