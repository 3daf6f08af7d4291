//! Users with few rights: what they may not do in a transaction, over several shards, of a replica or by another node; and that
//! nobody holds up a node with rules, or with what is denied.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, NodeOptions, RedisServer, Reply, eventually};

use crate::alone::Alone;

/// Time in which a core is through with what would have taken it half a minute, on a machine that is busy with other things.
const PROMPT: Duration = Duration::from_secs(8);

fn node() -> Alone {
    Alone::new(|options| options.set("--cores", "2").set("--shards", "4"))
}

/// A client of the user `name`, who is let in with any password.
fn as_user(alone: &Alone, name: &str) -> Client {
    let mut client = alone.node.client();
    assert_eq!(client.ask(&format!("AUTH {name} x")), Reply::ok());
    client
}

#[test]
fn a_long_transaction_that_is_denied_holds_nobody_up() {
    const COUNT: usize = 100_000;
    let alone = node();
    let mut operator = alone.node.client();
    assert_eq!(operator.ask("ACL SETUSER v on nopass +@all ~*"), Reply::ok());
    let mut client = as_user(&alone, "v");
    assert_eq!(client.ask("MULTI"), Reply::ok());
    for _ in 0..COUNT / 1000 {
        client.pipeline((0..1000).map(|_| ["SET", "k", "v"]));
    }
    assert_eq!(operator.ask("ACL SETUSER v -set"), Reply::ok());
    let begun = Instant::now();
    let denied = client.ask("EXEC");
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    assert_eq!(denied.elements().len(), COUNT);
    assert!(denied.elements().iter().all(|reply| reply.is_error("NOPERM ")));
    assert_eq!(operator.ask("ACL LOG").elements().len(), 1, "it is noted once");
    assert_eq!(operator.ask("EXISTS k"), Reply::Integer(0));
}

#[test]
fn nothing_changes_rights_in_the_middle_of_a_transaction() {
    let alone = node();
    let mut operator = alone.node.client();
    operator.ask("ACL SETUSER low on nopass +get ~k*");
    operator.ask("ACL SETUSER high on nopass +@all ~* &*");
    for line in [
        "AUTH low x",
        "HELLO 2 AUTH low x",
        "HELLO 3 SETNAME me AUTH low x",
        "ACL SETUSER high -set",
        "ACL DELUSER high",
        "ACL LOAD",
        "CONFIG SET requirepass x",
    ] {
        let mut client = as_user(&alone, "high");
        assert_eq!(client.ask("MULTI"), Reply::ok());
        let refused = client.ask(line);
        assert!(
            refused.is_error("ERR '") && format!("{refused:?}").contains("outside of MULTI"),
            "{line}: {refused:?}"
        );
        assert_eq!(client.ask("SET k1 1"), Reply::Simple("QUEUED".to_owned()));
        assert!(client.ask("EXEC").is_error("EXECABORT "), "{line}");
        assert_eq!(client.ask("ACL WHOAMI"), Reply::bulk("high"));
        assert_eq!(client.ask("EXISTS k1"), Reply::Integer(0));
    }
    let mut client = as_user(&alone, "high");
    for line in ["MULTI", "HELLO 3", "ACL WHOAMI"] {
        client.ask(line);
    }
    assert_eq!(client.ask("EXEC").elements().last(), Some(&Reply::bulk("high")));
}

#[test]
fn a_denied_select_leaves_the_database_as_it_is() {
    let alone = node();
    let mut operator = alone.node.client();
    operator.ask("ACL SETUSER u on nopass +@all ~*");
    let mut client = as_user(&alone, "u");
    for line in ["MULTI", "SELECT 3", "SET k 1"] {
        client.ask(line);
    }
    operator.ask("ACL SETUSER u -select");
    let replies = client.ask("EXEC");
    assert!(replies.elements()[0].is_error("NOPERM ") && replies.elements()[1] == Reply::ok(), "{replies:?}");
    assert_eq!(operator.ask("EXISTS k"), Reply::Integer(1));
    operator.ask("SELECT 3");
    assert_eq!(operator.ask("EXISTS k"), Reply::Integer(0));
}

