//! Streams as a whole, with their consumer groups.

use std::collections::HashMap;
use std::ops::ControlFlow;

use basalt_rdb::StreamId as Id;
use basalt_rdb::limits::{CONSUMER_BYTES, ENTRY_BYTES, GROUP_BYTES, PENDING_BYTES};
use basalt_storage::Direction;
use basalt_storage::keyspace::{Group, Keyspace, Pending, Stream, StreamId};

use super::dump::{Room, flow};
use crate::commands::CommandError;

/// The error of a stream with more consumer groups than it may have; no payload within its bounds has so many.
const TOO_MANY_GROUPS: CommandError = CommandError::text("ERR the stream has too many consumer groups");

fn id_of(id: Id) -> StreamId {
    StreamId { ms: id.ms, sequence: id.sequence }
}

fn id_for(id: StreamId) -> Id {
    Id { ms: id.ms, sequence: id.sequence }
}

/// The whole stream, if there is room for it.
pub(super) fn read_stream(
    keyspace: &Keyspace<'_>,
    stream: &Stream,
    room: &mut Room,
) -> Result<Option<basalt_rdb::Stream>, CommandError> {
    let mut read = basalt_rdb::Stream {
        last: id_for(stream.last_id()),
        first: id_for(stream.first_id()),
        greatest_deleted: id_for(stream.greatest_deleted_id()),
        entries_added: stream.entries_added(),
        ..basalt_rdb::Stream::default()
    };
    let (mut fits, strings, entries) = (true, &mut read.strings, &mut read.entries);
    stream.each(keyspace, StreamId::MIN, StreamId::MAX, Direction::Forward, &mut |id, entry| {
        let before = strings.len();
        fits = room.take(ENTRY_BYTES) && entry.strings().all(|string| room.push(strings, string));
        entries.push((id_for(id), strings.len() - before));
        flow(fits)
    })?;
    let mut groups: Vec<Group> = Vec::new();
    if fits {
        stream.each_group(keyspace, &mut |group| {
            fits = room.take(group.name().len() + GROUP_BYTES);
            groups.push(group);
            Ok(flow(fits))
        })?;
    }
    for group in groups {
        match read_group(keyspace, stream, &group, room)? {
            Some(group) if fits => read.groups.push(group),
            _ => return Ok(None),
        }
    }
    Ok(fits.then_some(read))
}

fn read_group(
    keyspace: &Keyspace<'_>,
    stream: &Stream,
    group: &Group,
    room: &mut Room,
) -> Result<Option<basalt_rdb::Group>, CommandError> {
    let mut read = basalt_rdb::Group {
        name: group.name().to_vec(),
        last_delivered: id_for(group.last_delivered),
        entries_read: group.entries_read,
        ..basalt_rdb::Group::default()
    };
    let (mut fits, mut places, consumers) = (true, HashMap::new(), &mut read.consumers);
    group.each_consumer(keyspace, stream, &mut |name, consumer| {
        fits = room.take(name.len() + CONSUMER_BYTES);
        places.insert(name.to_vec(), consumers.len());
        consumers.push(basalt_rdb::Consumer { name: name.to_vec(), seen_ms: consumer.seen_ms });
        Ok(flow(fits))
    })?;
    if !fits {
        return Ok(None);
    }
    let (mut is_known, pending) = (true, &mut read.pending);
    group.each_pending(keyspace, stream, (StreamId::MIN, StreamId::MAX), Direction::Forward, &mut |id, entry| {
        fits = room.take(entry.consumer.len() + PENDING_BYTES);
        let Some(&consumer) = places.get(&entry.consumer[..]) else {
            is_known = false;
            return Ok(ControlFlow::Break(()));
        };
        pending.push(basalt_rdb::Pending {
            id: id_for(id),
            delivered_ms: entry.delivered_ms,
            deliveries: entry.deliveries,
            consumer,
        });
        Ok(flow(fits))
    })?;
    if !is_known {
        return Err(CommandError::text("ERR an entry of the stream is pending for a consumer that is not there"));
    }
    Ok(fits.then_some(read))
}

/// Replaces whatever `key` holds by `value`.
pub(super) fn write_stream(
    keyspace: &mut Keyspace<'_>,
    key: &[u8],
    value: &basalt_rdb::Stream,
) -> Result<(), CommandError> {
    let mut stream = keyspace.stream_replacing(key)?;
    let mut start = 0;
    for &(id, count) in &value.entries {
        let strings: Vec<&[u8]> = (start..start + count).map(|index| value.strings.get(index)).collect();
        stream.add(keyspace, id_of(id), &strings);
        start += count;
    }
    stream.set_past(id_of(value.last), Some(value.entries_added), Some(id_of(value.greatest_deleted)));
    for group in &value.groups {
        write_group(keyspace, &mut stream, group)?;
    }
    stream.save(keyspace);
    Ok(())
}

fn write_group(
    keyspace: &mut Keyspace<'_>,
    stream: &mut Stream,
    value: &basalt_rdb::Group,
) -> Result<(), CommandError> {
    let added = stream.add_group(&value.name, id_of(value.last_delivered), value.entries_read);
    let mut group = added.ok_or(TOO_MANY_GROUPS)?;
    for consumer in &value.consumers {
        let (opened, _) = group.consumer_or_new(keyspace, stream, &consumer.name)?;
        opened.seen_ms = consumer.seen_ms;
    }
    for entry in &value.pending {
        let pending = Pending {
            consumer: value.consumers[entry.consumer].name.clone().into(),
            delivered_ms: entry.delivered_ms,
            deliveries: entry.deliveries,
        };
        group.assign(keyspace, stream, id_of(entry.id), None, &pending)?;
    }
    group.save(keyspace, stream)?;
    Ok(())
}
