//! Scripts that want more than they may have: each ends within its budget, on a small stack, and leaves the process as it was.

use std::time::Duration;

use basalt_lua::{Called, Engine, Host, Outcome, SHORT_SCRIPT_WORK, Script, Stop, Value};

/// Bytes of the stack that scripts get here: half of what the threads of a node have.
const STACK_BYTES: usize = 1 << 20;

struct Echo;

impl Host for Echo {
    fn call(&mut self, args: &[&[u8]], _: bool, bytes_max: usize, _: &mut u64, reply: &mut Vec<u8>) -> Called {
        let bytes = match args[0] {
            b"large" => vec![b'x'; 1 << 20],
            word => word.to_vec(),
        };
        if bytes.len() > bytes_max {
            return Called::TooLong;
        }
        *reply = [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
        Called::Replied
    }

    fn may_call(&mut self, _: &[&[u8]], _: &mut u64) -> Option<bool> {
        Some(true)
    }

    fn log(&mut self, _: u8, _: &[u8]) {}
}

fn run(engine: &mut Engine, text: &str) -> Outcome {
    let script = Script { text: text.as_bytes(), keys: &[], args: &[], seed: 1, work: SHORT_SCRIPT_WORK };
    engine.run(&script, &mut Echo)
}

/// Time that this thread was on a processor.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number comes first")
}

/// Bytes of address space of this process.
fn address_space() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells it");
    text.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).expect("a number comes first") * 4096
}

/// Runs `work` on a small stack.
fn on_small_stack<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread starts");
    thread.join().expect("nothing panics")
}

