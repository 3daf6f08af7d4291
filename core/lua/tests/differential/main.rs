//! Scripts compared with a redis-server, byte for byte, in both versions of the protocol. The engine's commands are run by another
//! redis-server, so that what differs is the engine's.

mod generator;
mod host;
mod scripts;

use basalt_lua::{Engine, SHORT_SCRIPT_WORK, Script};
use basalt_tests::RedisServer;

use host::{Connection, RedisHost, encode};

/// Runs `text` both ways; gives both replies.
fn run_both(
    engine: &mut Engine,
    redis: &mut Connection,
    host: &mut RedisHost,
    text: &str,
    keys: &[&str],
    args: &[&str],
) -> (String, String) {
    let count = keys.len().to_string();
    let mut words = vec!["EVAL", text, &count];
    words.extend(keys);
    words.extend(args);
    let expected = redis.run(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
    let bytes = |words: &[&str]| -> Vec<Vec<u8>> { words.iter().map(|word| word.as_bytes().to_vec()).collect() };
    let (keys, args) = (bytes(keys), bytes(args));
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let script = Script { text: text.as_bytes(), keys: &keys, args: &args, seed: 7, work: SHORT_SCRIPT_WORK };
    let outcome = engine.run(&script, host);
    let mut found = Vec::new();
    encode(&outcome, redis.is_resp3, &mut found);
    // What is no number has a sign in Redis, which processors give in different ways; as a text, and packed.
    let shown = |reply: &[u8]| {
        let text = reply.escape_ascii().to_string();
        text.replace("$4\\r\\n-nan", "$3\\r\\nnan").replace("\\x7f\\xf8\\x00\\x00", "\\xff\\xf8\\x00\\x00")
    };
    (shown(&expected), shown(&found))
}

fn compare<'a>(scripts: impl Iterator<Item = (String, Vec<&'a str>, Vec<&'a str>)> + Clone) {
    for is_resp3 in [false, true] {
        let (server, other) = (RedisServer::start(), RedisServer::start());
        let mut redis = Connection::open(&server, is_resp3);
        let mut host = RedisHost::new(&other);
        let mut engine = Engine::new();
        let mut failures = 0;
        let mut count = 0;
        for (text, keys, args) in scripts.clone() {
            count += 1;
            if std::env::var_os("SHOW_SCRIPTS").is_some() {
                eprintln!("{text}");
            }
            let (expected, found) = run_both(&mut engine, &mut redis, &mut host, &text, &keys, &args);
            if expected != found {
                println!("RESP{}: {text}\n  redis  {expected}\n  engine {found}", if is_resp3 { 3 } else { 2 });
                failures += 1;
                assert!(failures < 60, "too many differences");
            }
        }
        assert!(count > 100, "there are scripts");
        assert_eq!(failures, 0, "of {count} scripts");
    }
}

#[test]
fn scripts_do_what_they_do_in_redis() {
    compare(scripts::all().map(|(text, keys, args)| (text.to_owned(), keys.to_vec(), args.to_vec())));
}

#[test]
fn drawn_scripts_do_what_they_do_in_redis() {
    let seed = std::env::var("BASALT_TEST_SEED").map_or(1, |text| text.parse().expect("a number"));
    let count = std::env::var("BASALT_TEST_COMMANDS").map_or(3000, |text| text.parse().expect("a number"));
    println!("seed {seed}");
    let mut generator = generator::Generator::new(seed);
    let drawn: Vec<String> = (0..count).map(|_| generator.script()).collect();
    compare(drawn.iter().map(|text| (text.clone(), vec!["k1", "k2"], vec!["7", "x\u{0}y", "-3.5"])));
}
