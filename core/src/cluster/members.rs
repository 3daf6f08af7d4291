//! The members of a group: every node that the map wants to have it has one, some of them voters. The leader sees to it, a step at
//! a time, and whoever leads next goes on from what is in the log.
//!
//! A replica moves in these steps: the new one learns, and once it has caught up it votes in the old one's place, in one change of
//! the voters; then the old one is removed, and its node destroys it. A leader that is to go hands the lead over first.
//!
//! What a newcomer would get wrong: a member is not its node. A node that had a replica and gets one again has another member then,
//! under a number that nobody had, since it would not know any more what the former one has voted for. And with an even number of
//! nodes one of them has no vote: it would make the majority larger, and no more losses would be survived.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use basalt_raft::{Former, Group, Member, Members, NodeId, PeerAddress, Standing};

use crate::limits;

/// One step on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A node is to have a member too.
    Add(NodeId),
    /// These members are to vote.
    Vote(BTreeSet<NodeId>),
    /// A member is to be none any more.
    Remove(NodeId),
    /// This member is to lead, since the one that does is to go.
    HandOver(NodeId),
}

/// The members that a group should have.
pub struct Wanted<'a> {
    /// The nodes that should have one.
    pub nodes: &'a [NodeId],
    /// The number of them that should vote.
    pub voter_count: usize,
    /// The node that should lead, if one is named.
    pub home: Option<NodeId>,
    /// The member that should not lead if another one can, since it did not keep the lead.
    pub not_heir: Option<NodeId>,
    /// Nodes that do not answer, or have told no number: they get none now.
    pub silent: &'a BTreeSet<NodeId>,
    /// Members that are no more, though their nodes are there.
    pub lost: &'a BTreeSet<NodeId>,
    /// False while nothing is to be copied to another node.
    pub may_add: bool,
}

impl Wanted<'_> {
    fn keeps(&self, member: &Member) -> bool {
        self.nodes.contains(&member.host()) && !self.lost.contains(&member.node)
    }

    fn member_on<'m>(&self, node: NodeId, members: &'m Members) -> Option<&'m Member> {
        members.members.iter().find(|member| member.host() == node && self.keeps(member))
    }
}

/// The number of voters among so many nodes: an odd one, since one more than that would survive no more losses.
pub fn voters_wanted(nodes: usize, voters_max: usize) -> usize {
    nodes.saturating_sub(1 - nodes % 2).clamp(1, voters_max)
}

/// The next step that makes the members those that are wanted; `None` if they are, or nothing can be done now, or nobody is wanted.
/// `myself` is the number of the member that leads.
pub fn next_step(wanted: &Wanted<'_>, members: &Members, myself: NodeId) -> Option<Step> {
    if wanted.nodes.is_empty() {
        return None;
    }
    let voters = members.voters();
    if members.is_changing {
        // One that another leader has left half done.
        let is_between = |member: &Member| member.standing != Standing::Voter && member.standing != Standing::Learner;
        return members.members.iter().any(is_between).then_some(Step::Vote(voters));
    }
    let chosen = choose_voters(wanted, members, &voters, myself);
    if chosen != voters && !chosen.is_empty() {
        let heirs = || {
            let stays = |member: &&Member| chosen.contains(&member.node) && voters.contains(&member.node);
            members.members.iter().filter(stays).filter(|member| is_able(member, myself))
        };
        let goes = voters.contains(&myself) && !chosen.contains(&myself);
        let others = || heirs().filter(|heir| Some(heir.node) != wanted.not_heir);
        let heir = others().find(|heir| Some(heir.host()) == wanted.home).or_else(|| others().next());
        let heir = heir.or_else(|| heirs().next());
        return Some(match heir {
            Some(heir) if goes => Step::HandOver(heir.node),
            _ => Step::Vote(chosen),
        });
    }
    let is_over = |member: &&Member| member.standing == Standing::Learner && !wanted.keeps(member);
    if let Some(gone) = members.members.iter().find(is_over) {
        return Some(Step::Remove(gone.node));
    }
    // While one moves, one at a time.
    let moves = members.members.iter().any(|member| voters.contains(&member.node) && !wanted.keeps(member));
    if !wanted.may_add || (moves && is_copying(wanted, members, myself)) {
        return None;
    }
    let is_missing = |node: &&NodeId| wanted.member_on(**node, members).is_none() && !wanted.silent.contains(node);
    wanted.nodes.iter().find(is_missing).map(|node| Step::Add(*node))
}

/// Returns whether one of the members that are wanted has not caught up yet. Nothing is copied to one that does not answer.
pub fn is_copying(wanted: &Wanted<'_>, members: &Members, myself: NodeId) -> bool {
    let learns = |member: &Member| {
        member.standing == Standing::Learner && wanted.keeps(member) && !wanted.silent.contains(&member.host())
    };
    members.members.iter().any(|member| learns(member) && !is_able(member, myself))
}

