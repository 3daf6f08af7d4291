//! A group of three on real logs and stores, whose members reach each other without a network.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use openraft::AsyncRuntime;
use openraft::entry::RaftEntry;

use super::*;
use crate::entry::encode_entry;
use crate::limits::WAITING_APPENDS_MAX;
use crate::messages::{
    Append, AppendAnswer, Handover, HandoverAnswer, ReceivedSnapshot, SentSnapshot, VoteAnswer, VoteParts, VoteQuestion,
};
use crate::support::{Setup, Shard, copy_directory, run, voters};
use crate::transport::{Answering, Peer, Unreached};
use crate::types::{Entry, EntryPayload, log_id};

/// Hands each message over at once.
#[derive(Clone, Default)]
struct Direct {
    groups: Rc<RefCell<BTreeMap<NodeId, Group>>>,
    directory: PathBuf,
    snapshots: Rc<Cell<u64>>,
}

impl Direct {
    fn call<T, F: Future<Output = Result<T>> + 'static>(
        &self,
        to: &Peer,
        take: impl FnOnce(Group) -> F + 'static,
    ) -> Answering<T>
    where
        T: 'static,
    {
        let (groups, node) = (self.groups.clone(), to.node);
        Box::pin(async move {
            let group = groups.borrow().get(&node).cloned();
            let group = group.ok_or_else(|| Unreached::Unreachable(format!("node {node} is not there")))?;
            take(group).await.map_err(|error| Unreached::Lost(error.to_string()))
        })
    }
}

impl Transport for Direct {
    fn append(&self, to: &Peer, message: Append) -> Answering<AppendAnswer> {
        self.call(to, move |group| async move { group.receive_append(message).await })
    }

    fn vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer> {
        self.call(to, move |group| async move { group.receive_vote(question).await })
    }

    fn pre_vote(&self, to: &Peer, question: VoteQuestion) -> Answering<VoteAnswer> {
        self.call(to, move |group| async move { group.receive_pre_vote(question).await })
    }

    fn hand_over(&self, to: &Peer, message: Handover) -> Answering<HandoverAnswer> {
        self.call(to, move |group| async move { group.receive_handover(message).await })
    }

    fn snapshot(&self, to: &Peer, snapshot: SentSnapshot) -> Answering<VoteParts> {
        let number = self.snapshots.get() + 1;
        self.snapshots.set(number);
        let received = self.directory.join(format!("received-{number}"));
        copy_directory(&snapshot.directory, &received);
        let SentSnapshot { vote, meta, .. } = snapshot;
        let received = ReceivedSnapshot { vote, meta, directory: received };
        self.call(to, move |group| async move { group.receive_snapshot(received).await })
    }
}

/// Opens a member, and lets its core turn.
async fn open(directory: &Path, direct: &Direct, node: u64) -> Rc<Shard> {
    let setup = Setup {
        node: NodeId(node),
        voters: voters(&[1, 2, 3]),
        founder: node == 1,
        transport: Rc::new(direct.clone()),
        ..Setup::new(&directory.join(node.to_string()))
    };
    let shard = Rc::new(setup.open().await);
    direct.groups.borrow_mut().insert(NodeId(node), shard.group.clone());
    let turning = Rc::downgrade(&shard);
    drop(GlommioRuntime::spawn(async move {
        while let Some(shard) = turning.upgrade() {
            shard.group.drain_completions();
            drop(shard);
            GlommioRuntime::sleep(Duration::from_micros(200)).await;
        }
    }));
    shard
}

/// Waits until a member leads and a quorum has said so, before which it refuses proposals.
async fn leads(shard: &Shard) {
    shard.until("the lead", |shard| shard.group.check_room(1).is_ok()).await;
    shard.group.read_barrier().await.unwrap();
}

/// Writes, and each of it is executed.
async fn write(shard: &Shard, texts: &[&str]) {
    shard.write(texts).await;
    let outcomes = shard.outcomes.borrow();
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
}

#[test]
fn three_members_have_the_same_rows_and_one_that_comes_late_gets_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let direct = Direct { directory: directory.path().to_owned(), ..Direct::default() };
        // It waits for a leader, for as long as it takes.
        let second = open(directory.path(), &direct, 2).await;
        assert_eq!((second.group.status().last_log, second.group.status().leader), (None, None));
        let first = open(directory.path(), &direct, 1).await;
        leads(&first).await;
        write(&first, &["a", "b", "c"]).await;
        assert!(first.group.needs_read_barrier());
        let refused = second.group.read_barrier().await.unwrap_err();
        assert!(matches!(refused, Error::NotLeader { leader: Some(NodeId(1)) }), "{refused}");

        first.group.write_out().await.unwrap();
        first.until("the purge", |shard| shard.group.status().purged.is_some()).await;
        let third = open(directory.path(), &direct, 3).await;
        third.until("the snapshot", |shard| shard.machine.borrow().installs == 1).await;
        write(&first, &["d", "e"]).await;
        for shard in [&first, &second, &third] {
            shard.until("all rows", |shard| shard.machine.borrow().text() == "abcde").await;
        }

        first.group.hand_over(NodeId(3)).await.unwrap();
        leads(&third).await;
        let term = third.group.leads_in();
        assert!(term > Some(1), "{term:?}");
        write(&third, &["f"]).await;
        for shard in [&first, &second, &third] {
            shard.until("the last row", |shard| shard.machine.borrow().text() == "abcdef").await;
            assert_eq!(*shard.fatal.borrow(), None);
        }
        direct.groups.borrow_mut().clear();
        for shard in [first, second, third] {
            shard.group.shutdown().await.unwrap();
        }
    });
}

#[test]
fn entries_wait_for_a_replica_that_is_behind_but_not_any_number_of_them_and_no_heartbeat() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let direct = Direct { directory: directory.path().to_owned(), ..Direct::default() };
        let shard = open(directory.path(), &direct, 2).await;
        // Whatever waits to be applied is too much.
        shard.group.set_unapplied_bytes_max(0);
        let vote = VoteParts { term: 3, node: NodeId(1), is_committed: true };
        let message = |records| Append { vote, previous: None, committed: None, records };
        let entry = encode_entry(&Entry::new(log_id(3, 0), EntryPayload::Blank));
        let mut waiting = Vec::new();
        for _ in 0..WAITING_APPENDS_MAX {
            let mut taking = Box::pin(shard.group.receive_append(message(vec![entry.clone()])));
            assert!(taking.as_mut().now_or_never().is_none());
            waiting.push(taking);
        }
        let refused = shard.group.receive_append(message(vec![entry.clone()])).await;
        assert!(matches!(refused, Err(Error::Behind)), "{refused:?}");
        shard.group.receive_append(message(Vec::new())).await.unwrap();

        shard.group.set_unapplied_bytes_max(1 << 20);
        // One that nobody waits for any more counts no more.
        drop(waiting);
        let taken = shard.group.receive_append(message(vec![entry])).await.unwrap();
        assert_eq!(taken, AppendAnswer::Success);
        assert_eq!(shard.group.status().leader, Some(NodeId(1)));
        direct.groups.borrow_mut().clear();
        shard.group.shutdown().await.unwrap();
    });
}
