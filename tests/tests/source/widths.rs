//! Comments are at most [`COLUMNS`] wide.
//!
//! rustfmt would say so with `comment_width`, which only its nightly versions know.

use std::path::PathBuf;

use crate::{assert_none, read, sources};

/// The width of a comment line, its indentation included.
const COLUMNS: usize = 132;

#[test]
fn comments_keep_to_their_width() {
    let mut problems = Vec::new();
    for path in all_sources() {
        let wide = too_wide(&read(&path));
        problems.extend(wide.iter().map(|(line, columns)| {
            format!("{}:{line}: a comment of {columns} columns, {COLUMNS} are the most", path.display())
        }));
    }
    assert_none(&problems);
}

fn all_sources() -> impl Iterator<Item = PathBuf> {
    ["bench", "core", "fuzz", "net", "raft", "storage", "tests"].into_iter().flat_map(sources)
}

/// The comment lines of `source` that are too wide: their numbers and widths.
fn too_wide(source: &str) -> Vec<(usize, usize)> {
    let comments = source.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
    comments.map(|(index, line)| (index + 1, line.chars().count())).filter(|&(_, columns)| columns > COLUMNS).collect()
}

#[test]
fn a_wide_comment_is_found_and_wide_code_is_not() {
    let source = format!(
        "// {}\n    /// {}\nlet x = \"{}\";\n// {}\n",
        "ä".repeat(129),
        "b".repeat(124),
        "c".repeat(140),
        "d".repeat(130)
    );
    assert_eq!(too_wide(&source), [(4, 133)]);
}
