//! Users and passwords: what each may do, compared with Redis; who is cut off; what is kept in the file; and clusters with
//! passwords.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, RedisServer, Reply, eventually};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::alone::Alone;
use crate::nodes::{addresses, free_ports, options_at, redis_cli};

fn node() -> Alone {
    Alone::new(|options| options.set("--cores", "2").set("--shards", "4"))
}

fn connect(address: SocketAddr) -> Client {
    Client::connect(address).expect("the server accepts")
}

/// The names in a reply to COMMAND LIST or ACL CAT.
fn names(reply: &Reply) -> BTreeSet<String> {
    reply.elements().iter().map(Reply::text).collect()
}

const USERS: [&str; 3] = ["alice", "bob", "default2"];

/// Draws a rule of a user.
fn draw_rule(random: &mut SmallRng, commands: &[String], categories: &[String]) -> String {
    let pick = |random: &mut SmallRng, from: &[&str]| from[random.random_range(0..from.len())].to_owned();
    let key = pick(random, &["a", "a*", "b", "k:*", "*", "?b", "[ab]*", "\\*"]);
    let command = commands[random.random_range(0..commands.len())].clone();
    let category = categories[random.random_range(0..categories.len())].clone();
    match random.random_range(0..26) {
        0 => pick(random, &["on", "off", "nopass", "resetpass", "reset", "ON"]),
        1 => pick(random, &["allkeys", "resetkeys", "allchannels", "resetchannels", "clearselectors"]),
        2 => pick(random, &["allcommands", "nocommands", "+@all", "-@all", "~*", "&*"]),
        3 => pick(
            random,
            &["sanitize-payload", "skip-sanitize-payload", "", "%~a", "%X~a", "~a b", "#12", "<none", "!x"],
        ),
        4 => pick(random, &[">one", ">two", "<one", "<two", ">"]),
        5..8 => format!("~{key}"),
        8 => format!("%R~{key}"),
        9 => format!("%W~{key}"),
        10 => format!("%rw~{key}"),
        11..13 => format!("&{key}"),
        13..16 => format!("+{command}"),
        16 => format!("-{command}"),
        17 => format!("+{}", command.to_uppercase()),
        18..20 => format!("+@{category}"),
        20 => format!("-@{category}"),
        21 => {
            pick(random, &["+get|x", "+select|0", "+config|", "+config|get|x", "+nosuch", "-nosuch|x", "-config|get"])
        }
        22..24 => format!("(+{command} ~{key} %W~w)"),
        24 => format!("(+@{category} allkeys &{key})"),
        _ => pick(random, &["(+get ~a", "(nonsense)", "(+@read %R~a)", "(on)"]),
    }
}

/// A reply to GETUSER without the rules on commands, which Redis 7.0 makes up anew of their bits.
fn without_commands(reply: &Reply) -> Reply {
    match reply {
        Reply::Array(items) => {
            let mut kept = Vec::new();
            let mut is_rules = false;
            for item in items {
                if !is_rules {
                    kept.push(without_commands(item));
                }
                is_rules = !is_rules && *item == Reply::bulk("commands");
            }
            Reply::Array(kept)
        }
        other => other.clone(),
    }
}

