//! Messages that clients publish on one node of a cluster and clients of all its nodes hear.

use std::collections::BTreeMap;
use std::thread;

use basalt_tests::{Client, DEADLINE, Node, Reply, eventually};

use super::nodes::{addresses, create, free_ports, options_at, wait_for};

/// Messages of each client that publishes, and of each script.
const BY_CLIENT: usize = 1_000;
const BY_SCRIPT: usize = 200;
/// Those who subscribe at each node: by channel and by pattern.
const SUBSCRIBERS: [&str; 2] = ["SUBSCRIBE news", "PSUBSCRIBE n*s"];

/// A client that publishes at a node, whose core has reached all other nodes.
fn publisher(node: &Node, others: u64) -> Client {
    let mut client = node.client();
    eventually("all other nodes hear what is published", DEADLINE, || {
        let (heard_before, lost_before) = counts(&mut client);
        client.ask("PUBLISH probe x");
        let (heard, lost) = eventually("each is said or lost", DEADLINE, || {
            let (heard, lost) = counts(&mut client);
            if heard + lost >= heard_before + lost_before + others { Ok((heard, lost)) } else { Err((heard, lost)) }
        });
        if (heard, lost) == (heard_before + others, lost_before) { Ok(()) } else { Err((heard, lost)) }
    });
    client
}

/// Counts of the messages of a node's cores that other nodes have heard, once for each node, and of those that were lost.
fn counts(client: &mut Client) -> (u64, u64) {
    let info = client.ask("INFO peers").text();
    let sum = |name: &str| {
        let values = info.split([',', ':', '\r', '\n']).filter_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        values.map(|value| value.parse::<u64>().expect("a number")).sum::<u64>()
    };
    (sum("published_out"), sum("published_lost"))
}

fn subscribe(node: &Node) -> Vec<Client> {
    let subscriber = |line: &&str| {
        let mut client = node.client();
        assert_eq!(client.ask(line).elements()[2].integer(), 1);
        client
    };
    SUBSCRIBERS.iter().map(subscriber).collect()
}

/// Publishes at a node, and has a script publish there if it leads something; each message has the name of who publishes it and
/// its number.
fn publish(client: &mut Client, name: &str, with_scripts: bool) {
    let messages = (0..BY_CLIENT).map(|number| ["PUBLISH".into(), "news".into(), format!("client {name}:{number}")]);
    let replies = client.pipeline(messages);
    let here = SUBSCRIBERS.len() as i64;
    assert!(replies.iter().all(|reply| reply.integer() == here), "those of this node are counted: {replies:?}");
    if with_scripts {
        // It writes, so each replica executes it, and one of them publishes what it says.
        let is_led_here = |key: &String| !client.ask(&format!("PERSIST {key}")).is_error("MOVED");
        let key = (0..1_000).map(|tag| format!("key:{tag}")).find(is_led_here).expect("it leads a third of all keys");
        let script = "redis.call('set', KEYS[1], 1) \
                      for number = 0, ARGV[2] - 1 do redis.call('publish', 'news', ARGV[1] .. ':' .. number) end \
                      return 'done'";
        let count = BY_SCRIPT.to_string();
        assert_eq!(client.call(["EVAL", script, "1", &key, &format!("script {name}"), &count]).text(), "done");
    }
    assert_eq!(client.ask("PUBLISH news last").integer(), here);
}

/// Has all nodes publish at a time, and looks that each subscriber hears all of it.
fn all_is_heard(publishers: &mut [Client], subscribers: &mut [Client], with_scripts: bool) {
    let count = publishers.len();
    thread::scope(|scope| {
        for (number, client) in publishers.iter_mut().enumerate() {
            scope.spawn(move || publish(client, &number.to_string(), with_scripts));
        }
        for (number, subscriber) in subscribers.iter_mut().enumerate() {
            let (mut next, mut last) = (BTreeMap::<String, usize>::new(), 0);
            while last < count {
                let message = subscriber.read().expect("a message");
                let text = message.elements().last().map(Reply::text).expect("a message has words");
                let Some((publisher, found)) = text.split_once(':') else {
                    assert_eq!(text, "last");
                    last += 1;
                    continue;
                };
                let due = next.entry(publisher.to_owned()).or_default();
                assert_eq!(found, due.to_string(), "of {publisher}, by subscriber {number}");
                *due += 1;
            }
            // Each publisher's last message is behind all others of its own, so none of them is missing.
            assert_eq!(next.len(), if with_scripts { 2 * count } else { count }, "{next:?}");
            for (publisher, heard) in next {
                let all = if publisher.starts_with("client") { BY_CLIENT } else { BY_SCRIPT };
                assert_eq!(heard, all, "of {publisher}, by subscriber {number}");
            }
        }
    });
}

#[test]
fn subscribers_of_all_nodes_hear_what_is_published_on_any_and_so_do_those_of_a_node_that_was_restarted() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ports = [(); 3].map(|()| free_ports());
    // One of them has two cores.
    let options = |number: usize| options_at(directory.path(), number, ports[number]);
    let mut nodes: Vec<Node> = (0..3).map(|number| options(number).start()).collect();
    create(&nodes);
    wait_for(&addresses(&nodes), "cluster_state", "ok");

    let mut subscribers: Vec<Client> = nodes.iter().flat_map(subscribe).collect();
    let mut publishers: Vec<Client> = nodes.iter().map(|node| publisher(node, 2)).collect();
    all_is_heard(&mut publishers, &mut subscribers, true);

    nodes[2].kill_9();
    let silent = counts(&mut publishers[0]).1;
    eventually("what a node that is away does not hear is counted", DEADLINE, || {
        publishers[0].ask("PUBLISH nobody x");
        let lost = counts(&mut publishers[0]).1;
        if lost > silent { Ok(()) } else { Err(lost) }
    });
    nodes[2] = options(2).start();
    wait_for(&addresses(&nodes), "cluster_state", "ok");
    subscribers.truncate(2 * SUBSCRIBERS.len());
    subscribers.extend(subscribe(&nodes[2]));
    let mut publishers: Vec<Client> = nodes.iter().map(|node| publisher(node, 2)).collect();
    // Which node leads what may change for a while.
    all_is_heard(&mut publishers, &mut subscribers, false);
}
