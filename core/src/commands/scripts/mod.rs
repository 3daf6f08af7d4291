//! Commands that run scripts, and what scripts run.
//!
//! A call of EVAL becomes a step ([`table`]): the script's text, what is fixed when it joins a batch ([`Terms`]), its keys and its
//! arguments. So an entry says all that running it depends on, and a replica needs no script that it has been told before.

mod eval;
pub mod facts;
mod gate;
mod host;
mod messages;
#[cfg(test)]
mod price_tests;
pub mod table;
mod terms;

pub use eval::{
    Call, NO_SCRIPT, go_on_by, is_only_reading, learn, read_call, read_digest, start_by, undone_text, write_value,
};
pub(in crate::commands) use eval::{no_step, run_on, with_engine};
pub use gate::{Admission, Gate, call_without_keys, log_line, publish, why_not_to_block};
pub use host::{ELSEWHERE, TOO_LARGE, as_one_page};
pub use messages::{Message, Messages, lift, messages_before, put_lifted, split_messages};
pub use terms::{Reach, Terms, has_known_terms, reply_bytes_of, trial_bytes_max, trial_bytes_of};
