//! The next step that a command that concerns a connection or the node leaves to its core.

use crate::commands::{CommandError, Merge};
use crate::mail::Control;

/// The core's next step after a command that concerns a connection or the node.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing: the reply is written.
    Done,
    /// The connection is closed after the reply.
    Close,
    /// The node stops; there is no reply.
    Stop,
    /// Every core is asked, and the reply is made of their answers.
    Control(Control, Merge),
}

/// The outcome of a command, or Redis' text for what is wrong with its arguments: nothing has changed then.
pub type Ran = Result<Outcome, CommandError>;
