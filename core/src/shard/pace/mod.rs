//! The pace of batches: three mechanisms hold one back that could leave now, each for its own reason:
//!
//! - [`group_commit`]: while many write, it waits for its predecessor and a little longer, so that a sync serves more of them;
//! - [`pressure`]: at most so many batches are on their way, and what they add fits into memory;
//! - [`slow_down`]: writers come to as much as the disk takes, before it has to stop them.
//!
//! What else delays what stands in `core/DESIGN.md`, "What delays what".

mod group_commit;
mod pressure;
mod slow_down;

pub(super) use group_commit::GroupCommit;
pub use group_commit::Outstanding;
pub(super) use pressure::Pressure;
