//! Messages of publishers on their way to the cores of their subscribers, and who subscribes where.

use std::sync::Arc;

use crate::clients::{Audience, SubscriptionChange};
use crate::ids::CoreId;

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
    /// The patterns that somebody has subscribed to and the channel matches.
    pub patterns: Vec<Arc<[u8]>>,
}

impl Published {
    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        let patterns: usize = self.patterns.iter().map(|pattern| size_of::<Arc<[u8]>>() + pattern.len()).sum();
        size_of::<Published>() + self.channel.len() + self.message.len() + patterns
    }
}

/// Messages that leave together for another core's subscribers, in their order.
#[derive(Debug, Default)]
pub struct PublishedBatch {
    messages: Vec<Arc<Published>>,
    bytes: usize,
}

impl PublishedBatch {
    /// Adds a message.
    pub fn push(&mut self, message: Arc<Published>) {
        self.bytes += message.bytes();
        self.messages.push(message);
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of memory that the messages take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The messages.
    pub fn into_messages(self) -> Vec<Arc<Published>> {
        self.messages
    }
}
