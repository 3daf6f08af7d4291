//! Libraries of functions without a shard: what loading one comes to, and what its functions find.

use basalt_lua::{Called, Engine, FunctionCall, Host, Library, Outcome, SHORT_SCRIPT_WORK, Stop, Value, is_name};

/// A host that replies with the name of the command, and keeps what is logged.
#[derive(Default)]
struct Echo {
    logged: Vec<String>,
}

impl Host for Echo {
    fn call(&mut self, args: &[&[u8]], _: bool, _: usize, _: &mut u64, reply: &mut Vec<u8>) -> Called {
        if args[0] == b"panic" {
            panic!("a host that fails");
        }
        *reply = [b"+", args[0], b"\r\n"].concat();
        Called::Replied
    }

    fn may_call(&mut self, _: &[&[u8]], _: &mut u64) -> Option<bool> {
        Some(true)
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.logged.push(format!("{level} {}", String::from_utf8_lossy(text)));
    }
}

fn load(engine: &mut Engine, code: &str) -> Result<Library, String> {
    let loaded = engine.load(code.as_bytes(), SHORT_SCRIPT_WORK, &mut Echo::default());
    loaded.map_err(|error| String::from_utf8(error).expect("a text"))
}

fn call(engine: &mut Engine, library: &Library, name: &str) -> Outcome {
    let function = library.function(name.as_bytes()).expect("there is such a function");
    let (keys, args): (&[&[u8]], &[&[u8]]) = (&[b"k1", b"k2"], &[b"a"]);
    let call = FunctionCall { library, function, keys, args, seed: 42, work: SHORT_SCRIPT_WORK };
    engine.call(&call, &mut Echo::default())
}

fn shown(outcome: Outcome) -> String {
    match outcome {
        Outcome::Returned(Value::Bulk(text)) => String::from_utf8(text).expect("a text"),
        Outcome::Failed(error) => format!("-{}", String::from_utf8_lossy(&error)),
        other => format!("{other:?}"),
    }
}

#[test]
fn what_loading_refuses_is_told_in_the_words_of_redis() {
    let mut engine = Engine::new();
    const REGISTERING: &str = "ERR Error registering functions: ERR ";
    const NAME: &str =
        "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
    for (code, error) in [
        ("local x = math.abs(1)", "user_function:1: Script attempted to access nonexistent global variable 'math'"),
        ("\nerror('x')", "user_function:2: Script attempted to access nonexistent global variable 'error'"),
        ("redis.call('ping')", "user_function:1: Script attempted to access nonexistent global variable 'call'"),
        ("x = 1", "user_function:1: Attempt to modify a readonly table"),
        ("redis.x = 1", "user_function:1: Attempt to modify a readonly table"),
        ("local x = nil + 1", "user_function:1: attempt to perform arithmetic on a nil value"),
        ("redis.log('x')", "redis.log() requires two arguments or more."),
        ("redis.register_function()", "wrong number of arguments to redis.register_function"),
        ("redis.register_function(1, 2, 3)", "wrong number of arguments to redis.register_function"),
        (
            "redis.register_function(1)",
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ),
        ("redis.register_function(1, 2)", "second argument to redis.register_function must be a function"),
        ("redis.register_function({}, 2)", "first argument to redis.register_function must be a string"),
        ("redis.register_function('a-b', function() end)", NAME),
        ("redis.register_function('', function() end)", NAME),
        (
            "local f = function() end redis.register_function('x', f) redis.register_function('x', f)",
            "Function already exists in the library",
        ),
        (
            "local f = function() end redis.register_function('x', f) redis.register_function('X', f)",
            "Function X already exists",
        ),
        ("redis.register_function{}", "redis.register_function must get a function name argument"),
        ("redis.register_function{function_name='x'}", "redis.register_function must get a callback argument"),
        (
            "redis.register_function{function_name={}}",
            "function_name argument given to redis.register_function must be a string",
        ),
        (
            "redis.register_function{callback=1}",
            "callback argument given to redis.register_function must be a function",
        ),
        (
            "redis.register_function{description={}}",
            "description argument given to redis.register_function must be a string",
        ),
        ("redis.register_function{[1]=1}", "unknown argument given to redis.register_function"),
        ("redis.register_function{what=1}", "unknown argument given to redis.register_function"),
        ("redis.register_function{[{}]=1}", "named argument key given to redis.register_function is not a string"),
        (
            "redis.register_function{flags=1}",
            "flags argument to redis.register_function must be a table representing function flags",
        ),
        ("redis.register_function{flags={'x'}}", "unknown flag given"),
        ("redis.register_function{flags={{}}}", "unknown flag given"),
        ("while true do end", "FUNCTION LOAD timeout"),
        ("local t = ('x'):rep(2^31 - 1)", "the library needs more memory than a script may have"),
    ] {
        assert_eq!(load(&mut engine, code).err(), Some(format!("{REGISTERING}{error}")), "{code}");
    }
    let error = load(&mut engine, "\nif then").err();
    assert_eq!(error.as_deref(), Some("ERR Error compiling function: user_function:2: unexpected symbol near 'then'"));
    assert_eq!(load(&mut engine, "return 1").err().as_deref(), Some("ERR No functions registered"));
}

