//! The commands on sets: their facts, their rows in the table, and their handlers.

mod algebra;
pub(super) mod facts;
mod handlers;
pub(super) mod table;
