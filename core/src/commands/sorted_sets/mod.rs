//! The commands on sorted sets: their facts, their rows in the table, and their handlers.

mod algebra;
mod blocking;
pub(super) mod facts;
mod handlers;
mod ranges;
mod removal;
pub(super) mod table;

pub(super) use algebra::store_result;
pub(super) use handlers::{AddOptions, add_members};
