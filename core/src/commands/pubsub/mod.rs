//! The commands of publish and subscribe: their facts and their rows in the table. They run in `session_commands/` and
//! `core_loop/`.

pub(crate) mod facts;
pub(super) mod table;
