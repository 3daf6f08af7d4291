//! Options of SORT, and whether the keys that its patterns name are where it runs.

use super::pattern::Pattern;
use crate::commands::command_error::until_nul;
use crate::commands::{Args, Command, CommandError, parse_i64};

/// The refusal of patterns whose keys may be on other shards.
const ELSEWHERE: CommandError = CommandError::text(
    "CROSSSLOT Keys of BY and GET patterns may not hash to the slot of the key, give them its hash tag, as in SORT {user}:a BY {user}:b_*",
);

/// A call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SortOptions<'a> {
    pub(super) descending: bool,
    /// True if elements or weights are texts, not numbers.
    pub(super) alpha: bool,
    /// Elements of the result that are left out before those that are told.
    start: i64,
    /// Those that are told; all if negative.
    count: Option<i64>,
    /// The pattern of the weights.
    pub(super) by: Option<Pattern<'a>>,
    /// True if the elements stay in their order.
    pub(super) is_unsorted: bool,
    /// Patterns of what is told of each element; itself if there are none.
    pub(super) gets: Vec<Pattern<'a>>,
    /// The key that the result is written to.
    pub(super) destination: Option<&'a [u8]>,
}

impl<'a> SortOptions<'a> {
    /// Reads the options behind the key; STORE is none if `may_store` does not say so.
    pub(super) fn read(args: Args<'a>, may_store: bool) -> Result<SortOptions<'a>, CommandError> {
        let mut options = SortOptions::default();
        let mut words = &args[2..];
        while let Some((word, rest)) = words.split_first() {
            words = rest;
            match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"asc", _) => options.descending = false,
                (b"desc", _) => options.descending = true,
                (b"alpha", _) => options.alpha = true,
                (b"limit", [start, count, rest @ ..]) => {
                    (options.start, options.count) = (parse_i64(start)?, Some(parse_i64(count)?));
                    words = rest;
                }
                (b"store", [key, rest @ ..]) if may_store => {
                    options.destination = Some(key);
                    words = rest;
                }
                (b"by", [pattern, rest @ ..]) => {
                    options.by = Some(Pattern::new(pattern));
                    // One that names the same for all elements leaves them in their order, also if another one follows.
                    options.is_unsorted |= !until_nul(pattern).contains(&b'*');
                    words = rest;
                }
                (b"get", [pattern, rest @ ..]) => {
                    options.gets.push(Pattern::new(pattern));
                    words = rest;
                }
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(options)
    }

    /// The places, of `length` sorted elements, of those that are told.
    pub(super) fn window(&self, length: u64) -> std::ops::Range<u64> {
        let start = u64::try_from(self.start).unwrap_or(0).min(length);
        let end = match self.count.and_then(|count| u64::try_from(count).ok()) {
            Some(count) => start.saturating_add(count).min(length),
            None => length,
        };
        start..end
    }
}

/// Tells of a key whether it is where a call runs.
pub type IsHere<'a> = &'a dyn Fn(&[u8]) -> bool;

/// The keys that the patterns of a call may name.
#[derive(Clone, Copy)]
pub struct PatternKeys<'a> {
    /// True on a node in a cluster, which takes no patterns, as Redis 7.0 does not.
    pub in_cluster: bool,
    /// True if the caller may read every key.
    pub may_read_all: bool,
    /// Tells of a key whether it is where the call runs; `None` if all are.
    pub is_here: Option<IsHere<'a>>,
}

