//! Lua 5.1 as Redis has it: what a script of EVAL and a function of a library see, on a machine that begins anew with each call.
//!
//! Knows no commands, no rows and no network: `redis.call` asks a [`Host`], and a script returns a [`Value`]. A script is a
//! function of its text, its arguments and the host's replies: on every replica it does the same, stops at the same instruction,
//! and finds the keys of a table in the same order.
//!
//! What a newcomer would get wrong: this is no binding to Lua's own code, but a machine for the same instructions. That code
//! leaves its callers by long jumps, ends the process where it finds no memory, and has functions that take any time for one
//! instruction; here all is safe code in which each step is paid for before it is done (`budget`), and an error is a value that
//! is returned.

#![forbid(unsafe_code)]

mod arguments;
mod base;
mod bits;
mod budget;
mod cjson;
mod cjson_decode;
mod cmsgpack;
mod code;
mod coroutines;
mod emit;
mod engine;
mod execute;
mod expressions;
mod functions;
mod heap;
mod jumps;
mod lexer;
mod library;
mod limits;
mod machine;
mod math;
mod names;
mod numbers;
mod operations;
mod operators;
mod pack;
mod parser;
mod patterns;
mod redis;
mod replies;
mod shebang;
mod stack;
mod strings;
mod suspended;
mod table;
mod tables;
mod value;
mod variables;

pub use budget::Stop;
pub use engine::{Engine, FunctionCall, Outcome, Progress, Script};
pub use library::{FunctionFlags, Library, Registered, is_name};
pub use limits::{INPUT_BYTES_MAX, SCRIPT_BYTES_MAX, SHORT_SCRIPT_WORK, in_proportion};
pub use shebang::{Flags, read_flags};
pub use suspended::Suspended;
pub use value::Value;

/// The outcome of a command that a script has called.
#[derive(Debug)]
pub enum Called {
    /// Its reply, or its error, was written.
    Replied,
    /// It was not run, and nothing was written: the reason, without a prefix.
    Refused(String),
    /// The script is to stop, and cannot catch it. The host knows why.
    Stop,
    /// Its reply is longer than what the script can pay for, and was not written.
    TooLong,
    /// Its answer comes later: the script is suspended ([`Engine::start`]), or stopped as by [`Called::Stop`] where it cannot be,
    /// in a call through a function of this crate, a metamethod or a coroutine.
    Waits,
}

/// Whoever runs a script's commands.
pub trait Host {
    /// Runs the command `args`, and writes its reply of at most `bytes_max` bytes to `reply`, in RESP3 if that is asked for. Takes
    /// what the command does beside the bytes of both, as rows that it reads, off the script's `work`; one that would do more than
    /// that is stopped.
    fn call(&mut self, args: &[&[u8]], is_resp3: bool, bytes_max: usize, work: &mut u64, reply: &mut Vec<u8>)
    -> Called;

    /// Returns whether the script's caller may call the command `args`; `None` if there is no such command. Takes the work of
    /// that off the script's.
    fn may_call(&mut self, args: &[&[u8]], work: &mut u64) -> Option<bool>;

    /// Logs `text`; `level` is 0 to 3, as `redis.LOG_DEBUG` to `redis.LOG_WARNING` are.
    fn log(&mut self, level: u8, text: &[u8]);
}

/// The SHA1 of a script, in hexadecimal digits: its name to clients.
pub fn digest(text: &[u8]) -> String {
    use sha1::Digest as _;
    sha1::Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
