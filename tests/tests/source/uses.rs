//! Users and used: the arrows between the rooms of a crate, and between crates, as the sources have them.
//!
//! A room is a folder of `src`, with all that is below it, or a file that lies in `src` itself. The crate's front door (`lib.rs`)
//! is none; what it gives a shorter name counts as use of the room that the name comes from. Tests may use what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::code::{is_word, without_comments, without_tests, words};
use crate::{read, sources};

/// An arrow, and a place that makes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Use {
    /// The room or crate that uses.
    pub from: String,
    /// The one that is used.
    pub to: String,
    /// File and line, as `path:line`.
    pub place: String,
}

/// Returns every use of one room by another in the crate whose folder is `name`.
pub fn between_rooms(name: &str) -> Vec<Use> {
    let src = Path::new(name).join("src");
    let files = production(&sources(&format!("{name}/src")));
    let rooms: BTreeSet<String> = files.keys().map(|path| room(path, &src)).filter(|room| room != "lib").collect();
    let shorter = files.get(&src.join("lib.rs")).map(|door| shorter_names(door)).unwrap_or_default();
    let mut uses = Vec::new();
    for (path, code) in &files {
        let from = room(path, &src);
        if from == "lib" {
            continue;
        }
        for (used, line) in used_names(code, &format!("basalt_{name}"), depth(path, &src)) {
            let to = if rooms.contains(used) { Some(used) } else { shorter.get(used).map(String::as_str) };
            if let Some(to) = to.filter(|&to| to != from) {
                uses.push(Use { from: from.clone(), to: to.to_owned(), place: format!("{}:{line}", path.display()) });
            }
        }
    }
    uses
}

/// Returns every use of one of `crates`, each named by its folder, by the `src` of another.
pub fn between_crates(crates: &[&'static str]) -> Vec<Use> {
    let mut uses = Vec::new();
    let name = |folder: &'static str| folder.rsplit('/').next().unwrap_or(folder);
    let names: Vec<&str> = crates.iter().copied().map(name).collect();
    for (&folder, &from) in crates.iter().zip(&names) {
        for (path, code) in production(&sources(&format!("{folder}/src"))) {
            for (line, text) in code.lines().enumerate() {
                let named = words(text).filter_map(|word| word.strip_prefix("basalt_"));
                for to in named.filter(|&to| to != from && names.contains(&to)) {
                    let place = format!("{}:{}", path.display(), line + 1);
                    uses.push(Use { from: from.to_owned(), to: to.to_owned(), place });
                }
            }
        }
    }
    uses
}

/// The code of those `files` that are not of tests alone.
fn production(files: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    let mut production = BTreeMap::new();
    let mut tests = Vec::new();
    for path in files {
        let (code, modules) = without_tests(&without_comments(&read(path)));
        let is_door = ["lib.rs", "main.rs", "mod.rs"].iter().any(|door| path.ends_with(door));
        let folder = if is_door { path.with_file_name("") } else { path.with_extension("") };
        tests.extend(modules.iter().map(|module| folder.join(module)));
        production.insert(path.clone(), code);
    }
    // A test's module is one file, or a folder of them.
    production.retain(|path, _| !tests.iter().any(|test| path.starts_with(test) || path.with_extension("") == *test));
    production
}

fn room(path: &Path, src: &Path) -> String {
    let below = path.strip_prefix(src).expect("it was found there");
    let first = Path::new(below.components().next().expect("a file has a name").as_os_str());
    first.with_extension("").display().to_string()
}

/// Number of `super` that lead from the module of `path` to the root of its crate.
fn depth(path: &Path, src: &Path) -> usize {
    let parts = path.strip_prefix(src).expect("it was found there").components().count();
    if path.ends_with("mod.rs") { parts - 1 } else { parts }
}

/// Names that `pub use` in the front door shortens, each with the room that it comes from.
fn shorter_names(door: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for statement in door.split(';').filter_map(|item| item.split_once("pub use ")) {
        let mut words = words(statement.1);
        let Some(room) = words.next() else { continue };
        names.extend(words.map(|name| (name.to_owned(), room.to_owned())));
    }
    names
}

/// The names right below the root of the crate that `code` uses, with the line of each. The root is reached as `crate::`, by the
/// crate's own name, or with as many `super::` as the module is deep.
fn used_names<'a>(code: &'a str, crate_name: &str, depth: usize) -> Vec<(&'a str, usize)> {
    let supers = "super::".repeat(depth);
    let roots = [String::from("crate::"), format!("{crate_name}::"), supers];
    let mut used = Vec::new();
    for root in &roots {
        for (at, _) in code.match_indices(root.as_str()) {
            // `super::` in the midst of more of them leads elsewhere, and `xcrate::` is another name.
            if code[..at].ends_with(is_word) || code[..at].ends_with("super::") {
                continue;
            }
            let begin = at + root.len();
            let line = |name: &str| code[..name.as_ptr() as usize - code.as_ptr() as usize].matches('\n').count() + 1;
            used.extend(first_names(&code[begin..]).into_iter().map(|name| (name, line(name))));
        }
    }
    used.sort_by_key(|&(_, line)| line);
    used
}

/// The first name of a path, or the first names of all paths in `{…}`.
fn first_names(path: &str) -> Vec<&str> {
    let Some(group) = path.trim_start().strip_prefix('{') else {
        return words(path).next().filter(|_| path.starts_with(is_word)).into_iter().collect();
    };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut begin = 0;
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(words(&group[begin..at]).next());
                begin = at + 1;
                if char == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

#[test]
fn names_below_the_root_are_found() {
    let code = "use crate::a::{b, c};\nuse crate::{\n    d::{e, f},\n    g,\n};\nfn h() { super::super::i(super::j,\n                basalt_x::k, xcrate::l) }\n";
    assert_eq!(used_names(code, "basalt_x", 2), [("a", 1), ("d", 3), ("g", 4), ("i", 6), ("k", 7)]);
    assert_eq!(used_names("use super::a;\nuse super::super::b;", "basalt_x", 1), [("a", 1), ("super", 2)]);
}

#[test]
fn names_of_the_front_door_lead_to_their_rooms() {
    let names = shorter_names("mod a;\npub use a::{B, C as D};\npub use e::F;\n");
    let found = |name: &str| names.get(name).map(String::as_str);
    assert_eq!((found("B"), found("D"), found("F"), found("G")), (Some("a"), Some("a"), Some("e"), None));
}
