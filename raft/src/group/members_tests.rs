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
use crate::error::ChangeError;
use crate::ids::{EntryId, PeerAddress};
use crate::limits::WAITING_APPENDS_MAX;
use crate::messages::{
    Append, AppendAnswer, Handover, HandoverAnswer, ReceivedSnapshot, SentSnapshot, VoteAnswer, VoteParts, VoteQuestion,
};
use crate::support::{Setup, Shard, copy_directory, run, voters};
use crate::transport::{Answering, Peer, Unreached};
use crate::types::{Entry, EntryPayload, Membership, log_id};

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

/// Opens a member of a group that nodes 1, 2 and 3 found, and lets its core turn.
async fn open(directory: &Path, direct: &Direct, node: u64) -> Rc<Shard> {
    open_of(directory, direct, node, &[1, 2, 3]).await
}

/// Opens a member of a group that node 1 founds with these voters.
async fn open_of(directory: &Path, direct: &Direct, node: u64, founders: &[u64]) -> Rc<Shard> {
    let setup = Setup {
        node: NodeId(node),
        voters: voters(founders),
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

fn address(node: u64) -> PeerAddress {
    PeerAddress(format!("host-{node}:16379"))
}

fn standings(shard: &Shard) -> Vec<(u64, Standing)> {
    shard.group.members().members.iter().map(|member| (member.node.0, member.standing)).collect()
}

/// Adds a learner, and waits until it has caught up.
async fn join(leader: &Shard, node: u64) {
    leader.group.add_learner(NodeId(node), address(node)).await.unwrap();
    let is_near = |shard: &Shard| {
        let members = shard.group.members();
        members.get(NodeId(node)).is_some_and(|member| member.progress.is_some_and(|progress| progress.is_caught_up))
    };
    leader.until("the learner", is_near).await;
}

#[test]
fn a_group_of_one_grows_to_three_under_load_and_shrinks_to_another_one() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let direct = Direct { directory: directory.path().to_owned(), ..Direct::default() };
        let first = open_of(directory.path(), &direct, 1, &[1]).await;
        first.group.wait_ready().await.unwrap();
        write(&first, &["a", "b"]).await;
        // What joins needs a snapshot.
        first.group.write_out().await.unwrap();
        first.until("the purge", |shard| shard.group.status().purged.is_some()).await;
        let second = open_of(directory.path(), &direct, 2, &[]).await;
        let third = open_of(directory.path(), &direct, 3, &[]).await;
        assert_eq!((second.group.status().last_log, second.group.members().members), (None, Vec::new()));

        // Writers go on all the while.
        let written = Rc::new(Cell::new(0_u64));
        let (writer, goes_on, count) = (first.clone(), Rc::new(Cell::new(true)), written.clone());
        let is_wanted = goes_on.clone();
        let load = GlommioRuntime::spawn(async move {
            while is_wanted.get() {
                if writer.propose("x", 1000 + count.get()).is_ok() {
                    count.set(count.get() + 1);
                }
                GlommioRuntime::sleep(Duration::from_micros(300)).await;
            }
        });
        join(&first, 2).await;
        join(&first, 3).await;
        let learner = |node| (node, Standing::Learner);
        assert_eq!(standings(&first), [(1, Standing::Voter), learner(2), learner(3)]);
        assert!(!first.group.needs_read_barrier(), "learners acknowledge nothing");
        assert_eq!(first.group.members().get(NodeId(2)).unwrap().address, address(2));
        let voters = [1, 2, 3].map(NodeId).into();
        first.group.set_voters(voters, Former::Gone).await.unwrap();
        assert!(first.group.needs_read_barrier(), "others may lead");
        first.group.read_barrier().await.unwrap();
        assert_eq!(standings(&first), [1, 2, 3].map(|node| (node, Standing::Voter)));
        assert!(!first.group.members().is_changing);
        goes_on.set(false);
        load.await.unwrap();
        let all = format!("ab{}", "x".repeat(written.get() as usize));
        for shard in [&first, &second, &third] {
            shard.until("all rows", |shard| shard.machine.borrow().text() == all).await;
        }
        assert!(written.get() > 0);
        assert!(first.outcomes.borrow().iter().all(|(_, outcome)| outcome.is_ok()), "nobody notices");

        // The leader removes itself.
        first.group.remove(NodeId(1)).await.unwrap();
        first.until("that it leads no more", |shard| !shard.group.is_leader()).await;
        assert!(matches!(first.propose("y", 1), Err(ProposeError::NotLeader { .. })));
        let others = [second, third];
        others[0].until("another leader", |_| others.iter().any(|shard| shard.group.check_room(1).is_ok())).await;
        let place = others.iter().position(|shard| shard.group.is_leader()).unwrap();
        let (leader, other) = (&others[place], &others[1 - place]);
        leads(leader).await;
        assert_eq!(standings(leader), [2, 3].map(|node| (node, Standing::Voter)));
        write(leader, &["z"]).await;
        assert!(leader.group.needs_read_barrier());

        leader.group.remove(other.group.members().members[1 - place].node).await.unwrap();
        assert_eq!(leader.group.members().members.len(), 1);
        leader.group.read_barrier().await.unwrap();
        assert!(!leader.group.needs_read_barrier(), "it is alone again");
        direct.groups.borrow_mut().clear();
        write(leader, &["!"]).await;
        assert_eq!(leader.machine.borrow().text(), format!("{all}z!"));
        assert_eq!(leader.group.remove(leader.group.members().members[0].node).await, Err(ChangeError::LastVoter));
        for shard in [&first, leader, other] {
            assert_eq!(*shard.fatal.borrow(), None);
            shard.group.shutdown().await.unwrap();
        }
    });
}

