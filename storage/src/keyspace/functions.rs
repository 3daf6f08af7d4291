//! Rows of functions: the libraries that clients have loaded, each with its code, and for each function the library that has it.
//!
//! ```text
//! totals    [0xFB][0x00]                          → [format u8 = 1][libraries u32][functions u32][bytes u64][heap u64][work u64]
//! library   [0xFB][0x01][name …]                  → a library, see [`Library::encode`]
//! function  [0xFB][0x02][name in lower case …]    → [format u8 = 1][flags u8][library …]
//! ```
//!
//! All numbers are little-endian.
//!
//! What a newcomer would get wrong: these rows are no key's. No read, walk or count of keys meets them, and no flush deletes them.

use std::ops::{Bound, ControlFlow};

use super::Keyspace;
use crate::cold_read::Direction;
use crate::{Error, Result, Rows};

const FUNCTION_SPACE: u8 = 0xFB;
const TOTALS: u8 = 0x00;
const LIBRARY: u8 = 0x01;
const FUNCTION: u8 = 0x02;
const FORMAT: u8 = 1;
/// The length of a description that is not there.
const NO_DESCRIPTION: u32 = u32::MAX;

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 20;

/// A function, as its library has registered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: Vec<u8>,
    /// Its flags, opaque to the store.
    pub flags: u8,
    /// Its purpose, in the words of the library.
    pub description: Option<Vec<u8>>,
}

/// A library: its code, and what loading it has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: Vec<u8>,
    /// A digest of the code, by which a compiled form of it is found.
    pub digest: [u8; DIGEST_BYTES],
    /// Work that loading it takes.
    pub work: u64,
    /// Bytes of the objects that it has once it is loaded.
    pub heap_bytes: u64,
    /// Its functions, in the order in which it registers them.
    pub functions: Vec<Function>,
    /// The code, from the first line on.
    pub code: Vec<u8>,
}

/// The sums of all libraries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FunctionTotals {
    /// Libraries.
    pub libraries: u32,
    /// Functions.
    pub functions: u32,
    /// Bytes of the libraries as they are kept.
    pub bytes: u64,
    /// Bytes of their objects.
    pub heap_bytes: u64,
    /// Work that loading them takes.
    pub work: u64,
}

/// Takes the bytes of a record apart.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(length as usize)
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&u32::try_from(text.len()).expect("a text of a library has a bound").to_le_bytes());
    out.extend_from_slice(text);
}

impl Library {
    /// Writes it as bytes, where a text is `[length u32][bytes …]`, and a description that is not there has a length of all ones:
    ///
    /// ```text
    /// [format u8 = 1][digest 20 bytes][work u64][heap u64][name, a text][functions u32]
    /// ([flags u8][name, a text][description, a text])* [code …]
    /// ```
    ///
    /// # Panics
    /// If a text or the number of functions does not fit.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&self.work.to_le_bytes());
        out.extend_from_slice(&self.heap_bytes.to_le_bytes());
        put_text(&mut out, &self.name);
        let count = u32::try_from(self.functions.len()).expect("the functions of a library have a bound");
        out.extend_from_slice(&count.to_le_bytes());
        for function in &self.functions {
            out.push(function.flags);
            put_text(&mut out, &function.name);
            match &function.description {
                Some(description) => put_text(&mut out, description),
                None => out.extend_from_slice(&NO_DESCRIPTION.to_le_bytes()),
            }
        }
        out.extend_from_slice(&self.code);
        out
    }

    /// Reads what [`Library::encode`] wrote; `None` if it is of another format.
    pub fn decode(bytes: &[u8]) -> Option<Library> {
        let mut reader = Reader(bytes);
        if reader.array::<1>()? != [FORMAT] {
            return None;
        }
        let digest = reader.array()?;
        let (work, heap_bytes) = (reader.u64()?, reader.u64()?);
        let name = reader.text()?.to_vec();
        let count = reader.u32()?;
        let mut functions = Vec::new();
        for _ in 0..count {
            let [flags] = reader.array()?;
            let name = reader.text()?.to_vec();
            let description = match reader.u32()? {
                NO_DESCRIPTION => None,
                length => Some(reader.bytes(length as usize)?.to_vec()),
            };
            functions.push(Function { name, flags, description });
        }
        Some(Library { name, digest, work, heap_bytes, functions, code: reader.0.to_vec() })
    }

    /// The totals of this library alone, which has so many bytes.
    fn totals(&self, bytes: usize) -> FunctionTotals {
        let functions = u32::try_from(self.functions.len()).expect("the functions of a library have a bound");
        let (heap_bytes, work) = (self.heap_bytes, self.work);
        FunctionTotals { libraries: 1, functions, bytes: bytes as u64, heap_bytes, work }
    }
}

