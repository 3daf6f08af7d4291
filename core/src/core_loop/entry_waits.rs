//! XREAD and XREADGROUP of clients of this core, where they wait for entries of streams.
//!
//! XREAD first reads what there is, in all shards of its keys at once, and learns what `$` is at that moment. If there is nothing
//! it waits behind these ids, so that nothing that comes between the two is missed. XREADGROUP waits in one shard, as commands do
//! that take elements.
//!
//! What a newcomer would get wrong: what the shards have is one reply, in the order in which the client has named its keys.

use basalt_net::resp::{Protocol, Reply, value};
use basalt_storage::keyspace::{StreamId, Type};

use super::core::Core;
use super::waits::check_key_count;
use crate::clients::{Connection, Expects, ReplyMode, Tracking, Wait, WaitPart, WaitStage};
use crate::commands::table::{STEP_READ_ENTRIES, STEP_READ_GROUP};
use crate::commands::{Args, Command, CommandError, EntryCall, Kind, parse_stream_id};
use crate::entry::request::{self, Mode, RequestHeader};
use crate::entry::waiting::{Pop, Wanted};
use crate::limits;
use crate::multi_shard::MISSHAPEN;

impl Core {
    /// The call of `command` with `args`, if it may have to wait, or reads of several shards. Every other one runs as any command.
    pub(super) fn entry_call<'a>(&self, command: &Command, args: Args<'a>) -> Option<EntryCall<'a>> {
        let is_of_group = matches!(command.kind, Kind::Write(_));
        let router = &self.routing.router;
        let may_wait = command.is_after_replies(args);
        let is_of_several = || {
            let mut shards = command.keys(args).map(|key| router.shard_of(args[key]));
            shards.next().is_some_and(|first| shards.any(|shard| shard != first))
        };
        if !may_wait && (is_of_group || router.is_whole() || !is_of_several()) {
            return None;
        }
        let call = EntryCall::read(args, is_of_group)?;
        // Something else may have had that name.
        let waits = call.timeout.is_some();
        if is_of_group { (waits && !is_of_several()).then_some(call) } else { Some(call) }
    }

    /// Starts a command that reads entries, and waits if there are none.
    pub(super) fn begin_entry_wait(
        &mut self,
        connection: &mut Connection,
        command: &'static Command,
        call: EntryCall<'_>,
        args: Args<'_>,
    ) {
        let waits = call.timeout.is_some();
        let most = if waits { limits::WAITED_STREAMS_MAX } else { limits::WAITED_KEYS_MAX };
        if let Err(error) = check_key_count(call.keys.len(), most) {
            return self.fail(connection, command.id, &error);
        }
        let silent = connection.session.reply_mode != ReplyMode::On;
        let place = connection.open_place(Expects::of(command, args), true, silent);
        let pop = Pop {
            command: command.id,
            call: if call.group.is_some() { STEP_READ_GROUP } else { command.id },
            protocol: connection.session.protocol,
            db: connection.session.db,
            kind: Type::Stream,
            has_destination: false,
            is_counted: false,
            before: call.before.iter().map(|&arg| Box::from(arg)).collect(),
            after: Vec::new(),
        };
        let wanted = match call.group {
            Some(group) => Wanted::EntriesFor(group.into()),
            None => Wanted::EntriesAfter(vec![StreamId::MIN; call.keys.len()]),
        };
        let mut wait = Wait::new(place, pop, call.keys, wanted, self.wait_parts(call.keys));
        wait.only_reads = call.timeout.is_none();
        let keeps_copies = |tracking: &Tracking| tracking.is_broadcast || tracking.tracks_next();
        wait.is_tracked = call.group.is_none() && connection.session.tracking.as_deref().is_some_and(keeps_copies);
        self.open_wait(connection, &mut wait, call.timeout.flatten());
        if call.group.is_some() {
            return self.wait_in_shards(connection, wait);
        }
        wait.stage = WaitStage::Reading;
        wait.asked = wait.parts.len();
        let Pop { protocol, db, command, .. } = wait.pop;
        let header = RequestHeader { asked: command, ..RequestHeader::new(protocol, db, STEP_READ_ENTRIES) };
        for (number, part) in (0..).zip(&wait.parts) {
            let keys = part.keys.iter().map(|&index| call.keys[index]);
            let ids = part.keys.iter().map(|&index| call.ids[index]);
            let args: Vec<&[u8]> = call.before.iter().copied().chain(keys).chain(ids).collect();
            let encode = |out: &mut Vec<u8>| request::encode(out, header, args.into_iter());
            self.send(connection, wait.place, number, part.shard, Mode::Read, None, encode);
        }
        connection.wait = Some(Box::new(wait));
    }

    /// Takes what a shard has for a client, or the ids behind which it is to wait there.
    pub(super) fn entries_answered(&mut self, connection: &mut Connection, mut wait: Wait, part: usize, reply: &[u8]) {
        wait.asked -= 1;
        match read_ids(reply) {
            _ if reply.starts_with(b"-") => wait.take_reply(reply),
            Some(ids) if ids.len() == wait.parts[part].keys.len() => {
                if let Wanted::EntriesAfter(afters) = &mut wait.wanted {
                    wait.parts[part].keys.iter().zip(ids).for_each(|(&index, id)| afters[index] = id);
                }
            }
            _ => self.keep_entries(&mut wait, part, reply),
        }
        if wait.asked > 0 {
            connection.wait = Some(Box::new(wait));
            return;
        }
        let has_entries = wait.parts.iter().any(|part| part.entries.is_some());
        if wait.reply.is_none() && has_entries {
            wait.reply = Some(Core::put_together(&wait));
        }
        if wait.reply.is_some() || wait.ending.is_some() || wait.only_reads {
            self.finish_wait(connection, wait);
        } else {
            self.wait_in_shards(connection, wait);
        }
    }

    /// Keeps what a shard has, or gives all up once that of all shards together is too large.
    fn keep_entries(&self, wait: &mut Wait, part: usize, reply: &[u8]) {
        let bounds = self.server.reply_bounds();
        wait.entry_bytes += reply.len();
        if wait.parts.len() == 1 || wait.entry_bytes <= bounds.one_bytes_max {
            wait.parts[part].entries = Some(reply.to_vec());
            return;
        }
        wait.parts.iter_mut().for_each(|part| part.entries = None);
        let mut refusal = Vec::new();
        let error = CommandError::owned(bounds.too_large(false));
        Reply::new(&mut refusal, wait.pop.protocol).error_display(&error);
        wait.take_reply(&refusal);
    }

    /// The replies of the shards that have something as one.
    fn put_together(wait: &Wait) -> Vec<u8> {
        if let [WaitPart { entries: Some(entries), .. }] = &wait.parts[..] {
            return entries.clone();
        }
        merge(wait).unwrap_or_else(|| MISSHAPEN.as_bytes().to_vec())
    }
}

