//! The end of a payload: the version of the format, and a checksum of all before it.
//!
//! ```text
//! payload   [value …][version u16 LE][CRC-64 of all before it, u64 LE]
//! ```

use crc::{CRC_64_REDIS, Crc, Table};

use crate::{Error, Result};

const VERSION_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 8;

static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The value in `payload`, which is of the version `version_newest` or an older one.
///
/// # Errors
/// [`Error::Footer`] for another version of the format and for other bytes than those that were written.
pub(crate) fn open(payload: &[u8], version_newest: u16) -> Result<&[u8]> {
    let (rest, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Error::Footer)?;
    let (value, version) = rest.split_last_chunk::<VERSION_BYTES>().ok_or(Error::Footer)?;
    if u16::from_le_bytes(*version) > version_newest || CHECKSUM.checksum(rest) != u64::from_le_bytes(*checksum) {
        return Err(Error::Footer);
    }
    Ok(value)
}

/// Ends the payload `value`, which is of the version `version`.
pub(crate) fn seal(mut value: Vec<u8>, version: u16) -> Vec<u8> {
    value.extend_from_slice(&version.to_le_bytes());
    let checksum = CHECKSUM.checksum(&value);
    value.extend_from_slice(&checksum.to_le_bytes());
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{VERSION_NEWEST, VERSION_NEWEST_BEFORE, VERSION_WRITTEN};

    #[test]
    fn a_payload_opens_as_it_was_sealed_and_no_other_does() {
        let sealed = seal(b"\0\xC0\x01".to_vec(), VERSION_WRITTEN);
        assert_eq!(sealed[3..5], [10, 0]);
        assert_eq!(open(&sealed, VERSION_NEWEST), Ok(&b"\0\xC0\x01"[..]));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(open(&damaged, VERSION_NEWEST), Err(Error::Footer), "{at}");
        }
        assert_eq!(open(b"", VERSION_NEWEST), Err(Error::Footer));
        assert_eq!(open(&sealed[..9], VERSION_NEWEST), Err(Error::Footer));
    }

    #[test]
    fn a_newer_version_is_not_read() {
        for (version, is_read) in [(1u16, true), (12, true), (13, false), (u16::MAX, false)] {
            let mut payload = [b"\0\xC0\x01", &version.to_le_bytes()[..]].concat();
            let checksum = CHECKSUM.checksum(&payload);
            payload.extend_from_slice(&checksum.to_le_bytes());
            assert_eq!(open(&payload, VERSION_NEWEST).is_ok(), is_read, "{version}");
            assert_eq!(open(&payload, VERSION_NEWEST_BEFORE).is_ok(), is_read && version < 12, "{version}");
        }
    }
}
