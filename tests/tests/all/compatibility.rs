//! Every command that there is, asked of a real node and of redis-server, in both versions of the protocol: replies and error
//! texts are the same, byte for byte.
//!
//! What a newcomer would get wrong: the node has two shards, so keys of one line are on different ones unless a `{tag}` keeps
//! them together. Redis has one of everything, and must not be told apart.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use basalt_tests::{Client, DEADLINE, RedisServer, Reply};

use crate::alone::Alone;

/// A connection whose replies are given as the bytes that came.
struct Raw {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Raw {
    fn connect(address: SocketAddr, protocol: u8) -> Raw {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("it is a socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("it is a valid time");
        let mut raw = Raw { stream, input: Vec::new() };
        raw.ask(&format!("HELLO {protocol}"));
        raw
    }

    /// Sends a line, `""` in it for an empty word, and reads one reply.
    fn ask(&mut self, line: &str) -> Vec<u8> {
        let mut request = Vec::new();
        Client::encode(&mut request, line.split(' ').map(|word| if word == "\"\"" { "" } else { word }));
        self.stream.write_all(&request).expect("the server reads");
        let mut buffer = [0; 64 << 10];
        loop {
            let mut rest = self.input.as_slice();
            if Reply::read(&mut rest).is_ok() {
                let length = self.input.len() - rest.len();
                return self.input.drain(..length).collect();
            }
            let count = self.stream.read(&mut buffer).unwrap_or_else(|error| panic!("no reply to '{line}': {error}"));
            assert!(count > 0, "the connection was closed after '{line}'");
            self.input.extend_from_slice(&buffer[..count]);
        }
    }
}

/// The way in which the two replies to a line are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    /// As bytes.
    Bytes,
    /// As replies whose elements may come in any order.
    Unordered,
    /// By their kinds alone: what they tell is the server's own.
    Kinds,
    /// As bytes, but for deadlines: each server counts from its own now.
    Near,
}

/// Seconds by which two deadlines may differ that were set one after the other.
const NEAR: u64 = 5;

/// Returns whether both are deadlines of about the same time.
fn are_near(one: &Reply, other: &Reply) -> bool {
    match (one, other) {
        (Reply::Integer(one), Reply::Integer(other)) => *one > 0 && *other > 0 && one.abs_diff(*other) <= NEAR,
        _ => false,
    }
}

/// A reply with its elements in an order of their own.
fn sorted(reply: Reply) -> Reply {
    let sort = |items: Vec<Reply>, together: usize| {
        let items: Vec<Reply> = items.into_iter().map(sorted).collect();
        let mut groups: Vec<&[Reply]> = items.chunks(together).collect();
        groups.sort_by_key(|group| format!("{group:?}"));
        groups.concat()
    };
    match reply {
        Reply::Array(items) => Reply::Array(sort(items, 1)),
        Reply::Set(items) => Reply::Set(sort(items, 1)),
        Reply::Map(items) => Reply::Map(sort(items, 2)),
        other => other,
    }
}

/// The kinds of a reply and of its elements.
fn kinds(reply: &Reply) -> String {
    let all = |name: &str, items: &[Reply]| {
        let kinds: BTreeSet<String> = items.iter().map(kinds).collect();
        format!("{name}{kinds:?}")
    };
    match reply {
        Reply::Simple(_) => "simple".into(),
        Reply::Error(text) => format!("error {}", text.split(' ').next().unwrap_or_default()),
        Reply::Integer(_) => "integer".into(),
        Reply::Bulk(_) => "bulk".into(),
        Reply::Null => "null".into(),
        Reply::Double(_) => "double".into(),
        Reply::Boolean(_) => "boolean".into(),
        Reply::Verbatim(_) => "verbatim".into(),
        Reply::BigNumber(_) => "big number".into(),
        Reply::Array(items) => all("array", items),
        Reply::Map(items) => all("map", items),
        Reply::Set(items) => all("set", items),
        Reply::Push(items) => all("push", items),
    }
}

/// Asks both the same and keeps the differences.
struct Comparison {
    redis: Raw,
    basalt: Raw,
    differences: Vec<String>,
}

impl Comparison {
    fn new(redis: &RedisServer, alone: &Alone, protocol: u8) -> Comparison {
        let (redis, basalt) = (Raw::connect(redis.address(), protocol), Raw::connect(alone.node.address(), protocol));
        let mut comparison = Comparison { redis, basalt, differences: Vec::new() };
        comparison.compare("FLUSHALL", As::Bytes);
        comparison
    }

    fn compare(&mut self, line: &str, how: As) {
        let replies = [self.redis.ask(line), self.basalt.ask(line)];
        let reply = |bytes: &Vec<u8>| Reply::read(&mut bytes.as_slice()).expect("it was read before");
        let is_same = match how {
            As::Bytes => replies[0] == replies[1],
            As::Unordered => sorted(reply(&replies[0])) == sorted(reply(&replies[1])),
            As::Kinds => kinds(&reply(&replies[0])) == kinds(&reply(&replies[1])),
            As::Near => replies[0] == replies[1] || are_near(&reply(&replies[0]), &reply(&replies[1])),
        };
        if !is_same {
            let [redis, basalt] = replies.map(|bytes| bytes.escape_ascii().to_string());
            self.differences.push(format!("{line}\n  redis:  {redis}\n  basalt: {basalt}"));
        }
    }

