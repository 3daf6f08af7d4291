//! Random commands on keys, strings and collections, for tests that compare two executions of the same commands.

use super::Random;
use super::random_templates::{DRAWING_TEMPLATES, NEWER_TEMPLATES, SORTING_TEMPLATES, TEMPLATES};

/// Ids of entries that are drawn again.
const RECENT_IDS: usize = 12;

/// Position of the key among `words`.
pub(crate) fn key_of(words: &[String]) -> usize {
    match words[0].as_str() {
        "xgroup" | "xinfo" => 2,
        "xread" | "xreadgroup" => {
            let at = words.iter().position(|word| word.eq_ignore_ascii_case("streams"));
            at.map_or(1, |at| at + 1)
        }
        _ => 1,
    }
}

/// Draws commands on few keys, with few values, so that they meet.
pub(crate) struct RandomCommands {
    random: Random,
    drawn: usize,
    /// True if commands are drawn that draw random numbers themselves.
    has_drawing: bool,
    /// True if commands are drawn that the redis-server beside which others are compared does not have.
    has_newer: bool,
    /// The templates to draw from, if not all.
    chosen: Vec<&'static str>,
    /// Ids that were drawn for entries of streams last.
    recent_ids: Vec<String>,
}

impl RandomCommands {
    pub(crate) fn new(seed: u64) -> RandomCommands {
        RandomCommands {
            random: Random::new(seed),
            drawn: 0,
            has_drawing: false,
            has_newer: false,
            chosen: Vec::new(),
            recent_ids: Vec::new(),
        }
    }

    /// The same, with commands that draw random numbers: for two executions in which those are the same.
    pub(crate) fn with_drawing(seed: u64) -> RandomCommands {
        RandomCommands { has_drawing: true, ..RandomCommands::new(seed) }
    }

    /// The same, with those besides that a later version of Redis has.
    pub(crate) fn with_newer(seed: u64) -> RandomCommands {
        RandomCommands { has_newer: true, ..RandomCommands::with_drawing(seed) }
    }

    /// The same, with the commands alone whose templates `is_chosen` says: their keys are seldom of another type then, and they
    /// meet what others have made.
    pub(crate) fn only(seed: u64, is_chosen: fn(&str) -> bool) -> RandomCommands {
        let chosen = TEMPLATES.iter().copied().filter(|template| is_chosen(template)).collect();
        RandomCommands { chosen, ..RandomCommands::new(seed) }
    }

    /// Those around SORT.
    pub(crate) fn of_sort(seed: u64) -> RandomCommands {
        RandomCommands { chosen: SORTING_TEMPLATES.to_vec(), ..RandomCommands::new(seed) }
    }

