//! Faults drawn by chance, for as long as one likes: `make jepsen MINUTES=15`.

use std::collections::BTreeMap;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

use basalt_tests::{Network, Workload};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::disks::Disk;
use super::{Cluster, in_network};

/// Faults of one round, at whose end the answers are checked.
const FAULTS: usize = 4;

/// Rounds of one cluster.
const ROUNDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    KillTwo,
    KillAll,
    Stop,
    Pause,
    PauseTwo,
    CutOff,
    CutOneWay,
    Deaf,
    CutOneLink,
    FillDisk,
    /// One is cut off while another is killed.
    CutOffAndKill,
}

const ALL: [Fault; 12] = [
    Fault::Kill,
    Fault::KillTwo,
    Fault::KillAll,
    Fault::Stop,
    Fault::Pause,
    Fault::PauseTwo,
    Fault::CutOff,
    Fault::CutOneWay,
    Fault::Deaf,
    Fault::CutOneLink,
    Fault::FillDisk,
    Fault::CutOffAndKill,
];

/// The work of a marathon that has found nothing.
#[derive(Debug, Default)]
struct Figures {
    operations: usize,
    unknown: usize,
    rounds: usize,
    faults: BTreeMap<Fault, usize>,
}

/// Does a fault, leaves it so for a while, and undoes it.
fn do_fault(fault: Fault, cluster: &mut Cluster, network: &Network, disk: &Disk, random: &mut SmallRng) {
    let count = cluster.nodes.len();
    let one = random.random_range(0..count);
    let two = (one + random.random_range(1..count)) % count;
    let others: Vec<usize> = (0..count).filter(|other| *other != one).collect();
    let while_so = Duration::from_millis(random.random_range(50..7_000));
    let killed: Vec<usize> = match fault {
        Fault::Kill => vec![one],
        Fault::KillTwo => vec![one, two],
        Fault::KillAll => (0..count).collect(),
        Fault::CutOffAndKill => vec![two],
        _ => Vec::new(),
    };
    let paused: &[usize] = match fault {
        Fault::Pause => &[one],
        Fault::PauseTwo => &[one, two],
        _ => &[],
    };
    let cut = |from: usize, to: usize| network.cut(from, to);
    match fault {
        Fault::CutOff | Fault::CutOffAndKill => others.iter().for_each(|other| {
            cut(one, *other);
            cut(*other, one);
        }),
        Fault::CutOneWay => others.iter().for_each(|other| cut(one, *other)),
        Fault::Deaf => others.iter().for_each(|other| cut(*other, one)),
        Fault::CutOneLink => {
            cut(one, two);
            cut(two, one);
        }
        Fault::FillDisk => disk.fill(),
        Fault::Stop => drop(cluster.nodes[one].stop()),
        _ => {}
    }
    killed.iter().for_each(|number| cluster.nodes[*number].kill());
    killed.iter().for_each(|number| cluster.kill(*number));
    paused.iter().for_each(|number| cluster.nodes[*number].pause());
    thread::sleep(while_so);
    paused.iter().for_each(|number| cluster.nodes[*number].go_on());
    if fault == Fault::FillDisk {
        disk.empty();
    }
    if random.random() {
        network.mend();
    }
    killed.iter().for_each(|number| cluster.restart(*number));
    if fault == Fault::Stop {
        cluster.restart(one);
    }
    network.mend();
}

/// Runs one cluster of `count` nodes, until `deadline` at the latest.
fn run(network: &Network, disk: &Disk, count: usize, deadline: Instant, random: &mut SmallRng, figures: &mut Figures) {
    let data = disk.path().join(format!("data-{}", figures.rounds));
    let mut cluster =
        Cluster::on_hosts(network, count, |dir, number| if number == 0 { data.clone() } else { dir.to_owned() });
    for round in 0..ROUNDS {
        if round > 0 && Instant::now() >= deadline {
            break;
        }
        let load = Workload::start(&cluster.addresses, &format!("round-{round}"), random.random());
        let mut faults = Vec::new();
        for _ in 0..FAULTS {
            load.go_on(random.random_range(50..500));
            cluster.assert_running();
            let fault = ALL[random.random_range(0..ALL.len())];
            faults.push(fault);
            do_fault(fault, &mut cluster, network, disk, random);
            *figures.faults.entry(fault).or_default() += 1;
            if random.random_ratio(1, 2) {
                load.go_on_everywhere();
            }
        }
        println!("{count} nodes, round {round}: {faults:?}");
        let verdict = cluster.check(load);
        figures.operations += verdict.operations;
        figures.unknown += verdict.unknown;
        figures.rounds += 1;
    }
    drop(cluster);
    // The next one has the disk for itself.
    std::fs::remove_dir_all(&data).expect("the data of the first node");
}

#[test]
fn whatever_fails_no_answer_is_wrong() {
    let minutes: Option<u64> =
        env::var("JEPSEN_MINUTES").ok().map(|text| text.parse().expect("JEPSEN_MINUTES is a number"));
    let seed =
        env::var("JEPSEN_SEED").map_or_else(|_| rand::random(), |text| text.parse().expect("JEPSEN_SEED is a number"));
    println!("JEPSEN_SEED={seed}");
    let Some(disk) = Disk::new() else { return };
    let deadline = Instant::now() + Duration::from_secs(60 * minutes.unwrap_or(0));
    let (mut random, mut figures) = (SmallRng::seed_from_u64(seed), Figures::default());
    in_network(5, |network| {
        for count in [3, 5].into_iter().cycle() {
            run(network, &disk, count, deadline, &mut random, &mut figures);
            if Instant::now() >= deadline {
                break;
            }
        }
        println!("{figures:#?}");
    });
}
