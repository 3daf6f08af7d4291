//! Functions: libraries of them that are loaded, and calls.
//!
//! A library is rows of its own in each shard. Whoever changes the libraries loads them first, and makes of the call a step
//! ([`changes`]) with all that the rows are to have; a call of FCALL becomes a step with the function's name, its keys and its
//! arguments, which executes what the rows have by then. So an entry needs no library that a replica has been told before, but
//! for those in its own rows.
//!
//! What a newcomer would get wrong: nothing depends on whether a library is compiled already. What is kept of that for each
//! thread is found by the code's digest, and made again from the row where it is missing.

mod calling;
mod changes;
mod compiled;
pub mod facts;
mod listing;
mod metadata;
mod payload;
pub mod table;

pub use calling::LoadedFunction;
pub use changes::{FunctionChange, is_known_change, step_args, too_much, writing_functions};
