//! The settings of a node: what there is, where each value came from, and how it is changed while the node runs.
//!
//! Every setting is defined once, in `table.rs`: its name is at once the flag (`--memtable-bytes`), the key of
//! the TOML file (`memtable-bytes`), the variable (`BASALT_MEMTABLE_BYTES`) and the parameter of `CONFIG GET`. A flag wins
//! over a variable, a variable over the file, the file over the default.
//!
//! A value stays text until the setting's own parser reads it, whatever it came from, so a flag, a file and `CONFIG SET`
//! accept the same spellings and refuse with the same words. (A layering crate such as `figment` guesses types before we see
//! the text: it reads the directory name `0123` as the number 123.)

mod buffer_limit;
mod byte_size;
mod choice;
mod command_line;
mod cpu_list;
mod environment;
mod error;
mod file;
mod key_event_choice;
mod kind;
mod load;
mod memory_budget;
mod microseconds;
mod nearest;
mod parameters;
mod print;
mod rewrite;
mod secret;
mod setting;
mod skipped_entry;
mod source;
mod table;
mod time_span;
mod written;

pub use buffer_limit::{BufferLimit, OutputLimits};
pub use choice::{ChannelsAtFirst, DebugCommand, Durability, LogFormat, Pinning, ReadConsistency, Redirect};
pub use cpu_list::CpuChoice;
pub(crate) use cpu_list::show_list as show_cpus;
pub use error::{ConfigError, Invalid};
pub use key_event_choice::KeyEventChoice;
pub use load::{Invocation, load};
pub use memory_budget::{MemoryBudget, client_bytes_max};
pub use parameters::{ParameterError, parameters};
pub use rewrite::rewrite;
pub use secret::Password;
pub use setting::{Change, Group, Setting};
pub use skipped_entry::SkippedEntry;
pub use source::Source;
pub use table::{Config, SETTINGS};
pub use written::Action;
