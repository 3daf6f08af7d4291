//! A node that ends at each step of a transaction over two shards: when it starts again, all of it is there or nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use basalt_net::ring::{ConnId, Ring, RingOptions};

use crate::commands::table::STEP_COMMIT;
use crate::core_loop::Groups;
use crate::core_loop::core::Core;
use crate::core_loop::isolation_tests::{Client, key_of, turn, until};
use crate::core_loop::pending::{NOBODY, PendingRequest};
use crate::core_loop::sync_placement::SyncPlacement;
use crate::entry::request::Mode;
use crate::entry::spanning::{SpanningOrder, encode_step};
use crate::ids::{CoreId, Origin, ShardId};
use crate::limits;
use crate::mail::{Message, OrderTo, ReplyBatch};
use crate::node::{Background, Server};
use crate::shard::Shard;
use crate::shard::tests::{log_options, open_again, with_shards, with_shards_in};

const SELF: CoreId = CoreId(0);
const FIRST: ShardId = ShardId(0);
const SECOND: ShardId = ShardId(1);

fn start(server: &Arc<Server>, shards: Vec<Shard>) -> Core {
    let ring = Ring::new(&RingOptions::default()).unwrap();
    let readers = Background::start("test", 1, 8).unwrap();
    let mut core = Core::new(SELF, server.clone(), ring, Groups::new(shards, drop), readers, SyncPlacement::of(None));
    core.seat_opened();
    core
}

/// Parts that are prepared, and decisions, in each of the shards.
fn rows(core: &Core) -> Vec<(usize, usize)> {
    core.shards.iter().flatten().map(Shard::transaction_rows).collect()
}

/// A step at which the node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Held,
    Prepared,
    Decided,
    Committed,
    Forgotten,
}

impl Step {
    fn is_reached(self, core: &Core, clients: &[Client]) -> bool {
        let rows = rows(core);
        let is_answered = clients[0].has("+OK\r\n");
        match self {
            Step::Held => core.shards.iter().flatten().all(Shard::holds_keys) && rows == [(0, 0), (0, 0)],
            Step::Prepared => rows == [(0, 0), (1, 0)],
            Step::Decided => rows == [(0, 1), (1, 0)],
            Step::Committed => rows == [(0, 1), (0, 0)],
            Step::Forgotten => is_answered && rows == [(0, 0), (0, 0)],
        }
    }
}

#[test]
fn all_of_a_transaction_is_there_or_nothing_wherever_the_node_ends() {
    let steps = [Step::Held, Step::Prepared, Step::Decided, Step::Committed, Step::Forgotten];
    for (step, is_script) in steps.into_iter().flat_map(|step| [(step, false), (step, true)]) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        with_shards_in(directory.path(), 2, 1, log_options(), |server, shards| async move {
            let (a, b) = (key_of(&server, "key", FIRST), key_of(&server, "key", SECOND));
            let mut core = start(&server, shards);
            let mut clients = vec![Client::connect(&server)];
            let script = "redis.call('set', KEYS[1], 1) return redis.call('set', KEYS[2], 1)";
            match is_script {
                true => clients[0].ask(&["EVAL", script, "2", &a, &b]),
                false => clients[0].ask(&["MSET", &a, "1", &b, "1"]),
            }
            until(&format!("{step:?}"), &mut core, &mut clients, |core, clients| step.is_reached(core, clients)).await;
            let mut ended: Vec<Shard> = core.shards.drain(..).flatten().collect();
            drop((core, clients));
            while let Some(shard) = ended.pop() {
                drop(shard.end(true).await);
            }

            let mut opened = Vec::new();
            for id in [FIRST, SECOND] {
                opened.push(open_again(id, &path.join(id.to_string()), &server, None).await.unwrap());
            }
            let (shards, _syncers): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
            let mut core = start(&server, shards);
            let mut clients = vec![Client::connect(&server)];
            clients[0].ask(&["MULTI"]);
            clients[0].ask(&["MGET", &a, &b]);
            clients[0].ask(&["EXEC"]);
            let (none, all) = ("*1\r\n*2\r\n$-1\r\n$-1\r\n", "*1\r\n*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
            let queued = "+OK\r\n+QUEUED\r\n".len();
            until("the keys can be read", &mut core, &mut clients, |_, clients| {
                [none, all].iter().any(|expected| {
                    clients[0].received[queued.min(clients[0].received.len())..] == *expected.as_bytes()
                })
            })
            .await;
            let has_all = clients[0].received.ends_with(all.as_bytes());
            if step >= Step::Decided {
                assert!(has_all, "{step:?}: what is decided is executed");
            }
            until("nothing is left", &mut core, &mut clients, |core, _| {
                rows(core) == [(0, 0), (0, 0)]
                    && !core.shards.iter().flatten().any(|shard| shard.has_left() || shard.holds_keys())
            })
            .await;
        });
    }
}

