//! XREAD and XREADGROUP where there is nothing yet: what a call waits for, and what is run for it then.
//!
//! What a newcomer would get wrong: `$` is the last id of the moment at which the command was run first, and from then on an id as
//! any other. So an entry that comes between that look and the wait is behind it, and is found.

use std::time::Duration;

use basalt_net::resp::Reply;
use basalt_storage::Error as StorageError;
use basalt_storage::keyspace::{Keyspace, Stream, StreamId};

use super::reading::{Request, read_streams, xreadgroup};
use crate::commands::{Args, CommandError, Context};

type Outcome = Result<(), CommandError>;

/// The error of a client that waits for a group at a key that holds no stream any more.
const NO_STREAM_ANY_MORE: &str = "UNBLOCKED the stream key no longer exists";

/// The error of a client that waits for a group that was destroyed.
const NO_GROUP_ANY_MORE: &str = "NOGROUP the consumer group this client was blocked on no longer exists";

/// A call of XREAD or XREADGROUP that may wait for entries.
#[derive(Debug, PartialEq, Eq)]
pub struct EntryCall<'a> {
    /// The arguments before the keys.
    pub before: Args<'a>,
    /// The keys.
    pub keys: Args<'a>,
    /// An id for each.
    pub ids: Args<'a>,
    /// The consumer group that reads, if one does.
    pub group: Option<&'a [u8]>,
    /// The longest that it waits, if it waits; `Some(None)` is for ever.
    pub timeout: Option<Option<Duration>>,
}

