//! Every command that reads a number, with numbers at the edge of what can be read, compared with a real redis-server byte for
//! byte.

use basalt_net::resp::Protocol;
use basalt_tests::RedisServer;

use super::ScanCursor;
use super::differential::Redis;
use super::testing::Shard;

/// Numbers of every kind, each also with the additions of [`numbers`].
const NUMBERS: [&str; 113] = [
    "0",
    "-0",
    "00",
    "-00",
    "1",
    "-1",
    "+1",
    "01",
    "-01",
    "1.0",
    "1.",
    ".5",
    "-.5",
    ".",
    "-",
    "+",
    "--1",
    "+-1",
    "1_0",
    "1,0",
    "1/",
    "1:",
    "/1",
    "one",
    "127",
    "1e3",
    "1E3",
    "1e+3",
    "1e-3",
    "1e",
    "1e+",
    "e3",
    "1.5e3.5",
    "10e-1",
    // at the edge of 32 and 64 bits
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "4294967296",
    "9007199254740993",
    "9223372036854775806",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "-18446744073709551615",
    "-18446744073709551616",
    "99999999999999999999",
    "100000000000000000000",
    "-99999999999999999999",
    // at the edge of a double
    "1.7976931348623157e308",
    "1.797693134862315807e308",
    "1.7976931348623159e308",
    "-1.7976931348623159e308",
    "1e308",
    "1e309",
    "-1e309",
    "1e400",
    "2.2250738585072014e-308",
    "2.2250738585072011e-308",
    "4.9e-324",
    "-4.9e-324",
    "2.4703282292062328e-324",
    "2.4703282292062327e-324",
    "1e-324",
    "1e-400",
    "-1e-400",
    "1e99999",
    "1e-99999",
    "1e99999999999999999999",
    "-1e-99999999999999999999",
    "0e99999999999999999999",
    // at the edge of a long double
    "1.18973149535723176502e4932",
    "1.18973149535723176509e4932",
    "1e4932",
    "1e4933",
    "3.6e-4951",
    "1.9e-4951",
    "1.8e-4951",
    "1e-5000",
    "0.1",
    "3.14159265358979323846",
    "123456789012345678901234567890",
    "1e17",
    "5e-18",
    // words
    "inf",
    "+inf",
    "-inf",
    "Infinity",
    "-INFINITY",
    "infinit",
    "infinity1",
    "nan",
    "-NaN",
    "nan(1)",
    // hexadecimal
    "0x",
    "0x10",
    "-0X1F",
    "0x.",
    "0x.8",
    "0x1p-3",
    "0x1p",
    "0xp1",
    "0x1g",
    "0x1p-1074",
    "0x1p-1075",
    "0x1.8p-1074",
    "0x1.fffffffffffff7p1023",
    "0x1.fffffffffffff8p1023",
    "0x1p1024",
];

/// Numbers that are hexadecimal and need all of their digits, or long.
fn long_numbers() -> Vec<Vec<u8>> {
    let zeros = "0".repeat(40);
    // half way between two doubles
    let half = "1.00000000000000011102230246251565404236316680908203125";
    let mut numbers = vec![
        format!("{zeros}1"),
        format!("-{zeros}1"),
        format!("0.{zeros}1"),
        format!("1{zeros}e-40"),
        format!("{half}{zeros}{zeros}"),
        format!("{half}{zeros}{zeros}1"),
        "0x1.00000000000008p0".to_owned(),
        "0x1.000000000000080001p0".to_owned(),
        "0x1.0000000000001800000000000000000000000000000000p0".to_owned(),
        "0x1.0000000000000800000000000000000000000000000001p0".to_owned(),
        "0x1.00000000000000010000000000000000000000000000000001p0".to_owned(),
        "0x1p-16445".to_owned(),
        "0x1p-16446".to_owned(),
        "0x1.00000000000000000000000000000000000000000001p-16446".to_owned(),
        "0x1.ffffffffffffffffp16383".to_owned(),
        "0x1.fffffffffffffffep16383".to_owned(),
    ];
    // the longest that each of Redis' buffers holds, and one more
    numbers.extend([127, 128, 5119, 5120].map(|length| format!("{}1", "0".repeat(length - 1))));
    numbers.extend([5119, 5120].map(|length| format!("1.{}", "5".repeat(length - 2))));
    numbers.into_iter().map(String::into_bytes).collect()
}