#[test]
fn all_keys_of_a_call_are_checked_one_by_one() {
    let alone = node();
    let mut operator = alone.node.client();
    operator.ask("ACL SETUSER u on nopass +@all ~a:*");
    let mut client = as_user(&alone, "u");
    let keys: Vec<String> = (0..16).map(|number| format!("a:{{t}}{number}")).collect();
    let pairs = |keys: &[String]| keys.iter().flat_map(|key| [key.clone(), "v".to_owned()]).collect::<Vec<_>>();
    let call = |client: &mut Client, name: &str, words: &[String]| {
        client.call(std::iter::once(name.to_owned()).chain(words.iter().cloned()))
    };
    let with_other = [&keys[..], &["b".to_owned()]].concat();
    for (name, words) in [("MSET", pairs(&with_other)), ("MSETNX", pairs(&with_other)), ("DEL", with_other.clone())] {
        assert!(call(&mut client, name, &words).is_error("NOPERM "), "{name}");
    }
    for line in ["RENAME a:1 b", "COPY b a:1", "LMOVE a:1 b LEFT LEFT", "SMOVE b a:1 x", "SUNIONSTORE a:1 a:2 b"] {
        assert!(client.ask(line).is_error("NOPERM "), "{line}");
    }
    assert_eq!(operator.ask("DBSIZE"), Reply::Integer(0));

    // All of it is written, but for what is denied by then.
    client.ask("MULTI");
    for key in &keys {
        client.ask(&format!("SET {key} v"));
        client.ask(&format!("APPEND {key} v"));
    }
    operator.ask("ACL SETUSER u -append");
    let replies = client.ask("EXEC");
    for pair in replies.elements().chunks(2) {
        assert!(pair[0] == Reply::ok() && pair[1].is_error("NOPERM "), "{pair:?}");
    }
    assert_eq!(replies.elements().len(), 2 * keys.len());
    assert_eq!(operator.call(["GET", &keys[7]]), Reply::bulk("v"));

    // Nothing of it, which is of no shard then.
    client.ask("MULTI");
    for key in &keys {
        client.ask(&format!("SET {key} w"));
    }
    operator.ask("ACL SETUSER u -set");
    let replies = client.ask("EXEC");
    assert_eq!(replies.elements().len(), keys.len());
    assert!(replies.elements().iter().all(|reply| reply.is_error("NOPERM ")), "{replies:?}");

    operator.ask("ACL SETUSER u reset on nopass +get +multi +exec ~a:*");
    for line in
        ["WAIT 0 0", "WAITAOF 0 0 0", "ROLE", "RAFT STATUS", "RAFT SNAPSHOT 0", "CLUSTER FAILOVER", "BASALT MAP"]
    {
        assert!(client.ask(line).is_error("NOPERM "), "{line}");
    }
}

