//! The clients of a core: each one's connection, its session, what it has sent and what it waits for.

mod client_filter;
mod connection;
mod input_buffer;
mod replica_wait;
mod session;
mod stalled;
mod subscriptions;
mod tracking;
mod traffic;
mod transaction;
mod wait;

pub use client_filter::ClientFilter;
pub use connection::{Connection, DuePiece, Expects, Kept, Piece};
pub use replica_wait::ReplicaWait;
pub(crate) use session::protocol_number;
pub use session::{ForwardedFrom, Gate, ReplyMode, Session};
pub use stalled::Stalled;
pub(crate) use stalled::Started;
pub use subscriptions::{Audience, SubscriptionChange, Subscriptions};
pub use tracking::{Redirect, Tracking};
pub use traffic::Traffic;
pub use transaction::{Full, Transaction, Watching};
pub use wait::{Wait, WaitEnd, WaitPart, WaitStage};
