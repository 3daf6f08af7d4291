//! Scripts whose commands are answered later: they come to the same end as those that are answered at once.

use basalt_lua::{Called, Engine, Host, Outcome, Progress, SHORT_SCRIPT_WORK, Script, Stop};

/// The answer to a command, wherever it comes from.
fn answer(args: &[Vec<u8>]) -> Vec<u8> {
    match args[0].as_slice() {
        b"fail" => b"-ERR failed\r\n".to_vec(),
        b"list" => b"*3\r\n$1\r\na\r\n:2\r\n$-1\r\n".to_vec(),
        b"status" => b"+OK\r\n".to_vec(),
        _ => {
            let words = args.join(&b' ');
            [format!("${}\r\n", words.len()).as_bytes(), &words, b"\r\n"].concat()
        }
    }
}

/// A host that answers at once, or never.
struct Asked {
    waits: bool,
    calls: Vec<Vec<Vec<u8>>>,
}

impl Host for Asked {
    fn call(&mut self, args: &[&[u8]], _: bool, _: usize, work: &mut u64, reply: &mut Vec<u8>) -> Called {
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
        *reply = answer(&args);
        self.calls.push(args);
        if self.waits {
            reply.clear();
            return Called::Waits;
        }
        *work -= 7;
        Called::Replied
    }

    fn may_call(&mut self, _: &[&[u8]], _: &mut u64) -> Option<bool> {
        Some(true)
    }

    fn log(&mut self, _: u8, _: &[u8]) {}
}

/// The end of a script that is answered at once, and what it has called.
fn run(engine: &mut Engine, script: &Script<'_>) -> (Outcome, Vec<Vec<Vec<u8>>>) {
    let mut host = Asked { waits: false, calls: Vec::new() };
    (engine.run(script, &mut host), host.calls)
}

/// The same of one that waits for each answer; another script is run before each.
fn run_suspended(engine: &mut Engine, script: &Script<'_>) -> (Outcome, Vec<Vec<Vec<u8>>>) {
    let mut host = Asked { waits: true, calls: Vec::new() };
    let mut progress = engine.start(script, &mut host);
    loop {
        match progress {
            Progress::Over(outcome) => return (outcome, host.calls),
            Progress::Waits(suspended) => {
                assert!(suspended.bytes() > 0 && suspended.work_left() < script.work);
                run(engine, &Script { text: b"x = nil return redis.call('other', 1)", ..*script });
                let reply = answer(host.calls.last().expect("it has called"));
                progress = engine.go_on(suspended, (&reply, 7), (script.text, false), &mut host);
            }
        }
    }
}

#[test]
fn a_script_that_waits_comes_to_the_end_of_one_that_does_not() {
    let mut engine = Engine::new();
    for text in [
        "return redis.call('get', 'a')",
        "local a = redis.call('get', 'a') local b = redis.call('get', a) return {a, b}",
        "return {redis.call('list'), redis.pcall('fail'), redis.call('status').ok}",
        "local t = {} for i = 1, 20 do t[#t + 1] = redis.call('n', i, 1.5) end return t",
        "return redis.call('fail')",
        "local x = 1\nredis.call('fail', x)\nreturn 1",
        "local function f(...) return redis.call('f', ...) end local function g(n) return f(n, n + 1) end return {g(1), f()}",
        "local n = 0 local function add() n = n + #redis.call('x') return n end return {add(), add(), add()}",
        "local function deep(n) if n == 0 then return redis.call('bottom') end return (deep(n - 1)) end return deep(50)",
        "local a, b = redis.call('list'), 3 a.x = b return #a + a.x",
        "local t = redis.pcall('fail') return t.err",
        "redis.call() return 1",
        "return {pcall(function() error('x') end), redis.call('behind')}",
        "return math.random(1000) + #redis.call('a') + math.random(1000)",
        "return redis.call('a') .. redis.call('b') .. tostring({}) .. redis.call('c')",
        "redis.setresp(3) local x = redis.call('a') redis.setresp(2) return x",
        "local co = coroutine.wrap(function() coroutine.yield(1) return 2 end) return {co(), redis.call('a'), co()}",
        "if redis.call('a') == 'a' and not (redis.pcall('fail').ok) then return redis.call('b') end return 0",
        "return redis.call('a'), redis.call('b')",
        "local s = 0 for i = 1, 10 do if i % 2 == 0 then s = s + #redis.call('even', i) end end return s",
        "while true do redis.call('again') end",
        "local t = 'x' while true do t = t .. redis.call('again') .. t end",
    ] {
        let script = Script { text: text.as_bytes(), keys: &[], args: &[], seed: 3, work: SHORT_SCRIPT_WORK / 100 };
        assert_eq!(run_suspended(&mut engine, &script), run(&mut engine, &script), "{text}");
    }
}

#[test]
fn a_call_through_a_function_of_the_engine_ends_the_script() {
    let mut engine = Engine::new();
    for text in [
        "return pcall(redis.call, 'a')",
        "return pcall(function() return redis.call('a') end)",
        "local co = coroutine.wrap(function() return redis.call('a') end) return co()",
        "return table.sort({1, 2, 3}, function(a, b) return redis.call('a') == b end)",
        "local t = setmetatable({}, {__index = function() return redis.call('a') end}) return t.x",
        "for x in redis.call, 'a', 'b' do end",
    ] {
        let script = Script { text: text.as_bytes(), keys: &[], args: &[], seed: 3, work: SHORT_SCRIPT_WORK };
        let (outcome, calls) = run_suspended(&mut engine, &script);
        assert_eq!((outcome, calls.len()), (Outcome::Stopped(Stop::Host), 1), "{text}");
    }
}

#[test]
fn more_work_may_make_more_objects() {
    let mut engine = Engine::new();
    let text = b"local t = {} for i = 1, 60 do t[i] = string.rep('x', 1e6) .. i end return #t";
    for (work, stop) in [(SHORT_SCRIPT_WORK, true), (4 * SHORT_SCRIPT_WORK, true), (20 * SHORT_SCRIPT_WORK, false)] {
        let (outcome, _) = run(&mut engine, &Script { text, keys: &[], args: &[], seed: 3, work });
        assert_eq!(matches!(outcome, Outcome::Stopped(_)), stop, "{work}: {outcome:?}");
    }
}