/// Scripts of one who may not do everything, with what EVAL has behind them: the first is run as it is, the second by EVAL_RO.
const SCRIPTS: &[(&str, &str)] = &[
    ("EVAL", "return redis.call('set', 'a:1', 'v')"),
    ("EVAL", "return redis.call('get', 'a:1')"),
    ("EVAL", "return redis.call('get', 'b')"),
    ("EVAL", "return redis.pcall('get', 'b')"),
    ("EVAL", "return redis.call('mget', 'a:1', 'a:2', 'b')"),
    ("EVAL", "return redis.call('get', 'r:1')"),
    ("EVAL", "return redis.call('set', 'r:1', 'v')"),
    ("EVAL", "return redis.call('set', 'a:1', 'v', 'get')"),
    ("EVAL", "return redis.call('append', 'a:1', 'v')"),
    ("EVAL", "return redis.pcall('append', 'a:1', 'v')"),
    ("EVAL", "return redis.call('copy', 'r:1', 'a:2')"),
    ("EVAL", "return redis.call('copy', 'a:2', 'r:1')"),
    ("EVAL", "return redis.call('flushall')"),
    ("EVAL", "return redis.call('subscribe', 'a')"),
    ("EVAL", "return redis.call('select', 0)"),
    ("EVAL", "return redis.call('select', 1)"),
    ("EVAL", "return redis.call('ping')"),
    ("EVAL", "return redis.call('auth', 'x')"),
    ("EVAL", "return redis.call('nosuch')"),
    ("EVAL", "return redis.call('get')"),
    ("EVAL", "redis.call('set', 'a:3', 'v') return redis.call('set', 'b', 'v')"),
    ("EVAL", "return redis.call('get', 'a:3')"),
    ("EVAL", "return redis.acl_check_cmd('set', 'a:1', 'v')"),
    ("EVAL", "return redis.acl_check_cmd('set', 'b', 'v')"),
    ("EVAL", "return redis.acl_check_cmd('append', 'a:1', 'v')"),
    ("EVAL", "return redis.acl_check_cmd('nosuch')"),
    ("EVAL", "return redis.call('hset', 'h:1', 'f', 'v')"),
    ("EVAL", "return redis.call('hget', 'h:1', 'f')"),
    ("EVAL", "return redis.call('hget', 'a:1', 'f')"),
    ("EVAL_RO", "return redis.call('set', 'a:1', 'v')"),
    ("EVAL_RO", "return redis.call('set', 'b', 'v')"),
    ("EVAL_RO", "return redis.call('get', 'a:1')"),
    ("EVAL_RO", "return redis.call('get', 'b')"),
];

#[test]
fn a_script_may_do_what_its_caller_may() {
    let redis = RedisServer::start();
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "1"));
    let addresses = [redis.address(), alone.node.address()];
    let mut operators = addresses.map(|address| Client::connect(address).expect("the server accepts"));
    for operator in &mut operators {
        let rules = "+@all -append -@dangerous -select +select|0 ~a:* %R~r:* resetchannels &news (+hset ~h:*)";
        assert_eq!(operator.ask(&format!("ACL SETUSER u on nopass {rules}")), Reply::ok());
        assert_eq!(operator.ask("SET r:1 v"), Reply::ok());
    }
    let mut clients = addresses.map(|address| {
        let mut client = Client::connect(address).expect("the server accepts");
        assert_eq!(client.ask("AUTH u x"), Reply::ok());
        client
    });
    let ask = |clients: &mut [Client; 2], words: &[&str]| {
        let [expected, reply] = clients.each_mut().map(|client| client.call(words));
        assert_eq!(reply, expected, "{words:?}");
        reply
    };
    for (name, script) in SCRIPTS {
        ask(&mut clients, &[name, script, "0"]);
    }
    // Keys that are named are the caller's as well.
    ask(&mut clients, &["EVAL", "return 1", "1", "b"]);
    ask(&mut clients, &["EVAL", "return 1", "1", "a:1"]);
    // As they are called by their digests, and in a transaction, by the rights that there are then.
    let digest = ask(&mut clients, &["SCRIPT", "LOAD", "return redis.call('get', KEYS[1])"]).text();
    ask(&mut clients, &["EVALSHA", &digest, "1", "a:1"]);
    ask(&mut clients, &["MULTI"]);
    ask(&mut clients, &["EVALSHA", &digest, "1", "a:1"]);
    ask(&mut clients, &["EVAL", "return redis.call('hset', 'h:1', 'g', 'v')", "0"]);
    ask(&mut clients, &["EVAL", "return redis.call('append', 'a:1', 'v')", "0"]);
    ask(&mut operators, &["ACL", "SETUSER", "u", "-get"]);
    ask(&mut clients, &["EXEC"]);
    ask(&mut clients, &["MULTI"]);
    ask(&mut clients, &["EVALSHA", &digest, "1", "a:1"]);
    ask(&mut clients, &["EVAL", "return redis.call('set', 'a:1', 'w')", "0"]);
    ask(&mut operators, &["ACL", "SETUSER", "u", "-evalsha"]);
    ask(&mut clients, &["EXEC"]);
    ask(&mut operators, &["KEYS", "b"]);
    ask(&mut operators, &["GET", "a:1"]);
    // One who may do everything is not looked at.
    ask(&mut operators, &["EVAL", "return redis.call('set', 'b', 'v')", "0"]);
}

