//! The commands on lists: their facts, their rows in the table, and their handlers.

mod blocking;
pub(super) mod facts;
mod handlers;
mod moving;
mod places;
pub(super) mod table;
