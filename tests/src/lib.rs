//! Parts of the whole-process tests: a real node, clients of it that see every byte, and a disk that forgets.
//!
//! Nothing here knows the inside of Basalt: a [`Node`] is the binary `basalt` as an operator runs it, a [`Client`] is a socket. The
//! tests are in `tests/all`, one binary, so that it is linked once.
//!
//! What a newcomer would get wrong: cargo does not rebuild `basalt` for `cargo test -p basalt-tests`. [`Node`] refuses a binary
//! that is older than its sources; `make build` makes a new one.

#![forbid(unsafe_code)]

mod binary;
mod client;
mod disk;
mod frozen;
mod history;
mod network;
mod node;
mod redis_server;
mod reply;
mod skip;
mod slow_link;
mod threads;
mod wait;
mod workload;

pub use binary::basalt;
pub use client::Client;
pub use disk::{ForgetfulDisk, Pace, Survivors};
pub use frozen::FrozenThread;
pub use history::{Action, Operation, Outcome, Verdict, check};
pub use network::Network;
pub use node::{Node, NodeOptions, Refusal};
pub use redis_server::RedisServer;
pub use reply::Reply;
pub use skip::skip;
pub use slow_link::SlowLink;
pub use wait::{DEADLINE, eventually, in_some_attempt};
pub use workload::{Asked, Seeker, Workload};
