//! Commands that run scripts, and what scripts run.
//!
//! A call of EVAL becomes a step ([`table`]): the script's text, what is fixed when it joins a batch ([`Terms`]), its keys and its
//! arguments. So an entry says all that running it depends on, and a replica needs no script that it has been told before.

mod eval;
pub mod facts;
mod gate;
mod host;
#[cfg(test)]
mod price_tests;
pub mod table;
mod terms;

pub use eval::{Call, NO_SCRIPT, is_only_reading, learn, read_call, read_digest, run_by, undone_text, write_value};
pub(in crate::commands) use eval::{no_step, run_on, with_engine};
pub use gate::{Admission, Gate, call_without_keys, log_line};
pub use host::{ELSEWHERE, TOO_LARGE};
pub use terms::{Reach, Terms, has_known_terms};
