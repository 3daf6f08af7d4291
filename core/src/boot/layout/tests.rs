//! Data directories that are new, damaged, upgraded, and cut short wherever they change.

use std::collections::BTreeSet;

use super::*;
use crate::boot::manifest::{NODE_FILE, steps};

struct Place {
    temporary: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { temporary: tempfile::tempdir().expect("a temporary directory") }
    }

    fn root(&self) -> PathBuf {
        self.temporary.path().join("data")
    }

    fn open(&self, shards: Option<u16>) -> Result<DataDir, BootError> {
        DataDir::open(&self.root(), shards, 2)
    }

    fn refusal(&self, shards: Option<u16>) -> String {
        self.open(shards).expect_err("a refusal").to_string()
    }
}

#[test]
fn a_new_directory_has_one_shard_per_core_and_keeps_them() {
    let place = Place::new();
    let created = place.open(None).expect("a new directory");
    assert!(created.is_new());
    assert_eq!(created.shard_count(), 2);
    assert!(created.shard(1).log.ends_with("data/shards/1/log"));
    let id = created.node_id().to_owned();
    assert_eq!(id.len(), 40);
    drop(created);

    let opened = DataDir::open(&place.root(), None, 16).expect("the same directory");

    assert!(!opened.is_new());
    assert_eq!((opened.shard_count(), opened.node_id()), (2, id.as_str()));
}

#[test]
fn a_new_directory_deals_more_shards_than_cores_to_lanes_and_keeps_them() {
    let place = Place::new();
    drop(place.open(Some(5)).expect("a new directory"));
    for cores in [1, 2, 7] {
        let mut dir = DataDir::open(&place.root(), None, cores).expect("the same directory");
        assert_eq!(dir.lanes_of_shards(), [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)], "{cores} cores");
        let lanes = dir.shared_lanes();
        assert_eq!(lanes.iter().map(|lane| lane.shards.clone()).collect::<Vec<_>>(), [vec![0, 2, 4], vec![1, 3]]);
        for (number, lane) in (0..).zip(&lanes) {
            assert_eq!((lane.number, lane.identity.group), (number, u64::from(number)));
            assert!(lane.path.ends_with(format!("lanes/{number}")) && lane.path.is_dir());
            assert_eq!(lane.must_be_there, cores > 1, "once it was started");
        }
        dir.count_start().expect("it can be written");
        let text = fs::read_to_string(place.root().join(NODE_FILE)).expect("readable");
        assert!(text.lines().any(|line| line == "lanes = 2"), "{text}");
    }
    // The lane with fewer groups gets the next one.
    let mut dir = place.open(None).expect("the same directory");
    assert_eq!(dir.create_group(9, false).expect("created").lane, 1);
}

#[test]
fn shards_have_logs_of_their_own_where_there_are_no_more_than_cores() {
    let place = Place::new();
    let mut dir = place.open(Some(2)).expect("a new directory");
    assert!(!dir.shares_log() && dir.shared_lanes().is_empty() && !place.root().join("lanes").exists());
    assert_eq!(dir.lanes_of_shards(), [(0, 0), (1, 1)]);
    assert_eq!(dir.create_group(9, false).expect("created").lane, 2);
    // Earlier programs would not know the key.
    let text = fs::read_to_string(place.root().join(NODE_FILE)).expect("readable");
    assert!(!text.contains("lanes"), "{text}");
}

