//! Founding of a group, waiting to be told of it, and the durability that its members must have.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use basalt_storage::log::{Durability, LogSyncer};
use openraft::RaftLogReader;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};

use crate::group::Role;
use crate::log_store::LogStore;
use crate::support::{Appender, Setup, Threads, copy_directory, hooks, open_log, run, voters};
use crate::types::{Entry, EntryPayload, Membership, log_id};
use crate::{Error, Group, GroupOptions, NodeId, ProposeError};

const THIS: u64 = 0xfedc_ba98_7654_3210;

fn options(directory: &Path) -> GroupOptions {
    let alone = GroupOptions::alone(7, NodeId(THIS), directory.join("snapshots"));
    GroupOptions { in_flight_max: 16, ..alone }
}

async fn open(directory: &Path, options: GroupOptions, durability: Durability) -> Result<(Group, LogSyncer), Error> {
    let syncer = LogSyncer::start(0, durability).unwrap();
    let log = open_log(directory, &syncer);
    let machine = Rc::new(RefCell::new(Appender::open(directory, 1 << 20)));
    let hooks = hooks(&Default::default(), &Default::default(), &Default::default());
    Ok((Group::open(options, hooks, log, machine).await?, syncer))
}

#[test]
fn only_its_founder_begins_a_group_and_with_its_own_number() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let founder = options(directory.path());
        let told = GroupOptions { founder: false, voters: voters(&[]), ..founder.clone() };
        // Long enough for an election, were there one.
        let waiting = GroupOptions { heartbeat_ms: 5, election_timeout_ms: (20, 40), ..told.clone() };
        let (group, _syncer) = open(directory.path(), waiting, Durability::Always).await.unwrap();
        for _ in 0..100 {
            group.drain_completions();
            glommio::timer::sleep(Duration::from_millis(1)).await;
        }
        let status = group.status();
        assert_eq!((status.last_log, status.leader, status.voter_count, status.term), (None, None, 0, 0));
        assert_ne!(status.role, Role::Leader);
        assert_eq!(group.propose("a".into(), 0).unwrap_err().reason, ProposeError::NotLeader { leader: None });
        group.shutdown().await.unwrap();
        drop(group);

        // The second time the log knows, whatever the options say.
        for options in [founder.clone(), told, founder] {
            let (group, _syncer) = open(directory.path(), options, Durability::Always).await.unwrap();
            group.wait_ready().await.unwrap();
            let status = group.status();
            assert_eq!((status.role, status.leader, status.voter_count), (Role::Leader, Some(NodeId(THIS)), 1));
            group.shutdown().await.unwrap();
        }

        let syncer = LogSyncer::start(0, Durability::Always).unwrap();
        let mut log = LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), std::sync::Arc::new(|| {}));
        let vote = log.read_vote().await.unwrap().unwrap();
        assert_eq!(vote.leader_id.voted_for, NodeId(THIS));
    });
}

#[test]
fn several_members_and_a_durability_that_loses_entries_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let is_told = |error: &Error, word: &str| {
        let text = error.to_string();
        text.contains(&format!("durability is {word}")) && text.contains("start it with durability = always")
    };
    run(async {
        let three = GroupOptions { voters: voters(&[1, 2, THIS]), ..options(directory.path()) };
        let weak = [(Durability::None, "none"), (Durability::Interval(Duration::from_secs(1)), "interval")];
        // Each in a place of its own: a group that was refused lets go of its files a little later.
        for (durability, word) in weak {
            let new = tempfile::tempdir().unwrap();
            let refused = open(new.path(), three.clone(), durability).await.err().expect("three voters");
            assert!(is_told(&refused, word), "{refused}");
        }
        let (group, _syncer) = open(directory.path(), three, Durability::Always).await.unwrap();
        group.shutdown().await.unwrap();
        drop(group);
        // The log says who the members are, though the options say that there is one.
        for (durability, word) in weak {
            let copy = tempfile::tempdir().unwrap();
            copy_directory(directory.path(), copy.path());
            let refused = open(copy.path(), options(copy.path()), durability).await.err().expect("three voters");
            assert!(is_told(&refused, word), "{refused}");
        }
    });
}

#[test]
fn an_entry_that_adds_a_member_is_refused_where_entries_may_be_lost() {
    for is_learner in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        run(async {
            let syncer = LogSyncer::start(0, Durability::None).unwrap();
            let mut log =
                LogStore::new(open_log(directory.path(), &syncer), Rc::new(Threads), std::sync::Arc::new(|| {}));
            let entry = |index, members: &[u64]| {
                let voting = [voters(&members[..1]), voters(members)][usize::from(!is_learner)].clone();
                let membership = Membership::new(vec![voting.into_keys().collect()], voters(members)).unwrap();
                Entry::new(log_id(1, index), EntryPayload::Membership(membership))
            };
            log.append([entry(0, &[THIS])], IOFlushed::noop()).await.expect("one member");
            let refused = log.append([entry(1, &[THIS, 2])], IOFlushed::noop()).await.expect_err("a second one");
            let fault = log.fault().expect("it is noted for whoever asks why the group has stopped");
            assert_eq!(refused.to_string(), fault.text);
            assert!(fault.text.contains("durability is none") && fault.text.contains("durability = always"), "{fault}");
            assert_eq!(open_log_end(&mut log).await, Some(0), "it was not appended");
        });
    }
}

async fn open_log_end(log: &mut LogStore) -> Option<u64> {
    log.get_log_state().await.unwrap().last_log_id.map(|id| id.index())
}

#[test]
fn a_founder_that_is_no_voter_and_a_node_without_number_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let good = options(directory.path());
    let refused = |options: GroupOptions| options.check().unwrap_err().to_string();
    assert!(refused(GroupOptions { voters: voters(&[2]), ..good.clone() }).starts_with("voters"));
    assert!(refused(GroupOptions { node: NodeId(0), voters: voters(&[0]), ..good.clone() }).starts_with("node is 0"));
    GroupOptions { founder: false, voters: voters(&[2]), ..good }.check().unwrap();
    assert!(Setup::new(directory.path()).options().check().is_ok());
}

#[test]
fn who_acknowledges_what_is_not_on_its_disk_takes_no_other_member() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let (group, _syncer) = open(directory.path(), options(directory.path()), Durability::None).await.unwrap();
        group.wait_ready().await.unwrap();
        let refused = group.add_learner(NodeId(2), crate::PeerAddress::default()).await.unwrap_err();
        assert!(matches!(refused, crate::ChangeError::NotDurable(_)), "{refused}");
        assert_eq!((group.members().members.len(), group.has_failed()), (1, false));
        group.shutdown().await.unwrap();
    });
}
