//! Reasons that a ring cannot be made or has failed, in words for an operator.

use std::{fs, io};

/// An error of the ring. Its text says in one sentence what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The kernel lacks something that the ring is built on.
    #[error(
        "this kernel ({running}) does not have {feature}, which needs Linux {needed} or newer: \
         upgrade the kernel (6.1 or newer has everything)"
    )]
    Unsupported {
        /// The feature that is missing.
        feature: &'static str,
        /// The first kernel that has it.
        needed: &'static str,
        /// The running kernel's release.
        running: String,
    },
    /// The administrator has switched io_uring off.
    #[error(
        "io_uring is disabled by the sysctl kernel.io_uring_disabled = {value}: \
         run `sysctl -w kernel.io_uring_disabled=0`{}", 
        if *value == 1 { ", or run as a member of the group in kernel.io_uring_group" } else { "" }
    )]
    Disabled {
        /// The sysctl's value: 1 for unprivileged processes, 2 for all.
        value: u8,
    },
    /// Something between this process and the kernel forbids io_uring.
    #[error(
        "io_uring is blocked ({errno}), most likely by a container's seccomp profile: allow io_uring_setup, \
         io_uring_enter and io_uring_register in it (deploy/ has a profile), or for a trial run with \
         --security-opt seccomp=unconfined"
    )]
    Blocked {
        /// The error that `io_uring_setup` gave.
        errno: io::Error,
    },
    /// Memory for the ring could not be locked.
    #[error(
        "no memory for io_uring: the limit on locked memory (memlock) is {limit}, raise it to 64 MiB or more \
         (`ulimit -l 65536`, LimitMEMLOCK=64M in systemd, --ulimit memlock=67108864 in Docker)"
    )]
    MemoryLock {
        /// The limit in force, in bytes or `unlimited`.
        limit: String,
    },
    /// The process may not open more files.
    #[error(
        "no file descriptor left for io_uring: raise the limit on open files (`ulimit -n`, LimitNOFILE in systemd)"
    )]
    OpenFiles,
    /// The kernel claims to be new enough, but io_uring does not do what it should.
    #[error(
        "io_uring does not work here ({what}): run on a Linux kernel 6.1 or newer built with CONFIG_IO_URING, not on an \
         emulation of one (gVisor) or behind a filter that hides it"
    )]
    Broken {
        /// The attempt and what came of it.
        what: String,
    },
    /// An option is out of its range.
    #[error("ring option {name} must be {expected}")]
    Option {
        /// The field of [`RingOptions`](super::RingOptions).
        name: &'static str,
        /// The values that it may have.
        expected: &'static str,
    },
    /// Any other failure of the ring.
    #[error("{what}: {source}")]
    Io {
        /// The work that was being done.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl RingError {
    /// Tells the reasons apart for which `io_uring_setup` fails.
    pub(super) fn of_setup(error: io::Error) -> RingError {
        let sysctl = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        RingError::of_setup_with(error, sysctl.as_deref())
    }

    /// [`of_setup`](Self::of_setup) with the content of the sysctl, `None` where the kernel has none (before 6.6).
    fn of_setup_with(error: io::Error, sysctl: Option<&str>) -> RingError {
        let disabled = sysctl.and_then(|text| text.trim().parse::<u8>().ok()).filter(|&value| value > 0);
        match (error.raw_os_error(), disabled) {
            (Some(libc::EPERM), Some(value)) => RingError::Disabled { value },
            (Some(libc::EPERM | libc::EACCES), _) => RingError::Blocked { errno: error },
            (Some(libc::ENOSYS), _) => RingError::unsupported("io_uring", "5.1"),
            (Some(libc::EINVAL), _) => RingError::unsupported("io_uring with deferred task running", "6.1"),
            (Some(libc::ENOMEM), _) => RingError::memory_lock(),
            (Some(libc::EMFILE | libc::ENFILE), _) => RingError::OpenFiles,
            _ => RingError::Io { what: "cannot set up io_uring", source: error },
        }
    }

    /// Tells the reasons apart for which registering the receive buffers fails.
    pub(super) fn of_buffers(error: io::Error) -> RingError {
        match error.raw_os_error() {
            Some(libc::EINVAL) => RingError::unsupported("provided buffer rings", "5.19"),
            Some(libc::EPERM | libc::EACCES) => RingError::Blocked { errno: error },
            Some(libc::ENOMEM) => RingError::memory_lock(),
            _ => RingError::Io { what: "cannot register receive buffers with io_uring", source: error },
        }
    }

    /// Tells the reasons apart for which a turn fails.
    pub(super) fn of_enter(error: io::Error) -> RingError {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => RingError::Blocked { errno: error },
            _ => RingError::Io { what: "io_uring_enter failed", source: error },
        }
    }

    /// The running kernel lacks `feature`, which Linux has since version `needed`.
    pub(super) fn unsupported(feature: &'static str, needed: &'static str) -> RingError {
        let running = nix::sys::utsname::uname()
            .map_or_else(|_| "of unknown version".to_owned(), |name| name.release().to_string_lossy().into_owned());
        RingError::unsupported_by(feature, needed, running)
    }

    fn unsupported_by(feature: &'static str, needed: &'static str, running: String) -> RingError {
        if major_and_minor(&running) < major_and_minor(needed) {
            return RingError::Unsupported { feature, needed, running };
        }
        RingError::Broken { what: format!("Linux {running} should have {feature}, and refuses it") }
    }

    fn memory_lock() -> RingError {
        use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
        let limit = match getrlimit(Resource::RLIMIT_MEMLOCK) {
            Ok((RLIM_INFINITY, _)) => "unlimited".to_owned(),
            Ok((bytes, _)) => format!("{bytes} bytes"),
            Err(_) => "unknown".to_owned(),
        };
        RingError::MemoryLock { limit }
    }
}