    fn finish(self) {
        assert!(self.differences.is_empty(), "\n{}", self.differences.join("\n"));
    }
}

fn in_both_protocols(run: impl Fn(&mut Comparison)) {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    for protocol in [2, 3] {
        let mut comparison = Comparison::new(&redis, &alone, protocol);
        run(&mut comparison);
        comparison.finish();
    }
}

/// A key of each type and one that is not there.
const KEYS: [&str; 7] = ["string", "list", "set", "hash", "sorted", "stream", "missing"];

/// Commands that make them.
const MAKE_KEYS: [&str; 7] = [
    "FLUSHALL",
    "SET string 10",
    "RPUSH list a b c",
    "SADD set a b c",
    "HSET hash a 1 b 2",
    "ZADD sorted 1 a 2 b 3 c",
    "XADD stream 1-1 field value",
];

/// Calls of every command on a key, `K`. Each is made on a key of each type. `{K}name` is another key in the same slot.
const CALLS: &[&str] = &[
    // Any type.
    "EXISTS K",
    "EXISTS K K missing",
    "TYPE K",
    "TOUCH K missing",
    "DEL K",
    "UNLINK K K",
    "KEYS K",
    "OBJECT ENCODING K",
    "OBJECT REFCOUNT K",
    "OBJECT FREQ K",
    "OBJECT IDLETIME K",
    "RENAME K K",
    "RENAME K other",
    "RENAME K new",
    "RENAMENX K K",
    "RENAMENX K other",
    "RENAMENX K new",
    "COPY K K",
    "COPY K other",
    "COPY K new",
    "COPY K other REPLACE",
    "COPY K K DB 1",
    "COPY K K DB 1 DB 2 REPLACE",
    "COPY K new DB x",
    "COPY K new DB 99",
    "COPY K new FOO",
    "MOVE K 1",
    "MOVE K 0",
    "MOVE K 99",
    "MOVE K x",
    "MOVE K 3000000000",
    "MOVE missing 1",
    "DUMP K",
    "DUMP missing",
    "RESTORE K 0 junk",
    "RESTORE K x junk",
    "RESTORE K 0 junk REPLACE",
    "RESTORE K -1 junk REPLACE",
    "RESTORE K x junk REPLACE",
    "RESTORE new 0 junk",
    "RESTORE new 0 \"\" ABSTTL",
    "RESTORE new x junk FOO",
    "RESTORE new 0 junk IDLETIME",
    "RESTORE new 0 junk IDLETIME x",
    "RESTORE new 0 junk IDLETIME -1",
    "RESTORE new 0 junk IDLETIME 5 FREQ 5",
    "RESTORE new 0 junk FREQ 256",
    "RESTORE new 0 junk FREQ 255 ABSTTL REPLACE",
    "RESTORE-ASKING new 0 junk REPLACE",
    "RESTORE-ASKING K 0 junk",
    "MIGRATE 127.0.0.1 1 K 0 60000",
    "MIGRATE 127.0.0.1 1 \"\" 0 60000 COPY REPLACE AUTH2 u p KEYS missing K",
    "MIGRATE host x missing -1 0",
    "MIGRATE host x \"\" 0 0 KEYS missing missing",
    "MIGRATE host x \"\" 0 0 auth KEYS keys",
    "MIGRATE host 1 \"\" 0 1",
    "MIGRATE host 1 K x 1",
    "MIGRATE host 1 K 0 x",
    "MIGRATE host 1 K x x FOO",
    "MIGRATE host 1 K 0 1 AUTH",
    "MIGRATE host 1 K 0 1 AUTH2 u",
    "MIGRATE host 1 K 0 1 KEYS missing",
    "EXPIRE K 100",
    "EXPIRE K 0",
    "EXPIRE K -1",
    "EXPIRE K x",
    "EXPIRE K 9223372036854775807",
    "EXPIRE K -9223372036854775808",
    "EXPIRE K 100 NX",
    "EXPIRE K 100 XX",
    "EXPIRE K 100 GT",
    "EXPIRE K 100 LT",
    "EXPIRE K 100 NX XX",
    "EXPIRE K 100 GT LT",
    "EXPIRE K 100 XX GT",
    "EXPIRE K 100 NX GT",
    "EXPIRE K 100 FOO",
    "PEXPIRE K 100000",
    "PEXPIRE K 0 NX",
    "PEXPIRE K 9223372036854775807",
    "EXPIREAT K 33177117420",
    "EXPIREAT K 1",
    "EXPIREAT K 33177117420 LT",
    "PEXPIREAT K 33177117420000",
    "PEXPIREAT K 1 XX",
    "PEXPIREAT K 9223372036854775807",
    "TTL K",
    "PTTL K",
    "EXPIRETIME K",
    "PEXPIRETIME K",
    "PERSIST K",
    // Strings.
    "GET K",
    "SET K v",
    "SET K v NX",
    "SET K v XX",
    "SET K v GET",
    "SET K v NX GET",
    "SET K v XX GET",
    "SET K v EX 10",
    "SET K v PX 10000",
    "SET K v EXAT 33177117420",
    "SET K v PXAT 33177117420000",
    "SET K v EX 10 NX KEEPTTL",
    "SET K v KEEPTTL",
    "SET K v EX 0",
    "SET K v EX -1",
    "SET K v EX x",
    "SET K v EX",
    "SET K v PX 9223372036854775807",
    "SET K v EX 9223372036854775807",
    "SET K v NX XX",
    "SET K v PERSIST",
    "SETNX K v",
    "SETEX K 10 v",
    "SETEX K 0 v",
    "SETEX K x v",
    "PSETEX K 10000 v",
    "PSETEX K -1 v",
    "GETSET K v",
    "GETDEL K",
    "GETEX K",
    "GETEX K EX 10",
    "GETEX K PX 0",
    "GETEX K PERSIST",
    "GETEX K EXAT 33177117420",
    "GETEX K PXAT 1",
    "GETEX K NX",
    "GETEX K EX",
    "GETEX K EX 1 PERSIST",
    "STRLEN K",
    "APPEND K v",
    "APPEND K \"\"",
    "GETRANGE K 0 -1",
    "GETRANGE K -3 9",
    "GETRANGE K x 1",
    "SUBSTR K 0 0",
    "SETRANGE K 0 v",
    "SETRANGE K 5 v",
    "SETRANGE K 5 \"\"",
    "SETRANGE K -1 v",
    "SETRANGE K x v",
    "SETRANGE K 2000000000 v",
    "SETRANGE K 9223372036854775807 v",
    "MGET K missing K",
    "MSET K v",
    "MSET K v other",
    "MSET K v other w K x",
    "MSETNX K v",
    "MSETNX K v K",
    "INCR K",
    "DECR K",
    "INCRBY K 5",
    "INCRBY K x",
    "INCRBY K 9223372036854775807",
    "DECRBY K 5",
    "DECRBY K -9223372036854775808",
    "INCRBYFLOAT K 1.5",
    "INCRBYFLOAT K -3e2",
    "INCRBYFLOAT K x",
    "INCRBYFLOAT K inf",
    "SETBIT K 7 1",
    "SETBIT K 100 0",
    "SETBIT K -1 1",
    "SETBIT K 0 2",
    "SETBIT K 999999999999 1",
    "GETBIT K 3",
    "GETBIT K x",
    "BITCOUNT K",
    "BITCOUNT K 0 -1 BIT",
    "BITCOUNT K 0",
    "BITCOUNT K 0 x",
    "BITPOS K 1",
    "BITPOS K 0 0 -1 BYTE",
    "BITPOS K 2",
    "BITFIELD K",
    "BITFIELD K SET u8 0 200 GET i8 0 OVERFLOW FAIL INCRBY u8 #0 100",
    "BITFIELD K GET u64 0",
    "BITFIELD_RO K GET u4 0 GET i63 #9",
    "BITFIELD_RO K SET u4 0 1",
    "BITOP NOT K K",
    "BITOP AND {K}new K K",
    "BITOP NOT {K}new K K",
    "BITOP FOO {K}new K",
    "LCS K K",
    "LCS K K LEN",
    "LCS K K IDX",
    "LCS K K IDX MINMATCHLEN 1 WITHMATCHLEN",
    "LCS K K LEN IDX",
    "LCS K K FOO",
    "LCS K K MINMATCHLEN x",
    // Lists.
    "LPUSH K x y",
    "RPUSH K x y",
    "LPUSHX K x",
    "RPUSHX K x y",
    "LPOP K",
    "RPOP K",
    "LPOP K 2",
    "RPOP K 0",
    "LPOP K -1",
    "RPOP K x",
    "LLEN K",
    "LRANGE K 0 -1",
    "LRANGE K 1 1",
    "LRANGE K 5 9",
    "LRANGE K x 1",
    "LINDEX K -1",
    "LINDEX K 9",
    "LINDEX K x",
    "LSET K 0 z",
    "LSET K 9 z",
    "LSET K x z",
    "LTRIM K 0 0",
    "LTRIM K 5 1",
    "LPOS K b",
    "LPOS K b COUNT 0 RANK -1 MAXLEN 2",
    "LPOS K nothing",
    "LPOS K b RANK 0",
    "LPOS K b COUNT -1",
    "LREM K 0 b",
    "LREM K -1 nothing",
    "LREM K x b",
    "LINSERT K BEFORE b x",
    "LINSERT K AFTER c x",
    "LINSERT K AFTER nothing x",
    "LINSERT K AROUND b x",
    "LMPOP 1 K LEFT",
    "LMPOP 2 K K RIGHT COUNT 9",
    "LMPOP 0 K LEFT",
    "LMPOP 1 K MIN",
    "LMPOP 1 K LEFT COUNT 0",
    "LMOVE K K LEFT RIGHT",
    "LMOVE K {K}new RIGHT LEFT",
    "LMOVE K K UP LEFT",
    "BLPOP K 0.01",
    "BLPOP K K 0.01",
    "BRPOP other K 0.01",
    "BRPOP K -1",
    "BLMOVE K {K}new RIGHT LEFT 0.01",
    "BLMOVE K K LEFT RIGHT x",
    "BRPOPLPUSH K {K}new 0.01",
    "BLMPOP 0.01 1 K LEFT",
    "BLMPOP 0.01 2 K K RIGHT COUNT 2",
    "BLMPOP 0.01 0 K LEFT",
    "BLMPOP nan 1 K LEFT",
    "RPOPLPUSH K K",
    "RPOPLPUSH K {K}new",
    // Sets.
    "SRANDMEMBER K 0",
    "SRANDMEMBER K 9",
    "SRANDMEMBER K x",
    "SRANDMEMBER K 1 2",
    "SSCAN K 0",
    "SSCAN K 0 MATCH [ab] COUNT 100",
    "SSCAN K x",
    "SSCAN K 0 COUNT 0",
    "SSCAN K 0 TYPE set",
    "SMOVE K K a",
    "SMOVE K {K}new a",
    "SMOVE K {K}new nothing",
    "SUNION K",
    "SUNION K K {K}missing",
    "SINTER K K",
    "SINTER K {K}missing",
    "SDIFF K K",
    "SDIFF K {K}missing",
    "SINTERCARD 2 K K",
    "SINTERCARD 1 K LIMIT 1",
    "SINTERCARD 0 K",
    "SINTERCARD 9 K",
    "SINTERCARD 1 K LIMIT -1",
    "SUNIONSTORE {K}new K K",
    "SUNIONSTORE K {K}missing",
    "SINTERSTORE {K}new K K",
    "SDIFFSTORE {K}new K {K}missing",
    "SDIFFSTORE K K K",
    "SADD K x y x",
    "SREM K a nothing",
    "SCARD K",
    "SISMEMBER K a",
    "SMISMEMBER K a nothing",
    "SMEMBERS K",
    "SPOP K 0",
    "SPOP K 9",
    "SPOP K -1",
    "SPOP K x",
    // Hashes.
    "HSET K f v g w f x",
    "HSET K f",
    "HSET K f v g",
    "HMSET K f v",
    "HSETNX K f w",
    "HGET K a",
    "HGET K nothing",
    "HMGET K a nothing",
    "HDEL K a nothing",
    "HLEN K",
    "HSTRLEN K a",
    "HEXISTS K a",
    "HGETALL K",
    "HKEYS K",
    "HVALS K",
    "HINCRBY K a 5",
    "HINCRBY K a x",
    "HINCRBYFLOAT K a 1.5",
    "HINCRBYFLOAT K nothing 0x1p-3",
    "HINCRBYFLOAT K b inf",
    "HINCRBYFLOAT K b x",
    "HRANDFIELD K 0",
    "HRANDFIELD K 9",
    "HRANDFIELD K 9 WITHVALUES",
    "HRANDFIELD K 9223372036854775807 WITHVALUES",
    "HRANDFIELD K x",
    "HRANDFIELD K 1 FOO",
    "HSCAN K 0",
    "HSCAN K 0 MATCH a COUNT 100",
    "HSCAN K x",
    "HSCAN K 0 COUNT x",
    // Sorted sets.
    "ZRANK K b",
    "ZREVRANK K a",
    "ZRANK K nothing",
    "ZREMRANGEBYRANK K 0 0",
    "ZREMRANGEBYRANK K -1 9",
    "ZREMRANGEBYRANK K x 1",
    "ZREMRANGEBYSCORE K (1 +inf",
    "ZREMRANGEBYSCORE K x 1",
    "ZREMRANGEBYLEX K - +",
    "ZREMRANGEBYLEX K a +",
    "ZRANDMEMBER K 0",
    "ZRANDMEMBER K 9",
    "ZRANDMEMBER K 9 WITHSCORES",
    "ZRANDMEMBER K x",
    "ZSCAN K 0",
    "ZSCAN K 0 MATCH [bc]",
    "ZSCAN K 0 FOO",
    "ZMPOP 1 K MIN",
    "ZMPOP 2 K K MAX COUNT 2",
    "ZMPOP 1 K LEFT",
    "ZMPOP 0 K MIN",
    "BZPOPMIN K 0.01",
    "BZPOPMAX K K 0.01",
    "BZPOPMAX K inf",
    "BZMPOP 0.01 1 K MIN",
    "BZMPOP 0.01 2 K K MAX COUNT 2",
    "BZMPOP 0.01 1 K LEFT",
    "ZRANGESTORE {K}new K 0 1",
    "ZRANGESTORE {K}new K 0 +inf BYSCORE LIMIT 0 1",
    "ZRANGESTORE {K}new K 0 1 WITHSCORES",
    "ZRANGESTORE K {K}missing 0 -1",
    "ZUNION 2 K K WITHSCORES",
    "ZUNION 2 K K WEIGHTS 2 x",
    "ZUNION 0 K",
    "ZINTER 2 K K WEIGHTS 2 3 AGGREGATE MAX WITHSCORES",
    "ZINTER 2 K {K}missing",
    "ZINTER 1 K AGGREGATE FOO",
    "ZDIFF 2 K {K}missing WITHSCORES",
    "ZDIFF 1 K WEIGHTS 1",
    "ZINTERCARD 2 K K LIMIT 2",
    "ZINTERCARD 1 K LIMIT x",
    "ZUNIONSTORE {K}new 2 K K",
    "ZUNIONSTORE {K}new 1 K WITHSCORES",
    "ZINTERSTORE {K}new 2 K K AGGREGATE MIN",
    "ZDIFFSTORE {K}new 2 K {K}missing",
    "ZDIFFSTORE K 2 K K",
    "ZADD K 1 x 2.5 y -inf z",
    "ZADD K 1e-400 x",
    "ZADD K 4.9e-324 x",
    "ZINCRBY K -1e-400 x",
    "ZINCRBY K 0x1p-1075 x",
    "ZADD K NX 9 a",
    "ZADD K XX CH 9 a",
    "ZADD K GT CH 1 a",
    "ZADD K LT 1 a",
    "ZADD K INCR 1 a",
    "ZADD K NX INCR 1 a",
    "ZADD K NX XX 1 a",
    "ZADD K GT LT 1 a",
    "ZADD K NX GT 1 a",
    "ZADD K INCR 1 a 2 b",
    "ZADD K x a",
    "ZADD K nan a",
    "ZADD K 1",
    "ZADD K 1 a 2",
    "ZINCRBY K 1.5 a",
    "ZINCRBY K x a",
    "ZREM K a nothing",
    "ZCARD K",
    "ZSCORE K a",
    "ZSCORE K nothing",
    "ZMSCORE K a nothing",
    "ZCOUNT K -inf (3",
    "ZCOUNT K x 3",
    "ZLEXCOUNT K - +",
    "ZLEXCOUNT K x +",
    "ZPOPMIN K",
    "ZPOPMIN K 2",
    "ZPOPMIN K 0",
    "ZPOPMIN K -1",
    "ZPOPMIN K x",
    "ZPOPMAX K",
    "ZPOPMAX K 9",
    "ZRANGE K 0 -1",
    "ZRANGE K 0 -1 WITHSCORES",
    "ZRANGE K 0 -1 REV",
    "ZRANGE K (1 +inf BYSCORE",
    "ZRANGE K +inf -inf BYSCORE REV LIMIT 0 2 WITHSCORES",
    "ZRANGE K - + BYLEX",
    "ZRANGE K - + BYLEX WITHSCORES",
    "ZRANGE K 0 -1 LIMIT 0 1",
    "ZRANGE K x 1",
    "ZRANGE K x 1 BYSCORE",
    "ZRANGE K 0 -1 FOO",
    "ZREVRANGE K 0 1 WITHSCORES",
    "ZRANGEBYSCORE K -inf +inf WITHSCORES LIMIT 1 1",
    "ZREVRANGEBYSCORE K +inf -inf",
    "ZRANGEBYLEX K - [b",
    "ZREVRANGEBYLEX K + -",
    // Streams.
    "XADD K 5-1 f v",
    "XADD K 5-1 f v",
    "XADD K 5-* f v g w",
    "XADD K 0-0 f v",
    "XADD K x f v",
    "XADD K 9-9 f",
    "XADD K NOMKSTREAM 99-1 f v",
    "XADD K MAXLEN 1 100-1 f v",
    "XADD K MAXLEN ~ 1 101-1 f v",
    "XADD K MAXLEN x 102-1 f v",
    "XADD K MINID 3 103-1 f v",
    "XLEN K",
    "XRANGE K - +",
    "XRANGE K - + COUNT 1",
    "XRANGE K (1-1 5",
    "XRANGE K x +",
    "XRANGE K - + COUNT x",
    "XREVRANGE K + - COUNT 2",
    "XDEL K 1-1 9-9",
    "XDEL K x",
    "XTRIM K MAXLEN 0",
    "XTRIM K FOO 1",
    "XSETID K 200-1",
    "XSETID K 0-1 ENTRIESADDED 5 MAXDELETEDID 0-1",
    "XREAD COUNT 1 STREAMS K 0",
    "XREAD STREAMS K $",
    "XREAD BLOCK 5 STREAMS K $",
    "XREAD BLOCK -1 STREAMS K $",
    "XREADGROUP GROUP g c BLOCK 5 STREAMS K >",
    "XREAD STREAMS K",
    "XREAD GROUP g c STREAMS K 0",
    "XREADGROUP GROUP g c STREAMS K >",
    "XREADGROUP GROUP g c STREAMS K $",
    "XGROUP CREATE K g 0",
    "XGROUP CREATE K g 0 MKSTREAM",
    "XGROUP CREATE K g $ MKSTREAM ENTRIESREAD 3",
    "XGROUP CREATE K g 0 FOO",
    "XGROUP SETID K g 0",
    "XGROUP DESTROY K g",
    "XGROUP CREATECONSUMER K g c",
    "XGROUP DELCONSUMER K g c",
    "XGROUP DELCONSUMER K g",
    "XGROUP FOO K g",
    "XACK K g 1-1",
    "XACK K g x",
    "XPENDING K g",
    "XPENDING K g - + 10",
    "XPENDING K g - +",
    "XCLAIM K g c 0 1-1",
    "XCLAIM K g c x 1-1",
    "XAUTOCLAIM K g c 0 0 COUNT 5",
    "XAUTOCLAIM K g c 0 0 COUNT 0",
    "XINFO STREAM K",
    "XINFO STREAM K FULL",
    "XINFO STREAM K FOO",
    "XINFO GROUPS K",
    "XINFO CONSUMERS K g",
    // Positions.
    "GEOADD K 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "GEOADD K NX CH 13.361389 38.115556 Palermo",
    "GEOADD K NX XX 1 1 a",
    "GEOADD K 181 1 a",
    "GEOADD K x 1 a",
    "GEOADD K 1 1 a 2",
    "GEOPOS K",
    "GEOPOS K a nothing",
    "GEOHASH K a nothing",
    "GEODIST K a b",
    "GEODIST K a b KM",
    "GEODIST K a b x",
    "GEODIST K a b km x",
    "GEORADIUS K 15 37 200 km",
    "GEORADIUS K 15 37 200000 km WITHDIST WITHCOORD WITHHASH ASC COUNT 2",
    "GEORADIUS K 0 0 1 km STORE {K}new",
    "GEORADIUS K -180 -85 20000 km STOREDIST {K}new COUNT 2",
    "GEORADIUS K -180 -85 20000 km STORE {K}new WITHDIST",
    "GEORADIUS K 15 37 -1 km",
    "GEORADIUS_RO K -180 -85 20000 km DESC",
    "GEORADIUS_RO K -180 -85 20000 km STORE {K}new",
    "GEORADIUSBYMEMBER K a 20000 km WITHDIST",
    "GEORADIUSBYMEMBER K nothing 1 km",
    "GEORADIUSBYMEMBER K a 1 km STORE {K}new",
    "GEORADIUSBYMEMBER_RO K a 1 mi COUNT 1 ANY",
    "GEOSEARCH K FROMMEMBER a BYRADIUS 1 km ASC",
    "GEOSEARCH K FROMLONLAT -180 -85 BYBOX 20000 20000 km WITHCOORD",
    "GEOSEARCH K FROMLONLAT 1 1 COUNT 1",
    "GEOSEARCH K BYRADIUS 1 km ASC",
    "GEOSEARCH K FROMMEMBER a BYRADIUS 1 km ANY",
    "GEOSEARCHSTORE {K}new K FROMMEMBER a BYRADIUS 1 km",
    "GEOSEARCHSTORE {K}new K FROMLONLAT -180 -85 BYRADIUS 20000 km COUNT 1 STOREDIST",
    "GEOSEARCHSTORE K {K}other FROMMEMBER a BYRADIUS 1 km",
    // Elements in another order.
    "SORT K",
    "SORT K ALPHA",
    "SORT K ALPHA DESC LIMIT 1 1",
    "SORT K ALPHA GET # GET x",
    "SORT K BY {K}w_* GET #",
    "SORT K BY {K}w_*->f DESC",
    "SORT K BY nosort STORE {K}new",
    "SORT K ALPHA STORE {K}new",
    "SORT K LIMIT x 1",
    "SORT K LIMIT 1",
    "SORT K FOO",
    "SORT_RO K ALPHA",
    "SORT_RO K BY {K}w_* DESC",
    "SORT_RO K STORE {K}new",
    // HyperLogLogs.
    "PFADD K",
    "PFADD K a b",
    "PFCOUNT K",
    "PFCOUNT K {K}other",
    "PFMERGE K",
    "PFMERGE {K}new K",
    // Too many words and too few.
    "GET K K",
    "SET K",
    "EXPIRE K",
    "TTL K K",
    "HGET K",
    "ZADD K",
    "XADD K 1-1",
    "COPY K",
    "MOVE K",
    "MOVE K 1 1",
    "DUMP",
    "DUMP K K",
    "MIGRATE host 1 K 0",
    "RESTORE K 0",
    "OBJECT K",
    "OBJECT FOO K",
];

/// Calls whose replies have no order, or tell of the time.
fn comparison_of(call: &str) -> As {
    match call.split(' ').next() {
        Some(
            "SMEMBERS" | "SPOP" | "KEYS" | "SCAN" | "SUNION" | "SINTER" | "SDIFF" | "SSCAN" | "ZSCAN" | "SRANDMEMBER"
            | "HRANDFIELD" | "ZRANDMEMBER",
        ) => As::Unordered,
        Some("PTTL") => As::Kinds,
        // Sets and hashes are told in any order, what is in a payload is compared where it is made.
        Some("DUMP") => As::Kinds,
        Some("EXPIRETIME") => As::Near,
        // Redis 7.0 keeps a small set of words and a small list as large ones, Redis 7.2 and this server do not.
        Some("OBJECT") if ["OBJECT ENCODING set", "OBJECT ENCODING list"].contains(&call) => As::Kinds,
        // Redis shares small integers, and says that they have 2147483647 owners.
        // Redis counts idle time in ticks of a clock of seconds, so that a moment may be one.
        Some("OBJECT") if call.starts_with("OBJECT REFCOUNT") || call.starts_with("OBJECT IDLETIME") => As::Kinds,
        _ => As::Bytes,
    }
}

/// Questions that show all that a call may have done to a key.
const LOOKS: [&str; 4] = ["TYPE K", "EXPIRETIME K", "EXISTS K other new", "TYPE {K}new"];

#[test]
fn every_command_answers_as_redis_whatever_type_its_key_has() {
    in_both_protocols(|comparison| {
        for call in CALLS {
            MAKE_KEYS.iter().for_each(|line| comparison.compare(line, As::Bytes));
            comparison.compare("SET other there", As::Bytes);
            for key in KEYS {
                for line in std::iter::once(call).chain(&LOOKS) {
                    let word = |word: &str| match word.strip_prefix("{K}") {
                        Some(name) => format!("{{{key}}}{name}"),
                        None => if word == "K" { key } else { word }.to_owned(),
                    };
                    let line = line.split(' ').map(word).collect::<Vec<_>>().join(" ");
                    comparison.compare(&line, comparison_of(&line));
                }
                comparison.compare("DEL new", As::Bytes);
            }
        }
    });
}

/// Changes and looks at collections that are kept in one piece, and at those that have outgrown it.
fn small_collections() -> Vec<String> {
    let pairs = |range: std::ops::Range<u32>| range.map(|number| format!(" f{number} {number}")).collect::<String>();
    let numbers = |range: std::ops::Range<u32>| range.map(|number| format!(" {}", 3 * number)).collect::<String>();
    let long = "x".repeat(65);
    let mut lines: Vec<String> = [
        "HSET h c 3 a 1 b 2",
        "HSET h a 9 d 4",
        "HDEL h c",
        "HSET h c 5",
        "HINCRBY h b 100",
        "HSETNX h e 0",
        "HGETALL h",
        "HKEYS h",
        "HSCAN h 0 COUNT 1",
        "HSCAN h 77777777777 MATCH [ab]",
        "HRANDFIELD h 100 WITHVALUES",
        "OBJECT ENCODING h",
        "COPY h h2",
        "RENAME h2 h3",
        "HGETALL h3",
        "EXPIRE h3 1000",
        "HGETALL h3",
        "SADD i 5 -3 70000 5000000000 5",
        "SMEMBERS i",
        "SREM i 70000 7",
        "SADD i 0 -9223372036854775808 9223372036854775807",
        "SSCAN i 0 COUNT 1",
        "SMISMEMBER i 5 05 x",
        "OBJECT ENCODING i",
        "COPY i i2",
        "SMEMBERS i2",
        "SMOVE i i2 5",
        "SMEMBERS i",
        "SUNIONSTORE i3 i i2",
        "SMEMBERS i3",
        "OBJECT ENCODING i3",
    ]
    .map(str::to_owned)
    .into();
    lines.extend([
        format!("HSET h2{}", pairs(0..512)),
        "OBJECT ENCODING h2".to_owned(),
        "HGETALL h2".to_owned(),
        "HSET h2 f0 again".to_owned(),
        "OBJECT ENCODING h2".to_owned(),
        "HSET h2 more 1".to_owned(),
        "OBJECT ENCODING h2".to_owned(),
        "HDEL h2 more f1 f2".to_owned(),
        "OBJECT ENCODING h2".to_owned(),
        "HLEN h2".to_owned(),
        "HGET h2 f511".to_owned(),
        format!("HSET h {long} 1"),
        "OBJECT ENCODING h".to_owned(),
        format!("HDEL h {long}"),
        "OBJECT ENCODING h".to_owned(),
        format!("HSET h3 a {long}"),
        "OBJECT ENCODING h3".to_owned(),
        "HGET h3 a".to_owned(),
        format!("SADD i4{}", numbers(0..512)),
        "OBJECT ENCODING i4".to_owned(),
        "SMEMBERS i4".to_owned(),
        "SADD i4 1".to_owned(),
        "OBJECT ENCODING i4".to_owned(),
        "SCARD i4".to_owned(),
        "SISMEMBER i4 1533".to_owned(),
    ]);
    lines
}

/// The same of sorted sets and lists.
fn small_collections_in_order() -> Vec<String> {
    let members =
        |range: std::ops::Range<u32>| range.map(|number| format!(" {number}.5 m{number}")).collect::<String>();
    let elements = |range: std::ops::Range<u32>| range.map(|number| format!(" element:{number}")).collect::<String>();
    let long = "x".repeat(65);
    let mut lines: Vec<String> = [
        "ZADD z 3 c 1 a 2 b 2 aa -0 zero 1.5 x inf top -inf low 1e300 huge 123456789012345678 big 0.1 tenth -7 seven",
        "ZRANGE z 0 -1 WITHSCORES",
        "ZREVRANGE z 1 4 WITHSCORES",
        "ZSCAN z 0 COUNT 1",
        "ZADD z XX CH 5 a 6 none",
        "ZADD z NX 5 a 2 new",
        "ZADD z GT CH 1 a 9 b",
        "ZINCRBY z 2.5 a",
        "ZINCRBY z -inf top",
        "ZMSCORE z a none zero top",
        "ZRANK z x",
        "ZREVRANK z x",
        "ZRANGEBYSCORE z (1 3 WITHSCORES LIMIT 1 3",
        "ZREVRANGEBYSCORE z +inf -inf WITHSCORES",
        "ZCOUNT z -inf (9",
        "ZRANDMEMBER z 100 WITHSCORES",
        "COPY z z2",
        "ZREM z top none",
        "ZPOPMIN z 2",
        "ZPOPMAX z",
        "ZREMRANGEBYRANK z 0 0",
        "ZREMRANGEBYSCORE z 2 2",
        "ZRANGE z 0 -1 WITHSCORES",
        "ZRANGE z2 0 -1 WITHSCORES",
        "OBJECT ENCODING z",
        "ZADD lex 0 a 0 b 0 c 0 d 0 e",
        "ZRANGEBYLEX lex [b (e",
        "ZREVRANGEBYLEX lex + - LIMIT 1 2",
        "ZLEXCOUNT lex (a +",
        "ZREMRANGEBYLEX lex [a (c",
        "ZUNIONSTORE z3 2 z lex WEIGHTS 2 1",
        "ZRANGE z3 0 -1 WITHSCORES",
        "ZRANGESTORE z4 z2 1 3",
        "ZRANGE z4 0 -1 WITHSCORES",
        "ZDIFF 2 z2 z WITHSCORES",
        "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
        "GEOSEARCHSTORE g2 g FROMLONLAT 15 37 BYRADIUS 200 km ASC STOREDIST",
        "ZRANGE g2 0 -1",
        "OBJECT ENCODING g2",
        "EXPIRE z 1000",
        "ZMPOP 1 z MIN COUNT 100",
        "EXISTS z",
        "RPUSH l a b c d e",
        "LPUSH l z y x",
        "LRANGE l 0 -1",
        "LRANGE l -3 -2",
        "LINSERT l BEFORE c before",
        "LINSERT l AFTER e after",
        "LSET l 0 first",
        "LSET l -1 last",
        "LSET l 100 none",
        "LINDEX l 4",
        "LINDEX l -4",
        "RPUSH l a b a",
        "LPOS l a RANK -1",
        "LPOS l a COUNT 0 MAXLEN 8",
        "LREM l -2 a",
        "LRANGE l 0 -1",
        "LMOVE l k LEFT RIGHT",
        "LMOVE l l RIGHT LEFT",
        "RPOPLPUSH l k",
        "LPOP l 2",
        "RPOP l",
        "LTRIM l 1 -2",
        "LRANGE l 0 -1",
        "COPY l l2",
        "SORT l2 ALPHA DESC STORE l3",
        "LRANGE l3 0 -1",
        "BLPOP none l 0",
        "EXPIRE l 1000",
        "LMPOP 2 none l RIGHT COUNT 100",
        "EXISTS l",
        "LRANGE k 0 -1",
    ]
    .map(str::to_owned)
    .into();
    lines.extend([
        format!("ZADD z{}", members(0..128)),
        "OBJECT ENCODING z".to_owned(),
        "ZADD z 0.25 m5".to_owned(),
        "OBJECT ENCODING z".to_owned(),
        "ZADD z 64 more".to_owned(),
        "OBJECT ENCODING z".to_owned(),
        "ZREMRANGEBYRANK z 3 -3".to_owned(),
        "OBJECT ENCODING z".to_owned(),
        "ZRANGE z 0 -1 WITHSCORES".to_owned(),
        format!("ZADD lex 0 {long}"),
        "OBJECT ENCODING lex".to_owned(),
        format!("ZREM lex {long}"),
        "OBJECT ENCODING lex".to_owned(),
        format!("RPUSH l{}", elements(0..500)),
        "LRANGE l 0 -1".to_owned(),
        format!("LPUSH l{}", elements(500..700)),
        "LLEN l".to_owned(),
        "LRANGE l 150 250".to_owned(),
        "LINSERT l BEFORE element:250 between".to_owned(),
        "LPOS l between".to_owned(),
        "LTRIM l 445 455".to_owned(),
        "LRANGE l 0 -1".to_owned(),
        format!("LSET l 3 {}", "y".repeat(9000)),
        "LRANGE l 2 4".to_owned(),
        format!("RPUSH huge {}", "z".repeat(100_000)),
        "RPUSHX huge a".to_owned(),
        "LINDEX huge 0".to_owned(),
        "LPOP huge".to_owned(),
        "LRANGE huge 0 -1".to_owned(),
    ]);
    lines
}

#[test]
fn small_collections_have_the_order_and_the_form_of_redis() {
    in_both_protocols(|comparison| {
        for line in small_collections().into_iter().chain(small_collections_in_order()) {
            let is_drawn = ["HRANDFIELD", "ZRANDMEMBER"].iter().any(|command| line.starts_with(command));
            comparison.compare(&line, if is_drawn { As::Unordered } else { As::Bytes });
        }
    });
}

/// Calls of the connection's and the server's own commands, and over many keys.
const OTHER_CALLS: &[(&str, As)] = &[
    ("PING", As::Bytes),
    ("PING a b", As::Bytes),
    ("ECHO", As::Bytes),
    ("ECHO hello", As::Bytes),
    ("SELECT 3", As::Bytes),
    ("SET third 1", As::Bytes),
    ("DBSIZE", As::Bytes),
    ("SELECT 0", As::Bytes),
    ("DBSIZE", As::Bytes),
    ("RANDOMKEY", As::Bytes),
    ("KEYS *", As::Bytes),
    ("MSET a 1 b 2 c 3 d 4 e 5 f 6", As::Bytes),
    ("MGET a b nothing f", As::Bytes),
    ("DBSIZE", As::Bytes),
    ("DBSIZE x", As::Bytes),
    ("RANDOMKEY", As::Kinds),
    ("KEYS *", As::Unordered),
    ("KEYS [a-c]", As::Unordered),
    ("KEYS ?", As::Unordered),
    ("KEYS", As::Bytes),
    ("EXISTS a b c nothing a", As::Bytes),
    ("TOUCH a b nothing", As::Bytes),
    ("DEL a b nothing", As::Bytes),
    ("UNLINK c c", As::Bytes),
    ("RPUSH list 1", As::Bytes),
    ("SCAN 0 COUNT 0", As::Bytes),
    ("SCAN 0 COUNT x", As::Bytes),
    ("SCAN 0 FOO", As::Bytes),
    ("SCAN x", As::Bytes),
    ("LOLWUT", As::Bytes),
    ("LOLWUT VERSION x", As::Bytes),
    ("LOLWUT VERSION 1", As::Bytes),
    ("LOLWUT x", As::Bytes),
    ("MODULE LIST", As::Bytes),
    ("MODULE HELP", As::Kinds),
    ("MODULE", As::Bytes),
    ("MODULE LIST x", As::Bytes),
    ("REPLICAOF NO ONE", As::Bytes),
    ("slaveof no one", As::Bytes),
    ("REPLICAOF NO two", As::Bytes),
    ("REPLICAOF localhost 70000", As::Bytes),
    ("SLAVEOF localhost", As::Bytes),
    ("SCRIPT DEBUG no", As::Bytes),
    ("SCRIPT DEBUG maybe", As::Bytes),
    ("SCRIPT DEBUG", As::Bytes),
    ("CONFIG SET slowlog-max-len 0", As::Bytes),
    ("SLOWLOG", As::Bytes),
    ("SLOWLOG HELP", As::Bytes),
    ("SLOWLOG GET", As::Bytes),
    ("SLOWLOG GET -1", As::Bytes),
    ("SLOWLOG GET -2", As::Bytes),
    ("SLOWLOG GET x", As::Bytes),
    ("SLOWLOG GET 1 2", As::Bytes),
    ("SLOWLOG LEN", As::Bytes),
    ("SLOWLOG LEN x", As::Bytes),
    ("SLOWLOG RESET", As::Bytes),
    ("SLOWLOG FOO", As::Bytes),
    ("CONFIG GET slowlog-log-slower-than", As::Bytes),
    ("CONFIG SET slowlog-max-len 128", As::Bytes),
    ("MONITOR x", As::Bytes),
    ("DEBUG", As::Bytes),
    ("DEBUG SLEEP 0", As::Bytes),
    ("DEBUG nosuch", As::Bytes),
    ("CONFIG GET enable-debug-command", As::Bytes),
    ("LATENCY", As::Bytes),
    ("LATENCY HELP", As::Bytes),
    ("LATENCY LATEST", As::Bytes),
    ("LATENCY HISTORY command", As::Bytes),
    ("LATENCY HISTORY", As::Bytes),
    ("LATENCY RESET", As::Bytes),
    ("LATENCY RESET command nosuch", As::Bytes),
    ("LATENCY GRAPH nosuch", As::Bytes),
    ("LATENCY GRAPH", As::Bytes),
    ("LATENCY DOCTOR", As::Kinds),
    ("LATENCY HISTOGRAM nosuch", As::Bytes),
    ("LATENCY HISTOGRAM ping", As::Kinds),
    ("LATENCY FOO", As::Bytes),
    ("CONFIG GET latency-monitor-threshold", As::Bytes),
    ("MEMORY", As::Bytes),
    ("MEMORY HELP", As::Bytes),
    ("MEMORY STATS x", As::Bytes),
    ("MEMORY DOCTOR", As::Kinds),
    ("MEMORY PURGE", As::Bytes),
    ("MEMORY MALLOC-STATS", As::Kinds),
    ("MEMORY USAGE nosuch", As::Bytes),
    ("MEMORY USAGE list", As::Kinds),
    ("MEMORY USAGE list SAMPLES 0", As::Kinds),
    ("MEMORY USAGE list SAMPLES -1", As::Bytes),
    ("MEMORY USAGE list SAMPLES x", As::Bytes),
    ("MEMORY USAGE list SAMPLES", As::Bytes),
    ("MEMORY USAGE list FOO 1", As::Bytes),
    ("CLIENT PAUSE", As::Bytes),
    ("CLIENT PAUSE x", As::Bytes),
    ("CLIENT PAUSE -1", As::Bytes),
    ("CLIENT PAUSE 1 x", As::Bytes),
    ("CLIENT PAUSE 1 WRITE x", As::Bytes),
    ("CLIENT PAUSE x y", As::Bytes),
    ("CLIENT PAUSE 0", As::Bytes),
    ("CLIENT PAUSE 1 all", As::Bytes),
    ("CLIENT PAUSE 1 write", As::Bytes),
    ("CLIENT UNPAUSE", As::Bytes),
    ("CLIENT UNPAUSE x", As::Bytes),
    ("CLIENT GETREDIR", As::Bytes),
    ("CLIENT TRACKINGINFO", As::Bytes),
    ("CLIENT CACHING", As::Bytes),
    ("CLIENT CACHING YES", As::Bytes),
    ("CLIENT TRACKING", As::Bytes),
    ("CLIENT TRACKING x", As::Bytes),
    ("CLIENT TRACKING ON x", As::Bytes),
    ("CLIENT TRACKING ON PREFIX a", As::Bytes),
    ("CLIENT TRACKING ON OPTIN", As::Bytes),
    ("CLIENT CACHING NO", As::Bytes),
    ("CLIENT CACHING YES", As::Bytes),
    ("CLIENT TRACKINGINFO", As::Bytes),
    ("CLIENT TRACKING OFF", As::Bytes),
    ("EXEC", As::Bytes),
    ("DISCARD", As::Bytes),
    ("WATCH", As::Bytes),
    ("WATCH third", As::Bytes),
    ("UNWATCH", As::Bytes),
    ("MULTI x", As::Bytes),
    ("MULTI", As::Bytes),
    ("SET third 3", As::Bytes),
    ("GET third", As::Bytes),
    ("PING", As::Bytes),
    ("EXEC", As::Bytes),
    ("ROLE", As::Bytes),
    ("ROLE x", As::Bytes),
    ("WAIT 0 0", As::Bytes),
    ("WAIT 1 10", As::Bytes),
    ("WAIT 1 x", As::Bytes),
    ("CONFIG GET slave-read-only", As::Bytes),
    ("CONFIG GET min-slaves-max-lag", As::Bytes),
    ("SCAN", As::Bytes),
    ("MSETNX {t}a 1 {t}b 2", As::Bytes),
    ("MSETNX {t}b 1 {t}c 2", As::Bytes),
    ("LCS {t}a {t}b", As::Bytes),
    ("FLUSHDB ASYNC", As::Bytes),
    ("DBSIZE", As::Bytes),
    ("SELECT 3", As::Bytes),
    ("DBSIZE", As::Bytes),
    ("FLUSHDB SYNC", As::Bytes),
    ("FLUSHALL SYNC", As::Bytes),
    ("FLUSHALL FOO", As::Bytes),
    ("FLUSHDB FOO BAR", As::Bytes),
    ("SELECT 16", As::Bytes),
    ("SET {t}a 1", As::Bytes),
    ("SWAPDB 0 3", As::Bytes),
    ("GET {t}a", As::Bytes),
    ("SWAPDB 3 0", As::Bytes),
    ("SWAPDB 3 3", As::Bytes),
    ("SWAPDB x 99", As::Bytes),
    ("SWAPDB 99 x", As::Bytes),
    ("SWAPDB 01 3", As::Bytes),
    ("SWAPDB 0 99", As::Bytes),
    ("SWAPDB 0 -1", As::Bytes),
    ("SWAPDB 0 3000000000", As::Bytes),
    ("SWAPDB 0", As::Bytes),
    ("SWAPDB 0 3 4", As::Bytes),
    ("SELECT x", As::Bytes),
    ("TIME", As::Kinds),
    ("TIME x", As::Bytes),
    ("LASTSAVE", As::Kinds),
    ("HELLO", As::Kinds),
    ("HELLO 4", As::Bytes),
    ("HELLO 2 AUTH", As::Bytes),
    (
        "EVAL \"return {KEYS[1],ARGV[1],redis.call('set',KEYS[1],ARGV[1]),redis.call('get',KEYS[1])}\" 1 s:k v",
        As::Bytes,
    ),
    ("EVAL \"return redis.call('incr',KEYS[1])\" 1 s:k", As::Bytes),
    ("EVAL \"return redis.call('get',KEYS[1])\" 1 s:k", As::Bytes),
    ("EVAL \"return {1,'a',true,false,{map={a=1.5}},{double=2.5},{err='E x'},{ok='fine'}}\" 0", As::Bytes),
    ("EVAL \"redis.setresp(3) return {true,false,redis.call('hgetall',KEYS[1])}\" 1 s:none", As::Bytes),
    ("EVAL \"return nosuch\" 0", As::Bytes),
    ("EVAL \"return +\" 0", As::Bytes),
    ("EVAL \"return redis.call('nosuch')\" 0", As::Bytes),
    ("EVAL \"return redis.call('subscribe','a')\" 0", As::Bytes),
    ("EVAL \"return redis.call('eval','return 1',0)\" 0", As::Bytes),
    ("EVAL \"return redis.pcall('get')\" 0", As::Bytes),
    ("EVAL \"return {redis.call('select',3),redis.call('echo','x'),redis.call('ping')}\" 0", As::Bytes),
    ("EVAL \"return redis.call('select',99)\" 0", As::Bytes),
    ("EVAL \"return redis.call('time')\" 0", As::Kinds),
    ("EVAL \"return redis.call('object','help')\" 0", As::Kinds),
    ("EVAL \"return redis.call('object','encoding',KEYS[1])\" 1 s:k", As::Bytes),
    ("EVAL \"return redis.call('rename',KEYS[1],KEYS[2])\" 2 {s}a {s}b", As::Bytes),
    (
        "EVAL \"return {redis.call('mset',KEYS[1],1,KEYS[2],2),redis.call('mget',KEYS[1],KEYS[2])}\" 2 {s}a {s}b",
        As::Bytes,
    ),
    ("EVAL \"return {redis.call('rename',KEYS[1],KEYS[2]),redis.call('del',KEYS[1],KEYS[2])}\" 2 {s}a {s}b", As::Bytes),
    ("EVAL \"return 1\"", As::Bytes),
    ("EVAL \"return 1\" x", As::Bytes),
    ("EVAL \"return 1\" -1", As::Bytes),
    ("EVAL \"return 1\" 2 a", As::Bytes),
    ("EVAL \"#!lua flags=no-writes\\nreturn redis.call('set',KEYS[1],1)\" 1 s:k", As::Bytes),
    ("EVAL \"#!lua flags=nope\\nreturn 1\" 0", As::Bytes),
    ("EVAL_RO \"#!lua\\nreturn 1\" 0", As::Bytes),
    ("EVAL_RO \"return redis.call('get',KEYS[1])\" 1 s:k", As::Bytes),
    ("EVAL_RO \"return redis.call('set',KEYS[1],1)\" 1 s:k", As::Bytes),
    ("EVALSHA_RO 6b1bf486c81ceb7edf3c093f4c48582e38c0e791 1 s:k", As::Bytes),
    ("EVALSHA ffffffffffffffffffffffffffffffffffffffff 0", As::Bytes),
    ("EVALSHA short x", As::Bytes),
    ("SCRIPT LOAD \"return 7\"", As::Bytes),
    ("SCRIPT LOAD \"return +\"", As::Bytes),
    ("SCRIPT LOAD", As::Bytes),
    ("SCRIPT EXISTS 077A1C9FA1E8CB37D2C3D6FA4EFC3F71D1A0B8FF nosuch", As::Bytes),
    ("SCRIPT EXISTS", As::Bytes),
    ("SCRIPT FLUSH NOPE", As::Bytes),
    ("SCRIPT FLUSH SYNC", As::Bytes),
    ("SCRIPT KILL", As::Bytes),
    ("SCRIPT KILL now", As::Bytes),
    ("SCRIPT NOSUCH", As::Bytes),
    ("FUNCTION LOAD #!lua\tname=lib\nredis.register_function('ff',function(k,a)return{k,a,#k}end)", As::Bytes),
    ("FUNCTION LOAD #!lua\tname=lib\nredis.register_function('fz',function()end)", As::Bytes),
    (
        "FUNCTION LOAD replace #!lua\tname=lib\nredis.register_function{function_name='fr',description='d',\
         callback=function(k,a)return\tredis.call('get',k[1])end,flags={'no-writes','allow-oom'}}",
        As::Bytes,
    ),
    ("FUNCTION LOAD #!lua\tname=two\nredis.register_function('FR',function()end)", As::Bytes),
    ("FUNCTION LOAD now #!lua\tname=two\n", As::Bytes),
    ("FUNCTION LOAD #!lua\tname=two", As::Bytes),
    ("FUNCTION LOAD", As::Bytes),
    ("FUNCTION LIST", As::Bytes),
    ("FUNCTION LIST WITHCODE", As::Bytes),
    ("FUNCTION LIST LIBRARYNAME L?b", As::Bytes),
    ("FUNCTION LIST LIBRARYNAME none", As::Bytes),
    ("FUNCTION LIST nosuch", As::Bytes),
    ("FUNCTION STATS", As::Bytes),
    ("FUNCTION STATS x", As::Bytes),
    ("FUNCTION DUMP", As::Kinds),
    ("FUNCTION RESTORE x", As::Bytes),
    ("FUNCTION RESTORE x nosuch", As::Bytes),
    ("FUNCTION RESTORE x append y", As::Bytes),
    ("FUNCTION KILL", As::Bytes),
    ("FUNCTION HELP", As::Kinds),
    ("FUNCTION NOSUCH", As::Bytes),
    ("FUNCTION", As::Bytes),
    ("FCALL fr 1 s:k", As::Bytes),
    ("FCALL FR 1 s:k", As::Bytes),
    ("FCALL_RO fr 1 s:k", As::Bytes),
    ("FCALL ff 0", As::Bytes),
    ("FCALL nosuch x", As::Bytes),
    ("FCALL fr x", As::Bytes),
    ("FCALL fr -1", As::Bytes),
    ("FCALL fr 2 a", As::Bytes),
    ("FCALL fr", As::Bytes),
    ("FUNCTION DELETE nosuch", As::Bytes),
    ("FUNCTION DELETE lib", As::Bytes),
    ("FCALL_RO fr 1 s:k", As::Bytes),
    ("FUNCTION FLUSH nosuch", As::Bytes),
    ("FUNCTION FLUSH sync x", As::Bytes),
    ("FUNCTION FLUSH ASYNC", As::Bytes),
    ("FUNCTION LIST", As::Bytes),
    ("SCRIPT HELP", As::Kinds),
    ("SCRIPT", As::Bytes),
    ("DEL s:k", As::Bytes),
    ("CLIENT ID", As::Kinds),
    ("CLIENT GETNAME", As::Bytes),
    ("CLIENT UNBLOCK 99999999", As::Bytes),
    ("CLIENT UNBLOCK -1 ERROR", As::Bytes),
    ("CLIENT UNBLOCK x", As::Bytes),
    ("CLIENT UNBLOCK 1 soon", As::Bytes),
    ("CLIENT SETNAME me", As::Bytes),
    ("CLIENT GETNAME", As::Bytes),
    ("CLIENT SETNAME \"\"", As::Bytes),
    ("CLIENT INFO", As::Kinds),
    ("CLIENT INFO x", As::Bytes),
    ("CLIENT LIST", As::Kinds),
    ("CLIENT LIST ID 0", As::Bytes),
    ("CLIENT LIST TYPE normal", As::Kinds),
    ("CLIENT LIST TYPE pubsub", As::Bytes),
    ("CLIENT LIST TYPE nosuch", As::Bytes),
    ("CLIENT KILL ID 0", As::Bytes),
    ("CLIENT KILL 1.2.3.4:5", As::Bytes),
    ("CLIENT KILL TYPE nosuch", As::Bytes),
    ("CLIENT KILL ADDR", As::Bytes),
    ("CLIENT NO-EVICT ON", As::Bytes),
    ("CLIENT NO-EVICT OFF", As::Bytes),
    ("CLIENT NO-EVICT x", As::Bytes),
    ("CLIENT REPLY ON", As::Bytes),
    ("CLIENT REPLY x", As::Bytes),
    ("CLIENT NOSUCH", As::Bytes),
    ("CLIENT HELP", As::Kinds),
    ("CLIENT", As::Bytes),
    ("COMMAND COUNT", As::Kinds),
    ("COMMAND LIST", As::Kinds),
    ("COMMAND LIST FILTERBY PATTERN xr*e", As::Kinds),
    ("COMMAND LIST FILTERBY MODULE nosuch", As::Bytes),
    ("COMMAND LIST FILTERBY ACLCAT nosuch", As::Bytes),
    ("COMMAND LIST FILTERBY x", As::Bytes),
    ("COMMAND INFO get set nosuch", As::Bytes),
    ("COMMAND DOCS get", As::Bytes),
    ("COMMAND DOCS nosuch", As::Bytes),
    ("COMMAND GETKEYS MSET a 1 b 2", As::Bytes),
    ("COMMAND GETKEYS GEORADIUS a 1 1 1 km COUNT 1 STORE b STORE c", As::Bytes),
    ("COMMAND GETKEYS GEORADIUSBYMEMBER a m 1 km STOREDIST b STORE c", As::Bytes),
    ("COMMAND GETKEYSANDFLAGS GEOSEARCHSTORE a b", As::Bytes),
    ("COMMAND GETKEYSANDFLAGS GEOSEARCHSTORE a b FROMMEMBER m BYRADIUS 1 km", As::Bytes),
    ("COMMAND GETKEYS SORT a", As::Bytes),
    ("COMMAND GETKEYS SORT a BY store GET c STORE d LIMIT store 1 STORE e", As::Bytes),
    ("COMMAND GETKEYSANDFLAGS SORT a BY b GET c STORE d", As::Bytes),
    ("COMMAND GETKEYS SORT_RO a BY b GET c", As::Bytes),
    ("COMMAND GETKEYS PING", As::Bytes),
    ("COMMAND GETKEYS NOSUCH a", As::Bytes),
    ("COMMAND GETKEYSANDFLAGS SET a 1", As::Bytes),
    ("COMMAND GETKEYSANDFLAGS MIGRATE h 1 a 0 1 COPY AUTH keys", As::Bytes),
    ("COMMAND GETKEYSANDFLAGS MIGRATE h 1 \"\" 0 1 AUTH2 keys keys KEYS a keys", As::Bytes),
    ("COMMAND GETKEYS MIGRATE h 1 \"\" 0 1 KEYS", As::Bytes),
    ("COMMAND GETKEYS MIGRATE h 1 \"\" 0 1", As::Bytes),
    ("COMMAND GETKEYS MIGRATE h 1 a 0 1 KEYS b", As::Bytes),
    ("COMMAND NOSUCH", As::Bytes),
    ("COMMAND HELP", As::Kinds),
    ("CONFIG GET databases", As::Bytes),
    ("CONFIG GET databases appendfsync nosuch", As::Kinds),
    ("CONFIG GET nosuch", As::Bytes),
    ("CONFIG GET max*", As::Kinds),
    ("CONFIG GET *", As::Kinds),
    ("CONFIG GET", As::Bytes),
    ("CONFIG SET timeout 100", As::Bytes),
    ("CONFIG GET timeout", As::Bytes),
    ("CONFIG SET timeout 0", As::Bytes),
    ("CONFIG SET timeout", As::Bytes),
    ("CONFIG SET nosuch 1", As::Bytes),
    ("CONFIG SET timeout 1 timeout 2", As::Bytes),
    ("CONFIG NOSUCH", As::Bytes),
    ("CONFIG HELP", As::Kinds),
    // Both refuse, each for a reason of its own.
    ("CONFIG REWRITE", As::Bytes),
    ("CONFIG RESETSTAT", As::Bytes),
    ("CONFIG SET proto-max-bulk-len 1048576", As::Bytes),
    ("SETRANGE short 1048575 x", As::Bytes),
    ("SETRANGE short 1048576 x", As::Bytes),
    ("SETRANGE short 1048570 yyyyyyy", As::Bytes),
    ("APPEND short x", As::Bytes),
    ("STRLEN short", As::Bytes),
    ("CONFIG SET proto-max-bulk-len 2097152", As::Bytes),
    ("APPEND short x", As::Bytes),
    ("SETRANGE short 2097151 x", As::Bytes),
    ("APPEND short x", As::Bytes),
    ("DEL short", As::Bytes),
    ("CONFIG SET proto-max-bulk-len 67108864", As::Bytes),
    ("INFO nosuch", As::Bytes),
    ("INFO", As::Kinds),
    ("SHUTDOWN FOO", As::Bytes),
    ("SHUTDOWN NOSAVE SAVE", As::Bytes),
    ("SHUTDOWN ABORT", As::Bytes),
    ("SHUTDOWN ABORT NOW", As::Bytes),
    ("ACL", As::Bytes),
    ("ACL FOO", As::Bytes),
    ("ACL HELP", As::Bytes),
    ("ACL WHOAMI", As::Bytes),
    ("ACL USERS", As::Bytes),
    ("ACL LIST", As::Bytes),
    ("ACL GETUSER default", As::Bytes),
    ("ACL GETUSER nobody", As::Bytes),
    ("ACL SETUSER", As::Bytes),
    ("ACL SETUSER tried on nonsense", As::Bytes),
    ("ACL SETUSER tried on >a ~k", As::Bytes),
    ("ACL DRYRUN tried GET k", As::Bytes),
    ("ACL DRYRUN default GET k", As::Bytes),
    ("ACL GETUSER tried", As::Bytes),
    ("ACL DELUSER tried nobody", As::Bytes),
    ("ACL DELUSER default", As::Bytes),
    ("ACL CAT", As::Bytes),
    ("ACL CAT nosuch", As::Bytes),
    ("ACL GENPASS", As::Kinds),
    ("ACL GENPASS 0", As::Bytes),
    ("ACL LOG RESET", As::Bytes),
    ("ACL LOG", As::Bytes),
    ("ACL LOG x", As::Bytes),
    ("ACL LOAD", As::Kinds),
    ("ACL SAVE", As::Kinds),
    ("AUTH x", As::Bytes),
    ("AUTH default x", As::Bytes),
    ("AUTH bob x", As::Bytes),
    ("CLUSTER INFO", As::Bytes),
    ("CLUSTER NODES", As::Bytes),
    ("CLUSTER SLOTS", As::Bytes),
    ("CLUSTER HELP", As::Bytes),
    ("CLUSTER NOSUCH", As::Bytes),
    ("CLUSTER", As::Bytes),
    ("READONLY", As::Bytes),
    ("READWRITE", As::Bytes),
    ("ASKING", As::Bytes),
    ("OBJECT", As::Bytes),
    ("OBJECT HELP", As::Bytes),
    ("XGROUP HELP", As::Bytes),
    ("XINFO HELP", As::Bytes),
    ("NOSUCH a b", As::Bytes),
    ("XADD automatic * f v", As::Kinds),
    ("CLIENT SETNAME me", As::Bytes),
    ("SELECT 5", As::Bytes),
    // It takes a connection back to RESP2.
    ("RESET", As::Bytes),
    ("CLIENT GETNAME", As::Bytes),
    ("QUIT", As::Bytes),
];

#[test]
fn connections_and_servers_answer_as_redis() {
    in_both_protocols(|comparison| {
        for (line, how) in OTHER_CALLS {
            comparison.compare(line, *how);
        }
    });
}

const PUBSUB: &str = "it takes two clients: see `pubsub.rs`";
const FIELD_DEADLINES: &str = "Redis has it since 7.4, and the one here is older: see `field_expiry.rs`";
const CLUSTER: &str = "it takes a node in a cluster: see `cluster.rs`";

/// Commands that are not called here, and why.
const NOT_CALLED: &[(&str, &str)] = &[
    ("basalt", "Redis does not have it"),
    ("basalt|change", "Redis does not have it"),
    ("basalt|drain", "Redis does not have it"),
    ("basalt|help", "Redis does not have it"),
    ("basalt|map", "Redis does not have it"),
    ("basalt|move", "Redis does not have it"),
    ("basalt|moves", "Redis does not have it"),
    ("basalt|once", "Redis does not have it, and `once.rs` beside this compares it"),
    ("basalt|rebalance", "Redis does not have it"),
    ("basalt|reopen", "Redis does not have it"),
    ("basalt|replace", "Redis does not have it"),
    ("raft", "Redis does not have it"),
    ("raft|help", "Redis does not have it"),
    ("raft|snapshot", "Redis does not have it: see `replicas.rs`"),
    ("raft|status", "Redis does not have it: see `replicas.rs`"),
    ("raft|transfer", "Redis does not have it: see `replicas.rs`"),
    ("waitaof", "Redis has it since 7.2, and the one here is older"),
    ("hexpire", FIELD_DEADLINES),
    ("hexpireat", FIELD_DEADLINES),
    ("hexpiretime", FIELD_DEADLINES),
    ("hpersist", FIELD_DEADLINES),
    ("hpexpire", FIELD_DEADLINES),
    ("hpexpireat", FIELD_DEADLINES),
    ("hpexpiretime", FIELD_DEADLINES),
    ("hpttl", FIELD_DEADLINES),
    ("httl", FIELD_DEADLINES),
    ("cluster|addslots", CLUSTER),
    ("cluster|addslotsrange", CLUSTER),
    ("cluster|bumpepoch", CLUSTER),
    ("cluster|count-failure-reports", CLUSTER),
    ("cluster|countkeysinslot", CLUSTER),
    ("cluster|delslots", CLUSTER),
    ("cluster|delslotsrange", CLUSTER),
    ("cluster|failover", CLUSTER),
    ("cluster|flushslots", CLUSTER),
    ("cluster|forget", CLUSTER),
    ("cluster|getkeysinslot", CLUSTER),
    ("cluster|keyslot", CLUSTER),
    ("cluster|links", CLUSTER),
    ("cluster|meet", CLUSTER),
    ("cluster|myid", CLUSTER),
    ("cluster|myshardid", CLUSTER),
    ("cluster|replicas", CLUSTER),
    ("cluster|replicate", CLUSTER),
    ("cluster|reset", CLUSTER),
    ("cluster|saveconfig", CLUSTER),
    ("cluster|set-config-epoch", CLUSTER),
    ("cluster|setslot", CLUSTER),
    ("cluster|shards", CLUSTER),
    ("cluster|slaves", CLUSTER),
    ("publish", PUBSUB),
    ("subscribe", PUBSUB),
    ("unsubscribe", PUBSUB),
    ("psubscribe", PUBSUB),
    ("punsubscribe", PUBSUB),
    ("spublish", PUBSUB),
    ("ssubscribe", PUBSUB),
    ("sunsubscribe", PUBSUB),
    ("pubsub", PUBSUB),
    ("pubsub|channels", PUBSUB),
    ("pubsub|help", PUBSUB),
    ("pubsub|numpat", PUBSUB),
    ("pubsub|numsub", PUBSUB),
    ("pubsub|shardchannels", PUBSUB),
    ("pubsub|shardnumsub", PUBSUB),
    ("client|no-touch", "Redis has it since 7.2, and the one here is older"),
    ("client|setinfo", "Redis has it since 7.2, and the one here is older"),
];

#[test]
fn every_command_that_there_is_is_called_here() {
    let alone = Alone::new(|options| options);
    let mut client = Client::connect(alone.node.address()).expect("the server accepts");
    let there: BTreeSet<String> = client.ask("COMMAND LIST").elements().iter().map(Reply::text).collect();
    let lines = CALLS.iter().copied().chain(OTHER_CALLS.iter().map(|(line, _)| *line));
    let mut called: BTreeSet<String> = BTreeSet::new();
    for line in lines {
        let words: Vec<String> = line.split(' ').map(str::to_lowercase).collect();
        called.insert(words[0].clone());
        called.extend(words.get(1).map(|second| format!("{}|{second}", words[0])));
    }
    called.extend(NOT_CALLED.iter().map(|(name, _)| (*name).to_owned()));
    let forgotten: Vec<&String> = there.difference(&called).collect();
    assert!(forgotten.is_empty(), "in neither CALLS nor OTHER_CALLS, and no reason why not: {forgotten:?}");
    for (name, _) in NOT_CALLED {
        assert!(there.contains(*name), "{name} is no command");
    }
}

#[test]
fn a_scan_finds_what_redis_finds() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut clients =
        [redis.address(), alone.node.address()].map(|address| Client::connect(address).expect("the server accepts"));
    for client in &mut clients {
        for number in 0..500 {
            client.ask(&format!("SET string:{number} x"));
        }
        client.ask("RPUSH list x");
        client.ask("XADD stream 1-1 f v");
    }
    for options in
        ["", "COUNT 1", "COUNT 7 MATCH *9", "COUNT 1000 TYPE list", "TYPE STREAM", "TYPE nosuch", "MATCH [ls]*t"]
    {
        let [redis, basalt] = clients.each_mut().map(|client| {
            let (mut found, mut cursor) = (BTreeSet::new(), "0".to_owned());
            loop {
                let reply = client.ask(&format!("SCAN {cursor} {options}"));
                cursor = reply.elements()[0].text();
                found.extend(reply.elements()[1].elements().iter().map(Reply::text));
                if cursor == "0" {
                    break found;
                }
            }
        });
        assert_eq!(basalt, redis, "SCAN … {options}");
    }
}

