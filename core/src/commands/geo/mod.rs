//! The commands on positions in sorted sets: their facts, their rows in the table, and their handlers.

mod arguments;
mod cell;
pub(super) mod facts;
mod handlers;
mod matches;
mod query;
mod replies;
mod search;
mod shape;
pub(super) mod table;
mod trigonometry;