#[test]
fn drawn_rules_allow_what_they_allow_in_redis() {
    let redis = RedisServer::start();
    let alone = node();
    let mut clients = [connect(redis.address()), alone.node.client()];
    let of_redis = names(&clients[0].ask("COMMAND LIST"));
    let own = names(&clients[1].ask("COMMAND LIST"));
    let mut commands: Vec<String> = own.intersection(&of_redis).cloned().collect();
    commands.extend(["config|get", "config|set", "client|kill", "object|encoding", "acl|list"].map(str::to_owned));
    let categories: Vec<String> = clients[0].ask("ACL CAT").elements().iter().map(Reply::text).collect();
    assert_eq!(clients[1].ask("ACL CAT"), clients[0].ask("ACL CAT"));
    for category in &categories {
        let [expected, found] = clients.each_mut().map(|client| names(&client.ask(&format!("ACL CAT {category}"))));
        let is_common =
            |name: &&String| own.contains(name.split('|').next().unwrap_or_default()) && !name.starts_with("basalt");
        let found: BTreeSet<&String> = found.iter().filter(is_common).collect();
        let missing: Vec<_> =
            found.iter().filter(|name| !expected.contains(**name) && of_redis.contains(**name)).collect();
        assert!(missing.is_empty(), "{category}: {missing:?}");
    }
    let calls = [
        "GET a",
        "GET b",
        "SET a v",
        "SET k:1 v GET",
        "SET xb v",
        "MGET a b",
        "DEL k:1 a",
        "COPY a w",
        "LMPOP 2 a b LEFT",
        "XREAD STREAMS a b 0 0",
        "ZUNIONSTORE a 1 b",
        "SUBSCRIBE a k:1",
        "PSUBSCRIBE a*",
        "PUBLISH b m",
        "SSUBSCRIBE *",
        "CONFIG GET x",
        "CONFIG SET a b",
        "SELECT 0",
        "SELECT 1",
        "PING",
        "AUTH x",
        "ACL LIST",
        "CLIENT KILL x",
        "FLUSHALL",
        "BITFIELD a GET u8 0",
        "BITFIELD a SET u8 0 1",
        "OBJECT ENCODING a",
        "HSET a f v",
        "EXPIRE k:2 1",
        "INFO",
        "SCAN 0",
        "GET",
        "NOSUCH",
    ];
    let mut random = SmallRng::seed_from_u64(7);
    for step in 0..1500 {
        let user = USERS[random.random_range(0..USERS.len())];
        let count = random.random_range(1..5);
        let rules: Vec<String> = (0..count).map(|_| draw_rule(&mut random, &commands, &categories)).collect();
        let mut words = vec!["ACL", "SETUSER", user];
        words.extend(rules.iter().map(String::as_str));
        let [expected, reply] = clients.each_mut().map(|client| client.call(&words));
        assert_eq!(reply, expected, "step {step}: {words:?}");
        let [expected, reply] =
            clients.each_mut().map(|client| without_commands(&client.ask(&format!("ACL GETUSER {user}"))));
        assert_eq!(reply, expected, "step {step}: {words:?}");
        for _ in 0..12 {
            let call = calls[random.random_range(0..calls.len())];
            let line = format!("ACL DRYRUN {user} {call}");
            let [expected, reply] = clients.each_mut().map(|client| client.ask(&line));
            let rules = clients[1].ask(&format!("ACL GETUSER {user}"));
            assert_eq!(reply, expected, "step {step}: {line}, after {words:?}: {rules:?}");
        }
    }
    // What this node tells makes the same users in Redis.
    let lines: Vec<String> = clients[1].ask("ACL LIST").elements().iter().map(Reply::text).collect();
    for line in lines {
        let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(line.split(' ').skip(1)).collect();
        if line.starts_with("user default ") {
            continue;
        }
        let mut reset = words.clone();
        reset.insert(3, "reset");
        assert_eq!(clients[0].call(&reset), Reply::ok(), "{line}");
        for command in commands.iter().filter(|command| !command.contains('|')) {
            let line = format!("ACL DRYRUN {} {command} a a a a", words[2]);
            let [expected, reply] = clients.each_mut().map(|client| client.ask(&line));
            assert_eq!(reply, expected, "{line}");
        }
    }
}

