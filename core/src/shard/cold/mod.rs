//! The life of a request whose rows are not in memory: its core never waits for the disk.
//!
//! ```text
//! a write is looked ahead (lookahead), a read just runs
//!    │ a row is missing
//!    ▼
//! parked, with what its connection sends behind it (parked, parking) ◀──┐
//!    │ a reader thread fetches the rows                                 │ another row is missing;
//!    ▼                                                                  │ `progress` says how far it has come,
//! run again from its beginning ─────────────────────────────────────────┘ and from when on rows are kept for it
//!    │ all rows are there                       │ it is a read, and needs much
//!    ▼                                          ▼
//! a read is answered, a write joins the batch   another thread executes it once, on a view (views)
//! ```
//!
//! The same at length stands in `core/DESIGN.md`, "The life of a cold read".

mod lookahead;
mod names;
mod parked;
mod parking;
mod progress;
mod reply_budget;
mod views;

pub(super) use lookahead::{changes_at_once, look_for_named, note_named};
pub(super) use names::NamesLooked;
pub(super) use parked::{Parked, ParkedRequest, Parking, Turn, Waiting};
pub(super) use progress::ColdProgress;
pub(super) use views::{Deferral, EntryBell, Views, Wake};
