//! Scripts pay for what they do by what it takes: none holds its thread for much longer than its work says, however it is spent.

use basalt_lua::{Called, Engine, FunctionCall, Host, Outcome, SHORT_SCRIPT_WORK, Script, Stop};

/// Time for a whole budget: some ten milliseconds, and room for a machine that is slow or busy with others. Whatever is not paid
/// for takes hundreds of them, or seconds.
const LONGEST_MS: f64 = 60.0;

struct Nobody;

impl Host for Nobody {
    fn call(&mut self, _: &[&[u8]], _: bool, _: usize, _: &mut u64, reply: &mut Vec<u8>) -> Called {
        *reply = b"+OK\r\n".to_vec();
        Called::Replied
    }

    fn may_call(&mut self, _: &[&[u8]], _: &mut u64) -> Option<bool> {
        Some(true)
    }

    fn log(&mut self, _: u8, _: &[u8]) {}
}

/// Time that this thread was on a processor.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let ns: u64 = text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number comes first");
    ns as f64 / 1e6
}

/// The least time of a few runs, and the outcome of the last.
fn time(mut run: impl FnMut() -> Outcome) -> (f64, Outcome) {
    let mut least = f64::INFINITY;
    loop {
        let began = cpu_ms();
        let outcome = run();
        let took = cpu_ms() - began;
        // Others on the same processor make a run longer, never shorter; one that is far too long is no accident.
        if took <= LONGEST_MS || took >= least || took >= 3.0 * LONGEST_MS {
            return (took.min(least), outcome);
        }
        least = took;
    }
}

fn run(text: &[u8]) -> Outcome {
    let script = Script { text, keys: &[], args: &[], seed: 1, work: SHORT_SCRIPT_WORK };
    Engine::new().run(&script, &mut Nobody)
}

/// A number of 758 digits that lies half-way between two that a script can have.
fn half_way() -> String {
    // Half of the smallest number, exactly: 2^-1075.
    let exact = format!("{:.1074}", f64::from_bits(1));
    let digits = exact.trim_start_matches("0.").trim_start_matches('0');
    let mut half = String::new();
    let mut rest = 0;
    for digit in digits.bytes().map(|byte| byte - b'0').chain([0]) {
        half.push(char::from(b'0' + (rest * 10 + digit) / 2));
        rest = (rest * 10 + digit) % 2;
    }
    format!("{}.{}e-324", &half[..1], &half[1..])
}

/// A table whose border is looked for one by one: a list that is full, and fields wherever a search in doubling steps looks.
fn long_search() -> String {
    let fields: Vec<String> = (0..19).map(|power| format!("[k*2^{power}]=1")).collect();
    format!(
        "local a, k = {{}}, 7901 for i = 1, 7900 do a[i] = 1 end local t = {{{}, unpack(a, 1, 7900)}} ",
        fields.join(",")
    )
}

