//! Snapshots from a group's leader to a member that is behind the log: file by file, on threads of their own, with sockets that
//! block.
//!
//! [`Sender`] makes a connection of the lane for snapshots (`net/PEER.md`), lists the files of a checkpoint with their checksums
//! and sends them, from where the receiver says, within a window and a [`Bandwidth`] of the whole node. [`Receiver`] takes a
//! connection that a core has accepted and greeted ([`HandedPeer`](crate::mail::HandedPeer)), writes the files beside the group's,
//! compares every byte with what was announced and hands them to the group ([`Groups`]), whose vote is the answer.
//!
//! Nothing is sent from the beginning again because a connection was cut, or because the receiver was restarted and is back before
//! the group gives up; nothing is anybody's before all of it has come and was checked. A newcomer would look for what notes how far
//! a snapshot has come: it is the files' lengths.

mod bandwidth;
mod claims;
mod failpoint;
mod file_list;
mod halt;
mod partial;
mod pool;
mod receive_error;
mod receiver;
mod receiving;
mod send_error;
mod sender;
mod sending;
mod signs;
mod transfers;
mod wire;

#[cfg(test)]
mod tests;

pub use bandwidth::Bandwidth;
pub use receiver::{Answer, Groups, Receiver, ReceiverOptions};
#[cfg(any(test, feature = "internals"))]
pub use send_error::SendError;
#[cfg(any(test, feature = "internals"))]
pub use sender::{Acquaintances, Sending};
pub use sender::{SendOrder, Sender, SenderOptions};
pub use transfers::Progress;
