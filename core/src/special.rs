//! temp
use crate::commands::table::Special;
use crate::commands::{Args, Command, CommandError};
use crate::coordinator::{Coordinator, Part};
use crate::mailbox::Mode;
use crate::router::Router;
use basalt_net::resp::Protocol;
pub fn start(
    _w: Special,
    _c: &'static Command,
    _m: Mode,
    _db: u8,
    _p: Protocol,
    _r: &Router,
    _a: Args<'_>,
) -> Result<(Vec<Part>, Box<dyn Coordinator>), CommandError> {
    Err(CommandError::WrongType)
}