impl FunctionTotals {
    /// These with those of a library that comes.
    #[must_use]
    pub fn with(self, library: &Library, bytes: usize) -> FunctionTotals {
        let more = library.totals(bytes);
        FunctionTotals {
            libraries: self.libraries.saturating_add(more.libraries),
            functions: self.functions.saturating_add(more.functions),
            bytes: self.bytes.saturating_add(more.bytes),
            heap_bytes: self.heap_bytes.saturating_add(more.heap_bytes),
            work: self.work.saturating_add(more.work),
        }
    }

    /// These without those of a library that goes.
    #[must_use]
    pub fn without(self, library: &Library, bytes: usize) -> FunctionTotals {
        let less = library.totals(bytes);
        FunctionTotals {
            libraries: self.libraries.saturating_sub(less.libraries),
            functions: self.functions.saturating_sub(less.functions),
            bytes: self.bytes.saturating_sub(less.bytes),
            heap_bytes: self.heap_bytes.saturating_sub(less.heap_bytes),
            work: self.work.saturating_sub(less.work),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.libraries.to_le_bytes());
        out.extend_from_slice(&self.functions.to_le_bytes());
        [self.bytes, self.heap_bytes, self.work].iter().for_each(|sum| out.extend_from_slice(&sum.to_le_bytes()));
        out
    }

    fn decode(bytes: &[u8]) -> Option<FunctionTotals> {
        let mut reader = Reader(bytes);
        let is_known = reader.array::<1>()? == [FORMAT];
        let totals = FunctionTotals {
            libraries: reader.u32()?,
            functions: reader.u32()?,
            bytes: reader.u64()?,
            heap_bytes: reader.u64()?,
            work: reader.u64()?,
        };
        (is_known && reader.0.is_empty()).then_some(totals)
    }
}

fn row(kind: u8, name: &[u8]) -> Vec<u8> {
    [&[FUNCTION_SPACE, kind], name].concat()
}

fn damaged(what: &str) -> Error {
    Error::Corruption { path: std::path::PathBuf::from("data"), detail: format!("{what} is not readable") }
}

/// The sums of all libraries in `rows`.
///
/// # Errors
/// Those of reading the row, or that it is damaged.
pub fn function_totals(rows: &(impl Rows + ?Sized)) -> Result<FunctionTotals> {
    match rows.get(&row(TOTALS, &[]))? {
        None => Ok(FunctionTotals::default()),
        Some(value) => FunctionTotals::decode(&value).ok_or_else(|| damaged("the row of all libraries")),
    }
}

