//! The log format of this crate: a command as bytes, and the entry that carries a turn's commands through Raft.
//!
//! The bytes are described in `storage/FORMAT.md`: what is written here, another version of the program reads.

pub mod batch;
pub mod request;
#[cfg(test)]
mod results;
pub mod script_trial;
pub mod spanning;
pub mod tracking;
pub mod transaction;
pub mod waiting;
