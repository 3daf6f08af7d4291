//! CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT: the keys of one slot, a step at a time.

use basalt_net::resp::{Reply, value};
use basalt_storage::keyspace::{KeyPosition, Slot};

use super::gather::{Coordinator, Part, Progress, misshapen};
use super::walk::{Steps, keys_per_step, read_step};
use crate::commands::ReplyBounds;
use crate::ids::ShardId;

/// A walk over the keys of a slot.
pub struct SlotKeys {
    steps: Steps,
    shard: ShardId,
    slot: Slot,
    /// The keys that are wanted at most; `None` if only their number is.
    most: Option<usize>,
    count: usize,
    keys: Vec<u8>,
    bounds: ReplyBounds,
}

impl SlotKeys {
    /// A walk over the keys of `slot`, which `shard` has, in the one database of a cluster, and the part to begin with.
    pub fn start(shard: ShardId, slot: Slot, most: Option<usize>, bounds: ReplyBounds) -> (Vec<Part>, SlotKeys) {
        let steps = Steps { db: 0, options: vec![b"COUNT".to_vec(), keys_per_step()] };
        let part = steps.part(shard, KeyPosition::of_slot(slot));
        (vec![part], SlotKeys { steps, shard, slot, most, count: 0, keys: Vec::new(), bounds })
    }

    fn is_enough(&self) -> bool {
        self.most.is_some_and(|most| self.count >= most)
    }

    /// Takes the keys of a step; `None` if they are no such thing.
    fn take(&mut self, keys: &[u8]) -> Option<()> {
        for key in value::split_elements(keys).ok()? {
            let is_here = value::read_bulk(key).is_some_and(|key| Slot::of(key) == self.slot);
            if !is_here || self.is_enough() {
                continue;
            }
            self.count += 1;
            if self.most.is_some() {
                self.keys.extend_from_slice(key);
            }
        }
        Some(())
    }
}

impl Coordinator for SlotKeys {
    fn answered(&mut self, _part: usize, reply: &[u8], out: &mut Reply<'_>) -> Progress {
        if reply.starts_with(b"-") {
            out.raw(reply);
            return Progress::Done;
        }
        let Some((next, keys)) = read_step(reply) else { return misshapen(out) };
        if self.take(keys).is_none() {
            return misshapen(out);
        }
        if self.keys.len() > self.bounds.one_bytes_max {
            self.keys = Vec::new();
            out.error_display(self.bounds.too_large(false));
            return Progress::Done;
        }
        match next.filter(|next| next.slot() == self.slot && !self.is_enough()) {
            Some(next) => Progress::Send(vec![self.steps.part(self.shard, next)]),
            None if self.most.is_some() => {
                out.array(self.count);
                out.raw(&self.keys);
                Progress::Done
            }
            None => {
                out.integer(self.count as i64);
                Progress::Done
            }
        }
    }

    fn held_bytes(&self) -> usize {
        self.keys.capacity()
    }
}
