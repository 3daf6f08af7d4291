//! The engine without a shard: what ends a script, what it cannot catch, and that it is the same everywhere.

use basalt_lua::{Called, Engine, Host, Outcome, SCRIPT_BYTES_MAX, SHORT_SCRIPT_WORK, Script, Stop, Value, digest};
use proptest::prelude::*;

/// A host that replies what it is called with, and ends or fails where its command says so.
#[derive(Default)]
struct Echo {
    calls: usize,
    logged: Vec<String>,
}

impl Host for Echo {
    fn call(&mut self, args: &[&[u8]], _: bool, _: usize, _: &mut u64, reply: &mut Vec<u8>) -> Called {
        self.calls += 1;
        match args[0] {
            b"stop" => Called::Stop,
            b"panic" => panic!("a host that fails"),
            b"large" => {
                let bytes = vec![b'x'; 4 << 20];
                *reply = [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
                Called::Replied
            }
            word => {
                *reply = [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat();
                Called::Replied
            }
        }
    }

    fn may_call(&mut self, _: &[&[u8]], _: &mut u64) -> Option<bool> {
        Some(true)
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.logged.push(format!("{level} {}", String::from_utf8_lossy(text)));
    }
}

fn run_on(engine: &mut Engine, host: &mut Echo, text: &str, args: &[&[u8]]) -> Outcome {
    let script = Script { text: text.as_bytes(), keys: &[], args, seed: 42, work: SHORT_SCRIPT_WORK };
    engine.run(&script, host)
}

fn run(text: &str) -> Outcome {
    run_on(&mut Engine::new(), &mut Echo::default(), text, &[])
}

/// The text that a script returns.
fn text_of(outcome: Outcome) -> String {
    match outcome {
        Outcome::Returned(Value::Bulk(bytes)) => String::from_utf8(bytes).expect("a text"),
        other => panic!("a text was expected, not {other:?}"),
    }
}

#[test]
fn nothing_catches_the_end_of_the_budget() {
    let mut engine = Engine::new();
    for text in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() while true do pcall(f) end end f()",
        "xpcall(function() while true do end end, function() while true do end end)",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "while true do pcall(coroutine.wrap(function() local x = 1 end)) end",
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end",
        "while true do redis.call('x') end",
        "while true do pcall(redis.call, 'x') end",
        "while true do redis.pcall('x') end",
        "local s = string.rep('a', 100000) while true do s:find('b') end",
        "return string.find(string.rep('a', 5000), string.rep('a-', 100) .. 'b')",
        "return string.find(string.rep('a', 3000), '(.-)(.-)(.-)(.-)b')",
        "return string.rep('', 1e9) .. string.gsub(string.rep('a', 1e6), '.', string.rep('b', 1000))",
        "local t = {} for i = 1, 200000 do t[i] = i % 2 end table.sort(t, function(a, b) return a < b end)",
        "local t = {} for i = 1, 1e5 do table.insert(t, 1, i) end",
        "while true do local s = string.rep('x', 1e6) end",
        "while true do cjson.decode('[1,2,3]') end",
        "while true do cmsgpack.unpack(cmsgpack.pack({1, 2})) end",
        "load(function() return 'x' end)",
        "while true do collectgarbage() end",
        "while true do redis.log(3, 'x') end",
        "while true do loadstring('return 1') end",
        "local t = {} for i = 1, 8000 do t[i] = i end while true do unpack(t, 1, 7900) end",
    ] {
        println!("{text}");
        let outcome = run_on(&mut engine, &mut Echo::default(), text, &[]);
        assert!(matches!(outcome, Outcome::Stopped(Stop::Work | Stop::Memory)), "{text}: {outcome:?}");
        assert_eq!(run_on(&mut engine, &mut Echo::default(), "return 7", &[]), Outcome::Returned(Value::Integer(7)));
    }
}

#[test]
fn nothing_catches_the_end_of_memory() {
    let mut engine = Engine::new();
    for text in [
        "local t = {} for i = 1, 1e7 do t[i] = string.rep('x', 1000) .. i end",
        "local s = 'x' while true do s = s .. s end",
        "local s = 'x' while true do pcall(function() s = s .. s end) end",
        "return string.rep('x', 1e9)",
        "local t = {} for i = 1, 40 do t[i] = string.rep('x', 1e6) .. i end return table.concat(t)",
        "return cjson.encode(string.rep('\\1', 1e7))",
    ] {
        let outcome = run_on(&mut engine, &mut Echo::default(), text, &[]);
        // Some pay for their bytes before they have as many.
        assert!(matches!(outcome, Outcome::Stopped(Stop::Memory | Stop::Work)), "{text}: {outcome:?}");
        assert_eq!(run_on(&mut engine, &mut Echo::default(), "return 7", &[]), Outcome::Returned(Value::Integer(7)));
    }
    let large = vec![0; SCRIPT_BYTES_MAX];
    let outcome = run_on(&mut engine, &mut Echo::default(), "return #ARGV[1]", &[&large]);
    assert_eq!(outcome, Outcome::Stopped(Stop::Memory));
}

#[test]
fn garbage_costs_no_memory() {
    let text = "local n = 0 for i = 1, 2000 do local s = string.rep('x', 2000) .. i n = n + #s end return n";
    assert!(matches!(run(text), Outcome::Returned(Value::Integer(4_006_893))), "{:?}", run(text));
}

#[test]
fn nothing_catches_a_stop_of_the_host() {
    let mut engine = Engine::new();
    for text in [
        "redis.call('stop') redis.call('after')",
        "redis.pcall('stop') redis.call('after')",
        "pcall(redis.call, 'stop') redis.call('after')",
        "xpcall(function() redis.call('stop') end, function() redis.call('after') end) redis.call('after')",
        "coroutine.wrap(function() redis.call('stop') end)() redis.call('after')",
        "coroutine.resume(coroutine.create(function() redis.call('stop') end)) redis.call('after')",
    ] {
        let mut host = Echo::default();
        assert_eq!(run_on(&mut engine, &mut host, text, &[]), Outcome::Stopped(Stop::Host), "{text}");
        assert_eq!(host.calls, 1, "{text}");
    }
}

#[test]
fn a_panic_of_the_host_ends_the_script_alone() {
    let mut engine = Engine::new();
    for text in ["redis.call('panic')", "pcall(redis.call, 'panic') redis.call('after')"] {
        let mut host = Echo::default();
        assert_eq!(run_on(&mut engine, &mut host, text, &[]), Outcome::Stopped(Stop::Panic), "{text}");
        assert_eq!(host.calls, 1, "{text}");
        assert_eq!(
            run_on(&mut engine, &mut host, "return redis.call('x')", &[]),
            Outcome::Returned(Value::Bulk(b"x".to_vec()))
        );
    }
}

#[test]
fn a_script_leaves_nothing_behind() {
    let mut engine = Engine::new();
    let mut host = Echo::default();
    for text in [
        "getmetatable('').__index = nil getmetatable('').x = 1",
        "getmetatable(_G).__index = function() return 'mine' end",
        "cjson.encode_max_depth(1) cjson.encode_number_precision(3)",
        "math.randomseed(5)",
        "redis.setresp(3)",
        "pcall(function() KEYS[1] = 'x' end)",
    ] {
        run_on(&mut engine, &mut host, text, &[]);
        let look = "return tostring(('x'):upper()) .. tostring(pcall(function() return nosuch end)) .. cjson.encode({{1/3}}) .. math.random(1000)
            .. tostring(getmetatable('').x) .. #KEYS";
        assert_eq!(text_of(run_on(&mut engine, &mut host, look, &[])), text_of(run(look)), "{text}");
        assert_eq!(run_on(&mut engine, &mut host, "return true", &[]), Outcome::Returned(Value::Integer(1)));
    }
}

/// Objects as keys, some of them gone, between others.
const OBJECT_KEYS: &str = "
    local t, out = {}, {}
    for i = 1, 30 do t[{}] = i t[function() end] = -i t['k' .. i] = 100 + i t[coroutine.create(function() end)] = 1000 + i end
    for k, v in pairs(t) do if v % 7 == 0 then t[k] = nil end end
    for i = 31, 40 do t[{}] = i end
    for k, v in pairs(t) do out[#out + 1] = v end
    return table.concat(out, ' ')";

#[test]
fn the_order_of_keys_that_are_objects_is_the_same_in_every_engine() {
    let mut engine = Engine::new();
    let first = text_of(run_on(&mut engine, &mut Echo::default(), OBJECT_KEYS, &[]));
    // After other scripts, on another thread, in another arena.
    run_on(
        &mut engine,
        &mut Echo::default(),
        "local t = {} for i = 1, 1e4 do t[{}] = tostring({}) end return redis.call('x')",
        &[],
    );
    run_on(&mut engine, &mut Echo::default(), "while true do end", &[]);
    assert_eq!(text_of(run_on(&mut engine, &mut Echo::default(), OBJECT_KEYS, &[])), first);
    let others: Vec<_> = (0..4).map(|_| std::thread::spawn(|| text_of(run(OBJECT_KEYS)))).collect();
    for other in others {
        assert_eq!(other.join().unwrap(), first);
    }
}

#[test]
fn the_order_of_keys_that_are_objects_is_that_of_the_terms_version() {
    // Whoever changes the engine changes where its objects lie. Two replicas with two engines would go apart over a script like
    // this, so another order here means another version of a script's terms (`core/src/commands/scripts/terms.rs`).
    let order = text_of(run(OBJECT_KEYS));
    assert_eq!(digest(order.as_bytes()), ORDER_DIGEST, "{order}");
}

const ORDER_DIGEST: &str = "f83e1dae735b445da9729a963313abd1f0e31c7f";

#[test]
fn calls_that_come_last_take_no_frame() {
    for call in ["f(n - 1)", "t(n - 1)"] {
        let text = format!(
            "local f, t
             f = function(n) if n == 0 then return 'end' end return {call} end
             t = setmetatable({{}}, {{__call = function(self, n) if n == 0 then return 'end' end return {call} end}})
             return t(50000)"
        );
        assert_eq!(text_of(run(&text)), "end", "{call}");
    }
}

#[test]
fn texts_of_objects_have_no_addresses() {
    let text = "local t = {} return table.concat({tostring({}), tostring(t), tostring(t), tostring(print_), tostring(function() end)}, ' ')";
    let text = text.replace("tostring(print_), ", "");
    assert_eq!(
        text_of(run(&text)),
        "table: 0x00000000000001 table: 0x00000000000002 table: 0x00000000000002 function: 0x00000000000003"
    );
}

#[test]
fn random_numbers_follow_from_the_seed() {
    let mut engine = Engine::new();
    let mut drawn = |seed| {
        let text = b"return {math.random(1e6), math.random(1e6), math.random(1e6)}";
        let script = Script { text, keys: &[], args: &[], seed, work: SHORT_SCRIPT_WORK };
        engine.run(&script, &mut Echo::default())
    };
    let first = drawn(1 << 20);
    assert_eq!(drawn(1 << 20), first);
    assert_ne!(drawn(2 << 20), first);
}

#[test]
fn a_script_that_cannot_be_compiled_is_refused_before_it_runs() {
    let mut engine = Engine::new();
    assert_eq!(engine.check(b"return 1"), Ok(()));
    let refused = engine.check(b"return 1 +").unwrap_err();
    let expected = "ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'";
    assert_eq!(String::from_utf8(refused).unwrap(), expected);
    let refused = engine.check(b"\x1bLuaQ\0\x01\x04\x08\x04\x08\0").unwrap_err();
    assert!(String::from_utf8(refused).unwrap().ends_with("unexpected symbol near 'char(27)'"));
}

#[test]
fn what_is_logged_reaches_the_host() {
    let mut host = Echo::default();
    run_on(&mut Engine::new(), &mut host, "redis.log(redis.LOG_WARNING, 'a', 5, {}, 'b')", &[]);
    assert_eq!(host.logged, ["3 a 5 b"]);
}

fn bytes_as_lua(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any bytes are decoded or refused, and what is decoded is encoded again to what decodes to the same.
    #[test]
    fn decoders_take_any_bytes(bytes in bytes_for_decoders()) {
        let quoted = bytes_as_lua(&bytes);
        for (decode, encode) in [
            ("cjson.decode", "cjson.encode"),
            ("cmsgpack.unpack", "cmsgpack.pack"),
        ] {
            let text = format!(
                "local ok, v = pcall({decode}, '{quoted}')
                 if not ok then return 'refused' end
                 local ok, again = pcall({encode}, v)
                 if not ok then return 'refused' end
                 local ok, v2 = pcall({decode}, again)
                 if not ok then return 'not decoded again: ' .. v2 end
                 return {encode}(v2) == again and 'same' or 'other'"
            );
            let outcome = run(&text);
            match outcome {
                Outcome::Returned(Value::Bulk(ref said)) => {
                    // Tables that differ in the order of their keys are encoded in another order.
                    prop_assert!([&b"same"[..], b"other", b"refused"].contains(&&said[..]), "{}: {:?}", text, outcome);
                }
                _ => prop_assert!(false, "{}: {:?}", text, outcome),
            }
        }
        let text = format!("local ok, v = pcall(struct.unpack, ARGV[1], '{quoted}') return type(v)");
        for format in ["<I4>I2bBhHlLfd", "!8bi8", "sBc0", "i1i3i7i16I32", "c5xx"] {
            let outcome = run_on(&mut Engine::new(), &mut Echo::default(), &text, &[format.as_bytes()]);
            prop_assert!(matches!(outcome, Outcome::Returned(_)), "{}: {:?}", text, outcome);
        }
    }

    /// Any format is taken or refused.
    #[test]
    fn formats_are_any_texts(format in "[<>!bBhHlLiIfdscxT 0-9]{0,12}", numbers in proptest::collection::vec(any::<f64>(), 0..6)) {
        let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:e}")).map(|text| text.replace("NaN", "0/0").replace("inf", "1/0")).collect();
        let text = format!(
            "local ok, v = pcall(struct.pack, '{format}', {})
             pcall(struct.size, '{format}')
             if ok then pcall(struct.unpack, '{format}', v) end return 1",
            if numbers.is_empty() { "1".to_owned() } else { numbers.join(", ") },
        );
        let outcome = run(&text);
        prop_assert!(!matches!(outcome, Outcome::Stopped(Stop::Panic)), "{}: {:?}", text, outcome);
    }

    /// Any pattern is matched or refused.
    #[test]
    fn patterns_are_any_texts(pattern in "[a-c.%()\\[\\]^$*+?0-9bf-]{0,10}", text in "[abc()\\]-]{0,12}") {
        let script = "pcall(string.find, ARGV[2], ARGV[1]) pcall(string.gsub, ARGV[2], ARGV[1], '%1%0')
             pcall(function() for a, b in string.gmatch(ARGV[2], ARGV[1]) do end end) return 1";
        let outcome = run_on(&mut Engine::new(), &mut Echo::default(), script, &[pattern.as_bytes(), text.as_bytes()]);
        prop_assert!(!matches!(outcome, Outcome::Stopped(Stop::Panic)), "{} on {}: {:?}", pattern, text, outcome);
    }

    /// Any text is compiled or refused.
    #[test]
    fn scripts_are_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = Engine::new().check(&bytes);
    }
}

