//! The commands on streams: their facts, their rows in the table, and their handlers.

mod claims;
pub(super) mod facts;
mod groups;
mod handlers;
mod info;
mod lag;
mod pending;
mod reading;
pub(super) mod table;
mod waiting;

pub use handlers::parse_id;
pub use waiting::{EntryCall, Outlook, entry_option_words, may_block, outlook_after, outlook_for, waited_stream};