/// The first two numbers of a kernel's release; zeroes where there are none.
fn major_and_minor(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(errno: i32, sysctl: Option<&str>) -> String {
        RingError::of_setup_with(io::Error::from_raw_os_error(errno), sysctl).to_string()
    }

    #[test]
    fn each_reason_says_what_to_do() {
        let cases = [
            (libc::EPERM, Some("2\n"), "sysctl -w kernel.io_uring_disabled=0"),
            (libc::EPERM, Some("1\n"), "kernel.io_uring_group"),
            (libc::EPERM, Some("0\n"), "seccomp"),
            (libc::EPERM, None, "seccomp"),
            (libc::EACCES, None, "seccomp"),
            (libc::ENOSYS, None, "CONFIG_IO_URING"),
            (libc::EINVAL, Some("0"), "deferred task running"),
            (libc::ENOMEM, None, "ulimit -l"),
            (libc::EMFILE, None, "ulimit -n"),
        ];
        for (errno, sysctl, expected) in cases {
            let text = text(errno, sysctl);
            assert!(text.contains(expected), "errno {errno}, sysctl {sysctl:?}: {text}");
        }
        assert!(!text(libc::EPERM, Some("2")).contains("io_uring_group"));
    }

    #[test]
    fn old_kernels_are_told_what_they_lack_and_new_ones_that_something_is_wrong() {
        let text = |running: &str| RingError::unsupported_by("deferred tasks", "6.1", running.to_owned()).to_string();
        for old in ["5.15.0-91-generic", "6.0.19", "4.18"] {
            let text = text(old);
            assert!(text.contains(old) && text.contains("needs Linux 6.1 or newer"), "{text}");
        }
        for new in ["6.1.0-18-amd64", "6.18.44", "10.0"] {
            let text = text(new);
            assert!(text.contains(new) && text.contains("CONFIG_IO_URING"), "{text}");
        }
    }

    #[test]
    fn a_filter_is_named_whichever_call_it_forbids() {
        let forbidden = || io::Error::from_raw_os_error(libc::EPERM);
        for error in [
            RingError::of_setup_with(forbidden(), None),
            RingError::of_buffers(forbidden()),
            RingError::of_enter(forbidden()),
        ] {
            assert!(error.to_string().contains("seccomp"), "{error}");
        }
    }
}
