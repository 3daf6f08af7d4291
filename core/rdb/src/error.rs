//! Reasons not to read a payload.

/// A reason not to read a payload, in Redis' words where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The payload is of a newer version of the format, or its bytes are not those that were written.
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    /// The payload is not a value, or one that Redis keeps for modules.
    #[error("Bad data format")]
    Malformed,
    /// The value would take more bytes than the [`Bounds`](crate::Bounds) allow.
    #[error("the value is too large")]
    TooLarge,
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