/// Scripts that have to be stopped.
const ENDLESS: &[&str] = &[
    // What is returned: deep, wide, and the same again and again.
    "local t = {} for i = 1, 60 do t = {t, t} end return t",
    "local t = {} for i = 1, 500 do t[i] = string.rep('x', 60000) end for i = 501, 3000 do t[i] = t[i - 500] end return t",
    "local s = string.rep('x', 1e6) local t = {} for i = 1, 1000 do t[i] = s end return t",
    "local s = string.rep('x', 1e6) local t = {} for i = 1, 1000 do t[i] = {ok = s} end return t",
    "local t = {map = {}} for i = 1, 40 do t = {map = {[t] = t}} end return t",
    "local t = {} t[1] = t t[2] = t return t",
    // Replacements, matches, formats.
    "return string.gsub(string.rep('a', 1000), 'a', string.rep('%0', 1e6))",
    "return string.gsub(string.rep('a', 1e6), '.*', string.rep('%0', 1e4))",
    "return string.gsub(string.rep('a', 1e6), '', string.rep('b', 1e5))",
    "return string.gsub(string.rep('a', 1e6), 'a', function() return string.rep('x', 1e6) end)",
    "while true do string.gsub('aaaa', 'a', {a = 'b'}) end",
    "return string.find(string.rep('a', 150), string.rep('a?', 150) .. string.rep('a', 150))",
    "return string.find(string.rep('a', 1e6), '[' .. string.rep('b', 1e6) .. ']')",
    "return string.match(string.rep('(', 1e6), '%b()')  or string.match(string.rep('(', 1e5), '.-%b()x')",
    "return string.find(string.rep('a', 1e6), '.-.-.-.-.-b')",
    "return string.gsub(string.rep(' ', 1e5), '^(.-)%s*$x', '%1') .. string.rep('x', 1e9)",
    "for w in string.gmatch(string.rep('a', 1e6), 'a*b') do end",
    "return string.find(string.rep('a', 1e6), string.rep('%1', 1e5)) or string.rep('a', 1e9)",
    "while true do string.format('%99.99f', 1e308) end",
    "while true do local s = 5e-324 .. 1e-308 end",
    "while true do string.format('%.99g', 2^-1074) end",
    "while true do local n = '179769313486231580793728971405301e276' + 1 end",
    "while true do local n = string.rep('9', 800) + 1 end",
    "while true do string.format('%s%s%s', string.rep('x', 1e5), 1, 2) end",
    "while true do string.format('%q', string.rep('\\n', 1e5)) end",
    // Texts.
    "local s = string.rep('x', 2^20) while true do local t = s .. s end",
    "local s = string.rep('x', 2^20) local t = string.rep('x', 2^20 - 1) .. 'y' while true do local b = s < t end",
    "local s = string.rep('x', 2^20) local t = string.rep('x', 2^20) while true do local b = s == t end",
    "local s = string.rep('x', 2^20) while true do s:reverse() end",
    "local s = string.rep('x', 2^20) while true do s:upper() end",
    "local s = string.rep('1', 2^20) while true do local n = tonumber(s) end",
    "local s = string.rep('1', 2^20) while true do local n = s + 1 end",
    "local s = string.rep('z', 2^20) while true do local n = tonumber(s, 36) end",
    "local s = string.rep('x', 7000) while true do s:byte(1, -1) end",
    "while true do string.char(string.byte(string.rep('x', 7000), 1, -1)) end",
    "local t = {} for i = 1, 1e6 do t[i] = 'xxxxxxxxxx' end while true do table.concat(t) end",
    "return string.rep('x', 2^31 - 1)",
    "return string.rep('', 2^31 - 1) .. string.rep('x', 1e8)",
    "while true do redis.sha1hex(string.rep('x', 2^20)) end",
    // Tables.
    "local t = {} t[2^31 - 2] = 1 for i = 1, 31 do t[2^i] = 1 t[2^i - 1] = 1 end while true do table.insert(t, 1, 'x') end",
    "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.remove(t, 1) end",
    "local t = {} for i = 1, 5000 do t[i] = i end table.sort(t, function() return true end) while true do end",
    "local t = {} for i = 1, 1e5 do t[i] = -i end table.sort(t, function(a, b) for i = 1, 1e6 do end return a < b end)",
    "local t = {} for i = 1, 2^20 do t[i] = i end for i = 1, 2^20 do t[i] = nil end while true do next(t) end",
    "local t = {} for i = 1, 2^16 do t['k' .. i] = i end while true do t.k1 = nil t[{}] = 1 end",
    "local t = {} for i = 0, 1e6 do t[i * 2^40] = i end while true do end",
    "local t = {} for i = 1, 1e6 do t[string.rep('a', 64) .. string.format('%07d', i) .. string.rep('a', 64)] = i end",
    "local t = {} for i = 1, 7900 do t[i] = i end while true do unpack(t) end",
    "local t = {} for i = 1, 7900 do t[i] = i end while true do select(1, unpack(t)) end",
    "local t = {} for i = 1, 7900 do t[i] = i end while true do math.max(unpack(t)) end",
    "local t = {} for i = 1, 7900 do t[i] = i end while true do local u = {unpack(t)} end",
    "local t = {} while true do local a = #t t[#t + 1] = {} end",
    // JSON and MessagePack.
    "local t = {} for i = 1, 60 do t = {t, t} end return cjson.encode(t)",
    "local s = string.rep('\\1', 1e5) while true do cjson.encode(s) end",
    "local s = '[' .. string.rep('1,', 1e5) .. '1]' while true do cjson.decode(s) end",
    "local t = {} for i = 1, 16 do t = {t, t, t, t} end return cmsgpack.pack(t)",
    "local s = string.rep('\\145', 500) .. '\\1' while true do cmsgpack.unpack(s) end",
    "local s = string.rep('x', 1e6) while true do struct.unpack('s', s .. '\\0') end",
    "while true do struct.pack(string.rep('i', 5000), unpack({1, 2, 3})) end while true do end",
    // Calls.
    "local function f() return f() end f()",
    "local f f = function() pcall(f) f() end while true do pcall(f) end",
    "while true do pcall(string.rep) end",
    "while true do xpcall(error, function() error('x') end) end",
    "local function f() return pcall(f) end while true do f() end",
    "local function g() coroutine.wrap(g)() end while true do pcall(g) end",
    "while true do local c = coroutine.create(function() coroutine.yield() end) coroutine.resume(c) end",
    "local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end",
    "local t = setmetatable({}, {__index = function(t, k) return t[k] end}) while true do pcall(function() return t.x end) end",
    "local t = setmetatable({}, {__concat = function(a, b) return a .. b end}) while true do pcall(function() return t .. t end) end",
    "local t = setmetatable({}, {__lt = function(a, b) return a < b end}) while true do pcall(function() return t < t end) end",
    "local t = setmetatable({}, {__call = function(self, ...) return self(...) end}) t()",
    "while true do string.gsub('a', 'a', function() pcall(function() coroutine.wrap(function() end)() end) end) end",
    "while true do load(function() return nil end) end",
    "load(function() return string.rep('x', 1e5) end)",
    "while true do loadstring(string.rep('a = 1 ', 1000)) end",
    "while true do loadstring('return ' .. string.rep('(', 150) .. '1' .. string.rep(')', 150)) end",
    "local a = {} for i = 1, 190 do a[i] = 'local v' .. i .. ' ' end local s = table.concat(a) \
     while true do loadstring(s .. string.rep('function f() ' .. s .. ' x = y', 50)) end",
    "while true do loadstring('if x then ' .. string.rep('elseif x then ', 10000) .. 'end') end",
    "while true do redis.call('large') end",
    "while true do redis.pcall('x') end",
    "for i = 1, math.huge do end",
    "for i = 1, 0, -0 do end while true do end",
    "repeat until false",
];

