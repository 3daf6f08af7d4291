//! One running node: its cores, from start to stop.

use crate::boot::Prepared;

/// Why a running node ended before it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {}

/// Runs the node until it is asked to stop.
///
/// # Errors
/// [`RunError`] when it cannot go on.
pub fn run(prepared: Prepared) -> Result<(), RunError> {
    prepared.stop.wait();
    Ok(())
}
