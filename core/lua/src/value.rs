//! The value that a script returns, as a client is told it.

/// A reply, with all that is in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false; in RESP2 only after `redis.setresp(3)`.
    Boolean(bool),
    /// A number, cut to an integer.
    Integer(i64),
    /// A string.
    Bulk(Vec<u8>),
    /// An error, its prefix included.
    Error(Vec<u8>),
    /// A status.
    Status(Vec<u8>),
    /// A number as it is.
    Double(f64),
    /// An integer of any length, as it was given.
    BigNumber(Vec<u8>),
    /// A text with its format: three bytes, each of which can be shown.
    Verbatim([u8; 3], Vec<u8>),
    /// Values in their order.
    Array(Vec<Value>),
    /// Keys and values.
    Map(Vec<(Value, Value)>),
    /// Values without order.
    Set(Vec<Value>),
}
