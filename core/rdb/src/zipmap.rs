//! Zipmaps: small hashes before Redis 2.6 (`zipmap.c` of Redis). They are read only.
//!
//! ```text
//! zipmap    [fields u8, 254 and more = unknown]{[length][field …][length][free u8][value …][free bytes …]}…[0xFF]
//! length    [u8 below 254] | [0xFE][u32 LE]
//! ```

use crate::{Error, Result};

const END: u8 = 0xFF;
const UNKNOWN_COUNT: u8 = 254;

/// Visits a field and its value, until it fails.
type VisitPair<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Shows `visit` each field with its value.
///
/// # Errors
/// [`Error::Malformed`] if `zipmap` is none; those of `visit`.
pub(crate) fn each(zipmap: &[u8], visit: VisitPair<'_>) -> Result<()> {
    let (&count, mut rest) = zipmap.split_first().ok_or(Error::Malformed)?;
    let mut seen = 0usize;
    while !matches!(rest, [END]) {
        let field = string(&mut rest, false)?;
        let value = string(&mut rest, true)?;
        visit(field, value)?;
        seen += 1;
    }
    if count >= UNKNOWN_COUNT || usize::from(count) == seen { Ok(()) } else { Err(Error::Malformed) }
}

fn string<'a>(rest: &mut &'a [u8], has_free: bool) -> Result<&'a [u8]> {
    let (length, behind) = match rest.split_first().ok_or(Error::Malformed)? {
        (&0xFE, behind) => {
            let (length, behind) = behind.split_first_chunk().ok_or(Error::Malformed)?;
            (u32::from_le_bytes(*length) as usize, behind)
        }
        (&END, _) => return Err(Error::Malformed),
        (&length, behind) => (usize::from(length), behind),
    };
    let (free, behind) = match (has_free, behind.split_first()) {
        (false, _) => (0, behind),
        (true, Some((&free, behind))) => (usize::from(free), behind),
        (true, None) => return Err(Error::Malformed),
    };
    let (string, behind) = behind.split_at_checked(length).ok_or(Error::Malformed)?;
    *rest = behind.get(free..).ok_or(Error::Malformed)?;
    Ok(string)
}
