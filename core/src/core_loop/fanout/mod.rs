//! Publish and subscribe: a core's subscribers, and the messages on their way to them.
//!
//! Nothing of this goes through the log. A publisher's core looks into its [`Directory`], answers how many there are, and hands the
//! message over once to each core that has some; each core then gives it to its own connections at the end of the turn.
//!
//! What a newcomer would get wrong: a message is not written where it is published. The connection that publishes may be one of the
//! subscribers, and is not in its place while its command runs. And a subscriber that has not been answered something else yet gets
//! a message behind that, since the answer may be that it has subscribed.

mod announced;
mod directory;
mod key_events;
mod moved;
mod other_nodes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply};
use basalt_net::ring::ConnId;
use smallvec::SmallVec;

use super::core::Core;
use super::outbox::Outbox;
use crate::clients::{Audience, Connection, Expects, ReplyMode, SubscriptionChange};
use crate::commands::glob_matches;
use crate::commands::scripts::{Message as ScriptMessage, split_messages};
use crate::ids::CoreId;
use crate::limits;
use crate::mail::{Control, Message, Published, PublishedBatch, SubscriptionChanges};
use crate::multi_shard::Coordinator;
use crate::session_commands::FanoutOrder;

use announced::Announced;
use directory::{Directory, Receivers};
use other_nodes::tell_other_nodes;

/// The subscribers of a core, and what is due to them.
#[derive(Default)]
pub(super) struct Fanout {
    directory: Directory,
    channels: Subscribers,
    patterns: Subscribers,
    shard_channels: Subscribers,
    /// Monitors, by the empty name.
    commands: Subscribers,
    /// Those who want to hear of changes of keys, by prefix.
    prefixes: Subscribers,
    /// True if the node has some.
    is_monitored: bool,
    /// Messages of another core's publishers for whose receivers there was no room yet: what is left of one batch.
    arrived: VecDeque<Arc<Published>>,
    /// The core that is asked first for the next batch.
    asked_first: u16,
    /// Messages of other nodes are taken ahead of those of other cores in this turn.
    arrived_first: bool,
    due: VecDeque<Due>,
    cost: usize,
    /// Steps of matching in this turn.
    steps: u32,
    /// Publishers that wait until less is due.
    waiting: Vec<ConnId>,
    /// Shard channels that have gone to another node, whose subscribers are to be told.
    moved: Vec<Box<[u8]>>,
    /// Subscriptions that have ended since the other cores were told.
    ended: Vec<SubscriptionChange>,
}

/// The connections of a core that have subscribed, by what they have subscribed to.
type Subscribers = HashMap<Box<[u8]>, HashSet<ConnId>>;

/// A message on its way to its subscribers.
struct Due {
    published: Arc<Published>,
    /// Those that do not have it yet, the first one last; with the pattern that they have subscribed by, if so.
    receivers: Vec<(ConnId, Option<Arc<[u8]>>)>,
    cost: usize,
    encoded: Encoded,
}

/// A message as it is sent, by protocol, for the pattern that it was last encoded for.
#[derive(Default)]
struct Encoded {
    pattern: Option<Arc<[u8]>>,
    bytes: [Vec<u8>; 2],
}

impl Encoded {
    fn of(&mut self, protocol: Protocol, published: &Published, pattern: Option<&Arc<[u8]>>) -> &[u8] {
        if self.pattern.as_ref() != pattern {
            *self = Encoded { pattern: pattern.cloned(), ..Encoded::default() };
        }
        let bytes = &mut self.bytes[usize::from(protocol == Protocol::Resp3)];
        if bytes.is_empty() {
            let mut reply = Reply::new(bytes, protocol);
            if published.audience == Audience::Commands {
                reply.simple(&published.message);
                return bytes;
            }
            match pattern {
                Some(pattern) => {
                    reply.push(4);
                    reply.bulk("pmessage");
                    reply.bulk(pattern);
                }
                None => {
                    reply.push(3);
                    reply.bulk(if published.audience == Audience::ShardChannel { "smessage" } else { "message" });
                }
            }
            reply.bulk(&published.channel);
            reply.bulk(&published.message);
        }
        bytes
    }
}

