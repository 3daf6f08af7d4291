//! Rust sources without what is no code of the program: comments, texts and tests.
//!
//! Line breaks stay where they are, so that a place in the code has the line number that it has in the file.

/// Blanks comments, string literals and character literals.
pub fn without_comments(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => end_of_line(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_block_comment(&chars, at),
            '"' => end_of_string(&chars, at),
            'r' if at == 0 || chars[at - 1] == 'b' || !is_word(chars[at - 1]) => end_of_raw_string(&chars, at),
            '\'' => end_of_character(&chars, at),
            _ => at,
        };
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|&char| if char == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Blanks the items behind a `#[cfg(test)]` at the beginning of a line, and returns with the rest the names of the modules that
/// such lines declare in files of their own.
pub fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let mut rest = String::with_capacity(code.len());
    let mut modules = Vec::new();
    let mut left = code;
    while let Some(begin) = find_line(left, MARK) {
        let item = &left[begin..begin + MARK.len() + item_bytes(&left[begin + MARK.len()..])];
        if item.ends_with(';') {
            modules.extend(words(item).skip_while(|&word| word != "mod").nth(1).map(str::to_owned));
        }
        rest.push_str(&left[..begin]);
        rest.extend(item.chars().map(|char| if char == '\n' { '\n' } else { ' ' }));
        left = &left[begin + item.len()..];
    }
    rest.push_str(left);
    (rest, modules)
}

/// Returns the words of `code`: names and keywords.
pub fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|char| !is_word(char)).filter(|word| !word.is_empty())
}

/// Returns whether `char` may be in a name.
pub fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn find_line(code: &str, mark: &str) -> Option<usize> {
    code.match_indices(mark).map(|(at, _)| at).find(|&at| at == 0 || code[..at].ends_with('\n'))
}

/// The length of the item at the beginning of `code`, with its attributes: up to a `;` or the end of a block outside all
/// brackets.
fn item_bytes(code: &str) -> usize {
    let mut depth = 0;
    for (at, char) in code.char_indices() {
        match char {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (char == ';' || char == '}') {
            return at + 1;
        }
    }
    code.len()
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    (at..chars.len()).find(|&at| chars[at] == '\n').unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() {
        match chars[at] {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of `r"…"` or `r#"…"#`; `r` itself where it begins no such thing.
fn end_of_raw_string(chars: &[char], r: usize) -> usize {
    let hashes = chars[r + 1..].iter().take_while(|&&char| char == '#').count();
    let quote = r + 1 + hashes;
    if chars.get(quote) != Some(&'"') {
        return r;
    }
    let ends = |&at: &usize| {
        chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|&&char| char == '#').count() == hashes
    };
    (quote + 1..chars.len()).find(ends).map_or(chars.len(), |at| at + 1 + hashes)
}

/// The end of `'x'` or `'\n'`; the quote itself where it begins a lifetime.
fn end_of_character(chars: &[char], quote: usize) -> usize {
    match chars.get(quote + 1) {
        // Neither the quote nor the backslash that is escaped ends it.
        Some('\\') => (quote + 3..chars.len()).find(|&at| chars[at] == '\'').map_or(chars.len(), |at| at + 1),
        Some(_) if chars.get(quote + 2) == Some(&'\'') => quote + 3,
        _ => quote,
    }
}

#[test]
fn comments_and_texts_are_blanked_and_lines_stay() {
    for (source, code) in [
        ("a // crate::b\nc", "a            \nc"),
        ("a /* x /* y */\n*/ b", "a             \n   b"),
        ("f(\"crate::b // \\\" \")", "f(                 )"),
        ("f(r#\"a\"b\"#, br\"c\")", "f(        , b    )"),
        ("('\"', '\\'', '\\\\', b'x')", "(   ,     ,     , b   )"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("for r in rows {}", "for r in rows {}"),
    ] {
        assert_eq!(without_comments(source), code, "of {source}");
    }
}

#[test]
fn tests_are_blanked_and_their_files_named() {
    let code = "use a;\n#[cfg(test)]\n#[path = x]\npub(crate) mod testing;\n#[cfg(test)]\nuse crate::{b, c};\nfn d() {}\n\
                #[cfg(test)]\nmod tests {\n    fn e() { [0; 4]; }\n}\nuse f;\n";
    let (rest, modules) = without_tests(code);
    assert_eq!(words(&rest).collect::<Vec<_>>(), ["use", "a", "fn", "d", "use", "f"]);
    assert_eq!(rest.matches('\n').count(), code.matches('\n').count());
    assert_eq!(modules, ["testing"]);
}
