//! The replicas of a group, as clients and operators see them: reads from them, waiting for them, and giving them the lead.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use basalt_tests::{Client, DEADLINE, Node, NodeOptions, RedisServer, Reply, eventually};

use super::alone::Alone;
use super::key_events::Subscriber;
use super::nodes::{addresses, client, create, free_ports, options_at, wait_for};

/// Three nodes whose groups have three replicas each, with one core each.
struct Three {
    _directory: tempfile::TempDir,
    nodes: Vec<Node>,
}

impl Three {
    fn new(settings: &[(&str, &str)]) -> Three {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = |number: usize| -> NodeOptions {
            let options = options_at(directory.path(), number, free_ports()).set("--cores", "1");
            settings.iter().fold(options, |options, (name, value)| options.set(name, *value))
        };
        let nodes: Vec<Node> = (0..3).map(|number| options(number).start()).collect();
        create(&nodes);
        wait_for(&addresses(&nodes), "cluster_state", "ok");
        let three = Three { _directory: directory, nodes };
        for node in three.addresses() {
            eventually("each group has three voters", DEADLINE, || {
                let info = client(node).ask("INFO raft").text();
                if info.lines().filter(|line| line.ends_with("voters=3")).count() == 3 { Ok(()) } else { Err(info) }
            });
        }
        three
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.nodes)
    }

    fn client(&self, number: usize) -> Client {
        self.nodes[number].client()
    }

    fn id(&self, number: usize) -> String {
        self.client(number).ask("CLUSTER MYID").text()
    }

    /// A key that a node leads, which no other call has got.
    fn key_of(&self, number: usize, name: &str) -> String {
        let mut client = self.client(number);
        // A write, which is nobody else's.
        let is_here = |key: &String| !client.ask(&format!("PERSIST {key}")).is_error("MOVED");
        (0..1000).map(|tag| format!("{name}:{tag}")).find(is_here).expect("it leads a third of all keys")
    }

    /// The numbers of the groups that a node leads.
    fn led(&self, number: usize) -> Vec<i64> {
        let groups = self.client(number).ask("RAFT STATUS");
        let led = |group: &&Reply| field(group, "role").text() == "leader";
        groups.elements().iter().filter(led).map(|group| field(group, "group").integer()).collect()
    }

    /// Waits until a node leads so many groups.
    fn until_leads(&self, number: usize, count: usize) {
        eventually("the leads are as they should be", DEADLINE, || {
            let led = self.led(number);
            if led.len() == count { Ok(()) } else { Err(led) }
        });
    }
}

/// The value of a field in a reply that has names and values in turns.
fn field<'a>(reply: &'a Reply, name: &str) -> &'a Reply {
    let pairs = reply.elements().chunks_exact(2);
    pairs
        .filter(|pair| pair[0].text() == name)
        .map(|pair| &pair[1])
        .next()
        .unwrap_or_else(|| panic!("no {name}: {reply:?}"))
}