/// The names of all functions in `rows`, in lower case, and their flags.
///
/// # Errors
/// Those of reading the rows.
pub fn function_names(rows: &(impl Rows + ?Sized)) -> Result<Vec<(Vec<u8>, u8)>> {
    let (from, to) = (row(FUNCTION, &[]), row(FUNCTION + 1, &[]));
    let mut found = Vec::new();
    let (lower, upper) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
    rows.scan(lower, upper, Direction::Forward, &mut |row, value| {
        if let (Some(name), [FORMAT, flags, ..]) = (row.get(2..), value) {
            found.push((name.to_vec(), *flags));
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

impl Keyspace<'_> {
    /// The sums of all libraries.
    ///
    /// # Errors
    /// Those of reading the row, or that it is damaged.
    pub fn function_totals(&self) -> Result<FunctionTotals> {
        function_totals(&*self.rows)
    }

    /// The flags of a function and the name of the library that has it, by the function's name in any case.
    ///
    /// # Errors
    /// Those of reading the row, or that it is damaged.
    pub fn function(&self, name: &[u8]) -> Result<Option<(u8, Vec<u8>)>> {
        let Some(value) = self.rows.get(&row(FUNCTION, &name.to_ascii_lowercase()))? else { return Ok(None) };
        match *value {
            [FORMAT, flags, ref library @ ..] => Ok(Some((flags, library.to_vec()))),
            _ => Err(damaged("the row of a function")),
        }
    }

    /// The library with this name, and its bytes.
    ///
    /// # Errors
    /// Those of reading the row, or that it is damaged.
    pub fn library(&self, name: &[u8]) -> Result<Option<(Library, usize)>> {
        let Some(value) = self.rows.get(&row(LIBRARY, name))? else { return Ok(None) };
        let library = Library::decode(&value).ok_or_else(|| damaged("the row of a library"))?;
        Ok(Some((library, value.len())))
    }

    /// All libraries with their bytes, by their names.
    ///
    /// # Errors
    /// Those of reading the rows, or that one is damaged.
    pub fn libraries(&self) -> Result<Vec<(Library, usize)>> {
        let (from, to) = (row(LIBRARY, &[]), row(LIBRARY + 1, &[]));
        let (mut found, mut is_damaged) = (Vec::new(), false);
        let (lower, upper) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        self.rows.scan(lower, upper, Direction::Forward, &mut |_, value| match Library::decode(value) {
            Some(library) => {
                found.push((library, value.len()));
                ControlFlow::Continue(())
            }
            None => {
                is_damaged = true;
                ControlFlow::Break(())
            }
        })?;
        if is_damaged { Err(damaged("the row of a library")) } else { Ok(found) }
    }

    /// Keeps a library, none of whose names is in use, as `bytes`: what [`Library::encode`] has made of it.
    pub fn put_library(&mut self, library: &Library, bytes: &[u8]) {
        self.rows.put(&row(LIBRARY, &library.name), bytes);
        for function in &library.functions {
            let value = [&[FORMAT, function.flags], &library.name[..]].concat();
            self.rows.put(&row(FUNCTION, &function.name.to_ascii_lowercase()), &value);
        }
    }

    /// Forgets a library.
    pub fn delete_library(&mut self, library: &Library) {
        self.rows.delete(&row(LIBRARY, &library.name));
        library
            .functions
            .iter()
            .for_each(|function| self.rows.delete(&row(FUNCTION, &function.name.to_ascii_lowercase())));
    }

    /// Sets the sums of all libraries.
    pub fn set_function_totals(&mut self, totals: FunctionTotals) {
        match totals.libraries {
            0 => self.rows.delete(&row(TOTALS, &[])),
            _ => self.rows.put(&row(TOTALS, &[]), &totals.encode()),
        }
        self.scratch.note_functions_changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryRows;
    use crate::keyspace::{Scratch, VersionSource};

    fn library(name: &str, functions: &[&str]) -> Library {
        let function =
            |name: &&str| Function { name: name.as_bytes().to_vec(), flags: 3, description: Some(b"d".to_vec()) };
        Library {
            name: name.as_bytes().to_vec(),
            digest: [7; DIGEST_BYTES],
            work: 5,
            heap_bytes: 6,
            functions: functions.iter().map(function).collect(),
            code: b"code".to_vec(),
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 5);
        let mut library = library("lib", &["Fn"]);
        library.functions.push(Function { name: b"g".to_vec(), flags: 0, description: None });
        let bytes = library.encode();
        keyspace.put_library(&library, &bytes);
        keyspace.set_function_totals(FunctionTotals::default().with(&library, bytes.len()));
        let expected = [
            &[1][..],
            &[7; 20],
            &[5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0],
            &[3, 0, 0, 0],
            b"lib",
            &[2, 0, 0, 0],
            &[3, 2, 0, 0, 0],
            b"Fn",
            &[1, 0, 0, 0],
            b"d",
            &[0, 1, 0, 0, 0],
            b"g",
            &[255, 255, 255, 255],
            b"code",
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(Library::decode(&bytes), Some(library));
        let value = |row: &[u8]| rows.get(row).unwrap().unwrap().to_vec();
        assert_eq!(value(b"\xFB\x01lib"), expected);
        assert_eq!((value(b"\xFB\x02fn"), value(b"\xFB\x02g")), (b"\x01\x03lib".to_vec(), b"\x01\0lib".to_vec()));
        let length = expected.len() as u8;
        let sums = [length, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(value(b"\xFB\0"), [&[1, 1, 0, 0, 0, 2, 0, 0, 0][..], &sums].concat());
    }

    #[test]
    fn libraries_come_and_go_and_no_flush_meets_them() {
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        let mut keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::entry(1), 0, 5);
        let (first, second) = (library("a", &["one", "TWO"]), library("b", &["three"]));
        let mut totals = FunctionTotals::default();
        for library in [&second, &first] {
            let bytes = library.encode();
            keyspace.put_library(library, &bytes);
            totals = totals.with(library, bytes.len());
            keyspace.set_function_totals(totals);
        }
        keyspace.set_string(b"k", b"v", Some(10)).unwrap();
        keyspace.flush().unwrap();
        keyspace.flush_all();
        let names: Vec<Vec<u8>> = keyspace.libraries().unwrap().into_iter().map(|(library, _)| library.name).collect();
        assert_eq!(names, [b"a", b"b"]);
        assert_eq!(keyspace.function(b"two").unwrap(), Some((3, b"a".to_vec())));
        assert_eq!(keyspace.function(b"Three").unwrap(), Some((3, b"b".to_vec())));
        assert_eq!(keyspace.function(b"a").unwrap(), None);
        assert_eq!(keyspace.library(b"b").unwrap(), Some((second.clone(), second.encode().len())));
        assert_eq!((keyspace.function_totals().unwrap(), totals.functions), (totals, 3));
        let names = [b"one".to_vec(), b"three".to_vec(), b"two".to_vec()].map(|name| (name, 3));
        assert_eq!(function_names(&*keyspace.rows).unwrap(), names);
        for library in [&first, &second] {
            keyspace.delete_library(library);
            totals = totals.without(library, library.encode().len());
        }
        keyspace.set_function_totals(totals);
        assert_eq!(totals, FunctionTotals::default());
        assert!(rows.is_empty());
        assert!(scratch.take_functions_changed() && !scratch.take_functions_changed());
    }

    #[test]
    fn damaged_rows_are_refused() {
        let bytes = library("a", &["one"]).encode();
        for length in 0..bytes.len() - 4 {
            assert_eq!(Library::decode(&bytes[..length]), None, "{length} bytes");
        }
        let (mut rows, mut scratch) = (MemoryRows::default(), Scratch::default());
        rows.put(b"\xFB\x01a", &[2]);
        rows.put(b"\xFB\x02f", &[2, 0]);
        rows.put(b"\xFB\0", &[1]);
        let keyspace = Keyspace::new(&mut rows, &mut scratch, VersionSource::none(), 0, 5);
        assert!(keyspace.library(b"a").is_err() && keyspace.libraries().is_err());
        assert!(keyspace.function(b"f").is_err() && keyspace.function_totals().is_err());
    }
}
