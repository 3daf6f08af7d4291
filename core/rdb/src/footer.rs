//! The end of a payload: the version of the format, and a checksum of all before it.
//!
//! ```text
//! payload   [value …][version u16 LE][CRC-64 of all before it, u64 LE]
//! ```

use crc::{CRC_64_REDIS, Crc, Table};

use crate::limits::{VERSION_NEWEST, VERSION_WRITTEN};
use crate::{Error, Result};

const VERSION_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 8;

static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The value in `payload`.
///
/// # Errors
/// [`Error::Footer`] for another version of the format and for other bytes than those that were written.
pub(crate) fn open(payload: &[u8]) -> Result<&[u8]> {
    let (rest, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Error::Footer)?;
    let (value, version) = rest.split_last_chunk::<VERSION_BYTES>().ok_or(Error::Footer)?;
    if u16::from_le_bytes(*version) > VERSION_NEWEST || CHECKSUM.checksum(rest) != u64::from_le_bytes(*checksum) {
        return Err(Error::Footer);
    }
    Ok(value)
}

/// Ends the payload `value`.
pub(crate) fn seal(mut value: Vec<u8>) -> Vec<u8> {
    value.extend_from_slice(&VERSION_WRITTEN.to_le_bytes());
    let checksum = CHECKSUM.checksum(&value);
    value.extend_from_slice(&checksum.to_le_bytes());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_opens_as_it_was_sealed_and_no_other_does() {
        let sealed = seal(b"\0\xC0\x01".to_vec());
        assert_eq!(sealed[3..5], [10, 0]);
        assert_eq!(open(&sealed), Ok(&b"\0\xC0\x01"[..]));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(open(&damaged), Err(Error::Footer), "{at}");
        }
        assert_eq!(open(b""), Err(Error::Footer));
        assert_eq!(open(&sealed[..9]), Err(Error::Footer));
    }

    #[test]
    fn a_newer_version_is_not_read() {
        for (version, is_read) in [(1u16, true), (11, true), (12, false), (u16::MAX, false)] {
            let mut payload = [b"\0\xC0\x01", &version.to_le_bytes()[..]].concat();
            let checksum = CHECKSUM.checksum(&payload);
            payload.extend_from_slice(&checksum.to_le_bytes());
            assert_eq!(open(&payload).is_ok(), is_read, "{version}");
        }
    }
}
