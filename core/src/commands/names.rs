//! Commands on the names in sets, hashes and sorted sets: SSCAN, HSCAN and ZSCAN, and SRANDMEMBER, HRANDFIELD and ZRANDMEMBER.
//!
//! What a newcomer would get wrong: a cursor is the hash of the next name, so it needs no state, and one that no scan ever gave is
//! as good as any other. A step ends behind a name and never between two of one hash.

use std::collections::HashMap;
use std::ops::ControlFlow;

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::keyspace::{Names, SortedSet, Type};

use super::arguments::{Options, parse_i64, parse_i64_from, read_u64_prefix};
use super::command_error::until_nul;
use super::{Args, CommandError, Context, NamePattern};
use crate::limits;

type Outcome = Result<(), CommandError>;

/// Names that one step of a scan looks at if COUNT does not say.
const SCAN_NAMES_DEFAULT: u64 = 10;

/// Reads the cursor of a scan.
///
/// # Errors
/// [`CommandError::INVALID_CURSOR`] if it is not a number as `strtoul` reads it; nothing at all is 0, as in Redis.
pub(super) fn parse_cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let text = until_nul(arg);
    let begins_with_space = arg.first().is_some_and(|&byte| matches!(byte, b' ' | b'\t'..=b'\r'));
    let number = read_u64_prefix(text).filter(|&(_, length)| length == text.len() && !begins_with_space);
    number.map(|(number, _)| number).ok_or(CommandError::INVALID_CURSOR)
}

