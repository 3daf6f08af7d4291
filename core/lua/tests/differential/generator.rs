//! Scripts drawn at random: values of all types, calls of the library with right and wrong arguments, commands, and errors.

/// Draws scripts. A seed draws the same ones always.
pub struct Generator {
    state: u64,
}

const WORDS: &[&str] =
    &["a", "foo", "", "10", "-3", "1.5", "0x10", "nan", "hello world", "\\0z", "é", "%d+", "[a-c]*", "x=1,y=2"];
const NUMBERS: &[&str] =
    &["0", "1", "-1", "2", "3.7", "-2.5", "1e15", "1e100", "255", "65536", "4294967295", "0.1", "100000", "-0"];
const PATTERNS: &[&str] =
    &["a", ".", "%a+", "(%w)(%w)", "o*", "^h", "d$", "l-o", "[^l]+", "%s", "(l)%1", "()l", "%b()", "%f[%w]%w+", "x?"];
const COMMANDS: &[&str] = &[
    "'set',KEYS[1],V",
    "'get',KEYS[1]",
    "'incr',KEYS[1]",
    "'del',KEYS[1],KEYS[2]",
    "'rpush',KEYS[2],V,V",
    "'lrange',KEYS[2],0,-1",
    "'hset',KEYS[1],V,V",
    "'hgetall',KEYS[1]",
    "'zadd',KEYS[1],N,V",
    "'zrange',KEYS[1],0,-1,'withscores'",
    "'sadd',KEYS[2],V",
    "'scard',KEYS[2]",
    "'llen',KEYS[1]",
    "'strlen',KEYS[1]",
    "'exists',KEYS[1],KEYS[2]",
    "'type',KEYS[2]",
    "'lpop',KEYS[2]",
    "'get'",
    "'nosuch',V",
    "'set',KEYS[1],V,'nx'",
    "'zscore',KEYS[1],V",
    "'append',KEYS[1],V",
    "'getrange',KEYS[1],0,3",
    "'incrbyfloat',KEYS[1],N",
    "'mget',KEYS[1],KEYS[2]",
    "'zincrby',KEYS[1],N,V",
    "'multi'",
    "'ttl',KEYS[1]",
    "'sismember',KEYS[2],V",
    "'echo',V",
];
const CALLS: &[&str] = &[
    "string.rep(S,3)",
    "string.sub(S,I,I)",
    "string.format('%s|%d|%5.2f',S,N,N)",
    "string.format('%q',S)",
    "string.find(S,P)",
    "string.find(S,P,I)",
    "string.match(S,P)",
    "string.gsub(S,P,S)",
    "string.gsub(S,P,'<%0>')",
    "string.gsub(S,P,{a='b'})",
    "string.byte(S,1,-1)",
    "string.upper(S)",
    "string.reverse(S)",
    "#S",
    "tonumber(S)",
    "tonumber(S,16)",
    "tostring(N)",
    "tostring(B)",
    "math.floor(N)",
    "math.max(N,N)",
    "math.abs(N)",
    "math.fmod(N,N)",
    "math.modf(N)",
    "table.concat({V,V},S)",
    "select('#',V,V)",
    "select(I,V,V)",
    "unpack({V,V,V})",
    "unpack({V,V},I,I)",
    "type(V)",
    "cjson.encode(V)",
    "cjson.encode({V,V})",
    "cjson.encode({a=V})",
    "cjson.encode(N)",
    "cjson.decode(cjson.encode({V}))[1]",
    "cjson.decode(S)",
    "cjson.decode('{\"a\":[1,2,{}],\"b\":null}').a[2]",
    "redis.sha1hex(S)",
    "struct.pack('>I2hs',I,I,S)",
    "struct.unpack('<i4',S..S..S..S)",
    "struct.pack('!4bi8',I,N)",
    "struct.size('!8bd')",
    "bit.band(N,255)",
    "bit.bor(N,I)",
    "bit.tohex(N)",
    "bit.lshift(I,I)",
    "bit.arshift(N,2)",
    "bit.bnot(I)",
    "bit.rol(I,7)",
    "bit.bswap(I)",
    "cmsgpack.pack(V)",
    "cmsgpack.pack({V,V})",
    "cmsgpack.pack({a=V})",
    "cmsgpack.unpack(cmsgpack.pack(V,V))",
    "cmsgpack.unpack(S)",
    "cmsgpack.unpack_one(cmsgpack.pack(N,S))",
    "cmsgpack.unpack_limit(cmsgpack.pack(N,S,N),2)",
    "pcall(error,S)",
    "pcall(error,{err=S})",
    "pcall(redis.call,'get')",
    "redis.error_reply(S)",
    "redis.status_reply(S)",
    "rawequal(V,V)",
    "next({V})",
    "next({})",
    "string.len(V)",
    "string.char(I,I)",
    "string.lower(V)",
    "table.remove({V,V},I)",
    "(function(...) return ... end)(V,V)",
    "assert(V,S)",
    "loadstring('return '..N)()",
    "pcall(string.rep)",
    "pcall(string.format,'%d',S)",
    "tostring(cjson.null)",
    "math.huge",
    "string.format('%g',N)",
];

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % bound
    }

    fn of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth < 3 { 12 } else { 7 }) {
            0 | 1 => format!("'{}'", self.of(WORDS)),
            2 | 3 => self.of(NUMBERS).to_owned(),
            4 => self.of(&["true", "false", "nil"]).to_owned(),
            5 => "ARGV[1]".to_owned(),
            6 => "ARGV[2]".to_owned(),
            7 => format!("{{{},{}}}", self.value(depth + 1), self.value(depth + 1)),
            8 => format!("{{{},nil,{}}}", self.value(depth + 1), self.value(depth + 1)),
            9 => format!(
                "{{{}={}}}",
                self.of(&["a", "ok", "err", "double", "map", "set", "big_number"]),
                self.value(depth + 1)
            ),
            10 => "{}".to_owned(),
            _ => self.filled_call(depth + 1),
        }
    }

    fn fill(&mut self, template: &str, depth: usize) -> String {
        let mut text = String::new();
        let chars: Vec<char> = template.chars().collect();
        for (at, &char) in chars.iter().enumerate() {
            let is_alone =
                |at: usize| chars.get(at).is_none_or(|char| !char.is_alphanumeric() && *char != '_' && *char != '%');
            if !"VNSIPB".contains(char) || !is_alone(at + 1) || (at > 0 && (!is_alone(at - 1) || chars[at - 1] == '\''))
            {
                text.push(char);
                continue;
            }
            text.push_str(&match char {
                'N' => self.of(NUMBERS).to_owned(),
                'S' => format!("'{}'", self.of(WORDS)),
                'I' => self.of(&["1", "2", "-1", "0", "5", "-3", "33"]).to_owned(),
                'P' => format!("'{}'", self.of(PATTERNS)),
                'B' => self.of(&["true", "false"]).to_owned(),
                _ => self.value(depth + 1),
            });
        }
        text
    }

    fn filled_call(&mut self, depth: usize) -> String {
        let template = self.of(CALLS);
        self.fill(template, depth)
    }

    fn command(&mut self) -> String {
        let template = self.of(COMMANDS);
        let function = self.of(&["redis.call", "redis.pcall"]);
        format!("{function}({})", self.fill(template, 2))
    }

    fn statement(&mut self, depth: usize) -> String {
        match self.below(if depth < 2 { 11 } else { 6 }) {
            0 | 1 => format!("r[#r+1]={}\n", self.command()),
            2 | 3 => format!("r[#r+1]={}\n", self.value(0)),
            4 => format!("r[#r+1]=tostring(({}))\n", self.filled_call(1)).replace("tostring((", "s(("),
            5 => format!("r[#r+1]={{pcall(function() return {} end)}}\n", self.filled_call(0)),
            6 => format!("for i=1,{} do {} end\n", self.of(&["2", "3", "0"]), self.statement(depth + 1)),
            7 => format!(
                "if {} then {} else {} end\n",
                self.value(1),
                self.statement(depth + 1),
                self.statement(depth + 1)
            ),
            8 => format!("r[#r+1]={{pcall(function() {} end)}}\n", self.statement(depth + 1)),
            9 => format!("for _,v in ipairs({{{},{}}}) do r[#r+1]=v end\n", self.value(1), self.value(1)),
            _ => format!("redis.setresp({})\n", self.of(&["2", "3"])),
        }
    }

    pub fn script(&mut self) -> String {
        // An object's text has its address in it, which no two servers share.
        let mut text = "local r={} local function s(v) if type(v)=='table' or type(v)=='function' then return type(v) end return tostring(v) end\n"
            .to_owned();
        for _ in 0..1 + self.below(4) {
            text.push_str(&self.statement(0));
        }
        text.push_str(match self.below(6) {
            0 => "return r[1]",
            1 => "return r[#r]",
            _ => "return r",
        });
        text
    }
}