impl Fanout {
    /// Returns whether something is due to a subscriber, or publishers or other cores wait for word.
    pub(super) fn has_some(&self) -> bool {
        !self.due.is_empty()
            || !self.arrived.is_empty()
            || !self.waiting.is_empty()
            || !self.ended.is_empty()
            || !self.moved.is_empty()
    }

    /// Returns whether so much is due that no more messages of other cores should be taken.
    pub(super) fn is_backlogged(&self) -> bool {
        self.cost >= limits::FANOUT_COST_MAX
    }

    /// Returns whether another message may be published here.
    pub(super) fn may_publish(&self) -> bool {
        !self.is_backlogged() && self.steps < limits::CHANNEL_STEPS_PER_TURN
    }

    /// Returns whether somebody is told of all commands.
    #[inline]
    pub(super) fn is_monitored(&self) -> bool {
        self.is_monitored
    }

    /// Returns whether somebody wants to hear of all changes of keys with some prefix.
    pub(super) fn has_prefixes(&self) -> bool {
        self.directory.prefix_count() > 0
    }

    /// Those prefixes that a key begins with.
    pub(super) fn prefixes_of(&self, key: &[u8]) -> SmallVec<[Arc<[u8]>; 2]> {
        self.directory.prefixes_of(key)
    }

    /// The cores whose clients want to hear of changes of keys with this prefix.
    pub(super) fn cores_of_prefix(&self, prefix: &[u8]) -> SmallVec<[CoreId; 8]> {
        self.directory.cores_of_prefix(prefix)
    }

    /// The connections of this core that want to hear of them.
    pub(super) fn receivers_by_prefix(&self, prefix: &[u8]) -> Vec<ConnId> {
        self.prefixes.get(prefix).into_iter().flatten().copied().collect()
    }

    /// Has a publisher go on when it may.
    pub(super) fn wait(&mut self, connection: ConnId) {
        self.waiting.push(connection);
    }

    /// The core of so many that is asked first for messages in this turn.
    pub(super) fn next_turn(&mut self, core_count: u16) -> u16 {
        self.asked_first = (self.asked_first + 1) % core_count;
        self.asked_first
    }

    /// Returns whether messages of other nodes are taken ahead of those of other cores in this turn.
    pub(super) fn takes_arrived_first(&mut self) -> bool {
        self.arrived_first = !self.arrived_first;
        self.arrived_first
    }

    /// Takes in a batch of another core, to be looked at as far as there is room.
    pub(super) fn arrive(&mut self, batch: PublishedBatch) {
        self.arrived.extend(batch.into_messages());
    }

    /// Finds the receivers of what has arrived, as far as there is room for them. False if there is no more room.
    pub(super) fn take_arrived(&mut self) -> bool {
        while !self.is_backlogged() {
            match self.arrived.pop_front() {
                Some(published) => self.push(published),
                None => return true,
            }
        }
        false
    }

    /// Takes in a message that is due to the subscribers that this core has by now.
    pub(super) fn push(&mut self, published: Arc<Published>) {
        let receivers = self.receivers(&published);
        if receivers.is_empty() {
            return;
        }
        let cost = published.bytes() + receivers.len() * limits::DELIVERY_COST_BYTES;
        self.cost += cost;
        self.due.push_back(Due { published, receivers, cost, encoded: Encoded::default() });
    }

    /// Takes over what was changed for clients of `core`.
    pub(super) fn take_over(&mut self, of: &SubscriptionChanges) {
        of.changes.iter().for_each(|change| self.directory.apply(of.core, change));
    }

    /// Makes or ends a subscription of a connection of this core.
    fn change(&mut self, connection: ConnId, change: &SubscriptionChange) {
        let subscribers = match change.audience {
            Audience::Channel => &mut self.channels,
            Audience::Pattern => &mut self.patterns,
            Audience::ShardChannel => &mut self.shard_channels,
            Audience::Commands => &mut self.commands,
            Audience::Prefix => &mut self.prefixes,
        };
        if change.is_made {
            subscribers.entry(change.name.clone()).or_default().insert(connection);
        } else if let Some(of_name) = subscribers.get_mut(&change.name) {
            of_name.remove(&connection);
            if of_name.is_empty() {
                subscribers.remove(&change.name);
            }
        }
    }

