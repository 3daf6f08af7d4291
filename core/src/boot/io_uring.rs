//! Whether this kernel has io_uring as the node uses it, and lets this process use it.

use std::fs;

use super::error::BootError;

/// The oldest kernel with everything the rings use: `IORING_SETUP_DEFER_TASKRUN` came last, in 6.1.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Checks the kernel's version.
pub(super) fn check() -> Result<(), BootError> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_err(|source| BootError::System { doing: "read the kernel's version", source })?;
    check_release(release.trim())
}

fn check_release(release: &str) -> Result<(), BootError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version >= KERNEL_MIN {
        true => Ok(()),
        false => {
            Err(BootError::Kernel { found: release.to_owned(), needed: format!("{}.{}", KERNEL_MIN.0, KERNEL_MIN.1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_refused_by_its_version() {
        for release in ["6.1.0-13-amd64", "6.18.44", "7.0.0-rc1"] {
            check_release(release).unwrap_or_else(|error| panic!("{error}"));
        }
        let refusal = check_release("5.15.0-91-generic").expect_err("too old").to_string();
        assert!(refusal.starts_with("the kernel 5.15.0-91-generic is too old: Basalt needs Linux 6.1"), "{refusal}");
    }
}
