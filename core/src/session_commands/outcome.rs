//! What a command that concerns a connection or the node leaves to its core.

use crate::commands::Merge;
use crate::mail::Control;

/// What is to happen after a command that concerns a connection or the node.
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