/// Has the core of two shards, a key of each and so many clients.
fn with_core<F: Future<Output = ()>>(
    clients: usize,
    test: impl FnOnce(Arc<Server>, Core, [String; 2], Vec<Client>) -> F,
) {
    with_shards(2, 1, log_options(), |server, shards| {
        let keys = [FIRST, SECOND].map(|shard| key_of(&server, "key", shard));
        let core = start(&server, shards);
        let clients = (0..clients).map(|_| Client::connect(&server)).collect();
        test(server, core, keys, clients)
    });
}

/// Scripts that have to learn which keys they need, and one that never knows: it holds all shards.
#[test]
fn a_script_holds_what_it_has_learnt_to_need_and_nothing_is_left_of_it() {
    with_core(1, |server, mut core, [a, b], mut clients| async move {
        let (c, d) = (key_of(&server, "c", FIRST), key_of(&server, "d", SECOND));
        let chain = "local key = KEYS[1] local n = 0 while key do n = n + 1 local next = redis.call('get', key) \
             redis.call('set', key, n) key = next end return n";
        asked(&mut core, &mut clients, &[&["MSET", &a, &b, &b, &c, &c, &d]], "+OK\r\n").await;
        asked(&mut core, &mut clients, &[&["EVAL", chain, "1", &a]], ":4\r\n").await;
        let all = "*4\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n";
        asked(&mut core, &mut clients, &[&["MGET", &a, &b, &c, &d]], all).await;
        let sorting = "redis.call('mset', '{l}w1', 2, '{l}w2', 1, KEYS[1], 'x', KEYS[2], 'y') redis.call('rpush', '{l}', 1, 2) \
             return redis.call('sort', '{l}', 'by', '{l}w*')";
        let calls: [&[&str]; 2] =
            [&["EVAL", sorting, "2", &a, &b], &["EVAL_RO", "return redis.call('get', ARGV[1])", "0", &b]];
        asked(&mut core, &mut clients, &calls, "*2\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\ny\r\n").await;
        // It is refused where it would need too much memory beside others, and what it had is given back.
        core.tasks.carried_bytes = limits::CARRIED_BYTES_MAX;
        clients[0].received.clear();
        clients[0].ask(&["EVAL", chain, "2", &a, &b]);
        until("refused", &mut core, &mut clients, |_, clients| clients[0].received.starts_with(b"-BUSY ")).await;
        assert_eq!(core.tasks.carried_bytes, limits::CARRIED_BYTES_MAX);
        core.tasks.carried_bytes = 0;
        clients[0].received.clear();
        clients[0].ask(&["EVAL", "redis.call('append', KEYS[2], 'z') while true do end", "2", &a, &b]);
        until("undone", &mut core, &mut clients, |_, clients| clients[0].received.ends_with(b"as a script may\r\n"))
            .await;
        asked(&mut core, &mut clients, &[&["GET", &b]], "$1\r\ny\r\n").await;
        until("nothing is left", &mut core, &mut clients, |core, _| {
            rows(core) == [(0, 0), (0, 0)]
                && !core.shards.iter().flatten().any(|shard| shard.has_left() || shard.holds_keys())
        })
        .await;
        assert_eq!(core.tasks.carried_bytes, 0);
    });
}

