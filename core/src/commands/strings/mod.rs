//! The commands on strings: their facts, their rows in the table, and their handlers.

mod bitfield;
mod bits;
mod distinct;
pub(super) mod facts;
mod handlers;
mod hyperloglog;
mod lcs;
mod numbers;
pub(super) mod table;
