//! Copies that clients keep: none is ever old once a writer is answered, however they race, and the node bounds what it remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use basalt_tests::{Client, DEADLINE, Reply, eventually};

use crate::alone::Alone;

/// A client that keeps copies, as libraries do.
struct Cache {
    client: Client,
    copies: BTreeMap<String, Reply>,
    hits: usize,
}

impl Cache {
    fn connect(address: SocketAddr, options: &str) -> Cache {
        let mut client = Client::connect(address).expect("the node accepts");
        client.ask("HELLO 3");
        assert_eq!(client.ask(&format!("CLIENT TRACKING ON {options}")), Reply::ok());
        Cache { client, copies: BTreeMap::new(), hits: 0 }
    }

    /// The next reply. What was told before it is taken into account.
    fn read(&mut self) -> Reply {
        loop {
            match self.client.read().expect("the node answers") {
                Reply::Push(words) if words[0].text() == "invalidate" => match &words[1] {
                    Reply::Null => self.copies.clear(),
                    keys => keys.elements().iter().for_each(|key| drop(self.copies.remove(&key.text()))),
                },
                reply => return reply,
            }
        }
    }

    /// Sends these reads in one piece unless there are copies, and keeps what comes.
    fn get(&mut self, keys: &[String], is_transaction: bool) {
        let missing: Vec<&String> = keys.iter().filter(|key| !self.copies.contains_key(*key)).collect();
        self.hits += keys.len() - missing.len();
        let mut request = Vec::new();
        if is_transaction {
            Client::encode(&mut request, ["MULTI"]);
        }
        missing.iter().for_each(|key| Client::encode(&mut request, ["GET", key]));
        if is_transaction {
            Client::encode(&mut request, ["EXEC"]);
        }
        self.client.send(request).expect("the node reads");
        if is_transaction {
            (0..=missing.len()).for_each(|_| drop(self.read()));
            let values = self.read();
            let copies = missing.into_iter().cloned().zip(values.elements().iter().cloned());
            self.copies.extend(copies.collect::<Vec<_>>());
            return;
        }
        for key in missing {
            let value = self.read();
            self.copies.insert(key.clone(), value);
        }
    }
}

/// Readers keep copies while others write. When the writers have been answered, what the readers have after one question more is
/// what there is.
fn race(cores: usize, options: &str) {
    const KEYS: usize = 40;
    const WRITERS: usize = 3;
    const READERS: usize = 3;
    let alone = Alone::new(|node| node.set("--cores", cores.to_string()).set("--pin", "no"));
    let address = alone.node.address();
    let key = |number: usize| format!("key-{}", number % KEYS);
    let is_over = AtomicBool::new(false);
    let mut caches: Vec<Cache> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut client = Client::connect(address).expect("the node accepts");
                    for round in 0..400 {
                        let (a, b, value) = (key(writer + 7 * round), key(round), format!("{writer}-{round}"));
                        let answered = match round % 8 {
                            0 => client.call(["MSET", &a, &value, &b, &value]),
                            1 => client.call(["DEL", &a, &b]),
                            2 => client.call(["EVAL", "redis.call('set',KEYS[1],ARGV[1]) return 1", "1", &a, &value]),
                            3 if round % 64 == 3 => client.call(["FLUSHALL"]),
                            4 => client.call(["SET", &a, &value, "PX", "5"]),
                            _ => client.call(["SET", &a, &value]),
                        };
                        assert!(!answered.is_error(""), "{answered:?}");
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut cache = Cache::connect(address, options);
                    let mut own = 0;
                    for round in 0.. {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        let keys: Vec<String> = (0..1 + round % 5).map(|step| key(reader + round * 3 + step)).collect();
                        let keys: Vec<String> = keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
                        cache.get(&keys, round % 4 == 3);
                        if round % 16 == 5 {
                            // One of its own among them; what it then has of this key it has to ask for.
                            let mut request = Vec::new();
                            let own_key = key(reader + own);
                            Client::encode(&mut request, ["SET", &own_key, &format!("own-{own}")]);
                            cache.client.send(request).expect("the node reads");
                            cache.copies.remove(&own_key);
                            assert_eq!(cache.read(), Reply::ok());
                            cache.copies.remove(&own_key);
                            own += 1;
                        }
                    }
                    cache
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().expect("it was answered"));
        is_over.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().expect("it was answered")).collect()
    });
    // Those that expire do so before what is there is looked at.
    let mut other = Client::connect(address).expect("the node accepts");
    eventually("nothing has a deadline", DEADLINE, || {
        let line = other.ask("INFO keyspace").text();
        if line.contains("expires=0") || !line.contains("expires=") { Ok(()) } else { Err(line) }
    });
    // Answered by all shards, behind what they have had to tell.
    other.ask("DBSIZE");
    let hits: usize = caches.iter().map(|cache| cache.hits).sum();
    let mut compared = 0;
    for cache in &mut caches {
        cache.client.send("PING\r\n").expect("the node reads");
        assert_eq!(cache.read(), Reply::Simple("PONG".into()));
        for (key, copy) in &cache.copies {
            compared += 1;
            assert_eq!(&other.ask(&format!("GET {key}")), copy, "the copy of {key} is old, {cores} cores, {options}");
        }
    }
    assert!(compared > 0 && hits > 0, "{compared} copies were compared, {hits} reads were spared");
}

