//! The commands on sorted sets: their facts, their rows in the table, and their handlers.

pub(super) mod facts;
mod handlers;
mod ranges;
pub(super) mod table;
