//! openraft's asynchronous runtime on a glommio executor, or on a simulated one: see [`crate::source`].
//!
//! What a newcomer would get wrong: `glommio::spawn_local` polls the new task at once, on the caller's stack, while
//! openraft expects a spawned task to start later. [`GlommioRuntime::spawn`] defers the first poll. Dropping a handle
//! detaches the task, and a panic in a task becomes a [`JoinError`] instead of ending the executor. Most handles are dropped, so
//! who depends on the tasks that a future spawns runs it in [`watching`] and is told of their panics.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use openraft_rt::{AsyncRuntime, OptionalSend};

use crate::channels;
use crate::limits::TIMER_GRID;
use crate::source::{self, Instant, Task, Timer};

/// The runtime. Its functions work on the glommio executor of the calling thread.
pub struct GlommioRuntime {
    executor: glommio::LocalExecutor,
}

impl fmt::Debug for GlommioRuntime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GlommioRuntime")
    }
}

/// The reason that a task gave no result.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The executor dropped the task.
    #[error("the task was cancelled")]
    Cancelled,
    /// The task panicked.
    #[error("the task panicked: {0}")]
    Panic(String),
}

/// Waits for a task's result. Dropping it lets the task run on.
pub struct JoinHandle<T>(Task<Result<T, JoinError>>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|result| result.unwrap_or(Err(JoinError::Cancelled)))
    }
}

/// Ends at a moment. Nothing is registered with the executor before the first poll.
pub struct Sleep {
    at: Instant,
    timer: Option<Timer>,
}

impl Sleep {
    fn until(at: Instant) -> Sleep {
        Sleep { at, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        if self.timer.is_none() {
            let now = Instant::now();
            if now >= at {
                return Poll::Ready(());
            }
            self.timer = Some(Timer::new(timer_length(source::since_beginning(), at - now)));
        }
        match self.timer.as_mut() {
            Some(timer) => Pin::new(timer).poll(context).map(|_| ()),
            None => Poll::Ready(()),
        }
    }
}

/// Returns how long a timer is to run that ends `wait` from now, `now` being counted from some moment of the process: to the next
/// line of the grid behind that, if it is a long one.
fn timer_length(now: Duration, wait: Duration) -> Duration {
    if wait < TIMER_GRID {
        return wait;
    }
    let grid = TIMER_GRID.as_micros() as u64;
    let end = (now + wait).as_micros() as u64;
    Duration::from_micros(end.next_multiple_of(grid)) - now
}

/// A future did not finish in time.
#[derive(Debug, thiserror::Error)]
#[error("timed out")]
pub struct TimedOut;

/// A future with a deadline.
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep).poll(context).map(|()| Err(TimedOut))
    }
}

/// Takes what a panic said.
pub(crate) type OnPanic = Rc<dyn Fn(String)>;

thread_local! {
    /// The listener for panics of the tasks that are spawned now.
    static ON_PANIC: RefCell<Option<OnPanic>> = const { RefCell::new(None) };
}

/// Runs `future`; `on_panic` is told of each panic of a task that it spawns, or that one of those spawns, and so on.
pub(crate) async fn watching<F: Future>(on_panic: OnPanic, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = Entered::new(on_panic.clone());
        future.as_mut().poll(context)
    })
    .await
}

/// Puts back who was told of panics before.
struct Entered(Option<OnPanic>);

impl Entered {
    fn new(on_panic: OnPanic) -> Entered {
        Entered(ON_PANIC.replace(Some(on_panic)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        ON_PANIC.set(self.0.take());
    }
}

/// Gives the executor's other tasks a turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Returns the message of a panic.
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(|| "no message".to_owned(), |text| (*text).to_owned()),
    }
}