/// Scripts of all that has to be paid for, by kinds.
fn scripts() -> Vec<(&'static str, Vec<u8>)> {
    let mut all: Vec<(&'static str, Vec<u8>)> = Vec::new();
    let mut add = |kind: &'static str, text: &str| all.push((kind, text.as_bytes().to_vec()));
    // What others are compared with.
    add("instructions", "while true do end");
    add("instructions", "local x = 0 while true do x = x + 1 end");
    let search = long_search();
    add("length", &format!("{search} while true do local n = #t end"));
    add("length", &format!("{search} while true do table.getn(t) end"));
    add("length", &format!("{search} while true do table.insert(t, 1) t[7901] = 1 end"));
    add("length", &format!("{search} while true do unpack(t, 1, #t - 7900) end"));
    add("match", "local s = string.rep('a', 700) .. 'bc' while true do pcall(string.find, s, 'a*c[') end");
    add("match", "local s = string.rep('a', 700) .. 'bc' while true do pcall(string.match, s, 'a*c%') end");
    add("match", "local s = string.rep('a', 700) .. 'bc' while true do pcall(string.gsub, s, 'a*c[', '') end");
    add("match", "local s = string.rep('a', 700) .. 'bc' while true do pcall(string.gmatch(s, 'a*c(')) end");
    add("match", "local s = string.rep('a', 700) .. 'bc' while true do pcall(string.find, s, 'a*c%1') end");
    add(
        "match",
        "local s = string.rep('a', 150) .. 'b' local p = string.rep('a?', 199) .. '()()[' while true do pcall(string.find, s, p) end",
    );
    add("match", "local s = string.rep('[', 50000) while true do pcall(string.find, 'a', s) end");
    add("match", "local p = string.rep('z', 4e6) .. '%a' while true do string.find('', p) end");
    add("match", "local p = string.rep('z', 4e5) .. '%a' while true do string.match('', p) end");
    let names = [
        ("return t['\\0' .. NAME].y", "'\\0' .. string.rep('x', 3e6)"),
        ("return t['NAME'].y", "string.rep('\\255', 1e6)"),
        ("return t.NAME.y", "string.rep('x', 1e6)"),
        ("return NAME.y", "string.rep('x', 1e6)"),
        ("return NAME()", "string.rep('x', 1e6)"),
        ("return t:NAME()", "string.rep('x', 1e6)"),
        ("local NAME return NAME.y", "string.rep('x', 1e6)"),
        ("local NAME return (function() return NAME.y end)()", "string.rep('x', 1e6)"),
        ("local NAME = string.rep return NAME()", "string.rep('x', 1e6)"),
        ("return ('x'):NAME()", "string.rep('x', 1e6)"),
        ("string.NAME()", "string.rep('x', 1e6)"),
    ];
    for (code, name) in names {
        let code = code.replace("'\\0' .. NAME", "'NAME'").replace("NAME", "]] .. name .. [[");
        add(
            "names",
            &format!(
                "local name = {} local f = loadstring([[local t = {{}} {code}]]) while true do pcall(f) end",
                name.replace("'\\0'", "'\\\\0'")
            ),
        );
    }
    add("names", "local s = string.rep('\\255', 1e6) while true do pcall(collectgarbage, s) end");
    add("names", "local s = string.rep('\\255', 1e6) while true do pcall(cjson.encode_keep_buffer, s) end");
    add("names", "local s = string.rep('x', 1e6) while true do pcall(assert, false, '\\0' .. s) end");
    add("names", "local s = string.rep('x', 1e6) while true do pcall(function() return _G[s] end) end");
    add("names", "local s = '\\0' .. string.rep('x', 1e6) while true do pcall(function() return _G[s] end) end");
    add("names", "local s = string.rep('x', 1e6) while true do loadstring('x = ', '=' .. s) end");
    add("names", "local s = string.rep('x', 1e6) while true do pcall(error, s, 1) end");
    add("names", "local s = string.rep('\\n', 1e6) while true do redis.error_reply(s) end");
    add("names", "local s = string.rep('x', 1e6) while true do redis.error_reply('\\0' .. s) end");
    let deep = "local function d(n) if n > 0 then d(n - 1) return end";
    add("levels", &format!("{deep} while true do pcall(error, '', 1e9) end end d(16000)"));
    add("levels", &format!("{deep} while true do pcall(error, '', 15000) end end d(16000)"));
    let tie = "9007199254740993.00000000000000000000";
    let half = half_way();
    add("numbers", &format!("local s = 'return 0' .. string.rep(',{tie}', 200) while true do loadstring(s) end"));
    add("numbers", &format!("local s = 'return 0' .. string.rep(',{half}', 100) while true do loadstring(s) end"));
    add("numbers", &format!("local t = {{{}}} return #t", format!("{half},").repeat(5000)));
    add("numbers", &format!("local t = {{{}}} return #t", format!("{tie},").repeat(90_000)));
    add("numbers", &format!("local s = '[' .. string.rep('{tie},', 20000) .. '0]' while true do cjson.decode(s) end"));
    add("numbers", &format!("local s = '[' .. string.rep('{half},', 2000) .. '0]' while true do cjson.decode(s) end"));
    add("numbers", &format!("local s = '{tie}' while true do local n = s + 0 end"));
    add("numbers", &format!("local s = '{half}' while true do local n = s + 0 end"));
    add("numbers", &format!("local s = '{}e300' while true do local n = tonumber(s) end", "9".repeat(300)));
    add("numbers", &format!("local s = '0.{}1' while true do local n = tonumber(s) end", "0".repeat(320)));
    add("numbers", "local s = '1' .. string.rep('0', 1e6) while true do local n = tonumber(s) end");
    add("numbers", "local s = string.rep(' ', 1e6) while true do local n = tonumber(s) end");
    add("numbers", "local s = '1' .. string.rep(' ', 1e6) while true do local n = tonumber(s) end");
    add("numbers", "local s = '1e' .. string.rep('0', 1e6) while true do local n = tonumber(s) end");
    add("numbers", "local s = '0x' .. string.rep('f', 1e6) while true do local n = tonumber(s) end");
    for number in ["9.5367431640625e-7", "5e-324", "1.7976931348623157e308", "0.1", "2^-1074", "123456789.5", "-1e-300"]
    {
        add("texts of numbers", &format!("local x = {number} while true do local s = x..x..x..x..x..x..x..x end"));
        add("texts of numbers", &format!("local x = {number} while true do tostring(x) end"));
        add(
            "texts of numbers",
            &format!("local x = {number} while true do redis.call('x', x, x, x, x, x, x, x, x, x, x, x) end"),
        );
        add(
            "texts of numbers",
            &format!("local x = {{}} for i = 1, 1000 do x[i] = {number} end while true do cjson.encode(x) end"),
        );
        add("texts of numbers", &format!("local x = {number} while true do string.format('%.14g%f%e', x, x, x) end"));
    }
    add("formats", "local s = string.rep('%%', 1e5) while true do string.format(s) end");
    add("searches", "local s = string.rep('ab', 5e4) while true do s:find(string.rep('ab', 1e3) .. 'c', 1, true) end");
    add(
        "searches",
        "local s = string.rep('a', 1e5) .. 'b' while true do s:find(string.rep('a', 1e4) .. 'b', 1, true) end",
    );
    let long = "v".repeat(1000);
    let mut locals = String::new();
    for function in 0..10 {
        for index in 0..190 {
            locals.push_str(&format!("local {long}{function:02}{index:03} "));
        }
        locals.push_str("local f = function() ");
    }
    let uses = format!("x = {long}99999 ").repeat(1000);
    add("variables", &format!("{locals}{uses}{}", " end ".repeat(10)));
    let pieces = format!("local a = '{long}' ").repeat(20) + &format!("f('{long}') ").repeat(1000);
    add("variables", &format!("local f = function() end local s = [[{pieces}]] while true do loadstring(s) end"));
    all
}

#[test]
fn no_script_takes_longer_than_its_work_says() {
    let mut dear = Vec::new();
    for (kind, text) in scripts() {
        let (took, outcome) = time(|| run(&text));
        let shown = String::from_utf8_lossy(&text[..text.len().min(150)]).into_owned();
        println!("{took:8.1} ms {kind}: {shown} {}", format!("{outcome:?}").chars().take(60).collect::<String>());
        if took > LONGEST_MS {
            dear.push(format!("{took:.0} ms for {kind}: {shown}"));
        }
        assert!(!matches!(outcome, Outcome::Stopped(Stop::Panic | Stop::Host)), "{shown}: {outcome:?}");
    }
    assert!(dear.is_empty(), "{}", dear.join("\n"));
}

/// Texts that a client sends are refused, or read, in a time that follows from the least of their bytes.
#[test]
fn texts_are_bounded_before_they_are_read() {
    let first_line = [&b"#!"[..], &vec![0xff; 60 << 20], b"\n"].concat();
    let no_end = [&b"#!"[..], &vec![b'x'; 60 << 20]].concat();
    let many_flags = [&b"#!lua flags="[..], &b"no-writes,".repeat(6 << 20), b"\n"].concat();
    let comment = [&b"--"[..], &vec![b'x'; 60 << 20]].concat();
    for text in [first_line, no_end, many_flags, comment] {
        let (took, _) = time(|| {
            let error = Engine::new().check(&text).expect_err("it is too long");
            assert!(error.len() < 1000, "{} bytes", error.len());
            Outcome::Failed(error)
        });
        assert!(took < 5.0, "{took} ms for {:?}", String::from_utf8_lossy(&text[..20]));
        let (took, outcome) = time(|| run(&text));
        assert!(took < 5.0, "{took} ms for {:?}", String::from_utf8_lossy(&text[..20]));
        assert_eq!(outcome, Outcome::Stopped(Stop::Memory));
    }
    for text in [
        [&b"#!"[..], &vec![0xff; 1 << 20], b"\n"].concat(),
        [&b"#!lua "[..], &vec![0xff; 1 << 20], b"\n"].concat(),
        [&b"#!lua flags="[..], &vec![0xff; 1 << 20], b"\n"].concat(),
        [&b"#!lua flags="[..], &vec![0xff; 900], b"\n"].concat(),
        [&b"x='"[..], &vec![0xff; 1 << 20], b"\n"].concat(),
        [&b"return 1"[..], &vec![b'x'; 1 << 20]].concat(),
        [&b"x = x "[..], &vec![b'x'; 1 << 20]].concat(),
    ] {
        let error = Engine::new().check(&text).expect_err("it is none");
        assert!(error.len() < 1000, "{} bytes for {:?}", error.len(), String::from_utf8_lossy(&text[..20]));
    }
}

/// Every spelling of a word in upper and lower case.
fn spellings(word: &str) -> impl Iterator<Item = String> {
    (0..1_u32 << word.len()).map(move |upper| {
        let spell =
            |(at, letter): (usize, char)| if upper >> at & 1 == 1 { letter.to_ascii_uppercase() } else { letter };
        word.chars().enumerate().map(spell).collect()
    })
}

/// Libraries are loaded in apply of every replica, and a whole budget is as long there as that of a script.
#[test]
fn no_library_takes_longer_to_be_loaded_than_its_work_says() {
    let fields: String = spellings("description").map(|name| format!("{name}=s,")).collect();
    let spelled = format!(
        "local s, f = ('x'):rep(8e6), function() end redis.register_function{{function_name='f', callback=f, {fields}}}"
    );
    let long_names = |length: usize| {
        format!(
            "local s, f = ('x'):rep({length}), function() end for i = 1000, 2400 do redis.register_function(s .. i, f) end"
        )
    };
    let texts = [
        spelled,
        long_names(5000),
        long_names(500),
        long_names(30),
        "local s, f = ('x'):rep(2e6), function() end while true do redis.register_function(s, f) s = s .. 'x' end"
            .into(),
    ];
    for text in texts {
        let shown = &text[..text.len().min(150)];
        let (took, outcome) = time(|| match Engine::new().load(text.as_bytes(), SHORT_SCRIPT_WORK, &mut Nobody) {
            Ok(library) => Outcome::Failed(format!("loaded, for {}", library.work()).into_bytes()),
            Err(error) => Outcome::Failed(error),
        });
        println!("{took:8.1} ms: {shown} {outcome:?}");
        assert!(took <= LONGEST_MS, "{took} ms for {shown}");
    }
}

/// A transaction has some hundred calls with little work each: one that cannot begin must not take as long as one that can.
#[test]
fn calls_and_libraries_that_cannot_be_paid_for_are_not_begun() {
    let code = b"local t = {} for i = 1, 2e4 do t[i] = {} end redis.register_function('f', function() return t end)";
    let mut engine = Engine::new();
    let library = engine.load(code, SHORT_SCRIPT_WORK, &mut Nobody).expect("it is loaded");
    let function = &library.functions()[0];
    let (took, outcome) = time(|| {
        let mut call = || {
            let call = FunctionCall { library: &library, function, keys: &[], args: &[], seed: 1, work: 1000 };
            engine.call(&call, &mut Nobody)
        };
        (0..1000).map(|_| call()).fold(Outcome::Stopped(Stop::Host), |_, outcome| outcome)
    });
    assert_eq!(outcome, Outcome::Stopped(Stop::Work));
    assert!(took < 5.0, "{took} ms for 1000 calls of a library of {} bytes", library.heap_bytes());
    let (took, outcome) = time(|| {
        let mut load = || engine.load(code, 80, &mut Nobody).expect_err("its work is not enough");
        Outcome::Failed((0..100_000).map(|_| load()).fold(Vec::new(), |_, error| error))
    });
    assert_eq!(outcome, Outcome::Failed(b"ERR Error registering functions: ERR FUNCTION LOAD timeout".to_vec()));
    assert!(took < 100.0, "{took} ms for 100,000 libraries");
}