#[test]
fn each_node_serves_all_keys_to_clients_that_read_only_and_moves_all_others() {
    let three = Three::new(&[]);
    for leader in 0..3 {
        let key = three.key_of(leader, "read");
        assert_eq!(three.client(leader).ask(&format!("SET {key} 1")), Reply::ok());
        let short = format!("{{{key}}}:short");
        assert_eq!(three.client(leader).ask(&format!("SET {short} 1 PX 50")), Reply::ok());
        let hash = format!("{{{key}}}:hash");
        three.client(leader).ask(&format!("HSET {hash} f 1 g 2"));
        assert_eq!(three.client(leader).ask(&format!("HPEXPIRE {hash} 50 FIELDS 1 f")).elements(), [Reply::Integer(1)]);
        for other in (0..3).filter(|other| *other != leader) {
            let mut reader = three.client(other);
            assert!(reader.ask(&format!("GET {key}")).is_error("MOVED"), "it has not said READONLY");
            assert_eq!(reader.ask("READONLY"), Reply::ok());
            assert!(reader.ask("CLIENT INFO").text().contains(" flags=r "));
            eventually("what was written is there", DEADLINE, || {
                let found = reader.ask(&format!("GET {key}"));
                if found == Reply::bulk("1") { Ok(()) } else { Err(found) }
            });
            eventually("what has expired is gone", DEADLINE, || {
                let found = reader.ask(&format!("GET {short}"));
                if found == Reply::Null { Ok(()) } else { Err(found) }
            });
            eventually("and so is a field that has", DEADLINE, || {
                let found = reader.ask(&format!("HGETALL {hash}"));
                if found == Reply::bulks(["g", "2"]) { Ok(()) } else { Err(found) }
            });
            eventually("which is removed here, too", DEADLINE, || {
                let found = reader.ask(&format!("HLEN {hash}"));
                if found == Reply::Integer(1) { Ok(()) } else { Err(found) }
            });
            assert_eq!(reader.ask(&format!("EXISTS {key} {key}")).integer(), 2);
            assert_eq!(reader.ask(&format!("MGET {key} {{{key}}}:none")).elements(), [Reply::bulk("1"), Reply::Null]);
            for write in [format!("SET {key} 2"), format!("WATCH {key}"), format!("BLPOP {key} 1")] {
                assert!(reader.ask(&write).is_error("MOVED"), "{write}");
            }
            assert!(reader.ask("MGET a b c d e f g h").is_error("CROSSSLOT"));
            // A transaction that only reads is one read; any other is the leader's.
            assert_eq!(reader.ask("MULTI"), Reply::ok());
            reader.ask(&format!("GET {key}"));
            reader.ask(&format!("STRLEN {key}"));
            assert_eq!(reader.ask("EXEC").elements(), [Reply::bulk("1"), Reply::Integer(1)]);
            assert_eq!(reader.ask("MULTI"), Reply::ok());
            assert!(reader.ask(&format!("INCR {key}")).is_error("MOVED"));
            assert!(reader.ask("EXEC").is_error("EXECABORT"));
            assert_eq!(reader.ask("READWRITE"), Reply::ok());
            assert!(reader.ask(&format!("GET {key}")).is_error("MOVED"));
        }
    }
    // Each node leads some slots and is told of as a replica of the others.
    let slots = three.client(0).ask("CLUSTER SLOTS");
    let ports =
        |range: &Reply| -> Vec<i64> { range.elements()[2..].iter().map(|node| node.elements()[1].integer()).collect() };
    let all: BTreeSet<i64> = three.addresses().iter().map(|node| node.port().into()).collect();
    let (first, rest) = slots.elements().split_at(3);
    assert_eq!(first.iter().flat_map(ports).collect::<BTreeSet<_>>(), all, "{slots:?}");
    assert!(rest.iter().all(|range| ports(range).into_iter().collect::<BTreeSet<_>>() == all), "{slots:?}");
}

#[test]
fn a_replica_that_hears_of_nobody_shows_what_it_has_for_some_seconds_only() {
    let mut three = Three::new(&[("--read-consistency", "local")]);
    let key = three.key_of(0, "lonely");
    assert_eq!(three.client(0).ask(&format!("SET {key} 1")), Reply::ok());
    // No READONLY: the node is told to.
    let mut reader = three.client(2);
    eventually("what was written is there", DEADLINE, || {
        let found = reader.ask(&format!("GET {key}"));
        if found == Reply::bulk("1") { Ok(()) } else { Err(found) }
    });
    let alone = Instant::now();
    three.nodes[0].kill_9();
    three.nodes[1].kill_9();
    assert_eq!(reader.ask(&format!("GET {key}")), Reply::bulk("1"), "it is only a little old");
    eventually("it is too old", DEADLINE, || {
        let found = reader.ask(&format!("GET {key}"));
        if found.is_error("CLUSTERDOWN") || found.is_error("MOVED") { Ok(()) } else { Err(found) }
    });
    assert!(alone.elapsed() > Duration::from_secs(5), "it gave up after {:?}", alone.elapsed());
}

