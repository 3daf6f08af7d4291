//! Sizes and bounds of a ring.

use std::time::Duration;

use super::error::RingError;

/// Sizes and bounds of a [`Ring`](super::Ring); every one of them is per core.
#[derive(Debug, Clone)]
pub struct RingOptions {
    /// Requests that can be queued before the kernel is entered (power of two, 1024). More only cost another enter.
    pub entries: u32,
    /// Completions that the kernel keeps in the shared queue (power of two, 4096). More are kept aside by the kernel.
    pub completions: u32,
    /// Receive buffers (power of two, at most 32,768; 256).
    pub buffers: u16,
    /// Size of a receive buffer in bytes (16 KiB): the longest [`Input`](super::Input).
    pub buffer_bytes: u32,
    /// Bytes of one connection that one send may take (256 KiB), so that a huge reply does not hold up the others.
    pub send_bytes_max: u32,
    /// Queued output in bytes above which a connection is due an [`Event::Writable`](super::Event::Writable) (1 MiB).
    pub output_high_bytes: usize,
    /// Queued output in bytes below which that event comes (256 KiB).
    pub output_low_bytes: usize,
    /// Queued output in bytes above which a connection is given up (1 GiB): a last resort, the core should stop
    /// reading from a client long before.
    pub output_bytes_max: usize,
    /// Bytes of empty output buffers kept for the next replies (4 MiB).
    pub spare_bytes_max: usize,
    /// The time for which a peer of a connection that is closed after a flush may take nothing before it is cut off
    /// (10 s). Twice that may pass until it is noticed.
    pub flush_wait: Duration,
    /// The rest of accepting after it failed for want of file descriptors or memory (100 ms).
    pub accept_retry: Duration,
}

impl Default for RingOptions {
    fn default() -> RingOptions {
        RingOptions {
            entries: 1024,
            completions: 4096,
            buffers: 256,
            buffer_bytes: 16 << 10,
            send_bytes_max: 256 << 10,
            output_high_bytes: 1 << 20,
            output_low_bytes: 256 << 10,
            output_bytes_max: 1 << 30,
            spare_bytes_max: 4 << 20,
            flush_wait: Duration::from_secs(10),
            accept_retry: Duration::from_millis(100),
        }
    }
}

impl RingOptions {
    /// Refuses what the kernel or the ring could not work with.
    pub(super) fn check(&self) -> Result<(), RingError> {
        let checks = [
            ("entries", self.entries.is_power_of_two() && self.entries <= 32_768, "a power of two up to 32768"),
            (
                "completions",
                self.completions.is_power_of_two() && (self.entries..=65_536).contains(&self.completions),
                "a power of two from `entries` to 65536",
            ),
            ("buffers", self.buffers.is_power_of_two() && self.buffers <= 32_768, "a power of two up to 32768"),
            ("buffer_bytes", (64..=1 << 24).contains(&self.buffer_bytes), "64 bytes to 16 MiB"),
            ("send_bytes_max", (1..=1 << 30).contains(&self.send_bytes_max), "1 byte to 1 GiB"),
            ("output_low_bytes", self.output_low_bytes <= self.output_high_bytes, "at most `output_high_bytes`"),
            ("output_bytes_max", self.output_high_bytes <= self.output_bytes_max, "at least `output_high_bytes`"),
            ("accept_retry", !self.accept_retry.is_zero(), "more than nothing"),
        ];
        match checks.into_iter().find(|(_, holds, _)| !holds) {
            Some((name, _, expected)) => Err(RingError::Option { name, expected }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_options_are_refused_by_name() {
        let base = RingOptions::default();
        assert!(base.check().is_ok());
        let cases = [
            ("entries", RingOptions { entries: 1000, ..base.clone() }),
            ("completions", RingOptions { completions: 512, ..base.clone() }),
            ("buffers", RingOptions { buffers: 0, ..base.clone() }),
            ("buffer_bytes", RingOptions { buffer_bytes: 1, ..base.clone() }),
            ("send_bytes_max", RingOptions { send_bytes_max: 0, ..base.clone() }),
            ("output_low_bytes", RingOptions { output_low_bytes: 2 << 20, ..base.clone() }),
            ("output_bytes_max", RingOptions { output_bytes_max: 1, ..base.clone() }),
            ("accept_retry", RingOptions { accept_retry: Duration::ZERO, ..base.clone() }),
        ];
        for (expected, options) in cases {
            match options.check() {
                Err(RingError::Option { name, .. }) => assert_eq!(name, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }
}