/// Calls of commands on several keys that run whole, with keys on both shards.
const CALLS_OVER_SHARDS: &[&str] = &[
    "MSETNX foo 1 bar 2",
    "LCS foo bar",
    "BITOP OR foo foo bar",
    "LMOVE foo bar LEFT LEFT",
    "RPOPLPUSH foo bar",
    "LMPOP 2 foo bar LEFT",
    "SMOVE foo bar a",
    "SUNION foo bar",
    "SINTER foo bar",
    "SDIFF foo bar",
    "SINTERCARD 2 foo bar",
    "SUNIONSTORE foo foo bar",
    "SINTERSTORE foo foo bar",
    "SDIFFSTORE bar foo",
    "ZMPOP 2 foo bar MIN",
    "ZUNION 2 foo bar",
    "ZINTER 2 foo bar",
    "ZDIFF 2 foo bar",
    "ZINTERCARD 2 foo bar",
    "ZUNIONSTORE foo 2 foo bar",
    "ZINTERSTORE bar 1 foo",
    "ZDIFFSTORE foo 1 bar",
    "ZRANGESTORE foo bar 0 -1",
    "PFCOUNT foo bar",
    "PFMERGE foo bar",
    "GEOSEARCHSTORE foo bar FROMLONLAT 1 1 BYRADIUS 1 km",
    "GEORADIUS foo 1 1 1 km STORE bar",
    "GEORADIUS foo 1 1 1 km STORE foo COUNT 1 STOREDIST bar",
    "GEORADIUSBYMEMBER foo m 1 km STOREDIST bar",
    "SORT foo STORE bar",
    "SORT foo STORE foo GET store STORE bar",
    "SORT foo BY bar*",
    "SORT_RO foo GET # GET bar*->f",
];