    /// Returns whether something that happens once in `times` happens now.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.random.below(times) == 0
    }

    /// The words of the next command; [`key_of`] finds its key.
    pub(crate) fn draw(&mut self) -> Vec<String> {
        self.drawn += 1;
        let mut words = Vec::new();
        let template = match self.chosen.len() {
            0 if self.has_drawing && self.one_in(20) => self.pick(DRAWING_TEMPLATES),
            0 if self.has_newer && self.one_in(20) => self.pick(NEWER_TEMPLATES),
            0 => self.pick(TEMPLATES),
            count => self.chosen[self.random.below(count as u64) as usize].to_owned(),
        };
        for word in template.split(' ') {
            match word.strip_prefix('?') {
                None => self.word(word, &mut words),
                Some(parts) if self.one_in(4) => parts.split('_').for_each(|part| self.word(part, &mut words)),
                Some(_) => {}
            }
        }
        // now and then a key of another type, no key, or a word too many
        let at = key_of(&words);
        // of members of sets that weigh the same Redis draws the order, and of distances the last digit may be another one
        let is_fixed = ["zlex", "nothing"].contains(&words[at].as_str())
            || ["sort", "sort_ro", "GEOSEARCHSTORE"].contains(&words[0].as_str());
        if self.one_in(20) && !is_fixed && !words[0].ends_with("incrby") {
            words[at] = self.pick(&["l1", "s1", "h1", "z1", "x1", "none"]);
        }
        if self.one_in(40) {
            words.push("odd".to_owned());
        }
        words
    }

    /// Two databases that are swapped, now and then, and the one in which commands are called from then on.
    pub(crate) fn databases(&mut self) -> Option<([u8; 2], u8)> {
        let mut database = || self.random.below(3) as u8;
        let drawn = ([database(), database()], database());
        self.one_in(300).then_some(drawn)
    }

    /// Appends what `word` stands for.
    fn word(&mut self, word: &str, words: &mut Vec<String>) {
        let drawn = match word {
            "$list" => self.pick(&["l1", "l2"]),
            "$set" => self.pick(&["s1", "s2"]),
            "$hash" => self.pick(&["h1", "h2"]),
            "$zset" => self.pick(&["z1", "z2"]),
            "$stream" => self.pick(&["x1", "x2"]),
            "$geo" => self.pick(&["y1", "y2", "y3"]),
            "$sketch" => self.pick(&["p1", "p2", "p3"]),
            // so that a HyperLogLog becomes dense after some of them
            "$many" => {
                let count = self.random.below(300);
                return words.extend((0..count).map(|_| self.random.below(20_000).to_string()));
            }
            "$text" => self.pick(&["t1", "t2", "t3"]),
            "$any" => self.pick(&["t1", "t2", "t3", "t4", "none", "l1", "s1", "h1", "z1", "x1"]),
            "$value" if self.one_in(3) => return self.word("$float", words),
            "$value" => self.pick(&["", "a", "hello world", "10", "-5", "9223372036854775807", "007", "ohmytext"]),
            "$increment" => self.pick(&["1", "-1", "100", "9223372036854775807", "-9223372036854775808", "x"]),
            "$float" => self.pick(&[
                "0.1",
                "-0.1",
                "1e3",
                "1e-5",
                "3",
                "-3.14159265358979323846",
                "1e17",
                "1e300",
                "-1e300",
                "1e4000",
                "inf",
                "nan",
                "x",
                "0x1p-10",
                " 1",
                "1e-20",
                "1234567890.123456789",
                "1e-4950",
                "1e-4960",
            ]),
            "$offset" => self.pick(&["0", "3", "10", "-1", "x", "536870912"]),
            // far in the future or in the past: the two executions do not happen at the same time
            "$deadline" => {
                self.pick(&["4000000000", "4000000001", "4100000000000", "1", "0", "-1", "9223372036854775807"])
            }
            "$past" => self.pick(&["0", "-1", "x", "9223372036854775807", "-9223372036854775808"]),
            "$db" => self.pick(&["0", "1", "16", "-1", "x", "99999999999"]),
            "$pattern" => self.pick(&["*", "t*", "?1", "[a-t]1", "t[^1]", "\\t1", "[", "t1", ""]),
            "$name" => self.pick(&["a", "b", "c", "d", "e", "f", "g", "a\r\nb", "", "12", "-7", "ab", "abc", "a\0"]),
            "$where" => self.pick(&["BEFORE", "after", "AFTER", "before", "x"]),
            "$end" => self.pick(&["LEFT", "right", "LEFT", "RIGHT", "left", "x"]),
            "$lowest" => self.pick(&["MIN", "max", "MIN", "MAX", "x"]),
            "$aggregate" => self.pick(&["SUM", "min", "MAX", "x"]),
            "$none_or_all" => self.pick(&["0", "100", "100", "9223372036854775807", "-9223372036854775808", "x", ""]),
            "$few" => self.pick(&["1", "2", "-3", "5", "0"]),
            "$cursor" => self.pick(&["0", "0", "0", "00", "", "x", " 0", "0 ", "99999999999999999999"]),
            "$large" => self.pick(&["100", "1000", "100", "0", "-1", "x"]),
            "$bit" => self.pick(&["0", "1", "1", "2", "x"]),
            "$unit" => self.pick(&["BYTE", "bit", "BIT", "x"]),
            "$bitop" => self.pick(&["AND", "or", "XOR", "not", "x"]),
            "$overflow" => self.pick(&["WRAP", "sat", "FAIL", "x"]),
            "$field" => self.pick(&["u8", "i8", "u1", "i1", "i64", "u63", "u5", "i13", "u64", "i65", "x", "i0"]),
            "$bitoffset" => self.pick(&["0", "1", "7", "8", "13", "100", "#0", "#1", "#3", "-1", "x", "4294967296"]),
            "$int" => self.pick(&[
                "0",
                "1",
                "2",
                "-1",
                "-2",
                "3",
                "5",
                "-5",
                "100",
                "-100",
                "x",
                "",
                "9223372036854775807",
                "1.5",
            ]),
            "$count" => self.pick(&["0", "1", "2", "3", "10", "1", "2", "-1", "x"]),
            "$all" => self.pick(&["0", "100", "-1", "x"]),
            "$score" => self.pick(&[
                "0",
                "1",
                "-1",
                "1.5",
                "2",
                "3",
                "-0",
                "inf",
                "-inf",
                "1e300",
                "0.1",
                "3.14159265358979",
                "x",
                "nan",
                "1e19",
                "+5",
                "",
            ]),
            "$lex" => self.pick(&["-", "+", "[a", "(a", "[c", "(c", "[", "(", "b", "[dd", "+x"]),
            "$wait" => self.pick(&["0", "0", "0.5", "1e2", "-1", "nan", "x"]),
            "$bound" => return self.open("$score", words),
            "$id" if self.one_in(5) => return self.open("$part", words),
            "$id" => format!("{}-{}", self.random.below(6), self.random.below(6)),
            "$group" => self.pick(&["g1", "g1", "g2", "g\r\n"]),
            "$consumer" => self.pick(&["c1", "c2", "c1", "", "c\0"]),
            "$after" => self.pick(&["0", "$", ">", "0-0", "0", ">", "5-1", "18446744073709551615", "+", "-", "x"]),
            // whole thousands of seconds, and never near each other: the two executions do not happen at the same time
            "$idle" => self.pick(&["0", "0", "0", "1000000000", "2500000000", "-1", "x", "9223372036854775807"]),
            "$time" => self.pick(&["0", "1", "-1", "9223372036854775807", "x"]),
            // often one that is there
            "$pending" if self.recent_ids.is_empty() || self.one_in(5) => return self.word("$id", words),
            "$pending" => self.recent_ids[self.random.below(self.recent_ids.len() as u64) as usize].clone(),
            "$bounds" => {
                self.word("$bound_id", words);
                return self.word("$bound_id", words);
            }
            "$bound_id" if self.one_in(2) => self.pick(&["-", "+", "0", "(0-1"]),
            "$bound_id" => return self.open("$pending", words),
            "$place" => match self.random.below(10) {
                0 => self.pick(&["", "STORE", "none", "a"]),
                _ => format!("p{}", self.random.below(60)),
            },
            "$points" => return self.repeat(&["$longitude", "$latitude", "$place"], words),
            // few of them, so that some members are equally far, and any
            "$longitude" => match self.random.below(40) {
                0 => self.pick(&["180", "-180", "180.0001", "x", "", "inf", "nan", "-0", "1e300"]),
                1..20 => self.pick(&["13.361389", "15.087269", "14", "13.5", "0", "-74", "179.9", "-179.9"]),
                _ => self.degrees(180),
            },
            "$latitude" => match self.random.below(40) {
                0 => self.pick(&["85.05112878", "-85.05112878", "85.06", "x", "", "-inf", "-0"]),
                1..20 => self.pick(&["38.115556", "37.502669", "38", "37.9", "0", "-37.9", "67", "84.9", "-84.9"]),
                _ => self.degrees(85),
            },
            "$radius" => match self.random.below(30) {
                0 => self.pick(&["0", "-1", "x", "", "inf", "nan", "1e300", "1e-300", "-0"]),
                _ => {
                    let size = 10f64.powf(self.random.below(8_000) as f64 / 1000.0);
                    format!("{size:.3}")
                }
            },
            "$length" => self.pick(&["m", "km", "KM", "ft", "mi", "m", "km", "x"]),
            "$odd_score" => self.pick(&[
                "0",
                "-1",
                "1.5",
                "3479099956230698.5",
                "4503599627370496",
                "9007199254740993",
                "inf",
                "-inf",
                "1e19",
                "18446744073709551615",
                "-3479099956230698",
            ]),
            "$few_more" => self.pick(&["1", "2", "5", "8", "13", "40"]),
            "$found" => {
                for option in ["WITHDIST", "withcoord", "WITHHASH"] {
                    if self.one_in(3) {
                        words.push(option.to_owned());
                    }
                }
                if self.one_in(2) {
                    words.push(self.pick(&["ASC", "desc"]));
                }
                if self.one_in(2) {
                    words.push("COUNT".to_owned());
                    let count = self.pick(&["$few_more", "$few_more", "$few_more", "$count"]);
                    self.word(&count, words);
                    if self.one_in(3) {
                        words.push("ANY".to_owned());
                    }
                }
                return;
            }
            "$area" => {
                let from: &[&str] =
                    if self.one_in(3) { &["FROMMEMBER", "$place"] } else { &["fromlonlat", "$longitude", "$latitude"] };
                let by: &[&str] = if self.one_in(2) {
                    &["BYRADIUS", "$radius", "$length"]
                } else {
                    &["bybox", "$radius", "$radius", "$length"]
                };
                from.iter().for_each(|word| self.word(word, words));
                if !self.one_in(30) {
                    by.iter().for_each(|word| self.word(word, words));
                }
                return;
            }
            "$sorted" => self.pick(&["n1", "n2", "n3", "n4", "n5", "n6", "n1", "none", "t1", "out"]),
            "$sorted_list" => self.pick(&["n1", "n2", "n1", "n2", "out"]),
            "$sorted_set" => self.pick(&["n3", "n4"]),
            "$sorted_zset" => self.pick(&["n5", "n6"]),
            "$out" => self.pick(&["out", "out", "out", "n1"]),
            "$number" => match self.random.below(12) {
                0 => self.pick(&["1.5", "-0", "1e2", "inf", " 7", "07", "", "0x1p-3", "1e-5"]),
                _ => self.random.below(40).to_string(),
            },
            "$numbers" => return self.repeat(&["$number", "$number"], words),
            "$item" => self.pick(&["a", "b", "c", "aa", "B", "10", "9", "", "\u{e9}", "x->f", "*", "~"]),
            "$items" => return self.repeat(&["$item"], words),
            "$weight_key" => {
                let element = self.pick(&["$item", "$number", "$number"]);
                self.word(&element, words);
                return words.last_mut().expect("it was drawn").insert_str(0, "w_");
            }
            "$object_key" => {
                let element = self.pick(&["$item", "$number", "$number"]);
                self.word(&element, words);
                return words.last_mut().expect("it was drawn").insert_str(0, "o_");
            }
            // None out of range.
            "$weight" => match self.random.below(60) {
                0 => self.pick(&["x", "nan", "a\0b", "a\0c", "5\0"]),
                1..20 => self.pick(&["", "1", "2", "a", "b", "2.5", "inf", "-inf", "0x3"]),
                _ => self.pick(&["1", "2", "3", "-1", "10", "2"]),
            },
            "$by" => {
                self.pick(&["w_*", "o_*->f", "o_*->g", "w_*", "o_*->f", "nosort", "*", "w_*->f", "o_*", "#", "w_*->"])
            }
            "$by_number" => self.pick(&["w_*", "o_*->f", "o_*->g", "w_*", "none_*"]),
            "$get" => {
                self.pick(&["#", "w_*", "o_*->f", "o_*->g", "w_*->f", "x", "*", "o_*", "w_\0*", "w_*\0->f", "#\0"])
            }
            "$limit" => {
                words.push("LIMIT".to_owned());
                for _ in 0..2 {
                    words.push(self.pick(&["0", "1", "3", "5", "10", "25", "40", "-1", "2", "4", "1", "2"]));
                }
                if self.one_in(40) {
                    let last = words.last_mut().expect("it was pushed");
                    *last = "x".to_owned();
                }
                return;
            }
            "$part" => self.pick(&["-", "+", "0", "2", "x", "", "18446744073709551615", "+5", " 4", "007", "5-", "-5"]),
            // likely to be taken by XADD: ids grow with the commands
            "$newid" => match self.random.below(8) {
                0 => return self.word("$id", words),
                1 => format!("{}-*", self.drawn / 50),
                _ => {
                    let id = format!("{}-{}", self.drawn / 50, self.drawn % 50);
                    self.recent_ids.insert(0, id.clone());
                    self.recent_ids.truncate(RECENT_IDS);
                    id
                }
            },
            "$trim" => {
                words.push(self.pick(&["MAXLEN", "minid"]));
                if self.one_in(3) {
                    words.push("=".to_owned());
                }
                let limit = self.pick(&["$count", "$id"]);
                return self.word(&limit, words);
            }
            "$names" => return self.repeat(&["$name"], words),
            "$fields" => return self.repeat(&["$name", "$int"], words),
            "$members" => return self.repeat(&["$score", "$name"], words),
            plain => plain.to_owned(),
        };
        words.push(drawn);
    }

    /// Degrees in some digits, from `-limit` to `limit`; some of them near each other.
    fn degrees(&mut self, limit: i64) -> String {
        if self.one_in(2) {
            return format!("{}.{}", 10 + self.random.below(8), self.random.below(1_000_000));
        }
        let thousandths = self.random.below(2_000 * limit as u64) as i64 - 1_000 * limit;
        format!("{}", thousandths as f64 / 1000.0)
    }

    /// Appends a bound that may be exclusive.
    fn open(&mut self, word: &str, words: &mut Vec<String>) {
        let start = words.len();
        self.word(word, words);
        if self.one_in(3) {
            words[start].insert(0, '(');
        }
    }

    /// Appends what `group` stands for, one to three times.
    fn repeat(&mut self, group: &[&str], words: &mut Vec<String>) {
        for _ in 0..=self.random.below(3) {
            group.iter().for_each(|word| self.word(word, words));
        }
    }

    fn pick(&mut self, from: &[&str]) -> String {
        from[self.random.below(from.len() as u64) as usize].to_owned()
    }
}

mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::commands::random_templates::NOT_DRAWN;
    use crate::commands::{Kind, table};

    #[test]
    fn every_command_on_keys_is_drawn() {
        let on_keys =
            table::with_subcommands().filter(|command| matches!(command.kind, Kind::Read(_) | Kind::Write(_)));
        let names: BTreeSet<&str> = on_keys.map(|command| command.name()).collect();
        let name = |template: &&str| {
            let mut words = template.split(' ');
            match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
                (container @ ("xgroup" | "xinfo"), subcommand) => format!("{container}|{subcommand}"),
                (name, _) => name.to_lowercase(),
            }
        };
        let drawn: Vec<String> = TEMPLATES.iter().chain(SORTING_TEMPLATES).map(name).collect();
        let listed: Vec<&str> =
            drawn.iter().map(String::as_str).chain(NOT_DRAWN.iter().map(|(name, _)| *name)).collect();
        let forgotten: Vec<&&str> = names.iter().filter(|name| !listed.contains(name)).collect();
        assert!(forgotten.is_empty(), "no template and no reason why not: {forgotten:?}");
        let not_there: Vec<&&str> = listed.iter().filter(|name| !names.contains(*name)).collect();
        assert!(not_there.is_empty(), "no commands: {not_there:?}");
        assert!(NOT_DRAWN.iter().all(|(_, why)| !why.is_empty()));
    }
}
