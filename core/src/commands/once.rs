//! `BASALT ONCE client number command…`: a command that is executed once at most, however often it is sent.
//!
//! A client that has lost the answer to a write does not know if it was executed. It sends the same call again, to whoever leads
//! then: the shard remembers the client's last command with its reply, in rows that the command's own entry writes.
//! So it is known on every replica, and after a restart.
//!
//! What a newcomer would get wrong: a session that is forgotten must not be taken for one that was never there, or a late copy of
//! a command would be executed again. A client's id says when it was begun. A shard that does not know an id executes nothing for
//! it unless the id is young, and a session is forgotten only when its id is no longer young: an id is begun a minute behind the
//! session's last use at the latest, and sessions are kept for an epoch behind that, which is a minute more than ids are young.

use basalt_net::resp::{Protocol, Reply};
use basalt_storage::keyspace::{SESSION_EPOCH_MS, Session, Slot};
use sha2::{Digest, Sha256};

use super::{Args, Command, CommandError, Context, Kind, Run, parse_usize, table};
use crate::limits::{ONCE_ID_AGE_MS, ONCE_ID_AHEAD_MS, ONCE_ID_BYTES_MAX, ONCE_KEPT_BYTES_MAX, ONCE_REPLY_BYTES_MAX};

/// The position of the name of the command that is executed.
pub const COMMAND_AT: usize = 4;

/// Flag of a session: its reply is in RESP3.
const IN_RESP3: u8 = 1;
/// Flag of a session: its reply was too long to be kept.
const NOT_KEPT: u8 = 2;

const _: () = assert!(ONCE_ID_AGE_MS + ONCE_ID_AHEAD_MS <= SESSION_EPOCH_MS);

const OUTDATED: CommandError = CommandError::text(
    "OUTDATED the client has had a later command executed in this shard: if this one was is not known any more, and it was not now",
);
const EXECUTED: CommandError = CommandError::text("EXECUTED the command was executed, but its reply is not kept");
const FORGOTTEN: CommandError = CommandError::text(
    "FORGOTTEN the client's id was begun an hour ago or more, and nothing of it is known here: nothing was executed now",
);
const AHEAD: CommandError = CommandError::text(
    "ERR the client's id begins with a time that has not come: its clock is ahead by more than a minute. Nothing was executed",
);
const OTHER: CommandError =
    CommandError::text("ERR this number of the client was another command: nothing was executed now");
const FULL: CommandError =
    CommandError::text("BUSY the shard remembers as many clients as it may: nothing was executed, try again later");
const BAD_CLIENT: CommandError = CommandError::text(
    "ERR the client's id is not the Unix time in milliseconds at which it was begun, a dash, and what no other has: 128 bytes at most",
);
const BAD_NUMBER: CommandError = CommandError::text("ERR the command's number is not an integer from 1 on");
const NO_KEYS: CommandError = CommandError::text("ERR BASALT ONCE is for commands with keys");

/// A call, taken apart.
struct Call<'a> {
    client: &'a [u8],
    /// The time at which the client's id was begun, in Unix milliseconds.
    begun_ms: u64,
    number: u64,
    run: Run,
    args: Args<'a>,
}

/// The command that a call of BASALT ONCE executes, and its arguments, which begin at [`COMMAND_AT`]; `None` of another command's
/// call, or if there is no such command.
pub fn inner<'a>(command: &Command, args: Args<'a>) -> Option<(&'static Command, Args<'a>)> {
    if command.id != table::ONCE {
        return None;
    }
    let args = args.get(COMMAND_AT..)?;
    Some((table::called(args)?, args))
}

/// Returns whether this version of the program knows the command that is to be executed.
pub fn is_known(args: Args<'_>) -> bool {
    args.get(COMMAND_AT..).and_then(table::called).is_some()
}

/// Checks a call as far as it can be before its entry is made.
///
/// # Errors
/// The reason that it is refused.
pub fn check(args: Args<'_>) -> Result<(), CommandError> {
    Call::read(args).map(drop)
}

/// The reason that a command is not taken.
fn why_not(command: &Command) -> Option<&'static str> {
    match command.kind {
        _ if command.id == table::ONCE => Some("it is BASALT ONCE"),
        _ if command.runs_script || command.changes_functions.is_some() => Some("it is about scripts or functions"),
        _ if command.waits.is_some() || command.waits_for_entries => Some("it may wait"),
        _ if command.migrates => Some("it sends keys to another server"),
        _ if command.has_patterns => Some("it may read keys that it does not name"),
        _ if command.concerns_all_shards() => Some("it is on all keys"),
        Kind::Write(_) => None,
        Kind::Read(_) => Some("it only reads, and may be sent as often as you like"),
        _ => Some("it is on no keys"),
    }
}

