//! Transactions: MULTI and its kin, which concern the connection, and the steps that a shard runs for them.

pub mod facts;
pub mod table;