#[test]
fn what_a_script_checks_is_paid_for_and_very_many_rules_are_refused() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--shards", "1"));
    let mut operator = alone.node.client();
    let stars = "*a".repeat(100);
    operator.call(["ACL", "SETUSER", "u", "on", "nopass", "+@all", &format!("~{stars}b")]);
    let mut client = as_user(&alone, "u");
    let script = "local key = string.rep('a', 1000) while true do redis.pcall('get', key) end";
    let stopped = client.call(["EVAL", script, "0"]);
    assert!(stopped.is_error("ERR the script was stopped and undone"), "{stopped:?}");
    let stopped = client.call(["EVAL", &script.replace("pcall(", "acl_check_cmd("), "0"]);
    assert!(stopped.is_error("ERR the script was stopped and undone"), "{stopped:?}");
    let long = format!("~{}", "x".repeat(64 << 10));
    operator.call(["ACL", "SETUSER", "u", "resetkeys", &long]);
    let refused = client.call(["EVAL", "return 1", "0"]);
    assert!(refused.is_error("NOPERM the rules of this user have too many bytes"), "{refused:?}");
}

#[test]
fn reads_of_replicas_are_checked_as_all_others() {
    for setting in ["linearizable", "local"] {
        let alone = Alone::new(|options| {
            options.set("--cluster-enabled", "yes").set("--cores", "2").set("--read-consistency", setting)
        });
        let mut operator = alone.node.client();
        assert_eq!(operator.ask("CLUSTER ADDSLOTSRANGE 0 16383"), Reply::ok());
        eventually("it is written", DEADLINE, || match operator.ask("SET {k}secret v") {
            reply if reply == Reply::ok() => Ok(()),
            reply => Err(reply),
        });
        operator.ask("ACL SETUSER u on nopass +get +mget +readonly +multi +exec ~{k}open");
        operator.ask("ACL SETUSER default >hush");
        operator.ask("AUTH hush");
        let mut stranger = alone.node.client();
        stranger.ask("READONLY");
        assert!(stranger.ask("GET {k}secret").is_error("NOAUTH "));
        let mut client = as_user(&alone, "u");
        assert_eq!(client.ask("READONLY"), Reply::ok());
        assert!(client.ask("GET {k}secret").is_error("NOPERM "));
        assert!(client.ask("MGET {k}secret {k}secret").is_error("NOPERM "));
        assert!(client.ask("STRLEN {k}open").is_error("NOPERM "));
        assert_eq!(client.ask("GET {k}open"), Reply::Null);
        for line in ["MULTI", "GET {k}open"] {
            client.ask(line);
        }
        operator.ask("ACL SETUSER u resetkeys ~other");
        assert!(client.ask("EXEC").elements()[0].is_error("NOPERM "));
    }
}

