//! Users, and what each of them may do: access control lists as Redis has them
//! (<https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>).
//!
//! All users of the node are one table that never changes: who changes something makes another one, and every core takes that. A
//! command is checked where its connection lives, before anything of it is queued or sent to a shard.
//!
//! What a newcomer would get wrong: rules are text that is told back as it was said, and bits that decide. The text is for people
//! and for the file; no check reads it.

mod access;
mod command_rules;
mod file;
mod log;
mod password;
mod registry;
mod rule_error;
mod selector;
mod user;
mod user_table;

pub use access::{check, may_read_all, may_subscribe};
pub use file::{read_file, write_file};
pub use log::{Context, LogEntry, Reason};
pub use registry::Users;
pub use rule_error::RuleError;
pub use user::{DEFAULT_USER, User, is_name, split_rules};
pub use user_table::UserTable;

pub use crate::commands::rights::Denied;

/// The categories of commands, in the order in which Redis tells them.
pub const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];
