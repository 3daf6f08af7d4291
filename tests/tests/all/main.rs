//! A real node from the outside: what it keeps when it is killed, what it answers, and when it refuses.

#![forbid(unsafe_code)]

mod alone;
mod blocking;
mod blocking_load;
mod blocking_streams;
mod clients;
mod cluster;
mod cold;
mod compatibility;
mod crash;
mod damage;
mod disk_trouble;
mod expiry;
mod failover;
mod faults;
mod flush;
mod forgetful;
mod info;
mod isolation;
mod lane;
mod lifecycle;
mod load;
mod log_size;
mod long_reads;
mod memory;
mod model;
mod nodes;
mod old_formats;
mod open_files;
mod order;
mod poison;
mod power_failure;
mod protocol;
mod pubsub;
mod replicas;
mod replies;
mod rust_client;
mod scripts;
mod shared_log;
mod slow_down;
mod stall;
mod streams;
mod tools;
mod transactions;
