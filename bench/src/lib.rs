//! Measures Basalt: against redis-server on the same machine (the binary `bench-compare`), as a cluster (`bench-cluster`), over a
//! long run (`bench-steady`), by the memory and disk that keys take (`bench-footprint`), and part by part (`benches/`).
//!
//! Nothing here is a test: no figure makes a build fail. `bench/METHOD.md` says how the figures are taken and what they mean.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod compare;
mod disk_usage;
pub mod footprint;
pub mod requests;
pub mod steady;
