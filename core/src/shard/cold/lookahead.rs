//! Rows that a request will read and that are not in memory, looked for before it joins a batch.
//!
//! A request that meets the disk while its entry is applied holds up those behind it. So it is looked at before, on rows that do
//! not wait. First for the rows that its arguments name, all at once; then, if it may read others, its handler runs on trial, and
//! what it writes is forgotten. What is evicted until the entry is applied, and what shows only once writes before it are, as
//! the element behind the one that another pop takes, the entry waits for, while the core goes on. It can do so only before a
//! command that has changed nothing yet: one that may read after that is executed on trial, and its changes are taken over at its
//! end.

use basalt_storage::keyspace::{ColdRows, End, Keyspace, Type, is_enough_cold};
use basalt_storage::{ColdRead, Error, Result};

use crate::commands::facts::Flags;
use crate::commands::{
    Args, Command, Elements, Overwrites, Random, Rows, once, parse_f64, parse_stream_id, parse_usize,
};
use crate::limits::TRIAL_BYTES_MAX;

/// Rows that a command will read, as far as its arguments tell.
#[derive(Debug, PartialEq, Eq)]
struct Foresight {
    named: Named,
    /// True if it may read others.
    and_others: bool,
}

/// Rows that arguments name.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// The keys' metadata, with the values of strings.
    Keys,
    /// Elements of the collection at the first key.
    Elements {
        /// The collection's type.
        kind: Type,
        /// Position of the first one's name among the arguments.
        first: usize,
        /// From there to the next one's.
        step: usize,
        /// True if rows go, so that the collection may be written anew.
        removes: bool,
    },
    /// Entries of the stream at the first key, by the ids from the third argument on.
    Entries,
    /// The element at an end of the list at the first key.
    End(End),
    /// All of the collection at the first key, and the other key's metadata. Without `replaces`, only if there is no other key.
    Whole {
        /// True if the other key may be there.
        replaces: bool,
    },
    /// So many names in the collection at the first key, drawn at random.
    Draws(Type, u64),
    /// The metadata of keys whose deadline has passed.
    Due {
        /// Keys at most.
        count: usize,
        /// The time before which no key is due, Unix milliseconds.
        from_ms: u64,
        /// True if it is fields of hashes whose deadlines these are.
        of_fields: bool,
    },
}

/// Looks for the rows that the arguments of `command` name, and says whether it may read others. `keyspace` must not wait for the
/// disk; `seed` is that of its random numbers.
///
/// # Errors
/// [`Error::Cold`] with what is not in memory; others as the reads: a request that will be refused is no
/// reason to wait.
pub fn look_for_named(keyspace: &Keyspace<'_>, command: &Command, args: Args<'_>, seed: Option<u64>) -> Result<bool> {
    let mut cold = ColdRows::new();
    let and_others = note_named(keyspace, command, args, 0, seed, &mut cold)?;
    if cold.is_empty() { Ok(and_others) } else { Err(Error::Cold(ColdRead::Keys(cold))) }
}

