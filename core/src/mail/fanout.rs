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
}

impl Published {
    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Published>() + self.channel.len() + self.message.len()
    }
}
