//! The commands on strings: their facts, their rows in the table, and their handlers.

mod bitfield;
mod bits;
pub(super) mod facts;
mod handlers;
mod lcs;
mod numbers;
pub(super) mod table;
