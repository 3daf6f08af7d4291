//! Rows that are not in memory: what brings them, and what a command has of them.

mod epoch;
mod pinned_rows;
mod reader;
mod trial;

pub(crate) use epoch::Epoch;
pub use pinned_rows::PinnedRows;
pub(crate) use pinned_rows::{Next, Pinned};
pub(crate) use reader::CurrentDatabase;
pub use reader::{ColdReader, Fetched};
pub use trial::{Changes, Trial};
