//! Events of keys on their way to who has subscribed to them: each is a message in the channel of its key and in that of its event,
//! as in Redis.
//!
//! What a newcomer would get wrong: nobody has to have subscribed. That is looked at here, and not where the events are made.

use basalt_storage::keyspace::{EventClasses, KeyEvent};

use super::{Fanout, hand_on};
use crate::clients::Audience;
use crate::config::KeyEventChoice;
use crate::core_loop::core::Core;
use crate::core_loop::outbox::Outbox;
use crate::ids::CoreId;
use crate::limits;
use crate::mail::Published;

impl Core {
    /// Has all shards of this core tell the events that the settings choose.
    pub(in crate::core_loop) fn choose_key_events(&self) {
        let classes = self.live.key_events.classes();
        self.shards.iter().flatten().for_each(|shard| shard.tell_key_events(classes));
    }

    /// Returns whether events wait to be told.
    pub(in crate::core_loop) fn has_key_events(&self) -> bool {
        self.live.key_events.classes() != EventClasses::NONE
            && self.shards.iter().flatten().any(|shard| shard.has_key_events())
    }

    /// Publishes events of keys, as many as a turn may and there is room for. Those of one shard keep their order.
    pub(in crate::core_loop) fn tell_key_events(&mut self) {
        let choice = self.live.key_events;
        if choice.classes() == EventClasses::NONE {
            return;
        }
        let Core { shards, fanout, outbox, id, .. } = self;
        let mut left = limits::KEY_EVENTS_PER_TURN;
        for shard in shards.iter().flatten() {
            if !fanout.directory.has_subscribers() {
                shard.forget_key_events();
                continue;
            }
            while left > 0
                && fanout.may_publish()
                && !outbox.has_much_published()
                && shard.take_key_event(&mut |event| publish(fanout, outbox, *id, choice, event))
            {
                left -= 1;
            }
        }
    }
}

fn publish(fanout: &mut Fanout, outbox: &mut Outbox, here: CoreId, choice: KeyEventChoice, event: KeyEvent<'_>) {
    let KeyEvent { db, event, key, .. } = event;
    let mut tell = |space: &str, name: &[u8], message: &[u8]| {
        let channel = [format!("__{space}@{db}__:").as_bytes(), name].concat();
        let receivers = fanout.directory.receivers(Audience::Channel, &channel);
        if receivers.count == 0 {
            fanout.steps = fanout.steps.saturating_add(receivers.steps);
            return;
        }
        let (channel, message) = (channel.into(), message.into());
        let published = Published { audience: Audience::Channel, channel, message, patterns: Vec::new() };
        hand_on(fanout, outbox, here, published, receivers);
    };
    if choice.by_key {
        tell("keyspace", key, event);
    }
    if choice.by_event {
        tell("keyevent", event, key);
    }
}