/// Notes which rows that the arguments name are cold, until they are enough, and says whether the command may read others. So many
/// `args_to_come` follow these.
pub fn note_named(
    keyspace: &Keyspace<'_>,
    command: &Command,
    args: Args<'_>,
    args_to_come: usize,
    seed: Option<u64>,
    cold: &mut ColdRows,
) -> Result<bool> {
    if let Some((inner, args)) = once::inner(command, args) {
        // Itself within itself is refused.
        let is_other = inner.id != command.id && inner.check_arity(args).is_ok();
        // The session is among the others.
        return if is_other { note_named(keyspace, inner, args, 0, seed, cold).map(|_| true) } else { Ok(false) };
    }
    let Foresight { named, mut and_others } = foresee(command, args);
    match named {
        Named::Keys => {
            for position in command.keys(args) {
                keyspace.cold_key(args[position], cold)?;
                if is_enough_cold(cold) {
                    break;
                }
            }
        }
        Named::Elements { kind, first, step, removes } => {
            let names = args.iter().skip(first).step_by(step).copied();
            let count = (names.len() + args_to_come / step) as u64;
            let removes = removes.then_some((count, TRIAL_BYTES_MAX));
            if keyspace.cold_names(args[1], kind, names, removes, cold)? {
                // Where the score leads to that one member gets is counted. What several change one after the other, and where a
                // score leads to that is not in the arguments, only the command itself finds.
                let is_score =
                    step == 2 && !args.iter().take(first).skip(2).any(|arg| arg.eq_ignore_ascii_case(b"INCR"));
                match args.get(first - 1..) {
                    Some([score, member]) if is_score && args_to_come == 0 => {
                        let place = parse_f64(score).ok().map(|score| (*member, score));
                        keyspace.cold_places(args[1], place.into_iter(), cold)?;
                    }
                    _ => and_others = true,
                }
            }
        }
        Named::Entries => {
            let ids = args.iter().skip(2).map_while(|id| parse_stream_id(id, 0).ok());
            keyspace.cold_entries(args[1], ids, cold)?;
        }
        Named::End(end) => keyspace.cold_end(args[1], end)?,
        Named::Whole { replaces } => {
            for position in command.keys(args) {
                keyspace.cold_key(args[position], cold)?;
            }
            if cold.is_empty() && args[1] != args[2] && (replaces || !keyspace.exists(args[2])?) {
                keyspace.cold_elements(args[1], TRIAL_BYTES_MAX)?;
            }
        }
        Named::Draws(kind, count) => {
            let mut random = Random::new(seed.unwrap_or(0));
            keyspace.cold_draws(args[1], kind, count, &mut || random.next_u64(), cold)?;
            if !cold.is_empty() {
                return Err(Error::Cold(ColdRead::Places(std::mem::take(cold))));
            }
        }
        Named::Due { count, from_ms, of_fields: false } => keyspace.cold_due(count, from_ms, cold)?,
        Named::Due { count, from_ms, of_fields: true } => keyspace.cold_due_fields(count, from_ms, cold)?,
    }
    Ok(and_others)
}

/// Positions of the names that go on to the end of a command's arguments: the first one's, and from there to the next one's.
pub(super) fn names_to_the_end(command: &Command, args: Args<'_>) -> Option<(usize, usize)> {
    match foresee(command, args).named {
        Named::Keys => {
            let (first, last, step) = command.facts.keys;
            let is_open = first > 0 && last == -1 && step > 0 && !command.facts.flags.contains(Flags::MOVABLEKEYS);
            is_open.then_some((first as usize, step as usize))
        }
        Named::Elements { first, step, .. } => Some((first, step)),
        Named::Entries => Some((2, 1)),
        Named::End(_) | Named::Whole { .. } | Named::Draws(..) | Named::Due { .. } => None,
    }
}

/// Returns whether a command reads nothing but the metadata of the keys that its arguments name, with the values of strings.
pub fn reads_only_metadata(command: &Command, args: Args<'_>) -> bool {
    foresee(command, args) == Foresight { named: Named::Keys, and_others: false }
}

/// Returns whether a command reads nothing any more once it has changed a row.
pub fn changes_at_once(keyspace: &Keyspace<'_>, command: &Command, args: Args<'_>) -> bool {
    let Foresight { named, and_others } = foresee(command, args);
    let reads_one = match named {
        Named::Keys => command.rows == Rows::KeysFirst || command.keys(args).take(2).count() < 2,
        Named::Elements { kind, first, step, removes } => {
            // What the look-up meets, the command meets as well, before it changes anything.
            args.len() <= first + step && !(removes && keyspace.may_renew(args[1], kind, 1).unwrap_or(false))
        }
        Named::End(_) => true,
        Named::Entries | Named::Whole { .. } | Named::Draws(..) | Named::Due { .. } => false,
    };
    reads_one && !and_others
}

