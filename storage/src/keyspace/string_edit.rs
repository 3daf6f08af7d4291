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

    /// Overwrites from `offset` on; a gap is filled with zero bytes.
    pub fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        let start = self.header_bytes + offset;
        if self.row.len() < start + bytes.len() {
            self.row.resize(start + bytes.len(), 0);
        }
        self.row[start..start + bytes.len()].copy_from_slice(bytes);
    }
}
