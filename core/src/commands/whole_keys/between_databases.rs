//! MOVE and SWAPDB, and what a node in a cluster has not: other databases than the first.

use basalt_net::resp::Reply;
use basalt_storage::DATABASE_COUNT;
use basalt_storage::keyspace::EventClasses;

use crate::commands::keys::parse_db;
use crate::commands::{Args, Command, CommandError, Context, CopyOptions, MultiShard, Scatter, parse_i64};

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

/// `SWAPDB index1 index2`, on one shard
pub(super) fn swapdb(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), CommandError> {
    let first = parse_index(args[1], "ERR invalid first DB index")?;
    let second = parse_index(args[2], "ERR invalid second DB index")?;
    let database = |index: i32| u8::try_from(index).ok().filter(|db| usize::from(*db) < DATABASE_COUNT);
    let (Some(first), Some(second)) = (database(first), database(second)) else {
        return Err(CommandError::text("ERR DB index is out of range"));
    };
    context.keyspace.swap_databases(first, second);
    reply.ok();
    Ok(())
}

/// Reads the number of a database, or of none that there is.
fn parse_index(arg: &[u8], invalid: &'static str) -> Result<i32, CommandError> {
    let number = parse_i64(arg).ok().and_then(|number| i32::try_from(number).ok());
    number.ok_or(CommandError::text(invalid))
}

/// The reason that a node in a cluster does not run a call in database `db`: it concerns another one, or another server. Without
/// the prefix.
pub fn why_not_in_cluster(command: &Command, args: Args<'_>, db: u8) -> Option<&'static str> {
    if command.names_database() {
        return Some("MOVE is not allowed in cluster mode");
    }
    if command.swaps_databases {
        return Some("SWAPDB is not allowed in cluster mode");
    }
    if command.migrates {
        return Some("MIGRATE is not allowed in cluster mode");
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

    #[test]
    fn databases_exchange_all_that_they_hold() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("HSET h f v", ":1"),
                ("EXPIRE h 100", ":1"),
                ("RPUSH l a b c", ":3"),
                ("COPY l l DB 2", ":1"),
                ("SWAPDB x 99", "-ERR invalid first DB index"),
                ("SWAPDB 01 1", "-ERR invalid first DB index"),
                ("SWAPDB 3000000000 1", "-ERR invalid first DB index"),
                ("SWAPDB 99 x", "-ERR invalid second DB index"),
                ("SWAPDB 0 16", "-ERR DB index is out of range"),
                ("SWAPDB -1 0", "-ERR DB index is out of range"),
                ("SWAPDB 0 0", "+OK"),
                ("DBSIZE", ":2"),
                ("SWAPDB 0 1", "+OK"),
                ("DBSIZE", ":0"),
                ("EXISTS h l", ":0"),
                ("SET s v", "+OK"),
                ("MOVE s 1", ":1"),
                ("SWAPDB 2 0", "+OK"),
                ("LRANGE l 0 -1", "*3 $1 a $1 b $1 c"),
                ("RENAME l m", "+OK"),
                ("FLUSHDB", "+OK"),
                ("DBSIZE", ":0"),
            ],
        );
        shard.db = 1;
        shard.expect(
            Protocol::Resp2,
            &[
                ("DBSIZE", ":3"),
                ("HGET h f", "$1 v"),
                ("TTL h", ":100"),
                ("GET s", "$1 v"),
                ("LINDEX l 2", "$1 c"),
                ("SWAPDB 1 0", "+OK"),
                ("DBSIZE", ":0"),
                ("SWAPDB 1 0", "+OK"),
                ("DBSIZE", ":3"),
                ("FLUSHALL", "+OK"),
                ("DBSIZE", ":0"),
                ("SET s w", "+OK"),
                ("DBSIZE", ":1"),
            ],
        );
    }
}
