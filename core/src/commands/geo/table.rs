//! The commands on positions in sorted sets. Their ids are 1401 to 1419.

use basalt_storage::keyspace::Type;

use super::{facts, handlers, search};
use crate::commands::{Command, Copies, Feeds, Rows};

const MEMBERS: Rows = Rows::elements(Type::SortedSet, 2, 1);
/// Members behind their positions. A score that changes is a row that goes.
const POSITIONS: Rows = Rows::elements(Type::SortedSet, 4, 3).removed().after(&["NX", "XX", "CH"]);

const STORE: &[&str] = &["STORE", "STOREDIST"];
const STORED: Feeds = Feeds::Many(1, Some(Type::SortedSet));

const STORED_ELSEWHERE: Feeds = Feeds::Stored(Type::SortedSet);

/// The commands on positions in sorted sets.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::write(1401, &facts::GEOADD, handlers::geoadd).reads(POSITIONS).feeding(Feeds::Elements {
        kind: Type::SortedSet,
        from: 2,
        step: 3,
    }),
    Command::read(1402, &facts::GEOPOS, handlers::geopos).reads(MEMBERS),
    Command::read(1403, &facts::GEODIST, handlers::geodist).reads(MEMBERS),
    Command::read(1404, &facts::GEOHASH, handlers::geohash).reads(MEMBERS),
    Command::read(1405, &facts::GEOSEARCH, search::geosearch),
    Command::write(1406, &facts::GEOSEARCHSTORE, search::geosearchstore)
        .telling_misses()
        .copying(Copies::Sources)
        .feeding(STORED),
    Command::write(1407, &facts::GEORADIUS, search::georadius)
        .telling_misses()
        .copying(Copies::First)
        .feeding(STORED_ELSEWHERE)
        .returning()
        .changing_with(STORE)
        .reading_as(1408),
    Command::read(1408, &facts::GEORADIUS_RO, search::georadius_ro),
    Command::write(1409, &facts::GEORADIUSBYMEMBER, search::georadiusbymember)
        .telling_misses()
        .copying(Copies::First)
        .feeding(STORED_ELSEWHERE)
        .returning()
        .changing_with(STORE)
        .reading_as(1410),
    Command::read(1410, &facts::GEORADIUSBYMEMBER_RO, search::georadiusbymember_ro),
];