/// The voters of a group as the one sees them that leads it.
#[derive(Debug, Clone)]
pub struct LedGroup {
    at: Instant,
    /// True for each voter that answers; none while the voters change.
    voters: Vec<bool>,
    /// The nodes whose members answer.
    heard: BTreeSet<NodeId>,
}

impl LedGroup {
    /// The voters of a group that the member `myself` leads.
    pub fn of(members: &Members, myself: NodeId, at: Instant) -> LedGroup {
        let answers = |member: &Member| {
            let silent = member.progress.and_then(|progress| progress.silent);
            member.node == myself || silent.is_some_and(|silent| silent < limits::PEER_SUSPECTED)
        };
        let votes = |member: &&Member| member.standing != Standing::Learner && !members.is_changing;
        let heard = members.members.iter().filter(|member| answers(member)).map(Member::host).collect();
        LedGroup { at, voters: members.members.iter().filter(votes).map(answers).collect(), heard }
    }

    /// Returns whether one node is not heard, and a majority of the voters is. What was seen a while ago says nothing any more.
    pub fn goes_on_without(&self, node: NodeId, now: Instant) -> bool {
        let is_of_now = now.saturating_duration_since(self.at) < limits::PEER_SUSPECTED;
        let answering = self.voters.iter().filter(|answers| **answers).count();
        is_of_now && !self.heard.contains(&node) && answering > self.voters.len() / 2
    }
}

/// Returns whether a node may leave those that vote: a majority of the voters answers, that node among them as long as it does, and
/// of the others alone as well, since both have to agree. Where the node alone votes, another one has to be there for it. False
/// while the voters change.
pub fn votes_without(members: &Members, without: NodeId, answers: impl Fn(&Member) -> bool) -> bool {
    let votes = |member: &&Member| member.standing != Standing::Learner;
    let voters: Vec<&Member> = members.members.iter().filter(votes).collect();
    let others: Vec<&Member> = voters.iter().copied().filter(|member| member.host() != without).collect();
    let answer = |of: &[&Member]| of.iter().filter(|member| answers(member)).count() > of.len() / 2;
    let has_heir = || members.members.iter().any(|member| member.host() != without && answers(member));
    let others_do = if others.is_empty() { has_heir() } else { answer(&others) };
    !members.is_changing && answer(&voters) && others_do
}

fn is_able(member: &Member, myself: NodeId) -> bool {
    member.node == myself || member.progress.is_some_and(|progress| progress.is_caught_up)
}

/// The members that should vote next.
fn choose_voters(
    wanted: &Wanted<'_>,
    members: &Members,
    voters: &BTreeSet<NodeId>,
    myself: NodeId,
) -> BTreeSet<NodeId> {
    let voter_count = wanted.voter_count;
    let is_able = |number: NodeId| members.get(number).is_some_and(|member| is_able(member, myself));
    let (staying, going): (BTreeSet<NodeId>, BTreeSet<NodeId>) =
        voters.iter().partition(|voter| members.get(**voter).is_some_and(|member| wanted.keeps(member)));
    let mut chosen = staying;
    // Those that vote stay; among others the first ones that have caught up come to it.
    for member in wanted.nodes.iter().filter_map(|node| wanted.member_on(*node, members)) {
        if chosen.len() < voter_count && is_able(member.node) {
            chosen.insert(member.node);
        }
    }
    // Whoever is to go votes until there is another one for it: the leader longest, and one that is behind goes first.
    let mut going: Vec<NodeId> = going.into_iter().collect();
    going.sort_by_key(|voter| (*voter != myself, !is_able(*voter)));
    for voter in going {
        if chosen.len() < voter_count.min(voters.len()) {
            chosen.insert(voter);
        }
    }
    // No even number of them while more nodes are on their way.
    let is_on_the_way = |chosen: &BTreeSet<NodeId>| chosen.len() > 1 && chosen.len() < voter_count;
    while is_on_the_way(&chosen) && chosen.len().is_multiple_of(2) && !voters.is_superset(&chosen) {
        let last = chosen.iter().copied().rfind(|node| !voters.contains(node));
        chosen.remove(&last.unwrap_or(myself));
    }
    // More than are wanted where a node has left: those go first that are behind.
    while chosen.len() > voter_count {
        let others = || chosen.iter().copied().filter(|node| *node != myself);
        let Some(last) = others().rfind(|node| !is_able(*node)).or_else(|| others().next_back()) else {
            break;
        };
        chosen.remove(&last);
    }
    chosen
}

/// Members of one group that are no more though their nodes are there: those have another replica now, under another number.
#[derive(Clone, Default)]
pub struct Lost {
    members: Rc<RefCell<BTreeSet<NodeId>>>,
    asked: Rc<Cell<Option<Instant>>>,
}