#[test]
fn no_copy_is_ever_old_once_the_writers_are_answered() {
    race(1, "");
    race(4, "");
    race(4, "NOLOOP");
}

#[test]
fn no_copy_is_old_for_who_hears_of_all_keys() {
    race(4, "BCAST");
    race(2, "BCAST PREFIX key-");
}

/// Numbers that INFO tells.
fn figures<const N: usize>(client: &mut Client, names: [&str; N]) -> [u64; N] {
    let info = client.ask("INFO").text();
    names.map(|name| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("INFO has {name}")).parse().expect("a number")
    })
}

#[test]
fn a_key_that_expires_is_told() {
    for cores in ["1", "2"] {
        let alone = Alone::new(|options| options.set("--cores", cores).set("--pin", "no"));
        let mut cache = Cache::connect(alone.node.address(), "");
        let mut other = Client::connect(alone.node.address()).expect("the node accepts");
        for key in ["a", "b", "c"] {
            assert_eq!(other.ask(&format!("SET {key} 1 PX 40")), Reply::ok());
        }
        let keys = ["a", "b", "c"].map(String::from);
        cache.get(&keys, false);
        eventually("all are told", DEADLINE, || {
            cache.client.send("PING\r\n").expect("the node reads");
            cache.read();
            let left = cache.copies.iter().filter(|(_, copy)| **copy != Reply::Null).count();
            if left == 0 { Ok(()) } else { Err(left) }
        });
    }
}

