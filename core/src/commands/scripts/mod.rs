//! Commands that run scripts, and what scripts run.
//!
//! A call of EVAL becomes a step ([`table`]): the script's text, what is fixed when it joins a batch ([`Terms`]), its keys and its
//! arguments. So an entry says all that running it depends on, and a replica needs no script that it has been told before.

mod eval;
pub mod facts;
mod host;
#[cfg(test)]
mod price_tests;
pub mod table;
mod terms;

pub use eval::{NO_SCRIPT, is_only_reading, learn, read_call, read_digest};
pub(in crate::commands) use eval::{no_step, run_on, with_engine};
pub(in crate::commands) use host::log_text;
pub use terms::{Reach, Terms, has_known_terms};
