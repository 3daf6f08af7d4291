//! The replies, compared with those of a real redis-server in cluster mode, and told for what that one cannot show.

use std::io::{Read, Write};
use std::net::TcpStream;

use basalt_net::resp::{Protocol, value};
use basalt_tests::RedisServer;

use super::*;
use crate::cluster::map::testing::*;
use crate::cluster::map::{
    Addresses, Change, ClusterId, GroupPlacement, Newcomer, NodeName, Refused, Role, SlotSet, read_config_epoch,
    read_slot_ranges, read_slots,
};

type Leaders = BTreeMap<GroupNumber, NodeId>;
type Peers = BTreeMap<NodeId, Peer>;

fn view<'a>(map: &'a Map, leaders: &'a Leaders, peers: &'a Peers) -> View<'a> {
    let myself = number(1);
    View { map, myself, leaders, peers, replication_offset: 0, messages_sent: 0, messages_received: 0 }
}

fn reply(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Reply::new(&mut out, protocol));
    String::from_utf8(out).unwrap()
}

fn text(write: impl FnOnce(&mut Reply<'_>)) -> String {
    let reply = reply(Protocol::Resp2, write);
    reply.split_once("\r\n").unwrap().1.trim_end_matches("\r\n").to_owned()
}

/// A connection to redis-server.
struct Redis(TcpStream);

impl Redis {
    fn run(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            if let Some(length) = value::skip_value(&input) {
                assert_eq!(length, input.len());
                return String::from_utf8(input).unwrap();
            }
            let read = self.0.read(&mut buffer).unwrap();
            assert!(read > 0, "redis-server closed the connection after {line}");
            input.extend_from_slice(&buffer[..read]);
        }
    }
}

/// The change that a CLUSTER command of node 1 is.
fn change(words: &[&str]) -> std::result::Result<Change, Refused> {
    let node = number(1);
    let args: Vec<&[u8]> = words[1..].iter().map(|word| word.as_bytes()).collect();
    Ok(match words[0] {
        "ADDSLOTS" => Change::ClaimSlots { node, ranges: read_slots(args)? },
        "ADDSLOTSRANGE" => Change::ClaimSlots { node, ranges: read_slot_ranges(&args)? },
        "DELSLOTS" => Change::ReleaseSlots { ranges: read_slots(args)? },
        "DELSLOTSRANGE" => Change::ReleaseSlots { ranges: read_slot_ranges(&args)? },
        "FLUSHSLOTS" => Change::FlushSlots { node },
        "SET-CONFIG-EPOCH" => Change::SetConfigEpoch { node, epoch: read_config_epoch(words[1].parse().unwrap())? },
        "BUMPEPOCH" => Change::BumpConfigEpoch { node },
        other => panic!("{other}"),
    })
}

/// The reply to a CLUSTER command of node 1, which asks for a change.
fn run(map: &mut Map, words: &[&str]) -> String {
    use crate::cluster::map::Outcome;
    let index = map.epoch() + 1;
    let outcome = change(words).and_then(|change| map.apply(index, change));
    reply(Protocol::Resp2, |reply| match outcome {
        Ok(Outcome::ConfigEpoch { epoch, is_new }) => {
            reply.simple(format!("{} {epoch}", if is_new { "BUMPED" } else { "STILL" }));
        }
        Ok(_) => reply.ok(),
        Err(refused) => reply.error_display(refused),
    })
}

