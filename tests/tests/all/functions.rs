//! Functions: loaded into all shards as one, kept over crashes and changes of leaders, and answered as by redis-server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use basalt_tests::{Client, DEADLINE, NodeOptions, RedisServer, Reply, eventually, in_some_attempt};

use crate::alone::Alone;
use crate::nodes::{addresses, create, free_ports, options_at, wait_for};
use crate::spanning::assert_nothing_is_left;

/// A library whose functions have all that is asked of them here.
const LIBRARY: &str = "#!lua name=lib
local function members(t) local n = {} for k in pairs(t) do n[#n + 1] = k end table.sort(n) return n end
local calls = {}
redis.register_function('put', function(keys, args) redis.call('set', keys[1], args[1]) return redis.call('get', keys[1]) end)
redis.register_function{function_name = 'look', callback = function(keys) return redis.call('get', keys[1]) end,
    flags = {'no-writes', 'allow-stale'}, description = 'looks at a key'}
redis.register_function{function_name = 'trick', callback = function(keys) return redis.call('del', keys[1]) end, flags = {'no-writes'}}
redis.register_function('both', function(keys, args) return {keys, args, #keys, #args} end)
redis.register_function('Names', function() return {members(_G), members(redis)} end)
redis.register_function('raise', function() error('oops') end)
redis.register_function('raise_table', function() error({err = 'MINE of its own'}) end)
redis.register_function('nosuch', function() return redis.call('nosuch') end)
redis.register_function('global', function() x = 1 end)
redis.register_function('unknown', function() return KEYS end)
redis.register_function('again', function() return redis.register_function('x', function() end) end)
redis.register_function('types', function() redis.setresp(3) return {1, 'a', true, false, {double = 2.5}, {map = {a = 1}}, {ok = 'fine'}} end)
redis.register_function('wrong', function(keys) return redis.call('lpush', keys[1], 'x') end)
redis.register_function('caught', function(keys) local r = redis.pcall('lpush', keys[1], 'x') return {r.err ~= nil, type(r)} end)
";

/// The library `name` with the function `name`, which returns `version`, and so many others.
fn versioned(name: &str, version: u64) -> String {
    format!("#!lua name={name}\nredis.register_function('{name}', function() return {version} end)")
}

fn load(client: &mut Client, code: &str) {
    let reply = client.call_patiently(["FUNCTION", "LOAD", "REPLACE", code]);
    assert!(matches!(reply, Reply::Bulk(_)), "{reply:?}");
}

/// A reply of FUNCTION LIST with libraries and functions in an order of their own: Redis has them as its tables do.
fn in_order(reply: &Reply) -> String {
    let texts = |items: &[Reply]| -> Vec<String> { items.iter().map(in_order).collect() };
    match reply {
        Reply::Array(items) | Reply::Set(items) | Reply::Map(items) => {
            let mut items = texts(items);
            items.sort();
            format!("[{}]", items.join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn connect(address: std::net::SocketAddr, protocol: &str) -> Client {
    let mut client = Client::connect(address).expect("the server accepts");
    let _ = client.call(["HELLO", protocol]);
    client
}

#[test]
fn libraries_and_calls_are_answered_as_by_redis() {
    let redis = RedisServer::start();
    for shards in ["1", "4"] {
        let alone = Alone::new(|options| options.set("--shards", shards).set("--cores", "2"));
        for protocol in ["2", "3"] {
            let mut clients = [redis.address(), alone.node.address()].map(|address| connect(address, protocol));
            for client in &mut clients {
                assert_eq!([client.call(["FUNCTION", "FLUSH"]), client.call(["FLUSHALL"])], [Reply::ok(), Reply::ok()]);
            }
            let mut both = |words: &[&str]| -> Reply {
                let [expected, found] = clients.each_mut().map(|client| client.call(words));
                assert_eq!(found, expected, "{shards} shards: {words:?}");
                found
            };
            for (code, is_loaded) in [
                (LIBRARY, true),
                (LIBRARY, false),
                ("#!lua name=other\nredis.register_function('PUT', function() end)", false),
                ("#!lua name=other\nlocal x = math.floor(1)", false),
                ("#!lua name=other\nredis.call('ping')", false),
                ("#!lua name=other\nx = 1", false),
                ("#!lua name=other\nlocal x = redis.nosuch", false),
                ("#!lua name=other\nredis.register_function('a-b', function() end)", false),
                ("#!lua name=other\nredis.register_function('a', 1)", false),
                (
                    "#!lua name=other\nredis.register_function{function_name='a', callback=function() end, flags={'x'}}",
                    false,
                ),
                ("#!lua name=other\nredis.register_function{function_name='a'}", false),
                ("#!lua name=other\nreturn", false),
                ("#!lua name=other\nif then", false),
                ("#!lua name=a-b\nreturn", false),
                ("#!lua name=a name=b\nreturn", false),
                ("#!lua what=a\nreturn", false),
                ("#!lua\nreturn", false),
                ("#!js name=a\nreturn", false),
                ("return 1", false),
                ("#!lua name=a", false),
                ("#!LUA  NAME=\"other\" \nredis.register_function('other', function() return 7 end)", true),
            ] {
                let reply = both(&["FUNCTION", "LOAD", code]);
                assert_eq!(matches!(reply, Reply::Bulk(_)), is_loaded, "{code}: {reply:?}");
            }
            for words in [
                &["FCALL", "put", "1", "key", "value"][..],
                &["FCALL", "LOOK", "1", "key"],
                &["FCALL_RO", "look", "1", "key"],
                &["FCALL_RO", "put", "1", "key", "value"],
                &["FCALL", "trick", "1", "key"],
                &["FCALL", "both", "2", "{t}a", "{t}b", "c"],
                &["FCALL", "both", "0"],
                &["FCALL", "names", "0"],
                &["FCALL", "raise", "0"],
                &["FCALL", "raise_table", "0"],
                &["FCALL", "nosuch", "0"],
                &["FCALL", "global", "0"],
                &["FCALL", "unknown", "0"],
                &["FCALL", "again", "0"],
                &["FCALL", "types", "0"],
                &["FCALL", "wrong", "1", "key"],
                &["FCALL", "caught", "1", "key"],
                &["FCALL", "none", "0"],
                &["FCALL", "none", "x"],
                &["FCALL", "both", "x"],
                &["FCALL", "both", "-1"],
                &["FCALL", "both", "3", "a"],
                &["EVAL", "return redis.call('fcall', 'both', 0)", "0"],
                &["EVAL", "return redis.pcall('function', 'list')", "0"],
                &["FUNCTION", "STATS"],
                &["FUNCTION", "LIST", "LIBRARYNAME", "oth*", "WITHCODE"],
                &["FUNCTION", "DELETE", "LIB"],
                &["COMMAND", "GETKEYS", "FCALL", "both", "2", "a", "b", "c"],
                &["ACL", "DRYRUN", "default", "FCALL", "both", "0"],
            ] {
                both(words);
            }
            let listed = clients.each_mut().map(|client| in_order(&client.call(["FUNCTION", "LIST", "WITHCODE"])));
            assert_eq!(listed[1], listed[0]);
            // What one has dumped the other restores.
            let dumped = clients.each_mut().map(|client| match client.call(["FUNCTION", "DUMP"]) {
                Reply::Bulk(bytes) => bytes,
                other => panic!("no payload: {other:?}"),
            });
            let restore = |client: &mut Client, payload: &[u8], policy: &str| {
                client.call([&b"FUNCTION"[..], b"RESTORE", payload, policy.as_bytes()])
            };
            for payload in &dumped {
                for policy in ["append", "REPLACE", "flush"] {
                    let replies = clients.each_mut().map(|client| {
                        let _ = client.call(["FUNCTION", "DELETE", "other"]);
                        restore(client, payload, policy)
                    });
                    assert_eq!(replies[1], replies[0], "{policy}");
                    let now = clients.each_mut().map(|client| in_order(&client.call(["FUNCTION", "LIST", "WITHCODE"])));
                    assert_eq!((&now[1], policy == "append"), (&now[0], now[0] != listed[0]), "{policy}");
                }
                let [redis, basalt] = &mut clients;
                assert_eq!(basalt.call(["FCALL", "other", "0"]), redis.call(["FCALL", "other", "0"]));
            }
        }
    }
}

#[test]
fn a_transaction_changes_functions_and_calls_them() {
    for shards in ["1", "4"] {
        let alone = Alone::new(|options| options.set("--shards", shards).set("--cores", "2"));
        let mut client = alone.node.client();
        let [one, two] = [versioned("one", 1), versioned("two", 2)];
        load(&mut client, &versioned("gone", 0));
        for words in [
            &["MULTI"][..],
            &["FUNCTION", "LOAD", &one],
            &["SET", "key", "value"],
            &["FUNCTION", "LOAD", &one],
            &["FUNCTION", "LOAD", "#!lua name=wrong\nx = 1"],
            &["FUNCTION", "DELETE", "gone"],
            &["FUNCTION", "LOAD", "REPLACE", &two],
            &["FUNCTION", "STATS"],
        ] {
            assert!(matches!(client.call(words), Reply::Simple(_)), "{words:?}");
        }
        let done = client.call(["EXEC"]);
        let done = done.elements();
        assert_eq!((&done[0], &done[1]), (&Reply::bulk("one"), &Reply::ok()), "{done:?}");
        assert!(done[2].is_error("ERR Library 'one' already exists"), "{done:?}");
        assert!(
            done[3].is_error("ERR Error registering functions: ERR user_function:2: Attempt to modify"),
            "{done:?}"
        );
        assert_eq!((&done[4], &done[5]), (&Reply::ok(), &Reply::bulk("two")), "{done:?}");
        assert!(format!("{:?}", done[6]).contains("\"functions_count\", :2"), "{done:?}");
        for tag in 0..20 {
            let key = format!("{{{tag}}}");
            assert_eq!(client.call(["FCALL", "two", "1", &key]), Reply::Integer(2), "each shard has it");
            client.call(["MULTI"]);
            client.call(["SET", &key, "x"]);
            client.call(["FCALL", "one", "1", &key]);
            client.call(["FCALL", "gone", "1", &key]);
            let done = client.call(["EXEC"]);
            assert_eq!(done.elements()[..2], [Reply::ok(), Reply::Integer(1)]);
            assert!(done.elements()[2].is_error("ERR Function not found"), "{done:?}");
        }
        // With a key that is watched, and changed by a function.
        load(&mut client, LIBRARY);
        let mut other = alone.node.client();
        for is_changed in [false, true] {
            client.call(["WATCH", "key"]);
            if is_changed {
                assert_eq!(other.call(["FCALL", "put", "1", "key", "new"]), Reply::bulk("new"));
            }
            client.call(["MULTI"]);
            client.call(["FUNCTION", "DELETE", "one"]);
            client.call(["FUNCTION", "LOAD", &one]);
            assert_eq!(client.call(["EXEC"]) == Reply::Null, is_changed);
            assert_eq!(client.call(["FCALL", "one", "1", "key"]), Reply::Integer(1));
        }
    }
}

#[test]
fn functions_are_there_after_kill_9() {
    for cores in ["1", "4"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = NodeOptions::new(dir.path().join("data"))
            .set("--cores", cores)
            .set("--pin", "no")
            .set("--shards", cores)
            .set("--memtable-bytes", "256kb");
        let mut node = options.start();
        let mut client = node.client();
        load(&mut client, LIBRARY);
        for version in 0..5 {
            load(&mut client, &versioned("counted", version));
        }
        load(&mut client, &versioned("gone", 0));
        assert_eq!(client.call(["FUNCTION", "DELETE", "gone"]), Reply::ok());
        let listed = client.call(["FUNCTION", "LIST", "WITHCODE"]);
        let keys: Vec<String> = (0..50).map(|number| format!("key:{number}")).collect();
        for key in &keys {
            assert_eq!(client.call(["FCALL", "put", "1", key, key]), Reply::bulk(key));
        }
        for is_written in [false, true, false] {
            if is_written {
                // From its rows on disk, and not from the log.
                node.stop_written();
            } else {
                node.kill_9();
            }
            node = options.start();
            client = node.client();
            for key in &keys {
                assert_eq!(client.call_patiently(["FCALL", "look", "1", key]), Reply::bulk(key));
                assert_eq!(client.call_patiently(["FCALL_RO", "LOOK", "1", key]), Reply::bulk(key));
                assert_eq!(client.call_patiently(["FCALL", "counted", "1", key]), Reply::Integer(4));
                assert!(client.call(["FCALL", "gone", "1", key]).is_error("ERR Function not found"));
            }
            assert_eq!(client.call(["FUNCTION", "LIST", "WITHCODE"]), listed);
            let info = client.ask("INFO memory").text();
            assert!(
                info.contains("number_of_libraries:2\r\n") && info.contains("number_of_functions:15\r\n"),
                "{info}"
            );
            assert!(!info.contains("used_memory_functions:0\r\n"), "{info}");
        }
        // Keys go, functions stay, as in Redis.
        assert_eq!(client.call(["FLUSHALL"]), Reply::ok());
        assert_eq!(client.call(["FCALL", "counted", "0"]), Reply::Integer(4));
        assert_eq!(client.call(["FUNCTION", "FLUSH"]), Reply::ok());
        assert!(client.call(["FCALL", "counted", "0"]).is_error("ERR Function not found"));
        assert!(client.ask("INFO memory").text().contains("number_of_libraries:0\r\n"));
    }
}

#[test]
fn a_load_that_is_cut_off_by_kill_9_is_in_all_shards_or_in_none() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "4").set("--cores", "2").set("--pin", "no");
    let mut node = options.start();
    let keys: Vec<String> = (0..40).map(|number| format!("key:{number}")).collect();
    let mut version = 1;
    load(&mut node.client(), &versioned("lib", version));
    for cycle in 0..6 {
        let acknowledged = AtomicU64::new(version);
        thread::scope(|scope| {
            let (mut client, acknowledged) = (node.client(), &acknowledged);
            scope.spawn(move || {
                for next in version + 1.. {
                    match client.try_call(["FUNCTION", "LOAD", "REPLACE", &versioned("lib", next)]) {
                        Ok(Reply::Bulk(_)) => acknowledged.store(next, Ordering::Release),
                        Ok(other) => panic!("{other:?}"),
                        Err(_) => return,
                    }
                }
            });
            let enough = version + 10 + cycle;
            eventually("libraries are loaded", DEADLINE, || match acknowledged.load(Ordering::Acquire) {
                now if now < enough => Err(now),
                _ => Ok(()),
            });
            node.kill();
        });
        node.kill_9();
        node = options.start();
        let mut client = node.client();
        let found: Vec<Reply> = keys.iter().map(|key| client.call_patiently(["FCALL", "lib", "1", key])).collect();
        assert!(found.iter().all(|reply| *reply == found[0]), "cycle {cycle}: shards differ: {found:?}");
        let acknowledged = acknowledged.load(Ordering::Acquire);
        version = found[0].integer() as u64;
        assert!((acknowledged..=acknowledged + 1).contains(&version), "{version} after {acknowledged}");
        assert_eq!(client.call(["FUNCTION", "LIST", "WITHCODE"]).elements().len(), 1);
    }
}

#[test]
fn loads_at_the_same_time_leave_all_shards_with_the_same_libraries() {
    let alone = Alone::new(|options| options.set("--shards", "4").set("--cores", "2"));
    let keys: Vec<String> = (0..20).map(|number| format!("key:{number}")).collect();
    thread::scope(|scope| {
        for client in 0..4 {
            let mut connection = alone.node.client();
            scope.spawn(move || {
                for round in 0..30 {
                    // All of them have a function of the same name, so that only one can have it.
                    let code = format!(
                        "#!lua name=lib{client}\nredis.register_function('shared', function() return '{client} {round}' end)"
                    );
                    let reply = connection.call(["FUNCTION", "LOAD", "REPLACE", &code]);
                    let is_other = reply.is_error("ERR Function shared already exists");
                    assert!(is_other || matches!(reply, Reply::Bulk(_)), "{reply:?}");
                    let _ = connection.call(["FUNCTION", "DELETE", &format!("lib{client}")]);
                }
                connection.call(["FUNCTION", "LOAD", &versioned(&format!("own{client}"), client)]);
            });
        }
    });
    let mut client = alone.node.client();
    let listed = client.call(["FUNCTION", "LIST"]);
    assert_eq!(listed.elements().len(), 4, "{listed:?}");
    for key in &keys {
        assert!(client.call(["FCALL", "shared", "1", key]).is_error("ERR Function not found"));
        for number in 0..4 {
            let reply = client.call(["FCALL", &format!("own{number}"), "1", key]);
            assert_eq!(reply, Reply::Integer(number), "{key}");
        }
    }
}

#[test]
fn rights_hold_for_functions_and_for_what_they_call() {
    let alone = Alone::new(|options| options.set("--shards", "1"));
    let mut operator = alone.node.client();
    load(&mut operator, LIBRARY);
    operator.call(["SET", "key", "value"]);
    operator.ask("ACL SETUSER caller on nopass +fcall +fcall_ro +get ~key");
    operator.ask("ACL SETUSER loader on nopass +multi +exec +function|load +function|list -fcall ~*");
    operator.ask("ACL SETUSER scripts on nopass +@scripting ~*");
    let login = |user: &str| {
        let mut client = alone.node.client();
        assert_eq!(client.call(["AUTH", user, "x"]), Reply::ok());
        client
    };
    let mut caller = login("caller");
    assert_eq!(caller.call(["FCALL", "look", "1", "key"]), Reply::bulk("value"));
    let reply = caller.call(["FCALL", "put", "1", "key", "x"]);
    assert!(reply.is_error("ERR The user executing the script can't run this command"), "{reply:?}");
    assert!(caller.call(["FCALL", "look", "1", "other"]).is_error("NOPERM"));
    assert!(caller.call(["FUNCTION", "LIST"]).is_error("NOPERM"));
    assert!(caller.call(["FUNCTION", "LOAD", LIBRARY]).is_error("NOPERM"));
    let mut loader = login("loader");
    load(&mut loader, LIBRARY);
    assert_eq!(loader.call(["FUNCTION", "LIST"]).elements().len(), 1);
    assert!(loader.call(["FUNCTION", "DELETE", "lib"]).is_error("NOPERM"));
    assert!(loader.call(["FCALL", "both", "0"]).is_error("NOPERM"));
    // Rights that go while a change waits for EXEC.
    loader.call(["MULTI"]);
    loader.call(["FUNCTION", "LOAD", "REPLACE", &versioned("late", 1)]);
    operator.ask("ACL SETUSER loader -function|load");
    let done = loader.call(["EXEC"]);
    assert!(done.is_error("NOPERM") || done.elements()[0].is_error("NOPERM"), "{done:?}");
    assert!(operator.call(["FCALL", "late", "0"]).is_error("ERR Function not found"));
    let mut scripts = login("scripts");
    assert_eq!(scripts.call(["FUNCTION", "FLUSH"]), Reply::ok());
}

#[test]
fn a_function_wakes_who_waits_and_one_that_is_stopped_has_done_nothing() {
    let alone = Alone::new(|options| options);
    let mut client = alone.node.client();
    load(
        &mut client,
        "#!lua name=lib\nredis.register_function('push', function(k, a) return redis.call('rpush', k[1], 'a', 'b') end) \
         redis.register_function('endless', function(k) redis.call('set', k[1], 'x') while true do end end) \
         redis.register_function('large', function(k) redis.call('set', k[1], 'x') return string.rep('x', 2^31 - 1) end)",
    );
    let mut waiting = alone.node.client();
    thread::scope(|scope| {
        let popped = scope.spawn(move || waiting.call(["BLPOP", "list", "0"]));
        eventually("somebody waits", DEADLINE, || {
            let text = client.ask("INFO clients").text();
            if text.contains("blocked_clients:1") { Ok(()) } else { Err(text) }
        });
        assert_eq!(client.call(["FCALL", "push", "1", "list"]), Reply::Integer(2));
        assert_eq!(popped.join().expect("it is answered"), Reply::bulks(["list", "a"]));
    });
    for function in ["endless", "large"] {
        let reply = client.call(["FCALL", function, "1", "key"]);
        assert!(reply.is_error("ERR the script was stopped and undone"), "{reply:?}");
        assert_eq!(client.call(["EXISTS", "key"]), Reply::Integer(0));
    }
    let endless = "#!lua name=endless\nwhile true do end";
    let reply = client.call(["FUNCTION", "LOAD", endless]);
    assert!(reply.is_error("ERR Error registering functions: ERR FUNCTION LOAD timeout"), "{reply:?}");
}

#[test]
fn functions_that_say_that_they_only_read_are_no_writes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = NodeOptions::new(dir.path().join("data")).set("--shards", "2").set("--cores", "2").set("--pin", "no");
    let mut node = options.start();
    let mut client = node.client();
    load(&mut client, LIBRARY);
    let batches = |client: &mut Client| {
        let text = client.ask("INFO shards").text();
        let lines = text.lines().filter(|line| line.starts_with("shard"));
        let batches: Vec<String> = lines
            .map(|line| line.split([':', ',']).find(|part| part.starts_with("batches=")).unwrap_or_default().to_owned())
            .collect();
        assert!(batches.len() >= 2, "{text}");
        batches
    };
    let keys: Vec<String> = (0..20).map(|number| format!("key:{number}")).collect();
    keys.iter().for_each(|key| drop(client.call(["SET", key, key])));
    for is_started_again in [false, true] {
        if is_started_again {
            node.kill_9();
            node = options.start();
            client = node.client();
            keys.iter().for_each(|key| drop(client.call_patiently(["SET", key, key])));
        }
        // What was decided of the library is settled, which is a write, and what was settled is forgotten, which is another: once.
        assert_nothing_is_left(&node);
        let before = in_some_attempt("calls that read write nothing", || {
            let before = batches(&mut client);
            for key in &keys {
                assert_eq!(client.call(["FCALL", "Look", "1", key]), Reply::bulk(key));
                assert_eq!(client.call(["FCALL_RO", "look", "1", key]), Reply::bulk(key));
                assert!(client.call(["FCALL", "trick", "1", key]).is_error("ERR Write commands are not allowed"));
            }
            let after = batches(&mut client);
            if after == before { Ok(before) } else { Err((before, after)) }
        });
        assert_eq!(client.call(["FCALL", "put", "1", "key:0", "key:0"]), Reply::bulk("key:0"));
        assert_ne!(batches(&mut client), before);
    }
    // Behind the writes of its own connection, and at once what a new library says.
    let replies = client.pipeline([vec!["SET", "key:0", "new"], vec!["FCALL", "look", "1", "key:0"]]);
    assert_eq!(replies, [Reply::ok(), Reply::bulk("new")]);
    for number in 0..10 {
        let flags = if number % 2 == 0 { "'no-writes'" } else { "" };
        let call = if number % 2 == 0 { "get" } else { "incr" };
        let code = format!(
            "#!lua name=turn\nredis.register_function{{function_name='turn', flags={{{flags}}}, \
             callback=function(k) return tostring(redis.call('{call}', k[1])) end}}"
        );
        load(&mut client, &code);
        for key in ["{a}count", "{b}count", "{c}count", "{d}count"] {
            let reply = client.call(["FCALL", "turn", "1", key]);
            assert!(matches!(reply, Reply::Bulk(_)), "{number} {key}: {reply:?}");
        }
    }
    assert_eq!(client.call(["GET", "{a}count"]), Reply::bulk("5"));
}

/// Nobody has to call again what nobody else has replaced.
#[test]
fn who_replaces_a_function_that_only_reads_calls_it_at_once() {
    for shards in ["1", "3"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = NodeOptions::new(dir.path().join("data")).set("--shards", shards).set("--cores", "2");
        let node = options.set("--pin", "no").start();
        let mut client = node.client();
        let code = |flags: &str| {
            format!(
                "#!lua name=turn\nredis.register_function{{function_name='turn', flags={{{flags}}}, \
                 callback=function(k) return redis.call('type', k[1]) end}}"
            )
        };
        let (reads, writes) = (code("'no-writes'"), code(""));
        let (replace, call) = (["FUNCTION", "LOAD", "REPLACE", &writes], ["FCALL", "turn", "1", "key"]);
        let is_none = |reply: &Reply| *reply == Reply::Simple("none".into());
        for round in 0..10 {
            load(&mut client, &reads);
            assert!(is_none(&client.call(call)));
            let words = [replace.to_vec(), call.to_vec(), call.to_vec()];
            let replies = client.pipeline(words);
            assert!(replies[1..].iter().all(is_none), "{shards} shards, round {round}: {replies:?}");
        }
        if shards != "1" {
            // There a transaction that changes libraries calls none of their functions.
            continue;
        }
        load(&mut client, &reads);
        assert!(is_none(&client.call(call)));
        let words = [vec!["MULTI"], replace.to_vec(), call.to_vec(), vec!["EXEC"]];
        let replies = client.pipeline(words);
        assert!(is_none(&replies[3].elements()[1]), "{shards} shards: {replies:?}");
    }
}

#[test]
fn functions_go_on_when_another_node_leads() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ports = [(); 3].map(|()| free_ports());
    let options = |number: usize| options_at(directory.path(), number, ports[number]).set("--cores", "1");
    let mut nodes: Vec<_> = (0..3).map(|number| options(number).start()).collect();
    // A node without slots has nothing to keep functions with; what it is given by tools comes with slots.
    let mut lonely = nodes[0].client();
    assert!(lonely.call(["FUNCTION", "LOAD", LIBRARY]).is_error("ERR This node leads no slots"));
    assert_eq!(lonely.call(["FUNCTION", "LIST"]), Reply::Array(Vec::new()));
    let Reply::Bulk(empty) = lonely.call(["FUNCTION", "DUMP"]) else { panic!("there is a payload of nothing") };
    assert_eq!(lonely.call([&b"FUNCTION"[..], b"RESTORE", &empty]), Reply::ok());
    create(&nodes);
    wait_for(&addresses(&nodes), "cluster_state", "ok");
    for node in &nodes {
        eventually("each group has three voters", DEADLINE, || {
            let info = node.client().ask("INFO raft").text();
            if info.lines().filter(|line| line.ends_with("voters=3")).count() == 3 { Ok(()) } else { Err(info) }
        });
    }
    for node in &nodes {
        load(&mut node.client(), LIBRARY);
        load(&mut node.client(), &versioned("counted", 7));
    }
    let mut first = nodes[0].client();
    let key = (0..1000)
        .map(|number| format!("key:{number}"))
        .find(|key| first.call(["FCALL", "put", "1", key, "value"]) == Reply::bulk("value"))
        .expect("the node leads some keys");
    let elsewhere = nodes[1].client().call(["FCALL", "look", "1", &key]);
    assert!(elsewhere.is_error("MOVED"), "{elsewhere:?}");
    // A replica has the functions of its group, too.
    let mut reader = nodes[1].client();
    reader.call(["READONLY"]);
    eventually("the replica has it", DEADLINE, || match reader.call(["FCALL_RO", "look", "1", &key]) {
        Reply::Bulk(value) if value == b"value" => Ok(()),
        other => Err(other),
    });
    let get = "return redis.call('get', KEYS[1])";
    assert_eq!(reader.call(["EVAL_RO", get, "1", &key]), Reply::bulk("value"), "so are scripts that only read");
    nodes[0].kill_9();
    eventually("another node leads its group, with its functions", DEADLINE, || {
        let replies: Vec<Reply> =
            nodes[1..].iter().map(|node| node.client().call(["FCALL", "counted", "1", &key])).collect();
        if replies.contains(&Reply::Integer(7)) { Ok(()) } else { Err(replies) }
    });
    let heir = nodes[1..].iter().find(|node| node.client().call(["FCALL", "counted", "1", &key]) == Reply::Integer(7));
    let mut heir = heir.expect("one of them leads it").client();
    assert_eq!(heir.call_patiently(["FCALL", "put", "1", &key, "new"]), Reply::bulk("new"));
    load(&mut heir, &versioned("counted", 8));
    assert_eq!(heir.call_patiently(["FCALL", "counted", "1", &key]), Reply::Integer(8));
    // The one that was away has what was loaded meanwhile, once it leads again.
    nodes[0] = options(0).start();
    eventually("it leads again", DEADLINE, || match nodes[0].client().call(["FCALL", "counted", "1", &key]) {
        Reply::Integer(8) => Ok(()),
        other => Err(other),
    });
    assert_eq!(nodes[0].client().call(["FCALL", "look", "1", &key]), Reply::bulk("new"));
}