#[test]
fn wait_counts_the_followers_that_have_what_was_written() {
    let mut three = Three::new(&[]);
    let key = three.key_of(0, "wait");
    let mut writer = three.client(0);
    assert_eq!(
        writer.ask("WAIT 2 0").integer(),
        2,
        "what was written by others counts for one that has written nothing"
    );
    for number in 0..20 {
        assert_eq!(writer.ask(&format!("SET {key} {number}")), Reply::ok());
        assert_eq!(writer.ask("WAIT 2 0").integer(), 2);
    }
    assert_eq!(writer.ask("WAITAOF 1 2 0").elements(), [Reply::Integer(1), Reply::Integer(2)]);
    // Nobody waits in a transaction: at least the majority has it.
    assert_eq!(writer.ask("MULTI"), Reply::ok());
    writer.ask(&format!("SET {key} x"));
    writer.ask("WAIT 2 0");
    let ran = writer.ask("EXEC");
    assert!((1..=2).contains(&ran.elements()[1].integer()), "{ran:?}");

    three.nodes[2].kill_9();
    assert_eq!(writer.ask(&format!("SET {key} y")), Reply::ok());
    let begun = Instant::now();
    assert_eq!(writer.ask("WAIT 2 300").integer(), 1);
    assert!(begun.elapsed() >= Duration::from_millis(300), "it ended after {:?}", begun.elapsed());
    assert_eq!(writer.ask("WAIT 1 0").integer(), 1);
    assert_eq!(writer.ask("WAITAOF 1 2 100").elements(), [Reply::Integer(1), Reply::Integer(1)]);
    let id = writer.ask("CLIENT ID").integer();
    for (how, said) in [("TIMEOUT", Ok(1)), ("ERROR", Err("UNBLOCKED client unblocked via CLIENT UNBLOCK"))] {
        writer.send("WAIT 2 0\r\n").expect("sent");
        let mut other = three.client(0);
        eventually("it is blocked", DEADLINE, || {
            let info = other.ask("INFO clients").text();
            if info.contains("blocked_clients:1\r\n") { Ok(()) } else { Err(info) }
        });
        assert!(other.ask(&format!("CLIENT LIST ID {id}")).text().contains(" flags=b "));
        assert_eq!(other.ask(&format!("CLIENT UNBLOCK {id} {how}")).integer(), 1);
        let reply = writer.read().expect("it is answered");
        match said {
            Ok(count) => assert_eq!(reply.integer(), count),
            Err(text) => assert!(reply.is_error(text), "{reply:?}"),
        }
        assert!(other.ask("INFO clients").text().contains("blocked_clients:0\r\n"));
    }
    // Who hangs up waits no more, whatever it has sent before.
    let behind = "PING\r\n".repeat(20_000);
    writer.send(format!("WAIT 2 0\r\n{behind}")).expect("sent");
    let mut other = three.client(0);
    eventually("it is blocked", DEADLINE, || {
        let info = other.ask("INFO clients").text();
        if info.contains("blocked_clients:1\r\n") { Ok(()) } else { Err(info) }
    });
    drop(writer);
    eventually("nobody is", DEADLINE, || {
        let info = other.ask("INFO clients").text();
        if info.contains("blocked_clients:0\r\n") { Ok(()) } else { Err(info) }
    });
}

