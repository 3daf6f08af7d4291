//! DUMP, RESTORE, MIGRATE and MOVE: keys as a whole, with what they hold. Their facts, their rows in the table, and their handlers.

mod between_databases;
mod dump;
pub(super) mod facts;
mod migrate;
mod restore;
mod stream;
pub(super) mod table;

pub use between_databases::why_not_in_cluster;
#[cfg(test)]
pub use migrate::Login;
pub use migrate::{MigrateCall, Target};