/// The ids in a reply that consists of such; `None` of any other.
fn read_ids(reply: &[u8]) -> Option<Vec<StreamId>> {
    if !reply.starts_with(b"*") {
        return None;
    }
    value::split_elements(reply).ok()?.map(|id| parse_stream_id(value::read_bulk(id)?, 0).ok()).collect()
}

/// A stream in the reply of a shard: its name, and what tells of it.
type StreamOf<'a> = (&'a [u8], [&'a [u8]; 2]);

/// The streams in the reply of a shard. `None` if it is not what it should be.
fn streams_in(reply: &[u8], protocol: Protocol) -> Option<Vec<StreamOf<'_>>> {
    let mut elements = value::split_elements(reply).ok()?;
    let mut streams = Vec::new();
    while let Some(element) = elements.next() {
        streams.push(match protocol {
            Protocol::Resp2 => (value::read_bulk(value::split_elements(element).ok()?.next()?)?, [element, b""]),
            Protocol::Resp3 => (value::read_bulk(element)?, [element, elements.next()?]),
        });
    }
    Some(streams)
}

/// Puts the streams of several shards into the order in which the client has named them. `None` if a reply is not what it should
/// be.
fn merge(wait: &Wait) -> Option<Vec<u8>> {
    let (protocol, mut count) = (wait.pop.protocol, 0);
    let (mut of_parts, mut parts) = (Vec::new(), vec![0; wait.keys.len()]);
    for (at, part) in wait.parts.iter().enumerate() {
        let streams = part.entries.as_ref().map_or(Some(Vec::new()), |entries| streams_in(entries, protocol))?;
        count += streams.len();
        of_parts.push(streams.into_iter().peekable());
        part.keys.iter().for_each(|&index| parts[index] = at);
    }
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, protocol);
    match protocol {
        Protocol::Resp2 => reply.array(count),
        Protocol::Resp3 => reply.map(count),
    }
    for (key, part) in wait.keys.iter().zip(parts) {
        if let Some((_, stream)) = of_parts[part].next_if(|(name, _)| *name == &**key) {
            stream.into_iter().for_each(|piece| reply.raw(piece));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    /// The merged reply of two shards, of which the first has the keys at even places.
    fn merged(protocol: Protocol, keys: &[&[u8]], replies: [Option<&str>; 2]) -> String {
        let pop = Pop {
            command: 1,
            call: 1,
            protocol,
            db: 0,
            kind: Type::Stream,
            has_destination: false,
            is_counted: false,
            before: Vec::new(),
            after: Vec::new(),
        };
        let line = |text: &str| text.replace(' ', "\r\n").into_bytes();
        let parts = (0..2).zip(replies).map(|(at, reply)| WaitPart {
            keys: (at..keys.len()).step_by(2).collect(),
            entries: reply.map(line),
            ..WaitPart::new(ShardId(at as u16))
        });
        let wait = Wait::new(0, pop, keys, Wanted::Elements, parts.collect());
        String::from_utf8(merge(&wait).expect("it is as it should be")).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn streams_of_several_shards_stand_in_the_order_of_their_keys() {
        let keys: [&[u8]; 4] = [b"a", b"b", b"c", b"b"];
        let replies = [Some("*2 *2 $1 a :1 *2 $1 c :3 "), Some("*2 *2 $1 b :2 *2 $1 b :4 ")];
        let expected = "*4 *2 $1 a :1 *2 $1 b :2 *2 $1 c :3 *2 $1 b :4 ";
        assert_eq!(merged(Protocol::Resp2, &keys, replies), expected);
        let replies = [Some("%1 $1 c *1 :3 "), Some("%1 $1 b :2 ")];
        assert_eq!(merged(Protocol::Resp3, &keys, replies), "%2 $1 b :2 $1 c *1 :3 ");
        assert_eq!(merged(Protocol::Resp3, &keys, [None, Some("%1 $1 b :2 ")]), "%1 $1 b :2 ");
    }

    #[test]
    fn ids_are_told_from_entries() {
        assert_eq!(read_ids(b"*2\r\n$3\r\n1-2\r\n$3\r\n0-0\r\n").map(|ids| ids.len()), Some(2));
        for other in ["*1\r\n*2\r\n$1\r\na\r\n*0\r\n", "%1\r\n$1\r\na\r\n*0\r\n", "-ERR x\r\n", "*-1\r\n"] {
            assert_eq!(read_ids(other.as_bytes()), None, "{other:?}");
        }
    }
}
