//! Random commands on keys, strings and collections, for tests that compare two executions of the same commands.

use super::Random;

/// Commands to draw from. A word is taken as it is, unless it begins with `$`: then it is drawn by [`RandomCommands::word`]. A
/// word after `?` is there in one of four cases, and `_` joins words that are there together.
const TEMPLATES: &[&str] = &[
    "lpush $list $names",
    "lpush $list $names",
    "rpush $list $names",
    "rpush $list $names",
    "lpushx $list $names",
    "rpushx $list $names",
    "lpop $list ?$count",
    "rpop $list ?$count",
    "llen $list",
    "lrange $list $int $int",
    "lrange $list $int $int",
    "lindex $list $int",
    "lset $list $int $name",
    "ltrim $list $int $int",
    "linsert $list $where $name $name",
    "linsert $list $where $name $name",
    "lrem $list $int $name",
    "lpos $list $name ?RANK_$int ?COUNT_$count ?MAXLEN_$count",
    "lmpop $count $list $list $end ?COUNT_$count",
    "lmpop 1 $any $end ?count_$count",
    "lmove $list $list $end $end",
    "lmove $list $any $end $end",
    "rpoplpush $list $list",
    "rpoplpush $any $list",
    "blpop $list ?$any $wait",
    "brpop $list $list $wait",
    "blmove $list $any $end $end $wait",
    "brpoplpush $list $list $wait",
    "blmpop $wait 2 $list $any $end ?COUNT_$count",
    "sadd $set $names",
    "sadd $set $names",
    "srem $set $names",
    "scard $set",
    "sismember $set $name",
    "smismember $set $names",
    "smembers $set",
    // what is popped is random, unless it is nothing or everything
    "spop $set $all",
    "srandmember $set $none_or_all",
    "srandmember nothing ?$int",
    "sscan $set $cursor COUNT $large ?MATCH_$pattern",
    "smove $set $set $name",
    "smove $set $any $name",
    "sunion $set $set ?$any",
    "sinter $set $set ?$any",
    "sdiff $set $set ?$any",
    "sintercard $count $set $set ?LIMIT_$count",
    "sintercard 2 $set $any ?LIMIT_$count",
    "sunionstore $set $set $any",
    "sunionstore $any $set $set",
    "sinterstore $set $set $any",
    "sdiffstore $set $set ?$set ?$any",
    "hset $hash $fields",
    "hset $hash $fields",
    "hmset $hash $fields",
    "hsetnx $hash $name $name",
    "hget $hash $name",
    "hmget $hash $names",
    "hdel $hash $names",
    "hlen $hash",
    "hstrlen $hash $name",
    "hexists $hash $name",
    "hgetall $hash",
    "hkeys $hash",
    "hvals $hash",
    "hincrby $hash $name $int",
    "hincrbyfloat $hash $name $float",
    "hrandfield $hash $none_or_all ?WITHVALUES",
    "hrandfield nothing ?$int",
    "hscan $hash $cursor COUNT $large ?MATCH_$pattern",
    "zadd $zset $members",
    "zadd $zset ?NX ?XX ?gt ?LT ?CH ?INCR $members",
    "zadd $zset ?xx ?gt ?CH $members",
    // members of equal scores are what ranges by lex are for
    "zadd zlex ?CH 2 $name 2 $name",
    "zincrby $zset $score $name",
    "zrem $zset $names",
    "zcard $zset",
    "zscore $zset $name",
    "zmscore $zset $names",
    "zpopmin $zset ?$count",
    "zpopmax $zset ?$count",
    "zcount $zset $bound $bound",
    "zlexcount zlex $lex $lex",
    "zrange $zset $int $int ?REV ?WITHSCORES ?LIMIT_$int_$int",
    "zrange $zset $bound $bound BYSCORE ?REV ?WITHSCORES ?LIMIT_$int_$int",
    "zrange zlex $lex $lex ?rev BYLEX ?LIMIT_$int_$int",
    "zrevrange $zset $int $int ?WITHSCORES",
    "zrangebyscore $zset $bound $bound ?WITHSCORES ?LIMIT_$int_$int",
    "zrevrangebyscore $zset $bound $bound ?LIMIT_$int_$int",
    "zrangebylex zlex $lex $lex ?LIMIT_$int_$int",
    "zrevrangebylex zlex $lex $lex ?WITHSCORES",
    "zrank $zset $name",
    "zrevrank $zset $name",
    "zremrangebyrank $zset $int $int",
    "zremrangebyscore $zset $bound $bound",
    "zremrangebylex zlex $lex $lex",
    "zrandmember $zset $none_or_all ?WITHSCORES",
    "zrandmember nothing ?$int",
    "zscan $zset $cursor ?COUNT_$count ?MATCH_$pattern",
    "zmpop $count $zset $zset $lowest ?COUNT_$count",
    "zmpop 1 $any $lowest ?count_$count",
    "bzpopmin $zset ?$any $wait",
    "bzpopmax $zset $zset $wait",
    "bzmpop $wait $count $zset $any $lowest ?COUNT_$count",
    "zrangestore $zset $zset $int $int ?REV ?LIMIT_$int_$int ?WITHSCORES",
    "zrangestore $zset $any $bound $bound BYSCORE ?rev ?LIMIT_$int_$int",
    "zrangestore $zset zlex $lex $lex ?REV BYLEX ?LIMIT_$int_$int",
    "zunion $count $zset $zset ?WITHSCORES",
    "zunion 2 $zset $zset ?WEIGHTS_$score_$score ?AGGREGATE_$aggregate ?WITHSCORES",
    "zunion 3 $zset $set $any ?WEIGHTS_$score_$score_$score ?AGGREGATE_$aggregate ?WITHSCORES",
    "zinter 2 $zset $zset ?AGGREGATE_$aggregate ?WEIGHTS_$score_$score ?WITHSCORES",
    "zinter 3 $zset $set $any ?WEIGHTS_$score_$score_$score ?AGGREGATE_$aggregate ?withscores",
    "zdiff 2 $zset $any ?WITHSCORES",
    "zdiff 3 $zset $zset $set ?WITHSCORES ?WEIGHTS_1_1_1",
    "zintercard 2 $zset $any ?LIMIT_$count",
    "zunionstore $zset 2 $zset $any ?WEIGHTS_$score_$score ?AGGREGATE_$aggregate ?WITHSCORES",
    "zinterstore $zset 2 $zset $zset ?WEIGHTS_$score_$score ?AGGREGATE_$aggregate",
    "zdiffstore $zset 2 $zset $any",
    "zdiffstore $any $count $zset $set",
    "xadd $stream ?NOMKSTREAM ?$trim ?LIMIT_$count $newid $name $name ?$name_$name",
    "xadd $stream $newid $name $name",
    "xadd $stream $newid $name $name",
    "xtrim $stream $trim ?LIMIT_$count",
    "xdel $stream $id ?$id",
    "xdel $stream $pending ?$pending",
    "xlen $stream",
    "xrange $stream $id $id ?COUNT_$count",
    "xrevrange $stream $id $id ?COUNT_$count",
    "xsetid $stream $newid ?ENTRIESADDED_$count ?MAXDELETEDID_$id",
    "xsetid $stream $id ?MAXDELETEDID_$id ?ENTRIESADDED_$count",
    "copy $stream $stream REPLACE",
    "rename $stream $stream",
    "xread ?COUNT_$count STREAMS $stream $after",
    "xread ?count_$count streams x1 x2 $after $after",
    "xread ?NOACK ?COUNT_$count STREAMS $any $stream $id $after",
    "xgroup create $stream $group $after ?MKSTREAM ?ENTRIESREAD_$count",
    "xgroup create $stream g1 0 MKSTREAM",
    "xgroup create $stream $group $id ?mkstream ?ENTRIESREAD_$count",
    "xgroup setid $stream $group $after ?entriesread_$int",
    "xgroup destroy $stream $group",
    "xgroup createconsumer $stream $group $consumer",
    "xgroup delconsumer $stream $group $consumer",
    "xreadgroup GROUP $group $consumer ?COUNT_$few STREAMS $stream >",
    "xreadgroup GROUP $group $consumer ?COUNT_$few STREAMS $stream >",
    "xreadgroup GROUP g1 $consumer STREAMS $stream >",
    "xreadgroup GROUP g1 $consumer STREAMS $stream 0",
    "xreadgroup GROUP $group $consumer COUNT $count ?NOACK STREAMS $stream $after",
    "xreadgroup group $group $consumer ?count_$count ?noack streams x1 x2 $after >",
    "xreadgroup GROUP $group $consumer STREAMS $stream $stream > >",
    "xack $stream $group $pending ?$pending ?$id",
    "xack $stream g1 $pending ?$pending",
    "xpending $stream $group",
    "xpending $stream $group - + 100",
    "xpending $stream $group ?IDLE_$idle $bounds $count ?$consumer",
    "xpending $stream $group ?idle_$idle - + 10 $consumer ?odd",
    "xclaim $stream $group $consumer $idle $pending ?$pending ?IDLE_$idle ?TIME_$time ?FORCE ?JUSTID ?RETRYCOUNT_$count ?LASTID_$id",
    "xclaim $stream g1 $consumer 0 $pending $pending ?IDLE_$idle ?JUSTID",
    "xclaim $stream $group $consumer $idle $pending $id ?retrycount_$increment ?force ?JUSTID",
    "xautoclaim $stream $group $consumer $idle $bound_id ?COUNT_$count ?JUSTID",
    "xautoclaim $stream g1 $consumer 0 0 ?COUNT_$few",
    "xinfo stream $stream",
    "xinfo stream $stream FULL ?COUNT_$count",
    "xinfo groups $stream",
    "xinfo groups $any",
    "xinfo consumers $stream $group",
    "set $text $value ?NX ?xx ?GET ?KEEPTTL ?EXAT_$deadline",
    "set $any $value",
    "set $text $value ?GET",
    "get $any",
    "getset $text $value",
    "getdel $text",
    "getex $text ?exat_$deadline ?PERSIST",
    "setnx $text $value",
    "setex $text $past $value",
    "psetex $text $past $value",
    "setrange $text $offset $value",
    "getrange $text $int $int",
    "substr $text $int $int",
    "append $text $value",
    "append $any $value",
    "strlen $any",
    "mget $any $any ?$any",
    "mset $text $value ?$text_$value ?$any_$value",
    "msetnx $text $value ?$text_$value",
    "incr $text",
    "decr $text",
    "incrby $text $increment",
    "decrby $text $increment",
    "incrbyfloat $text $float",
    "incrbyfloat $text $float",
    "setbit $text $bitoffset $bit",
    "setbit $any $bitoffset $bit",
    "getbit $any $bitoffset",
    "bitcount $any",
    "bitcount $any $int $int ?$unit",
    "bitpos $any $bit ?$int ?$int ?$unit",
    "bitpos $text $bit $int $int $unit",
    "bitop $bitop $text $any ?$any",
    "bitop $bitop $text $text $text",
    "bitfield $text ?GET_$field_$bitoffset ?OVERFLOW_$overflow ?set_$field_$bitoffset_$int ?INCRBY_$field_$bitoffset_$increment",
    "bitfield $text OVERFLOW $overflow INCRBY $field $bitoffset $increment INCRBY $field $bitoffset $increment",
    "bitfield $any SET $field $bitoffset $increment ?OVERFLOW_$overflow ?SET_$field_$bitoffset_$increment ?GET_$field_$bitoffset",
    "bitfield_ro $any ?GET_$field_$bitoffset ?GET_$field_$bitoffset ?SET_u8_0_1",
    "lcs $text $any ?LEN ?idx ?WITHMATCHLEN ?minmatchlen_$count",
    "pfadd $sketch $names",
    "pfadd $sketch $many",
    "pfadd $sketch ?$many",
    "pfadd $any $name",
    "pfcount $sketch",
    "pfcount $sketch $sketch ?$any",
    "pfmerge $sketch $sketch ?$sketch ?$any",
    "pfmerge $any $sketch",
    "get $sketch",
    "get $sketch",
    "expireat $sketch $deadline",
    "del $sketch",
    "del $any ?$any",
    "unlink $any ?$any",
    "exists $any ?$any ?$any",
    "touch $any ?$any",
    "type $any",
    "rename $any $any",
    "renamenx $any $any",
    "copy $any $any ?REPLACE ?DB_$db",
    "expire $any $past",
    "pexpire $any $past ?NX ?XX ?gt ?LT",
    "expireat $any $deadline ?NX ?XX ?gt ?LT",
    "pexpireat $any $deadline ?NX ?XX ?gt ?LT",
    "expiretime $any",
    "pexpiretime $any",
    "persist $any",
    "keys $pattern",
];