/// Scripts that end by themselves, by an error or not.
const ENDING: &[&str] = &[
    "local function f() return 1 + f() end return f()",
    "local t = {} for i = 1, 2000 do t = {t} end return t",
    "local t = {} for i = 1, 5000 do t = {t} end return cjson.encode(t)",
    "return cjson.decode(string.rep('[', 100000))",
    "return cmsgpack.unpack(string.rep('\\145', 100000))",
    "return loadstring(string.rep('(', 100000))",
    "return loadstring('return ' .. string.rep('{', 100000))",
    "return loadstring('return ' .. string.rep('not ', 100000) .. '1')",
    "return loadstring('return ' .. string.rep('-', 3) .. string.rep('- ', 100000) .. '1')",
    "return loadstring(string.rep('do ', 100000))",
    "return loadstring(string.rep('function f() ', 100000))",
    "return loadstring('return ' .. string.rep('a..', 10000) .. 'a')",
    "return loadstring('return ' .. string.rep('a.', 20000) .. 'a')",
    "return loadstring('return ' .. string.rep('a+', 20000) .. 'a')",
    "return loadstring(string.rep('a,', 20000) .. 'a = 1')",
    "return loadstring('local ' .. string.rep('a,', 1000) .. 'a')",
    "return loadstring('return function() return ' .. string.rep('function() return ', 150) .. '1' .. string.rep(' end', 150) .. ' end')",
    "return string.format('%99999d', 1)",
    "return string.format('%.99999f', 1)",
    "return string.find('a', string.rep('(', 100))",
    "return string.find(string.rep('a', 1000), string.rep('a?', 1000))",
    "return string.find('a', '%')",
    "return unpack({}, 1, 1e8)",
    "return unpack({}, -2^31, 2^31 - 1)",
    "return string.byte(string.rep('x', 1e6), 1, -1)",
    "return select(-2^31, 1)",
    "return select(2^31, 1)",
    "return ('x'):rep(-2^31)",
    "return ('x'):sub(-2^63, 2^63)",
    "return table.concat({}, 'x', 2^31 - 2, 2^31 - 1)",
    "return table.insert({}, 2^31 - 1, 1)",
    "return table.insert({}, -2^31, 1)",
    "local t = {} t[2^31 - 1] = 1 return table.remove(t, 2^31 - 1)",
    "local t = {3, 1, 2, 5, 4} return table.sort(t, function() return true end)",
    "return math.random(2^31 - 1), math.random(-2^31, 2^31 - 1), math.fmod(1e308, 1e-308), 5 % 0, -5 % math.huge",
    "return math.ldexp(1, 2^31), math.frexp(math.huge), math.modf(-math.huge)",
    "return coroutine.wrap(function() return coroutine.wrap(function() return pcall(coroutine.yield, 1) end)() end)()",
    "local c c = coroutine.create(function() return coroutine.resume(c) end) return coroutine.resume(c)",
    "return coroutine.resume(coroutine.create(coroutine.yield))",
    "local c = coroutine.wrap(function() error({}) end) c()",
    "local c = coroutine.create(function() local x = nil + 1 end) coroutine.resume(c) return coroutine.resume(c)",
    "return pcall(string.gsub, 'a', 'a', function() coroutine.yield() end)",
    "local f = function(...) return ... end return f(unpack({}, 1, 7000))",
    "local function f(n) if n == 0 then return cjson.decode(string.rep('[', 999) .. string.rep(']', 999)) end \
     return (select(2, pcall(f, n - 1))) end return f(190)",
    "local function f(n) if n == 0 then return loadstring('return ' .. string.rep('{', 190)) end \
     return (select(2, pcall(f, n - 1))) end return f(190)",
    "local t = {} for i = 1, 990 do t = {t} end \
     local function f(n) if n == 0 then return cjson.encode(t) end return (select(2, pcall(f, n - 1))) end return f(190)",
    "local function f(n) if n == 0 then return string.find(string.rep('a', 190), string.rep('a?', 190)) end \
     return (string.gsub('a', 'a', function() return f(n - 1) end)) end return f(190)",
    "return xpcall(function() local function f() return 1 + f() end f() end, function(e) local function g() return 1 + g() end g() end)",
    "return setmetatable({}, {__index = setmetatable({}, {__index = 1})}).x",
    "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
    "local t = setmetatable({}, {}) getmetatable(t).__newindex = t t.x = 1",
    "return next({}, 'x')",
    "return tostring(setmetatable({}, {__tostring = function() return {} end}))",
    "return struct.pack('i99', 1)",
    "return struct.unpack('!4294967296i4', 'xxxx')",
    "return struct.unpack('c0', 'x')",
    "return struct.unpack('Bc0', '\\255x')",
    "return struct.size('c2147483647c2147483647')",
    "return bit.tohex(1, -2^31), bit.lshift(1, 1e300), bit.tobit(0/0)",
    "return redis.sha1hex(redis.call('large'))",
    "return redis.error_reply(string.rep('x', 1e6))",
    "return {err = string.rep('\\n', 1e5)}",
    "return {verbatim_string = {format = 'äöü', string = 'x'}}",
    "return {verbatim_string = {format = '\\255\\255\\255', string = 'x'}}",
    "return redis.setresp(3), {double = 0/0}, {big_number = 'x\\r\\ny'}, {map = {[{}] = {}}}",
];

