//! HyperLogLogs: strings that estimate how many different elements they were shown, in Redis' own bytes.
//!
//! ```text
//! string   "HYLL" [encoding u8: 0 dense, 1 sparse][0 × 3][cardinality u64 LE, its highest bit set if it is not known][registers …]
//! dense    16,384 registers of 6 bits, the lowest bits first
//! sparse   runs of equal registers, one behind the other:
//!          00llllll             zero registers, l + 1
//!          01llllll llllllll    the same of up to 16,384
//!          1vvvvvll             registers of the value v + 1, l + 1
//! ```
//!
//! What a newcomer would get wrong: the bytes have to be those that Redis makes, also the order in which runs are split and joined,
//! since clients may read them with GET and write them with SET. So anything may be in such a string: each step checks it.
//!
//! The estimate is that of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284.

use crate::limits::HYPERLOGLOG_SPARSE_BYTES_MAX;

/// Registers of a HyperLogLog.
pub(super) const REGISTERS: usize = 1 << REGISTER_INDEX_BITS;
const REGISTER_INDEX_BITS: u32 = 14;
const REGISTER_BITS: usize = 6;
/// Bits of a hash that a register counts zeros of.
const HASH_BITS: usize = 64 - REGISTER_INDEX_BITS as usize;

const MAGIC: &[u8] = b"HYLL";
const HEADER_BYTES: usize = 16;
const ENCODING_AT: usize = 4;
/// The byte whose highest bit says that the cardinality is not known.
const UNKNOWN_AT: usize = 15;
const UNKNOWN: u8 = 0x80;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS / 8;

/// The highest value and the longest run that the sparse encoding has.
const SPARSE_HIGHEST: u8 = 32;
const SPARSE_VALUES_RUN: usize = 4;
const SPARSE_ZEROS_RUN: usize = 64;

/// Runs that are looked at to be joined, from the one before a change on.
const JOINED_RUNS: usize = 5;

/// The string is none that Redis would have made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Corrupted;

/// Returns whether `bytes` begin like a HyperLogLog, and are as long as one if they are dense.
pub(super) fn is_hyperloglog(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES
        && bytes.starts_with(MAGIC)
        && match bytes[ENCODING_AT] {
            DENSE => bytes.len() == DENSE_BYTES,
            encoding => encoding == SPARSE,
        }
}

/// Returns whether a HyperLogLog is dense.
pub(super) fn is_dense(bytes: &[u8]) -> bool {
    bytes[ENCODING_AT] == DENSE
}

/// A HyperLogLog that was shown nothing.
pub(super) fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = SPARSE;
    push_zeros(&mut bytes, REGISTERS);
    bytes
}

/// The cardinality that a HyperLogLog says it has, if it knows.
pub(super) fn known_cardinality(bytes: &[u8]) -> Option<u64> {
    let cardinality = bytes[HEADER_BYTES - 8..HEADER_BYTES].try_into().map(u64::from_le_bytes).ok()?;
    (bytes[UNKNOWN_AT] & UNKNOWN == 0).then_some(cardinality)
}

/// Notes that the cardinality is not known any more.
pub(super) fn forget_cardinality(bytes: &mut [u8]) {
    bytes[UNKNOWN_AT] |= UNKNOWN;
}

/// Shows `element` to a HyperLogLog, and says whether that has changed a register.
pub(super) fn add(bytes: &mut Vec<u8>, element: &[u8]) -> Result<bool, Corrupted> {
    let hash = murmur_hash_64a(element, 0xadc8_3b19);
    let register = (hash & (REGISTERS as u64 - 1)) as usize;
    let rest = hash >> REGISTER_INDEX_BITS | 1 << HASH_BITS;
    raise(bytes, register, rest.trailing_zeros() as u8 + 1)
}

/// Makes a register `value` at least, and says whether it was less.
pub(super) fn raise(bytes: &mut Vec<u8>, register: usize, value: u8) -> Result<bool, Corrupted> {
    if is_dense(bytes) { Ok(raise_dense(bytes, register, value)) } else { raise_sparse(bytes, register, value) }
}

/// Makes a HyperLogLog dense.
pub(super) fn make_dense(bytes: &mut Vec<u8>) -> Result<(), Corrupted> {
    if is_dense(bytes) {
        return Ok(());
    }
    let mut dense = vec![0; DENSE_BYTES];
    dense[..HEADER_BYTES].copy_from_slice(&bytes[..HEADER_BYTES]);
    dense[ENCODING_AT] = DENSE;
    each_sparse(bytes, &mut |register, value| put_dense(&mut dense, register, value))?;
    *bytes = dense;
    Ok(())
}

