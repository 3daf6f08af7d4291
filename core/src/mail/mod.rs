//! Mail between cores: the queues, the bells that wake who sleeps, and what one core asks of another.
//!
//! A message is data. What it does to a core that gets it, the core's loop knows.

mod control;
mod doorbell;
mod fanout;
mod handed_peer;
mod invalidation;
mod mailbox;

pub use control::{Control, Unblocking};
pub use doorbell::{Doorbell, Sleep};
pub use fanout::{Published, PublishedBatch, SubscriptionChanges};
pub use handed_peer::HandedPeer;
pub use invalidation::{Invalidation, Invalidations, WrittenKey};
pub use mailbox::{Mailboxes, Message, OrderTo, ReplyBatch, RequestBatch, RequestHead, Takes};