/// The lines of a conversation, each of an operator, or one of two clients.
const CONVERSATION: &[(usize, &str)] = &[
    (0, "ACL SETUSER bob on >secret ~b:* %R~shared +@all -@dangerous &news.*"),
    (1, "AUTH bob wrong"),
    (1, "AUTH bob secret"),
    (1, "ACL WHOAMI"),
    (1, "SET b:1 v"),
    (1, "SET a:1 v"),
    (1, "GET shared"),
    (1, "SET shared v"),
    (1, "MSET b:1 1 a:1 2"),
    (1, "FLUSHALL"),
    (1, "CONFIG GET maxmemory"),
    (1, "PUBLISH other m"),
    (1, "NOSUCH"),
    (1, "GET"),
    (1, "MULTI"),
    (1, "SET a:1 v"),
    (1, "SET b:1 2"),
    (1, "EXEC"),
    (1, "MULTI"),
    (1, "SET b:1 3"),
    (1, "INCR b:1"),
    (1, "ECHO x"),
    (0, "ACL SETUSER bob -set -echo"),
    (1, "EXEC"),
    (1, "GET b:1"),
    (1, "MULTI"),
    (1, "INCR b:1"),
    (0, "ACL SETUSER bob resetkeys"),
    (1, "EXEC"),
    (0, "ACL SETUSER bob ~b:* -exec"),
    (1, "MULTI"),
    (1, "INCR b:1"),
    (1, "EXEC"),
    (1, "GET b:1"),
    (0, "ACL SETUSER bob -@all +get +multi +exec +discard +client|id +acl|whoami"),
    (1, "ACL LIST"),
    (1, "ACL WHOAMI"),
    (1, "CLIENT LIST"),
    (1, "AUTH bob secret"),
    (1, "AUTH secret"),
    (1, "RESET"),
    (1, "ACL WHOAMI"),
    (0, "CONFIG SET requirepass hush"),
    (0, "CONFIG GET requirepass"),
    (0, "PING"),
    (1, "PING"),
    (2, "PING"),
    (1, "RESET"),
    (1, "PING"),
    (1, "NOSUCH"),
    (1, "GET"),
    (1, "MULTI"),
    (1, "HELLO 2"),
    (1, "AUTH nonsense"),
    (1, "AUTH hush"),
    (1, "PING"),
    (1, "RESET"),
    (1, "AUTH default hush"),
    (1, "ACL GETUSER default"),
    (0, "CONFIG SET requirepass \"\""),
    (1, "RESET"),
    (1, "PING"),
    (0, "ACL SETUSER carol on nopass"),
    (1, "AUTH carol whatever"),
    (1, "PING"),
    (0, "ACL SETUSER carol off"),
    (1, "AUTH carol whatever"),
    (0, "ACL DELUSER carol nobody"),
];

#[test]
fn clients_of_restricted_users_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    let alone = node();
    let connect_all = |address| [(); 3].map(|()| connect(address));
    let mut clients = [connect_all(redis.address()), connect_all(alone.node.address())];
    for (at, (who, line)) in CONVERSATION.iter().enumerate() {
        let words: Vec<&str> = line.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect();
        let [expected, reply] = clients.each_mut().map(|client| client[*who].call(&words));
        match *line {
            "HELLO 2" | "ACL GETUSER default" if !matches!(expected, Reply::Error(_)) => {}
            _ => assert_eq!(reply, expected, "{at}: {line}"),
        }
    }
    // Its user was deleted.
    assert!(clients.iter_mut().all(|client| client[1].is_closed_within(DEADLINE)));
    let told = |client: &mut Client| {
        let log = client.ask("ACL LOG 100");
        let entry = |entry: &Reply| {
            let items = entry.elements();
            (items[..10].to_vec(), items[10].clone(), items[12].clone())
        };
        log.elements().iter().map(entry).collect::<Vec<_>>()
    };
    let [expected, found] = clients.each_mut().map(|client| told(&mut client[0]));
    assert_eq!(found, expected);
    assert!(found.len() > 10);
    for client in clients.iter_mut().map(|client| &mut client[0]) {
        assert_eq!(client.ask("CONFIG SET acllog-max-len 2"), Reply::ok());
        client.ask("AUTH nobody x");
        assert_eq!(client.ask("ACL LOG").elements().len(), 2);
        assert_eq!(client.ask("ACL LOG RESET"), Reply::ok());
        assert_eq!(client.ask("ACL LOG").elements().len(), 0);
    }
}