/// Makes each of `registers` what it is in a HyperLogLog, if that is more.
pub(super) fn merge(registers: &mut [u8; REGISTERS], bytes: &[u8]) -> Result<(), Corrupted> {
    if is_dense(bytes) {
        // Four registers are three bytes.
        for (four, three) in registers.chunks_exact_mut(4).zip(bytes[HEADER_BYTES..].chunks_exact(3)) {
            let word = u32::from_le_bytes([three[0], three[1], three[2], 0]);
            for (at, register) in four.iter_mut().enumerate() {
                *register = ((word >> (at * REGISTER_BITS)) as u8 & 0x3F).max(*register);
            }
        }
        return Ok(());
    }
    each_sparse(bytes, &mut |at, value| registers[at] = registers[at].max(value))
}

/// Estimates how many different elements were shown to who has these registers.
pub(super) fn cardinality(registers: &[u8; REGISTERS]) -> u64 {
    let mut counts = [0u32; 64];
    registers.iter().for_each(|&register| counts[usize::from(register)] += 1);
    let count = REGISTERS as f64;
    let mut z = count * tau((count - f64::from(counts[HASH_BITS + 1])) / count);
    for value in (1..=HASH_BITS).rev() {
        z = (z + f64::from(counts[value])) * 0.5;
    }
    z += count * sigma(f64::from(counts[0]) / count);
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    (ALPHA * count * count / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

/// Position of a dense register's first byte, and of its first bit in that.
fn place(register: usize) -> (usize, usize) {
    let bit = register * REGISTER_BITS;
    (HEADER_BYTES + bit / 8, bit % 8)
}

fn dense_register(bytes: &[u8], register: usize) -> u8 {
    let (at, shift) = place(register);
    // The last register ends with the string.
    let pair = u16::from(bytes[at]) | u16::from(bytes.get(at + 1).copied().unwrap_or(0)) << 8;
    (pair >> shift) as u8 & 0x3F
}

fn put_dense(bytes: &mut [u8], register: usize, value: u8) {
    let (at, shift) = place(register);
    let pair = (u16::from(value) << shift).to_le_bytes();
    let kept = (!(0x3Fu16 << shift)).to_le_bytes();
    for (byte, (value, kept)) in bytes[at..].iter_mut().zip(pair.into_iter().zip(kept)) {
        *byte = *byte & kept | value;
    }
}

fn raise_dense(bytes: &mut [u8], register: usize, value: u8) -> bool {
    let is_more = dense_register(bytes, register) < value;
    if is_more {
        put_dense(bytes, register, value);
    }
    is_more
}

/// A run of equal registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    value: u8,
    registers: usize,
    bytes: usize,
}

/// The run that `bytes` have at `at`. One that is cut off is read as if zero followed, as Redis does.
fn run_at(bytes: &[u8], at: usize) -> Run {
    let byte = bytes[at];
    match byte >> 6 {
        0 => Run { value: 0, registers: usize::from(byte & 0x3F) + 1, bytes: 1 },
        1 => {
            let low = usize::from(bytes.get(at + 1).copied().unwrap_or(0));
            Run { value: 0, registers: (usize::from(byte & 0x3F) << 8 | low) + 1, bytes: 2 }
        }
        _ => Run { value: (byte >> 2 & 0x1F) + 1, registers: usize::from(byte & 3) + 1, bytes: 1 },
    }
}

fn push_zeros(bytes: &mut Vec<u8>, registers: usize) {
    let length = (registers - 1) as u16;
    if registers > SPARSE_ZEROS_RUN {
        bytes.extend_from_slice(&(length | 0x4000).to_be_bytes());
    } else {
        bytes.push(length as u8);
    }
}

fn values(value: u8, registers: usize) -> u8 {
    0x80 | (value - 1) << 2 | (registers - 1) as u8
}

/// Visits the registers of a sparse HyperLogLog that are not zero.
fn each_sparse(bytes: &[u8], visit: &mut dyn FnMut(usize, u8)) -> Result<(), Corrupted> {
    let (mut at, mut register) = (HEADER_BYTES, 0);
    while at < bytes.len() {
        let run = run_at(bytes, at);
        if run.value > 0 {
            if register + run.registers > REGISTERS {
                return Err(Corrupted);
            }
            (register..register + run.registers).for_each(|register| visit(register, run.value));
        }
        register += run.registers;
        at += run.bytes;
    }
    if register == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

fn raise_sparse(bytes: &mut Vec<u8>, register: usize, value: u8) -> Result<bool, Corrupted> {
    if value > SPARSE_HIGHEST {
        make_dense(bytes)?;
        return Ok(raise_dense(bytes, register, value));
    }
    let (mut at, mut first, mut before) = (HEADER_BYTES, 0, None);
    let run = loop {
        if at >= bytes.len() {
            return Err(Corrupted);
        }
        let run = run_at(bytes, at);
        if register < first + run.registers {
            break run;
        }
        before = Some(at);
        at += run.bytes;
        first += run.registers;
    };
    if run.value >= value {
        return Ok(false);
    }
    if run.registers == 1 && run.bytes == 1 {
        bytes[at] = values(value, 1);
    } else {
        let new = split(run, register - first, value);
        let is_longer = new.len() > run.bytes;
        if is_longer && bytes.len() + new.len() - run.bytes > HYPERLOGLOG_SPARSE_BYTES_MAX {
            make_dense(bytes)?;
            return Ok(raise_dense(bytes, register, value));
        }
        let end = (at + run.bytes).min(bytes.len());
        bytes.splice(at..end, new);
    }
    join(bytes, before.unwrap_or(HEADER_BYTES));
    forget_cardinality(bytes);
    Ok(true)
}

/// The runs of `run` with the register number `at` of it set to `value`.
fn split(run: Run, at: usize, value: u8) -> Vec<u8> {
    let mut new = Vec::with_capacity(5);
    let push = |new: &mut Vec<u8>, registers: usize| match (registers, run.value) {
        (0, _) => {}
        (_, 0) => push_zeros(new, registers),
        (_, value) => new.push(values(value, registers)),
    };
    push(&mut new, at);
    new.push(values(value, 1));
    push(&mut new, run.registers - 1 - at);
    new
}

/// Joins runs of equal values from `at` on, as far as Redis looks.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED_RUNS {
        if at >= bytes.len() {
            return;
        }
        let run = run_at(bytes, at);
        let next = bytes.get(at + 1).filter(|byte| run.value > 0 && **byte & 0x80 != 0).map(|_| run_at(bytes, at + 1));
        match next {
            Some(next) if next.value == run.value && next.registers + run.registers <= SPARSE_VALUES_RUN => {
                bytes[at + 1] = values(run.value, run.registers + next.registers);
                bytes.remove(at);
            }
            _ => at += run.bytes,
        }
    }
}

