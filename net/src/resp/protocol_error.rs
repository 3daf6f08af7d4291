//! The errors of a client in the bytes of a request.
//!
//! The texts are those of Redis 7.0 (`networking.c`). Each of them ends the connection: after one there is no telling
//! where the next command starts.

use std::fmt;

/// A request that is not RESP; the connection gets the text and is closed.
///
/// `Display` gives Redis' text without the leading `ERR `; [`Reply::protocol_error`](super::Reply::protocol_error)
/// writes the whole reply, byte for byte as Redis does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number after `*` is no number, or more than [`Limits::args_max`](super::Limits::args_max).
    InvalidMultibulkLength,
    /// The number after `$` is no number, negative, or more than
    /// [`Limits::bulk_bytes_max`](super::Limits::bulk_bytes_max).
    InvalidBulkLength,
    /// An argument starts with this byte instead of `$`.
    ExpectedBulk(u8),
    /// The quotes of an inline command do not close, or something follows a closing quote at once.
    UnbalancedQuotes,
    /// An inline command is longer than [`Limits::inline_bytes_max`](super::Limits::inline_bytes_max).
    TooBigInlineRequest,
    /// The line after `*` is longer than [`Limits::inline_bytes_max`](super::Limits::inline_bytes_max).
    TooBigMultibulkCount,
    /// The line after `$` is longer than [`Limits::inline_bytes_max`](super::Limits::inline_bytes_max).
    TooBigBulkCount,
    /// The whole command is longer than [`Limits::request_bytes_max`](super::Limits::request_bytes_max). Redis closes
    /// such a client without a word (`client-query-buffer-limit`).
    TooBigRequest,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidMultibulkLength => "Protocol error: invalid multibulk length",
            Self::InvalidBulkLength => "Protocol error: invalid bulk length",
            Self::ExpectedBulk(got) => {
                return write!(f, "Protocol error: expected '$', got '{}'", char::from(*got));
            }
            Self::UnbalancedQuotes => "Protocol error: unbalanced quotes in request",
            Self::TooBigInlineRequest => "Protocol error: too big inline request",
            Self::TooBigMultibulkCount => "Protocol error: too big mbulk count string",
            Self::TooBigBulkCount => "Protocol error: too big bulk count string",
            Self::TooBigRequest => "Protocol error: too big request",
        })
    }
}

impl std::error::Error for ProtocolError {}
