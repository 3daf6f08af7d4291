//! The place of the binary that the tests run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

/// The binary `basalt` that was built beside the tests, with the same profile; `BASALT_TESTS_BINARY` names another one.
///
/// # Panics
/// When there is none, or one that is older than its sources.
pub fn basalt() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = env::var_os("BASALT_TESTS_BINARY") {
            return PathBuf::from(binary);
        }
        let test = env::current_exe().expect("a process knows its program");
        // target/release/deps/all-0123456789abcdef
        let built = test.parent().and_then(Path::parent).expect("cargo puts tests two directories deep");
        let binary = built.join("basalt");
        let made = modified(&binary).unwrap_or_else(|| panic!("there is no {}: run make build", binary.display()));
        let newer = sources(&built.join("basalt.d")).into_iter().find(|source| modified(source) > Some(made));
        assert!(
            newer.is_none(),
            "{} is older than {}: run make build",
            binary.display(),
            newer.unwrap_or_default().display()
        );
        binary
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// The files that cargo says the binary was made of: `target: source source ...`, with spaces in names escaped.
fn sources(list: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(list).unwrap_or_default();
    let names = text.split_once(": ").map_or("", |(_, names)| names);
    let names = names.trim_end().replace("\\ ", "\0");
    names.split(' ').map(|name| PathBuf::from(name.replace('\0', " "))).collect()
}
