//! The commands on the Raft groups of a node, which Redis does not have.

pub(crate) mod own_facts;
pub(super) mod table;
