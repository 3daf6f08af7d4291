//! Docs begin with a verb or with the noun that they are about, not with a question word.
//!
//! "What is not written yet" has to be read twice to see whether it is bytes, records or time; "Bytes that are not written yet" has
//! not. [`MOST`] counts what is left from before this rule: it only becomes less, so lower a number when you have mended some.

use crate::{assert_none, read, sources};

/// Words that a doc does not begin with.
const QUESTIONS: [&str; 9] = ["How", "What", "When", "Where", "Whether", "Which", "Who", "Whose", "Why"];

/// The crates with the number of docs in them that still begin with one of [`QUESTIONS`].
const MOST: [(&str, usize); 7] =
    [("bench", 0), ("core", 47), ("fuzz", 0), ("net", 0), ("raft", 0), ("storage", 0), ("tests", 0)];

#[test]
fn docs_that_begin_with_a_question_become_fewer() {
    let mut problems = Vec::new();
    for (folder, most) in MOST {
        let found: Vec<String> = sources(folder)
            .iter()
            .flat_map(|path| {
                let lines = questions(&read(path));
                lines.into_iter().map(|line| format!("  {}:{line}", path.display())).collect::<Vec<_>>()
            })
            .collect();
        if found.len() > most {
            problems.push(format!(
                "{folder}: {} docs begin with a question word, {most} are the most. Begin with a verb or a noun:\n{}",
                found.len(),
                found.join("\n")
            ));
        }
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