impl<'a> Call<'a> {
    fn read(args: Args<'a>) -> Result<Call<'a>, CommandError> {
        let (client, number, args) = (args[2], args[3], &args[COMMAND_AT..]);
        let begun_ms = client.iter().position(|byte| *byte == b'-').map(|dash| parse_usize(&client[..dash]));
        let Some(Ok(begun_ms)) = begun_ms.filter(|_| client.len() <= ONCE_ID_BYTES_MAX) else { return Err(BAD_CLIENT) };
        let number = parse_usize(number).ok().filter(|number| *number > 0).ok_or(BAD_NUMBER)?;
        let command = table::find(args)?;
        if let Some(reason) = why_not(command) {
            return Err(CommandError::owned(format!("ERR BASALT ONCE does not take '{}': {reason}", command.name())));
        }
        let Kind::Write(run) = command.kind else { return Err(NO_KEYS) };
        let mut slots = command.keys(args).map(|key| Slot::of(args[key]));
        let slot = slots.next().ok_or(NO_KEYS)?;
        if slots.any(|other| other != slot) {
            return Err(CommandError::CROSS_SLOT);
        }
        Ok(Call { client, begun_ms: begun_ms as u64, number: number as u64, run, args })
    }

    /// A digest of the command, to tell it from another one.
    fn digest(&self, db: u8) -> [u8; 8] {
        let mut hasher = Sha256::new();
        hasher.update([db]);
        for arg in self.args {
            hasher.update((arg.len() as u64).to_le_bytes());
            hasher.update(arg);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        *digest.first_chunk().expect("it is longer")
    }
}

/// Returns whether a reply is the same by both protocols.
fn is_of_both(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'+' | b'-' | b':')) || (reply.starts_with(b"$") && !reply.starts_with(b"$-1"))
}