    /// The connections that a message is for, the first one last.
    fn receivers(&self, published: &Published) -> Vec<(ConnId, Option<Arc<[u8]>>)> {
        let direct = match published.audience {
            Audience::ShardChannel => self.shard_channels.get(&published.channel),
            Audience::Commands => self.commands.get(&published.channel),
            Audience::Channel | Audience::Pattern | Audience::Prefix => self.channels.get(&published.channel),
        };
        let mut receivers: Vec<_> = direct.into_iter().flatten().map(|connection| (*connection, None)).collect();
        for pattern in &published.patterns {
            let subscribers = self.patterns.get(&**pattern).into_iter().flatten();
            receivers.extend(subscribers.map(|connection| (*connection, Some(pattern.clone()))));
        }
        receivers.reverse();
        receivers
    }
}

impl Core {
    /// Does what a command of publish and subscribe orders; `bytes` is what the connection is to be told of it, if it is known.
    pub(super) fn fan_out(&mut self, connection: &mut Connection, asked: u16, order: FanoutOrder, mut bytes: Vec<u8>) {
        if let FanoutOrder::Change(changes) = order {
            return self.change_subscriptions(connection, asked, changes, bytes);
        }
        self.answer_fanout(connection.session.protocol, order, &mut bytes);
        if connection.session.reply_mode == ReplyMode::On {
            self.clients.handed_over_bytes += bytes.len();
            self.reply_raw(connection, &bytes);
        }
    }

    /// Does what a command of publish and subscribe orders that changes no subscriptions, and writes its reply.
    pub(super) fn answer_fanout(&mut self, protocol: Protocol, order: FanoutOrder, bytes: &mut Vec<u8>) {
        let bounds = self.server.reply_bounds();
        let mut reply = bounds.reply(bytes, protocol);
        let (directory, start) = (&self.fanout.directory, reply.mark());
        match order {
            FanoutOrder::Change(_) => unreachable!("it is answered when the other cores know"),
            FanoutOrder::Publish(published) => {
                let receivers = directory.receivers(published.audience, &published.channel);
                reply.integer(receivers.count);
                tell_other_nodes(self.peers.as_ref(), &self.routing, &published);
                hand_on(&mut self.fanout, &mut self.outbox, self.id, published, receivers);
            }
            FanoutOrder::Channels(audience, pattern) => {
                let is_wanted = |name: &&[u8]| pattern.as_ref().is_none_or(|pattern| glob_matches(pattern, name));
                let found: Vec<&[u8]> = directory.channels(audience).filter(is_wanted).collect();
                reply.array(found.len());
                found.into_iter().for_each(|name| reply.bulk(name));
            }
            FanoutOrder::Subscribers(audience, names) => {
                reply.array(2 * names.len());
                for name in names {
                    reply.bulk(&name);
                    reply.integer(directory.subscribers(audience, &name));
                }
            }
            FanoutOrder::PatternCount => reply.integer(directory.pattern_count() as i64),
        }
        if reply.is_over() {
            reply.truncate(start);
            reply.error(bounds.too_large(false));
        }
    }

