//! A string that is changed in place.

/// The string that [`Keyspace::edit_string`](super::Keyspace::edit_string) changes in place.
pub struct StringEdit<'a> {
    pub(super) row: &'a mut Vec<u8>,
    pub(super) header_bytes: usize,
}

impl StringEdit<'_> {
    /// The string as it is.
    pub fn bytes(&self) -> &[u8] {
        &self.row[self.header_bytes..]
    }

    /// Adds `bytes` at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        self.row.extend_from_slice(bytes);
    }

    /// Makes it `length` bytes long at least; what is new is zero.
    pub fn grow(&mut self, length: usize) {
        let row_bytes = self.header_bytes + length;
        if self.row.len() < row_bytes {
            self.row.resize(row_bytes, 0);
        }
    }

    /// The string as it is, to be overwritten.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.row[self.header_bytes..]
    }

    /// Overwrites from `offset` on; a gap is filled with zero bytes.
    pub fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        self.grow(offset + bytes.len());
        self.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}
