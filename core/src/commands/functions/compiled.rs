//! Libraries in the form in which they run, for each thread that runs some: a core, or one that executes long reads.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use basalt_lua::{Called, Host, Library as Compiled, SHORT_SCRIPT_WORK};
use basalt_storage::keyspace::{DIGEST_BYTES, Function, Library};
use sha2::{Digest, Sha256};

use super::metadata::read_metadata;
use crate::commands::CommandError;
use crate::commands::scripts::{log_line, with_engine};
use crate::limits;

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Compiled libraries, the one that was used last at the end.
#[derive(Default)]
struct Kept {
    by_digest: HashMap<[u8; DIGEST_BYTES], Rc<Compiled>>,
    order: VecDeque<[u8; DIGEST_BYTES]>,
    heap_bytes: usize,
}

impl Kept {
    fn get(&mut self, digest: &[u8; DIGEST_BYTES]) -> Option<Rc<Compiled>> {
        let found = self.by_digest.get(digest)?.clone();
        if self.order.back() != Some(digest) {
            self.order.retain(|other| other != digest);
            self.order.push_back(*digest);
        }
        Some(found)
    }

    fn add(&mut self, digest: [u8; DIGEST_BYTES], compiled: Rc<Compiled>) {
        if self.by_digest.contains_key(&digest) {
            return;
        }
        self.heap_bytes += compiled.heap_bytes();
        self.order.push_back(digest);
        self.by_digest.insert(digest, compiled);
        while self.order.len() > 1
            && (self.order.len() > limits::COMPILED_LIBRARIES_MAX
                || self.heap_bytes > limits::COMPILED_LIBRARY_BYTES_MAX)
        {
            let oldest = self.order.pop_front().expect("there is more than one");
            let dropped = self.by_digest.remove(&oldest).expect("each of the order is kept");
            self.heap_bytes -= dropped.heap_bytes();
        }
    }
}

/// A host that has nothing but the log, or not even that.
struct LogOnly {
    is_heard: bool,
}

impl Host for LogOnly {
    fn call(&mut self, _: &[&[u8]], _: bool, _: usize, _: &mut u64, _: &mut Vec<u8>) -> Called {
        Called::Stop
    }

    fn may_call(&mut self, _: &[&[u8]], _: &mut u64) -> Option<bool> {
        None
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        if self.is_heard {
            log_line(level, text);
        }
    }
}

/// The beginning of SHA-256: of two libraries with one digest a replica would run the one, and another the other, and those of
/// SHA-1 can be bought.
fn digest_of(code: &[u8]) -> [u8; DIGEST_BYTES] {
    let digest = Sha256::digest(code);
    std::array::from_fn(|index| digest[index])
}

fn load(code: &[u8], begin: usize, work: u64, is_heard: bool) -> Result<Compiled, CommandError> {
    let mut host = LogOnly { is_heard };
    let loaded = with_engine(|engine| engine.load(&code[begin..], work, &mut host));
    loaded.map_err(|error| CommandError::owned(String::from_utf8_lossy(&error).into_owned()))
}

/// Loads a library that is to be kept, with so much work; what it logs is heard.
///
/// # Errors
/// Redis' texts for what is wrong with it.
pub(super) fn learn(code: &[u8], work: u64) -> Result<Library, CommandError> {
    let metadata = read_metadata(code)?;
    let check = |bytes: usize| match bytes as u64 {
        0..=limits::ONE_LIBRARY_BYTES_MAX => Ok(()),
        _ => Err(CommandError::owned(format!("ERR a library has at most {} bytes", limits::ONE_LIBRARY_BYTES_MAX))),
    };
    check(code.len())?;
    let compiled = load(code, metadata.end, work.min(SHORT_SCRIPT_WORK), true)?;
    let functions = compiled.functions().iter().map(|function| Function {
        name: function.name.clone(),
        flags: function.flags.bits(),
        description: function.description.clone(),
    });
    let digest = digest_of(code);
    let library = Library {
        name: metadata.name,
        digest,
        work: compiled.work(),
        heap_bytes: compiled.heap_bytes() as u64,
        functions: functions.collect(),
        code: code.to_vec(),
    };
    check(library.encode().len())?;
    KEPT.with(|kept| kept.borrow_mut().add(digest, Rc::new(compiled)));
    Ok(library)
}

/// The compiled form of a library that was loaded before, on this replica or another.
///
/// # Errors
/// If it cannot be loaded any more.
pub(super) fn compiled(library: &Library) -> Result<Rc<Compiled>, CommandError> {
    if let Some(found) = KEPT.with(|kept| kept.borrow_mut().get(&library.digest)) {
        return Ok(found);
    }
    let begin = read_metadata(&library.code)?.end;
    let compiled = Rc::new(load(&library.code, begin, SHORT_SCRIPT_WORK, false)?);
    KEPT.with(|kept| kept.borrow_mut().add(library.digest, compiled.clone()));
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_kept_and_the_others_are_loaded_again() {
        let count = limits::COMPILED_LIBRARIES_MAX + 10;
        let libraries: Vec<Library> = (0..count)
            .map(|number| {
                let code = format!("#!lua name=l\nredis.register_function('f{number}', function() end)");
                learn(code.as_bytes(), SHORT_SCRIPT_WORK).unwrap()
            })
            .collect();
        let kept = || KEPT.with(|kept| kept.borrow().order.len());
        assert_eq!(kept(), limits::COMPILED_LIBRARIES_MAX);
        for (number, library) in libraries.iter().enumerate() {
            assert_eq!(compiled(library).unwrap().functions()[0].name, format!("f{number}").into_bytes());
        }
        assert_eq!(kept(), limits::COMPILED_LIBRARIES_MAX);
        let (sum, bytes) = KEPT.with(|kept| {
            let kept = kept.borrow();
            (kept.by_digest.values().map(|library| library.heap_bytes()).sum::<usize>(), kept.heap_bytes)
        });
        assert_eq!(sum, bytes);
    }

    #[test]
    fn the_digest_is_the_beginning_of_sha_256_of_all_of_the_code() {
        let code = b"#!lua name=l\nredis.register_function('f', function() end)";
        let library = learn(code, SHORT_SCRIPT_WORK).unwrap();
        let digits: String = library.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((&digits[..], &library.code[..]), ("d8510a772688603c3c6739b03da4d0d5827d4f0f", &code[..]));
    }
}
