//! The sleep of a core outside its ring: in glommio, awaiting the eventfd that the kernel signals for the ring.

#![allow(unsafe_code, reason = "a descriptor is handed to glommio")]

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::sync::Arc;

use glommio::io::BufferedFile;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Ring;

/// The place where a core of a glommio executor sleeps while [`Ring::enable_park`] is on.
#[derive(Clone)]
pub struct Park {
    eventfd: Arc<EventFd>,
    file: Rc<BufferedFile>,
}

/// Wakes a parked core from any thread.
#[derive(Clone)]
pub struct ParkSignal(Arc<EventFd>);

impl Park {
    /// Makes the eventfd and registers it with `ring`. Once per ring, on a glommio executor.
    ///
    /// # Errors
    /// The system has no descriptor left, or the ring has a park already.
    pub fn new(ring: &mut Ring) -> io::Result<Park> {
        // Blocking: io_uring waits for such a descriptor by itself and would fail with EAGAIN for one that does not block.
        let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
        ring.register_park_eventfd(eventfd.as_fd())?;
        ring.enable_park(false);
        let own = eventfd.as_fd().try_clone_to_owned()?;
        // SAFETY: `own` is a descriptor of its own, given away here; the file is its only owner.
        let file = unsafe { BufferedFile::from_raw_fd(own.into_raw_fd()) };
        Ok(Park { eventfd: Arc::new(eventfd), file: Rc::new(file) })
    }

    /// Wakes the parked core, from other threads.
    pub fn signal(&self) -> ParkSignal {
        ParkSignal(self.eventfd.clone())
    }

    /// Resolves once the ring or another thread has signalled. Keep the future when something else ends the sleep: dropped,
    /// it would leave a read behind that swallows the next signal.
    pub fn signalled(&self) -> impl Future<Output = ()> + 'static {
        let file = self.file.clone();
        async move {
            // An error would mean that the descriptor is gone; a core that then wakes too often is still a working one.
            let _ = file.read_at(0, 8).await;
        }
    }
}

impl ParkSignal {
    /// Wakes the core.
    pub fn signal(&self) {
        // Fails only when the counter is full: then the core is signalled as it is.
        let _ = self.0.write(1);
    }
}
