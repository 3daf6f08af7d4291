//! One io_uring per core for the sockets of clients and peers.
//!
//! [`Ring`] gives primitives only: it accepts, receives, sends and wakes. It knows no executor, no protocol and no
//! future ([`Park`] alone knows glommio, where a core sleeps); the core loop drives it in turns:
//!
//! ```text
//! loop {
//!     ring.turn(wait)                      one io_uring_enter: submits everything queued, then waits at most `wait`
//!     while let Some(event) = ring.next_event() {
//!         Received(id, input) => decode &input, append replies to ring.output(id); dropping `input` gives it back
//!         Closed(id, reason)  => the peer is gone or has said all; answer what is left, then ring.close(id, ..)
//!         ..
//!     }
//! }
//! ```
//!
//! What a newcomer would get wrong:
//! - **A connection lives from [`Ring::add`] to [`Ring::close`]**, also after [`Event::Closed`]: only the core knows
//!   whether replies are still on their way. Its file descriptor is closed once no request in the kernel refers to it.
//! - **An [`Input`] is a buffer lent by the kernel.** Keep it no longer than needed, and never until the next turn: when
//!   all are out, receiving stops (ENOBUFS) until some come back.
//! - **A connection may move to another ring**: [`Ring::release`] gives its socket and what came meanwhile, whoever takes it reads
//!   that first. A connection that is made by [`Ring::connect`] takes output at once, and sends it when it is made.
//! - **The ring belongs to the thread that made it** (`SINGLE_ISSUER`). Other threads reach it by a [`Waker`] only.
//! - **While the core is parked outside the ring**, nothing here runs: enable the park eventfd, look at
//!   [`Ring::has_work`] once more, then sleep. Never watch that eventfd with this ring itself: the kernel delivers
//!   only the first nested signal.
//!
//! All `unsafe` code of the crate is in this module.

mod buffers;
mod connection;
mod connections;
mod counters;
mod dialing;
mod error;
mod event;
mod handing;
mod ids;
mod listener;
mod mapping;
mod options;
mod park;
mod queue;
#[allow(clippy::module_inception, reason = "one noun per file, and this one is the ring")]
mod ring;
mod spare_buffers;
mod supported;
mod token;
mod waker;

pub use buffers::Input;
pub use counters::{Counters, Memory};
pub use error::RingError;
pub use event::{CloseReason, Event, TurnStats};
pub use ids::{ConnId, ListenerId};
pub use options::RingOptions;
pub use park::{Park, ParkSignal};
pub use ring::Ring;
pub use supported::probe_io_uring;
pub use waker::Waker;
