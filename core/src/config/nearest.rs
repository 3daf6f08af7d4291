//! The valid word that is most similar to a wrong one.

/// Similarity (Jaro-Winkler, 0 to 1) below which a suggestion would confuse more than help; clap uses the same bound.
const SIMILARITY_MIN: f64 = 0.7;

/// Returns the word of `valid` most similar to `wrong`, none when nothing is similar.
pub(super) fn nearest<'a>(wrong: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase();
    valid
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&wrong, word), word))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        assert_eq!(nearest("allways", ["always", "interval", "none"]), Some("always"));
        assert_eq!(nearest("NONE", ["always", "interval", "none"]), Some("none"));
    }

    #[test]
    fn a_word_like_no_other_gets_no_suggestion() {
        assert_eq!(nearest("xyzzy", ["always", "interval", "none"]), None);
    }
}
