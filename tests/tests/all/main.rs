//! A real node from the outside: what it keeps when it is killed, what it answers, and when it refuses.

#![forbid(unsafe_code)]

mod crash;
mod lane;
mod load;
mod power_failure;