#[test]
fn whatever_has_no_end_is_stopped() {
    on_small_stack(|| {
        let mut engine = Engine::new();
        for text in ENDLESS {
            let began = cpu_ns();
            let outcome = run(&mut engine, text);
            println!("{:8.1} ms {text}", (cpu_ns() - began) as f64 / 1e6);
            let is_ended = matches!(outcome, Outcome::Stopped(Stop::Work | Stop::Memory));
            // Some find their end by "stack overflow" and the like, which is as good.
            assert!(is_ended || matches!(outcome, Outcome::Failed(_)), "{text}: {outcome:?}");
            assert_eq!(run(&mut engine, "return 7"), Outcome::Returned(Value::Integer(7)));
        }
    });
}

#[test]
fn nothing_panics_or_takes_more_stack_than_there_is() {
    on_small_stack(|| {
        let mut engine = Engine::new();
        for text in ENDING {
            println!("{text}");
            let outcome = run(&mut engine, text);
            assert!(!matches!(outcome, Outcome::Stopped(Stop::Panic | Stop::Host)), "{text}: {outcome:?}");
            assert_eq!(run(&mut engine, "return 7"), Outcome::Returned(Value::Integer(7)));
        }
    });
}

/// A generator of programs that are mostly senseless: pieces of Lua nested in each other.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 {
            let leaves = [
                "1",
                "0",
                "-1",
                "2^31",
                "1e300",
                "0/0",
                "1/0",
                "nil",
                "true",
                "'a'",
                "'%a+'",
                "''",
                "a",
                "b",
                "t",
                "t.x",
                "t[1]",
                "#t",
                "f",
                "{}",
                "...",
                "string.rep('ab', 3000)",
                "KEYS",
                "_G",
                "string",
                "coroutine.running()",
                "cjson.null",
            ];
            return self.one_of(&leaves).to_owned();
        }
        let (left, right) = (self.expression(depth - 1), self.expression(depth - 1));
        let third = self.expression(0);
        match self.below(16) {
            0 => format!(
                "({left} {} {right})",
                self.one_of(&["+", "-", "*", "/", "%", "^", "..", "==", "<", "<=", "~=", "and", "or"])
            ),
            1 => format!("{}({left})", self.one_of(&["not ", "-", "#"])),
            2 => format!("{{{left}, {right}, x = {third}, [{third}] = {left}}}"),
            3 => format!("({left})[{right}]"),
            4 => format!("function(a, b, ...) {} return {left}, {right} end", self.statement(depth - 1)),
            5 => format!("pcall({left}, {right}, {third})"),
            6 => format!("f({left}, {right})"),
            7 => format!(
                "setmetatable({{}}, {{__index = {left}, __call = {right}, __add = f, __lt = f, __concat = {third}, __eq = f}})"
            ),
            8 => format!("coroutine.wrap({left})({right})"),
            9 => format!(
                "string.{}({left}, {right}, {third})",
                self.one_of(&[
                    "gsub", "find", "match", "rep", "sub", "byte", "format", "char", "upper", "gmatch", "len"
                ])
            ),
            10 => format!(
                "table.{}({left}, {right}, {third})",
                self.one_of(&["insert", "remove", "concat", "sort", "maxn", "foreach", "foreachi", "getn"])
            ),
            11 => format!(
                "{}({left}, {right})",
                self.one_of(&[
                    "tostring",
                    "tonumber",
                    "select",
                    "unpack",
                    "next",
                    "rawget",
                    "rawequal",
                    "xpcall",
                    "type",
                    "error",
                    "assert",
                    "pairs",
                    "ipairs",
                    "loadstring",
                    "coroutine.yield",
                    "coroutine.create",
                    "coroutine.resume",
                    "coroutine.status",
                    "redis.pcall",
                    "redis.call",
                    "math.max",
                    "math.random",
                    "math.floor",
                    "math.fmod",
                    "collectgarbage",
                    "setmetatable",
                    "load",
                ])
            ),
            12 => format!(
                "{}({left}, {right})",
                self.one_of(&[
                    "cjson.encode",
                    "cjson.decode",
                    "cmsgpack.pack",
                    "cmsgpack.unpack",
                    "struct.pack",
                    "struct.unpack",
                    "bit.bor",
                    "bit.tohex",
                    "redis.sha1hex",
                    "redis.error_reply",
                    "redis.setresp",
                    "cjson.encode_max_depth",
                    "cjson.new",
                ])
            ),
            13 => format!("({left}):{}({right})", self.one_of(&["x", "rep", "sub", "gsub", "format"])),
            14 => format!("cjson.decode(cjson.encode({left}))"),
            _ => format!("cmsgpack.unpack(cmsgpack.pack({left}, {right}))"),
        }
    }

    fn statement(&mut self, depth: usize) -> String {
        let value = self.expression(depth);
        if depth == 0 {
            return format!("{} = {value}", self.one_of(&["a", "b", "t", "t.x", "t[#t + 1]", "local c"]));
        }
        let (inner, more) = (self.statement(depth - 1), self.statement(depth - 1));
        match self.below(9) {
            0 => format!("if {value} then {inner} else {more} end"),
            1 => format!("while {value} do {inner} {} end", self.one_of(&["", "break"])),
            2 => format!("for i = 1, {value} do {inner} {more} end"),
            3 => format!("for k, v in pairs({value}) do {inner} end"),
            4 => format!("repeat local d = {value} {inner} until d"),
            5 => format!("f = function(a, ...) {inner} {more} return {value} end"),
            6 => format!("do local a, b = {value} {inner} end {more}"),
            7 => format!("local ok, e = pcall(function(...) {inner} {more} end, {value})"),
            _ => format!("{inner} {more}"),
        }
    }

    fn program(&mut self) -> String {
        let statements: Vec<String> =
            (0..4).map(|_| format!("pcall(function(...) {} end, a, t)", self.statement(2))).collect();
        format!(
            "local a, b, t = 1, 'b', {{1, 2, 3, x = {{}}}} local f = function(...) return ... end {} \
             return {{a, b, t, select(2, pcall(function(...) return {} end, t))}}",
            statements.join("\n"),
            self.expression(2)
        )
    }
}

