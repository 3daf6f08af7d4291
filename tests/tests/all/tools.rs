//! The programs that people use.

use std::net::SocketAddr;
use std::process::{Command, Output};

use crate::alone::Alone;

/// The lines of redis-benchmark's default list.
const BENCHMARK_LINES: [&str; 20] = [
    "PING_INLINE",
    "PING_MBULK",
    "SET",
    "GET",
    "INCR",
    "LPUSH",
    "RPUSH",
    "LPOP",
    "RPOP",
    "SADD",
    "HSET",
    "SPOP",
    "ZADD",
    "ZPOPMIN",
    "LPUSH (needed to benchmark LRANGE)",
    "LRANGE_100 (first 100 elements)",
    "LRANGE_300 (first 300 elements)",
    "LRANGE_500 (first 500 elements)",
    "LRANGE_600 (first 600 elements)",
    "MSET (10 keys)",
];

fn run(program: &str, address: SocketAddr, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]).args(arguments);
    command.output().unwrap_or_else(|error| panic!("{program} does not run ({error}): deploy/install-deps.sh --test"))
}

/// Runs redis-benchmark's default list and finds every line of it.
fn benchmark(arguments: &[&str]) {
    let alone = Alone::new(|options| options);
    let Output { status, stdout, stderr } =
        run("redis-benchmark", alone.node.address(), &[&["-q"], arguments].concat());
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}: {stdout}{stderr}");
    let results: Vec<&str> = stdout.split(['\r', '\n']).filter(|line| line.contains("requests per second")).collect();
    let names: Vec<&str> = results.iter().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(names, BENCHMARK_LINES, "{stdout}{stderr}");
    assert!(!stdout.contains("rror") && !stderr.contains("rror"), "{stdout}{stderr}");
}

#[test]
fn every_line_of_redis_benchmark_runs() {
    benchmark(&["-n", "2000"]);
}

#[test]
fn every_line_of_redis_benchmark_runs_with_pipelines_and_random_keys() {
    benchmark(&["-n", "10000", "-P", "16", "-r", "100000"]);
}

#[test]
fn redis_cli_has_a_session() {
    let alone = Alone::new(|options| options);
    let say = |words: &str, extra: &[&str]| {
        let words: Vec<&str> = extra.iter().copied().chain(words.split(' ')).collect();
        let Output { status, stdout, stderr } = run("redis-cli", alone.node.address(), &words);
        assert!(status.success(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8_lossy(&stdout).into_owned()
    };
    assert_eq!(say("SET lava hot EX 600", &[]), "OK\n");
    assert_eq!(say("GET lava", &[]), "hot\n");
    assert_eq!(say("LPUSH layers basalt gabbro", &[]), "2\n");
    assert_eq!(say("ZADD depth 5 basalt 9 gabbro", &[]), "2\n");
    assert_eq!(say("ZRANGE depth 0 -1 WITHSCORES", &[]), "basalt\n5\ngabbro\n9\n");
    assert_eq!(say("HSET rock name basalt", &["-3"]), "1\n");
    assert_eq!(say("HGETALL rock", &["-3", "--json"]), "{\"name\":\"basalt\"}\n");
    assert!(say("INFO server", &[]).contains("redis_version:"));
    let scanned = say("--scan", &[]);
    let mut keys: Vec<&str> = scanned.lines().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["depth", "lava", "layers", "rock"]);
    assert!(say("--bigkeys", &[]).contains("Biggest"));
}
