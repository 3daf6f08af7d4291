//! The commands on the server: their facts and their rows in the table. They run in `session_commands/`.

pub(crate) mod facts;
pub(crate) mod newer_facts;
pub(crate) mod own_facts;
pub(super) mod table;