#[test]
fn who_loses_its_user_or_a_channel_is_cut_off() {
    let alone = node();
    let mut operator = alone.node.client();
    for user in ["bob", "carol"] {
        assert_eq!(operator.ask(&format!("ACL SETUSER {user} on nopass +@all ~* &news &all*")), Reply::ok());
    }
    let as_user = |name: &str| {
        let mut client = alone.node.client();
        assert_eq!(client.ask(&format!("AUTH {name} x")), Reply::ok());
        client
    };
    let mut subscribers: Vec<(&str, Client)> =
        ["SUBSCRIBE news", "PSUBSCRIBE all*", "SSUBSCRIBE news", "SUBSCRIBE allow"]
            .map(|line| (line, as_user("bob")))
            .into();
    subscribers.iter_mut().for_each(|(line, client)| drop(client.ask(line)));
    let mut idle = as_user("bob");
    let mut carol = as_user("carol");
    carol.ask("SUBSCRIBE news");
    assert_eq!(operator.ask("ACL SETUSER bob resetchannels &news &all* &more"), Reply::ok());
    assert_eq!(operator.ask("ACL SETUSER bob resetchannels &all*"), Reply::ok());
    for (line, client) in &mut subscribers {
        let stays = line.contains("all");
        assert_eq!(
            !client.is_closed_within(if stays { std::time::Duration::from_millis(50) } else { DEADLINE }),
            stays,
            "{line}"
        );
    }
    assert_eq!(idle.ask("PING"), Reply::Simple("PONG".to_owned()));
    let list = operator.ask("CLIENT LIST").text();
    assert_eq!(list.matches(" user=bob ").count(), 3, "{list}");
    assert_eq!(operator.ask("CLIENT KILL USER bob"), Reply::Integer(3));
    assert!(idle.is_closed_within(DEADLINE));
    assert!(operator.ask("CLIENT KILL USER nobody").is_error("ERR No such user 'nobody'"));
    assert_eq!(operator.ask("ACL DELUSER carol"), Reply::Integer(1));
    assert!(carol.is_closed_within(DEADLINE));
    // Who deletes itself hears so, and is gone.
    let mut bob = as_user("bob");
    assert_eq!(bob.ask("ACL DELUSER bob"), Reply::Integer(1));
    assert!(bob.is_closed_within(DEADLINE));
    assert_eq!(operator.ask("ACL USERS"), Reply::bulks(["default"]));
}

#[test]
fn a_client_that_waits_or_has_queued_is_checked_by_what_its_user_may_then() {
    let alone = node();
    let mut operator = alone.node.client();
    operator.ask("ACL SETUSER bob on nopass +@all ~q");
    let mut bob = alone.node.client();
    bob.ask("AUTH bob x");
    assert!(bob.ask("BLPOP other 0").is_error("NOPERM "));
    let mut bytes = Vec::new();
    Client::encode(&mut bytes, ["BLPOP", "q", "0"]);
    bob.send(&bytes).expect("the node reads");
    eventually("it waits", DEADLINE, || {
        let info = operator.ask("INFO clients").text();
        if info.contains("blocked_clients:1") { Ok(()) } else { Err(info) }
    });
    operator.ask("ACL DELUSER bob");
    assert!(bob.is_closed_within(DEADLINE));
    assert_eq!(operator.ask("RPUSH q v"), Reply::Integer(1));
    assert_eq!(operator.ask("LLEN q"), Reply::Integer(1), "nothing was taken for it");
}

