//! The Rust crate `redis` as programs use it, in both versions of the protocol.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redis::{Commands as _, Connection, ExpireOption, FromRedisValue, RedisResult, SetExpiry, SetOptions, Value};

use crate::alone::Alone;

/// Runs `session` on a node of two shards, once in each version of the protocol.
fn in_both_protocols(session: impl Fn(&mut Connection)) {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    for protocol in ["resp2", "resp3"] {
        let mut connection = connect(&alone, &format!("?protocol={protocol}"));
        let _: () = redis::cmd("FLUSHALL").query(&mut connection).expect("FLUSHALL");
        session(&mut connection);
    }
}

fn connect(alone: &Alone, path: &str) -> Connection {
    let client = redis::Client::open(format!("redis://{}/{path}", alone.node.address())).expect("an address");
    client.get_connection().expect("the node accepts")
}

/// The value of a call that was not refused.
fn get<T: FromRedisValue>(outcome: RedisResult<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("refused: {error}"))
}

#[test]
fn strings_and_deadlines() {
    in_both_protocols(|connection| {
        let _: () = get(connection.set("key", 41));
        assert_eq!(get::<i64>(connection.incr("key", 1)), 42);
        assert_eq!(get::<Option<String>>(connection.get("missing")), None);
        assert!(get::<bool>(connection.set_nx("once", "a")) && !get::<bool>(connection.set_nx("once", "b")));
        let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let _: () = get(connection.set("binary", &binary));
        assert!(get::<Vec<u8>>(connection.get("binary")) == binary);

        let _: () = get(connection.set_ex("session", "token", 100));
        let left = get::<i64>(connection.ttl("session"));
        assert!((90..=100).contains(&left), "{left} s are left");
        assert!(!get::<bool>(redis::cmd("EXPIRE").arg("session").arg(50).arg(ExpireOption::GT).query(connection)));
        assert!(get::<bool>(connection.expire("session", 200)));
        assert!(get::<bool>(connection.persist("session")));
        assert_eq!(get::<i64>(connection.ttl("session")), -1);
        let options = SetOptions::default().with_expiration(SetExpiry::EX(10)).get(true);
        assert_eq!(get::<Option<String>>(connection.set_options("session", "new", options)), Some("token".into()));

        let _: () = get(connection.mset(&[("a", 1), ("b", 2), ("c", 3)]));
        assert_eq!(get::<Vec<Option<i32>>>(connection.mget(&["a", "nothing", "c"])), [Some(1), None, Some(3)]);
        assert_eq!(get::<i32>(connection.del(&["a", "b", "c", "nothing"])), 3);
        assert_eq!(get::<i64>(connection.append("log", "line")), 4);
        assert!((get::<f64>(connection.incr("float", 1.5)) - 1.5).abs() < f64::EPSILON);
    });
}

#[test]
fn collections() {
    in_both_protocols(|connection| {
        let _: () = get(connection.hset_multiple("hash", &[("a", "1"), ("b", "2")]));
        assert_eq!(get::<BTreeMap<String, i32>>(connection.hgetall("hash")), [("a".into(), 1), ("b".into(), 2)].into());
        assert_eq!(get::<Option<i32>>(connection.hget("hash", "nothing")), None);
        assert_eq!(get::<i32>(connection.hincr("hash", "a", 5)), 6);

        assert_eq!(get::<i32>(connection.rpush("list", &["a", "b", "c"])), 3);
        assert_eq!(get::<Vec<String>>(connection.lrange("list", 0, -1)), ["a", "b", "c"]);
        assert_eq!(get::<Option<String>>(connection.lpop("list", None)), Some("a".into()));
        assert_eq!(get::<Vec<String>>(connection.rpop("list", 5.try_into().ok())), ["c", "b"]);

        assert_eq!(get::<i32>(connection.sadd("set", &["x", "y"])), 2);
        assert!(get::<bool>(connection.sismember("set", "x")));
        assert_eq!(get::<BTreeSet<String>>(connection.smembers("set")), ["x".into(), "y".into()].into());

        let _: () = get(connection.zadd_multiple("sorted", &[(1.5, "low"), (2.5, "high")]));
        assert_eq!(get::<Option<f64>>(connection.zscore("sorted", "low")), Some(1.5));
        let ranking: Vec<(String, f64)> = get(connection.zrevrange_withscores("sorted", 0, -1));
        assert_eq!(ranking, [("high".into(), 2.5), ("low".into(), 1.5)]);
        assert_eq!(get::<Vec<(String, f64)>>(connection.zpopmin("sorted", 1)), [("low".into(), 1.5)]);

        let id: String = get(redis::cmd("XADD").arg(&["stream", "*", "field", "value"]).query(connection));
        let entries: Vec<(String, HashMap<String, String>)> =
            get(redis::cmd("XRANGE").arg(&["stream", "-", "+"]).query(connection));
        assert_eq!(entries, [(id, [("field".into(), "value".into())].into())]);
    });
}

