//! The trial of a ring at start-up: does this machine let one run?

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use crate::limits::ECHO_WAIT;

use super::{Event, Ring, RingError, RingOptions};

/// Makes a small ring with everything that the real ones use, and sends a byte through it and back.
///
/// # Errors
/// A [`RingError`] whose text says in one sentence what is wrong and what to do: the kernel is too old for a needed
/// feature (named, with the kernel that has it), io_uring is disabled by sysctl or blocked by seccomp, the limit on
/// locked memory is too small, or the ring does not carry bytes.
pub fn probe_io_uring() -> Result<(), RingError> {
    let options = RingOptions { entries: 8, completions: 32, buffers: 4, buffer_bytes: 4096, ..RingOptions::default() };
    let mut ring = Ring::new(&options)?;
    let io = |source| RingError::Io { what: "cannot try io_uring out", source };
    let (mut ours, theirs) = UnixStream::pair().map_err(io)?;
    ours.set_read_timeout(Some(ECHO_WAIT)).map_err(io)?;
    let id = ring.add(theirs.into());
    ours.write_all(b"?").map_err(io)?;
    let deadline = Instant::now() + ECHO_WAIT;
    let mut echoed = false;
    while !echoed {
        if Instant::now() > deadline {
            return Err(RingError::Broken { what: "a byte sent to it never arrived".to_owned() });
        }
        ring.turn(Some(Duration::from_millis(10)))?;
        while let Some(event) = ring.next_event() {
            match event {
                Event::Received(_, input) if *input == *b"?" => {
                    if let Some(output) = ring.output(id) {
                        output.push(b'!');
                    }
                    echoed = true;
                }
                // multishot receives need Linux 6.0; older kernels know the ring, not the flag
                Event::Closed(_, reason) => {
                    return Err(RingError::Broken { what: format!("receiving failed: {reason:?}") });
                }
                _ => {}
            }
        }
    }
    ring.turn(None)?;
    let mut answer = [0];
    ours.read_exact(&mut answer)
        .map_err(|error| RingError::Broken { what: format!("a byte sent by it never arrived: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_builds_this_can_run_it() {
        probe_io_uring().expect("io_uring");
    }
}
