//! The first line of a script that says what it may do: `#!lua flags=no-writes,allow-stale`.

use crate::limits::SHEBANG_BYTES_MAX;
use crate::names::shown_text;

/// The flags of a script.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// True if the script has a first line of this kind. Without, it may do all that a script could before there were flags.
    pub has_shebang: bool,
    /// It writes nothing.
    pub no_writes: bool,
    /// It is not to be run in a cluster.
    pub no_cluster: bool,
    /// It may access keys of several slots.
    pub allow_cross_slot_keys: bool,
}

/// Reads the flags of a script, and says where its text begins: at the end of the first line, so that lines keep their numbers.
///
/// # Errors
/// Redis' texts, without a prefix.
pub fn read_flags(text: &[u8]) -> Result<(Flags, usize), String> {
    let mut flags = Flags::default();
    if !text.starts_with(b"#!") {
        return Ok((flags, 0));
    }
    flags.has_shebang = true;
    // Whoever has flags has a few: a longer line is none, and nobody looks for its end.
    let begin = &text[..text.len().min(SHEBANG_BYTES_MAX)];
    let end = begin.iter().position(|&byte| byte == b'\n').ok_or("Invalid script shebang")?;
    let line = String::from_utf8_lossy(&text[..end]);
    let mut parts = line.split(' ');
    match parts.next() {
        Some("#!lua") => {}
        engine => {
            return Err(format!("Unexpected engine in script shebang: {}", shown_text(engine.unwrap_or_default())));
        }
    }
    for part in parts.filter(|part| !part.is_empty()) {
        let Some(words) = part.strip_prefix("flags=") else {
            return Err(format!("Unknown lua shebang option: {}", shown_text(part)));
        };
        for word in words.split(',').filter(|_| !words.is_empty()) {
            match word {
                "no-writes" => flags.no_writes = true,
                "no-cluster" => flags.no_cluster = true,
                "allow-cross-slot-keys" => flags.allow_cross_slot_keys = true,
                "allow-oom" | "allow-stale" => {}
                other => return Err(format!("Unexpected flag in script shebang: {}", shown_text(other))),
            }
        }
    }
    Ok((flags, end))
}