#[test]
fn commands_over_shards_are_answered_as_in_one() {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut client = Client::connect(alone.node.address()).expect("the server accepts");
    for call in CALLS_OVER_SHARDS {
        let over_shards = client.ask(call);
        client.ask("FLUSHALL");
        let together = call.replace("foo", "{t}foo").replace("bar", "{t}bar");
        let in_one = client.ask(&together);
        client.ask("FLUSHALL");
        if call.starts_with("XREAD") || call.contains('*') {
            let Reply::Error(text) = over_shards else { panic!("{call} was not refused") };
            assert!(text.starts_with("CROSSSLOT ") && text.contains("hash tag"), "{call}: {text}");
            assert!(!matches!(in_one, Reply::Error(_)), "{together}: {in_one:?}");
        } else {
            assert_eq!(over_shards, in_one, "{call}");
        }
    }
}

#[test]
fn a_scan_of_a_large_collection_has_each_of_its_elements() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let mut clients =
        [redis.address(), alone.node.address()].map(|address| Client::connect(address).expect("the server accepts"));
    for client in &mut clients {
        for number in 0..400 {
            client.ask(&format!("HSET hash field:{number} {number}"));
            client.ask(&format!("SADD set member:{number}"));
            client.ask(&format!("ZADD sorted {number}.25 member:{number}"));
        }
    }
    for call in ["HSCAN hash", "SSCAN set", "ZSCAN sorted"] {
        for options in ["", "COUNT 7", "COUNT 1000", "MATCH *:1*", "MATCH nothing COUNT 50"] {
            let [redis, basalt] = clients.each_mut().map(|client| {
                let (mut found, mut cursor) = (BTreeSet::new(), "0".to_owned());
                loop {
                    let reply = client.ask(format!("{call} {cursor} {options}").trim_end());
                    cursor = reply.elements()[0].text();
                    let width = if call == "SSCAN set" { 1 } else { 2 };
                    let elements: Vec<String> = reply.elements()[1].elements().iter().map(Reply::text).collect();
                    found.extend(elements.chunks(width).map(<[String]>::to_vec));
                    if cursor == "0" {
                        break found;
                    }
                }
            });
            assert_eq!(basalt, redis, "{call} … {options}");
        }
    }
}