#[test]
fn lanes_that_do_not_fit_the_groups_are_refused() {
    for (from, to, why) in [
        ("lane = 1\n", "lane = 2\n", "is in lane 2 of 2"),
        ("lanes = 2\n", "", "says that groups share a lane, and has no lanes"),
    ] {
        let place = Place::new();
        drop(place.open(Some(3)).expect("a new directory"));
        let file = place.root().join(NODE_FILE);
        let text = fs::read_to_string(&file).expect("readable").replace(from, to);
        let (body, _) = text.rsplit_once("# crc32 ").expect("it has a checksum");
        fs::write(&file, format!("{body}# crc32 {:08x}\n", crc32fast::hash(body.as_bytes()))).expect("writable");
        let refusal = place.refusal(None);
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
}

#[test]
fn another_number_of_shards_is_refused_naming_both() {
    let place = Place::new();
    drop(place.open(Some(3)).expect("a new directory"));

    drop(place.open(Some(3)).expect("the same number"));
    let refusal = place.refusal(Some(4));

    assert!(refusal.contains("created with 3 shards") && refusal.contains("--shards asks for 4"), "{refusal}");
}

#[test]
fn a_directory_in_use_is_refused_naming_the_process() {
    let place = Place::new();
    let _held = place.open(None).expect("a new directory");

    // flock belongs to the open file, so a second open of the same process is as foreign as another process.
    let refusal = place.refusal(None);

    assert!(refusal.contains(&format!("is in use by process {}", std::process::id())), "{refusal}");
}

#[test]
fn another_format_is_refused_naming_both() {
    let place = Place::new();
    drop(place.open(None).expect("a new directory"));
    let file = place.root().join(NODE_FILE);
    // Format 1, from before the first release, did not count starts.
    for (format, writer) in [(7, "9.1.0"), (4, "9.0.0"), (1, "0.1.0"), (0, "0.0.1")] {
        let text = format!("format = {format}\ncreated-by = '{writer}'\nshards = 2\nnew-key = true\n");
        fs::write(&file, text).expect("writable");

        let refusal = place.refusal(None);

        assert!(refusal.contains(&format!("has format {format}, written by Basalt {writer}")), "{refusal}");
        assert!(refusal.contains("reads format 3: run the version that wrote it, or start"), "{refusal}");
    }
}

#[test]
fn ids_and_numbers_are_drawn_for_each_directory_and_stay() {
    let (one, other) = (Place::new(), Place::new());
    let mut first = one.open(None).expect("a new directory");
    let second = other.open(None).expect("a new directory");
    let (number, cluster) = (first.node_number(), first.cluster_id().to_owned());
    assert!(number != 0 && number != 1 && number != second.node_number());
    assert!(first.node_id() != second.node_id() && cluster != second.cluster_id() && cluster != first.node_id());
    first.count_start().expect("it can be written");
    drop(first);

    let first = one.open(None).expect("the same directory");

    assert_eq!((first.node_number(), first.cluster_id()), (number, cluster.as_str()));
    let Identity { cluster_id, node_id, node, group } = first.identity(1);
    assert_eq!((node, group), (number, 2));
    assert_eq!(Identity::parse_id(first.node_id()), Some(node_id));
    assert_eq!(Identity::parse_id(&cluster), Some(cluster_id));
}

#[test]
fn starts_are_counted_and_from_the_first_on_shards_must_be_there() {
    let place = Place::new();
    let mut dir = place.open(None).expect("a new directory");
    for start in 1..4 {
        assert_eq!((dir.start_number(1), dir.must_be_there(1)), (start, start > 1));
        assert_eq!(dir.group(0).state == GroupState::Creating, start < 3, "until it was founded");
        dir.begin_start().expect("all are served");
        dir.count_start().expect("it can be written");
        if start == 2 {
            dir.note_live(|_| true);
        }
        drop(dir);
        dir = place.open(None).expect("the same directory");
    }
    assert!(dir.groups().iter().all(|group| group.state == GroupState::Live && group.starts == 3));
}

/// The file as format 2 had it.
const FORMER: &str = "\
# Written by Basalt when it created this data directory. The number of shards is fixed for its lifetime.
format = 2
shards = 2
node-id = \"00112233445566778899aabbccddeeff00112233\"
starts = 7
created-by = \"0.1.0\"
";

#[test]
fn the_format_before_is_read_and_upgraded_by_the_start_and_not_before() {
    for steps_left in [Some(0), Some(1), None] {
        let place = Place::new();
        drop(place.open(Some(2)).expect("a new directory"));
        let file = place.root().join(NODE_FILE);
        fs::write(&file, FORMER).expect("writable");
        assert!(place.refusal(Some(3)).contains("created with 2 shards"));
        assert_eq!(fs::read_to_string(&file).expect("readable"), FORMER);

        let mut dir = place.open(None).expect("the directory of the format before");
        assert_eq!(fs::read_to_string(&file).expect("readable"), FORMER, "nothing is begun");
        steps::end_after(steps_left);
        let begun = dir.begin_start();
        steps::end_after(None);
        assert_eq!(begun.is_ok(), steps_left.is_none());
        drop(dir);
        let mut dir = place.open(None).expect("either form of it");
        let is_done = steps_left != Some(0);
        assert_eq!(dir.is_former, !is_done, "{steps_left:?}");
        dir.begin_start().expect("it goes on");
        let cluster = dir.cluster_id().to_owned();
        drop(dir);

        let dir = place.open(None).expect("the upgraded directory");
        assert!(!dir.is_former);
        assert_eq!(dir.cluster_id(), cluster);
        assert_eq!((dir.node_number(), dir.shard_count()), (1, 2));
        assert_eq!(dir.node_id(), "00112233445566778899aabbccddeeff00112233");
        for (index, number) in [(0, 1), (1, 2)] {
            let group = dir.group(index);
            assert_eq!((group.number, group.starts, group.founder), (number, 7, true));
            assert!(dir.shard(index).log.ends_with(format!("shards/{index}/log")));
        }
    }
}

#[test]
fn a_group_that_comes_or_goes_is_taken_up_again_wherever_it_was_cut_short() {
    for steps_left in 0.. {
        let place = Place::new();
        let mut dir = place.open(Some(2)).expect("a new directory");
        steps::end_after(Some(steps_left));
        let outcome = dir.create_group(9, false).map(|group| group.index);
        steps::end_after(None);
        drop(dir);
        let mut dir = place.open(None).expect("whatever was cut short");
        let created = dir.groups().iter().find(|group| group.number == 9).cloned();
        if let Some(group) = &created {
            assert_eq!((group.state, group.index, group.founder), (GroupState::Creating, 2, false));
            assert!(place.root().join(&group.directory).is_dir());
        } else {
            assert!(outcome.is_err());
            dir.create_group(9, false).expect("once more");
        }
        let refused = dir.begin_start().expect_err("nothing serves it").to_string();
        assert!(refused.contains("group 9") && refused.contains("is not served by this version"), "{refused}");

        let log = place.root().join("shards/group-9/log");
        fs::create_dir(&log).expect("writable");
        fs::write(log.join("STATE"), "all it knows").expect("writable");
        steps::end_after(Some(steps_left));
        let destroyed = dir.destroy_group(9);
        steps::end_after(None);
        let was_begun = destroyed.is_ok() || steps_left > 0;
        drop(dir);
        let mut dir = place.open(None).expect("whatever was cut short");
        let is_there = dir.groups().iter().any(|group| group.number == 9);
        assert_eq!(is_there, !was_begun, "{steps_left}");
        assert_eq!(log.join("STATE").exists(), is_there, "all of it or nothing");
        if is_there {
            dir.destroy_group(9).expect("once more");
        }
        assert!(!place.root().join("shards/group-9").exists());
        dir.begin_start().expect("all are served");
        if outcome.is_ok() && destroyed.is_ok() {
            assert!(steps_left > 2, "no step was looked at");
            return;
        }
    }
}

#[test]
fn a_node_of_a_cluster_begins_with_the_group_of_the_map_alone() {
    let place = Place::new();
    let mut dir = DataDir::open_in_cluster(&place.root(), 3).expect("a new directory");
    assert_eq!((dir.shard_count(), dir.shards_dealt(), dir.lane_count(), dir.is_of_cluster()), (0, 0, 3, true));
    let meta = dir.group(META_INDEX).clone();
    assert_eq!((meta.number, meta.lane, meta.founder, meta.state), (0, 0, true, GroupState::Creating));
    assert!(dir.shard(META_INDEX).log.ends_with("data/meta/log"));
    dir.begin_start().expect("it is served");
    dir.count_start().expect("it can be written");
    dir.note_live(|_| true);
    // Groups that come later are in their first start, and are noted as such.
    for (number, index) in [(1, 0), (2, 1), (3, 2)] {
        let group = dir.create_group(number, true).expect("created");
        assert_eq!((group.index, group.starts), (index, 0));
        assert_eq!((dir.start_number(index), dir.must_be_there(index)), (1, false));
    }
    dir.note_live(|index| index == 1);
    dir.destroy_group(1).expect("it can be written");
    assert_eq!(dir.lanes_of_shards(), [(1, 2), (2, 0)], "the lane with the fewest got each");
    drop(dir);

    let refusal = place.refusal(None);
    assert!(refusal.contains("is that of a node in a cluster"), "{refusal}");
    let mut dir = DataDir::open_in_cluster(&place.root(), 1).expect("the same directory");
    assert_eq!((dir.lane_count(), dir.shard_count(), dir.node_starts()), (3, 2, 2));
    assert_eq!(
        [1, 2].map(|index| (dir.must_be_there(index), dir.group(index).state)),
        [(true, GroupState::Live), (false, GroupState::Creating),]
    );
    // What is set aside does not stop the others.
    dir.set_aside(2, "it had keys").expect("it can be written");
    dir.begin_start().expect("the others are served");
    assert_eq!(dir.shard_count(), 1);
}

#[test]
fn a_group_that_comes_gets_the_index_of_none_that_has_gone_in_the_same_run() {
    let place = Place::new();
    let mut dir = DataDir::open_in_cluster(&place.root(), 1).expect("a new directory");
    for number in [1, 2] {
        dir.create_group(number, true).expect("created");
    }
    drop(dir);
    let mut dir = DataDir::open_in_cluster(&place.root(), 1).expect("the same directory");
    dir.destroy_group(1).expect("it can be written");
    assert_eq!(dir.create_group(3, false).expect("created").index, 2);
    drop(dir);
    let mut dir = DataDir::open_in_cluster(&place.root(), 1).expect("the same directory");
    assert_eq!(dir.create_group(1, false).expect("created").index, 0, "nobody had it since the start");
}

#[test]
fn a_node_alone_becomes_one_of_a_cluster_wherever_that_was_cut_short() {
    for (shards, steps_left) in [2, 3].into_iter().flat_map(|shards| (0..4).map(move |left| (shards, left))) {
        let place = Place::new();
        let mut dir = place.open(Some(shards)).expect("a new directory");
        dir.count_start().expect("it can be written");
        let node = (dir.node_id().to_owned(), dir.cluster_id().to_owned());
        drop(dir);
        steps::end_after(Some(steps_left));
        let outcome = DataDir::open_in_cluster(&place.root(), 2).map(drop);
        steps::end_after(None);
        assert_eq!(outcome.is_ok(), steps_left > 1, "{steps_left}: {outcome:?}");
        let dir = DataDir::open_in_cluster(&place.root(), 2).expect("once more");
        assert_eq!((dir.shard_count(), dir.shards_dealt()), (shards, shards));
        assert_eq!((dir.node_id(), dir.cluster_id()), (node.0.as_str(), node.1.as_str()));
        let lanes: BTreeSet<u16> = dir.groups().iter().map(|group| group.lane).collect();
        // A lane of its own where each group has one, else that of the first core.
        assert_eq!(lanes.len(), if shards == 2 { 3 } else { 2 });
    }
}

#[test]
fn a_node_joins_another_cluster_wherever_that_was_cut_short() {
    let other = "5".repeat(40);
    for steps_left in 0.. {
        let place = Place::new();
        let mut dir = DataDir::open_in_cluster(&place.root(), 2).expect("a new directory");
        let (node, own) = (dir.node_id().to_owned(), dir.cluster_id().to_owned());
        dir.count_start().expect("it can be written");
        dir.note_live(|_| true);
        let (log, record) = (dir.shard(META_INDEX).log.join("STATE"), place.root().join("lanes/1/record"));
        for file in [&log, &record] {
            fs::create_dir_all(file.parent().expect("it has one")).expect("writable");
            fs::write(file, "of the old cluster").expect("writable");
        }
        steps::end_after(Some(steps_left));
        let outcome = dir.join(&other);
        steps::end_after(None);
        drop(dir);
        let mut dir = DataDir::open_in_cluster(&place.root(), 2).expect("whatever was cut short");
        assert_eq!(dir.node_id(), node);
        let meta = dir.group(META_INDEX).clone();
        if steps_left == 0 {
            assert_eq!((dir.cluster_id(), meta.state, meta.founder), (own.as_str(), GroupState::Live, true));
            assert!(log.exists() && record.exists(), "all of it");
        } else {
            assert_eq!((dir.cluster_id(), meta.state), (other.as_str(), GroupState::Creating));
            assert!(!meta.founder && !dir.must_be_there(META_INDEX) && dir.is_empty());
            assert!(!log.exists() && !record.exists() && dir.meta_directory().is_dir(), "or nothing");
        }
        dir.begin_start().expect("it is served");
        dir.count_start().expect("it can be written");
        dir.create_group(1, true).expect("created");
        let refused = dir.join(&own).expect_err("it has a group").to_string();
        assert!(refused.contains("the groups of its own cluster are still there"), "{refused}");
        if outcome.is_ok() {
            assert!(steps_left > 6, "no step was looked at");
            return;
        }
    }
}

#[test]
fn a_group_that_is_set_aside_is_named_and_the_others_are_counted() {
    let place = Place::new();
    let mut dir = place.open(Some(3)).expect("a new directory");
    dir.set_aside(2, "its log is damaged").expect("it can be written");
    drop(dir);
    fs::remove_dir(place.root().join("shards/1")).expect("removable");

    let mut dir = place.open(None).expect("the others are there");
    dir.count_start().expect("it can be written");

    let refused = dir.begin_start().expect_err("a node alone needs it").to_string();
    for words in ["group 2", "shard 1", "shards/1", "is set aside: its log is damaged"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    assert!(!refused.contains("group 1 ") && !refused.contains("group 3 "), "{refused}");
    assert_eq!([0, 1, 2].map(|index| dir.group(index).starts), [1, 0, 1]);
}

#[test]
fn the_manifest_is_the_documented_one() {
    let place = Place::new();
    let mut dir = place.open(Some(1)).expect("a new directory");
    dir.count_start().expect("it can be written");
    let text = fs::read_to_string(place.root().join(NODE_FILE)).expect("readable");
    let (body, sum) = text.rsplit_once("# crc32 ").expect("it has a checksum");
    assert_eq!(sum, format!("{:08x}\n", crc32fast::hash(body.as_bytes())));
    let keys: Vec<&str> = body.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
    let all = ["format", "created-by", "cluster-id", "node-id", "node-number", "shards", "starts"];
    let group = ["number", "index", "lane", "directory", "state", "founder", "starts"];
    assert_eq!(keys, [&all[..], &group].concat());
    for line in ["format = 3", "[[groups]]", "number = 1", "directory = \"shards/0\"", "state = \"creating\""] {
        assert!(body.lines().any(|written| written == line), "{line}: {body}");
    }
    assert!(body.contains(&format!("node-number = \"{:016x}\"", dir.node_number())), "{body}");
}

#[test]
fn any_flipped_bit_and_any_cut_of_the_manifest_is_refused() {
    let place = Place::new();
    drop(place.open(None).expect("a new directory"));
    let file = place.root().join(NODE_FILE);
    let good = fs::read(&file).expect("readable");
    for position in 0..good.len() {
        for bit in [0x01, 0x40] {
            let mut bad = good.clone();
            bad[position] ^= bit;
            fs::write(&file, &bad).expect("writable");
            let refusal = place.refusal(None);
            assert!(refusal.contains("node.toml") || refusal.contains("has format"), "byte {position}: {refusal}");
        }
        fs::write(&file, &good[..position]).expect("writable");
        let refusal = place.refusal(None);
        assert!(refusal.contains("node.toml"), "cut at {position}: {refusal}");
    }
}

#[test]
fn a_shard_whose_removal_was_cut_short_is_removed_by_the_next_open() {
    let place = Place::new();
    let mut dir = place.open(Some(2)).expect("a new directory");
    steps::end_after(Some(2));
    dir.destroy_group(2).expect_err("it is cut short");
    steps::end_after(None);
    drop(dir);

    let refusal = place.refusal(None);

    assert!(refusal.contains("the group of shard 1 was removed"), "a node alone cannot do without it: {refusal}");
    assert!(!place.root().join("shards/1").exists());
}

#[test]
fn groups_that_stand_in_each_others_way_are_refused() {
    let cases = [
        ("index = 1", "index = 0", "says that group 2 is shard 0, which another is"),
        ("number = 2", "number = 1", "says that group 1 is in 'shards/1'"),
        ("number = 2", "number = -2", "node.toml"),
        ("directory = \"shards/1\"", "directory = \"shards/0\"", "is in 'shards/0'"),
        ("directory = \"shards/1\"", "directory = \"shards/0/rows\"", "says that group 1 is in 'shards/0'"),
        ("directory = \"shards/1\"", "directory = \"shards\"", "says that group 2 is in 'shards'"),
        ("directory = \"shards/1\"", "directory = \"./shards/0\"", "says that group 2 is in './shards/0'"),
        ("directory = \"shards/1\"", "directory = \"../shards\"", "says that group 2 is in '../shards'"),
        ("directory = \"shards/1\"", "directory = \"\"", "says that group 2 is in ''"),
    ];
    for (from, to, expected) in cases {
        let place = Place::new();
        drop(place.open(Some(2)).expect("a new directory"));
        let file = place.root().join(NODE_FILE);
        let text = fs::read_to_string(&file).expect("readable");
        let (body, _) = text.rsplit_once("# crc32 ").expect("it has a checksum");
        let body = body.replace(from, to);
        fs::write(&file, format!("{body}# crc32 {:08x}\n", crc32fast::hash(body.as_bytes()))).expect("writable");

        let refusal = place.refusal(None);

        assert!(refusal.contains(expected), "{to}: {refusal}");
    }
}

#[test]
fn damage_is_refused_by_file_name() {
    type Damage = fn(&Path);
    let cases: [(Damage, &str); 6] = [
        (|root| fs::write(root.join(NODE_FILE), "format = ").expect("writable"), "node.toml is no TOML"),
        (|root| fs::write(root.join(NODE_FILE), "shards = 2").expect("writable"), "node.toml has no format version"),
        (
            |root| {
                let text = FORMER.replace("node-id = \"", "node-id = \"x");
                fs::write(root.join(NODE_FILE), text).expect("writable");
            },
            "node.toml says node-id = 'x",
        ),
        (|root| fs::remove_dir(root.join("shards/1")).expect("removable"), "shards/1 is missing"),
        (
            |root| {
                fs::create_dir(root.join("shards/0/log")).expect("writable");
                fs::remove_file(root.join(NODE_FILE)).expect("removable");
            },
            "shards/0 holds data",
        ),
        (
            |root| {
                fs::create_dir_all(root.join("lanes/1/kept")).expect("writable");
                fs::remove_file(root.join(NODE_FILE)).expect("removable");
            },
            "lanes/1 holds data",
        ),
    ];
    for (damage, expected) in cases {
        let place = Place::new();
        drop(place.open(None).expect("a new directory"));
        damage(&place.root());

        let refusal = place.refusal(None);

        assert!(refusal.contains(expected), "{expected}: {refusal}");
    }
}

#[test]
fn a_creation_that_was_cut_short_is_taken_up_again() {
    let place = Place::new();
    drop(place.open(Some(4)).expect("a new directory"));
    fs::remove_file(place.root().join(NODE_FILE)).expect("removable");

    assert_eq!(place.open(Some(2)).expect("nothing was written yet").shard_count(), 2);
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    // Not even root can create a directory in /proc, or one where a file is.
    for (root, expected) in [("/proc/basalt", "--dir"), ("/dev/null", "a file of this name is in the way")] {
        let refusal = DataDir::open(Path::new(root), None, 1).expect_err(root).to_string();
        assert!(refusal.contains(root) && refusal.contains(expected), "{refusal}");
    }
}
