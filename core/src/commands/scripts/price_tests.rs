//! Commands that scripts call are paid for by what they do, however short they are and whatever they reply.

use basalt_lua::SHORT_SCRIPT_WORK;
use basalt_storage::{MemoryRows, Trial};

use super::table::{STEP_SCRIPT, STEP_SCRIPT_RO};
use super::{Reach, Terms};
use crate::commands::testing::Shard;
use crate::limits;

/// Runs a script on rows that `fill` has made, as a shard does: on trial.
fn run(fill: &[&[u8]], text: &str, args: &[&[u8]]) -> String {
    let terms = |work| {
        Terms {
            is_read_only: false,
            in_cluster: false,
            reach: Reach::All,
            stops_elsewhere: false,
            is_wide: true,
            work,
            rights: None,
        }
        .encode()
    };
    let mut shard = Shard::over(MemoryRows::default());
    for script in fill {
        let reply = shard.step(STEP_SCRIPT, &[&terms(u64::MAX), script, b"0"]);
        assert_eq!(reply, ":1", "{}", String::from_utf8_lossy(script));
    }
    let filled = shard.into_rows();
    let mut shard = Shard::over(Trial::new(&filled, limits::SCRIPT_TRIAL_BYTES_MAX));
    let terms = terms(SHORT_SCRIPT_WORK);
    let args = [&[&terms[..], text.as_bytes(), b"0"], args].concat();
    shard.step(STEP_SCRIPT, &args)
}

#[test]
fn what_takes_long_is_not_done_as_often_as_what_is_over_at_once() {
    let strings =
        b"redis.call('set', 'a', string.rep('a', 4000)) redis.call('set', 'b', string.rep('b', 4000)) return 1";
    let members = b"for i = 1, 100 do redis.call('sadd', 's', i .. string.rep('a', 2000)) end return 1";
    let keys = b"for i = 1, 100 do redis.call('set', i .. string.rep('a', 2000), 'x') end return 1";
    let scores = b"for i = 1, 3000 do redis.call('zadd', 'z', i, i) end return 1";
    let pattern = [&b"*"[..], &[b'a'; 1000], b"b"].concat();
    let cases: &[(&[&[u8]], &str)] = &[
        // Sixteen million pairs of bytes, of eight thousand bytes.
        (&[strings], "for i = 1, 20 do redis.call('lcs', 'a', 'b', 'LEN') end return 1"),
        (&[strings], "for i = 1, 20 do pcall(redis.call, 'lcs', 'a', 'b', 'IDX') end return 1"),
        (&[members], "for i = 1, 5 do redis.call('sscan', 's', 0, 'match', ARGV[1], 'count', 1000) end return 1"),
        (&[], "for i = 1, 100 do redis.call('keys', 'none') end return 1"),
        (&[keys], "for i = 1, 5 do redis.call('keys', ARGV[1]) end return 1"),
        // Rows that are not there, seven thousand a call.
        (
            &[],
            "local t = {} for i = 1, 7000 do t[i] = i end for i = 1, 4 do redis.call('exists', unpack(t)) end return 1",
        ),
        (
            &[],
            "for i = 1, 500 do redis.call('zadd', 'z', i, i) end for i = 1, 1500 do redis.call('zcount', 'z', 0, 499) end return 1",
        ),
        (
            &[scores],
            "for i = 1, 100 do redis.call('zremrangebyscore', 'z', -2, -1) redis.call('zunion', 1, 'z') end return 1",
        ),
    ];
    for (fill, text) in cases {
        let began = std::time::Instant::now();
        let reply = run(fill, text, &[&pattern]);
        println!("{:?} {text} {}", began.elapsed(), &reply[..reply.len().min(80)]);
        assert!(reply.starts_with("-ERR the script was stopped and undone"), "{text}: {reply}");
    }
}

#[test]
fn usual_commands_are_paid_for_by_some_hundred_units() {
    for text in [
        "for i = 1, 2000 do redis.call('set', 'k' .. i, i) end return 1",
        "for i = 1, 2000 do redis.call('incr', 'k') end return 1",
        "for i = 1, 500 do redis.call('hset', 'h', i, i) redis.call('hget', 'h', i) redis.call('zadd', 'z', i, i) end return 1",
        "local t = {} for i = 1, 1000 do t[i] = i end redis.call('rpush', 'l', unpack(t)) redis.call('lrange', 'l', 0, -1) return 1",
        "redis.call('set', 'a', string.rep('a', 500)) redis.call('set', 'b', string.rep('b', 500)) redis.call('lcs', 'a', 'b') return 1",
        "for i = 1, 500 do redis.call('sadd', 's', i) end redis.call('sscan', 's', 0, 'match', '*1*', 'count', 1000) return 1",
    ] {
        assert_eq!(run(&[], text, &[]), ":1", "{text}");
    }
}

