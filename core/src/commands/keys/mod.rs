//! The commands on keys of any type, and on databases: their facts, their rows in the table, and their handlers.

pub(super) mod facts;
mod handlers;
pub(super) mod table;

pub use handlers::{CopyOptions, ScanCursor};
