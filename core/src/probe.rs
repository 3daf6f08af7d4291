//! Which rows a request will read that are not in memory, looked for before it joins a batch.
//!
//! Every command's keys are looked for, and the elements of the commonest commands that write to a few elements of what may be a
//! huge collection. What others read beyond their keys (SPOP, LREM, LTRIM, ZPOPMIN, ZREMRANGEBY…, XDEL, the …STORE commands) is
//! waited for while it is applied.

use basalt_storage::Result;
use basalt_storage::keyspace::{ColdRows, End, Keyspace, Type};

use crate::commands::Args;
use crate::commands::table::Command;
use crate::limits::PROBED_ROWS_MAX;

/// The rows that `command` with `args` needs and that are not in memory, as far as is known before it runs. `keyspace` must not wait for
/// the disk.
///
/// # Errors
/// As the reads; a request that will be refused is no reason to wait.
pub fn cold_rows(keyspace: &Keyspace<'_>, command: &Command, args: Args<'_>) -> Result<ColdRows> {
    let mut cold = ColdRows::new();
    match elements(command.name(), args) {
        Some(Elements::Names(kind, first, step)) => {
            let names = args.iter().skip(first).step_by(step).take(PROBED_ROWS_MAX).copied();
            keyspace.cold_names(args[1], kind, names, &mut cold)?;
        }
        Some(Elements::End(end, count)) => {
            keyspace.cold_end(args[1], end, count.min(PROBED_ROWS_MAX as u64), &mut cold)?;
        }
        None => {
            for position in command.keys(args).take(PROBED_ROWS_MAX) {
                keyspace.cold_key(args[position], &mut cold)?;
            }
        }
    }
    Ok(cold)
}

/// Elements of the collection at the first key that a command reads.
enum Elements {
    /// Names: the first one's place among the arguments, and the step from one to the next.
    Names(Type, usize, usize),
    /// So many at an end of a list.
    End(End, u64),
}

fn elements(command: &str, args: Args<'_>) -> Option<Elements> {
    if args.len() < 2 {
        return None;
    }
    let count = || match args.get(2) {
        None => Some(1),
        Some(count) => std::str::from_utf8(count).ok()?.parse().ok(),
    };
    Some(match command {
        "hset" | "hmset" => Elements::Names(Type::Hash, 2, 2),
        "hsetnx" | "hincrby" => Elements::Names(Type::Hash, 2, args.len()),
        "hdel" => Elements::Names(Type::Hash, 2, 1),
        "sadd" | "srem" => Elements::Names(Type::Set, 2, 1),
        "zrem" => Elements::Names(Type::SortedSet, 2, 1),
        "zincrby" => Elements::Names(Type::SortedSet, 3, args.len()),
        "zadd" => {
            let options = args[2..].iter().take_while(|arg| is_zadd_option(arg)).count();
            Elements::Names(Type::SortedSet, 3 + options, 2)
        }
        "lpop" => Elements::End(End::Head, count()?),
        "rpop" => Elements::End(End::Tail, count()?),
        _ => return None,
    })
}

fn is_zadd_option(arg: &[u8]) -> bool {
    ["NX", "XX", "GT", "LT", "CH", "INCR"].iter().any(|option| arg.eq_ignore_ascii_case(option.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::commands;

    /// What is looked for before the command `line` runs.
    fn looked_for(line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let name = line.split(' ').next().unwrap().to_ascii_lowercase();
        assert!(commands().any(|command| command.name() == name), "there is no command {name}");
        match elements(&name, &args) {
            None => "keys".to_owned(),
            Some(Elements::Names(kind, first, step)) => {
                let names = args.iter().skip(first).step_by(step).map(|name| String::from_utf8_lossy(name));
                format!("{kind:?}: {}", names.collect::<Vec<_>>().join(" "))
            }
            Some(Elements::End(End::Head, count)) => format!("head: {count}"),
            Some(Elements::End(End::Tail, count)) => format!("tail: {count}"),
        }
    }

    #[test]
    fn elements_are_found_among_the_arguments() {
        for (line, expected) in [
            ("HSET h f 1 g 2", "Hash: f g"),
            ("HMSET h f 1", "Hash: f"),
            ("HSETNX h f 1", "Hash: f"),
            ("HINCRBY h f 1", "Hash: f"),
            ("HDEL h f g", "Hash: f g"),
            ("SADD s a b", "Set: a b"),
            ("SREM s a b", "Set: a b"),
            ("ZADD z 1 a 2 b", "SortedSet: a b"),
            ("ZADD z nx CH 1 a", "SortedSet: a"),
            ("ZINCRBY z 1 a", "SortedSet: a"),
            ("ZREM z a b", "SortedSet: a b"),
            ("LPOP l", "head: 1"),
            ("RPOP l 20", "tail: 20"),
            ("RPOP l x", "keys"),
            ("SET k v", "keys"),
            ("SADD", "keys"),
            ("HSETNX h", "Hash: "),
        ] {
            assert_eq!(looked_for(line), expected, "{line}");
        }
    }
}
