//! A peer's byte stream: the greeting, raw bytes, and frames with the right checksum.

#![no_main]

#[path = "../../net/tests/peer/fuzzed.rs"]
mod fuzzed;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    fuzzed::check(data);
});
