//! Hints to the kernel's scheduler about the calling thread.
//!
//! A thread that wakes up while another runs on its processor waits until that one's time slice is over, which the kernel
//! notices at its next tick: up to 4 ms with 250 ticks a second. From Linux 6.12 on a thread may ask for a shorter slice of
//! its own; then it takes the processor at once when it wakes up. It gets no more processor time by that, only in smaller
//! pieces. Older kernels ignore the wish.

#![allow(unsafe_code, reason = "libc knows these calls only by their numbers")]

use std::io;
use std::mem;
use std::time::Duration;

/// Asks for time slices of `length` (0.1 to 100 ms) for the calling thread; its policy and nice value stay.
///
/// # Errors
/// The system's own, for example if a seccomp filter forbids the call: the thread runs as well without.
pub fn set_time_slice(length: Duration) -> io::Result<()> {
    let size = mem::size_of::<libc::sched_attr>() as libc::c_uint;
    // SAFETY: plain numbers, for which zeros are values.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most `size` bytes to `attributes`, which are its own.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if read != 0 {
        return Err(io::Error::last_os_error());
    }
    attributes.size = size;
    attributes.sched_runtime = length.as_nanos() as u64;
    // SAFETY: the kernel only reads `attributes`.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks that timers of the calling thread are at most `slack` late (50 µs unless asked).
///
/// # Errors
/// The system's own.
pub fn set_timer_slack(slack: Duration) -> io::Result<()> {
    Ok(nix::sys::prctl::set_timerslack(slack.as_nanos() as libc::c_ulong)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_asks_for_its_own_slice_and_keeps_its_nice_value() {
        std::thread::spawn(|| {
            set_time_slice(Duration::from_micros(200)).unwrap();
            let scheduling = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // After the name: state is field 3, nice field 19 (proc(5)).
            let nice = scheduling.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap();
            assert_eq!(nice, "0");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_has_the_timer_slack_that_it_asked_for() {
        std::thread::spawn(|| {
            set_timer_slack(Duration::from_micros(1)).unwrap();
            assert_eq!(nix::sys::prctl::get_timerslack().unwrap(), 1000);
        })
        .join()
        .unwrap();
    }
}
