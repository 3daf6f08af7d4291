//! The commands on keys of any type, and on databases: their facts, their rows in the table, and their handlers.

mod del;
mod events;
mod expiry;
pub(super) mod facts;
mod flush;
mod moving;
mod object;
mod scan;
pub(super) mod table;
mod usage;

pub use moving::CopyOptions;
pub(super) use moving::parse_db;
pub use scan::ScanCursor;
pub(super) use usage::memory_usage;
