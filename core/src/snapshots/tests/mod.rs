//! Snapshots between two nodes on one machine: real stores, real sockets.

mod bytes;
mod crash;
mod cuts;
mod groups;
mod node;
mod proxy;
mod random;
mod source;
mod stalls;
mod transfer;