impl Lost {
    /// Those that are known, of these members.
    pub fn of(&self, members: &Members) -> BTreeSet<NodeId> {
        self.members.borrow_mut().retain(|lost| members.get(*lost).is_some());
        self.members.borrow().clone()
    }

    /// A member that does not get on, and whose node is to be asked now if it has it still: the node, and the member.
    pub fn suspect(
        &self,
        wanted: &Wanted<'_>,
        members: &Members,
        myself: NodeId,
        now: Instant,
    ) -> Option<(NodeId, NodeId)> {
        let is_early = |at: Instant| now.saturating_duration_since(at) < limits::REPLICA_DOUBT;
        if self.asked.get().is_some_and(is_early) {
            return None;
        }
        let is_odd = |member: &&Member| {
            wanted.keeps(member) && !is_able(member, myself) && !wanted.silent.contains(&member.host())
        };
        let suspect = members.members.iter().find(is_odd)?;
        self.asked.set(Some(now));
        Some((suspect.host(), suspect.node))
    }

    /// Notes what the node of a suspect has said: the number of the replica that it has.
    pub fn note(&self, suspect: NodeId, found: NodeId) {
        if suspect != found {
            self.members.borrow_mut().insert(suspect);
        }
    }
}

/// Nodes that were to get a member of one group and have not told its number: each is passed over for a while, so that the others
/// get theirs.
#[derive(Clone, Default)]
pub struct Untold(Rc<RefCell<BTreeMap<NodeId, (Instant, Duration)>>>);

impl Untold {
    /// Those that are not to be asked now.
    pub fn at(&self, now: Instant) -> BTreeSet<NodeId> {
        self.0.borrow().iter().filter(|(_, (again, _))| now < *again).map(|(node, _)| *node).collect()
    }

    /// Notes what came of a question to a node. Returns true if it fails for so long that an operator is to know, once.
    pub fn note<T, E>(&self, node: NodeId, told: &Result<T, E>, now: Instant) -> bool {
        let mut untold = self.0.borrow_mut();
        let before = untold.remove(&node).map(|(_, pause)| pause);
        if told.is_ok() {
            return false;
        }
        let pause = before.map_or(limits::MEMBERS_LOOK, |pause| (2 * pause).min(limits::MEMBERS_PAUSE_MAX));
        untold.insert(node, (now + pause, pause));
        pause >= limits::MEMBERS_PAUSE_TOLD && before.is_some_and(|before| before < limits::MEMBERS_PAUSE_TOLD)
    }
}

/// The leads of one group that were given away since the leader is to go. One that comes back was not wanted by the heir, or could
/// not be had: each such try costs an election, so there is a pause, longer each time, and another heir.
#[derive(Debug, Default)]
pub struct HandOvers(Option<HandedOver>);

#[derive(Debug)]
struct HandedOver {
    term: u64,
    heir: NodeId,
    /// None before this.
    again: Instant,
    /// The pause if it comes back.
    pause: Duration,
}

impl HandOvers {
    /// Returns whether the member that leads in `term` may give the lead away now.
    pub fn may(&self, term: u64, now: Instant) -> bool {
        // In the same term the heir has not been told, or has not got on.
        self.0.as_ref().is_none_or(|last| last.term == term || now >= last.again)
    }

    /// The heir that did not keep the lead in an earlier term: another one comes first.
    pub fn last_heir(&self, term: u64) -> Option<NodeId> {
        self.0.as_ref().filter(|last| last.term != term).map(|last| last.heir)
    }

    /// Notes that `heir` is to lead.
    pub fn note(&mut self, term: u64, heir: NodeId, now: Instant) {
        let pause = match &self.0 {
            Some(last) if last.term == term => last.pause,
            // It was well for so long that this is another story.
            Some(last) if now >= last.again + 2 * last.pause => limits::HOME_IS_BACK,
            Some(last) => (2 * last.pause).min(limits::HOME_IS_BACK_MAX),
            None => limits::HOME_IS_BACK,
        };
        self.0 = Some(HandedOver { term, heir, again: now + pause, pause });
    }
}

/// Takes a step. `number_of` asks a node for the number of its replica.
///
/// # Errors
/// The reason that it was not taken; it is tried again.
pub async fn take(
    group: Group,
    step: Step,
    number_of: impl AsyncFnOnce(NodeId) -> Result<NodeId, String>,
) -> Result<(), String> {
    let taken = match step {
        Step::Add(node) => {
            let number = number_of(node).await?;
            // It is never connected to: the map says where a node is.
            group.add_learner(number, PeerAddress::on(node, number)).await
        }
        Step::Vote(voters) => group.set_voters(voters, Former::Learner).await,
        Step::Remove(member) => group.remove(member).await,
        Step::HandOver(heir) => return group.hand_over(heir).await.map_err(|error| error.to_string()),
    };
    taken.map_err(|error| error.to_string())
}
