//! The protocol between nodes against whatever a peer may send. `fuzz/` feeds the same body with inputs that reach further.

#[path = "peer/fuzzed.rs"]
mod fuzzed;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Frames as [`fuzzed::check`] takes them: of known kinds, and in pieces that fit together now and then.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let kinds = select(vec![3_u8, 4, 16, 16, 16, 17, 32, 36, 37, 38, 39, 40, 41, 64, 64, 65, 66, 66, 66, 68, 69]);
    let head = (kinds, 0..2_u8, select(vec![0_u8, 1, 255]), 0..2_u8, any::<u8>(), any::<u8>());
    (head, vec(0..3_u8, 0..90)).prop_map(|((kind, flags, group, request, total, place), payload)| {
        let mut bytes = vec![kind, flags, group, request, total, place, payload.len() as u8];
        bytes.extend_from_slice(&payload);
        bytes
    })
}

#[test]
fn frames_of_the_input_come_together_to_long_messages() {
    let piece = [66, 1, 1, 1, 0, 2, 0];
    assert!(fuzzed::check(&[[2].as_slice(), &piece, &piece].concat()) > 64 << 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_bytes_are_messages_or_errors(data in vec(any::<u8>(), 0..400)) {
        fuzzed::check(&data);
    }

    #[test]
    fn random_frames_are_messages_or_errors(lane in 0..3_u8, frames in vec(any_frame(), 0..8)) {
        fuzzed::check(&[vec![lane], frames.concat()].concat());
    }
}