#[test]
fn users_are_kept_in_the_file_and_a_wrong_one_is_refused_by_name() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let file = temporary.path().join("users.acl");
    let options = || NodeOptions::new(temporary.path().join("data")).set("--cores", "2").set("--aclfile", &file);
    assert!(options().try_start().is_err(), "there is no such file");
    fs::write(&file, "user bob on >secret ~* +@all\n").expect("it can be written");
    let mut node = options().start();
    let mut client = node.client();
    assert_eq!(client.ask("AUTH bob secret"), Reply::ok());
    assert_eq!(client.ask("ACL SETUSER carol on nopass +get ~k"), Reply::ok());
    assert_eq!(client.ask("ACL SETUSER default off"), Reply::ok());
    assert_eq!(client.ask("ACL SAVE"), Reply::ok());
    let text = fs::read_to_string(&file).expect("it is there");
    assert_eq!(text.lines().count(), 3);
    assert!(!text.contains("secret") && text.contains("user carol on nopass ~k resetchannels -@all +get\n"), "{text}");
    node.kill_9();
    let node = options().start();
    assert!(node.client().ask("PING").is_error("NOAUTH "));
    let mut carol = node.client();
    assert_eq!(carol.ask("AUTH carol x"), Reply::ok());
    let mut client = node.client();
    assert_eq!(client.ask("AUTH bob secret"), Reply::ok());

    fs::write(&file, "user bob on >secret ~* +@all\nuser carol +nosuch\n").expect("it can be written");
    let refused = client.ask("ACL LOAD");
    assert!(format!("{refused:?}").contains("users.acl:2: rule '+nosuch'"), "{refused:?}");
    assert!(carol.ask("ACL WHOAMI").is_error("NOPERM "), "nothing has changed");
    fs::write(&file, "user bob on >secret ~* +@all\nuser default on nopass +ping\n").expect("it can be written");
    assert_eq!(client.ask("ACL LOAD"), Reply::ok());
    assert!(carol.is_closed_within(DEADLINE), "it is gone");
    assert_eq!(client.ask("ACL WHOAMI"), Reply::bulk("bob"));
    let mut plain = node.client();
    assert_eq!(plain.ask("PING"), Reply::Simple("PONG".to_owned()));
    assert!(plain.ask("GET k").is_error("NOPERM "));
    drop(node);
    fs::write(&file, "user bob on\nbob off\n").expect("it can be written");
    let refusal = options().try_start().expect_err("it is refused");
    assert!(refusal.sentence().contains("users.acl:2: should start with user"), "{}", refusal.sentence());
}

#[test]
fn passwords_are_told_nowhere_but_where_redis_tells_them() {
    let alone = Alone::new(|options| options.set("--requirepass", "hushhush").set("--log-level", "trace"));
    let mut client = alone.node.client();
    assert!(client.ask("PING").is_error("NOAUTH "));
    assert_eq!(client.ask("AUTH hushhush"), Reply::ok());
    client.ask("ACL SETUSER bob on >alsohush");
    client.ask("AUTH bob alsohush");
    for line in ["ACL LIST", "CLIENT LIST", "INFO everything", "ACL LOG", "ACL GETUSER bob"] {
        let text = format!("{:?}", client.ask(line));
        assert!(!text.contains("hush"), "{line}: {text}");
    }
    let said = alone.node.said().join("\n");
    assert!(!said.contains("hushhush") && !said.contains("alsohush"), "{said}");
}

/// An address of this machine that is not its loopback.
fn outside() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel says by which address it would be.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn other_machines_are_refused_while_there_is_no_password() {
    let Some(ip) = outside() else {
        basalt_tests::skip("this machine has the loopback alone");
        return;
    };
    let alone = Alone::new(|options| options.set("--bind", format!("127.0.0.1,{ip}")).set("--cores", "2"));
    let mut client = alone.node.client();
    let elsewhere = SocketAddr::new(ip, alone.node.address().port());
    let refused = || connect(elsewhere).read();
    assert!(refused().expect("a word").is_error("DENIED Basalt is running in protected mode"));
    assert_eq!(client.ask("CONFIG SET protected-mode no"), Reply::ok());
    assert_eq!(connect(elsewhere).ask("PING"), Reply::Simple("PONG".to_owned()));
    assert_eq!(client.ask("CONFIG SET protected-mode yes requirepass x"), Reply::ok());
    assert!(connect(elsewhere).ask("PING").is_error("NOAUTH "));
    assert_eq!(client.ask("ACL SETUSER default nopass"), Reply::ok());
    assert!(refused().expect("a word").is_error("DENIED "));
}

/// Three nodes with these settings, made one cluster by redis-cli with `password`.
fn cluster(directory: &std::path::Path, settings: &[(&str, &str)], user: &[&str]) -> Vec<Node> {
    let start = |number: usize| {
        let options = options_at(directory, number, free_ports());
        settings.iter().fold(options, |options, (name, value)| options.set(name, value)).start()
    };
    let nodes: Vec<Node> = (0..3).map(start).collect();
    let listening: Vec<String> = addresses(&nodes).iter().map(SocketAddr::to_string).collect();
    let mut arguments = user.to_vec();
    arguments.extend(["--cluster", "create"]);
    arguments.extend(listening.iter().map(String::as_str));
    arguments.push("--cluster-yes");
    let text = redis_cli(&arguments);
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
    nodes
}

