//! The bounds of a crate stand in its `limits.rs`, each with where its number comes from.
//!
//! The list of those that stand elsewhere only shrinks. Numbers that a format lays down, or that mean nothing outside of their
//! file, may stay there; all else is moved.

use crate::{assert_none, read, sources};

/// Endings of the names of bounds.
const ENDINGS: [&str; 4] = ["_MAX", "_EVERY", "_WAIT", "_RETRY"];

/// Bounds that stand outside of the `limits.rs` of their crate.
const ELSEWHERE: [(&str, &[&str]); 4] = [
    (
        "core",
        &[
            // Numbers as they are printed.
            "DIRECT_BYTES_MAX",
            "EXPONENT_MAX",
            "TEXT_BYTES_MAX",
        ],
    ),
    (
        "net",
        &[
            "CUT_REST_BYTES_MAX",
            "DROP_WAIT",
            "ECHO_WAIT",
            "EXACT_INTEGER_MAX",
            "HEADERS_BYTES_MAX",
            "INDEX_MAX",
            "ONE_BYTES_MAX",
            "PUSH_TRIES_MAX",
            "REWALK_ARGS_MAX",
        ],
    ),
    ("raft", &["DISK_FULL_RETRY", "MEMBERS_MAX", "SHUTDOWN_WAIT", "STALL_RETRY"]),
    (
        "storage",
        &[
            "BOUND_BYTES_MAX",
            "CHUNK_ROWS_MAX",
            "COLD_KEY_BYTES_MAX",
            "COLD_ROWS_MAX",
            "COMPACTION_WAIT_MAX",
            "EXACT_NAMES_MAX",
            "FIELDS_BYTES_MAX",
            "HEAP_BYTES_MAX",
            "INSIDE_BYTES_MAX",
            "KEY_BYTES_MAX",
            "LEVEL0_FILES_MAX",
            "LOOK_EVERY",
            "MARK_SYNC_EVERY",
            "OPAQUE_BYTES_MAX",
            "OWN_APPEND_BYTES_MAX",
            "PIECE_ROWS_MAX",
            "PURGE_AGAIN_MAX",
            "REASON_BYTES_MAX",
            "RENEWED_ELEMENTS_MAX",
            "ROW_BYTES_MAX",
            "RUNS_MAX",
            "SERIALIZED_BYTES_MAX",
            "SKIPPED_MAX",
            "WARMED_BYTES_MAX",
            "WARMED_ROWS_MAX",
        ],
    ),
];

#[test]
fn bounds_stand_in_the_limits_of_their_crate() {
    let mut problems = Vec::new();
    for (folder, elsewhere) in ELSEWHERE {
        for path in sources(&format!("{folder}/src")) {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a source has a name");
            let is_of_tests = path.components().any(|part| part.as_os_str() == "tests");
            if is_of_tests
                || name == "limits.rs"
                || name.ends_with("tests.rs")
                || name.ends_with("test.rs")
                || name == "testing.rs"
            {
                continue;
            }
            let found = bounds(&read(&path));
            problems.extend(found.iter().filter(|(_, bound)| !elsewhere.contains(&bound.as_str())).map(
                |(line, bound)| format!("{}:{line}: {bound} belongs into {folder}/src/limits.rs", path.display()),
            ));
        }
    }
    assert_none(&problems);
}

/// The bounds that are declared in `source` outside of functions and test modules: their lines and names.
fn bounds(source: &str) -> Vec<(usize, String)> {
    let declared = source.lines().enumerate().filter_map(|(index, line)| {
        // What stands in a function or a module of tests is indented.
        let words = if line.starts_with("pub") { line.split_once(' ').map(|(_, rest)| rest)? } else { line };
        let rest = words.strip_prefix("const ").or_else(|| words.strip_prefix("static "))?;
        let name = rest.split(':').next()?.trim();
        ENDINGS.iter().any(|ending| name.ends_with(ending)).then(|| (index + 1, name.to_owned()))
    });
    declared.collect()
}

#[test]
fn bounds_are_found_wherever_they_are_seen_from() {
    let source = "const A_MAX: usize = 1;\npub(super) const B_RETRY: u8 = 2;\npub static C_WAIT: u8 = 3;\n\
                  pub const D_EVERY: u8 = 4;\n    const E_MAX: u8 = 5;\nconst MAXIMUM: u8 = 6;\n// const F_MAX\n";
    let found = ["A_MAX", "B_RETRY", "C_WAIT", "D_EVERY"];
    assert_eq!(bounds(source).iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), found);
}
