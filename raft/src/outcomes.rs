//! Outcomes of proposals on their way back to who proposed them, by ticket.
//!
//! openraft completes a proposal when its entry is applied, at once if this node does not lead, and not at all when it
//! stops; [`Outcomes`] turns all of that into exactly one outcome per ticket: in the order of the proposals, but for those that
//! were refused. These are in no log, and a proposal before them may be there for very long without anybody knowing of it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use openraft::OptionalSend;
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;

use crate::error::ProposeError;
use crate::ids::Replies;
use crate::sabotage::{self, Sabotage};
use crate::types::{LogId, TypeConfig};

/// The end of a proposal: its replies, or why there are none.
pub type Outcome = Result<Replies, ProposeError>;

/// A proposal on its way.
struct Proposal {
    number: u64,
    ticket: u64,
    outcome: Option<Outcome>,
}

impl Proposal {
    /// Returns whether the proposal has certainly come to nothing: it never was in the log.
    fn is_refused(&self) -> bool {
        matches!(&self.outcome, Some(Err(error)) if error.is_certain())
    }
}

/// The place of the proposal `number`. Few are on their way, and mostly the oldest is asked for.
fn place_of(proposals: &VecDeque<Proposal>, number: u64) -> Option<usize> {
    proposals.iter().position(|proposal| proposal.number == number)
}

/// The proposals on their way, oldest first.
pub(crate) struct Outcomes {
    proposals: RefCell<VecDeque<Proposal>>,
    /// Index and ticket of the proposals that are committed and not executed yet, in the order of the log. Proposals that
    /// were lost are not among them, nor are entries of other leaders.
    committed: RefCell<VecDeque<(u64, u64)>>,
    /// The number of the next proposal.
    next: Cell<u64>,
    /// While a proposal is handed to openraft, outcomes are only noted: who proposes must not be called back meanwhile.
    held: Cell<bool>,
    deliver: Box<dyn Fn(u64, Outcome)>,
}

impl Outcomes {
    pub(crate) fn new(deliver: Box<dyn Fn(u64, Outcome)>) -> Rc<Outcomes> {
        Rc::new(Outcomes {
            proposals: RefCell::default(),
            committed: RefCell::default(),
            next: Cell::new(0),
            held: Cell::new(false),
            deliver,
        })
    }

    /// Counts the proposals on their way.
    pub(crate) fn len(&self) -> usize {
        self.proposals.borrow().len()
    }

    /// Begins a proposal for `ticket` and holds outcomes back until [`Outcomes::proposed`] or [`Outcomes::refused`].
    pub(crate) fn begin(self: &Rc<Self>, ticket: u64) -> OutcomeResponder<ClientWriteResult<TypeConfig>> {
        let mut proposals = self.proposals.borrow_mut();
        let number = self.next.replace(self.next.get() + 1);
        proposals.push_back(Proposal { number, ticket, outcome: None });
        self.held.set(true);
        OutcomeResponder { outcomes: Some(self.clone()), number, complete: complete_write }
    }

    /// openraft took the newest proposal.
    pub(crate) fn proposed(&self) {
        self.held.set(false);
        self.deliver_ready();
    }

    /// openraft did not take the newest proposal: its ticket gets no outcome by callback.
    pub(crate) fn refused(&self) {
        self.proposals.borrow_mut().pop_back();
        self.held.set(false);
        self.deliver_ready();
    }

    /// The proposal is committed as entry `index`.
    fn committed(&self, number: u64, index: u64) {
        let ticket = {
            let proposals = self.proposals.borrow();
            let place = place_of(&proposals, number).expect("a proposal is committed before it has its outcome");
            proposals[place].ticket
        };
        let mut committed = self.committed.borrow_mut();
        assert!(
            committed.back().is_none_or(|(last, _)| *last < index),
            "proposals are committed in the order of the log"
        );
        committed.push_back((index, ticket));
    }

    /// The ticket of the proposal that became entry `index`, which is about to be executed. Entries come in their order.
    pub(crate) fn take_ticket(&self, index: u64) -> Option<u64> {
        let mut committed = self.committed.borrow_mut();
        while committed.front().is_some_and(|(at, _)| *at < index) {
            committed.pop_front();
        }
        committed.pop_front_if(|(at, _)| *at == index).map(|(_, ticket)| ticket)
    }

