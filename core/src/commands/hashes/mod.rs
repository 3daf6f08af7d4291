//! The commands on hashes: their facts, their rows in the table, and their handlers.

pub mod facts;
mod handlers;
pub(super) mod table;