#[test]
fn role_and_info_name_those_that_follow() {
    let mut three = Three::new(&[]);
    let key = three.key_of(0, "role");
    let ports = |role: &Reply| -> BTreeSet<String> {
        role.elements()[2].elements().iter().map(|replica| replica.elements()[1].text()).collect()
    };
    let port = |number: usize| three.nodes[number].address().port().to_string();
    let (second, third) = (port(1), port(2));
    let mut client = three.client(0);
    assert_eq!(client.ask(&format!("SET {key} 1")), Reply::ok());
    assert_eq!(client.ask("WAIT 2 0").integer(), 2);
    eventually("both follow and have all", DEADLINE, || {
        let role = client.ask("ROLE");
        let offset = role.elements()[1].integer();
        let is_level = |replica: &Reply| replica.elements()[2].text() == offset.to_string();
        let is_whole = ports(&role) == BTreeSet::from([second.clone(), third.clone()]) && offset > 0;
        if is_whole && role.elements()[2].elements().iter().all(is_level) { Ok(()) } else { Err(role) }
    });
    let info = client.ask("INFO replication").text();
    assert!(
        info.starts_with("# Replication\r\nrole:master\r\nconnected_slaves:2\r\nslave0:ip=127.0.0.1,port="),
        "{info}"
    );
    assert!(info.contains(",state=online,offset="), "{info}");
    let links = client.ask("CLUSTER LINKS");
    let linked: BTreeSet<String> = links.elements().iter().map(|link| field(link, "node").text()).collect();
    assert_eq!(linked, BTreeSet::from([three.id(1), three.id(2)]), "{links:?}");

    three.nodes[2].kill_9();
    eventually("one follows", DEADLINE, || {
        let role = client.ask("ROLE");
        if ports(&role) == BTreeSet::from([second.clone()]) { Ok(()) } else { Err(role) }
    });
    assert!(client.ask("INFO replication").text().contains("connected_slaves:1\r\n"));
}

#[test]
fn raft_tells_of_groups_and_moves_their_leads_with_those_that_subscribe() {
    let three = Three::new(&[]);
    let key = three.key_of(0, "transfer");
    let [group] = three.led(0)[..] else { panic!("it leads one group") };
    let mut client = three.client(0);
    assert_eq!(client.ask(&format!("SET {key} 1")), Reply::ok());
    let status = client.ask(&format!("RAFT STATUS {group}"));
    let [status] = status.elements() else { panic!("one group: {status:?}") };
    assert_eq!(field(status, "leader").text(), three.id(0));
    let members = field(status, "members").elements();
    let nodes: BTreeSet<String> = members.iter().map(|member| field(member, "node").text()).collect();
    assert_eq!(nodes, (0..3).map(|number| three.id(number)).collect());
    assert!(members.iter().all(|member| field(member, "standing").text() == "voter"), "{status:?}");
    assert!(field(status, "committed").integer() <= field(status, "last").integer());

    assert_eq!(client.ask(&format!("RAFT SNAPSHOT {group}")), Reply::ok());
    let status = client.ask(&format!("RAFT STATUS {group}"));
    let status = &status.elements()[0];
    assert!(field(status, "on-disk").integer() > 0, "{status:?}");

    let mut subscriber = three.client(0);
    subscriber.ask(&format!("SSUBSCRIBE {key} {{{key}}}"));
    assert_eq!(subscriber.read().expect("the second").elements()[2].integer(), 2);
    let mut blocked = three.client(0);
    blocked.send(format!("BLPOP {{{key}}}:list 0\r\n")).expect("sent");
    for (line, error) in [
        ("RAFT TRANSFER 99 x".to_owned(), "ERR Unknown node x"),
        (format!("RAFT TRANSFER 99 {}", three.id(1)), "ERR there is no group 99"),
        ("RAFT STATUS 99".to_owned(), "ERR this node has no replica of group 99"),
        ("RAFT SNAPSHOT x".to_owned(), "ERR value is not an integer or out of range"),
    ] {
        let reply = client.ask(&line);
        assert!(reply.is_error(error), "{line}: {reply:?}");
    }
    // Whichever node is asked.
    assert_eq!(three.client(2).ask(&format!("RAFT TRANSFER {group} {}", three.id(1))), Reply::ok());
    three.until_leads(1, 2);
    assert_eq!(three.client(1).ask(&format!("GET {key}")), Reply::bulk("1"));
    let told: BTreeSet<String> = (0..2)
        .map(|_| subscriber.read().expect("it is told"))
        .map(|told| {
            assert_eq!(told.elements()[0].text(), "sunsubscribe");
            told.elements()[1].text()
        })
        .collect();
    assert_eq!(told, BTreeSet::from([key.clone(), format!("{{{key}}}")]));
    assert_eq!(subscriber.ask("PING").text(), "PONG", "it subscribes to nothing any more");
    assert!(blocked.read().expect("it is told").is_error("UNBLOCKED"));
    // What it has written is with one that nobody here knows, however often it asks.
    for _ in 0..2 {
        assert!(client.ask("WAIT 1 0").is_error("UNBLOCKED"));
    }
    assert_eq!(client.ask("RESET").text(), "RESET");
    assert!(client.ask("WAIT 1 0").is_error("ERR WAIT cannot be used with replica instances"));
    // It is the group's home from now on.
    eventually("all nodes say so", DEADLINE, || {
        let moved = three.client(0).ask(&format!("GET {key}"));
        if moved.is_error("MOVED") { Ok(()) } else { Err(moved) }
    });
    three.until_leads(0, 0);
}