/// `BASALT ONCE client number command…`.
pub(super) fn once(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let call = Call::read(args)?;
    let (now_ms, digest, protocol) = (context.keyspace.now_ms(), call.digest(context.keyspace.db()), reply.protocol());
    let lookup = context.keyspace.session(call.client)?;
    match lookup.session() {
        Some(session) if call.number < session.number => return Err(OUTDATED),
        Some(session) if call.number == session.number => {
            let made_in = if session.flags & IN_RESP3 != 0 { Protocol::Resp3 } else { Protocol::Resp2 };
            if digest != session.digest {
                return Err(OTHER);
            }
            if session.flags & NOT_KEPT != 0 || (made_in != protocol && !is_of_both(&session.reply)) {
                return Err(EXECUTED);
            }
            reply.raw(&session.reply);
            return Ok(());
        }
        Some(_) => {}
        None if call.begun_ms > now_ms.saturating_add(ONCE_ID_AHEAD_MS) => return Err(AHEAD),
        None if now_ms.saturating_sub(call.begun_ms) >= ONCE_ID_AGE_MS => return Err(FORGOTTEN),
        None if lookup.is_full() => return Err(FULL),
        None => {}
    }
    // A bound that does not follow from this node's memory: what is kept must be the same everywhere. One value may be longer, as
    // wherever a value is told: the command may have taken it away.
    let mut made = Vec::new();
    let mut inner_reply = Reply::bounded(&mut made, protocol, ONCE_REPLY_BYTES_MAX);
    let is_over = match (call.run)(context, call.args, &mut inner_reply) {
        Ok(()) => inner_reply.is_over(),
        // It has written nothing, and is run again or is none.
        Err(error @ (CommandError::Storage(_) | CommandError::Undone(_) | CommandError::Piecemeal)) => {
            return Err(error);
        }
        Err(error) => {
            inner_reply.truncate(0);
            inner_reply.error_display(&error);
            false
        }
    };
    let is_kept = !is_over && made.len() <= ONCE_KEPT_BYTES_MAX;
    let flags = if protocol == Protocol::Resp3 { IN_RESP3 } else { 0 } | if is_kept { 0 } else { NOT_KEPT };
    let kept = if is_kept { made.clone() } else { Vec::new() };
    let session = Session { number: call.number, digest, flags, reply: kept };
    context.keyspace.put_session(call.client, lookup, &session);
    match is_over {
        true => reply.error_display(&EXECUTED),
        false => reply.raw(&made),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::Shard;

    /// An id that was begun so many milliseconds before the shard's time.
    fn id(shard: &Shard, age_ms: u64) -> String {
        format!("{}-c", shard.now_ms - age_ms)
    }

    fn once(shard: &mut Shard, id: &str, rest: &str) -> String {
        shard.line(&format!("BASALT ONCE {id} {rest}"))
    }

    #[test]
    fn what_is_sent_again_is_answered_and_not_executed() {
        let mut shard = Shard::new();
        let id = id(&shard, 0);
        assert_eq!(once(&mut shard, &id, "1 INCR k"), ":1");
        assert_eq!(once(&mut shard, &id, "1 INCR k"), ":1");
        assert_eq!(shard.line("GET k"), "$1 1");
        assert_eq!(once(&mut shard, &id, "7 incr k"), ":2", "a gap is no matter");
        assert_eq!(once(&mut shard, &id, "7 incr k"), ":2");
        assert!(once(&mut shard, &id, "1 INCR k").starts_with("-OUTDATED "));
        assert!(
            once(&mut shard, &id, "7 INCRBY k 5").starts_with("-ERR this number of the client was another command")
        );
        shard.db = 1;
        assert!(once(&mut shard, &id, "7 incr k").starts_with("-ERR this number"), "in another database");
        shard.db = 0;
        let other = format!("{id}2");
        assert_eq!(once(&mut shard, &other, "1 INCR k"), ":3", "another client");
        assert!(once(&mut shard, &id, "2 INCR other").starts_with("-OUTDATED "), "in another slot of the shard");
        assert!(once(&mut shard, &id, "7 INCR other").starts_with("-ERR this number"));
        assert_eq!(once(&mut shard, &id, "8 INCR other"), ":1");
        assert!(once(&mut shard, &id, "7 incr k").starts_with("-OUTDATED "));
    }

    #[test]
    fn errors_are_replies_that_are_remembered() {
        let mut shard = Shard::new();
        let id = id(&shard, 0);
        shard.line("SET k text");
        let error = once(&mut shard, &id, "1 INCR k");
        assert_eq!(error, "-ERR value is not an integer or out of range");
        shard.line("SET k 5");
        assert_eq!(once(&mut shard, &id, "1 INCR k"), error);
        assert_eq!(once(&mut shard, &id, "2 INCR k"), ":6");
    }

    #[test]
    fn a_long_reply_is_not_kept_and_one_of_the_other_protocol_not_told() {
        let mut shard = Shard::new();
        let id = id(&shard, 0);
        let value = "v".repeat(ONCE_KEPT_BYTES_MAX);
        shard.line(&format!("SET k {value}"));
        assert_eq!(once(&mut shard, &id, "1 GETDEL k"), format!("$1024 {value}"));
        assert!(once(&mut shard, &id, "1 GETDEL k").starts_with("-EXECUTED "));
        shard.line("ZADD z 1 a 2 b");
        assert_eq!(once(&mut shard, &id, "2 ZPOPMIN z"), "*2 $1 a $1 1");
        let words: Vec<String> = format!("BASALT ONCE {id} 2 ZPOPMIN z").split(' ').map(str::to_owned).collect();
        assert!(shard.run(Protocol::Resp3, &words).starts_with(b"-EXECUTED "));
        assert_eq!(once(&mut shard, &id, "2 ZPOPMIN z"), "*2 $1 a $1 1");
        assert_eq!(once(&mut shard, &id, "3 INCR n"), ":1");
        let words: Vec<String> = format!("BASALT ONCE {id} 3 INCR n").split(' ').map(str::to_owned).collect();
        assert_eq!(shard.run(Protocol::Resp3, &words), b":1\r\n");
    }

    #[test]
    fn a_value_that_is_taken_away_is_told_however_long_it_is() {
        let mut shard = Shard::new();
        let id = id(&shard, 0);
        let value = "v".repeat(ONCE_REPLY_BYTES_MAX + 1);
        shard.line(&format!("SET k {value}"));
        assert!(once(&mut shard, &id, "1 GETDEL k").ends_with(&value));
        assert!(once(&mut shard, &id, "1 GETDEL k").starts_with("-EXECUTED "));
        shard.line(&format!("RPUSH l {value} {value}"));
        assert!(once(&mut shard, &id, "2 LPOP l 2").starts_with("-EXECUTED "), "the documented bound");
        assert_eq!(shard.line("EXISTS l"), ":0");
    }

    #[test]
    fn a_late_copy_is_never_executed_again() {
        let mut shard = Shard::new();
        let first = id(&shard, 0);
        let ahead = format!("{}-c", shard.now_ms + ONCE_ID_AHEAD_MS);
        let beyond = format!("{}-c", shard.now_ms + ONCE_ID_AHEAD_MS + 1);
        assert!(once(&mut shard, &beyond, "1 INCR k").contains("has not come"));
        let start = shard.now_ms;
        let mut executed = 0;
        for (number, id) in [(1, &first), (2, &ahead)] {
            executed += 1;
            let call = format!("1 INCR k{number}");
            assert_eq!(once(&mut shard, id, &call), ":1");
            // At whatever time it comes, and whatever others have been forgotten by then.
            for minutes in 0..400 {
                shard.now_ms = start + minutes * 60_000;
                let other = format!("{}-x", shard.now_ms);
                assert_eq!(once(&mut shard, &other, "1 SET other v"), "+OK");
                let reply = once(&mut shard, id, &call);
                assert!(reply == ":1" || reply.starts_with("-FORGOTTEN "), "{minutes}: {reply}");
                assert!(minutes > 0 || reply == ":1");
            }
            assert_eq!(shard.line(&format!("GET k{number}")), "$1 1");
            shard.now_ms = start;
        }
        assert_eq!(executed, 2);
    }

    #[test]
    fn a_retry_of_the_last_hour_is_answered() {
        let mut shard = Shard::new();
        for offset in 0..130 {
            shard.now_ms += offset * 7_919_000;
            let id = id(&shard, ONCE_ID_AGE_MS - 1);
            assert_eq!(once(&mut shard, &id, "1 SETNX k v"), if offset == 0 { ":1" } else { ":0" });
            shard.now_ms += ONCE_ID_AGE_MS;
            assert!(!once(&mut shard, &id, "1 SETNX k v").starts_with('-'));
        }
    }

    #[test]
    fn what_cannot_be_remembered_by_slot_is_refused_by_name() {
        let mut shard = Shard::new();
        let id = id(&shard, 0);
        for (rest, error) in [
            ("1 GET k", "ERR BASALT ONCE does not take 'get': it only reads, and may be sent as often as you like"),
            ("1 PING k", "ERR BASALT ONCE does not take 'ping': it is on no keys"),
            ("1 FLUSHALL SYNC", "ERR BASALT ONCE does not take 'flushall': it is on all keys"),
            ("1 EVAL x 0", "ERR BASALT ONCE does not take 'eval': it is about scripts or functions"),
            ("1 FCALL x 0", "ERR BASALT ONCE does not take 'fcall': it is about scripts or functions"),
            ("1 BLPOP k 0", "ERR BASALT ONCE does not take 'blpop': it may wait"),
            ("1 XREADGROUP GROUP g c STREAMS s >", "ERR BASALT ONCE does not take 'xreadgroup': it may wait"),
            ("1 SORT k STORE d", "ERR BASALT ONCE does not take 'sort': it may read keys that it does not name"),
            ("1 EXEC k", "ERR wrong number of arguments for 'exec' command"),
            ("1 BASALT ONCE 1-c 1 SET k v", "ERR BASALT ONCE does not take 'basalt|once': it is BASALT ONCE"),
            ("1 SET k", "ERR wrong number of arguments for 'set' command"),
            ("1 NOSUCH k", "ERR unknown command 'NOSUCH', with args beginning with: 'k'"),
            ("1 MSET a 1 b 2", "CROSSSLOT Keys in request don't hash to the same slot"),
            ("0 SET k v", "ERR the command's number is not an integer from 1 on"),
            ("-1 SET k v", "ERR the command's number is not an integer from 1 on"),
        ] {
            assert_eq!(once(&mut shard, &id, rest), format!("-{error}"), "{rest}");
        }
        for id in ["c", "-c", "x-c", &format!("1-{}", "c".repeat(ONCE_ID_BYTES_MAX))] {
            assert!(once(&mut shard, id, "1 SET k v").starts_with("-ERR the client's id"), "{id}");
        }
        assert_eq!(once(&mut shard, &id, "1 MSET {a}1 1 {a}2 2"), "+OK");
        assert_eq!(once(&mut shard, &id, "2 RENAME {a}1 {a}3"), "+OK");
        assert_eq!(once(&mut shard, &id, "3 XGROUP CREATE {a}s g $ MKSTREAM"), "+OK");
    }
}
