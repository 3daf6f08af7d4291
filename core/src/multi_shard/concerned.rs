//! Keys that an encoded request concerns, and whether it writes them.

use crate::commands::{Command, CopyOptions, Kind, MultiShard, Scatter, names_other_keys, once, table};
use crate::entry::request::{self, ArgList};
use crate::entry::spanning::HeldKeys;
use crate::entry::transaction::Transaction;

/// The thing that a request concerns: a key of a database, or all keys of its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concerned<'a> {
    /// A database, and a key in it.
    Key(u8, &'a [u8]),
    /// All keys.
    All,
    /// Whatever keys it comes to access: a script may access others than it names, and so may patterns of SORT.
    Any,
}

/// Calls `visit` with all that an encoded request concerns, and whether it writes there.
pub fn visit_concerned(bytes: &[u8], visit: &mut dyn FnMut(Concerned<'_>, bool)) {
    let Some(command) = request::command_id(bytes).and_then(table::by_id) else { return };
    if matches!(command.kind, Kind::Transaction) {
        let members = Transaction::read(bytes).into_iter().flat_map(|transaction| transaction.commands());
        return members.flatten().for_each(|member| visit_concerned(member, visit));
    }
    let is_write = match command.kind {
        Kind::Read(_) => false,
        Kind::Write(_) => true,
        _ => return,
    };
    let mut args = ArgList::new();
    args.push(command.name().as_bytes());
    let Some(header) = request::decode(bytes, &mut args) else { return };
    let (command, args) = match once::inner(command, &args) {
        Some((inner, args)) if inner.id != command.id => (inner, args),
        _ => (command, &args[..]),
    };
    let mut has_keys = false;
    for (number, position) in command.keys(args).enumerate() {
        has_keys = true;
        visit(Concerned::Key(database(command, args, header.db, number), args[position]), is_write);
    }
    if let (Some(db), Some(position)) = (command.database_in(args), command.keys(args).next()) {
        visit(Concerned::Key(db, args[position]), is_write);
    }
    if command.is_undoable || names_other_keys(command, args) {
        visit(Concerned::Any, is_write);
    } else if !has_keys && (is_write || command.concerns_all_shards()) {
        visit(Concerned::All, is_write);
    }
}

/// The database of a command's key with this number: COPY may have its second one in another.
fn database(command: &Command, args: &[&[u8]], db: u8, number: usize) -> u8 {
    let is_copy = matches!(command.scatter, Scatter::MultiShard(MultiShard::Copy));
    if !is_copy || number == 0 {
        return db;
    }
    CopyOptions::read(args, db).map_or(db, |options| options.db)
}

/// Adds to `held` all that an encoded command concerns: what it writes, or all if it writes something at all, exclusively.
pub fn hold_concerned(bytes: &[u8], held: &mut HeldKeys) {
    visit_concerned(bytes, &mut |concerned, is_write| match concerned {
        Concerned::Key(db, key) => held.add(db, key, is_write),
        Concerned::All | Concerned::Any => held.add_all(is_write),
    });
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use super::*;
    use crate::entry::request::RequestHeader;

    fn encoded(line: &str) -> Vec<u8> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = table::find(&args).expect("a command");
        let mut bytes = Vec::new();
        request::encode(&mut bytes, RequestHeader::new(Protocol::Resp2, 3, command.id), args[1..].iter().copied());
        bytes
    }

    #[test]
    fn a_request_concerns_its_keys_or_all() {
        for (line, keys, whole) in [
            ("get a", "3 a r", None),
            ("mset a 1 b 2", "3 a w,3 b w", None),
            ("sunionstore a b c", "3 a w,3 b w,3 c w", None),
            ("copy a b db 5", "3 a w,5 b w", None),
            ("copy a b", "3 a w,3 b w", None),
            ("move a 5", "3 a w,5 a w", None),
            ("move a x", "3 a w", None),
            ("basalt once 1-c 1 copy a b db 5", "3 a w,5 b w", None),
            ("basalt once 1-c 1 set a v", "3 a w", None),
            ("dbsize", "", Some(false)),
            ("flushall", "", Some(true)),
            ("object encoding a", "3 a r", None),
        ] {
            let mut held = HeldKeys::default();
            hold_concerned(&encoded(line), &mut held);
            let texts = held.keys.iter().map(|held| {
                let way = if held.is_exclusive { "w" } else { "r" };
                format!("{} {} {way}", held.db, String::from_utf8_lossy(&held.key))
            });
            assert_eq!((texts.collect::<Vec<_>>().join(",").as_str(), held.whole), (keys, whole), "{line}");
        }
    }
}