impl<'a> EntryCall<'a> {
    /// Reads the arguments of a call, which is one of XREADGROUP if it `is_of_group`. `None` if they make no sense, which its
    /// handler tells, or if there is something for it in any case: what a consumer has pending is there at once, be it nothing.
    pub fn read(args: Args<'a>, is_of_group: bool) -> Option<EntryCall<'a>> {
        let request = Request::read(args, is_of_group).ok()?;
        if is_of_group && request.ids.iter().any(|id| *id != b">") {
            return None;
        }
        let before = &args[1..args.len() - 2 * request.keys.len()];
        let timeout = request.block_ms.map(|ms| Some(Duration::from_millis(ms)).filter(|timeout| !timeout.is_zero()));
        let group = request.group.map(|(name, _)| name);
        Some(EntryCall { before, keys: request.keys, ids: request.ids, group, timeout })
    }
}

/// Returns whether a call with `args` may wait, for who has not taken them apart.
pub fn may_block(args: Args<'_>) -> bool {
    let mut at = 1;
    while let Some(option) = args.get(at).filter(|option| !option.eq_ignore_ascii_case(b"streams")) {
        if option.eq_ignore_ascii_case(b"block") {
            return true;
        }
        let Some(words) = entry_option_words(option) else { return false };
        at += words;
    }
    false
}

/// The number of words of an option of XREAD or XREADGROUP, with its values, which may be called as options are. `None` if it is
/// none.
pub fn entry_option_words(option: &[u8]) -> Option<usize> {
    match option.to_ascii_lowercase().as_slice() {
        b"noack" => Some(1),
        b"count" | b"block" => Some(2),
        b"group" => Some(3),
        _ => None,
    }
}

/// The things that a stream has for a client that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing.
    Nothing,
    /// Entries, maybe.
    Entries,
    /// Never anything any more, with this error.
    Gone(&'static str),
}

/// Tells if `stream` has entries behind `after`, maybe.
pub fn outlook_after(stream: Option<&Stream>, after: StreamId) -> Outlook {
    if stream.is_some_and(|stream| stream.last_id() > after) { Outlook::Entries } else { Outlook::Nothing }
}

/// Tells if `stream` has entries that nobody of the consumer group `name` has got.
///
/// # Errors
/// Those of reading rows.
pub fn outlook_for(keyspace: &Keyspace<'_>, stream: Option<&Stream>, name: &[u8]) -> Result<Outlook, StorageError> {
    let Some(stream) = stream else { return Ok(Outlook::Gone(NO_STREAM_ANY_MORE)) };
    let Some(group) = stream.group(keyspace, name)? else { return Ok(Outlook::Gone(NO_GROUP_ANY_MORE)) };
    let has_some = group.last_delivered < stream.last_id()
        && stream.last_present_id(keyspace)?.is_some_and(|last| last > group.last_delivered);
    Ok(if has_some { Outlook::Entries } else { Outlook::Nothing })
}

/// The stream at `key`; none if there is another type.
///
/// # Errors
/// Those of reading rows.
pub fn waited_stream(keyspace: &Keyspace<'_>, key: &[u8]) -> Result<Option<Stream>, StorageError> {
    match keyspace.stream(key) {
        Err(StorageError::WrongType) => Ok(None),
        stream => stream,
    }
}

/// Does as XREAD, for a client that waits if there is nothing: then the reply has the ids behind which that is.
pub(super) fn step_read(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mark = reply.mark();
    if let Some(afters) = read_streams(context, args, reply)? {
        reply.truncate(mark);
        reply.array(afters.len());
        afters.into_iter().for_each(|after| reply.bulk_display(after));
    }
    Ok(())
}

/// Does as XREADGROUP, for a client that waits for a group which was there once.
pub(super) fn step_read_group(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let request = Request::read(args, true)?;
    let (name, _) = request.group.unwrap_or_default();
    for key in request.keys {
        let stream = waited_stream(&context.keyspace, key)?;
        if let Outlook::Gone(text) = outlook_for(&context.keyspace, stream.as_ref(), name)? {
            return Err(CommandError::text(text));
        }
    }
    xreadgroup(context, args, reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::{STEP_READ_ENTRIES, STEP_READ_GROUP};
    use crate::commands::testing::Shard;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn a_call_tells_what_it_waits_for() {
        let args = words("XREAD COUNT 2 block 1500 STREAMS a b $ 5");
        let call = EntryCall::read(&args, false).unwrap();
        assert_eq!((call.before, call.keys, call.ids), (&args[1..6], &args[6..8], &args[8..]));
        assert_eq!((call.group, call.timeout), (None, Some(Some(Duration::from_millis(1500)))));
        let args = words("XREADGROUP GROUP g c BLOCK 0 NOACK STREAMS a >");
        let call = EntryCall::read(&args, true).unwrap();
        assert_eq!((call.group, call.timeout), (Some(&b"g"[..]), Some(None)));
        assert_eq!(EntryCall::read(&words("XREAD STREAMS a 0"), false).unwrap().timeout, None);
        for line in ["XREADGROUP GROUP g c BLOCK 0 STREAMS a b > 0", "XREADGROUP GROUP g c BLOCK 0 STREAMS a"] {
            assert_eq!(EntryCall::read(&words(line), true), None, "{line}");
        }
        for (line, expected) in [
            ("XREAD BLOCK 0 STREAMS a 0", true),
            ("XREAD count 1 block 0 STREAMS a 0", true),
            ("XREAD STREAMS block 0", false),
            ("XREADGROUP GROUP streams c BLOCK 0 STREAMS s >", true),
            ("XREADGROUP GROUP g STREAMS block 0 STREAMS s >", true),
            ("XREADGROUP GROUP block block COUNT 1 STREAMS s >", false),
        ] {
            assert_eq!(may_block(&words(line)), expected, "{line}");
        }
    }

    #[test]
    fn steps_tell_what_there_is_and_what_is_gone() {
        let mut shard = Shard::new();
        for line in ["XADD x 5-1 a 1", "XGROUP CREATE x g 0", "XADD y 7-7 b 2", "SET s v"] {
            shard.line(line);
        }
        let step = |shard: &mut Shard, id, line| shard.step(id, &words(line));
        for (line, expected) in [
            ("STREAMS x y none $ $ $", "*3 $3 5-1 $3 7-7 $3 0-0"),
            ("BLOCK 5 STREAMS none x 9 5-1", "*2 $3 9-0 $3 5-1"),
            ("COUNT 1 BLOCK 0 STREAMS x y 0 $", "*1 *2 $1 x *1 *2 $3 5-1 *2 $1 a $1 1"),
            (
                "STREAMS x >",
                "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
            ),
        ] {
            assert_eq!(step(&mut shard, STEP_READ_ENTRIES, line), expected, "{line}");
        }
        for (line, expected) in [
            ("GROUP g c BLOCK 0 STREAMS x >", "*1 *2 $1 x *1 *2 $3 5-1 *2 $1 a $1 1"),
            ("GROUP g c STREAMS x >", "*-1"),
            ("GROUP none c STREAMS x >", "-NOGROUP the consumer group this client was blocked on no longer exists"),
            ("GROUP g c STREAMS none >", "-UNBLOCKED the stream key no longer exists"),
            ("GROUP g c STREAMS s >", "-UNBLOCKED the stream key no longer exists"),
        ] {
            assert_eq!(step(&mut shard, STEP_READ_GROUP, line), expected, "{line}");
        }
    }
}