#[test]
fn as_many_keys_are_remembered_as_are_allowed_and_no_client_that_is_gone() {
    let names = ["tracking_clients", "tracking_total_keys", "tracking_total_items", "tracking_total_prefixes"];
    for cores in ["1", "3"] {
        let alone = Alone::new(|options| options.set("--cores", cores).set("--pin", "no"));
        let address = alone.node.address();
        let mut other = Client::connect(address).expect("the node accepts");
        let keys: Vec<String> = (0..300).map(|number| format!("key-{number}")).collect();
        let mut cache = Cache::connect(address, "");
        let mut second = Cache::connect(address, "");
        let mut broad = Cache::connect(address, "BCAST PREFIX a PREFIX b");
        cache.get(&keys, false);
        second.get(&keys[..100], false);
        eventually("all are counted", DEADLINE, || {
            let seen = figures(&mut other, names);
            if seen == [3, 300, 400, 2] { Ok(()) } else { Err(seen) }
        });
        let [bytes] = figures(&mut other, ["memory_tracked_keys"]);
        assert!((300 * 50..1 << 20).contains(&bytes), "{bytes} bytes");

        assert_eq!(other.ask("CONFIG SET tracking-table-max-keys 30"), Reply::ok());
        eventually("the others are told", DEADLINE, || {
            for cache in [&mut cache, &mut second] {
                cache.client.send("PING\r\n").expect("the node reads");
                cache.read();
            }
            let seen = (cache.copies.len(), second.copies.len(), figures(&mut other, names));
            let is_over = seen.0 <= 30 && seen.1 <= 30 && seen.2[1] <= 30;
            if is_over { Ok(()) } else { Err(seen) }
        });
        cache.get(&keys, true);
        cache.client.send("PING\r\n").expect("the node reads");
        cache.read();
        assert!(cache.copies.len() <= 30, "{} copies", cache.copies.len());

        assert_eq!(other.ask("CONFIG SET tracking-table-max-keys 0"), Reply::ok());
        cache.get(&keys, false);
        broad.client.ask("CLIENT TRACKING OFF");
        drop((cache, second, broad));
        eventually("they are forgotten", DEADLINE, || {
            let seen = figures(&mut other, names);
            if seen == [0; 4] { Ok(()) } else { Err(seen) }
        });
    }
}

#[test]
fn a_client_that_waits_is_told_meanwhile() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--pin", "no"));
    let mut cache = Cache::connect(alone.node.address(), "");
    let mut other = Client::connect(alone.node.address()).expect("the node accepts");
    cache.get(&["a".into()], false);
    cache.client.send("BLPOP list 0\r\n").expect("the node reads");
    eventually("it waits", DEADLINE, || match figures(&mut other, ["blocked_clients"]) {
        [1] => Ok(()),
        seen => Err(seen),
    });
    other.ask("SET a 1");
    let told = cache.client.read().expect("it is told");
    assert_eq!(told, Reply::Push(vec![Reply::bulk("invalidate"), Reply::bulks(["a"])]));
    other.ask("RPUSH list x");
    assert_eq!(cache.read(), Reply::bulks(["list", "x"]));
}

#[test]
fn what_is_read_where_tracking_begins_in_a_transaction_is_told() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--pin", "no"));
    let mut client = Client::connect(alone.node.address()).expect("the node accepts");
    client.ask("HELLO 3");
    for line in ["MULTI", "CLIENT TRACKING ON", "GET a"] {
        client.ask(line);
    }
    assert_eq!(client.ask("EXEC").elements().len(), 2);
    let told = client.read().expect("it is told");
    assert_eq!(told, Reply::Push(vec![Reply::bulk("invalidate"), Reply::bulks(["a"])]));
}

#[test]
fn lists_of_clients_say_who_is_told_and_in_whose_place() {
    let alone = Alone::new(|options| options.set("--cores", "2").set("--pin", "no"));
    let mut clients = [(); 3].map(|()| Client::connect(alone.node.address()).expect("the node accepts"));
    let id = clients[2].ask("CLIENT ID").integer();
    clients[0].ask(&format!("CLIENT TRACKING ON REDIRECT {id}"));
    clients[1].ask("CLIENT TRACKING ON BCAST");
    let info = |client: &mut Client| client.ask("CLIENT INFO").text();
    let (first, second, third) = (info(&mut clients[0]), info(&mut clients[1]), info(&mut clients[2]));
    assert!(first.contains(" flags=t ") && first.contains(&format!(" redir={id} ")), "{first}");
    assert!(second.contains(" flags=tB ") && second.contains(" redir=0 "), "{second}");
    assert!(third.contains(" flags=N ") && third.contains(" redir=-1 "), "{third}");
    let [mut first, mut other, third] = clients;
    drop(third);
    eventually("it is known that nobody is there", DEADLINE, || {
        first.ask("GET a");
        other.ask("SET a 1");
        let line = info(&mut first);
        if line.contains(" flags=tR ") { Ok(()) } else { Err(line) }
    });
}
