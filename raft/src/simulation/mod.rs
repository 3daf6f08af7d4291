//! Simulations of a group: all of its members in one thread and in virtual time, with faults drawn from a seed.
//!
//! Real are the group, openraft, the runtime and its channels, the log store, the state machine, generations, outcomes, read
//! barriers, changes of members. Simulated is what has threads, sockets and files: the executor and its clock (`executor`,
//! `source`), the log and the store below the seam of `crate::disk` (`log_twin`, `store_twin`), and the network (`network`). `run`
//! tells the course of a run, `operator` how its members change, `checks` what must hold in it.
//!
//! A step is one poll of one task; 20,000 of them are some five elections, twenty crashes and a hundred writes, and take 20 ms
//! (`make simulate`). A seed gives the same run each time: a run that failed is run again with a trace. That what is checked is
//! worth something is proven by `crate::sabotage`: each fault that is put in on purpose must be found.
//!
//! To grow it: a new fault is a branch of `run`'s `fault`, a new promise a function of `checks`, a new way to set a group up a
//! field of `scenario`; each draws from the seed, so known seeds then stand for other runs. A fault that was mended keeps its
//! test by a scenario of its own, not by its seed.
//!
//! Not simulated are a sync that fails (the group stops, and its tests are with the log store) and damage.
//!
//! What a newcomer would get wrong: it is compiled for this crate's own tests only, and the crate's `source` is then another
//! one.

mod checks;
mod configs;
pub(crate) mod executor;
mod faults;
mod log_twin;
mod machine;
mod member;
mod network;
mod operator;
mod peer_tests;
mod purge_tests;
mod run;
mod scenario;
mod store_twin;
mod tests;
