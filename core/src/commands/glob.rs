//! Glob patterns as `KEYS`, `SCAN MATCH` and `CONFIG GET` use them.

use super::{CommandError, Context};
use crate::limits;

/// Returns whether `text` matches `pattern` by Redis' rules: `*`, `?`, `[a-z]`, `[^a]` and `\` before a byte taken literally.
pub fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    matches(pattern, text, false)
}

/// [`glob_matches`] in so many steps at most; also the steps that it took.
pub fn glob_matches_within(pattern: &[u8], text: &[u8], steps_max: u32) -> (bool, u32) {
    matches_within(pattern, text, false, steps_max)
}

/// Names of one command that are matched with a pattern, or not, in so many steps together as its script may pay for.
pub struct NamePattern<'a> {
    pattern: Option<&'a [u8]>,
    steps_left: u64,
    steps: u64,
    names: u64,
    paid: u64,
}

impl<'a> NamePattern<'a> {
    /// Matches with `pattern`; without one, all names match.
    pub fn new(context: &Context<'_>, pattern: Option<&'a [u8]>) -> NamePattern<'a> {
        let steps_left = context.work_left.get().saturating_mul(limits::GLOB_STEPS_PER_WORK);
        NamePattern { pattern, steps_left, steps: 0, names: 0, paid: 0 }
    }

    /// Returns whether `name` matches. None does once the steps are used up, and then [`NamePattern::pay`] fails.
    pub fn matches(&mut self, name: &[u8]) -> bool {
        self.names += 1;
        let Some(pattern) = self.pattern else { return true };
        let steps_max = u64::from(limits::GLOB_STEPS_MAX).min(self.steps_left) as u32;
        let (matches, steps) = matches_within(pattern, name, false, steps_max);
        self.steps += u64::from(steps);
        self.steps_left = self.steps_left.saturating_sub(steps.into());
        matches
    }

    /// Pays for the steps that it took and was not paid for before, and `name_work` for each name: in the end the sum is the same,
    /// however often that is done.
    ///
    /// # Errors
    /// Those of [`Context::pay`].
    pub fn pay(&mut self, context: &Context<'_>, name_work: u64) -> Result<(), CommandError> {
        let used_up = if self.steps_left == 0 { 1 } else { 0 };
        let sum = self.names * name_work + self.steps / limits::GLOB_STEPS_PER_WORK + used_up;
        context.pay(sum - std::mem::replace(&mut self.paid, sum))
    }
}

/// [`glob_matches`] without regard to the case of ASCII letters.
pub fn glob_matches_any_case(pattern: &[u8], text: &[u8]) -> bool {
    matches(pattern, text, true)
}

fn matches(pattern: &[u8], text: &[u8], any_case: bool) -> bool {
    matches_within(pattern, text, any_case, limits::GLOB_STEPS_MAX).0
}

/// One `*` is remembered at a time: if what follows it fails, it takes one more byte. That is enough, since a later `*`
/// makes earlier ones final.
fn matches_within(pattern: &[u8], text: &[u8], any_case: bool, steps_max: u32) -> (bool, u32) {
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut steps = 0;
    loop {
        steps += 1;
        if steps > steps_max {
            return (false, steps);
        }
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return (true, steps);
            }
            star = Some((at, position));
            continue;
        }
        let (fits, pattern_bytes) = match (pattern.get(at), text.get(position)) {
            (None, None) => return (true, steps),
            (Some(_), Some(&byte)) => match_one(&pattern[at..], byte, any_case, steps_max - steps),
            _ => (false, 0),
        };
        if pattern_bytes > 2 {
            // A class, which was walked through.
            steps = steps.saturating_add(u32::try_from(pattern_bytes).unwrap_or(u32::MAX));
        }
        if fits {
            at += pattern_bytes;
            position += 1;
            continue;
        }
        match &mut star {
            Some((after_star, from)) if *from < text.len() => {
                *from += 1;
                (at, position) = (*after_star, *from);
            }
            _ => return (false, steps),
        }
    }
}

/// Matches one byte against the start of `pattern`, which is not a `*`; returns if it fits, and how long that part of the pattern
/// is. Of a class so many bytes are looked at as steps are left.
fn match_one(pattern: &[u8], byte: u8, any_case: bool, steps_left: u32) -> (bool, usize) {
    let fold = |byte: u8| if any_case { byte.to_ascii_lowercase() } else { byte };
    match pattern[0] {
        b'?' => (true, 1),
        b'[' => match_class(pattern, byte, fold, steps_left as usize),
        b'\\' if pattern.len() >= 2 => (fold(pattern[1]) == fold(byte), 2),
        literal => (fold(literal) == fold(byte), 1),
    }
}

/// Matches one byte against a class such as `[a-z]`; a class that is never closed ends with the pattern. One of more than
/// `bytes_max` bytes fits nothing.
fn match_class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8, bytes_max: usize) -> (bool, usize) {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    loop {
        if at > bytes_max {
            return (false, at);
        }
        match pattern[at.min(pattern.len())..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (fold(from.min(to)), fold(from.max(to)));
                found |= (from..=to).contains(&fold(byte));
                at += 3;
            }
            [literal, ..] => {
                found |= fold(literal) == fold(byte);
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
            ("*?", "a", true),
            ("*?", "", false),
            ("a**b", "ab", true),
            ("[a", "a", true),
            ("[", "[", false),
            ("a\\", "a\\", true),
            ("*.txt", "a.txt.txt", true),
            ("[]", "a", false),
            ("[^]", "a", true),
        ] {
            assert_eq!(glob_matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(glob_matches_any_case(b"MAX*", b"maxmemory"));
    }

    #[test]
    fn a_hostile_pattern_ends_in_time() {
        let pattern = b"*a".repeat(1000);
        let text = b"a".repeat(999);
        assert!(!glob_matches(&pattern, &text));
    }

    #[test]
    fn the_bytes_of_a_class_are_steps() {
        let class = [&b"*["[..], &b"b".repeat(10_000), b"]"].concat();
        assert_eq!(glob_matches_within(b"[ab]c", b"bc", 100), (true, 7));
        let (fits, steps) = glob_matches_within(&class, b"ab", 100_000);
        assert!(fits && (20_000..20_100).contains(&steps), "{steps}");
        // It is not walked through if it has more bytes than there are steps.
        for text in [&b"a"[..], b"b", &b"a".repeat(1000)] {
            let (fits, steps) = glob_matches_within(&class, text, 5000);
            assert!(!fits && (5000..5010).contains(&steps), "{steps}");
        }
        let open = [&b"["[..], &b"b".repeat(4_000_000)].concat();
        assert!(!glob_matches(&open, b"b"));
    }
}
