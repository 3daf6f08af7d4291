//! Rows that are not in memory: the threads' reader, rows pinned for one command, and the trial on which a command may miss.
//!
//! A row is *cold* if neither memtable, row cache nor block cache has it. A core never waits for it: the read ends with
//! [`Error::Cold`](crate::Error::Cold) and says what to fetch ([`ColdRead`](crate::ColdRead)); the command is run again from its
//! beginning, so it must not have changed any row before. The life of such a request, with what each step uses of this crate:
//!
//! ```text
//! looked ahead    keyspace/cold_rows.rs names the rows that the arguments tell; a handler that reads others runs on a
//!    │            Trial, whose changes are forgotten. Nothing cold: it runs, or joins the batch
//!    │ cold
//!    ▼
//! parked          core/src/shard/cold keeps the request; later ones of its connection wait behind it
//!    │
//!    ▼
//! fetched         a reader thread: ColdReader::fetch → blocks into the block cache, Fetched rows for the row cache
//!    │            (Store::take_fetched: not if the Epoch has advanced, then they may be of the past)
//!    ▼
//! run again ──── everything there ────► done
//!    │ cold again: farther than before → fetched; no farther, several times ↓
//!    ├── a read:   View (store/view.rs): executed once by the reader thread, on the rows of one moment
//!    └── a write:  pinned: ColdReader::pin → PinnedRows beside the caches, which drop rows too soon; for one client at a time
//!         │ more than may be pinned
//!         ▼
//! in the entry    it joins the batch; the entry pauses between two commands while a reader thread fetches. A command that may
//!    │            read after it has changed something runs on a Trial that Store::commit takes over at its end
//!    │ nothing helps: a trial of too many bytes, a row whose read fails, the replay at a start
//!    ▼
//! waits           OnMiss::Wait: the core reads the disk itself, and `disk_waits` counts it
//! ```
//!
//! What a newcomer would get wrong: what a thread has read is of the past by the time the core has it. It is used only within the
//! [`Epoch`] in which the read was handed out, and only for keys that no memtable knows.

mod epoch;
mod pinned_rows;
mod reader;
mod trial;

pub(crate) use epoch::Epoch;
pub use pinned_rows::PinnedRows;
pub(crate) use pinned_rows::{Next, Pinned};
pub(crate) use reader::CurrentDatabase;
pub use reader::{ColdReader, Fetched};
pub use trial::{Changes, Trial};