#[test]
fn who_keeps_copies_is_told_by_the_replica_that_it_reads_and_when_the_lead_is_lost() {
    let three = Three::new(&[]);
    let key = three.key_of(0, "copy");
    let [group] = three.led(0)[..] else { panic!("it leads one group") };
    let mut writer = three.client(0);
    assert_eq!(writer.ask(&format!("SET {key} 1")), Reply::ok());
    let mut readers = [three.client(0), three.client(1)];
    for reader in &mut readers {
        reader.ask("HELLO 3");
        assert_eq!(reader.ask("READONLY"), Reply::ok());
        assert_eq!(reader.ask("CLIENT TRACKING ON"), Reply::ok());
        eventually("the replica has it", DEADLINE, || {
            // It may hear here already of what it has read before.
            reader.send(format!("GET {key}\r\nPING\r\n")).expect("sent");
            let mut heard = Vec::new();
            while heard.last() != Some(&Reply::Simple("PONG".into())) {
                heard.push(reader.read().expect("an answer"));
            }
            if heard[0] == Reply::bulk("1") && heard.len() == 2 { Ok(()) } else { Err(heard) }
        });
    }
    assert_eq!(writer.ask(&format!("SET {key} 2")), Reply::ok());
    let word = |keys: Reply| Reply::Push(vec![Reply::bulk("invalidate"), keys]);
    for reader in &mut readers {
        assert_eq!(reader.read().expect("it is told"), word(Reply::bulks([&key])));
        assert_eq!(reader.ask(&format!("GET {key}")), Reply::bulk("2"), "the replica that tells has it");
    }
    assert_eq!(writer.ask(&format!("RAFT TRANSFER {group} {}", three.id(1))), Reply::ok());
    assert_eq!(readers[0].read().expect("it is told"), word(Reply::Null));
}

#[test]
fn cluster_failover_gives_a_replica_the_leads_of_its_master_and_those_back_to_it() {
    let three = Three::new(&[]);
    let key = three.key_of(0, "failover");
    let ([lead], [other]) = (&three.led(0)[..], &three.led(1)[..]) else { panic!("each leads one group") };
    assert_eq!(three.client(0).ask(&format!("SET {key} 1")), Reply::ok());
    let mut second = three.client(1);
    for word in ["FORCE", "TAKEOVER"] {
        assert!(second.ask(&format!("CLUSTER FAILOVER {word}")).is_error("ERR a lead that a majority"), "{word}");
    }
    assert!(second.ask("CLUSTER FAILOVER x").is_error("ERR syntax error"));
    let not_meant = "ERR You should send CLUSTER FAILOVER to a replica";
    assert!(second.ask("CLUSTER FAILOVER").is_error(not_meant), "a master takes nobody's leads");
    // It becomes a replica of the first one, when it leads nothing any more.
    assert_eq!(second.ask(&format!("RAFT TRANSFER {other} {}", three.id(2))), Reply::ok());
    three.until_leads(2, 2);
    eventually("it is a replica", DEADLINE, || {
        let reply = second.ask(&format!("CLUSTER REPLICATE {}", three.id(0)));
        if reply == Reply::ok() { Ok(()) } else { Err(reply) }
    });
    let fail_over = |number: usize| {
        eventually("it takes the leads", DEADLINE, || {
            let reply = three.client(number).ask("CLUSTER FAILOVER");
            if reply == Reply::ok() { Ok(()) } else { Err(reply) }
        });
        eventually("it leads what was meant, and nothing else", DEADLINE, || {
            let led = three.led(number);
            if led == [*lead] { Ok(()) } else { Err(led) }
        });
    };
    fail_over(1);
    assert_eq!(second.ask(&format!("GET {key}")), Reply::bulk("1"));
    assert!(second.ask("CLUSTER FAILOVER").is_error(not_meant), "it has them");
    // And back.
    fail_over(0);
    assert_eq!(three.client(0).ask(&format!("GET {key}")), Reply::bulk("1"));
    assert_eq!((three.led(1).len(), three.led(2).len()), (0, 2));
}