/// The numbers, some with what may stand before or behind one, and what is no text at all.
fn numbers() -> Vec<Vec<u8>> {
    let mut numbers: Vec<Vec<u8>> = NUMBERS.iter().map(|number| number.as_bytes().to_vec()).collect();
    for number in ["1", "-7", "inf", "5-5"] {
        for before in ["", " ", "\t", "\x0b", "\n", "\r", "\x0c", "\0", "(", "((", "\u{a0}"] {
            for behind in ["", " ", "\n", "\0", "\0x", "x", ")", "-"] {
                numbers.push(format!("{before}{number}{behind}").into_bytes());
            }
        }
    }
    numbers.extend(
        ["", " ", "\0", "\0\0", "(", "(\0", "*", "*\0", "-\0", "1-*", "1-*\0", "1-\0", "1--5", "1--05", "1- 5", "1-05"]
            .map(Vec::from),
    );
    numbers.extend([b"\xff".to_vec(), b"1\xff".to_vec()]);
    numbers.extend(long_numbers());
    numbers
}

/// Commands in which `#` stands for the number; those of one row run one after the other on no key at all. The keys are `k`
/// and `d`.
const COMMANDS: &[&[&str]] = &[
    &["zadd k # m", "zscore k m", "zrange k 0 -1 withscores"],
    &["zadd k 1 m", "zadd k incr # m", "zscore k m"],
    &["zadd k 1 m", "zadd k GT CH # m 1 n", "zscore k m"],
    &["zincrby k # m", "zincrby k # m", "zscore k m"],
    &["zadd k inf m", "zincrby k # m"],
    &["zadd k 1 a 5 b inf c -1 d", "zcount k # +inf", "zcount k -inf #", "zcount k # #", "zcount k (# +inf"],
    &["zadd k 1 a 5 b inf c -1 d", "zrangebyscore k # +inf", "zrevrangebyscore k # -inf", "zrange k # inf byscore"],
    &[
        "zadd k 1 a 5 b",
        "zrangebyscore k 0 9 limit # 1",
        "zrangebyscore k 0 9 limit 0 #",
        "zrange k # -1",
        "zrange k 0 #",
    ],
    &["zadd k 1 a 5 b", "zrevrange k # #", "zpopmin k #", "zpopmax k #"],
    &["zpopmin none #", "spop none #", "lpop none #", "rpop none #"],
    &["incrbyfloat k #", "get k", "incrbyfloat k #", "get k"],
    &["set k #", "incrbyfloat k 1", "get k"],
    &["set k #", "incr k", "incrby k 0", "decrby k 1", "object encoding k"],
    &["set k 0", "incrby k #", "decrby k #", "get k"],
    &["set k -1", "decrby k #", "get k"],
    &["hincrby k f #", "hget k f"],
    &["hset k f #", "hincrby k f 1", "hincrbyfloat k f 1", "hget k f"],
    &["hincrbyfloat k f #", "hget k f", "hincrbyfloat k f #", "hget k f"],
    &["rpush k a b c", "hincrbyfloat k f #", "incrbyfloat k #"],
    &["set k v", "expire k #", "exists k"],
    &["set k v", "pexpire k #", "exists k"],
    &["set k v", "expireat k #", "exists k"],
    &["set k v", "pexpireat k #", "exists k"],
    &["set k v ex #", "exists k"],
    &["set k v px #", "exists k"],
    &["set k v exat #", "exists k"],
    &["set k v pxat #", "exists k"],
    &["setex k # v", "psetex k # v", "exists k"],
    &["set k v", "getex k ex #", "exists k"],
    &["set k v", "getex k pxat #", "exists k"],
    &["set k value", "getrange k # -1", "getrange k 0 #", "substr k # #"],
    &["set k value", "setrange k # \"\"", "strlen k"],
    &["mset k value d valve", "lcs k d idx minmatchlen #"],
    &["rpush k a b c", "lindex k #", "lrange k # -1", "lrange k 0 #", "lset k # x", "lrange k 0 -1"],
    &["rpush k a b c", "ltrim k # -1", "lrange k 0 -1"],
    &["rpush k a b c", "lpop k #", "rpop k #"],
    &["sadd k a", "spop k #"],
    &["set k v", "copy k d db #", "copy k d db # replace"],
    &["xadd k # f v", "xlen k", "xadd k # f v"],
    &["xadd k 1-# f v", "xlen k"],
    &["xadd k #-1 f v", "xlen k"],
    &["xadd k 1-1 f v", "xadd k 5-5 f v", "xrange k # +", "xrange k - #", "xrevrange k # -", "xrange k - + count #"],
    &["xadd k 1-1 f v", "xadd k 5-5 f v", "xdel k #", "xlen k"],
    &["xadd k 1-1 f v", "xadd k 5-5 f v", "xtrim k maxlen #", "xlen k"],
    &["xadd k 1-1 f v", "xadd k 5-5 f v", "xtrim k minid #", "xlen k"],
    &["xadd k 1-1 f v", "xtrim k maxlen ~ 100 limit #"],
];