/// The names of the fields of INFO's or CLIENT INFO's text.
fn field_names(text: &str, between: &[char], after_name: char) -> BTreeSet<String> {
    let fields = text.split(between).filter(|line| !line.starts_with('#'));
    fields.filter_map(|line| Some(line.split_once(after_name)?.0.to_owned())).collect()
}

/// Fields of INFO that are left out: of the commands that both have run, only Redis keeps how long they took.
const LEFT_OUT: [&str; 2] = ["latency_percentiles_usec_info", "latency_percentiles_usec_set"];

#[test]
fn info_has_the_fields_of_redis() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let [redis, basalt] = [redis.address(), alone.node.address()].map(|address| {
        let mut client = Client::connect(address).expect("the server accepts");
        client.ask("SET key value");
        client.ask("INFO");
        field_names(&client.ask("INFO everything").text(), &['\r', '\n'], ':')
    });
    let left_out: BTreeSet<String> = LEFT_OUT.iter().map(|name| (*name).to_owned()).collect();
    let missing: BTreeSet<String> = redis.difference(&basalt).cloned().collect();
    let unexpected: Vec<&String> = missing.difference(&left_out).collect();
    let there: Vec<&String> = left_out.difference(&missing).collect();
    assert!(unexpected.is_empty() && there.is_empty(), "missing: {unexpected:?}, not missing: {there:?}");
}

#[test]
fn a_client_is_described_as_in_redis() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options);
    let [redis, basalt] = [redis.address(), alone.node.address()].map(|address| {
        let mut client = Client::connect(address).expect("the server accepts");
        field_names(&client.ask("CLIENT INFO").text(), &[' ', '\n'], '=')
    });
    let missing: Vec<&String> = redis.difference(&basalt).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
