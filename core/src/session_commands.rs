//! temp
use crate::commands::table::SessionCommand;
use crate::commands::{Args, CommandError};
use crate::control::Control;
use crate::coordinator::Merge;
use crate::server::Server;
use crate::session::Session;
use basalt_net::resp::Reply;
pub enum Outcome { Done, Close, Stop, Control(Control, Merge) }
#[derive(Debug, Clone)]
pub struct ClientFilter;
impl ClientFilter { pub fn matches(&self, _: &Session) -> bool { true } }
pub fn client_line(_out: &mut Vec<u8>, _s: &Session, _i: usize, _o: usize, _n: std::time::Instant) {}
pub fn run(c: SessionCommand, _a: Args<'_>, _s: &mut Session, _server: &Server, reply: &mut Reply<'_>) -> Result<Outcome, CommandError> {
    match c { SessionCommand::Shutdown => return Ok(Outcome::Stop), _ => reply.simple("PONG") }
    Ok(Outcome::Done)
}
