//! RESP, the protocol of Redis: requests in, replies out, in both of its versions.
//!
//! Knows nothing of sockets and commands. [`Decoder`] turns received bytes into arguments without copying them,
//! [`Reply`] writes answers, [`value`] takes written answers apart again. A newcomer would expect the decoder to keep
//! the bytes of a command that is still arriving; the connection keeps them, the decoder only remembers how far it got.
//!
//! The formats are those of <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

mod argv;
mod decoder;
mod double;
mod inline;
mod integer;
mod limits;
mod protocol;
mod protocol_error;
mod reply;
mod reply_scanner;
pub mod value;

pub use argv::Argv;
pub use decoder::{Decoded, Decoder};
pub use double::write_double;
pub use inline::split_line;
pub use integer::{parse_integer, write_integer, write_unsigned};
pub use limits::Limits;
pub use protocol::Protocol;
pub use protocol_error::ProtocolError;
pub use reply::Reply;
pub use reply_scanner::ReplyScanner;