#[test]
fn scans_give_every_key_once_or_more() {
    in_both_protocols(|connection| {
        let mut pipe = redis::pipe();
        (0..2_000).for_each(|number| _ = pipe.set(format!("user:{number}"), number).ignore());
        let _: () = get(pipe.set("other", 1).ignore().query(connection));
        let all: BTreeSet<String> = get(connection.scan().and_then(Iterator::collect));
        assert_eq!(all.len(), 2_001);
        let users: BTreeSet<String> = get(connection.scan_match("user:*").and_then(Iterator::collect));
        assert_eq!(users.len(), 2_000);
        assert_eq!(get::<usize>(redis::cmd("DBSIZE").query(connection)), 2_001);
    });
}

#[test]
fn pipelines_are_answered_in_order_and_go_on_after_an_error() {
    in_both_protocols(|connection| {
        let mut pipe = redis::pipe();
        for number in 0..10_000 {
            pipe.set(format!("key:{}", number % 100), number).ignore().get(format!("key:{}", number % 100));
        }
        assert_eq!(get::<Vec<i32>>(pipe.query(connection)), (0..10_000).collect::<Vec<_>>());

        let (kept, error) = {
            let refused: RedisResult<Vec<Value>> = redis::pipe().set("a", 1).lpush("a", 1).get("a").query(connection);
            (get::<i32>(connection.get("a")), refused.expect_err("a string is no list"))
        };
        assert_eq!(kept, 1);
        assert!(error.to_string().contains("WRONGTYPE"), "{error}");
        let error = connection.lpush::<_, _, i32>("a", 1).expect_err("it is a string");
        assert_eq!(error.code(), Some("WRONGTYPE"));
    });
}

#[test]
fn transactions_are_run_as_one() {
    in_both_protocols(|connection| {
        let (set, value): (String, i32) = get(redis::pipe().atomic().set("a", 1).get("a").query(connection));
        assert_eq!((set.as_str(), value), ("OK", 1));
        let _: () = get(connection.set("counter", 41));
        let (counter,): (i32,) = get(redis::transaction(connection, &["counter"], |connection, pipe| {
            let value: i32 = connection.get("counter")?;
            pipe.set("counter", value + 1).ignore().get("counter").query(connection)
        }));
        assert_eq!(counter, 42);
        // Keys on two shards are no reason to refuse it.
        let _: () = get(redis::cmd("MULTI").query(connection));
        for key in ["a", "b", "c"] {
            let _: () = get(redis::cmd("SET").arg(key).arg(2).query(connection));
        }
        let replies: Vec<String> = get(redis::cmd("EXEC").query(connection));
        assert_eq!(replies, ["OK", "OK", "OK"]);
        assert_eq!(get::<String>(redis::cmd("PING").query(connection)), "PONG", "the connection is still good");
    });
}

#[test]
fn the_server_describes_itself() {
    in_both_protocols(|connection| {
        let _: () = get(connection.set("key", 1));
        let info: redis::InfoDict = get(redis::cmd("INFO").query(connection));
        assert_eq!(info.get::<String>("redis_version"), Some("7.0.15".into()));
        assert_eq!(info.get::<String>("db0"), Some("keys=1,expires=0,avg_ttl=0".into()));
        let settings: HashMap<String, String> = get(redis::cmd("CONFIG").arg(&["GET", "max*"]).query(connection));
        assert_eq!(settings["maxmemory-policy"], "noeviction");
        let (seconds, micros): (u64, u64) = get(redis::cmd("TIME").query(connection));
        assert!(seconds > 1_700_000_000 && micros < 1_000_000);
    });
}

#[test]
fn a_url_names_the_database() {
    let alone = Alone::new(|options| options.set("--shards", "2"));
    let (mut zero, mut three) = (connect(&alone, ""), connect(&alone, "3?protocol=resp3"));
    let _: () = get(three.set("key", "there"));
    assert_eq!(get::<Option<String>>(zero.get("key")), None);
    let _: () = get(redis::cmd("SELECT").arg(3).query(&mut zero));
    assert_eq!(get::<Option<String>>(zero.get("key")), Some("there".into()));
}
