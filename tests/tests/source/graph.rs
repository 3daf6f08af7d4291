//! Compares the arrows that there are with those that may be.

use std::collections::{BTreeMap, BTreeSet};

use crate::arrows::{CRATES, GRAPHS, Graph};
use crate::assert_none;
use crate::uses::{Use, between_crates, between_rooms};

#[test]
fn rooms_use_only_what_is_listed() {
    let mut problems = Vec::new();
    for graph in GRAPHS {
        problems.extend(differences(graph, &between_rooms(graph.name)));
    }
    problems.extend(differences(
        &CRATES,
        &between_crates(&["core", "core/lua", "core/rdb", "net", "raft", "storage", "bench", "tests"]),
    ));
    assert_none(&problems);
}

#[test]
fn there_is_no_circle() {
    let circles = GRAPHS.iter().chain([&CRATES]).filter_map(|graph| Some((graph.name, circle(graph)?)));
    let problems: Vec<String> =
        circles.map(|(name, rooms)| format!("{name}: a circle of {}", rooms.join(" → "))).collect();
    assert_none(&problems);
}

#[test]
#[ignore = "prints the rows of arrows.rs as the sources have them: for who moves folders, or merges branches that added some"]
fn rows_as_the_sources_have_them() {
    for graph in GRAPHS {
        println!("{}:", graph.name);
        let mut rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for used in between_rooms(graph.name) {
            rows.entry(used.from).or_default().insert(used.to);
        }
        for (from, to) in rows {
            println!("            ({from:?}, &{:?}),", to.iter().collect::<Vec<_>>());
        }
    }
}

/// Arrows that are used and not listed, and those that are listed and not used.
fn differences(graph: &Graph, uses: &[Use]) -> Vec<String> {
    let listed: BTreeSet<(&str, &str)> = graph.pairs().collect();
    let mut there: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for used in uses {
        there.entry((&used.from, &used.to)).or_insert(&used.place);
    }
    let added = there.iter().filter(|(arrow, _)| !listed.contains(*arrow)).map(|((from, to), place)| {
        format!(
            "{place}: {from} → {to} is a new arrow in {}. Let what both need stand in a room below both; or, if {from} may know {to}, \
             add \"{to}\" to the row \"{from}\" in tests/tests/source/arrows.rs",
            graph.name
        )
    });
    let gone = listed.iter().filter(|arrow| !there.contains_key(*arrow)).map(|(from, to)| {
        format!("{}: {from} → {to} is no longer there. Strike it out in tests/tests/source/arrows.rs", graph.name)
    });
    added.chain(gone).collect()
}

/// A circle of the arrows, if there is one.
fn circle(graph: &Graph) -> Option<Vec<&'static str>> {
    let mut below: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
    for (from, to) in graph.pairs().filter(|arrow| !graph.tied.contains(arrow)) {
        below.entry(from).or_default().push(to);
    }
    let mut done = BTreeSet::new();
    let rooms: Vec<&'static str> = graph.pairs().map(|(from, _)| from).collect();
    rooms.into_iter().find_map(|room| walk(room, &below, &mut Vec::new(), &mut done))
}

fn walk(
    room: &'static str,
    below: &BTreeMap<&str, Vec<&'static str>>,
    way: &mut Vec<&'static str>,
    done: &mut BTreeSet<&'static str>,
) -> Option<Vec<&'static str>> {
    if let Some(begin) = way.iter().position(|&seen| seen == room) {
        way.push(room);
        return Some(way.split_off(begin));
    }
    if done.contains(room) {
        return None;
    }
    way.push(room);
    let found = below.get(room).into_iter().flatten().find_map(|&next| walk(next, below, way, done));
    way.pop();
    done.insert(room);
    found
}

#[cfg(test)]
mod tests {
    use super::{circle, differences};
    use crate::arrows::Graph;
    use crate::uses::Use;

    const GRAPH: Graph = Graph { name: "example", arrows: &[("a", &["b", "c"]), ("b", &["c"])], tied: &[] };

    fn used(from: &str, to: &str, place: &str) -> Use {
        Use { from: from.to_owned(), to: to.to_owned(), place: place.to_owned() }
    }

    #[test]
    fn a_new_arrow_is_told_with_file_and_line_and_a_lost_one_too() {
        let uses = [used("a", "b", "a.rs:1"), used("a", "c", "a.rs:2"), used("b", "a", "b.rs:7")];
        let problems = differences(&GRAPH, &uses);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("b.rs:7: b → a is a new arrow"), "{}", problems[0]);
        assert!(problems[1].starts_with("example: b → c is no longer there"), "{}", problems[1]);
    }

    #[test]
    fn a_circle_is_found_unless_it_is_tied() {
        assert_eq!(circle(&GRAPH), None);
        let closed = Graph { arrows: &[("a", &["b"]), ("b", &["c"]), ("c", &["b"])], ..GRAPH };
        assert_eq!(circle(&closed), Some(vec!["b", "c", "b"]));
        assert_eq!(circle(&Graph { tied: &[("c", "b")], ..closed }), None);
    }
}