#[test]
fn who_waits_for_elements_or_followers_at_a_leader_without_a_majority_is_told() {
    let mut three = Three::new(&[]);
    let key = three.key_of(0, "quorum");
    let mut blocked = three.client(0);
    blocked.send(format!("BLPOP {key} 0\r\n")).expect("sent");
    let mut waiting = three.client(0);
    assert_eq!(waiting.ask(&format!("SET {{{key}}} 1")), Reply::ok());
    // More than there are.
    waiting.send("WAIT 3 0\r\n").expect("sent");
    let mut other = three.client(0);
    eventually("both are blocked", DEADLINE, || {
        let info = other.ask("INFO clients").text();
        if info.contains("blocked_clients:2\r\n") { Ok(()) } else { Err(info) }
    });
    three.nodes[1].kill_9();
    three.nodes[2].kill_9();
    for mut client in [blocked, waiting] {
        let told = client.read().expect("it is told");
        assert!(told.is_error("UNBLOCKED"), "{told:?}");
    }
}

#[test]
fn a_node_alone_waits_for_replicas_as_redis_does() {
    let (redis, node) = (RedisServer::start(), Alone::new(|options| options));
    let mut redis = Client::connect(redis.address()).expect("redis-server accepts");
    let mut client = node.node.client();
    for line in [
        "ROLE",
        "WAIT 0 0",
        "WAIT -1 0",
        "SET key 1",
        "WAIT 0 0",
        "WAIT 1 50",
        "WAIT x 1",
        "WAIT 1 x",
        "WAIT 1 -1",
        "WAIT 1",
        "WAIT 1 2 3",
        "MULTI",
        "SET key 2",
        "WAIT 1 0",
        "WAIT x 0",
        "EXEC",
    ] {
        assert_eq!(client.ask(line), redis.ask(line), "{line}");
    }
    assert_eq!(client.ask("WAITAOF 1 0 0").elements(), [Reply::Integer(1), Reply::Integer(0)]);
    let begun = Instant::now();
    assert_eq!(client.ask("WAITAOF 1 1 100").elements(), [Reply::Integer(1), Reply::Integer(0)]);
    assert!(begun.elapsed() >= Duration::from_millis(100), "it ended after {:?}", begun.elapsed());
}

/// Each node tells its own clients of what its replicas apply, as replicas of Redis do.
#[test]
fn each_node_tells_its_own_clients_of_events_of_keys() {
    let three = Three::new(&[("--notify-keyspace-events", "KEA")]);
    for leader in 0..3 {
        let key = three.key_of(leader, "told");
        let mut subscribers: Vec<_> = three.addresses().into_iter().map(Subscriber::new).collect();
        assert_eq!(three.client(leader).ask(&format!("SET {key} v PX 50")), Reply::ok());
        for (number, subscriber) in subscribers.iter_mut().enumerate() {
            let mut told = subscriber.hear(6);
            told.retain(|(channel, _)| channel.starts_with("__keyspace@0__:"));
            let expected =
                ["set", "expire", "expired"].map(|event| (format!("__keyspace@0__:{key}"), event.to_owned()));
            assert_eq!(told, expected, "node {number}, of a key that {leader} leads");
        }
    }
}
