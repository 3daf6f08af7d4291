//! One shard's Raft group: openraft on glommio, over the shard's log and store.
//!
//! A core opens a [`Group`] per shard with [`Group::open`], proposes batches of commands with [`Group::propose`], and calls
//! [`Group::drain_completions`] each turn; committed batches come back to the shard's [`Machine`], outcomes to
//! [`GroupHooks::on_outcome`]. Everything stays on the core's thread; what blocks goes through [`Background`].
//!
//! A group of several members reaches the others through a [`Transport`], which its core brings; what comes from them goes to
//! [`Group::receive_append`] and its like.
//!
//! The crate never looks into a batch, never touches a socket and never waits for a disk on its core.
//!
//! Reading order: `group` (what a core calls), `log_store` and `state_machine` (openraft's view of the disk),
//! `generations` (when rows leave memory and what the log may forget), `runtime` and `channels` (openraft on glommio), `peer` and
//! `transport` (the way to other members). Tests run whole groups in virtual time (`simulation`), on twins of log and store: `disk`
//! and `source` are the seams for that.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod channels;
mod completions;
mod disk;
mod entry;
mod error;
mod generations;
mod group;
mod ids;
mod limits;
mod log_store;
mod machine;
mod messages;
mod options;
mod outcomes;
mod pairing;
mod peer;
mod pre_votes;
mod runtime;
mod sabotage;
mod snapshot;
#[cfg(not(test))]
mod source;
#[cfg(test)]
#[path = "simulation/source.rs"]
mod source;
mod state_machine;
mod transport;
mod types;

#[cfg(test)]
mod founding_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tests;

pub use completions::{Background, Job, Wake};
pub use disk::{Disk, GroupLog, GroupStore, ReadRecords, Rocks};
pub use error::{ChangeError, DecodeError, Error, Fault, MessageError, ProposeError, Reach, Refused, Result};
pub use generations::WritePace;
pub use group::{Former, Group, GroupStatus, Member, Members, Progress, Role, Standing};
pub use ids::{EntryId, NodeId, PeerAddress, Replies};
pub use machine::{Executed, Later, Machine, MachineError};
pub use messages::{
    Append, AppendAnswer, Handover, HandoverAnswer, ReceivedSnapshot, SentSnapshot, SignsOfLife, VoteAnswer, VoteParts,
    VoteQuestion, check_snapshot,
};
pub use options::{GroupHooks, GroupOptions};
pub use outcomes::Outcome;
pub use pairing::check_pairing;
pub use transport::{Answering, Peer, Transport, Unreached};