    /// Publishes the messages of a script that stand in front of its reply, and gives the reply.
    pub(super) fn publish_before<'r>(&mut self, reply: &'r [u8]) -> &'r [u8] {
        let (messages, reply) = split_messages(reply);
        for ScriptMessage { is_sharded, channel, message } in messages {
            let audience = if is_sharded { Audience::ShardChannel } else { Audience::Channel };
            let receivers = self.fanout.directory.receivers(audience, channel);
            let published =
                Published { audience, channel: channel.into(), message: message.into(), patterns: Vec::new() };
            tell_other_nodes(self.peers.as_ref(), &self.routing, &published);
            hand_on(&mut self.fanout, &mut self.outbox, self.id, published, receivers);
        }
        reply
    }

    /// Tells all monitors of a command.
    pub(super) fn publish_command(&mut self, line: Vec<u8>) {
        let published = Published {
            audience: Audience::Commands,
            channel: Box::default(),
            message: line.into(),
            patterns: Vec::new(),
        };
        let receivers = self.fanout.directory.receivers(Audience::Commands, b"");
        hand_on(&mut self.fanout, &mut self.outbox, self.id, published, receivers);
    }

    /// Makes and ends subscriptions of a connection. It is told so once all cores know: from then on no message passes it by, and
    /// none is counted for it any more. It is told in any case, as of messages.
    pub(super) fn change_subscriptions(
        &mut self,
        connection: &mut Connection,
        asked: u16,
        changes: Vec<SubscriptionChange>,
        bytes: Vec<u8>,
    ) {
        let others = self.server.mailboxes.core_count() - 1;
        let is_nothing_new = changes.is_empty();
        let told = self.note_subscriptions(connection.ring, changes);
        self.clients.handed_over_bytes += bytes.len();
        if others == 0 || is_nothing_new {
            return self.reply_raw(connection, &bytes);
        }
        let announced = Box::new(Announced::new(bytes, others));
        let place = connection.open_coordinated(announced, others, asked, Expects::Word, false, false);
        connection.barrier = true;
        self.tell_subscriptions(connection, place, 0, &told);
    }

    /// Makes and ends subscriptions of a connection in a transaction, whose parts from `first` on tell other cores. What it is told
    /// then; or its reply, if nobody else is to know.
    pub(super) fn announce(
        &mut self,
        connection: &mut Connection,
        place: u64,
        first: usize,
        changes: Vec<SubscriptionChange>,
        bytes: Vec<u8>,
    ) -> Result<Box<dyn Coordinator>, Vec<u8>> {
        let others = self.server.mailboxes.core_count() - 1;
        let is_nothing_new = changes.is_empty();
        let told = self.note_subscriptions(connection.ring, changes);
        if others == 0 || is_nothing_new {
            return Err(bytes);
        }
        connection.count_parts(place, others);
        self.tell_subscriptions(connection, place, first, &told);
        Ok(Box::new(Announced::new(bytes, others)))
    }

    fn tell_subscriptions(&mut self, connection: &Connection, place: u64, first: usize, told: &SubscriptionChanges) {
        for (part, core) in (first as u32..).zip(self.other_cores()) {
            let ticket = self.ticket(connection, place, part);
            self.outbox.control(core, Message::Control(ticket, Control::Subscriptions(told.clone())));
        }
    }

    fn other_cores(&self) -> impl Iterator<Item = CoreId> + use<> {
        let id = self.id;
        (0..self.server.mailboxes.core_count() as u16).map(CoreId).filter(move |core| *core != id)
    }

    /// Takes changes over for this core itself.
    fn note_subscriptions(&mut self, connection: ConnId, changes: Vec<SubscriptionChange>) -> SubscriptionChanges {
        changes.iter().for_each(|change| self.fanout.change(connection, change));
        let told = SubscriptionChanges { core: self.id, changes: changes.into() };
        self.take_over_subscriptions(&told);
        told
    }

    /// Takes over what was changed for clients of some core.
    pub(super) fn take_over_subscriptions(&mut self, told: &SubscriptionChanges) {
        let had_prefixes = self.fanout.has_prefixes();
        self.fanout.take_over(told);
        if had_prefixes != self.fanout.has_prefixes() {
            self.set_up_tracking();
        }
        let (stats, directory) = (&self.server.cores[self.id.index()], &self.fanout.directory);
        stats.channels.set(directory.channels(Audience::Channel).len() as u64);
        stats.shard_channels.set(directory.channels(Audience::ShardChannel).len() as u64);
        stats.patterns.set(directory.pattern_count() as u64);
        stats.tracked_prefixes.set(directory.prefix_count() as u64);
        let monitors = directory.subscribers(Audience::Commands, b"");
        stats.monitors.set(monitors.max(0) as u64);
        self.fanout.is_monitored = monitors > 0;
    }

    /// Ends what a connection has subscribed to that is about to be forgotten. The other cores are told with the turn.
    pub(super) fn end_subscriptions(&mut self, connection: &mut Connection) {
        let ended = connection.session.end_subscriptions();
        self.note_ended(connection.ring, ended);
    }

    fn note_ended(&mut self, connection: ConnId, ended: Vec<SubscriptionChange>) {
        let told = self.note_subscriptions(connection, ended);
        if self.server.mailboxes.core_count() > 1 {
            self.fanout.ended.extend_from_slice(&told.changes);
        }
    }

    fn tell_ended_subscriptions(&mut self) {
        if self.fanout.ended.is_empty() {
            return;
        }
        let told = SubscriptionChanges { core: self.id, changes: std::mem::take(&mut self.fanout.ended).into() };
        for core in self.other_cores() {
            self.outbox.control(core, Message::Subscriptions(told.clone()));
        }
    }

    /// Ends a turn: gives messages to subscribers, as many as a turn may, and has publishers go on that may again. Returns how many
    /// messages were given, those included that subscriptions have ended.
    pub(super) fn finish_fanout(&mut self) -> usize {
        let told = if self.fanout.moved.is_empty() { 0 } else { self.end_moved_subscriptions() };
        self.tell_ended_subscriptions();
        self.fanout.steps = 0;
        let delivered = if self.fanout.due.is_empty() { 0 } else { self.deliver_published() };
        if !self.fanout.waiting.is_empty() && self.may_publish() {
            let waiting = std::mem::take(&mut self.fanout.waiting);
            waiting.into_iter().for_each(|publisher| self.clients.stalled.push(publisher));
        }
        told + delivered
    }

    fn deliver_published(&mut self) -> usize {
        let (mut count, mut bytes) = (0, 0);
        // Who was given much is looked at before there is more.
        while count < limits::DELIVERIES_PER_TURN
            && bytes < limits::DELIVERY_BYTES_PER_TURN
            && !self.has_handed_over_much()
            && let Some(due) = self.fanout.due.front_mut()
        {
            let Some((id, pattern)) = due.receivers.pop() else {
                self.fanout.cost -= due.cost;
                self.fanout.due.pop_front();
                continue;
            };
            count += 1;
            bytes += self.give_message(id, pattern.as_ref());
        }
        count
    }

    /// Gives the message that is due first to a connection, if it still subscribes to it; returns the bytes that it was given.
    fn give_message(&mut self, id: ConnId, pattern: Option<&Arc<[u8]>>) -> usize {
        let Some(mut connection) = self.take_connection(id) else { return 0 };
        let Some(due) = self.fanout.due.front_mut() else { return 0 };
        let (audience, name) = match pattern {
            Some(pattern) => (Audience::Pattern, &**pattern),
            None => (due.published.audience, &*due.published.channel),
        };
        if connection.session.closing || !connection.session.is_subscribed_to(audience, name) {
            self.clients.connections[id.index()] = Some(connection);
            return 0;
        }
        let bytes = due.encoded.of(connection.session.protocol, &due.published, pattern);
        let count = bytes.len();
        self.clients.handed_over_bytes += count;
        match connection.is_caught_up() {
            true => {
                if let Some(out) = self.ring.output(id) {
                    out.extend_from_slice(bytes);
                }
            }
            false => connection.push_ready(bytes),
        }
        self.put_connection(connection);
        count
    }
}

/// Hands a message on to the cores of its receivers.
fn hand_on(fanout: &mut Fanout, outbox: &mut Outbox, here: CoreId, mut published: Published, receivers: Receivers) {
    fanout.steps = fanout.steps.saturating_add(receivers.steps);
    published.patterns = receivers.patterns;
    let published = Arc::new(published);
    for core in receivers.cores {
        match core == here {
            true => fanout.push(published.clone()),
            false => outbox.publish(core, published.clone()),
        }
    }
}
