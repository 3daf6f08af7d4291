//! Facts that the kernel knows of this process: memory and CPU time, from `/proc/self` and `getrusage`.
//!
//! Each figure is optional: where the kernel does not tell it, INFO leaves it out.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Memory of the process, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessMemory {
    /// In memory now.
    pub(super) resident: Option<u64>,
    /// In memory at most so far.
    pub(super) resident_peak: Option<u64>,
    /// In memory and not backed by a file: heap and stacks.
    pub(super) anonymous: Option<u64>,
}

impl ProcessMemory {
    pub(super) fn read() -> ProcessMemory {
        fs::read_to_string("/proc/self/status").map(|status| ProcessMemory::parse(&status)).unwrap_or_default()
    }

    fn parse(status: &str) -> ProcessMemory {
        let bytes = |name: &str| kilobytes(status, name).map(|kilobytes| kilobytes * 1024);
        ProcessMemory { resident: bytes("VmRSS:"), resident_peak: bytes("VmHWM:"), anonymous: bytes("RssAnon:") }
    }
}

/// Bytes of memory that the process has for itself; 0 where the kernel does not tell.
pub fn memory_in_use() -> u64 {
    ProcessMemory::read().anonymous.unwrap_or(0)
}

/// Memory of the machine in bytes.
pub(super) fn machine_memory() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:").map(|kilobytes| kilobytes * 1024)
}

/// The number of the line that starts with `name`, as `VmRSS:     1234 kB`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The kernel as `uname` names it: system, release and machine.
pub(super) fn system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {} {}", release.trim(), std::env::consts::ARCH)
}

/// CPU time in user and kernel mode.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuTime {
    pub(super) user: Duration,
    pub(super) system: Duration,
}

/// CPU time of this process and of its children that ended.
pub(super) fn cpu_times() -> Option<(CpuTime, CpuTime)> {
    Some((cpu_time_of(UsageWho::RUSAGE_SELF)?, cpu_time_of(UsageWho::RUSAGE_CHILDREN)?))
}

/// CPU time of the thread that asks.
pub(super) fn own_thread_cpu_time() -> Option<CpuTime> {
    cpu_time_of(UsageWho::RUSAGE_THREAD)
}

fn cpu_time_of(who: UsageWho) -> Option<CpuTime> {
    let usage = getrusage(who).ok()?;
    Some(CpuTime { user: duration(usage.user_time()), system: duration(usage.system_time()) })
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_secs(time.tv_sec().unsigned_abs()) + Duration::from_micros(time.tv_usec().unsigned_abs())
}

/// CPU time of one of this process' threads; `None` for the id 0, which is no thread.
pub(super) fn thread_cpu_time(thread_id: u64) -> Option<Duration> {
    if thread_id == 0 {
        return None;
    }
    // Its first number is the time on a CPU in nanoseconds, see `Documentation/scheduler/sched-stats.rst` of Linux.
    let stats = fs::read_to_string(format!("/proc/self/task/{thread_id}/schedstat")).ok()?;
    Some(Duration::from_nanos(stats.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let memory = ProcessMemory::parse("Name:\tx\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\nRssAnon:\t 100 kB\n");
        assert_eq!(
            memory,
            ProcessMemory { resident: Some(200 << 10), resident_peak: Some(300 << 10), anonymous: Some(100 << 10) }
        );
        assert_eq!(ProcessMemory::parse("VmRSS: none\n"), ProcessMemory::default());
    }

    #[test]
    fn this_process_has_memory_and_has_used_the_cpu() {
        let memory = ProcessMemory::read();
        assert!(memory.anonymous < memory.resident && memory.resident <= memory.resident_peak, "{memory:?}");
        assert!(machine_memory() > memory.resident);
        let thread = nix::unistd::gettid().as_raw();
        // The kernel counts now and then: what has just begun may have used nothing yet.
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let (own, _) = cpu_times().unwrap();
            let of_thread = thread_cpu_time(thread as u64).unwrap();
            if own.user + own.system > Duration::ZERO && of_thread > Duration::ZERO {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{own:?}, {of_thread:?}");
        }
        assert_eq!(thread_cpu_time(0), None);
        assert!(system().starts_with("Linux "));
    }
}
