//! Values as bytes that any Redis reads: what DUMP replies and RESTORE is given, in the format of RDB files.
//!
//! [`write()`] gives the bytes that redis-server 7.0 writes of the same value with its default settings, or 7.4 of one that older
//! ones do not have; [`read()`] takes those that any Redis up to 7.4 has written. The crate knows no keys, rows or commands, nor
//! deadlines of keys, and touches no file.
//!
//! What a newcomer would get wrong: a payload comes from anybody. No count, length or offset in it is believed before the bytes are
//! there that it tells of, and whatever does not fit together is refused ([`Error::Malformed`]), also where Redis would take it for
//! something else.

#![forbid(unsafe_code)]

mod deciding;
mod error;
mod footer;
mod intset;
mod kind;
pub mod limits;
mod listpack;
mod lzf;
mod number;
mod read;
mod read_stream;
mod reader;
mod size;
mod value;
mod write;
mod write_stream;
mod ziplist;
mod zipmap;

#[cfg(test)]
mod tests;

pub use deciding::deciding_constants;
pub use error::{Error, Result};
pub use read::{Bounds, read, read_before};
pub use size::{Size, size};
pub use value::{Consumer, Group, Pending, Stream, StreamId, Strings, Value};
pub use write::{Encoding, encoding, write};
