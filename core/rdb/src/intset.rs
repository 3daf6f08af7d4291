//! Intsets: sets of integers as one array (`intset.c` of Redis).
//!
//! ```text
//! intset    [bytes of a member u32 LE: 2, 4 or 8][members u32 LE]{member, LE}…        they ascend
//! ```

use crate::{Error, Result};

const HEADER_BYTES: usize = 8;

/// Shows `visit` each member.
///
/// # Errors
/// [`Error::Malformed`] if `intset` is none, or has no members; those of `visit`.
pub(crate) fn each(intset: &[u8], visit: &mut dyn FnMut(i64) -> Result<()>) -> Result<()> {
    let (header, rest) = intset.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Malformed)?;
    let [w0, w1, w2, w3, c0, c1, c2, c3] = *header;
    let (width, count) = (u32::from_le_bytes([w0, w1, w2, w3]) as usize, u32::from_le_bytes([c0, c1, c2, c3]));
    if ![2, 4, 8].contains(&width) || count == 0 || rest.len() as u64 != width as u64 * u64::from(count) {
        return Err(Error::Malformed);
    }
    let mut before = None;
    for bytes in rest.chunks_exact(width) {
        let fill = if bytes[width - 1] & 0x80 == 0 { 0 } else { 0xFF };
        let mut all = [fill; 8];
        all[..width].copy_from_slice(bytes);
        let member = i64::from_le_bytes(all);
        if before.is_some_and(|before| before >= member) {
            return Err(Error::Malformed);
        }
        visit(member)?;
        before = Some(member);
    }
    Ok(())
}

/// The intset of `members`, which ascend.
pub(crate) fn make(members: &[i64]) -> Vec<u8> {
    let fits = |low: i64, high: i64| members.iter().all(|member| (low..=high).contains(member));
    let width = match () {
        () if fits(i16::MIN.into(), i16::MAX.into()) => 2,
        () if fits(i32::MIN.into(), i32::MAX.into()) => 4,
        () => 8,
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + width * members.len());
    bytes.extend_from_slice(&(width as u32).to_le_bytes());
    bytes.extend_from_slice(&(members.len() as u32).to_le_bytes());
    members.iter().for_each(|member| bytes.extend_from_slice(&member.to_le_bytes()[..width]));
    bytes
}