/// More of them, whose replies follow from random numbers: two servers do not draw the same ones.
const DRAWING_TEMPLATES: &[&str] = &[
    "spop $set ?$count",
    "srandmember $set ?$few",
    "hrandfield $hash ?$few",
    "hrandfield $hash $few WITHVALUES",
    "zrandmember $zset ?$few",
    "zrandmember $zset $few WITHSCORES",
];

/// Commands on keys that are not drawn, and why: they are compared in `tests/tests/all/compatibility.rs` alone.
const NOT_DRAWN: &[(&str, &str)] = &[
    ("dbsize", "it has no key"),
    ("eval", "scripts have a comparison of their own, in core/lua/tests"),
    ("eval_ro", "scripts have a comparison of their own, in core/lua/tests"),
    ("evalsha", "it needs a node that knows the script"),
    ("evalsha_ro", "it needs a node that knows the script"),
    ("flushall", "what the others have made would be gone"),
    ("flushdb", "what the others have made would be gone"),
    ("object|encoding", "Redis remembers what a collection has been"),
    ("object|freq", "it counts what is not counted here"),
    ("object|idletime", "it tells of the time"),
    ("object|refcount", "Redis tells of its own numbers"),
    ("pttl", "it tells of the time"),
    ("randomkey", "it draws by itself"),
    ("scan", "its cursors are the server's own"),
    ("ttl", "it tells of the time"),
];

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
            chosen: Vec::new(),
            recent_ids: Vec::new(),
        }
    }

    /// The same, with commands that draw random numbers: for two executions in which those are the same.
    pub(crate) fn with_drawing(seed: u64) -> RandomCommands {
        RandomCommands { has_drawing: true, ..RandomCommands::new(seed) }
    }

    /// The same, with the commands alone whose templates `is_chosen` says: their keys are seldom of another type then, and they
    /// meet what others have made.
    pub(crate) fn only(seed: u64, is_chosen: fn(&str) -> bool) -> RandomCommands {
        let chosen = TEMPLATES.iter().copied().filter(|template| is_chosen(template)).collect();
        RandomCommands { chosen, ..RandomCommands::new(seed) }
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
        if self.one_in(20) && !["zlex", "nothing"].contains(&words[at].as_str()) && !words[0].ends_with("incrby") {
            words[at] = self.pick(&["l1", "s1", "h1", "z1", "x1", "none"]);
        }
        if self.one_in(40) {
            words.push("odd".to_owned());
        }
        words
    }

    /// Appends what `word` stands for.
    fn word(&mut self, word: &str, words: &mut Vec<String>) {
        let drawn = match word {
            "$list" => self.pick(&["l1", "l2"]),
            "$set" => self.pick(&["s1", "s2"]),
            "$hash" => self.pick(&["h1", "h2"]),
            "$zset" => self.pick(&["z1", "z2"]),
            "$stream" => self.pick(&["x1", "x2"]),
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
                (name, _) => name.to_owned(),
            }
        };
        let drawn: Vec<String> = TEMPLATES.iter().map(name).collect();
        let listed: Vec<&str> =
            drawn.iter().map(String::as_str).chain(NOT_DRAWN.iter().map(|(name, _)| *name)).collect();
        let forgotten: Vec<&&str> = names.iter().filter(|name| !listed.contains(name)).collect();
        assert!(forgotten.is_empty(), "no template and no reason why not: {forgotten:?}");
        let not_there: Vec<&&str> = listed.iter().filter(|name| !names.contains(*name)).collect();
        assert!(not_there.is_empty(), "no commands: {not_there:?}");
        assert!(NOT_DRAWN.iter().all(|(_, why)| !why.is_empty()));
    }
}
