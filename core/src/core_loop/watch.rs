//! The watchdog, which pokes a core whose tasks never pause.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use glommio::{Latency, Shares};

use super::reactor::reactor_turn;
use crate::ids::CoreId;
use crate::limits;
use crate::node::Server;

/// Times that a core has gone round, for the watchdog.
pub type Heartbeat = Arc<AtomicU64>;

/// A core that the watchdog looks after.
pub struct Watched {
    core: CoreId,
    heartbeat: Heartbeat,
    waker: Waker,
}

/// Prepares the running executor to be poked by the watchdog, and gives what the watchdog needs.
///
/// The waker belongs to a task in a latency queue of its own: waking such a task from another thread always writes
/// glommio's event descriptor, which sends a core whose tasks never pause to its reactor. A poke too many is harmless.
pub async fn watch(core: CoreId) -> (Heartbeat, Watched) {
    let heartbeat = Heartbeat::default();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let executor = glommio::executor();
    let queue = executor.create_task_queue(Shares::default(), Latency::Matters(Duration::from_secs(3600)), "watchdog");
    let own = waker.clone();
    let task = poll_fn(move |context| {
        *own.borrow_mut() = Some(context.waker().clone());
        Poll::<()>::Pending
    });
    glommio::spawn_local_into(task, queue).expect("the queue was created on this executor").detach();
    let waker = loop {
        if let Some(waker) = waker.borrow_mut().take() {
            break waker;
        }
        reactor_turn().await;
    };
    (heartbeat.clone(), Watched { core, heartbeat, waker })
}

/// Looks at the cores' heartbeats until the node stops, and pokes a core whose heart stands still while it is not parked.
pub fn watchdog(server: &Server, watched: &[Watched]) {
    let mut last: Vec<u64> = vec![u64::MAX; watched.len()];
    while !server.stop.is_requested() {
        let idle = watched.iter().all(|core| server.mailboxes.bell(core.core).is_parked());
        std::thread::sleep(if idle { limits::WATCHDOG_IDLE } else { limits::WATCHDOG });
        for (core, last) in watched.iter().zip(&mut last) {
            let beat = core.heartbeat.load(Ordering::Relaxed);
            if beat == *last && !server.mailboxes.bell(core.core).is_parked() {
                core.waker.wake_by_ref();
            }
            *last = beat;
        }
    }
}
