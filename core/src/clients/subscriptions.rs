//! The channels and patterns that a connection has subscribed to.

use std::collections::BTreeSet;

/// The kind of what a client subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Audience {
    /// A channel.
    Channel,
    /// The channels whose names match a pattern.
    Pattern,
    /// A channel of the slot of its name.
    ShardChannel,
    /// The commands of all clients (MONITOR), which have no name.
    Commands,
    /// Changes of keys that begin with a prefix (CLIENT TRACKING).
    Prefix,
}

/// A subscription that was made or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// The kind of what is subscribed to.
    pub audience: Audience,
    /// The channel or pattern.
    pub name: Box<[u8]>,
    /// True if it was made, false if it was ended.
    pub is_made: bool,
}

/// The subscriptions of one connection.
#[derive(Debug, Default)]
pub struct Subscriptions {
    channels: BTreeSet<Box<[u8]>>,
    patterns: BTreeSet<Box<[u8]>>,
    shard_channels: BTreeSet<Box<[u8]>>,
    /// The empty name, if it is a monitor.
    commands: BTreeSet<Box<[u8]>>,
    prefixes: BTreeSet<Box<[u8]>>,
    /// Places that have a copy of each name: the connection, its core's subscribers, and each core's directory.
    copies: usize,
    bytes: usize,
}

/// Memory of a copy of a name beside its bytes, about.
const OVERHEAD_BYTES: usize = 100;

impl Subscriptions {
    /// None, of a node that keeps so many copies of each name.
    pub fn new(copies: usize) -> Subscriptions {
        Subscriptions { copies, ..Subscriptions::default() }
    }

    /// The number of those of channels.
    pub fn count(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Those of one kind, in alphabetical order.
    pub fn of(&self, audience: Audience) -> &BTreeSet<Box<[u8]>> {
        match audience {
            Audience::Channel => &self.channels,
            Audience::Pattern => &self.patterns,
            Audience::ShardChannel => &self.shard_channels,
            Audience::Commands => &self.commands,
            Audience::Prefix => &self.prefixes,
        }
    }

    /// Subscribes; false if it was subscribed to before.
    pub fn add(&mut self, audience: Audience, name: &[u8]) -> bool {
        let is_new = self.set(audience).insert(name.into());
        self.bytes += if is_new { self.copies * (OVERHEAD_BYTES + name.len()) } else { 0 };
        is_new
    }

    /// Ends a subscription; false if there was none.
    pub fn remove(&mut self, audience: Audience, name: &[u8]) -> bool {
        let was_there = self.set(audience).remove(name);
        self.bytes -= if was_there { self.copies * (OVERHEAD_BYTES + name.len()) } else { 0 };
        was_there
    }

    /// The number that clients are told with a change of a subscription: that of channels and patterns together, or that of shard
    /// channels.
    pub fn count_beside(&self, audience: Audience) -> usize {
        match audience {
            Audience::Channel | Audience::Pattern => self.channels.len() + self.patterns.len(),
            Audience::ShardChannel => self.shard_channels.len(),
            Audience::Commands => self.commands.len(),
            Audience::Prefix => self.prefixes.len(),
        }
    }

    /// Returns whether there are some of channels.
    pub fn has_channels(&self) -> bool {
        self.count() > 0
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.has_channels() && self.commands.is_empty() && self.prefixes.is_empty()
    }

    /// Bytes of memory that they take in this node, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn set(&mut self, audience: Audience) -> &mut BTreeSet<Box<[u8]>> {
        match audience {
            Audience::Channel => &mut self.channels,
            Audience::Pattern => &mut self.patterns,
            Audience::ShardChannel => &mut self.shard_channels,
            Audience::Commands => &mut self.commands,
            Audience::Prefix => &mut self.prefixes,
        }
    }
}
