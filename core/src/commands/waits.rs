//! Commands that wait for elements: which keys they wait for and for how long, and what takes the elements once they are there.
//!
//! What a newcomer would get wrong: the handler of such a command never waits. It does what the command does when there is
//! something, and replies with nothing if there is not: as in a transaction, where nobody may wait. Waiting is between its calls,
//! see `core/DESIGN.md`.

use std::ops::Range;
use std::time::Duration;

use basalt_storage::keyspace::Type;

use super::{Args, CommandError, LongDouble};

/// The way a command that waits names its keys, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// The type of the keys that have something for it.
    pub kind: Type,
    keys: WaitedKeys,
}

/// The place of the keys among the arguments, and of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitedKeys {
    /// `key [key …] timeout`
    BeforeTimeout,
    /// `key destination … timeout`: one key, behind which all else stays as it is.
    First,
    /// `timeout numkeys key [key …] …`
    Counted,
}

/// A call of such a command.
#[derive(Debug, PartialEq, Eq)]
pub struct WaitCall {
    /// The positions of the keys that it waits for, in the order in which it wants them.
    pub keys: Range<usize>,
    /// True if the number of keys stands before them.
    pub is_counted: bool,
    /// The longest that it waits; `None` is for ever.
    pub timeout: Option<Duration>,
}

impl Waits {
    /// A command of the form `key [key …] timeout` that takes from keys of the type `kind`.
    pub(super) const fn keys(kind: Type) -> Waits {
        Waits { kind, keys: WaitedKeys::BeforeTimeout }
    }

    /// One of the form `key destination … timeout`.
    pub(super) const fn first(kind: Type) -> Waits {
        Waits { kind, keys: WaitedKeys::First }
    }

    /// One of the form `timeout numkeys key [key …] …`.
    pub(super) const fn counted(kind: Type) -> Waits {
        Waits { kind, keys: WaitedKeys::Counted }
    }

    /// Returns whether it does more than to take from the key that has something.
    pub const fn has_destination(self) -> bool {
        matches!(self.keys, WaitedKeys::First)
    }

    /// Reads `args` of a call.
    ///
    /// # Errors
    /// What is wrong with the time, in Redis' words; a syntax error if the keys are not there.
    pub fn read(self, args: Args<'_>) -> Result<WaitCall, CommandError> {
        let end = args.len() - 1;
        let (keys, timeout) = match self.keys {
            WaitedKeys::BeforeTimeout => (1..end, args[end]),
            WaitedKeys::First => (1..2, args[end]),
            WaitedKeys::Counted => {
                let count = args.get(2).and_then(|count| super::arguments::read_i64(count));
                let count = count.and_then(|count| usize::try_from(count).ok()).ok_or(CommandError::SYNTAX)?;
                (3..count.saturating_add(3), args[1])
            }
        };
        if keys.is_empty() || keys.end > args.len() {
            return Err(CommandError::SYNTAX);
        }
        Ok(WaitCall { keys, is_counted: self.keys == WaitedKeys::Counted, timeout: parse_timeout(timeout)? })
    }
}

/// Reads the seconds that a command may wait, with a fraction; they are rounded up to milliseconds. `None` is for ever.
///
/// # Errors
/// Redis' texts for what is no number and for less than nothing. As in Redis, what is larger than any clock is less than nothing.
pub(super) fn parse_timeout(arg: &[u8]) -> Result<Option<Duration>, CommandError> {
    let seconds = LongDouble::read(arg).ok_or(CommandError::text("ERR timeout is not a float or out of range"))?;
    match seconds.thousandfold().and_then(|milliseconds| u64::try_from(milliseconds).ok()) {
        None => Err(CommandError::text("ERR timeout is negative")),
        Some(0) => Ok(None),
        Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
    }
}

/// Returns whether `reply` says that a command which waits has found nothing.
pub fn is_nothing(reply: &[u8]) -> bool {
    matches!(reply, b"*-1\r\n" | b"$-1\r\n" | b"_\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;

    fn read(line: &str) -> Result<(Vec<String>, Option<u64>), String> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let waits = table::lookup(args[0]).unwrap().waits.unwrap();
        let call = waits.read(&args).map_err(|error| error.to_string())?;
        let keys = args[call.keys.clone()].iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        Ok((keys, call.timeout.map(|timeout| timeout.as_millis() as u64)))
    }

    #[test]
    fn keys_and_times_are_found() {
        let keys = |keys: &[&str]| keys.iter().map(|key| key.to_string()).collect::<Vec<_>>();
        assert_eq!(read("blpop a b 0"), Ok((keys(&["a", "b"]), None)));
        assert_eq!(read("bzpopmax a 1.5"), Ok((keys(&["a"]), Some(1500))));
        assert_eq!(read("blmove a b left left 2"), Ok((keys(&["a"]), Some(2000))));
        assert_eq!(read("brpoplpush a b .001"), Ok((keys(&["a"]), Some(1))));
        assert_eq!(read("blmpop 0.0001 2 a b left count 3"), Ok((keys(&["a", "b"]), Some(1))));
        assert_eq!(read("bzmpop 3 1 a min"), Ok((keys(&["a"]), Some(3000))));
        assert_eq!(read("bzmpop 3 4 a min"), Err("ERR syntax error".to_owned()));
    }

    #[test]
    fn times_are_read_as_redis_reads_them() {
        let (not_a_float, negative) = ("ERR timeout is not a float or out of range", "ERR timeout is negative");
        for (text, expected) in [
            ("0", Ok(None)),
            ("-0", Ok(None)),
            ("-0.0000001", Ok(None)),
            ("0x1", Ok(Some(1000))),
            ("0.0015", Ok(Some(2))),
            ("1e3", Ok(Some(1_000_000))),
            ("nan", Err(not_a_float)),
            ("", Err(not_a_float)),
            (" 1", Err(not_a_float)),
            ("1e5000", Err(not_a_float)),
            ("-1", Err(negative)),
            // Extended precision makes it less than a millisecond.
            ("-0.001", Ok(None)),
            ("-0.002", Err(negative)),
            ("inf", Err(negative)),
            ("-inf", Err(negative)),
            ("1e400", Err(negative)),
            ("9223372036854776", Err(negative)),
        ] {
            let read = parse_timeout(text.as_bytes()).map_err(|error| error.to_string());
            let read = read.map(|timeout| timeout.map(|timeout| timeout.as_millis() as u64));
            assert_eq!(read, expected.map_err(str::to_owned), "{text}");
        }
    }
}