#[test]
fn nobody_has_the_password_for_other_nodes_sent_to_an_address_of_choice() {
    let alone = Alone::new(|options| {
        options.set("--cluster-enabled", "yes").set("--cores", "2").set("--requirepass", "topsecret")
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("it can be");
    let address = listener.local_addr().expect("it has one");
    let mut operator = alone.node.client();
    assert_eq!(operator.ask("AUTH topsecret"), Reply::ok());
    operator.ask("ACL SETUSER m on nopass +cluster|meet");
    let meet = format!("CLUSTER MEET 127.0.0.1 {}", address.port());
    let mut client = as_user(&alone, "m");
    assert!(client.ask(&meet).is_error("NOPERM "));
    assert_eq!(listener.accept().expect_err("nobody has come").kind(), ErrorKind::WouldBlock);
    // Who may see it in the configuration may have it sent.
    operator.ask("ACL SETUSER m +config|get");
    client.send(format!("{meet}\r\n")).expect("the node reads");
    eventually("the node has come", DEADLINE, || listener.accept().map(drop).map_err(|error| error.kind()));
}

#[test]
fn a_saved_file_has_all_that_was_set_before() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let data = temporary.path().join("data");
    fs::create_dir(&data).expect("it can be made");
    // In the node's own directory, since it has no slash.
    let file = data.join("users.acl");
    fs::write(&file, "").expect("it can be written");
    let node = NodeOptions::new(&data).set("--cores", "2").set("--aclfile", "users.acl").start();
    for round in 0..40 {
        std::thread::scope(|scope| {
            for name in ["one", "two"] {
                let mut client = node.client();
                scope.spawn(move || {
                    assert_eq!(client.ask(&format!("ACL SETUSER {name} resetkeys ~{name}:{round}")), Reply::ok());
                    assert_eq!(client.ask("ACL SAVE"), Reply::ok());
                });
            }
        });
        let text = fs::read_to_string(&file).expect("it is there");
        for name in ["one", "two"] {
            assert!(text.contains(&format!(" ~{name}:{round} ")), "{round}: {text}");
        }
    }
}

#[test]
fn what_cannot_be_read_back_is_refused_and_what_is_saved_reads_back() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let file = temporary.path().join("users.acl");
    fs::write(&file, "").expect("it can be written");
    let options = NodeOptions::new(temporary.path().join("data"));
    let node = options.set("--cores", "2").set("--aclfile", &file).start();
    let mut client = node.client();
    let long = "x".repeat(513);
    let pattern = format!("~{}", "x".repeat((64 << 10) + 1));
    let password = format!(">{}", "x".repeat(513));
    let many = vec!["+@all"; 10_001];
    let evil = "+get|x\nuser evil on nopass +@all ~*\nuser zz";
    for words in [
        &["u", "+get|a b"][..],
        &["u", "+get|a\tb"],
        &["u", "(~a) +get)"],
        &["u", "(~a)) +get)"],
        &["u", "((~a) +get)"],
        &["u", evil],
        &["u", "(+get", "+get|x\ny)"],
        &["", "on", "nopass", "+@all", "~*"],
        &[long.as_str(), "on"],
        &["u", pattern.as_str()],
        &["u", pattern.replace('~', "+get|").as_str()],
        &["u", password.as_str()],
        &[&["u"][..], &many].concat(),
        &["u", format!("({})", many.join(" ")).as_str()],
    ] {
        let refused = client.call(["ACL", "SETUSER"].iter().chain(words));
        assert!(refused.is_error("ERR "), "{words:.100?}: {refused:?}");
    }
    assert_eq!(client.ask("ACL USERS"), Reply::bulks(["default"]));
    for words in [
        &[&b"bytes\xff"[..], b"+get|\xff\xc9", b"~\xff)", b"&(", b"+set|NX"][..],
        &[b"every", b"%RW~*", b"%R~a*", b"(%w~b %RW~*)"],
        &[b"again", b"+@all", b"-get", b"+get", b"(~a +@read)", b"(%R~b(b &c)"],
        &[b"reset", b"+select|0", b"+@connection", b"-select", b"+select|1", b"+config|get", b"-@admin"],
    ] {
        assert_eq!(client.call([&b"ACL"[..], b"SETUSER"].iter().chain(words)), Reply::ok(), "{words:?}");
    }
    let before = client.ask("ACL LIST");
    for _ in 0..2 {
        assert_eq!(client.ask("ACL SAVE"), Reply::ok());
        assert_eq!(client.ask("ACL LOAD"), Reply::ok());
        assert_eq!(client.ask("ACL LIST"), before);
    }
}