#[test]
fn scripts_over_several_shards_leave_time_to_others() {
    const CLIENTS: usize = 20;
    with_core(CLIENTS, |server, mut core, _, mut clients| async move {
        let busy = "for i = 1, 900000 do end redis.call('incr', KEYS[1]) return redis.call('incr', KEYS[2])";
        for (number, client) in clients.iter_mut().enumerate() {
            let [a, b] = [FIRST, SECOND].map(|shard| key_of(&server, &format!("key{number}"), shard));
            client.ask(&["EVAL", busy, "2", &a, &b]);
        }
        let (deadline, mut were_left) = (Instant::now() + Duration::from_secs(60), false);
        while !clients.iter().all(|client| client.has(":1\r\n")) {
            assert!(Instant::now() < deadline, "the scripts do not come to their end");
            turn(&mut core, &mut clients).await;
            let are_left = core.has_ready_scripts();
            assert!(!are_left || core.has_work(), "a core with scripts that are to go on must not sleep");
            were_left |= are_left;
        }
        assert!(were_left, "one turn has run all scripts");
    });
}

/// A key that it has not declared may be one that its connection has written right before it, in a shard that has not executed
/// that.
#[test]
fn a_script_that_is_sent_back_waits_for_what_its_connection_has_sent_before() {
    const OTHER: CoreId = CoreId(1);
    with_shards(2, 2, log_options(), |server, shards| async move {
        let (here, there) = (key_of(&server, "key", FIRST), key_of(&server, "key", SECOND));
        let mut core = start(&server, shards);
        let mut clients = vec![Client::connect(&server)];
        clients[0].ask(&["APPEND", &there, "x"]);
        clients[0].ask(&["EVAL", "return redis.call('get', ARGV[1])", "1", &here, &there]);
        until("the script is sent back", &mut core, &mut clients, |core, _| {
            core.clients.connections.iter().flatten().any(|connection| connection.barrier)
        })
        .await;
        for _ in 0..100 {
            turn(&mut core, &mut clients).await;
        }
        assert!(server.mailboxes.next_order(SELF, OTHER).is_none(), "the write before it is not executed");

        let Some(Message::Batch(batch)) = server.mailboxes.next_request(SELF, OTHER) else { panic!("nothing is sent") };
        let mut replies = ReplyBatch { bytes: b":1\r\n".to_vec(), ..ReplyBatch::default() };
        replies.heads.push((batch.heads[0].ticket, replies.bytes.len()));
        assert!(batch.heads.len() == 1 && server.mailboxes.send_replies(OTHER, SELF, replies).is_ok());
        let deadline = Instant::now() + Duration::from_secs(60);
        let order = loop {
            assert!(Instant::now() < deadline, "the script does not begin");
            turn(&mut core, &mut clients).await;
            if let Some(order) = server.mailboxes.next_order(SELF, OTHER) {
                break order;
            }
        };
        assert!(order.shard == SECOND && matches!(order.order, SpanningOrder::Hold(order) if order.is_more));
        until("the write is answered", &mut core, &mut clients, |_, clients| clients[0].has(":1\r\n")).await;
    });
}