/// Drawn programs, twice each: in an engine that has run others, and in a new one.
#[test]
fn drawn_programs_end_and_are_the_same_everywhere() {
    let seconds = std::env::var("BASALT_TEST_SECONDS").map_or(5, |text| text.parse().expect("a number"));
    let seed = std::env::var("BASALT_TEST_SEED").map_or(1, |text| text.parse().expect("a number"));
    println!("seed {seed}");
    let [ran, stopped, failed] = on_small_stack(move || {
        let mut random = Random(seed);
        let mut engine = Engine::new();
        let _ = run(&mut engine, "return string.rep('x', 1e7)");
        let before = address_space();
        let began = std::time::Instant::now();
        let mut counts = [0usize; 3];
        while began.elapsed() < Duration::from_secs(seconds) {
            let text = random.program();
            let outcome = run(&mut engine, &text);
            assert!(!matches!(outcome, Outcome::Stopped(Stop::Panic | Stop::Host)), "{text}: {outcome:?}");
            counts[match outcome {
                Outcome::Returned(_) => 0,
                Outcome::Stopped(_) => 1,
                Outcome::Failed(_) => 2,
            }] += 1;
            let again = run(&mut Engine::new(), &text);
            // Numbers that are none are equal to nothing.
            assert_eq!(format!("{again:?}"), format!("{outcome:?}"), "{text}");
        }
        let grown = address_space().saturating_sub(before);
        assert!(grown < 256 << 20, "the process has grown by {grown} bytes");
        counts
    });
    println!("{ran} returned, {stopped} were stopped, {failed} failed");
    assert!(ran > 100 && stopped > 5, "{ran} returned, {stopped} were stopped, {failed} failed");
}