/// Checks that every node serves the cluster's keys to who logs in with `login`, and has the map changed by whichever is asked.
fn check_cluster(nodes: &[Node], login: &str) {
    let as_user = |node: &Node| {
        let mut client = node.client();
        assert!(client.ask("GET k").is_error("NOAUTH "));
        assert_eq!(client.ask(login), Reply::ok());
        client
    };
    for node in nodes {
        let mut client = as_user(node);
        eventually("the cluster is ok", DEADLINE, || {
            let info = client.ask("CLUSTER INFO").text();
            if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") { Ok(()) } else { Err(info) }
        });
    }
    // Each is forwarded to who leads the map's group, over the port for clients.
    for node in nodes {
        let mut client = as_user(node);
        let id = client.ask("CLUSTER MYID").text();
        let shown = client.ask("CLUSTER NODES").text();
        assert_eq!(shown.lines().filter(|line| line.starts_with(&id)).count(), 1, "{shown}");
        let reply = client.ask("CLUSTER BUMPEPOCH");
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    }
    let mut written = 0;
    for node in nodes {
        let mut client = as_user(node);
        for number in 0..60 {
            written += usize::from(client.ask(&format!("SET key:{number} v")) == Reply::ok());
        }
    }
    assert_eq!(written, 60, "each key is taken by the one node that leads its slot");
}

#[test]
fn a_cluster_with_a_password_forms_and_works() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let nodes = cluster(temporary.path(), &[("--requirepass", "hush")], &["-a", "hush", "--no-auth-warning"]);
    check_cluster(&nodes, "AUTH hush");
}

#[test]
fn a_node_that_does_not_know_the_secret_of_its_cluster_stays_outside() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let ports: Vec<_> = (0..3).map(|_| free_ports()).collect();
    let options =
        |number: usize, secret| options_at(temporary.path(), number, ports[number]).set("--cluster-secret", secret);
    let start = |number| options(number, "open sesame").start();
    let mut nodes: Vec<Node> = (0..3).map(start).collect();
    let listening: Vec<String> = addresses(&nodes).iter().map(SocketAddr::to_string).collect();
    let mut arguments = vec!["--cluster", "create"];
    arguments.extend(listening.iter().map(String::as_str));
    arguments.push("--cluster-yes");
    let text = redis_cli(&arguments);
    assert!(text.contains("[OK] All 16384 slots covered."), "{text}");
    let links = |node: &Node, wanted: usize| {
        let mut client = node.client();
        eventually("so many nodes are linked", DEADLINE, || {
            let shown = client.ask("CLUSTER NODES").text();
            // The node itself is always.
            let linked = shown.lines().filter(|line| line.split(' ').nth(7) == Some("connected")).count();
            if linked == wanted { Ok(()) } else { Err(shown) }
        });
    };
    nodes.iter().for_each(|node| links(node, 3));
    // It may have a word for every door but this one.
    let mut last = nodes.pop().expect("there are three");
    last.stop();
    // It is not even ready: nobody tells it what the cluster has agreed on meanwhile.
    let mut other = options(2, "open barley").launch();
    nodes.iter().for_each(|node| links(node, 2));
    other.wait_for_line("does not know this cluster's secret");
    nodes[0].wait_for_line("does not know this cluster's secret");
    other.stop();
    nodes.push(start(2));
    nodes.iter().for_each(|node| links(node, 3));
    assert_eq!(nodes[0].client().call(["CONFIG", "GET", "cluster-secret"]).elements()[1], Reply::bulk("(set)"));
}

#[test]
fn a_cluster_whose_nodes_have_a_user_of_their_own_forms_and_works() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let file = temporary.path().join("users.acl");
    let users = "user default off\nuser admin on >boss ~* &* +@all\nuser node on >tied +basalt|change +basalt|map +cluster|meet\n";
    fs::write(&file, users).expect("it can be written");
    let file = file.to_str().expect("a path");
    let settings = [("--aclfile", file), ("--masteruser", "node"), ("--masterauth", "tied")];
    let nodes = cluster(temporary.path(), &settings, &["--user", "admin", "-a", "boss", "--no-auth-warning"]);
    check_cluster(&nodes, "AUTH admin boss");
}
