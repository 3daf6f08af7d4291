//! The size that a payload has when its pieces are not compressed, before anybody reads it.

use crate::reader::{Length, Reader};
use crate::{Bounds, Result, kind};

/// Bytes that the pieces of `payload` say they have uncompressed, beside those of the payload itself: as far as it can be read,
/// and whatever is wrong with it. Takes time for each piece, not for each byte.
pub fn inflated_bytes(payload: &[u8]) -> usize {
    let mut reader = Reader::new(payload, Bounds { string_bytes: 0, collection_bytes: 0 });
    let mut total = 0;
    // What ends it early is found by who reads it.
    let _ = count(&mut reader, &mut total);
    total
}

fn count(reader: &mut Reader<'_>, total: &mut usize) -> Result<()> {
    let encoding = reader.byte()?;
    let pieces = match encoding {
        kind::LIST | kind::SET | kind::ZSET | kind::ZSET_2 | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
            reader.length()?
        }
        kind::HASH | kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
            reader.length()?.saturating_mul(2)
        }
        _ => 1,
    };
    for _ in 0..pieces {
        if encoding == kind::LIST_QUICKLIST_2 {
            reader.length()?;
        }
        *total = total.saturating_add(skip_string(reader)?);
        match encoding {
            kind::ZSET_2 => drop(reader.take(8)?),
            kind::ZSET => match reader.byte()? {
                253.. => {}
                length => drop(reader.take(length.into())?),
            },
            _ => {}
        }
    }
    Ok(())
}

/// Skips a string; returns how many bytes it has if it is compressed.
fn skip_string(reader: &mut Reader<'_>) -> Result<usize> {
    match reader.length_or_encoding()? {
        Length::Plain(length) => reader.take(usize::try_from(length).unwrap_or(usize::MAX)).map(|_| 0),
        Length::Encoded(encoding @ 0..=2) => reader.take(1 << encoding).map(|_| 0),
        Length::Encoded(_) => {
            let (compressed, length) = (reader.length()?, reader.length()?);
            reader.take(usize::try_from(compressed).unwrap_or(usize::MAX))?;
            Ok(usize::try_from(length).unwrap_or(usize::MAX))
        }
    }
}