/// The words of a command with the number in it.
fn words(line: &str, number: &[u8]) -> Vec<Vec<u8>> {
    let word = |word: &str| match word.split_once('#') {
        Some((before, behind)) => [before.as_bytes(), number, behind.as_bytes()].concat(),
        None if word == "\"\"" => Vec::new(),
        None => word.as_bytes().to_vec(),
    };
    line.split(' ').map(word).collect()
}

/// A reply without what the two need not agree on: the id that `XADD *` makes is the time.
fn comparable(line: &[Vec<u8>], reply: Vec<u8>) -> String {
    let is_made = line[0] == b"xadd" && line[2].first() == Some(&b'*') && reply.starts_with(b"$");
    if is_made { "an id".to_owned() } else { reply.escape_ascii().to_string() }
}

/// Returns whether redis-server may have had the time to find the key expired: the shard's clock stands, and a deadline of these
/// milliseconds passes on a slow machine.
fn may_have_expired(line: &[Vec<u8>], number: &[u8], reply: &str) -> bool {
    let milliseconds = str::from_utf8(number).ok().and_then(|number| number.parse::<i64>().ok());
    line[0] == b"exists"
        && reply.starts_with(":0")
        && milliseconds.is_some_and(|number| (1..3_600_000).contains(&number))
}

#[test]
fn numbers_are_read_as_redis_reads_them() {
    let server = RedisServer::start();
    let mut redis = Redis::connect(&server, Protocol::Resp2);
    let mut differences = 0;
    for number in numbers() {
        for lines in COMMANDS {
            redis.run(&[b"FLUSHALL".to_vec()]);
            let mut shard = Shard::new();
            for line in *lines {
                let line = words(line, &number);
                let expected = comparable(&line, redis.run(&line));
                let reply = comparable(&line, shard.run(Protocol::Resp2, &line));
                if expected != reply && !may_have_expired(&line, &number, &expected) {
                    let shown = line.join(&b' ');
                    let shown = shown.escape_ascii().to_string();
                    println!("{shown:.100}\n  redis  {expected:.200}\n  basalt {reply:.200}");
                    differences += 1;
                }
            }
        }
    }
    assert_eq!(differences, 0);
}

#[test]
fn cursors_are_read_as_redis_reads_them() {
    let server = RedisServer::start();
    let mut redis = Redis::connect(&server, Protocol::Resp2);
    for cursor in numbers() {
        let is_taken = redis.run(&[b"SCAN".to_vec(), cursor.clone()]).starts_with(b"*");
        assert_eq!(ScanCursor::read(&cursor).is_ok(), is_taken, "{}", cursor.escape_ascii());
    }
}
