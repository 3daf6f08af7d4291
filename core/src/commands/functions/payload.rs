//! The payload of FUNCTION DUMP and RESTORE, as Redis has it: a part of an RDB file.
//!
//! ```text
//! ([0xF5][code, a string])* [version u16 LE][checksum u64 LE]
//! ```
//!
//! A string begins with its length in Redis' RDB encoding, and may be compressed with LZF, which it is never here. The checksum is
//! CRC-64 of Jones of all before it.

use super::changes::too_much;
use crate::commands::CommandError;
use crate::limits;

const FUNCTION: u8 = 0xF5;
/// Functions as candidates for Redis 7.0 had them.
const OLD_FUNCTION: u8 = 0xF6;
/// The version that is written: that of Redis 7.0.
const WRITTEN_VERSION: u16 = 10;
/// The newest one that is read, that of Redis 7.4: functions are the same in all of them.
const NEWEST_VERSION: u16 = 12;
const TAIL_BYTES: usize = 10;

/// The table of CRC-64 with the polynomial of Jones, bits reversed.
const CRC_TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u64, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, &byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

/// Writes the code of libraries as a payload.
pub(super) fn encode<'a>(codes: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for code in codes {
        out.push(FUNCTION);
        match code.len() {
            length @ 0..0x40 => out.push(length as u8),
            length @ 0x40..0x4000 => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
            length => {
                out.push(0x80);
                out.extend_from_slice(&u32::try_from(length).expect("a library has a bound").to_be_bytes());
            }
        }
        out.extend_from_slice(code);
    }
    out.extend_from_slice(&WRITTEN_VERSION.to_le_bytes());
    let checksum = crc64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// Reads the code of the libraries of a payload.
///
/// # Errors
/// Redis' texts, and that there are too many bytes.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<Vec<u8>>, CommandError> {
    if payload.len() > limits::LIBRARY_PAYLOAD_BYTES_MAX {
        return Err(too_much());
    }
    const WRONG: CommandError = CommandError::text("ERR DUMP payload version or checksum are wrong");
    let (rest, tail) = payload.len().checked_sub(TAIL_BYTES).map(|at| payload.split_at(at)).ok_or(WRONG)?;
    let (version, checksum) = tail.split_at(2);
    let version = u16::from_le_bytes([version[0], version[1]]);
    let is_whole = crc64(&payload[..payload.len() - checksum.len()]).to_le_bytes() == *checksum;
    if version > NEWEST_VERSION || !is_whole {
        return Err(WRONG);
    }
    let (mut rest, mut codes, mut bytes_left) = (rest, Vec::new(), limits::LIBRARY_BYTES_MAX as usize);
    while let Some((kind, behind)) = rest.split_first() {
        rest = behind;
        match *kind {
            FUNCTION => {}
            OLD_FUNCTION => return Err(CommandError::text("ERR Pre-GA function format not supported")),
            _ => return Err(CommandError::text("ERR given type is not a function")),
        }
        let code = read_string(&mut rest, bytes_left).ok_or(CommandError::text("ERR Failed loading library data"))?;
        bytes_left -= code.len();
        codes.push(code);
        if codes.len() > limits::LIBRARIES_MAX as usize {
            return Err(too_much());
        }
    }
    Ok(codes)
}

/// Takes `count` bytes off the beginning of `rest`.
fn take<'a>(rest: &mut &'a [u8], count: u64) -> Option<&'a [u8]> {
    let (bytes, behind) = rest.split_at_checked(usize::try_from(count).ok()?)?;
    *rest = behind;
    Some(bytes)
}

