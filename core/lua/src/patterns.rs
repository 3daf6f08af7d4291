//! Lua's patterns: `string.find`, `match`, `gmatch` and `gsub`.
//!
//! They do what those of Lua 5.1 do, where a pattern ends at a zero; but a match may call itself so often only, and each step is
//! work, that through the signs of a set, too.

use std::ops::Range;
use std::rc::Rc;

use crate::limits::{BYTES_PER_WORK, PATTERN_DEPTH_MAX, STEPS_PER_WORK};
use crate::stack::{Raised, Stack, Type, to_int};

/// Captures of a pattern.
const CAPTURES: usize = 32;

/// A part that a pattern captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Capture {
    /// Its end was not found yet.
    Open(usize),
    /// The place itself, as `()` captures it.
    Position(usize),
    /// From here to there.
    Part(usize, usize),
}

/// A pattern that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    range: Range<usize>,
    captures: Vec<Capture>,
}

struct Matcher<'a> {
    text: &'a [u8],
    /// Up to its first zero.
    pattern: &'a [u8],
    captures: Vec<Capture>,
    depth: usize,
    steps_left: u64,
}

/// The reason that a pattern cannot be matched.
type Malformed = &'static str;

const TOO_MUCH_WORK: Malformed = "too much work";

impl<'a> Matcher<'a> {
    fn new(text: &'a [u8], pattern: &'a [u8], steps_left: u64) -> Matcher<'a> {
        Matcher { text, pattern, captures: Vec::new(), depth: 0, steps_left }
    }

    fn step(&mut self) -> Result<(), Malformed> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(TOO_MUCH_WORK)?;
        Ok(())
    }

    /// The byte of the pattern at `at`; zero behind its end.
    fn sign(&self, at: usize) -> u8 {
        self.pattern.get(at).copied().unwrap_or(0)
    }

    /// Looks for the pattern, from its byte `begin` on, at `from` of the text.
    fn match_at(&mut self, from: usize, begin: usize) -> Result<Option<usize>, Malformed> {
        self.captures.clear();
        self.depth = 0;
        self.go(from, begin)
    }

    /// Looks for the rest of the pattern at `at`; gives the end of what it matches.
    fn go(&mut self, at: usize, rest: usize) -> Result<Option<usize>, Malformed> {
        self.depth += 1;
        if self.depth > PATTERN_DEPTH_MAX {
            return Err("pattern too complex");
        }
        let found = self.go_on(at, rest);
        self.depth -= 1;
        found
    }

    fn go_on(&mut self, mut at: usize, mut rest: usize) -> Result<Option<usize>, Malformed> {
        loop {
            self.step()?;
            if rest >= self.pattern.len() {
                return Ok(Some(at));
            }
            match (self.pattern[rest], self.sign(rest + 1)) {
                (b'(', b')') => return self.capture(Capture::Position(at), at, rest + 2),
                (b'(', _) => return self.capture(Capture::Open(at), at, rest + 1),
                (b')', _) => return self.close_capture(at, rest + 1),
                (b'%', b'b') => {
                    let Some(end) = self.balance(at, rest + 2)? else { return Ok(None) };
                    (at, rest) = (end, rest + 4);
                    continue;
                }
                (b'%', b'f') => {
                    rest += 2;
                    if self.sign(rest) != b'[' {
                        return Err("missing '[' after '%f' in pattern");
                    }
                    let end = self.class_end(rest)?;
                    let before = if at == 0 { 0 } else { self.text[at - 1] };
                    let here = self.text.get(at).copied().unwrap_or(0);
                    if self.is_in_set(before, rest, end - 1) || !self.is_in_set(here, rest, end - 1) {
                        return Ok(None);
                    }
                    rest = end;
                    continue;
                }
                (b'%', digit @ b'0'..=b'9') => {
                    let Some(end) = self.again(at, digit)? else { return Ok(None) };
                    (at, rest) = (end, rest + 2);
                    continue;
                }
                (b'$', _) if rest + 1 == self.pattern.len() => {
                    return Ok((at == self.text.len()).then_some(at));
                }
                _ => {}
            }
            let end = self.class_end(rest)?;
            let is_match = at < self.text.len() && self.is_single(self.text[at], rest, end);
            match self.sign(end) {
                b'?' => {
                    if is_match && let Some(found) = self.go(at + 1, end + 1)? {
                        return Ok(Some(found));
                    }
                    rest = end + 1;
                }
                b'*' => return self.expand_most(at, rest, end),
                b'+' => return if is_match { self.expand_most(at + 1, rest, end) } else { Ok(None) },
                b'-' => return self.expand_least(at, rest, end),
                _ if !is_match => return Ok(None),
                _ => (at, rest) = (at + 1, end),
            }
        }
    }

    fn expand_most(&mut self, at: usize, single: usize, end: usize) -> Result<Option<usize>, Malformed> {
        let mut count = 0;
        while at + count < self.text.len() && self.is_single(self.text[at + count], single, end) {
            self.step()?;
            count += 1;
        }
        loop {
            if let Some(found) = self.go(at + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn expand_least(&mut self, mut at: usize, single: usize, end: usize) -> Result<Option<usize>, Malformed> {
        loop {
            if let Some(found) = self.go(at, end + 1)? {
                return Ok(Some(found));
            }
            if at >= self.text.len() || !self.is_single(self.text[at], single, end) {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn capture(&mut self, capture: Capture, at: usize, rest: usize) -> Result<Option<usize>, Malformed> {
        if self.captures.len() >= CAPTURES {
            return Err("too many captures");
        }
        let count = self.captures.len();
        self.captures.push(capture);
        let found = self.go(at, rest)?;
        if found.is_none() {
            self.captures.truncate(count);
        }
        Ok(found)
    }

    fn close_capture(&mut self, at: usize, rest: usize) -> Result<Option<usize>, Malformed> {
        let open = self.captures.iter().rposition(|capture| matches!(capture, Capture::Open(_)));
        let index = open.ok_or("invalid pattern capture")?;
        let Capture::Open(begin) = self.captures[index] else { unreachable!("it was looked for") };
        self.captures[index] = Capture::Part(begin, at);
        let found = self.go(at, rest)?;
        if found.is_none() {
            self.captures[index] = Capture::Open(begin);
        }
        Ok(found)
    }

    /// The end of what `%b` matches at `at`.
    fn balance(&mut self, at: usize, signs: usize) -> Result<Option<usize>, Malformed> {
        let (open, close) = (self.sign(signs), self.sign(signs + 1));
        if open == 0 || close == 0 {
            return Err("unbalanced pattern");
        }
        if self.text.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for place in at + 1..self.text.len() {
            self.step()?;
            let byte = self.text[place];
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(place + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// The end of what `%1` matches at `at`: what was captured, once more.
    fn again(&mut self, at: usize, digit: u8) -> Result<Option<usize>, Malformed> {
        let index = usize::from(digit).checked_sub(usize::from(b'1'));
        let part = match index.and_then(|index| self.captures.get(index)) {
            Some(&Capture::Part(begin, end)) => begin..end,
            // Lua takes the length of a position for a very large one.
            Some(Capture::Position(_)) => return Ok(None),
            _ => return Err("invalid capture index"),
        };
        let length = part.len();
        let steps = (length * STEPS_PER_WORK / BYTES_PER_WORK) as u64;
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(TOO_MUCH_WORK)?;
        let is_same = self.text.get(at..at + length).is_some_and(|here| *here == self.text[part]);
        Ok(is_same.then_some(at + length))
    }

    /// The end of the single character, class or set at `at` of the pattern.
    fn class_end(&mut self, at: usize) -> Result<usize, Malformed> {
        let mut next = at + 1;
        match self.pattern[at] {
            b'%' if next >= self.pattern.len() => Err("malformed pattern (ends with '%')"),
            b'%' => Ok(next + 1),
            b'[' => {
                if self.sign(next) == b'^' {
                    next += 1;
                }
                loop {
                    self.step()?;
                    // The first `]` is one of the set.
                    let sign = self.sign(next);
                    if next >= self.pattern.len() {
                        return Err("malformed pattern (missing ']')");
                    }
                    next += 1;
                    if sign == b'%' && next < self.pattern.len() {
                        next += 1;
                    }
                    if self.sign(next) == b']' {
                        return Ok(next + 1);
                    }
                }
            }
            _ => Ok(next),
        }
    }

    /// Returns whether `byte` is what the pattern has from `at` to `end`.
    fn is_single(&mut self, byte: u8, at: usize, end: usize) -> bool {
        match self.pattern[at] {
            b'.' => true,
            b'%' => is_of_class(byte, self.sign(at + 1)),
            b'[' => self.is_in_set(byte, at, end - 1),
            sign => sign == byte,
        }
    }

    /// Returns whether `byte` is in the set whose brackets are at `at` and `end`.
    fn is_in_set(&mut self, byte: u8, mut at: usize, end: usize) -> bool {
        // Who has no steps left learns it at the next one.
        self.steps_left = self.steps_left.saturating_sub((end - at) as u64);
        let mut is_wanted = true;
        if self.sign(at + 1) == b'^' {
            is_wanted = false;
            at += 1;
        }
        at += 1;
        while at < end {
            let sign = self.sign(at);
            if sign == b'%' {
                at += 1;
                if is_of_class(byte, self.sign(at)) {
                    return is_wanted;
                }
            } else if self.sign(at + 1) == b'-' && at + 2 < end {
                at += 2;
                if sign <= byte && byte <= self.sign(at) {
                    return is_wanted;
                }
            } else if sign == byte {
                return is_wanted;
            }
            at += 1;
        }
        !is_wanted
    }
}

fn is_of_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    if class.is_ascii_uppercase() { !is_in } else { is_in }
}

/// Steps that a script may take in a match.
fn steps_left(stack: &mut Stack) -> u64 {
    stack.budget().work_left.saturating_mul(STEPS_PER_WORK as u64)
}

/// A text and a pattern, which ends where it has a zero.
struct Search {
    text: Rc<[u8]>,
    pattern: Rc<[u8]>,
    pattern_end: usize,
    /// The first byte of the pattern that is matched.
    begin: usize,
}

impl Search {
    /// Those of the strings at 1 and 2. If the pattern `may_anchor`, a sign for that is none of it.
    fn new(stack: &mut Stack, may_anchor: bool) -> Result<Search, Raised> {
        let text = stack.as_string_argument(1)?;
        let pattern = stack.string_argument(2)?;
        let pattern_end = memchr::memchr(0, &pattern).unwrap_or(pattern.len());
        let begin = usize::from(may_anchor && pattern[..pattern_end].first() == Some(&b'^'));
        Ok(Search { text, pattern, pattern_end, begin })
    }

    fn is_anchored(&self) -> bool {
        self.begin > 0
    }

    /// Looks for the pattern in the text at `from`, and behind if not `there` alone.
    fn find(&self, stack: &mut Stack, from: usize, there: bool) -> Result<Option<Found>, Raised> {
        let steps = steps_left(stack);
        let mut matcher = Matcher::new(&self.text, &self.pattern[..self.pattern_end], steps);
        let mut found = Ok(None);
        let last = if there { from } else { self.text.len() };
        for at in from..=last {
            match matcher.match_at(at, self.begin) {
                Ok(None) => {}
                Ok(Some(end)) => {
                    found = Ok(Some(Found { range: at..end, captures: std::mem::take(&mut matcher.captures) }));
                    break;
                }
                Err(reason) => {
                    found = Err(reason);
                    break;
                }
            }
        }
        // A match that ends in an error has taken its steps as well.
        let used = (steps - matcher.steps_left) / STEPS_PER_WORK as u64;
        stack.pay(1 + used as usize)?;
        match found {
            Err(TOO_MUCH_WORK) => Err(stack.machine.stop(crate::Stop::Work)),
            Err(reason) => Err(stack.error(reason)),
            Ok(found) => Ok(found),
        }
    }

    /// The part of the text that a capture has; `None` for the place itself. Of a pattern without captures, all that was found
    /// is the first.
    fn capture(&self, stack: &mut Stack, found: &Found, index: usize) -> Result<Captured, Raised> {
        match found.captures.get(index) {
            Some(&Capture::Part(begin, end)) => Ok(Captured::Part(begin..end)),
            Some(&Capture::Position(at)) => Ok(Captured::Position(at + 1)),
            Some(Capture::Open(_)) => Err(stack.error("unfinished capture")),
            None if index == 0 => Ok(Captured::Part(found.range.clone())),
            None => Err(stack.error("invalid capture index")),
        }
    }

    fn push_capture(&self, stack: &mut Stack, found: &Found, index: usize) -> Result<(), Raised> {
        match self.capture(stack, found, index)? {
            Captured::Part(range) => stack.push_bytes(&self.text[range]),
            Captured::Position(place) => stack.push_number(place as f64),
        }
        Ok(())
    }

    /// Pushes all captures; without any, all that was found, if that is wanted.
    fn push_captures(&self, stack: &mut Stack, found: &Found, or_whole: bool) -> Result<usize, Raised> {
        let count = if found.captures.is_empty() && or_whole { 1 } else { found.captures.len() };
        if !stack.has_room(count) {
            return Err(stack.error("stack overflow (too many captures)"));
        }
        for index in 0..count {
            self.push_capture(stack, found, index)?;
        }
        Ok(count)
    }
}

/// A capture of what was found.
enum Captured {
    Part(Range<usize>),
    Position(usize),
}

fn find_or_match(stack: &mut Stack, is_find: bool) -> Result<usize, Raised> {
    let search = Search::new(stack, true)?;
    let length = search.text.len();
    let init = stack.integer_argument_or(3, 1)?;
    let init = if init >= 0 { init } else { init.saturating_add(length as i64 + 1).max(0) };
    let from = usize::try_from(init - 1).unwrap_or(0).min(length);
    let is_plain = stack.boolean(4);
    let signs = &search.pattern[..search.pattern_end];
    // Each is compared with all that mean something.
    stack.pay(if is_find { signs.len() / 4 } else { 0 })?;
    if is_find && (is_plain || !signs.iter().any(|sign| b"^$*+?.([%-".contains(sign))) {
        // Without a bound for what is searched for it would be the product of both lengths; it is their sum.
        // One byte is looked for in many at once.
        let bytes_per_work = if search.pattern.len() <= 1 { BYTES_PER_WORK / 2 } else { 4 };
        stack.pay((length - from) / bytes_per_work + search.pattern.len() / 4)?;
        let Some(at) = memchr::memmem::find(&search.text[from..], &search.pattern) else {
            stack.push_nil();
            return Ok(1);
        };
        stack.push_number((from + at + 1) as f64);
        stack.push_number((from + at + search.pattern.len()) as f64);
        return Ok(2);
    }
    let Some(found) = search.find(stack, from, search.is_anchored())? else {
        stack.push_nil();
        return Ok(1);
    };
    if is_find {
        stack.push_number((found.range.start + 1) as f64);
        stack.push_number(found.range.end as f64);
        return Ok(2 + search.push_captures(stack, &found, false)?);
    }
    search.push_captures(stack, &found, true)
}

/// `string.find`.
pub(crate) fn find(stack: &mut Stack) -> Result<usize, Raised> {
    find_or_match(stack, true)
}

/// `string.match`.
pub(crate) fn matches(stack: &mut Stack) -> Result<usize, Raised> {
    find_or_match(stack, false)
}

/// `string.gmatch`: gives a function that finds the next match each time.
pub(crate) fn gmatch(stack: &mut Stack) -> Result<usize, Raised> {
    stack.as_string_argument(1)?;
    stack.as_string_argument(2)?;
    stack.set_top(2);
    stack.push_number(0.0);
    stack.push_closure(crate::functions::number_of("next match"), 3);
    Ok(1)
}

/// The function that [`gmatch`] gives.
pub(crate) fn next_match(stack: &mut Stack) -> Result<usize, Raised> {
    stack.set_top(0);
    for index in 0..3 {
        stack.push_upvalue(index);
    }
    let from = stack.number(3).unwrap_or_default() as usize;
    stack.set_top(2);
    let search = Search::new(stack, false)?;
    if from > search.text.len() {
        return Ok(0);
    }
    let Some(found) = search.find(stack, from, false)? else { return Ok(0) };
    let next = found.range.end + usize::from(found.range.is_empty());
    stack.push_number(next as f64);
    stack.set_upvalue(2);
    search.push_captures(stack, &found, true)
}

/// `string.gsub`.
pub(crate) fn gsub(stack: &mut Stack) -> Result<usize, Raised> {
    let search = Search::new(stack, true)?;
    match stack.kind(3) {
        Type::Number | Type::String | Type::Table | Type::Function => {}
        _ => return Err(stack.bad_argument(3, "string/function/table expected")),
    }
    let length = search.text.len();
    let count_max = i64::from(to_int(stack.number_argument_or(4, (length + 1) as f64)?));
    stack.set_top(3);
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    while count < count_max {
        let found = search.find(stack, at, true)?;
        if let Some(found) = &found {
            count += 1;
            add_replacement(stack, &search, found, &mut out)?;
        }
        match found {
            Some(found) if !found.range.is_empty() => at = found.range.end,
            _ if at < length => {
                out.push(search.text[at]);
                at += 1;
            }
            _ => break,
        }
        if search.is_anchored() {
            break;
        }
    }
    stack.append(&mut out, &search.text[at..])?;
    stack.push_bytes(&out);
    stack.push_number(count as f64);
    Ok(2)
}

/// Adds to `out` what the argument 3 has in the place of what was found.
fn add_replacement(stack: &mut Stack, search: &Search, found: &Found, out: &mut Vec<u8>) -> Result<(), Raised> {
    match stack.kind(3) {
        Type::Function => {
            stack.push_copy(3);
            let arguments = search.push_captures(stack, found, true)?;
            stack.call(arguments as i32, Some(1))?;
        }
        Type::Table => {
            search.push_capture(stack, found, 0)?;
            stack.get_by_metamethods(3)?;
        }
        _ => return add_text(stack, search, found, out),
    }
    if !stack.boolean(-1) {
        stack.append(out, &search.text[found.range.clone()])?;
    } else if let Some(bytes) = stack.text(-1) {
        stack.append(out, &bytes)?;
    } else {
        let text = format!("invalid replacement value (a {})", stack.kind_name(-1));
        return Err(stack.error(&text));
    }
    stack.pop(1);
    Ok(())
}

/// Adds the string 3, in which `%1` and the like stand for captures.
fn add_text(stack: &mut Stack, search: &Search, found: &Found, out: &mut Vec<u8>) -> Result<(), Raised> {
    let text = stack.text(3).unwrap_or_default();
    let mut at = 0;
    while at < text.len() {
        let plain = memchr::memchr(b'%', &text[at..]).unwrap_or(text.len() - at);
        stack.append(out, &text[at..at + plain])?;
        at += plain;
        if at >= text.len() {
            break;
        }
        match text.get(at + 1).copied().unwrap_or(0) {
            b'0' => stack.append(out, &search.text[found.range.clone()])?,
            digit @ b'1'..=b'9' => match search.capture(stack, found, usize::from(digit - b'1'))? {
                Captured::Part(range) => stack.append(out, &search.text[range])?,
                Captured::Position(place) => stack.append(out, place.to_string().as_bytes())?,
            },
            other => stack.append(out, &[other])?,
        }
        at += 2;
    }
    Ok(())
}
