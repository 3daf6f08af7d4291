//! Rules of the sources that the compiler does not check: which folder uses which, how wide comments are, how docs begin, and where
//! bounds stand.
//!
//! These tests read files and start nothing. `arrows.rs` has the list of what may use what, `widths.rs` what is too wide,
//! `voice.rs` how docs begin, `bounds.rs` the bounds outside of `limits.rs`.

#![forbid(unsafe_code)]

mod arrows;
mod bounds;
mod code;
mod graph;
mod uses;
mod voice;
mod widths;

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the root of the repository: cargo runs a test in the folder of its crate. The folder that it was built in may be another
/// clone's, where builds are kept for several.
fn root() -> PathBuf {
    let folder = std::env::current_dir().expect("it was started somewhere");
    folder.parent().expect("this crate is a folder of the workspace").to_owned()
}

/// Returns every Rust source below `folder`, in the order of its names, as paths below the root.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder that can be listed").path();
            if path.is_dir() {
                // What fuzzing and builds leave is nobody's source.
                if path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root()).expect("it was found below the root").to_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there are no sources in {folder}");
    found
}

/// Reads a source that [`sources`] has found.
fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with all of `problems`, one a line.
#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} to mend:\n{}\n", problems.len(), problems.join("\n"));
}