#[test]
fn changes_of_members_that_cannot_be_are_refused_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let direct = Direct { directory: directory.path().to_owned(), ..Direct::default() };
        let first = open_of(directory.path(), &direct, 1, &[1]).await;
        first.group.wait_ready().await.unwrap();
        let second = open_of(directory.path(), &direct, 2, &[]).await;
        assert_eq!(second.group.add_learner(NodeId(3), address(3)).await, Err(ChangeError::NotLeader { leader: None }));
        assert_eq!(first.group.promote(NodeId(2)).await, Err(ChangeError::NoMember { node: NodeId(2) }));
        assert_eq!(first.group.set_voters([].into(), Former::Gone).await, Err(ChangeError::LastVoter));
        for (node, address) in [(0, address(1)), (3, PeerAddress("x".repeat(300)))] {
            let refused = first.group.add_learner(NodeId(node), address).await;
            assert!(matches!(refused, Err(ChangeError::Unusable { .. })), "{refused:?}");
        }
        assert_eq!(first.group.members().members.len(), 1);

        // Nobody is there.
        first.group.add_learner(NodeId(4), address(4)).await.unwrap();
        assert_eq!(first.group.promote(NodeId(4)).await, Err(ChangeError::NotCaughtUp { node: NodeId(4) }));
        write(&first, &["a"]).await;
        first.group.remove(NodeId(4)).await.unwrap();
        first.group.remove(NodeId(4)).await.unwrap();
        assert_eq!(standings(&first), [(1, Standing::Voter)]);

        // A voter that is gone holds up the next change, until it is back.
        join(&first, 2).await;
        first.group.promote(NodeId(2)).await.unwrap();
        let gone = direct.groups.borrow_mut().remove(&NodeId(2)).unwrap();
        let mut adding = Box::pin(first.group.add_learner(NodeId(3), address(3)));
        assert!(adding.as_mut().now_or_never().is_none());
        assert_eq!(first.group.remove(NodeId(2)).await, Err(ChangeError::InProgress));
        direct.groups.borrow_mut().insert(NodeId(2), gone);
        adding.await.unwrap();
        direct.groups.borrow_mut().clear();
        for shard in [&first, &second] {
            assert_eq!(*shard.fatal.borrow(), None);
            shard.group.shutdown().await.unwrap();
        }
    });
}