#[test]
fn a_node_alone_replies_as_redis_does() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let mut redis = Redis(TcpStream::connect(server.address()).unwrap());
    let id = redis.run("CLUSTER MYID").lines().nth(1).unwrap().to_owned();
    let port = server.address().port();
    let addresses = Addresses { port, bus_port: port.wrapping_add(10_000), ..Addresses::default() };
    let name = NodeName::parse(id.as_bytes()).unwrap();
    let node = Newcomer { name, addresses: addresses.clone(), ..newcomer(1) };
    let mut map = Map::new();
    apply(
        &mut map,
        Change::FoundCluster { cluster_id: ClusterId([7; 20]), replication_factor: 1, node, groups: vec![] },
    );
    let announce = |map: &mut Map, addresses| {
        apply(map, Change::Announce { node: number(1), incarnation: 3, addresses });
    };
    for line in [
        "show",
        "ADDSLOTS 5 6 7 9",
        "show",
        "ADDSLOTS 5",
        "ADDSLOTS 10 10",
        "ADDSLOTS 10 x",
        "ADDSLOTS 99999",
        "ADDSLOTS +11",
        "ADDSLOTS 011",
        "ADDSLOTS -1",
        "DELSLOTS 11",
        "DELSLOTS 5 5",
        "ADDSLOTSRANGE 9 3",
        "ADDSLOTSRANGE 20 25 25 26",
        "ADDSLOTSRANGE 3 5",
        "DELSLOTSRANGE 5 8",
        "DELSLOTSRANGE 5 6",
        "show",
        "SET-CONFIG-EPOCH -1",
        "SET-CONFIG-EPOCH 7",
        "SET-CONFIG-EPOCH 8",
        "BUMPEPOCH",
        "show",
        "FLUSHSLOTS",
        "BUMPEPOCH",
        "ADDSLOTSRANGE 100 16383 0 50",
        "hostname",
        "show",
    ] {
        match line {
            "show" => show(&map, &mut redis),
            "hostname" => {
                redis.run("CONFIG SET cluster-announce-ip 127.0.0.9");
                redis.run("CONFIG SET cluster-announce-hostname h.example");
                let ip = Some("127.0.0.9".parse().unwrap());
                announce(&mut map, Addresses { ip, hostname: "h.example".to_owned(), ..addresses.clone() });
            }
            _ => {
                let words: Vec<&str> = line.split(' ').collect();
                assert_eq!(run(&mut map, &words), redis.run(&format!("CLUSTER {line}")), "{line}");
            }
        }
    }
    // Without groups the cluster is not ready; redis-server takes a moment for that.
    apply(&mut map, Change::ClaimSlots { node: number(1), ranges: vec![range(51, 99)] });
    found_live(&mut map, 1, 3);
    let leaders = map.groups().iter().map(|group| (group.number, number(1))).collect();
    redis.run("CLUSTER ADDSLOTSRANGE 51 99");
    let info = reply(Protocol::Resp2, |reply| reply_info(&view(&map, &leaders, &Peers::new()), reply));
    basalt_tests::eventually("redis-server is ready", basalt_tests::DEADLINE, || {
        let expected = redis.run("CLUSTER INFO");
        if expected == info { Ok(()) } else { Err(format!("{expected:?} is not {info:?}")) }
    });
}

/// Compares all that is shown, in both versions of the protocol.
fn show(map: &Map, redis: &mut Redis) {
    let (leaders, peers) = (Leaders::new(), Peers::new());
    let view = view(map, &leaders, &peers);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        redis.run(if protocol == Protocol::Resp3 { "HELLO 3" } else { "HELLO 2" });
        let compare = |redis: &mut Redis, line: &str, write: &dyn Fn(&mut Reply<'_>)| {
            assert_eq!(reply(protocol, write), redis.run(line), "{line}");
        };
        // Redis counts the nodes with slots only after its first two seconds.
        let without_size =
            |text: String| text.lines().filter(|line| !line.starts_with("cluster_size")).collect::<String>();
        let info = without_size(reply(protocol, |reply| reply_info(&view, reply)));
        assert_eq!(info, without_size(redis.run("CLUSTER INFO")));
        compare(redis, "CLUSTER NODES", &|reply| reply_nodes(&view, reply));
        compare(redis, "CLUSTER SLOTS", &|reply| reply_slots(&view, reply));
        compare(redis, "CLUSTER SHARDS", &|reply| reply_shards(&view, reply));
        compare(redis, "CLUSTER MYID", &|reply| reply_myid(&view, reply));
        compare(redis, "CLUSTER KEYSLOT a{bc}d", &|reply| reply_keyslot(b"a{bc}d", reply));
    }
    redis.run("HELLO 2");
}

