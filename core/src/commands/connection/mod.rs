//! The commands on connections: their facts and their rows in the table. They run in `session_commands/`.

pub mod facts;
pub(super) mod table;
