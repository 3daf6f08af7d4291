//! Connections that are cut.

use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::node::{ANSWER, Node};
use super::proxy::{Fate, Proxy};
use super::source::{PATIENCE, Source, patient, rows, sender, until, wait};

#[test]
fn a_connection_that_is_cut_anywhere_goes_on_where_it_got_to() {
    let source = Source::new(6000, 1);
    let total = source.total();
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        // Also within the greeting, the list of files, and the last bytes.
        let cuts: Vec<u64> =
            (0..6)
                .map(|_| {
                    if random.random_bool(0.3) {
                        random.random_range(1..3000)
                    } else {
                        random.random_range(1..total / 2)
                    }
                })
                .collect();
        let home = tempfile::tempdir().unwrap();
        let node = Node::new(home.path());
        let (receiver, received) = (node.receiver.clone(), node.received().join("files"));
        let had = Arc::new(Mutex::new(Vec::new()));
        let noted = had.clone();
        // Before a connection is made, the one before has come to its end, and all that it brought is on disk.
        let before = move |_| {
            until("the end of the one before", || receiver.progress().is_empty());
            let files = std::fs::read_dir(&received).into_iter().flatten();
            noted.lock().unwrap().push(files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>());
        };
        let fates = cuts.clone();
        let proxy =
            Proxy::new(node.address, move |at| fates.get(at).map_or(Fate::Lasts, |&cut| Fate::Cut(cut)), before);

        let vote = wait(sender(&patient()).send(source.order(proxy.address)));

        assert_eq!(vote.unwrap(), ANSWER, "seed {seed}: {cuts:?}");
        let (forwarded, had) = (proxy.forwarded(), had.lock().unwrap().clone());
        assert!(had.is_sorted(), "seed {seed}: nothing that has come is lost: {had:?}");
        assert_eq!(had.len(), forwarded.len());
        for (forwarded, had) in forwarded.iter().zip(&had) {
            // A frame has some bytes around a piece, and a connection its greeting and the list.
            let most = total - had + (total - had) / 500 + 5_000;
            assert!(*forwarded <= most, "seed {seed}: {forwarded} bytes after {had} of {total} had come");
        }
        assert!(forwarded.len() > 1 && had.iter().any(|&had| had > 0), "seed {seed}: {forwarded:?} {had:?}");
        assert!(rows(&node.end()) == source.rows);
    }
}

#[test]
fn a_receiver_that_comes_late_is_found() {
    let source = Source::new(100, 1);
    let home = tempfile::tempdir().unwrap();
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let proxy = Arc::new(Proxy::new(nowhere, |_| Fate::Lasts, |_| ()));
    let sender = sender(&patient());
    let sending = sender.send(source.order(proxy.address));
    until("some attempts", || proxy.forwarded().len() > 2);

    let node = Node::new(home.path());
    proxy.set_target(node.address);

    let begun = std::time::Instant::now();
    assert_eq!(wait(sending).unwrap(), ANSWER);
    assert!(begun.elapsed() < PATIENCE);
}