fn bytes_for_decoders() -> impl Strategy<Value = Vec<u8>> {
    let json = "[\\[\\]{},:\"0-9a-f\\\\u truefalsnE.+-]{0,24}".prop_map(String::into_bytes);
    let tags =
        prop_oneof![any::<u8>(), Just(0x91), Just(0x81), Just(0xdc), Just(0xde), Just(0xa2), Just(0xd9), Just(0xcb)];
    prop_oneof![json, proptest::collection::vec(tags, 0..24), proptest::collection::vec(any::<u8>(), 0..24)]
}

/// Time that this thread was on a processor.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number comes first")
}

/// Times the longest scripts: `cargo test -p basalt-lua --release -- --ignored --nocapture longest`.
#[test]
#[ignore = "measures, tests nothing: cargo test --release -p basalt-lua --test engine longest -- --ignored --nocapture"]
fn longest() {
    let mut engine = Engine::new();
    for text in [
        "while true do end",
        "local x = 0 for i = 1, 1e9 do x = x + i end",
        "local t = {} for i = 1, 1e9 do t[i % 100] = i .. '' end",
        "while true do local t = {} t.a = 1 end",
        "local s = '' while true do s = s .. 'x' end",
        "while true do redis.call('x') end",
        "local s = string.rep('a', 100000) while true do s:find('b') end",
        "local s = string.rep('a', 1e6) while true do local t = s .. 'b' end",
        "return string.find(string.rep('a', 3000), '(.-)(.-)(.-)(.-)b')",
        "local t = {} for i = 1, 1e5 do table.insert(t, 1, i) end",
        "local t = {} for i = 1, 200000 do t[i] = i % 2 end table.sort(t)",
        "while true do cjson.decode('[1,2,3,{\"a\":1}]') end",
        "while true do coroutine.wrap(function() end)() end",
        "local t = {} for i = 1, 7900 do t[i] = i end while true do unpack(t) end",
        "local function g(...) while true do local a = select('#', ...) end end local t = {} for i = 1, 7900 do t[i] = i end g(unpack(t))",
        "local t = {} for i = 1, 1e5 do t[i] = i end for i = 1, 1e5 do t[i] = nil end while true do next(t) end",
        "while true do pcall(error, 'x') end",
    ] {
        let began = cpu_ns();
        let outcome = run_on(&mut engine, &mut Echo::default(), text, &[]);
        println!("{:8.1} ms {:30} {text}", (cpu_ns() - began) as f64 / 1e6, format!("{outcome:?}"));
    }
    for text in [
        "return 1",
        "return redis.call('get', 'x')",
        "local t = {} for i = 1, 100 do t[i] = cjson.encode({a = i}) end return #t",
    ] {
        let began = cpu_ns();
        for _ in 0..1000 {
            run_on(&mut engine, &mut Echo::default(), text, &[]);
        }
        println!("{:8.2} us {text}", (cpu_ns() - began) as f64 / 1e6);
    }
}
