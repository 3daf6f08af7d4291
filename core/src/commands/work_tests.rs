//! Work of commands, as a script that calls them pays for it, pinned to the version of the batch.
//!
//! A script is stopped for what its commands read and change. If one of them read a row more or less than before, a replica with
//! another version of the program would stop the script at another point, and have other rows from then on: such a change takes a
//! new version of the batch.

use basalt_storage::{MemoryRows, Rows as _, Trial};

use super::testing::Shard;

#[test]
fn commands_are_as_much_work_as_those_of_the_batchs_version() {
    let below = MemoryRows::default();
    let mut shard = Shard::over(Trial::new(&below, usize::MAX).counting_kept(true));
    // A row that is looked for or changed is 40, one that a scan visits 15, beside 40 for the scan.
    for (db, line, expected) in [
        (0, "ZADD z 1 a", Some(120)),
        (0, "ZADD z 2 a 3 b", Some(80)),
        (0, "ZADD z 2 a", Some(40)),
        (0, "ZADD z NX 1 a", Some(40)),
        (0, "ZINCRBY z 1 a", Some(80)),
        (0, "ZADD none XX 1 a", Some(40)),
        (0, "GEOADD places 13.5 38.5 here", Some(120)),
        (0, "EXISTS z none", Some(80)),
        (0, "TOUCH z none", Some(80)),
        (0, "OBJECT IDLETIME z", Some(40)),
        (1, "HSET h f v g v", None),
        (1, "HPEXPIRE h 100000 FIELDS 1 f", None),
        // An index of deadlines goes as a range if no other database may have some.
        (2, "FLUSHDB", Some(80)),
        (1, "FLUSHDB", Some(175)),
        (0, "FLUSHDB", Some(120)),
    ] {
        shard.db = db;
        let before = shard.rows.work();
        let reply = shard.line(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        if let Some(expected) = expected {
            assert_eq!(shard.rows.work() - before, expected, "{line}");
        }
    }
}