fn take_number(rest: &mut &[u8], bytes: u64) -> Option<u64> {
    Some(take(rest, bytes)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// A length, or the number of a special encoding.
enum Length {
    Plain(u64),
    Special(u8),
}

fn read_length(rest: &mut &[u8]) -> Option<Length> {
    let first = take_number(rest, 1)?;
    Some(match (first >> 6, first) {
        (0, _) => Length::Plain(first),
        (1, _) => Length::Plain((first & 0x3F) << 8 | take_number(rest, 1)?),
        (3, _) => Length::Special((first & 0x3F) as u8),
        (_, 0x80) => Length::Plain(take_number(rest, 4)?),
        (_, 0x81) => Length::Plain(take_number(rest, 8)?),
        _ => return None,
    })
}

fn plain_length(rest: &mut &[u8]) -> Option<u64> {
    match read_length(rest)? {
        Length::Plain(length) => Some(length),
        Length::Special(_) => None,
    }
}

/// Reads a string of at most `bytes_max`.
fn read_string(rest: &mut &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    match read_length(rest)? {
        Length::Plain(length) if length <= bytes_max as u64 => Some(take(rest, length)?.to_vec()),
        Length::Special(3) => {
            let (compressed, length) = (plain_length(rest)?, plain_length(rest)?);
            let length = usize::try_from(length).ok().filter(|length| *length <= bytes_max)?;
            decompress(take(rest, compressed)?, length)
        }
        // Nor is a number the code of a library.
        Length::Plain(_) | Length::Special(_) => None,
    }
}

/// Decompresses LZF: runs of bytes, and references to bytes that were there before.
fn decompress(compressed: &[u8], length: usize) -> Option<Vec<u8>> {
    let (mut rest, mut out) = (compressed, Vec::with_capacity(length));
    while let Some(control) = take_number(&mut rest, 1).filter(|_| out.len() <= length) {
        if control < 0x20 {
            out.extend_from_slice(take(&mut rest, control + 1)?);
            continue;
        }
        let mut count = control >> 5;
        if count == 7 {
            count += take_number(&mut rest, 1)?;
        }
        let distance = (control & 0x1F) << 8 | take_number(&mut rest, 1)?;
        let from = out.len().checked_sub(distance as usize + 1)?;
        for place in from..from + count as usize + 2 {
            out.push(out[place]);
        }
    }
    (rest.is_empty() && out.len() == length).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    /// A payload that redis-server 7.0.15 has dumped.
    const OF_REDIS: &[u8] = b"\xf5@U#!lua name=e\nredis.register_function(\"r18\", function(k, a) return {#k, #a, k, a} end)\xf5\xc3@\xb7AC\
        \x1f#!lua name=e2\nredis.register_fun\x0bction(\"s1\", \xe0\x00\x0e\x18) return 1 end) local f =\xe0\n\"\x80R \x1f\x05l(\"get F\x03\
        \"x\")@7\xa0\x1a\xe0\x08m\x00{\xc0g\x00_`\x96\x02\"s2 4@@\x05back=f \x87\x12lags={\"no-writes\"}}\xe0\x0f\xba\xe0\x08L\x003\
        \xe0\x04L\xc0\xe0\xe0\x00\xd1\xe0\x03\xae\x00s\xc0\xae\x02, 1`\xb1\xe0\x0bz\x01}}\n\x00\xdbTNK\x12\xd0\x89\x9c";

    #[test]
    fn payloads_of_redis_are_read_compressed_ones_too() {
        let codes = decode(OF_REDIS).unwrap();
        let texts: Vec<_> = codes.iter().map(|code| String::from_utf8_lossy(code)).collect();
        assert_eq!(
            texts[0],
            "#!lua name=e\nredis.register_function(\"r18\", function(k, a) return {#k, #a, k, a} end)"
        );
        assert_eq!(
            texts[1],
            "#!lua name=e2\nredis.register_function(\"s1\", function() return 1 end) local f = function() return redis.call(\"get\", \
             \"x\") end redis.register_function{function_name=\"s2\", callback=f, flags={\"no-writes\"}}\n\
             redis.register_function{function_name=\"s3\", callback=function() return redis.call(\"set\", \"x\", 1) end, \
             flags={\"no-writes\"}}"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let framed = [&[FUNCTION, 0xC3], &bytes[..]].concat();
            for bytes in [&bytes, &framed] {
                let mut out = [&bytes[..], &[10, 0]].concat();
                let checksum = crc64(&out);
                out.extend_from_slice(&checksum.to_le_bytes());
                if let Ok(codes) = decode(&out) {
                    assert!(codes.iter().map(Vec::len).sum::<usize>() <= limits::LIBRARY_BYTES_MAX as usize);
                }
            }
        }
    }

    #[test]
    fn payloads_round_trip_and_others_are_refused() {
        let codes: Vec<Vec<u8>> = [0, 1, 63, 64, 16_383, 16_384, 70_000].map(|length| vec![b'x'; length]).into();
        let payload = encode(codes.iter().map(Vec::as_slice));
        assert_eq!(decode(&payload).unwrap(), codes);
        assert_eq!(decode(&encode(std::iter::empty())).unwrap(), Vec::<Vec<u8>>::new());
        for at in 0..payload.len().min(200) {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err() && decode(&payload[..at]).is_err(), "{at}");
        }
        let sealed = |bytes: &[u8], version: u16| {
            let mut out = [bytes, &version.to_le_bytes()].concat();
            let checksum = crc64(&out);
            out.extend_from_slice(&checksum.to_le_bytes());
            out
        };
        let error = |bytes: &[u8], version| decode(&sealed(bytes, version)).unwrap_err().to_string();
        const LOADING: &str = "ERR Failed loading library data";
        assert_eq!(decode(&sealed(b"\xf5\x01a", 12)).unwrap(), [b"a"]);
        assert_eq!(error(b"\xf5\x01a", 13), "ERR DUMP payload version or checksum are wrong");
        assert_eq!(error(b"\xf6\x01a", 10), "ERR Pre-GA function format not supported");
        assert_eq!(error(b"\x00\x01a", 10), "ERR given type is not a function");
        for bytes in [
            &b"\xf5"[..],
            b"\xf5\x02a",
            b"\xf5\xc0\x01",
            b"\xf5\x82\x01",
            b"\xf5\x80\xff\xff\xff\xff",
            b"\xf5\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            // Compressed: a reference before the beginning, bytes that are missing, too many and too few of them.
            b"\xf5\xc3\x02\x03\x20\x00",
            b"\xf5\xc3\x02\x05\x04a",
            b"\xf5\xc3\x02\x01\x01ab",
            b"\xf5\xc3\x03\x05\x01ab",
            b"\xf5\xc3\x05\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x00a\xe0\xff\x00",
        ] {
            assert_eq!(error(bytes, 10), LOADING, "{bytes:?}");
        }
        let refused = too_much().to_string();
        let none = |count: u32| [&b"\xf5\x00"[..]].repeat(count as usize).concat();
        assert_eq!(decode(&sealed(&none(limits::LIBRARIES_MAX), 10)).unwrap().len(), limits::LIBRARIES_MAX as usize);
        assert_eq!(error(&none(limits::LIBRARIES_MAX + 1), 10), refused);
        // So many bytes are not even looked at.
        let bytes = vec![1; limits::LIBRARY_PAYLOAD_BYTES_MAX + 1];
        assert_eq!(decode(&bytes).unwrap_err().to_string(), refused);
        assert_eq!(decode(&bytes[1..]).unwrap_err().to_string(), "ERR DUMP payload version or checksum are wrong");
        assert_eq!(decode(&sealed(b"\xf5\xc3\x04\x05\x00a\x40\x00", 10)).unwrap(), [b"aaaaa"]);
    }
}