async fn asked(core: &mut Core, clients: &mut [Client], calls: &[&[&str]], expected: &str) {
    clients[0].received.clear();
    calls.iter().for_each(|words| clients[0].ask(words));
    until(expected, core, clients, |_, clients| clients[0].received.len() >= expected.len()).await;
    assert_eq!(clients[0].received.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
}

#[test]
fn keys_without_a_value_set_nothing() {
    with_core(1, |_, mut core, [a, b], mut clients| async move {
        let error = |name| format!("-ERR wrong number of arguments for '{name}' command\r\n");
        // MSET is refused when it is queued, since it is split by its pairs.
        for (words, is_queued) in [(&["MSET", &*a, "1", &*b][..], false), (&["MSETNX", &a, "1", &b], true)] {
            let error = error(words[0].to_lowercase());
            asked(&mut core, &mut clients, &[words], &error).await;
            let calls: [&[&str]; 4] = [&["MULTI"], words, &["EXISTS", &a], &["EXEC"]];
            let expected = match is_queued {
                true => format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n{error}:0\r\n"),
                false => {
                    format!("+OK\r\n{error}+QUEUED\r\n-EXECABORT Transaction discarded because of previous errors.\r\n")
                }
            };
            asked(&mut core, &mut clients, &calls, &expected).await;
            asked(&mut core, &mut clients, &[&["EXISTS", &a, &b]], ":0\r\n").await;
        }
    });
}

#[test]
fn a_part_that_was_executed_before_its_coordinator_says_so_leaves_no_doubt_of_the_transaction() {
    with_core(1, |_, mut core, [a, b], mut clients| async move {
        clients[0].ask(&["MSET", &a, "1", &b, "2"]);
        until("prepared", &mut core, &mut clients, |core, _| rows(core) == [(0, 0), (1, 0)]).await;
        let part = core.shards[SECOND.index()].as_ref().unwrap().prepared_parts()[0];
        let request = PendingRequest { connection: ConnId::default(), place: NOBODY, part: 0, ordered: false };
        let origin = Origin { core: SELF, client: limits::SPANNING_CLIENTS + 99, ticket: core.pending.insert(request) };
        let order = SpanningOrder::Write(None, encode_step(STEP_COMMIT, 0, &[&part.to_le_bytes()]));
        core.take_order(OrderTo { origin, shard: SECOND, order });
        until("answered", &mut core, &mut clients, |_, clients| clients[0].received.ends_with(b"\n")).await;
        let said = String::from_utf8_lossy(&clients[0].received).into_owned();
        assert!(said.starts_with("-UNCERTAIN The transaction is executed"), "{said}");
        asked(&mut core, &mut clients, &[&["MGET", &a, &b]], "*2\r\n$1\r\n1\r\n$1\r\n2\r\n").await;
        until("nothing is left", &mut core, &mut clients, |core, _| {
            rows(core) == [(0, 0), (0, 0)] && !core.shards.iter().flatten().any(Shard::has_left)
        })
        .await;
    });
}

#[test]
fn whoever_gets_the_place_of_a_client_that_is_gone_waits_for_nothing_that_one_has_sent() {
    with_core(2, |server, mut core, [a, b], mut clients| async move {
        let free = key_of(&server, "free", FIRST);
        core.shards[FIRST.index()].as_mut().unwrap().get_stuck();
        clients[0].ask(&["MSET", &a, "1", &b, "2"]);
        until("a key is held", &mut core, &mut clients, |core, _| {
            core.shards[FIRST.index()].as_ref().unwrap().holds_keys()
        })
        .await;
        clients[1].ask(&["GET", &a]);
        until("it waits", &mut core, &mut clients, |core, _| core.pending.len() == 3).await;
        // The connections come in the order of their sockets.
        let gone = core.clients.connections[1].as_ref().unwrap().ring;
        core.close(gone, false);
        until("it is gone", &mut core, &mut clients, |core, _| {
            core.clients.connections.iter().flatten().count() == 1 && core.ring.counters().connections == 1
        })
        .await;
        clients[1] = Client::connect(&server);
        clients[1].ask(&["GET", &free]);
        until("answered", &mut core, &mut clients, |_, clients| clients[1].has("$-1\r\n")).await;
        let next = core.clients.connections[1].as_ref().unwrap().ring;
        assert!(next.index() == gone.index() && next != gone);
    });
}

#[test]
fn transactions_carry_so_much_at_a_time_and_wait_for_shards_that_are_full() {
    with_core(2, |_, mut core, [a, b], mut clients| async move {
        core.tasks.carried_bytes = limits::CARRIED_BYTES_MAX;
        clients[0].ask(&["MSET", &a, "1", &b, "2"]);
        until("refused", &mut core, &mut clients, |_, clients| clients[0].received.starts_with(b"-BUSY ")).await;
        assert_eq!(core.tasks.carried_bytes, limits::CARRIED_BYTES_MAX);
        core.tasks.carried_bytes = 0;
        asked(&mut core, &mut clients, &[&["MSET", &a, "1", &b, "2"]], "+OK\r\n").await;
        assert_eq!(core.tasks.carried_bytes, 0);

        core.shards[SECOND.index()].as_mut().unwrap().get_stuck();
        let value = "v".repeat(10_000);
        (0..40).for_each(|_| clients[1].ask(&["SET", &b, &value]));
        until("the shard is full", &mut core, &mut clients, |core, _| !core.shard_has_room(SECOND, Mode::Write)).await;
        for words in [&["MULTI"][..], &["GET", &a], &["SET", &b, "3"], &["EXEC"]] {
            clients[0].ask(words);
        }
        until("both wait", &mut core, &mut clients, |core, _| {
            core.clients.stalled.waiting().any(|waiting| waiting == (SECOND, Mode::Write, 2))
        })
        .await;
        assert!(!core.shards[FIRST.index()].as_ref().unwrap().holds_keys());
    });
}

/// A server that says yes to so many commands, whatever they are. Its port.
fn agreeable(commands: usize) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all("+OK\r\n".repeat(commands).as_bytes()).unwrap();
        // Until the other side has heard enough.
        while stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
    });
    (port, server)
}