/// The reason that a call is refused since its patterns may name other keys than those.
pub fn why_not_by_patterns(command: &Command, args: Args<'_>, keys: PatternKeys<'_>) -> Option<CommandError> {
    if !command.has_patterns {
        return None;
    }
    let mut words = args.get(2..)?;
    while let Some((word, rest)) = words.split_first() {
        let word = word.to_ascii_lowercase();
        let skipped = match word.as_slice() {
            b"limit" => 2,
            b"store" | b"by" | b"get" => 1,
            _ => 0,
        };
        if let (b"by" | b"get", Some(pattern)) = (word.as_slice(), rest.first()) {
            let (pattern, is_get) = (Pattern::new(pattern), word == b"get");
            if is_get || pattern.names_keys() {
                let option = if is_get { "GET" } else { "BY" };
                let refused = |why| Some(CommandError::owned(format!("ERR {option} option of SORT denied {why}.")));
                if keys.in_cluster {
                    return refused("in Cluster mode");
                }
                if !keys.may_read_all {
                    return refused("due to insufficient ACL permissions");
                }
            }
            let are_here = |is_here: IsHere<'_>| pattern.tagged().is_some_and(is_here);
            if pattern.names_keys() && !keys.is_here.is_none_or(are_here) {
                return Some(ELSEWHERE);
            }
        }
        words = rest.get(skipped..).unwrap_or(&[]);
    }
    None
}

/// Returns whether a call may look at keys that are not among its arguments: those that its patterns name.
pub fn names_other_keys(command: &Command, args: Args<'_>) -> bool {
    let keys = PatternKeys { in_cluster: false, may_read_all: true, is_here: Some(&|_| false) };
    why_not_by_patterns(command, args, keys).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table;

    #[test]
    fn patterns_name_other_keys_unless_they_have_no_place_for_the_element() {
        for (line, names_others) in [
            ("SORT l BY w_*", true),
            ("SORT l GET # GET {t}n_*->f STORE t", true),
            ("SORT_RO l LIMIT 0 1 GET v_*", true),
            ("SORT l", false),
            ("SORT l BY nosort GET #", false),
            ("SORT l STORE w_*", false),
            ("GET w_*", false),
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(names_other_keys(table::lookup(words[0]).unwrap(), &words), names_others, "{line}");
        }
    }

    #[test]
    fn windows_are_within_the_elements() {
        let window = |start, count| SortOptions { start, count, ..SortOptions::default() }.window(5);
        assert_eq!(window(0, None), 0..5);
        assert_eq!(window(1, Some(2)), 1..3);
        assert_eq!(window(-3, Some(2)), 0..2);
        assert_eq!(window(3, Some(-1)), 3..5);
        assert_eq!(window(3, Some(i64::MAX)), 3..5);
        assert!(window(7, Some(2)).is_empty() && window(2, Some(0)).is_empty());
    }

    #[test]
    fn patterns_whose_keys_may_be_elsewhere_or_are_none_of_the_callers_are_refused() {
        let is_here = |key: &[u8]| key.starts_with(b"{here}");
        let here = PatternKeys { in_cluster: false, may_read_all: true, is_here: Some(&is_here) };
        let why = |line: &str, keys| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            why_not_by_patterns(table::lookup(words[0]).unwrap(), &words, keys).map(|error| error.to_string())
        };
        for line in ["SORT k", "SORT k BY x GET # GET y", "SORT_RO k BY {here}w_* GET {here}v_*->f LIMIT 0 5 GET #"] {
            assert_eq!(why(line, here), None, "{line}");
        }
        for line in ["SORT k BY w_*", "SORT k GET {there}*", "SORT_RO k GET # GET *", "SORT k STORE by BY {h*}"] {
            assert!(why(line, here).unwrap().starts_with("CROSSSLOT "), "{line}");
            assert_eq!(why(line, PatternKeys { is_here: None, ..here }), None, "{line}");
        }
        for (keys, reason) in [
            (PatternKeys { in_cluster: true, ..here }, "in Cluster mode"),
            (PatternKeys { may_read_all: false, ..here }, "due to insufficient ACL permissions"),
        ] {
            for (line, option) in [
                ("SORT k BY {here}*", Some("BY")),
                ("SORT_RO k BY x GET #", Some("GET")),
                ("SORT k BY x LIMIT get by STORE get", None),
            ] {
                let expected = option.map(|option| format!("ERR {option} option of SORT denied {reason}."));
                assert_eq!(why(line, keys), expected, "{line}");
            }
            assert_eq!(why("SADD k BY *", keys), None);
        }
    }
}