/// Three nodes: 1 and 2 are masters with a group each, 3 is a replica of 1 and holds its group.
fn three() -> Map {
    let mut map = with_nodes(3);
    apply(&mut map, Change::SetRole { node: number(3), role: Role::ReplicaOf(number(1)) });
    for (node, first, last) in [(1, 0, 99), (2, 100, 16383)] {
        apply(&mut map, Change::ClaimSlots { node: number(node), ranges: vec![range(first, last)] });
        found_live(&mut map, node, 1);
    }
    apply(&mut map, Change::BumpConfigEpoch { node: number(1) });
    let replicas = vec![number(1), number(3)];
    let placement = GroupPlacement { group: GroupNumber(1), home: number(1), replicas };
    apply(&mut map, Change::PlaceGroups { placements: vec![placement] });
    map
}

fn leaders(of: &[(u64, u64)]) -> Leaders {
    of.iter().map(|&(group, node)| (GroupNumber(group), number(node))).collect()
}

fn peers() -> Peers {
    let up = Peer { is_connected: true, pong_received_ms: 1234, replication_offset: 5, ..Peer::default() };
    [(number(2), up), (number(3), up)].into()
}

#[test]
fn a_cluster_is_shown_with_its_replicas() {
    let (map, leaders, peers) = (three(), leaders(&[(1, 1), (2, 2)]), peers());
    let view = view(&map, &leaders, &peers);
    let id = |of| name(of).to_string();
    let expected = [
        format!("{} 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-99\n", id(1)),
        format!("{} 10.0.0.2:7000@17000 master - 0 1234 0 connected 100-16383\n", id(2)),
        format!("{} 10.0.0.3:7000@17000 slave {} 0 1234 1 connected\n", id(3), id(1)),
    ];
    assert_eq!(text(|reply| reply_nodes(&view, reply)), expected.concat());
    let info = text(|reply| reply_info(&view, reply));
    assert!(
        info.starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n"),
        "{info}"
    );
    assert!(info.contains("cluster_known_nodes:3\r\ncluster_size:2\r\ncluster_current_epoch:1\r\n"), "{info}");
    let node = |of: u64| format!("*4\r\n$8\r\n10.0.0.{of}\r\n:7000\r\n$40\r\n{}\r\n*0\r\n", id(of));
    let slots = format!("*2\r\n*4\r\n:0\r\n:99\r\n{}{}*3\r\n:100\r\n:16383\r\n{}", node(1), node(3), node(2));
    assert_eq!(reply(Protocol::Resp2, |reply| reply_slots(&view, reply)), slots);
    let shards = reply(Protocol::Resp2, |reply| reply_shards(&view, reply));
    assert!(
        shards.starts_with("*2\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:99\r\n$5\r\nnodes\r\n*2\r\n*14\r\n"),
        "{shards}"
    );
    let replica = "$4\r\nrole\r\n$7\r\nreplica\r\n$18\r\nreplication-offset\r\n:5\r\n$6\r\nhealth\r\n$6\r\nonline\r\n";
    assert!(shards.contains(replica), "{shards}");
}

#[test]
fn slots_stand_under_the_node_that_leads_them_now() {
    let (map, leaders, peers) = (three(), leaders(&[(1, 3), (2, 9)]), peers());
    let mut peers = peers;
    peers.insert(number(2), Peer { health: Health::Suspected, ping_sent_ms: 77, ..Peer::default() });
    let view = View { myself: number(3), ..view(&map, &leaders, &peers) };
    let id = |of| name(of).to_string();
    let expected = [
        format!("{} 10.0.0.1:7000@17000 master - 0 0 1 disconnected\n", id(1)),
        // Nobody that is known leads its group, which is shown at home.
        format!("{} 10.0.0.2:7000@17000 master,fail? - 77 0 0 disconnected 100-16383\n", id(2)),
        format!("{} 10.0.0.3:7000@17000 myself,master - 0 0 0 connected 0-99\n", id(3)),
    ];
    assert_eq!(text(|reply| reply_nodes(&view, reply)), expected.concat());
    let info = text(|reply| reply_info(&view, reply));
    assert!(
        info.starts_with("cluster_state:fail\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:100\r\n"),
        "{info}"
    );
    assert!(info.contains("cluster_slots_pfail:16284\r\ncluster_slots_fail:0\r\n"), "{info}");
}