impl AsyncRuntime for GlommioRuntime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = TimedOut;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = source::Random;
    type Mpsc = channels::Mpsc;
    type Watch = channels::Watch;
    type Oneshot = channels::Oneshot;
    type Mutex<T: OptionalSend + 'static> = channels::Mutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let on_panic = ON_PANIC.with_borrow(Option::clone);
        let task = async move {
            yield_now().await;
            let outcome = AssertUnwindSafe(future).catch_unwind();
            let outcome = match &on_panic {
                Some(on_panic) => watching(on_panic.clone(), outcome).await,
                None => outcome.await,
            };
            outcome.map_err(|panic| {
                let text = panic_text(panic);
                if let Some(on_panic) = on_panic {
                    on_panic(text.clone());
                }
                JoinError::Panic(text)
            })
        };
        JoinHandle(source::spawn(task))
    }

    fn sleep(duration: Duration) -> Sleep {
        Sleep::until(Instant::now() + duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        Sleep::until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F> {
        Self::timeout_at(Instant::now() + duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Sleep::until(deadline) }
    }

    fn is_panic(error: &JoinError) -> bool {
        matches!(error, JoinError::Panic(_))
    }

    fn thread_rng() -> source::Random {
        source::random()
    }

    fn new(_threads: usize) -> Self {
        let executor = glommio::LocalExecutorBuilder::default().make().expect("io_uring and memlock are available");
        GlommioRuntime { executor }
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.executor.run(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_timers_end_together_and_none_too_early() {
        let us = Duration::from_micros;
        for now in (0..200_000).step_by(777) {
            for wait in [0, 1, 9_999, 24_999] {
                assert_eq!(timer_length(us(now), us(wait)), us(wait), "a short one ends when it is to");
            }
            for wait in [25_000, 25_001, 50_000, 1_000_000] {
                let length = timer_length(us(now), us(wait));
                assert!(length >= us(wait) && length < us(wait) + TIMER_GRID, "{now} {wait} {length:?}");
                assert_eq!((us(now) + length).as_micros() % TIMER_GRID.as_micros(), 0);
            }
        }
    }

    #[test]
    fn passes_the_conformance_suite_of_openraft() {
        // It wants to be woken within 150 ms after a sleep, which a machine that is shared may miss now and then.
        const ATTEMPTS: usize = 4;
        let passes = || std::thread::spawn(openraft_rt::testing::Suite::<GlommioRuntime>::test_all).join().is_ok();
        assert!((0..ATTEMPTS).any(|_| passes()), "it fails each time");
    }

    #[test]
    fn a_panic_in_a_task_is_an_error_of_its_handle() {
        GlommioRuntime::run(async {
            let error = GlommioRuntime::spawn(async { panic!("on purpose") }).await.unwrap_err();
            assert!(GlommioRuntime::is_panic(&error), "{error}");
            assert!(error.to_string().contains("on purpose"), "{error}");
        });
    }

    #[test]
    fn who_watches_is_told_of_panics_of_tasks_and_of_theirs_and_of_no_others() {
        GlommioRuntime::run(async {
            let heard = Rc::new(RefCell::new(Vec::new()));
            let notes = heard.clone();
            let on_panic: OnPanic = Rc::new(move |text| notes.borrow_mut().push(text));
            let spawning = async {
                yield_now().await;
                // The handles are dropped.
                drop(GlommioRuntime::spawn(async {
                    yield_now().await;
                    drop(GlommioRuntime::spawn(async { panic!("of a task's task") }));
                    yield_now().await;
                    panic!("of a task")
                }));
            };
            let _ = watching(on_panic, spawning).await;
            GlommioRuntime::spawn(async { panic!("of another") }).await.unwrap_err();
            let deadline = Instant::now() + crate::support::PATIENCE;
            while heard.borrow().len() < 2 {
                assert!(Instant::now() < deadline, "{heard:?}");
                yield_now().await;
            }
            heard.borrow_mut().sort();
            assert_eq!(*heard.borrow(), ["of a task", "of a task's task"]);
        });
    }

    #[test]
    fn a_spawned_task_does_not_run_before_its_spawner_yields() {
        GlommioRuntime::run(async {
            let started = std::rc::Rc::new(std::cell::Cell::new(false));
            let flag = started.clone();
            let handle = GlommioRuntime::spawn(async move { flag.set(true) });
            assert!(!started.get(), "spawn polled the task on its caller's stack");
            handle.await.unwrap();
            assert!(started.get());
        });
    }
}
