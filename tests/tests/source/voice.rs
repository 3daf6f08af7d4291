//! Docs begin with a verb or with the noun that they are about, not with a question word.
//!
//! "What is not written yet" has to be read twice to see whether it is bytes, records or time; "Bytes that are not written yet" has
//! not.

use crate::{assert_none, read, sources};

/// Words that a doc does not begin with.
const QUESTIONS: [&str; 9] = ["How", "What", "When", "Where", "Whether", "Which", "Who", "Whose", "Why"];

#[test]
fn docs_do_not_begin_with_a_question() {
    let mut problems = Vec::new();
    for path in ["bench", "core", "fuzz", "net", "raft", "storage", "tests"].into_iter().flat_map(sources) {
        problems.extend(questions(&read(&path)).into_iter().map(|line| {
            format!("{}:{line}: a doc that begins with a question word. Begin with a verb or a noun", path.display())
        }));
    }
    assert_none(&problems);
}

/// The lines of `source` on which a doc begins that asks.
fn questions(source: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut was_doc = false;
    for (index, line) in source.lines().enumerate() {
        let line = line.trim_start();
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let first = doc.and_then(|doc| doc.split_whitespace().next());
        if !was_doc && first.is_some_and(|word| QUESTIONS.contains(&word.trim_end_matches(','))) {
            found.push(index + 1);
        }
        was_doc = doc.is_some();
    }
    found
}

#[test]
fn only_the_first_word_of_a_doc_counts() {
    let source = "//! How it is.\n//!\n//! What a newcomer would get wrong: nothing.\n\n/// Whether it is so.\nis_so: bool,\n\n    \
                  /// Set if it is so.\n    /// What follows is more.\nfn a() {}\n/// Whatever.\n";
    assert_eq!(questions(source), [1, 5]);
}
