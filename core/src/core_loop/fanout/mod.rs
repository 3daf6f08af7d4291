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

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use basalt_net::resp::{Protocol, Reply};
use basalt_net::ring::ConnId;

use super::core::Core;
use crate::clients::{Audience, Connection, Expects, ReplyMode, SubscriptionChange};
use crate::commands::glob_matches;
use crate::ids::CoreId;
use crate::limits;
use crate::mail::{Control, Message, Published, SubscriptionChanges};
use crate::session_commands::FanoutOrder;

use announced::Announced;
use directory::Directory;

/// The subscribers of a core, and what is due to them.
#[derive(Default)]
pub(super) struct Fanout {
    directory: Directory,
    channels: HashMap<Box<[u8]>, Vec<ConnId>>,
    patterns: BTreeMap<Box<[u8]>, Vec<ConnId>>,
    shard_channels: HashMap<Box<[u8]>, Vec<ConnId>>,
    due: VecDeque<Arc<Published>>,
    due_bytes: usize,
    /// The message that some of its subscribers have got.
    under_way: Option<UnderWay>,
}

/// A message on its way to its subscribers.
struct UnderWay {
    published: Arc<Published>,
    /// Those that do not have it yet, the first one last; with the pattern that they have subscribed by, if so.
    receivers: Vec<(ConnId, Option<Arc<[u8]>>)>,
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
    /// Returns whether something is due to a subscriber.
    pub(super) fn has_some(&self) -> bool {
        self.under_way.is_some() || !self.due.is_empty()
    }

    /// Returns whether so much is due that nothing should be added.
    pub(super) fn is_backlogged(&self) -> bool {
        self.due_bytes >= limits::FANOUT_BYTES_MAX
    }

    /// Takes in a message that is due to the subscribers of this core.
    pub(super) fn push(&mut self, published: Arc<Published>) {
        self.due_bytes += published.bytes();
        self.due.push_back(published);
    }

    /// Takes over what was changed for clients of `core`.
    pub(super) fn take_over(&mut self, of: &SubscriptionChanges) {
        of.changes.iter().for_each(|change| self.directory.apply(of.core, change));
    }

    /// Makes or ends a subscription of a connection of this core.
    fn change(&mut self, connection: ConnId, change: &SubscriptionChange) {
        let subscribers = match change.audience {
            Audience::Channel => self.channels.entry(change.name.clone()).or_default(),
            Audience::Pattern => self.patterns.entry(change.name.clone()).or_default(),
            Audience::ShardChannel => self.shard_channels.entry(change.name.clone()).or_default(),
        };
        if change.is_made {
            return subscribers.push(connection);
        }
        subscribers.retain(|subscriber| *subscriber != connection);
        if subscribers.is_empty() {
            match change.audience {
                Audience::Channel => drop(self.channels.remove(&change.name)),
                Audience::Pattern => drop(self.patterns.remove(&change.name)),
                Audience::ShardChannel => drop(self.shard_channels.remove(&change.name)),
            }
        }
    }

    /// The connections that a message is for.
    fn receivers(&self, published: &Published) -> Vec<(ConnId, Option<Arc<[u8]>>)> {
        let direct = match published.audience {
            Audience::ShardChannel => self.shard_channels.get(&published.channel),
            Audience::Channel | Audience::Pattern => self.channels.get(&published.channel),
        };
        let mut receivers: Vec<_> = direct.into_iter().flatten().map(|connection| (*connection, None)).collect();
        if published.audience == Audience::Channel {
            let matched = self.patterns.iter().filter(|(pattern, _)| glob_matches(pattern, &published.channel));
            for (pattern, subscribers) in matched {
                let pattern: Arc<[u8]> = Arc::from(&**pattern);
                receivers.extend(subscribers.iter().map(|connection| (*connection, Some(pattern.clone()))));
            }
        }
        receivers.reverse();
        receivers
    }

    /// Takes the next receiver of what is due.
    fn next(&mut self) -> Option<(ConnId, Option<Arc<[u8]>>)> {
        loop {
            if let Some(under_way) = &mut self.under_way {
                if let Some(receiver) = under_way.receivers.pop() {
                    return Some(receiver);
                }
                self.due_bytes -= under_way.published.bytes();
                self.under_way = None;
            }
            let published = self.due.pop_front()?;
            let receivers = self.receivers(&published);
            self.under_way = Some(UnderWay { published, receivers, encoded: Encoded::default() });
        }
    }
}