    fn complete(&self, number: u64, outcome: Outcome) {
        let may_deliver = {
            let mut proposals = self.proposals.borrow_mut();
            // One that openraft has not taken is not among them any more.
            let Some(place) = place_of(&proposals, number) else { return };
            assert!(proposals[place].outcome.is_none(), "a proposal has one outcome");
            proposals[place].outcome = Some(outcome);
            place == 0 || proposals[place].is_refused()
        };
        if may_deliver && !self.held.get() {
            self.deliver_ready();
        }
    }

    /// Delivers the outcomes that are at the front of the queue, and those of proposals that were refused.
    fn deliver_ready(&self) {
        loop {
            let proposal = {
                let mut proposals = self.proposals.borrow_mut();
                if self.held.get() {
                    return;
                }
                let is_due = |(place, proposal): (usize, &Proposal)| {
                    proposal.is_refused() || (place == 0 && proposal.outcome.is_some())
                };
                let Some(place) = proposals.iter().enumerate().position(is_due) else { return };
                proposals.remove(place)
            };
            // Outside the borrow: who is called may propose again.
            if let Some(Proposal { ticket, outcome: Some(outcome), .. }) = proposal {
                (self.deliver)(ticket, outcome);
            }
        }
    }
}

/// openraft's end of a proposal. Dropped without a result, it reports that the group stopped.
pub struct OutcomeResponder<T> {
    outcomes: Option<Rc<Outcomes>>,
    number: u64,
    complete: fn(T) -> Outcome,
}

fn complete_write(result: ClientWriteResult<TypeConfig>) -> Outcome {
    match result {
        Ok(response) => Ok(response.data),
        Err(ClientWriteError::ForwardToLeader(forward)) if forward.reason == ForwardReason::LeaseExpired => {
            Err(ProposeError::Unconfirmed)
        }
        Err(ClientWriteError::ForwardToLeader(forward)) => Err(ProposeError::NotLeader { leader: forward.leader_id }),
        Err(ClientWriteError::LogEntryDiscarded(forward)) if sabotage::is(Sabotage::SureRefusals) => {
            Err(ProposeError::NotLeader { leader: forward.leader_id })
        }
        Err(ClientWriteError::LogEntryDiscarded(forward)) => Err(ProposeError::Unknown { leader: forward.leader_id }),
        Err(error) => Err(ProposeError::Fatal(error.to_string())),
    }
}

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for OutcomeResponder<T> {
    fn on_commit(&mut self, log_id: LogId) {
        if let Some(outcomes) = &self.outcomes {
            outcomes.committed(self.number, log_id.index());
        }
    }

    fn on_complete(mut self, result: T) {
        if let Some(outcomes) = self.outcomes.take() {
            outcomes.complete(self.number, (self.complete)(result));
        }
    }
}

