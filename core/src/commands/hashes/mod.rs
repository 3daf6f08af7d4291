//! The commands on hashes: their facts, their rows in the table, and their handlers.

mod deadlines;
pub(super) mod facts;
mod handlers;
pub(super) mod newer_facts;
pub(super) mod table;
