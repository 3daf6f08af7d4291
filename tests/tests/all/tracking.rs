//! Client-side caching: clients hear of changes of what they have read, word for word as in Redis, over all cores of a node.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use basalt_tests::{Client, DEADLINE, RedisServer, Reply, eventually};

use crate::alone::Alone;

/// The clients of a script: the one that keeps copies, another one, and one that is told in the first one's place.
const READER: usize = 0;
const OTHER: usize = 1;
const LISTENER: usize = 2;

/// A line and who sends it; `{2}` in it is the id of that client.
type Step = (usize, &'static str);

/// Of one that is told by the new protocol of what it has read.
const BY_READING: &[Step] = &[
    (READER, "HELLO 3"),
    (READER, "CLIENT GETREDIR"),
    (READER, "CLIENT TRACKING ON"),
    (READER, "CLIENT GETREDIR"),
    (READER, "CLIENT TRACKINGINFO"),
    (OTHER, "SET a 1"),
    (READER, "GET a"),
    (OTHER, "SET a 2"),
    (OTHER, "SET a 3"),
    (READER, "GET a"),
    (READER, "SET a 4"),
    (READER, "MGET a b c d"),
    (OTHER, "MSET a 1 b 2"),
    (OTHER, "DEL c"),
    (OTHER, "SET c 1"),
    (OTHER, "DEL c"),
    (READER, "EXISTS list"),
    (OTHER, "RPUSH list 1 2 3"),
    (READER, "LRANGE list 0 -1"),
    (OTHER, "LSET list 0 x"),
    (READER, "LLEN list"),
    (OTHER, "RENAME list other"),
    (READER, "GET a"),
    (OTHER, "EXPIRE a 1000"),
    (READER, "STRLEN a"),
    (OTHER, "PERSIST a"),
    (READER, "GET a"),
    (OTHER, "EXPIRE a 1000 GT"),
    (OTHER, "APPEND a x"),
    (READER, "HGETALL hash"),
    (OTHER, "HSET hash f 1"),
    (READER, "HGET hash f"),
    (OTHER, "HSET hash f 1 g 2"),
    (READER, "SMEMBERS set"),
    (OTHER, "SADD set a b c"),
    (READER, "SCARD set"),
    (OTHER, "SADD set a"),
    (OTHER, "SREM set nobody"),
    (OTHER, "SREM set a"),
    (READER, "ZRANGE zset 0 -1"),
    (OTHER, "ZADD zset 1 a"),
    (READER, "XLEN stream"),
    (OTHER, "XADD stream 1-1 f v"),
    (READER, "GET set"),
    (OTHER, "DEL set"),
    (READER, "GET a"),
    (OTHER, "SELECT 3"),
    (OTHER, "SET a otherdb"),
    (OTHER, "SELECT 0"),
    (READER, "GET a"),
    (OTHER, "COPY a b REPLACE"),
    (READER, "GET b"),
    (OTHER, "COPY a b REPLACE"),
    (READER, "GETSET a 5"),
    (OTHER, "SET a 6"),
    (READER, "MULTI"),
    (READER, "GET a"),
    (READER, "GET b"),
    (READER, "EXEC"),
    (OTHER, "MSET a 7 b 8"),
    (READER, "MGET a b"),
    (READER, "MULTI"),
    (READER, "SET a 1"),
    (READER, "SET b 1"),
    (READER, "EXEC"),
    (READER, "EVAL return(redis.call('get',KEYS[1])) 1 a"),
    (OTHER, "SET a 8"),
    (READER, "EVAL_RO return(redis.call('get',KEYS[1])) 1 a"),
    (OTHER, "EVAL return(redis.call('set',KEYS[1],'9')) 1 a"),
    (READER, "GET a"),
    (OTHER, "FLUSHDB"),
    (OTHER, "SET a 1"),
    (READER, "GET a"),
    (OTHER, "FLUSHALL"),
    (READER, "GET a"),
    (READER, "FLUSHALL"),
    (READER, "GET a"),
    (READER, "CLIENT TRACKING OFF"),
    (OTHER, "SET a 2"),
    (READER, "CLIENT TRACKINGINFO"),
    (READER, "CLIENT TRACKING ON"),
    (READER, "GET a"),
    (READER, "RESET"),
    (READER, "CLIENT GETREDIR"),
    (OTHER, "SET a 3"),
];

/// Of one that chooses, and of one that does not want to hear of what it changes itself.
const BY_CHOICE: &[Step] = &[
    (READER, "HELLO 3"),
    (READER, "CLIENT CACHING YES"),
    (READER, "CLIENT TRACKING ON OPTIN"),
    (READER, "CLIENT CACHING"),
    (READER, "CLIENT CACHING NO"),
    (READER, "CLIENT CACHING MAYBE"),
    (READER, "GET a"),
    (OTHER, "SET a 1"),
    (READER, "CLIENT CACHING YES"),
    (READER, "CLIENT TRACKINGINFO"),
    (READER, "GET a"),
    (READER, "GET b"),
    (OTHER, "MSET a 2 b 2"),
    (READER, "CLIENT CACHING YES"),
    (READER, "NOSUCH"),
    (READER, "GET a"),
    (OTHER, "SET a 3"),
    (READER, "CLIENT CACHING YES"),
    (READER, "MULTI"),
    (READER, "GET a"),
    (READER, "GET b"),
    (READER, "EXEC"),
    (READER, "GET c"),
    (OTHER, "MSET a 4 b 4 c 4"),
    (READER, "CLIENT TRACKING ON OPTOUT"),
    (READER, "CLIENT TRACKING ON BCAST"),
    (READER, "CLIENT TRACKING ON"),
    (READER, "CLIENT TRACKING OFF"),
    (READER, "CLIENT TRACKING ON OPTIN OPTOUT"),
    (READER, "CLIENT TRACKING ON OPTIN BCAST"),
    (READER, "CLIENT TRACKING ON PREFIX a"),
    (READER, "CLIENT TRACKING ON PREFIX"),
    (READER, "CLIENT TRACKING ON NOSUCH"),
    (READER, "CLIENT TRACKING MAYBE"),
    (READER, "CLIENT TRACKING"),
    (READER, "CLIENT TRACKING ON REDIRECT 0"),
    (READER, "CLIENT TRACKING ON REDIRECT -1"),
    (READER, "CLIENT TRACKING ON REDIRECT x"),
    (READER, "CLIENT TRACKING ON REDIRECT 123456789"),
    (READER, "CLIENT TRACKING ON REDIRECT {2} REDIRECT {2}"),
    (READER, "CLIENT TRACKING OFF REDIRECT 123456789"),
    (READER, "CLIENT TRACKING ON OPTOUT"),
    (READER, "CLIENT CACHING YES"),
    (READER, "CLIENT CACHING NO"),
    (READER, "CLIENT TRACKINGINFO"),
    (READER, "GET a"),
    (READER, "GET b"),
    (OTHER, "MSET a 5 b 5"),
    (READER, "CLIENT TRACKING OFF"),
    (READER, "CLIENT TRACKING ON NOLOOP"),
    (READER, "CLIENT TRACKINGINFO"),
    (READER, "MGET a b c"),
    (READER, "SET a 6"),
    (READER, "MSET b 6 c 6"),
    (READER, "MGET a b c"),
    (READER, "MULTI"),
    (READER, "SET a 1"),
    (READER, "SET b 1"),
    (READER, "EXEC"),
    (READER, "EVAL redis.call('set',KEYS[1],'1')redis.call('set',KEYS[2],'1') 2 a c"),
    (READER, "MGET a b c"),
    (OTHER, "MSET a 7 b 7 c 7"),
    (READER, "GET a"),
    (OTHER, "FLUSHALL"),
];

/// Of one that wants to hear of all keys that begin with its prefixes.
const BY_PREFIX: &[Step] = &[
    (READER, "HELLO 3"),
    (READER, "CLIENT TRACKING ON BCAST PREFIX x PREFIX xy"),
    (READER, "CLIENT TRACKING ON BCAST PREFIX x PREFIX x"),
    (READER, "CLIENT TRACKING ON BCAST PREFIX x: PREFIX y:"),
    (READER, "CLIENT TRACKING ON BCAST PREFIX x:1"),
    (READER, "CLIENT TRACKING ON BCAST PREFIX x"),
    (READER, "CLIENT TRACKING ON BCAST PREFIX z:"),
    (READER, "CLIENT TRACKINGINFO"),
    (READER, "CLIENT TRACKING ON"),
    (READER, "CLIENT CACHING YES"),
    (OTHER, "SET x:1 1"),
    (OTHER, "SET x 1"),
    (OTHER, "SET y:{1}a 1"),
    (OTHER, "SET z: 1"),
    (OTHER, "GET x:1"),
    (OTHER, "DEL x:1 nosuch"),
    (READER, "SET y:{1}a 2"),
    (OTHER, "RENAME y:{1}a y:{1}b"),
    (OTHER, "FLUSHDB"),
    (READER, "CLIENT TRACKING OFF"),
    (OTHER, "SET x:1 1"),
    (READER, "CLIENT TRACKINGINFO"),
    (READER, "CLIENT TRACKING ON BCAST NOLOOP"),
    (READER, "CLIENT TRACKINGINFO"),
    (READER, "SET a 1"),
    (OTHER, "SET a 1"),
    (READER, "MSET a 1 b 1 c 1"),
    (READER, "RESET"),
    (OTHER, "SET a 1"),
];

/// Of one with the old protocol, in whose place another is told.
const IN_PLACE: &[Step] = &[
    (READER, "CLIENT TRACKING ON REDIRECT {2}"),
    (READER, "CLIENT GETREDIR"),
    (READER, "CLIENT TRACKINGINFO"),
    (READER, "GET a"),
    (OTHER, "SET a 1"),
    (LISTENER, "SUBSCRIBE __redis__:invalidate"),
    (READER, "MGET a b"),
    (OTHER, "SET a 2"),
    (READER, "SET b 2"),
    (OTHER, "FLUSHALL"),
    (LISTENER, "UNSUBSCRIBE"),
    (LISTENER, "SUBSCRIBE anything"),
    (READER, "GET a"),
    (OTHER, "SET a 3"),
    (READER, "CLIENT TRACKING OFF"),
    (READER, "CLIENT TRACKING ON BCAST PREFIX a REDIRECT {2}"),
    (OTHER, "SET a 4"),
    (LISTENER, "UNSUBSCRIBE"),
    (LISTENER, "HELLO 3"),
    (OTHER, "SET a 5"),
    (READER, "HELLO 3"),
    (OTHER, "SET ab 5"),
    (LISTENER, "QUIT"),
    (OTHER, "SET a 6"),
    (READER, "CLIENT TRACKINGINFO"),
    (READER, "CLIENT GETREDIR"),
    (OTHER, "SET a 7"),
    (READER, "CLIENT TRACKING ON BCAST PREFIX b"),
    (READER, "CLIENT TRACKINGINFO"),
    (OTHER, "SET b 6"),
];

/// The clients of a script, each with its id while it is there.
struct Cast {
    clients: Vec<Option<Client>>,
    ids: Vec<i64>,
    barrier: usize,
    asks_for_id: bool,
    /// True if the reader has sent MULTI: what it asks is queued.
    is_queueing: bool,
}

impl Cast {
    fn connect(address: SocketAddr) -> Cast {
        let mut clients = [(); 3].map(|()| Client::connect(address).expect("the server accepts"));
        let ids = clients.iter_mut().map(|client| client.ask("CLIENT ID").integer()).collect();
        Cast {
            clients: clients.into_iter().map(Some).collect(),
            ids,
            barrier: 0,
            asks_for_id: false,
            is_queueing: false,
        }
    }

    /// All that the client was sent until it is answered a question of now, with the ids as the script has them.
    fn heard(&mut self, who: usize) -> Vec<String> {
        let Some(client) = &mut self.clients[who] else { return Vec::new() };
        if who == READER && self.is_queueing {
            return Vec::new();
        }
        self.barrier += 1;
        let mark = format!("mark-{}", self.barrier);
        let mut request = Vec::new();
        Client::encode(&mut request, ["PING", &mark]);
        client.send(request).expect("the server reads");
        let mut heard = Vec::new();
        loop {
            let text = format!("{:?}", client.read().expect("a reply"));
            if text.contains(&mark) {
                return heard;
            }
            if text.contains("\"proto\"") {
                // The reply to HELLO names the program.
                continue;
            }
            let id = format!(":{}", self.ids[LISTENER]);
            let is_id =
                (self.asks_for_id && text == id) || text.contains("redirect") || text.contains("tracking-redir-broken");
            heard.push(if is_id { text.replace(&id, "{2}") } else { text });
        }
    }

    /// Plays a step, and gives what each client hears then, `expected` if they ever do.
    fn play(&mut self, (who, line): Step, expected: Option<&[Vec<String>]>) -> Vec<Vec<String>> {
        self.asks_for_id = line.contains("GETREDIR");
        let line = line.replace("{2}", &self.ids[LISTENER].to_string());
        let mut heard: Vec<Vec<String>> = vec![Vec::new(); self.clients.len()];
        let client = self.clients[who].as_mut().expect("it is there");
        let mut request = Vec::new();
        Client::encode(&mut request, line.split(' '));
        client.send(request).expect("the server reads");
        self.is_queueing = line == "MULTI" || (self.is_queueing && line != "EXEC");
        if self.is_queueing {
            heard[who].push(format!("{:?}", client.read().expect("a reply")));
            return heard;
        }
        if line == "QUIT" {
            client.read_to_end();
            self.clients[who] = None;
            // It may be known as gone a moment later.
            let (id, asked) = (self.ids[who], self.clients[OTHER].as_mut().expect("it is there"));
            eventually("the client is gone", DEADLINE, || {
                let list = asked.ask(&format!("CLIENT LIST ID {id}")).text();
                if list.is_empty() { Ok(()) } else { Err(list) }
            });
            return heard;
        }
        let mut listen = || {
            // First of who asks: what becomes of that is done then, and the others are told.
            let others = (0..heard.len()).filter(|client| *client != who);
            for client in std::iter::once(who).chain(others) {
                heard[client].extend(self.heard(client));
            }
            let is_enough = |expected: &[Vec<String>]| heard.iter().zip(expected).all(|(a, b)| a.len() >= b.len());
            if expected.is_none_or(is_enough) { Ok(()) } else { Err(heard.clone()) }
        };
        if expected.is_some() {
            eventually("all is heard", DEADLINE, listen)
        } else {
            listen().expect("nothing is awaited")
        }
        heard
    }
}

fn sorted(heard: &[Vec<String>]) -> Vec<Vec<String>> {
    heard.iter().map(|of_one| of_one.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()).collect()
}

fn is_of_all(word: &str) -> bool {
    word.contains("invalidate") && word.contains("null")
}

/// Leaves out that all is to be dropped where a client has heard that before and does not expect it now: of `left` such words at
/// most, which other cores may say a moment later than the first.
fn without_late_word_of_all(heard: &mut [Vec<String>], expected: &[Vec<String>], left: &mut [usize], cores: usize) {
    for ((heard, expected), left) in heard.iter_mut().zip(expected).zip(left) {
        let count = heard.iter().filter(|word| is_of_all(word)).count();
        if expected.iter().any(|word| is_of_all(word)) {
            *left = (*left + cores).saturating_sub(count);
        } else if count <= *left {
            *left -= count;
            heard.retain(|word| !is_of_all(word));
        }
    }
}

/// Plays a script at a redis-server and at nodes with so many cores. With several cores, word of several keys comes in any order,
/// and word that all is to be dropped from each core.
fn compare(script: &[Step], all_cores: &[usize]) {
    let redis = RedisServer::start();
    let mut cast = Cast::connect(redis.address());
    let expected: Vec<_> = script.iter().map(|step| cast.play(*step, None)).collect();
    for cores in all_cores {
        let alone = Alone::new(|options| options.set("--cores", cores.to_string()).set("--pin", "no"));
        let mut cast = Cast::connect(alone.node.address());
        let mut late = [0; 3];
        for (step, expected) in script.iter().zip(&expected) {
            let mut heard = cast.play(*step, Some(expected));
            match cores {
                1 => assert_eq!(&heard, expected, "{step:?}"),
                _ => {
                    without_late_word_of_all(&mut heard, expected, &mut late, *cores);
                    if step.1.starts_with("SUBSCRIBE") {
                        // In whose place it is told, word of before may come behind the subscription, from another core.
                        heard[step.0].retain(|word| expected[step.0].contains(word) || !word.contains("message"));
                    }
                    assert_eq!(sorted(&heard), sorted(expected), "{step:?}, {cores} cores: {heard:?}");
                }
            }
        }
    }
}

#[test]
fn readers_hear_what_they_hear_in_redis() {
    compare(BY_READING, &[1, 3]);
}

#[test]
fn readers_that_choose_hear_what_they_hear_in_redis() {
    compare(BY_CHOICE, &[1, 3]);
}

#[test]
fn who_names_prefixes_hears_what_it_hears_in_redis() {
    compare(BY_PREFIX, &[1, 3]);
}

#[test]
fn another_is_told_in_a_readers_place_as_in_redis() {
    compare(IN_PLACE, &[1, 3]);
}

#[test]
fn who_waits_for_entries_is_told_at_once_of_all_and_again_of_its_keys_behind_the_reply() {
    for cores in ["1", "3"] {
        let alone = Alone::new(|options| options.set("--cores", cores).set("--pin", "no"));
        let (mut reader, mut other) = (alone.node.client(), alone.node.client());
        reader.ask("HELLO 3");
        reader.ask("CLIENT TRACKING ON");
        assert_eq!(reader.ask("GET k"), Reply::Null);
        reader.send("XREAD BLOCK 0 STREAMS s t $ $\r\n").expect("the node reads");
        eventually("it waits", DEADLINE, || {
            let info = other.ask("INFO clients").text();
            if info.contains("blocked_clients:1\r") { Ok(()) } else { Err(info) }
        });
        // Meanwhile, not behind the reply that may never come.
        other.ask("SET k v");
        let word = format!("{:?}", reader.read().expect("it is told"));
        assert!(word.contains("invalidate") && word.contains("\"k\""), "{word}");
        other.ask("XADD s 1-1 f v");
        let mut read = || format!("{:?}", reader.read().expect("it is told"));
        // Of the stream itself it may hear before, and behind.
        let mut heard = read();
        while heard.contains("invalidate") {
            heard = read();
        }
        assert!(heard.contains("1-1"), "{heard}");
        let (mut has_s, mut has_t) = (false, false);
        while !(has_s && has_t) {
            let word = read();
            assert!(word.contains("invalidate"), "{word}");
            has_s |= word.contains("\"s\"");
            has_t |= word.contains("\"t\"");
        }
        // It reads without waiting, from several shards, and is told of the next change once.
        let read = format!("{:?}", reader.ask("XREAD STREAMS s t 0 0"));
        assert!(read.contains("1-1"), "{read}");
        other.ask("XADD t 1-1 f v");
        let word = format!("{:?}", reader.read().expect("it is told"));
        assert!(word.contains("invalidate") && word.contains("\"t\""), "{word}");
        assert_eq!(reader.ask("GET k").text(), "v");
    }
}