impl Core {
    /// Does what a command of publish and subscribe orders; `reply` is what the connection is to be told of it, if it is known.
    pub(super) fn fan_out(&mut self, connection: &mut Connection, asked: u16, order: FanoutOrder, mut bytes: Vec<u8>) {
        let mut reply = Reply::new(&mut bytes, connection.session.protocol);
        let directory = &self.fanout.directory;
        match order {
            FanoutOrder::Change(changes) => return self.change_subscriptions(connection, asked, changes, bytes),
            FanoutOrder::Publish(published) => {
                let (count, cores) = directory.receivers(published.audience, &published.channel);
                reply.integer(count);
                let published = Arc::new(published);
                for core in cores {
                    match core == self.id {
                        true => self.fanout.push(published.clone()),
                        false => self.outbox.publish(core, published.clone()),
                    }
                }
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
        self.answer_at_once(connection, &bytes);
    }

    fn answer_at_once(&mut self, connection: &mut Connection, bytes: &[u8]) {
        if connection.session.reply_mode == ReplyMode::On {
            self.reply_raw(connection, bytes);
        }
    }

    /// Makes and ends subscriptions of a connection. It is told that it has subscribed once all cores know: from then on no message
    /// passes it by.
    fn change_subscriptions(
        &mut self,
        connection: &mut Connection,
        asked: u16,
        changes: Vec<SubscriptionChange>,
        bytes: Vec<u8>,
    ) {
        let is_heard_of = changes.iter().all(|change| !change.is_made);
        let told = self.note_subscriptions(connection.ring, changes);
        let others = self.server.mailboxes.core_count() - 1;
        if others == 0 || is_heard_of {
            self.tell_subscriptions(&told);
            return self.answer_at_once(connection, &bytes);
        }
        let silent = connection.session.reply_mode != ReplyMode::On;
        let announced = Box::new(Announced::new(bytes, others));
        let place = connection.open_coordinated(announced, others, asked, Expects::Word, false, silent);
        connection.barrier = true;
        let cores = (0..=others as u16).map(CoreId).filter(|core| *core != self.id);
        for (part, core) in cores.enumerate().collect::<Vec<_>>() {
            let ticket = self.ticket(connection, place, part as u32);
            self.outbox.control(core, Message::Control(ticket, Control::Subscriptions(told.clone())));
        }
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
        self.fanout.take_over(told);
        let (stats, directory) = (&self.server.cores[self.id.index()], &self.fanout.directory);
        stats.channels.set(directory.channels(Audience::Channel).len() as u64);
        stats.shard_channels.set(directory.channels(Audience::ShardChannel).len() as u64);
        stats.patterns.set(directory.pattern_count() as u64);
    }

    /// Tells the other cores of changes, which need not answer.
    fn tell_subscriptions(&mut self, told: &SubscriptionChanges) {
        if told.changes.is_empty() {
            return;
        }
        let cores = (0..self.server.mailboxes.core_count() as u16).map(CoreId).filter(|core| *core != self.id);
        for core in cores.collect::<Vec<_>>() {
            self.outbox.control(core, Message::Subscriptions(told.clone()));
        }
    }

    /// Ends what a connection has subscribed to that is about to be forgotten.
    pub(super) fn end_subscriptions(&mut self, connection: &mut Connection) {
        let ended = connection.session.end_subscriptions();
        if !ended.is_empty() {
            let told = self.note_subscriptions(connection.ring, ended);
            self.tell_subscriptions(&told);
        }
    }

    /// Gives messages to subscribers, as many as a turn may; returns how many.
    pub(super) fn deliver_published(&mut self) -> usize {
        let mut count = 0;
        while count < limits::DELIVERIES_PER_TURN
            && let Some((id, pattern)) = self.fanout.next()
        {
            count += 1;
            let Some(mut connection) = self.take_connection(id) else { continue };
            let Some(under_way) = &mut self.fanout.under_way else { continue };
            let published = &under_way.published;
            let (audience, name) = match &pattern {
                Some(pattern) => (Audience::Pattern, &**pattern),
                None => (published.audience, &*published.channel),
            };
            if connection.session.closing || !connection.session.is_subscribed_to(audience, name) {
                self.clients.connections[id.index()] = Some(connection);
                continue;
            }
            let bytes = under_way.encoded.of(connection.session.protocol, published, pattern.as_ref());
            self.clients.handed_over_bytes += bytes.len();
            match connection.is_caught_up() {
                true => {
                    if let Some(out) = self.ring.output(id) {
                        out.extend_from_slice(bytes);
                    }
                }
                false => connection.push_ready(bytes),
            }
            self.put_connection(connection);
        }
        count
    }
}