#[test]
fn keys_that_were_taken_elsewhere_are_deleted_and_those_without_a_thread_wait_and_hold_nothing() {
    with_core(1, |server, mut core, [a, b], mut clients| async move {
        server.senders.start().unwrap();
        asked(&mut core, &mut clients, &[&["MSET", &a, "1", &b, "2"]], "+OK\r\n").await;
        // The database, and both keys; they stay.
        let (port, target) = agreeable(3);
        let mut call: Vec<&str> = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "60000", "COPY", "KEYS", &a, &b];
        asked(&mut core, &mut clients, &[&call], "+OK\r\n").await;
        target.join().unwrap();
        asked(&mut core, &mut clients, &[&["EXISTS", &a, &b]], ":2\r\n").await;

        assert!((0..limits::migrations::AT_ONCE).all(|_| server.senders.reserve()));
        let (port, target) = agreeable(3);
        call[2] = &port;
        call[6] = "REPLACE";
        clients[0].received.clear();
        clients[0].ask(&call);
        until("it waits", &mut core, &mut clients, |core, _| core.tasks.has_waiting_migrations()).await;
        assert!(!core.shards.iter().flatten().any(Shard::holds_keys));
        (0..limits::migrations::AT_ONCE).for_each(|_| server.senders.release());
        until("answered", &mut core, &mut clients, |_, clients| clients[0].has("+OK\r\n")).await;
        target.join().unwrap();
        asked(&mut core, &mut clients, &[&["EXISTS", &a, &b]], ":0\r\n").await;

        // One that waits while the node is about to stop is not begun any more.
        asked(&mut core, &mut clients, &[&["SET", &a, "1"]], "+OK\r\n").await;
        assert!((0..limits::migrations::AT_ONCE).all(|_| server.senders.reserve()));
        clients[0].received.clear();
        clients[0].ask(&["MIGRATE", "127.0.0.1", "1", &a, "0", "60000"]);
        until("it waits", &mut core, &mut clients, |core, _| core.tasks.has_waiting_migrations()).await;
        core.refuse_migrations();
        until("refused", &mut core, &mut clients, |_, clients| clients[0].received.starts_with(b"-BUSY ")).await;
        assert_eq!(server.senders.waiting(), 0);
        (0..limits::migrations::AT_ONCE).for_each(|_| server.senders.release());

        // Of one that is too much the other server hears nothing.
        core.tasks.carried_bytes = limits::CARRIED_BYTES_MAX;
        clients[0].received.clear();
        clients[0].ask(&["MIGRATE", "127.0.0.1", "1", &a, "0", "60000"]);
        until("refused", &mut core, &mut clients, |_, clients| clients[0].received.starts_with(b"-BUSY ")).await;
        core.tasks.carried_bytes = 0;
        asked(&mut core, &mut clients, &[&["MIGRATE", "127.0.0.1", "1", "none", "0", "60000"]], "+NOKEY\r\n").await;
        until("nothing is left", &mut core, &mut clients, |core, _| {
            rows(core) == [(0, 0), (0, 0)]
                && core.pending.is_empty()
                && !core.shards.iter().flatten().any(|shard| shard.has_left() || shard.holds_keys())
        })
        .await;
        assert_eq!(core.tasks.carried_bytes, 0);
        assert!((0..limits::migrations::AT_ONCE).all(|_| server.senders.reserve()), "all threads are given back");
    });
}
