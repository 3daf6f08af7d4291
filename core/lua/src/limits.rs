//! Every bound of the engine. They decide at which point a script is stopped, so replicas of one group must have the same: who
//! changes one makes a new version of a script's terms (`core/src/commands/scripts/terms.rs`).

/// Bytes of the objects that a script of [`SHORT_SCRIPT_WORK`] may make, from its beginning to its end: nothing is given back
/// before. Redis has no such bound; scripts of queues need some 100 KiB. No string is longer, whatever work its script may do.
pub const SCRIPT_BYTES_MAX: usize = 32 << 20;
/// Bytes of a script and its arguments. They are there twice: as its objects, and as the text that is compiled.
pub const INPUT_BYTES_MAX: usize = 4 << 20;
/// Bytes of a script's first line, if that has its flags.
pub(crate) const SHEBANG_BYTES_MAX: usize = 1024;
/// Bytes of a name or a word in a message: beyond them nobody reads it, and it may have millions.
pub(crate) const SHOWN_BYTES_MAX: usize = 200;

/// Times as many bytes of objects that a script may make which may do more work, at most: those of the libraries and of some
/// thousand jobs are a small part of it.
pub(crate) const SCRIPT_BYTES_TIMES_MAX: u64 = 4;

/// Work of a short script: one unit is an instruction of the virtual machine, some nanoseconds. Whatever takes longer costs
/// more, so that the longest one takes some ten milliseconds: `tests/prices.rs` has those that took seconds. Measured by
/// `cargo test -p basalt-lua --release -- --ignored --nocapture longest`. Texts are compiled and libraries loaded within it; a
/// script's terms say what work it may do.
pub const SHORT_SCRIPT_WORK: u64 = 1_000_000;

/// Returns `bytes`, a bound of short scripts, for one that may do so much work: as many times as much, and `times_max` times at
/// most.
pub fn in_proportion(bytes: usize, work: u64, times_max: u64) -> usize {
    bytes * (work / SHORT_SCRIPT_WORK).clamp(1, times_max) as usize
}

/// Bytes that are copied, compared or searched for the price of one instruction.
pub(crate) const BYTES_PER_WORK: usize = 32;
/// Places of a table that are walked over, and steps of a match, for the price of one instruction.
pub(crate) const STEPS_PER_WORK: usize = 2;
/// Work of a new block of memory, beside that of its bytes: it is filled, and dropped later.
pub(crate) const BLOCK_WORK: usize = 6;
/// Work of a number that becomes a text, or a text that becomes a number, if either is short.
pub(crate) const NUMBER_TEXT_WORK: usize = 20;
/// Work of a number that becomes a text, if it is no integer of some digits: about a microsecond, and more for the very small and
/// the very large ones, whose digits are computed one by one.
pub(crate) const FRACTION_TEXT_WORK: usize = 100;
pub(crate) const EXTREME_TEXT_WORK: usize = 400;
/// Work of a text that lies so close to the middle of two numbers that all its digits count: up to a hundred microseconds.
pub(crate) const MIDDLE_TEXT_WORK: usize = 10_000;
/// Frames that are walked over for the price of one instruction.
pub(crate) const FRAMES_PER_WORK: usize = 2;
/// Bytes of the libraries that each script has, about.
pub(crate) const LIBRARIES_BYTES: usize = 64 << 10;
/// Work of a new script, beside that of its text: the libraries are copied for it.
pub(crate) const BEGIN_WORK: usize = 200;
/// Work of a function of mathematics that is computed by a polynomial.
pub(crate) const MATH_WORK: usize = 5;
/// Work of a call of a command, beside that of its bytes and of its rows, which the host counts.
pub(crate) const CALL_WORK: usize = 100;
/// Work of a call through a function of this crate, or through a metamethod.
pub(crate) const CALL_THROUGH_WORK: usize = 8;
/// Work of the registration of a function, beside that of looking for others of its name.
pub(crate) const REGISTER_WORK: usize = 20;
/// Work of a line of the log: it is a write to a file.
pub(crate) const LOG_WORK: usize = 1000;

/// Calls that nest in the stack of a thread, as in Lua 5.1: through functions of this crate, metamethods and coroutines.
pub(crate) const CALL_DEPTH_MAX: usize = 200;
/// Functions that a coroutine may be in, as in Lua 5.1, which doubles its list of them until it would be longer than 20,000.
pub(crate) const FRAMES_MAX: usize = 16_384;
/// Those that the handler of an error may add.
pub(crate) const HANDLER_FRAMES: usize = 200;
/// Metatables that an access goes through, as in Lua 5.1.
pub(crate) const METATABLES_MAX: usize = 100;
/// Depth to which blocks, functions and expressions of a text nest, as in Lua 5.1.
pub(crate) const SYNTAX_DEPTH_MAX: usize = 200;

/// Depth of nested tables in a reply; redis-server gives up at about 8,000 with the same words.
pub(crate) const REPLY_DEPTH_MAX: usize = 1000;
/// Work of a value of a reply: it is made for the engine's caller, and written by that.
pub(crate) const REPLY_WORK: usize = 10;
/// Work of a table of a reply, beside that of its values: fields are looked for that say what it is.
pub(crate) const REPLY_TABLE_WORK: usize = 40;
/// Depth to which the matching of a pattern may call itself, as Lua 5.2 has it: Lua 5.1 goes on until the stack is used up.
pub(crate) const PATTERN_DEPTH_MAX: usize = 200;
/// Bytes that a packed number may have in `struct`.
pub(crate) const STRUCT_INTEGER_BYTES_MAX: usize = 32;
/// Bytes of a text that is logged.
pub(crate) const LOG_BYTES_MAX: usize = 1024;