impl<T> Drop for OutcomeResponder<T> {
    fn drop(&mut self) {
        if let Some(outcomes) = self.outcomes.take() {
            outcomes.complete(self.number, Err(ProposeError::Stopped));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tickets as their outcomes came, and whether those were good.
    type Noted = Rc<RefCell<Vec<(u64, bool)>>>;

    fn noting() -> (Rc<Outcomes>, Noted) {
        let noted = Noted::default();
        let into = noted.clone();
        (Outcomes::new(Box::new(move |ticket, outcome| into.borrow_mut().push((ticket, outcome.is_ok())))), noted)
    }

    fn good() -> ClientWriteResult<TypeConfig> {
        let log_id = crate::types::log_id(1, 1);
        Ok(openraft::raft::ClientWriteResponse { log_id, data: Replies::default(), membership: None })
    }

    #[test]
    fn outcomes_wait_for_those_before_them() {
        let (outcomes, noted) = noting();
        let mut responders: Vec<_> = (10..14)
            .map(|ticket| {
                let responder = outcomes.begin(ticket);
                outcomes.proposed();
                responder
            })
            .collect();
        // The last is answered first (this node lost the lead), the second is dropped (openraft stopped).
        responders.pop().unwrap().on_complete(good());
        drop(responders.remove(1));
        assert_eq!(*noted.borrow(), []);
        responders.remove(0).on_complete(good());
        assert_eq!(*noted.borrow(), [(10, true), (11, false)]);
        responders.remove(0).on_complete(good());
        assert_eq!(*noted.borrow(), [(10, true), (11, false), (12, true), (13, true)]);
        assert_eq!(outcomes.len(), 0);
    }

    #[test]
    fn a_leader_that_is_not_confirmed_is_told_from_a_node_that_does_not_lead() {
        let refused = |reason| {
            let forward = openraft::errors::ForwardToLeader::empty().with_reason(reason);
            complete_write(Err(ClientWriteError::ForwardToLeader(forward)))
        };
        assert_eq!(refused(ForwardReason::LeaseExpired), Err(ProposeError::Unconfirmed));
        assert_eq!(refused(ForwardReason::NotLeader), Err(ProposeError::NotLeader { leader: None }));
    }

    #[test]
    fn what_is_refused_does_not_wait_for_what_may_never_be_known() {
        let (outcomes, noted) = noting();
        let propose = |ticket| {
            let responder = outcomes.begin(ticket);
            outcomes.proposed();
            responder
        };
        let refusal = || Err(ClientWriteError::ForwardToLeader(openraft::errors::ForwardToLeader::empty()));
        let unknown = propose(10);
        // As many as may come while the log says nothing: none of them is kept.
        for ticket in 11..200 {
            propose(ticket).on_complete(refusal());
            assert_eq!((noted.borrow().last(), outcomes.len()), (Some(&(ticket, false)), 1));
        }
        let (taken, mut behind) = (propose(200), propose(201));
        behind.on_commit(crate::types::log_id(1, 8));
        behind.on_complete(good());
        assert_eq!(noted.borrow().len(), 189, "what is in the log has its order");
        unknown.on_complete(good());
        taken.on_complete(refusal());
        assert_eq!(noted.borrow()[189..], [(10, true), (200, false), (201, true)]);
        assert_eq!((outcomes.take_ticket(8), outcomes.len()), (Some(201), 0));
    }

    #[test]
    fn an_entry_gets_the_ticket_it_was_proposed_with_whatever_was_lost_before() {
        let (outcomes, noted) = noting();
        let mut responders: Vec<_> = (10..14)
            .map(|ticket| {
                let responder = outcomes.begin(ticket);
                outcomes.proposed();
                responder
            })
            .collect();
        // The first is never committed, and entries of other leaders are: 5 and 7.
        responders[1].on_commit(crate::types::log_id(1, 6));
        responders[2].on_commit(crate::types::log_id(3, 8));
        assert_eq!((outcomes.take_ticket(5), outcomes.take_ticket(6), outcomes.take_ticket(7)), (None, Some(11), None));
        // What was committed and not executed here (a snapshot came instead) is forgotten.
        responders[3].on_commit(crate::types::log_id(3, 9));
        assert_eq!((outcomes.take_ticket(9), outcomes.take_ticket(10)), (Some(13), None));
        assert!(outcomes.committed.borrow().is_empty());
        drop(responders);
        assert_eq!(*noted.borrow(), [(10, false), (11, false), (12, false), (13, false)]);
    }

    #[test]
    fn a_refused_proposal_has_no_outcome_and_nothing_is_delivered_while_proposing() {
        let (outcomes, noted) = noting();
        let first = outcomes.begin(1);
        outcomes.proposed();
        let second = outcomes.begin(2);
        first.on_complete(good());
        drop(second);
        assert_eq!(*noted.borrow(), [], "called back from inside a proposal");
        outcomes.refused();
        assert_eq!(*noted.borrow(), [(1, true)]);
        assert_eq!(outcomes.len(), 0);
    }

    #[test]
    fn who_takes_an_outcome_may_propose_again() {
        let again: Rc<RefCell<Option<Rc<Outcomes>>>> = Rc::default();
        let kept: Rc<RefCell<Vec<OutcomeResponder<ClientWriteResult<TypeConfig>>>>> = Rc::default();
        let (proposer, responders) = (again.clone(), kept.clone());
        let outcomes = Outcomes::new(Box::new(move |ticket, _| {
            let outcomes = proposer.borrow().clone().unwrap();
            responders.borrow_mut().push(outcomes.begin(ticket + 1));
            outcomes.proposed();
        }));
        *again.borrow_mut() = Some(outcomes.clone());
        let first = outcomes.begin(1);
        outcomes.proposed();
        first.on_complete(good());
        assert_eq!(outcomes.len(), 1);
        let second = kept.borrow_mut().pop().unwrap();
        second.on_complete(good());
        assert_eq!((outcomes.len(), kept.borrow().len()), (1, 1));
        *again.borrow_mut() = None;
        outcomes.held.set(true);
        kept.borrow_mut().clear();
    }
}