#[test]
fn groups_without_a_leader_and_lost_replicas_are_told() {
    let (map, none) = (three(), Leaders::new());
    let mut peers = peers();
    peers.insert(number(3), Peer { health: Health::Failed, ..Peer::default() });
    let view = view(&map, &none, &peers);
    let info = text(|reply| reply_info(&view, reply));
    assert!(info.contains("cluster_slots_ok:0\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:16384\r\n"), "{info}");
    assert!(text(|reply| reply_nodes(&view, reply)).contains(" slave,fail "));
    let slots = reply(Protocol::Resp2, |reply| reply_slots(&view, reply));
    assert!(slots.starts_with("*2\r\n*3\r\n:0\r\n:99\r\n") && !slots.contains(&name(3).to_string()), "{slots}");
    let mine = View { myself: number(3), ..view };
    assert!(text(|reply| reply_info(&mine, reply)).contains("cluster_my_epoch:1\r\n"));
}

#[test]
fn a_node_that_leads_some_slots_is_shown_as_a_replica_of_others_and_first_as_their_leader() {
    let mut map = with_nodes(3);
    let all = vec![number(1), number(2), number(3)];
    for (node, first, last) in [(1, 0, 99), (2, 100, 100), (3, 101, 16383)] {
        apply(&mut map, Change::ClaimSlots { node: number(node), ranges: vec![range(first, last)] });
        found_live(&mut map, node, 1);
        let placement = GroupPlacement { group: GroupNumber(node), home: number(node), replicas: all.clone() };
        apply(&mut map, Change::PlaceGroups { placements: vec![placement] });
    }
    let (leaders, mut peers) = (leaders(&[(1, 1), (2, 2), (3, 1)]), peers());
    let node = |of: u64| format!("*4\r\n$8\r\n10.0.0.{of}\r\n:7000\r\n$40\r\n{}\r\n*0\r\n", name(of));
    let range = |first: u16, last: u16, nodes: &[u64]| {
        let nodes: String = nodes.iter().map(|&of| node(of)).collect();
        format!("*{}\r\n:{first}\r\n:{last}\r\n{nodes}", 2 + nodes.matches("10.0.0.").count())
    };
    let shown = |peers: &Peers| reply(Protocol::Resp2, |reply| reply_slots(&view(&map, &leaders, peers), reply));
    let expected = [
        "*4\r\n".to_owned(),
        range(0, 0, &[1]),
        range(100, 100, &[2]),
        range(1, 99, &[1, 2, 3]),
        range(101, 16383, &[1, 2, 3]),
    ];
    assert_eq!(shown(&peers), expected.concat());
    let shards = reply(Protocol::Resp2, |reply| reply_shards(&view(&map, &leaders, &peers), reply));
    assert_eq!((shards.matches("replica\r\n").count(), shards.matches("master\r\n").count()), (4, 3), "{shards}");
    // One that is lost is no place to read from.
    peers.insert(number(2), Peer { health: Health::Failed, ..Peer::default() });
    assert!(!shown(&peers).contains(&format!("{}{}", node(1), node(2))), "{}", shown(&peers));
}

#[test]
fn ranges_of_several_groups_of_a_node_are_one() {
    let mut map = alone();
    apply(&mut map, Change::ClaimSlots { node: number(1), ranges: vec![range(0, 16383)] });
    found_live(&mut map, 1, 8);
    apply(&mut map, Change::Join { node: newcomer(2), claimed: SlotSet::default() });
    let leaders = map.groups().iter().map(|group| (group.number, number(1))).collect();
    let peers = Peers::new();
    let slots = reply(Protocol::Resp2, |reply| reply_slots(&view(&map, &leaders, &peers), reply));
    assert!(slots.starts_with("*1\r\n*3\r\n:0\r\n:16383\r\n"), "{slots}");
}
