//! Passwords: only what SHA-256 makes of them is kept, as in Redis.
//!
//! What a newcomer would get wrong: a hash that is fast is no protection for a weak password whose hash somebody has. Passwords are
//! to be drawn, by `ACL GENPASS`, and not to be thought of.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// Bytes of a hash.
const BYTES: usize = 32;

/// The hash of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PasswordHash([u8; BYTES]);

impl PasswordHash {
    /// The hash of `password`.
    pub(super) fn of(password: &[u8]) -> PasswordHash {
        PasswordHash(Sha256::digest(password).into())
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub(super) fn read(digits: &[u8]) -> Option<PasswordHash> {
        if digits.len() != 2 * BYTES {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; BYTES];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(PasswordHash(hash))
    }

    /// As 64 hexadecimal digits.
    pub(super) fn hex(&self) -> String {
        let mut text = String::with_capacity(2 * BYTES);
        for byte in self.0 {
            // A String takes every write.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PasswordHash")
    }
}

/// Returns whether `password` is one of those that `hashes` are of. All are compared, each in a time that does not tell how much
/// of it is right.
pub(super) fn is_one_of(password: &[u8], hashes: &[PasswordHash]) -> bool {
    let given = PasswordHash::of(password);
    let found = hashes.iter().fold(Choice::from(0), |found, hash| found | hash.0.ct_eq(&given.0));
    found.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash() {
        // echo -n secret | sha256sum
        let text = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let hash = PasswordHash::of(b"secret");
        assert_eq!((hash.hex().as_str(), PasswordHash::read(text.as_bytes())), (text, Some(hash)));
        assert!(is_one_of(b"secret", &[PasswordHash::of(b"other"), hash]));
        assert!(!is_one_of(b"Secret", &[PasswordHash::of(b"other"), hash]) && !is_one_of(b"", &[]));
        for text in ["", &text[1..], &text.to_uppercase(), &text.replace('2', "g")] {
            assert_eq!(PasswordHash::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(format!("{hash:?}"), "PasswordHash");
    }
}
