//! A stream is written: in nodes as a stream gets them to whose end one entry after the other is added.

use crate::limits::{STREAM_NODE_BYTES_MAX, STREAM_NODE_ENTRIES_MAX};
use crate::listpack::Builder;
use crate::read_stream::SAME_FIELDS;
use crate::value::{Group, Stream, StreamId};
use crate::write::Writer;

/// A node that entries are added to.
struct Node<'a> {
    first: StreamId,
    fields: Vec<&'a [u8]>,
    entries: usize,
    listpack: Builder,
}

pub(crate) fn write_stream(out: &mut Writer, stream: &Stream) {
    out.counted(|out| {
        let (mut count, mut node, mut start) = (0, None::<Node<'_>>, 0);
        for &(id, length) in &stream.entries {
            let strings: Vec<&[u8]> = (start..start + length).map(|index| stream.strings.get(index)).collect();
            start += length;
            let bytes: usize = strings.iter().map(|string| string.len()).sum();
            let current = match node.take() {
                Some(node) if node.has_room(bytes) => node,
                full => {
                    count += 1;
                    full.into_iter().for_each(|full| full.write(out));
                    Node::new(id, &strings)
                }
            };
            node = Some(current.with(id, &strings));
        }
        node.into_iter().for_each(|node| node.write(out));
        count
    });
    out.length(stream.entries.len() as u64);
    for id in [stream.last, stream.first, stream.greatest_deleted] {
        write_id(out, id);
    }
    out.length(stream.entries_added);
    out.length(stream.groups.len() as u64);
    stream.groups.iter().for_each(|group| write_group(out, group));
}

fn write_id(out: &mut Writer, id: StreamId) {
    out.length(id.ms);
    out.length(id.sequence);
}

impl<'a> Node<'a> {
    fn new(first: StreamId, strings: &[&'a [u8]]) -> Node<'a> {
        let fields: Vec<&[u8]> = strings.iter().step_by(2).copied().collect();
        let mut listpack = Builder::new();
        // The entries are counted when they are there; none is deleted.
        for number in [0, 0, fields.len() as i64] {
            listpack.push_integer(number);
        }
        fields.iter().for_each(|field| listpack.push(field));
        listpack.push_integer(0);
        Node { first, fields, entries: 0, listpack }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.listpack.byte_count() + bytes < STREAM_NODE_BYTES_MAX && self.entries < STREAM_NODE_ENTRIES_MAX
    }

    fn with(mut self, id: StreamId, strings: &[&[u8]]) -> Node<'a> {
        let has_same_fields = strings.iter().step_by(2).eq(self.fields.iter());
        let listpack = &mut self.listpack;
        let before = listpack.len();
        listpack.push_integer(if has_same_fields { SAME_FIELDS } else { 0 });
        listpack.push_integer(id.ms.wrapping_sub(self.first.ms) as i64);
        listpack.push_integer(id.sequence.wrapping_sub(self.first.sequence) as i64);
        if has_same_fields {
            strings.iter().skip(1).step_by(2).for_each(|value| listpack.push(value));
        } else {
            listpack.push_integer(strings.len() as i64 / 2);
            strings.iter().for_each(|string| listpack.push(string));
        }
        listpack.push_integer((listpack.len() - before) as i64);
        self.entries += 1;
        self
    }

    fn write(mut self, out: &mut Writer) {
        self.listpack.set_first(self.entries as u8);
        out.string(&self.first.bytes());
        out.string(&self.listpack.finish());
    }
}

fn write_group(out: &mut Writer, group: &Group) {
    out.string(&group.name);
    write_id(out, group.last_delivered);
    out.length(group.entries_read.unwrap_or(u64::MAX));
    out.length(group.pending.len() as u64);
    for pending in &group.pending {
        out.bytes.extend_from_slice(&pending.id.bytes());
        out.bytes.extend_from_slice(&pending.delivered_ms.to_le_bytes());
        out.length(pending.deliveries);
    }
    out.length(group.consumers.len() as u64);
    let mut owned: Vec<Vec<StreamId>> = vec![Vec::new(); group.consumers.len()];
    group.pending.iter().for_each(|pending| owned[pending.consumer].push(pending.id));
    for (consumer, ids) in group.consumers.iter().zip(owned) {
        out.string(&consumer.name);
        out.bytes.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        out.length(ids.len() as u64);
        ids.iter().for_each(|id| out.bytes.extend_from_slice(&id.bytes()));
    }
}
