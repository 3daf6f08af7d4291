//! Basalt's face to the outside: the Redis protocol, the protocol between nodes, and the io_uring that carries them.
//!
//! Knows no Raft and no storage, runs no commands, and has no async runtime.

pub mod heap;
mod limits;
pub mod peer;
pub mod resp;
pub mod ring;
pub mod socket;
pub mod thread;