#[test]
fn a_leader_that_becomes_a_learner_gives_the_lead_away() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let direct = Direct { directory: directory.path().to_owned(), ..Direct::default() };
        let first = open_of(directory.path(), &direct, 1, &[1]).await;
        first.group.wait_ready().await.unwrap();
        let second = open_of(directory.path(), &direct, 2, &[]).await;
        join(&first, 2).await;
        first.group.set_voters([NodeId(2)].into(), Former::Learner).await.unwrap();
        second.until("the lead", |shard| shard.group.check_room(1).is_ok()).await;
        // It led nobody before, and may not have executed what the other acknowledged.
        assert!(second.group.needs_read_barrier());
        second.group.read_barrier().await.unwrap();
        assert!(!second.group.needs_read_barrier());
        assert_eq!(standings(&second), [(1, Standing::Learner), (2, Standing::Voter)]);
        write(&second, &["a"]).await;
        first.until("its row", |shard| shard.machine.borrow().text() == "a").await;
        assert!(!first.group.is_leader());
        direct.groups.borrow_mut().clear();
        for shard in [&first, &second] {
            shard.group.shutdown().await.unwrap();
        }
    });
}

#[test]
fn a_group_that_was_closed_says_so_and_blames_nobody() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let direct = Direct { directory: directory.path().to_owned(), ..Direct::default() };
        let shard = open(directory.path(), &direct, 2).await;
        shard.group.shutdown().await.unwrap();
        let vote = VoteParts { term: 3, node: NodeId(1), is_committed: true };
        let append = Append { vote, previous: None, committed: None, records: Vec::new() };
        let candidate = VoteParts { is_committed: false, ..vote };
        let question = VoteQuestion { vote: candidate, last: None, is_transfer: false };
        let handover = Handover { from: vote, to: NodeId(2), last: None };
        let answers = [
            shard.group.receive_append(append).await.map(drop),
            shard.group.receive_vote(question).await.map(drop),
            shard.group.receive_pre_vote(question).await.map(drop),
            shard.group.receive_handover(handover).await.map(drop),
            shard.group.read_barrier().await,
            shard.group.wait_ready().await,
        ];
        for answer in answers {
            assert!(matches!(answer, Err(Error::Stopped)), "{answer:?}");
        }
        assert_eq!(shard.group.promote(NodeId(2)).await, Err(ChangeError::Stopped));
        assert_eq!(*shard.fatal.borrow(), None);
        direct.groups.borrow_mut().clear();
    });
}

#[test]
fn a_replica_is_fresh_once_it_has_what_its_leader_has_and_not_when_it_hears_no_more() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let direct = Direct { directory: directory.path().to_owned(), ..Direct::default() };
        let long = Duration::from_secs(3600);
        let second = open(directory.path(), &direct, 2).await;
        assert!(!second.group.is_fresh(long), "it has heard of no leader");
        let first = open(directory.path(), &direct, 1).await;
        leads(&first).await;
        first.until("what it has is applied", |shard| shard.group.is_fresh(long)).await;
        write(&first, &["a", "b"]).await;
        let end = first.group.log_end();
        let ends = |shard: &Shard| {
            let mut ends = Vec::new();
            shard.group.read_follower_ends(&mut ends).then_some(ends)
        };
        assert_eq!(ends(&second), None, "it does not lead");
        first.until("the other one has it on disk", |shard| ends(shard).is_some_and(|ends| ends.contains(&end))).await;
        assert!(ends(&first).unwrap().iter().all(|other| *other <= end), "nobody has what is not there");
        let moves = Rc::new(Cell::new(0));
        let counted = moves.clone();
        first.group.watch_followers(move || {
            counted.set(counted.get() + 1);
            true
        });
        write(&first, &["c"]).await;
        first.until("the watcher is told", |_| moves.get() > 0).await;
        second.until("all that the leader has", |shard| shard.group.is_fresh(long)).await;
        second.until("its rows", |shard| shard.machine.borrow().text() == "abc").await;
        // What comes after that is gone.
        direct.groups.borrow_mut().clear();
        for shard in [&first, &second] {
            shard.until("silence", |shard| !shard.group.is_fresh(Duration::from_millis(700))).await;
        }
        assert!(second.group.is_fresh(long));
        second.group.shutdown().await.unwrap();
        assert!(!second.group.is_fresh(long), "it serves nothing any more");
        first.group.shutdown().await.unwrap();
    });
}