#[test]
fn what_differs_between_replicas_is_not_for_scripts_that_write() {
    for command in ["'scan', 0", "'randomkey'"] {
        let text = format!("redis.call('set', 'k', 1) return redis.pcall({command})");
        let reply = run(&[], &text, &[]);
        match command {
            // All in one page, in the order of KEYS.
            "'scan', 0" => assert_eq!(reply, "*2 $1 0 *1 $1 k"),
            _ => assert!(reply.starts_with("-ERR RANDOMKEY is for scripts that only read"), "{reply}"),
        }
        let run_as = |id: u16, is_wide: bool| {
            let terms = Terms {
                is_read_only: id == STEP_SCRIPT_RO,
                in_cluster: false,
                reach: Reach::All,
                stops_elsewhere: false,
                is_wide,
                work: SHORT_SCRIPT_WORK,
                rights: None,
            };
            let text = format!("return {{redis.pcall({command})}}");
            Shard::over(MemoryRows::default()).step(id, &[&terms.encode(), text.as_bytes(), b"0"])
        };
        // One that an earlier program has put into the log is refused both, as it was there.
        let reply = run_as(STEP_SCRIPT, false);
        assert!(reply.starts_with("*1 -ERR SCAN and RANDOMKEY are for scripts that only read"), "{reply}");
        let reply = run_as(STEP_SCRIPT_RO, true);
        assert!(!reply.contains("for scripts"), "{reply}");
    }
}

#[test]
fn the_page_of_a_scan_has_what_its_options_say_and_keys_are_paid_for() {
    let fill: &[&[u8]] =
        &[b"for i = 1, 300 do redis.call('set', 'k' .. i, i) end redis.call('lpush', 'l', 1) return 1"];
    for (call, expected) in [
        ("'scan', 77, 'match', 'k1', 'count', 1", "*2 $1 0 *1 $2 k1"),
        ("'scan', 0, 'type', 'list'", "*2 $1 0 *1 $1 l"),
        ("'scan', 0, 'match', 'none'", "*2 $1 0 *0"),
        ("'scan', 'x'", "-ERR invalid cursor"),
        ("'scan', 0, 'count', 0", "-ERR syntax error"),
    ] {
        assert_eq!(run(fill, &format!("return redis.pcall({call})"), &[]), expected, "{call}");
    }
    let same = "local keys = redis.call('keys', '*') local page = redis.call('scan', 0) \
                for i, key in ipairs(keys) do if page[2][i] ~= key then return 0 end end return #page[2]";
    assert_eq!(run(fill, same, &[]), ":301");
    let many = "for i = 1, 1000 do redis.call('scan', 0) end return 1";
    assert!(run(fill, many, &[]).starts_with("-ERR the script was stopped and undone"));
}

#[test]
fn what_a_script_publishes_stands_before_its_reply_and_is_paid_for() {
    use crate::commands::scripts::split_messages;
    let terms = |is_read_only, is_wide| {
        let (reach, work) = (Reach::All, SHORT_SCRIPT_WORK);
        Terms { is_read_only, in_cluster: false, reach, stops_elsewhere: false, is_wide, work, rights: None }.encode()
    };
    let mut shard = Shard::over(MemoryRows::default());
    let mut run = |text: &str, terms: &[u8]| {
        let bytes = shard.step_bytes(STEP_SCRIPT, &[terms, text.as_bytes(), b"0"]);
        let (messages, reply) = split_messages(&bytes);
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let messages: Vec<_> = messages.map(|of| (of.is_sharded, shown(of.channel), shown(of.message))).collect();
        (messages, shown(reply).replace("\r\n", " ").trim_end().to_owned())
    };
    let of = |is_sharded, channel: &str, message: &str| (is_sharded, channel.to_owned(), message.to_owned());
    let (one, two) = (of(false, "a", "x"), of(true, "b", ""));
    let both = "redis.call('publish', 'a', 'x') local n = redis.call('spublish', 'b', '') ";
    assert_eq!(run(&format!("{both}return n"), &terms(false, true)), (vec![one.clone(), two.clone()], ":0".to_owned()));
    let (messages, reply) = run(&format!("{both}error('stop')"), &terms(false, true));
    assert!(messages == [one, two] && reply.starts_with("-ERR user_script:1: stop"), "{messages:?} {reply}");
    for (text, terms, expected) in [
        (both, terms(true, true), "-ERR Write commands are not allowed from read-only scripts."),
        (both, terms(false, false), "-ERR This Redis command is not allowed from script"),
        (
            "redis.call('publish', 'a', 'x') while true do end",
            terms(false, true),
            "-ERR the script was stopped and undone",
        ),
        (
            "while true do redis.call('publish', 'a', 'x') end",
            terms(false, true),
            "-ERR the script was stopped and undone",
        ),
    ] {
        let (messages, reply) = run(text, &terms);
        assert!(messages.is_empty() && reply.starts_with(expected), "{text}: {messages:?} {reply}");
    }
}