#[test]
fn what_is_registered_is_there_with_all_that_was_said_of_it() {
    let mut engine = Engine::new();
    let code = "local f = function() end redis.register_function('Plain', f) \
         redis.register_function{FUNCTION_NAME='named', callback=f, description='what for', \
         flags={'no-cluster', 'NO-writes', nil, 'x'}} redis.register_function{function_name=7, callback=f}";
    let library = load(&mut engine, code).unwrap();
    let shown: Vec<String> = library
        .functions()
        .iter()
        .map(|function| {
            let description = function.description.as_deref().map(String::from_utf8_lossy);
            let flags: Vec<&str> = function.flags.names().collect();
            format!("{} {description:?} {}", String::from_utf8_lossy(&function.name), flags.join(","))
        })
        .collect();
    assert_eq!(shown, ["Plain None ", "named Some(\"what for\") no-writes,no-cluster", "7 None "]);
    assert!(library.function(b"pLAIN").is_some() && library.function(b"plai").is_none());
    assert!(library.work() > 0 && library.heap_bytes() > 0);
}

#[test]
fn functions_find_the_globals_that_those_of_redis_find() {
    let mut engine = Engine::new();
    let library = load(
        &mut engine,
        "local function names(t) local n = {} for k in pairs(t) do n[#n + 1] = k end table.sort(n) return table.concat(n, ' ') end \
         redis.register_function('globals', function() return names(_G) end) \
         redis.register_function('redis', function() return names(redis) end) \
         redis.register_function('arguments', function(...) \
         local k, a = ... return select('#', ...) .. k[1] .. k[2] .. #k .. a[1] .. #a end) \
         redis.register_function('keys', function() return KEYS end) \
         redis.register_function('set', function() x = 1 end) \
         redis.register_function('raw', function() rawset(_G, 'x', 1) end) \
         redis.register_function('register', function() redis.register_function('v', function() end) end) \
         redis.register_function('loaded', function() return loadstring('return type(math.abs)')() end) \
         redis.register_function('call', function() return redis.call('ping').ok end) \
         redis.register_function('err', function() error({err = 'MY err'}) end) \
         redis.register_function('boo', function() error('boo') end) \
         redis.register_function('panic', function() redis.call('panic') end) \
         redis.register_function('endless', function() while true do end end) \
         redis.register_function('same', redis.register_function)",
    )
    .unwrap();
    for (name, expected) in [
        (
            "globals",
            "_G _VERSION assert bit cjson cmsgpack collectgarbage coroutine error gcinfo getmetatable ipairs load loadstring math \
             next pairs pcall rawequal rawget rawset redis select setmetatable string struct table tonumber tostring type unpack \
             xpcall",
        ),
        (
            "redis",
            "LOG_DEBUG LOG_NOTICE LOG_VERBOSE LOG_WARNING REDIS_VERSION REDIS_VERSION_NUM REPL_ALL REPL_AOF REPL_NONE REPL_REPLICA \
             REPL_SLAVE acl_check_cmd call error_reply log pcall set_repl setresp sha1hex status_reply",
        ),
        ("arguments", "2k1k22a1"),
        (
            "keys",
            "-ERR user_function:1: Script attempted to access nonexistent global variable 'KEYS' script: keys, on @user_function:1.",
        ),
        ("set", "-ERR user_function:1: Attempt to modify a readonly table script: set, on @user_function:1."),
        ("raw", "-ERR Attempt to modify a readonly table script: raw, on @user_function:1."),
        (
            "register",
            "-ERR user_function:1: attempt to call field 'register_function' (a nil value) script: register, on @user_function:1.",
        ),
        ("loaded", "function"),
        ("CALL", "ping"),
        ("Err", "-MY err script: err, on @user_function:1."),
        ("boo", "-ERR user_function:1: boo script: boo, on @user_function:1."),
        ("same", "-ERR redis.register_function can only be called on FUNCTION LOAD command"),
    ] {
        assert_eq!(shown(call(&mut engine, &library, name)), expected, "{name}");
    }
    assert_eq!(call(&mut engine, &library, "panic"), Outcome::Stopped(Stop::Panic));
    assert_eq!(call(&mut engine, &library, "endless"), Outcome::Stopped(Stop::Work));
}

#[test]
fn each_call_begins_with_what_loading_has_left() {
    let mut engine = Engine::new();
    let code = "local n, t = 0, {} redis.register_function('count', function() n = n + 1 t[n] = n return n .. #t end)";
    let library = load(&mut engine, code).unwrap();
    for _ in 0..3 {
        assert_eq!(shown(call(&mut engine, &library, "count")), "11");
    }
    // Nor is anything left for other libraries and for scripts.
    assert_eq!(load(&mut engine, "local x = t").err().map(|error| error.contains("'t'")), Some(true));
}

#[test]
fn loading_logs_and_is_the_same_again() {
    let mut engine = Engine::new();
    let mut host = Echo::default();
    let code = b"redis.log(redis.LOG_WARNING, 'hi', redis.REDIS_VERSION) redis.register_function('f', function() return 'x' end)";
    let first = engine.load(code, SHORT_SCRIPT_WORK, &mut host).unwrap();
    assert_eq!(host.logged, ["3 hi 7.0.15"]);
    let second = Engine::new().load(code, SHORT_SCRIPT_WORK, &mut host).unwrap();
    assert_eq!((first.work(), first.heap_bytes()), (second.work(), second.heap_bytes()));
    assert!(engine.load(code, first.work() - 1, &mut host).is_err(), "it has no work to spare");
}

#[test]
fn names_are_letters_digits_and_underscores() {
    assert!(is_name(b"aZ_09") && !is_name(b"") && !is_name(b"a-b") && !is_name("ä".as_bytes()));
}
