//! Messages of publishers on their way to the cores of their subscribers, and who subscribes where.

use std::sync::Arc;

use crate::ids::CoreId;

/// The kind of what a client subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Audience {
    /// A channel.
    Channel,
    /// The channels whose names match a pattern.
    Pattern,
    /// A channel of the slot of its name.
    ShardChannel,
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

/// Changes of the subscriptions of one core's clients.
#[derive(Debug, Clone)]
pub struct SubscriptionChanges {
    /// The core.
    pub core: CoreId,
    /// The changes. Their order does not matter.
    pub changes: Arc<[SubscriptionChange]>,
}

/// A message that was published.
#[derive(Debug, PartialEq, Eq)]
pub struct Published {
    /// [`Audience::Channel`] or [`Audience::ShardChannel`].
    pub audience: Audience,
    /// The channel.
    pub channel: Box<[u8]>,
    /// The message.
    pub message: Box<[u8]>,
}

impl Published {
    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Published>() + self.channel.len() + self.message.len()
    }
}
