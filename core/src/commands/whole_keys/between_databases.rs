//! MOVE, and what a node in a cluster has not: other databases than the first.

use basalt_net::resp::Reply;
use basalt_storage::keyspace::EventClasses;

use crate::commands::keys::parse_db;
use crate::commands::{Args, Command, CommandError, Context, CopyOptions, MultiShard, Scatter};

/// `MOVE key db`
pub(super) fn r#move(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let keyspace = &mut context.keyspace;
    let (from_db, to_db) = (keyspace.db(), parse_db(args[2])?);
    if from_db == to_db {
        return Err(CommandError::text("ERR source and destination objects are the same"));
    }
    if !keyspace.exists(args[1])? {
        reply.integer(0);
        return Ok(());
    }
    keyspace.select(to_db);
    let is_taken = keyspace.exists(args[1]);
    keyspace.select(from_db);
    if is_taken? {
        reply.integer(0);
        return Ok(());
    }
    keyspace.copy_key(args[1], to_db, args[1])?;
    keyspace.delete(args[1])?;
    keyspace.notify(EventClasses::GENERIC, "move_from", args[1]);
    keyspace.select(to_db);
    keyspace.notify(EventClasses::GENERIC, "move_to", args[1]);
    keyspace.select(from_db);
    reply.integer(1);
    Ok(())
}

/// The reason that a node in a cluster does not run a call in database `db`: it concerns another one. Without the prefix.
pub fn why_not_in_cluster(command: &Command, args: Args<'_>, db: u8) -> Option<&'static str> {
    if command.names_database() {
        return Some("MOVE is not allowed in cluster mode");
    }
    let is_copy = matches!(command.scatter, Scatter::MultiShard(MultiShard::Copy));
    let leaves = is_copy && CopyOptions::read(args, db).is_ok_and(|options| options.db != db);
    leaves.then_some("Copying to another database is not allowed in cluster mode")
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::testing::Shard;

    #[test]
    fn keys_move_to_another_database_with_what_they_hold() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("HSET h f v", ":1"),
                ("EXPIRE h 100", ":1"),
                ("SET s v", "+OK"),
                ("MOVE h 1", ":1"),
                ("EXISTS h", ":0"),
                ("MOVE h 1", ":0"),
                ("HSET h f w", ":1"),
                ("MOVE h 1", ":0"),
                ("HGET h f", "$1 w"),
                ("MOVE none 1", ":0"),
                ("MOVE s 0", "-ERR source and destination objects are the same"),
                ("MOVE none 0", "-ERR source and destination objects are the same"),
                ("MOVE s 16", "-ERR DB index is out of range"),
                ("MOVE s -1", "-ERR DB index is out of range"),
                ("MOVE s x", "-ERR value is not an integer or out of range"),
                ("MOVE s 3000000000", "-ERR value is out of range, value must between -2147483648 and 2147483647"),
                ("DBSIZE", ":2"),
            ],
        );
        shard.db = 1;
        shard.expect(
            Protocol::Resp2,
            &[("HGET h f", "$1 v"), ("TTL h", ":100"), ("DBSIZE", ":1"), ("MOVE h 15", ":1"), ("DBSIZE", ":0")],
        );
    }
}
