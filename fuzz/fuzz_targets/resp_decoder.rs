//! A client's byte stream, whole and in pieces: the commands and the error must be the same.

#![no_main]

use basalt_net::resp::{Argv, Decoded, Decoder, Limits, ProtocolError};
use libfuzzer_sys::fuzz_target;

type Commands = Vec<Vec<Vec<u8>>>;

/// Small enough that the fuzzer reaches every one of them.
const LIMITS: Limits = Limits { inline_bytes_max: 64, args_max: 40, bulk_bytes_max: 120, request_bytes_max: 500 };

fuzz_target!(|data: &[u8]| {
    // The first bytes say where the rest is cut.
    let Some((cuts, stream)) = data.split_at_checked(6) else { return };
    let whole = decode(&[stream]);
    let mut pieces = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    assert_eq!(decode(&pieces), whole);
    assert_eq!(decode(&stream.chunks(1).collect::<Vec<_>>()), whole);
});

fn decode(pieces: &[&[u8]]) -> (Commands, Option<ProtocolError>) {
    let (mut decoder, mut argv, mut input, mut commands) = (Decoder::new(), Argv::new(), Vec::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&input, &LIMITS, &mut argv) {
                Ok(Decoded::Command { consumed }) => {
                    assert!((1..=input.len()).contains(&consumed));
                    assert!(consumed <= LIMITS.request_bytes_max);
                    assert!(argv.iter(&input).all(|arg| arg.len() <= LIMITS.bulk_bytes_max));
                    commands.push(argv.iter(&input).map(<[u8]>::to_vec).collect());
                    input.drain(..consumed);
                }
                Ok(Decoded::Incomplete { missing }) => {
                    assert!(missing > 0 && argv.is_empty());
                    break;
                }
                Err(error) => return (commands, Some(error)),
            }
        }
    }
    (commands, None)
}