/// Reads off the row of `command` which rows `args` name.
fn foresee(command: &Command, args: Args<'_>) -> Foresight {
    let only = |named| Foresight { named, and_others: false };
    let with_others = |named| Foresight { named, and_others: true };
    let is_one_of = |arg: &[u8], words: &[&str]| words.iter().any(|word| arg.eq_ignore_ascii_case(word.as_bytes()));
    let has_word = |words: &[&str], from, count| args.iter().skip(from).take(count).any(|arg| is_one_of(arg, words));
    match command.rows {
        Rows::Keys | Rows::KeysFirst => only(Named::Keys),
        Rows::KeysUnless(words) if !has_word(words, 2, 6) => only(Named::Keys),
        Rows::KeysAndOthers | Rows::KeysUnless(_) => with_others(Named::Keys),
        Rows::Elements(Elements { kind, first, options, step, removes }) => {
            let options = args.iter().skip(2).take_while(|arg| is_one_of(arg, options)).count();
            only(Named::Elements { kind, first: first + options, step: step.unwrap_or(args.len()), removes })
        }
        Rows::Entries => with_others(Named::Entries),
        Rows::End(end) if args.len() == 2 => only(Named::End(end)),
        Rows::End(_) => with_others(Named::Keys),
        Rows::Whole if has_word(&["DB"], 3, args.len()) => with_others(Named::Keys),
        Rows::Whole => {
            let replaces = match command.overwrites {
                Overwrites::Always => true,
                Overwrites::Never => false,
                Overwrites::With(word) => has_word(&[word], 3, args.len()),
            };
            only(Named::Whole { replaces })
        }
        Rows::Drawn(kind) => {
            let number = |arg: &[u8]| std::str::from_utf8(arg).ok()?.parse::<i64>().ok();
            let count = args.get(2).map_or(Some(1), |count| number(count));
            with_others(Named::Draws(kind, count.unwrap_or(0).unsigned_abs()))
        }
        Rows::Due | Rows::DueFields => {
            let number = |at: usize| args.get(at).and_then(|arg| parse_usize(arg).ok()).unwrap_or(0);
            let of_fields = command.rows == Rows::DueFields;
            only(Named::Due { count: number(1), from_ms: number(2) as u64, of_fields })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;

    #[test]
    fn arguments_name_rows() {
        let looked_for = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let Foresight { named, and_others } = foresee(table::lookup(args[0]).expect("a command"), &args);
            let named = match named {
                Named::Keys => "keys".to_owned(),
                Named::Elements { kind, first, step, removes } => {
                    let names = args.iter().skip(first).step_by(step).map(|name| String::from_utf8_lossy(name));
                    let sign = if removes { "-" } else { "" };
                    format!("{kind:?}: {sign}{}", names.collect::<Vec<_>>().join(" "))
                }
                Named::Entries => "entries".to_owned(),
                Named::End(end) => format!("{end:?}"),
                Named::Whole { replaces } => format!("whole{}", if replaces { ", over another" } else { "" }),
                Named::Draws(kind, count) => format!("{kind:?}: {count} drawn"),
                Named::Due { count, from_ms, .. } => format!("{count} due from {from_ms}"),
            };
            if and_others { named + " and others" } else { named }
        };
        for (line, expected) in [
            ("HSET h f 1 g 2", "Hash: f g"),
            ("HMSET h f 1", "Hash: f"),
            ("HSETNX h f 1", "Hash: f"),
            ("HINCRBY h f 1", "Hash: f"),
            ("HMGET h f g", "Hash: f g"),
            ("HDEL h f g", "Hash: -f g"),
            ("HTTL h FIELDS 2 f g", "Hash: f g"),
            ("HEXPIRE h 10 FIELDS 1 f", "keys and others"),
            ("HSETNX h", "Hash: "),
            ("HGETALL h", "keys and others"),
            ("SADD s a b", "Set: a b"),
            ("SREM s a b", "Set: -a b"),
            ("SPOP s", "Set: 1 drawn and others"),
            ("SPOP s 20", "Set: 20 drawn and others"),
            ("SPOP s x", "Set: 0 drawn and others"),
            ("HRANDFIELD h -20 WITHVALUES", "Hash: 20 drawn and others"),
            ("ZADD z 1 a 2 b", "SortedSet: -a b"),
            ("ZADD z nx CH 1 a", "SortedSet: -a"),
            ("ZADD", "SortedSet: -"),
            ("ZINCRBY z 1 a", "SortedSet: -a"),
            ("ZREM z a b", "SortedSet: -a b"),
            ("ZPOPMIN z", "keys and others"),
            ("RPUSH l a b", "keys"),
            ("LPOP l", "Head"),
            ("RPOP l 5", "keys and others"),
            ("LTRIM l 0 5", "keys"),
            ("XADD s * f v", "keys"),
            ("XADD s NOMKSTREAM maxlen 5 * f v", "keys and others"),
            ("XADD s LIMIT 5 MINID ~ 5 * f v", "keys and others"),
            ("XDEL s 1-1 2-1", "entries and others"),
            ("SET k v", "keys"),
            ("DEL k l", "keys"),
            ("PEXPIRE k 1", "keys"),
            ("COPY k l", "whole"),
            ("COPY k l replace", "whole, over another"),
            ("COPY k l DB 1", "keys and others"),
            ("RENAME k l", "whole, over another"),
            ("RENAMENX k l", "whole"),
            ("KEYS *", "keys and others"),
        ] {
            assert_eq!(looked_for(line), expected, "{line}");
        }
    }
}