/// The options of a scan.
struct ScanOptions<'a> {
    count: u64,
    pattern: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    fn read(args: Args<'a>) -> Result<ScanOptions<'a>, CommandError> {
        let mut options = ScanOptions { count: SCAN_NAMES_DEFAULT, pattern: None };
        let mut words = Options::new(args, 3);
        while let Some(word) = words.next_word() {
            match word.to_ascii_lowercase().as_slice() {
                b"count" => match parse_i64(words.argument()?)? {
                    count if count < 1 => return Err(CommandError::SYNTAX),
                    count => options.count = (count as u64).min(limits::SCAN_NAMES_MAX),
                },
                b"match" => options.pattern = Some(words.argument()?).filter(|pattern| *pattern != b"*"),
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(options)
    }
}

/// `SSCAN`, `HSCAN` or `ZSCAN key cursor [MATCH pattern] [COUNT count]` on a collection of the type `kind`.
pub(super) fn scan(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>, kind: Type) -> Outcome {
    let cursor = parse_cursor(args[2])?;
    let (mut elements, mut count, mut next) = (Vec::new(), 0, None);
    if let Some(names) = context.keyspace.names_uncounted(args[1], kind)? {
        let options = ScanOptions::read(args)?;
        // As Redis does with what it keeps in one piece.
        let few = if names.len() <= limits::SCANNED_WHOLE_NAMES_MAX { names.len() } else { 0 };
        let (mut names_left, mut bytes_left) = (options.count.max(few), limits::SCAN_NAMES_BYTES);
        let mut found = Reply::new(&mut elements, reply.protocol());
        let mut pattern = NamePattern::new(context, options.pattern);
        let from = if names.is_packed() { Some(0) } else { u32::try_from(cursor).ok() };
        next = from.map_or(Ok(None), |from| {
            names.page(&context.keyspace, from, &mut |name, value| {
                if pattern.matches(name) {
                    count += 1;
                    found.bulk(name);
                    match kind {
                        Type::Hash => found.bulk(value),
                        Type::SortedSet => reply_scanned_score(&mut found, score(value)),
                        _ => {}
                    }
                }
                names_left = names_left.saturating_sub(1);
                bytes_left = bytes_left.saturating_sub(name.len() + value.len());
                Ok(if names_left == 0 || bytes_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
        })?;
        pattern.pay(context, 0)?;
    }
    reply.array(2);
    reply.bulk_display(next.unwrap_or(0));
    reply.array(if kind == Type::Set { count } else { count * 2 });
    reply.raw(&elements);
    Ok(())
}

/// The score of a member whose row has this value.
fn score(value: &[u8]) -> f64 {
    SortedSet::read_score(value).unwrap_or(f64::NAN)
}

/// A score as ZSCAN tells it: as it stands in the packed list of a small sorted set, where whole numbers are kept as such.
fn reply_scanned_score(reply: &mut Reply<'_>, score: f64) {
    const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;
    if score.abs() <= WHOLE_MAX && score == score.trunc() {
        return reply.bulk_display(score as i64);
    }
    let mut text = Vec::new();
    Reply::new(&mut text, Protocol::Resp2).double(score);
    reply.raw(&text);
}

/// `SRANDMEMBER key [count]`, `HRANDFIELD key [count [WITHVALUES]]` or `ZRANDMEMBER key [count [WITHSCORES]]` on a collection of
/// the type `kind`; `option` is the word that asks for values.
pub(super) fn random(
    context: &mut Context<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    kind: Type,
    option: Option<&str>,
) -> Outcome {
    let is_option = |word: &[u8]| option.is_some_and(|option| word.eq_ignore_ascii_case(option.as_bytes()));
    let (count, with_values) = match args {
        [_, _] => (None, false),
        [_, _, _, _, ..] if option.is_none() => return Err(CommandError::SYNTAX),
        [_, _, count, rest @ ..] => match (parse_i64_from(count, -i64::MAX)?, rest) {
            (count, []) => (Some(count), false),
            (count, [word]) if is_option(word) => (Some(count), true),
            _ => return Err(CommandError::SYNTAX),
        },
        _ => return Err(CommandError::SYNTAX),
    };
    if with_values && count.is_some_and(|count| !(-i64::MAX / 2..=i64::MAX / 2).contains(&count)) {
        return Err(CommandError::text("ERR value is out of range"));
    }
    // All fields of a hash may be past their deadline.
    let names = context.keyspace.names(args[1], kind)?.filter(|names| !names.is_empty());
    let Some(names) = names else {
        match count {
            None => reply.null(),
            Some(_) => reply.array(0),
        }
        return Ok(());
    };
    let random = &mut *context.random;
    let next = &mut || random.next_u64();
    let Some(count) = count else {
        names.draw(&context.keyspace, 1, next, &mut |name, _| {
            reply.bulk(name);
            Ok(ControlFlow::Continue(()))
        })?;
        return Ok(());
    };
    let drawn = if count < 0 { count.unsigned_abs() } else { (count as u64).min(names.len()) };
    let nested = with_values && reply.protocol() == Protocol::Resp3;
    reply.array(if with_values && !nested { drawn * 2 } else { drawn } as usize);
    let visit = &mut |name: &[u8], value: &[u8]| {
        if nested {
            reply.array(2);
        }
        reply.bulk(name);
        match kind {
            Type::Hash if with_values => reply.bulk(value),
            Type::SortedSet if with_values => reply.double(score(value)),
            _ => {}
        }
        // Nobody gets it then.
        Ok(if reply.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    if count < 0 {
        names.draw(&context.keyspace, drawn, next, visit)?;
    } else {
        names.sample(&context.keyspace, drawn, next, visit)?;
    }
    Ok(())
}

/// The names at each of `keys`; `None` for those that are not there.
///
/// # Errors
/// [`CommandError::WrongType`] if one holds another type than `kind`.
pub(super) fn names_of_all(
    context: &Context<'_>,
    keys: Args<'_>,
    kind: Type,
) -> Result<Vec<Option<Names>>, CommandError> {
    let mut opened = Opened::new(keys);
    keys.iter().map(|key| opened.open(key, || Ok(context.keyspace.names(key, kind)?))).collect()
}

/// The collections of a command's keys. What is small is copied when it is opened: a key that comes again is opened once.
pub(super) struct Opened<'k, T> {
    /// None of a few keys, among which nobody looks.
    known: Option<HashMap<&'k [u8], T>>,
}

impl<'k, T: Clone> Opened<'k, T> {
    /// None of the keys is opened yet.
    pub(super) fn new(keys: Args<'k>) -> Opened<'k, T> {
        Opened { known: (keys.len() > limits::SOURCES_OPENED_AGAIN_MAX).then(HashMap::new) }
    }

    /// The collection at `key`, which `open` opens.
    pub(super) fn open(
        &mut self,
        key: &'k [u8],
        open: impl FnOnce() -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let Some(known) = &mut self.known else { return open() };
        if let Some(known) = known.get(key) {
            return Ok(known.clone());
        }
        let opened = open()?;
        known.insert(key, opened.clone());
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use basalt_net::resp::value;

    use super::*;
    use crate::commands::testing::Shard;

    fn elements(reply: &[u8]) -> Vec<Vec<u8>> {
        value::split_elements(reply).unwrap().map(<[u8]>::to_vec).collect()
    }

    fn fill(shard: &mut Shard, count: u32) {
        for number in 0..count {
            shard.line(&format!("SADD set member:{number}"));
            shard.line(&format!("HSET hash member:{number} {number}"));
            shard.line(&format!("ZADD sorted {number}.5 member:{number}"));
        }
    }

    #[test]
    fn steps_of_a_scan_have_every_name_with_its_value() {
        let mut shard = Shard::new();
        fill(&mut shard, 700);
        for (command, width) in [("SSCAN set", 1), ("HSCAN hash", 2), ("ZSCAN sorted", 2)] {
            for (options, expected) in [("", 700), ("COUNT 1", 700), ("COUNT 100000 MATCH *:1??", 100), ("MATCH no", 0)]
            {
                let (mut cursor, mut found, mut steps) = ("0".to_owned(), BTreeSet::new(), 0);
                while steps == 0 || cursor != "0" {
                    let line = format!("{command} {cursor} {options}");
                    let reply = shard.run(Protocol::Resp3, &line.split_whitespace().collect::<Vec<_>>());
                    let parts = elements(&reply);
                    cursor = String::from_utf8(value::read_bulk(&parts[0]).unwrap().to_vec()).unwrap();
                    found.extend(elements(&parts[1]).chunks(width).map(<[_]>::to_vec));
                    steps += 1;
                }
                assert_eq!(found.len(), expected, "{command} {options}");
                assert!(!options.is_empty() || steps == 70, "{steps} steps of ten");
                let (name, value) = (
                    b"$10\r\nmember:150\r\n".to_vec(),
                    if command == "HSCAN hash" { "$3\r\n150" } else { "$5\r\n150.5" },
                );
                let pair = [name, format!("{value}\r\n").into_bytes()];
                assert_eq!(found.contains(&pair[..width]), expected > 0, "{command} {options}");
            }
        }
    }

    #[test]
    fn random_names_are_those_that_are_there() {
        let mut shard = Shard::new();
        for size in [5u32, 300] {
            shard.line("DEL set hash sorted");
            fill(&mut shard, size);
            for command in ["SRANDMEMBER set", "HRANDFIELD hash", "ZRANDMEMBER sorted"] {
                let mut ask = |count: &str| {
                    elements(&shard.run(Protocol::Resp2, &format!("{command} {count}").split(' ').collect::<Vec<_>>()))
                };
                for (count, replied, different) in [("3", 3, 3), ("1000", size as usize, size as usize), ("-40", 40, 2)]
                {
                    let found = ask(count);
                    assert_eq!(found.len(), replied, "{command} {count}");
                    assert!(found.iter().collect::<BTreeSet<_>>().len() >= different, "{command} {count}");
                }
                assert!(shard.line(command).starts_with("$8 member:") || size > 5, "{command}");
            }
            for (line, replied) in [("HRANDFIELD hash 4 WITHVALUES", 8), ("ZRANDMEMBER sorted -7 withscores", 14)] {
                let found = elements(&shard.run(Protocol::Resp2, &line.split(' ').collect::<Vec<_>>()));
                assert_eq!(found.len(), replied, "{line}");
                let nested = elements(&shard.run(Protocol::Resp3, &line.split(' ').collect::<Vec<_>>()));
                assert_eq!(nested.len(), replied / 2, "{line}");
                assert!(nested.iter().all(|pair| pair.starts_with(b"*2\r\n$")), "{line}");
            }
        }
    }

    /// In a hash of one row, in one of few rows and in one of many, of which half the fields are past their deadline and not
    /// removed.
    #[test]
    fn fields_past_their_deadline_are_neither_drawn_nor_counted() {
        for (size, value) in [(40, "1".to_owned()), (40, "1".repeat(100)), (1_000, "1".to_owned())] {
            let mut shard = Shard::new();
            for number in 0..size {
                shard.line(&format!("HSET hash {number} {value}"));
                if number % 2 == 1 {
                    shard.line(&format!("HPEXPIRE hash 10 FIELDS 1 {number}"));
                }
            }
            shard.now_ms += 11;
            let mut ask = |line: &str| {
                let found = elements(&shard.run(Protocol::Resp3, &line.split(' ').collect::<Vec<_>>()));
                let name = |element: &[u8]| {
                    let name = value::split_elements(element).map_or(element, |mut pair| pair.next().unwrap());
                    String::from_utf8(value::read_bulk(name).unwrap().to_vec()).unwrap()
                };
                let names: Vec<String> = found.iter().map(|element| name(element)).collect();
                assert!(names.iter().all(|name| name.parse::<u32>().unwrap() % 2 == 0), "{line}: {names:?}");
                (names.len(), names.into_iter().collect::<BTreeSet<_>>().len())
            };
            let live = size / 2;
            for count in [1, 3, live - 1, live, live + 1, size, 10 * size] {
                let expected = count.min(live);
                assert_eq!(ask(&format!("HRANDFIELD hash {count}")), (expected, expected), "{count} of {live}");
                assert_eq!(ask(&format!("HRANDFIELD hash {count} WITHVALUES")), (expected, expected));
                assert_eq!(ask(&format!("HRANDFIELD hash -{count}")).0, count);
                assert_eq!(ask(&format!("HRANDFIELD hash -{count} WITHVALUES")).0, count);
            }
            for _ in 0..20 {
                let one = shard.run(Protocol::Resp2, &["HRANDFIELD", "hash"]);
                let name = String::from_utf8(value::read_bulk(&one).unwrap().to_vec()).unwrap();
                assert_eq!(name.parse::<u32>().unwrap() % 2, 0);
            }
        }
    }

    #[test]
    fn a_reply_that_nobody_gets_is_not_made_to_its_end() {
        let mut shard = Shard::new();
        fill(&mut shard, 5);
        let mut out = Vec::new();
        let mut reply = Reply::strictly_bounded(&mut out, Protocol::Resp2, 1000);
        let words: [&[u8]; 3] = [b"SRANDMEMBER", b"set", b"-9223372036854775807"];
        shard.try_run(&words, &mut reply).unwrap();
        assert!(reply.is_over());
    }
}
