//! Comments are at most [`COLUMNS`] wide.
//!
//! rustfmt would say so with `comment_width`, which only its nightly versions know.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::{assert_none, read, sources};

/// The width of a comment line, its indentation included.
const COLUMNS: usize = 132;

/// The files that have wider comments, and how many lines of them. The list only becomes shorter.
const TOO_WIDE: &[(&str, usize)] = &[
    ("bench/src/compare/percentile_plot.rs", 1),
    ("bench/src/steady/generator.rs", 1),
    ("core/src/commands/keys.rs", 1),
    ("core/src/config/table.rs", 1),
    ("core/src/core.rs", 1),
    ("core/src/limits.rs", 4),
    ("core/src/mailbox.rs", 1),
    ("core/src/memory_budget.rs", 3),
    ("core/src/outbox.rs", 2),
    ("core/src/probe.rs", 1),
    ("core/src/shard/execution.rs", 1),
    ("core/src/shard/mod.rs", 1),
    ("core/src/shard/proposing.rs", 1),
    ("storage/src/keyspace/probe.rs", 2),
    ("storage/src/log/raft_log.rs", 1),
    ("storage/src/log/warm.rs", 2),
    ("storage/src/rows.rs", 2),
    ("storage/src/store/cold_reader.rs", 2),
    ("storage/src/store/database.rs", 1),
    ("storage/src/store/kept_rows.rs", 1),
    ("storage/src/store/mod.rs", 2),
    ("storage/src/store/model_test.rs", 1),
    ("storage/src/store/row_cache.rs", 3),
    ("storage/src/store/trial.rs", 3),
    ("tests/src/client.rs", 1),
    ("tests/src/node.rs", 1),
    ("tests/src/wait.rs", 1),
    ("tests/tests/all/damage.rs", 1),
    ("tests/tests/all/disk_trouble.rs", 2),
    ("tests/tests/all/stall.rs", 1),
];

#[test]
fn comments_keep_to_their_width() {
    let mut allowed: BTreeMap<&str, usize> = TOO_WIDE.iter().copied().collect();
    let mut problems = Vec::new();
    for path in all_sources() {
        let path_text = path.display().to_string();
        let wide = too_wide(&read(&path));
        problems.extend(differences(&path_text, &wide, allowed.remove(path_text.as_str()).unwrap_or(0)));
    }
    problems.extend(allowed.keys().map(|path| format!("{path} is not there any more: strike it out of TOO_WIDE")));
    assert_none(&problems);
}

#[test]
#[ignore = "prints the rows of TOO_WIDE as the sources have them: for who moves files, or merges branches"]
fn rows_as_the_sources_have_them() {
    for path in all_sources() {
        let count = too_wide(&read(&path)).len();
        if count > 0 {
            println!("    ({:?}, {count}),", path.display().to_string());
        }
    }
}

fn all_sources() -> impl Iterator<Item = PathBuf> {
    ["bench", "core", "fuzz", "net", "raft", "storage", "tests"].into_iter().flat_map(sources)
}

/// What is to be said of a file in which comments are too `wide`, and `allowed` of them may be.
fn differences(path: &str, wide: &[(usize, usize)], allowed: usize) -> Vec<String> {
    let there = wide.len();
    match there.cmp(&allowed) {
        Ordering::Equal => Vec::new(),
        Ordering::Less => vec![format!(
            "{path}: {there} comments are wider than {COLUMNS}, no longer {allowed}. Say so in TOO_WIDE of tests/tests/source/widths.rs"
        )],
        Ordering::Greater => wide
            .iter()
            .map(|(line, columns)| {
                format!(
                    "{path}:{line}: a comment of {columns} columns. At most {COLUMNS}, but for {allowed} in this file"
                )
            })
            .collect(),
    }
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

#[test]
fn more_wide_comments_are_told_by_line_and_fewer_by_number() {
    let wide = [(3, 140), (9, 133)];
    assert_eq!(differences("a.rs", &wide, 2), [] as [String; 0]);
    let more = differences("a.rs", &wide, 1);
    assert!(more.len() == 2 && more[1].starts_with("a.rs:9: a comment of 133 columns"), "{more:?}");
    let fewer = differences("a.rs", &wide, 3);
    assert!(fewer.len() == 1 && fewer[0].starts_with("a.rs: 2 comments"), "{fewer:?}");
}
