//! The bounds of one request.

/// The bounds of a client's request.
///
/// The defaults are Redis', but for the bulk length, which is smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest inline command, and the longest line that holds a length, in bytes without its line end.
    pub inline_bytes_max: usize,
    /// The most arguments of one command, its name included.
    pub args_max: usize,
    /// The longest argument in bytes (`proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// The longest command in bytes, all its arguments, their framing and, of very many, 24 bytes for each included
    /// (`client-query-buffer-limit`).
    /// More than [`Limits::REQUEST_BYTES_CEILING`] counts as that.
    pub request_bytes_max: usize,
}

impl Limits {
    /// The longest command that can be decoded at all: positions within a command are kept in 32 bits.
    pub const REQUEST_BYTES_CEILING: usize = u32::MAX as usize;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inline_bytes_max: 64 * 1024,
            args_max: i32::MAX as usize,
            bulk_bytes_max: 64 * 1024 * 1024,
            request_bytes_max: 1024 * 1024 * 1024,
        }
    }
}