#[test]
fn of_the_members_on_one_node_the_least_counts_and_none_on_that_of_the_leader() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let direct = Direct { directory: directory.path().to_owned(), ..Direct::default() };
        let (first, second) = (open(directory.path(), &direct, 1).await, open(directory.path(), &direct, 2).await);
        let third = open(directory.path(), &direct, 3).await;
        leads(&first).await;
        write(&first, &["a"]).await;
        // Others in the place of 2, which is no more, and of one that node 1 had before it was 1's.
        let mut anew = Vec::new();
        for (node, number) in [(2, 77), (1, 88)] {
            anew.push(open(directory.path(), &direct, number).await);
            let address = PeerAddress::on(NodeId(node), NodeId(number));
            first.group.add_learner(NodeId(number), address).await.unwrap();
        }
        direct.groups.borrow_mut().remove(&NodeId(2));
        write(&first, &["b"]).await;
        let end = first.group.log_end();
        let end_of = |shard: &Shard, number| {
            let members = shard.group.members();
            let progress = members.get(NodeId(number)).and_then(|member| member.progress);
            progress.and_then(|progress| progress.matching).map(|matching| matching + 1)
        };
        for number in [3, 77, 88] {
            first.until("all of it", |shard| end_of(shard, number) == Some(end)).await;
        }
        let mut ends = Vec::new();
        assert!(first.group.read_follower_ends(&mut ends));
        let [of_second, of_third] = ends[..] else { panic!("{ends:?}") };
        assert!(of_second < end && Some(of_second) == end_of(&first, 2) && of_third == end, "{ends:?}, {end}");
        for shard in [first, second, third].into_iter().chain(anew) {
            shard.group.shutdown().await.unwrap();
        }
    });
}

#[test]
fn a_replica_is_fresh_by_no_leader_that_has_committed_nothing_in_its_own_term_and_as_no_learner() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let direct = Direct { directory: directory.path().to_owned(), ..Direct::default() };
        let long = Duration::from_secs(3600);
        let shard = open(directory.path(), &direct, 2).await;
        let vote = VoteParts { term: 3, node: NodeId(1), is_committed: true };
        let at = |term, index| Some(EntryId { term, index });
        let members = |voters: &[u64]| {
            let nodes = [1, 2].map(|node| (NodeId(node), PeerAddress(format!("node-{node}:1"))));
            let voters = voters.iter().copied().map(NodeId).collect();
            EntryPayload::Membership(Membership::new(vec![voters], BTreeMap::from(nodes)).unwrap())
        };
        let entry = |term, index, payload| encode_entry(&Entry::new(log_id(term, index), payload));
        let send = async |previous, committed, records| {
            let message = Append { vote, previous, committed, records };
            assert_eq!(shard.group.receive_append(message).await.unwrap(), AppendAnswer::Success);
        };
        // It has led in no term before, or in one of long ago.
        send(None, None, vec![entry(2, 0, members(&[1])), entry(3, 1, EntryPayload::Blank)]).await;
        assert!(!shard.group.is_fresh(long), "the leader has heard of no commit");
        send(at(3, 1), at(2, 0), Vec::new()).await;
        shard.until("the old commit is applied", |shard| shard.group.applied() == at(2, 0)).await;
        assert!(!shard.group.is_fresh(long), "more may have been committed since");
        send(at(3, 1), at(3, 1), Vec::new()).await;
        shard.until("all is applied", |shard| shard.group.applied() == at(3, 1)).await;
        send(at(3, 1), at(3, 1), Vec::new()).await;
        assert!(!shard.group.is_fresh(long), "it is a learner");
        send(at(3, 1), at(3, 1), vec![entry(3, 2, members(&[1, 2]))]).await;
        shard.until("it is a voter", |shard| shard.group.0.is_voter()).await;
        send(at(3, 2), at(3, 1), Vec::new()).await;
        assert!(shard.group.is_fresh(long));
        direct.groups.borrow_mut().clear();
        shard.group.shutdown().await.unwrap();
    });
}