/// MurmurHash64A, by Austin Appleby, as of a machine whose lowest byte comes first.
fn murmur_hash_64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> R;
        hash = (hash ^ word.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash ^= hash >> R;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> R
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registers(bytes: &[u8]) -> Result<[u8; REGISTERS], Corrupted> {
        let mut registers = [0; REGISTERS];
        merge(&mut registers, bytes).map(|()| registers)
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut bytes = empty();
        assert_eq!(bytes, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
        assert!(raise(&mut bytes, 100, 3).unwrap());
        assert_eq!(bytes, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x40\x63\x88\x7f\x9a");
        assert!(raise(&mut bytes, 101, 3).unwrap());
        assert_eq!(bytes, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80\x40\x63\x89\x7f\x99");
        assert!(!raise(&mut bytes, 101, 2).unwrap());
        make_dense(&mut bytes).unwrap();
        assert_eq!((bytes.len(), &bytes[..5]), (12_304, &b"HYLL\0"[..]));
        assert_eq!(bytes[HEADER_BYTES + 75..HEADER_BYTES + 77], [0xC3, 0]);
    }

    proptest! {
        #[test]
        fn both_encodings_have_the_same_registers(raised in proptest::collection::vec((0..64usize, 1..40u8), 0..200)) {
            let (mut sparse, mut model) = (empty(), [0; REGISTERS]);
            let mut dense = empty();
            make_dense(&mut dense).unwrap();
            for (register, value) in raised {
                let register = register * 257 % REGISTERS;
                let is_more = model[register] < value;
                model[register] = value.max(model[register]);
                prop_assert_eq!(raise(&mut sparse, register, value), Ok(is_more));
                prop_assert_eq!(raise(&mut dense, register, value), Ok(is_more));
                prop_assert!(is_hyperloglog(&sparse) && is_hyperloglog(&dense));
            }
            prop_assert_eq!(registers(&sparse).unwrap(), model);
            prop_assert_eq!(registers(&dense).unwrap(), model);
        }

        #[test]
        fn any_bytes_are_read_or_refused(runs in proptest::collection::vec(any::<u8>(), 0..60), register in 0..REGISTERS, value in 1..51u8) {
            let mut bytes = [&empty()[..HEADER_BYTES], &runs].concat();
            let before = registers(&bytes);
            let _ = raise(&mut bytes, register, value);
            prop_assert!(before.is_err() || registers(&bytes).is_ok());
        }
    }
}
