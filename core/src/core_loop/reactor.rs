//! The turn of glommio's reactor on a core that is never out of tasks, and the lateness of its timers.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use glommio::timer::Timer;

use crate::ids::CoreId;
use crate::limits;
use crate::node::Server;

/// The state of a core's other tasks after they were let run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tasks {
    /// None was runnable.
    Idle,
    /// They ran, and none is runnable any more.
    Ran,
    /// Some are runnable still.
    Busy,
}

/// Lets other tasks run until only this one is runnable, or for [`limits::TASKS_RUN`].
///
/// The executor tells how many tasks it has run between two yields only after the second one.
pub async fn let_tasks_run() -> Tasks {
    let executor = glommio::executor();
    executor.yield_task_queue_now().await;
    executor.executor_stats();
    executor.yield_task_queue_now().await;
    if executor.executor_stats().tasks_executed() <= 1 {
        return Tasks::Idle;
    }
    let begun = Instant::now();
    while begun.elapsed() < limits::TASKS_RUN {
        executor.yield_task_queue_now().await;
        if executor.executor_stats().tasks_executed() <= 1 {
            return Tasks::Ran;
        }
    }
    Tasks::Busy
}

/// Makes the executor run out of runnable tasks once, so that glommio polls its rings, timers and foreign wakers, without
/// sleeping: the timer has expired by the time the executor looks. A timer that is ready at its first poll never reaches
/// the reactor: then a longer one is tried. Nor may it be polled a second time before the executor is back: it would be
/// ready then.
pub async fn reactor_turn() {
    let mut length = Duration::from_micros(1);
    let mut timer = Timer::new(length);
    let mut registered = false;
    poll_fn(|context| {
        if registered {
            return Poll::Ready(());
        }
        while Pin::new(&mut timer).poll(context).is_ready() {
            length *= 2;
            timer = Timer::new(length);
        }
        registered = true;
        Poll::Pending
    })
    .await;
}

/// Runs a timer of 1 ms for ever and notes how late it was at worst: the bound on what any task of the core waits.
pub fn probe_timers(server: Arc<Server>, core: CoreId) {
    let length = Duration::from_millis(1);
    let probe = async move {
        loop {
            let begun = Instant::now();
            glommio::timer::sleep(length).await;
            let late_us = begun.elapsed().saturating_sub(length).as_micros() as u64;
            let worst = &server.cores[core.index()].timer_late_us_max;
            worst.set(worst.get().max(late_us));
        }
    };
    glommio::spawn_local(probe).detach();
}
