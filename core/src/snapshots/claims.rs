//! Claims to groups: one snapshot of each is received at a time, and not too many together.
//!
//! The newer one takes the place of the older, unless its leader's term is lower: two nodes that both believe to lead would drive
//! each other out for ever. A newcomer would let go of a group when its connection ends: while the group installs, it is taken, for
//! as long as that lasts.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use basalt_net::peer::{GroupNumber, Unable, UnableReason, Vote};

use super::halt::Halt;
use super::receive_error::ReceiveError;
use crate::limits::snapshots::{RECEIVED_MAX, TAKE_OVER_LOOKS, TAKE_OVER_WAIT};

/// The groups of a node that snapshots come for.
#[derive(Debug, Default)]
pub(super) struct Claims {
    groups: Mutex<HashMap<GroupNumber, State>>,
    changed: Condvar,
}

/// A group's snapshots. There are as many as the node has had groups that snapshots came for.
#[derive(Debug, Default)]
struct State {
    /// The one that is being received.
    holder: Option<Holder>,
    /// The last one that was installed, with the vote that was the answer: it may have been lost.
    installed: Option<(u64, Vote)>,
}

#[derive(Debug)]
struct Holder {
    halt: Arc<Halt>,
    term: u64,
    /// Set while the group has it.
    is_installing: bool,
    /// Bytes that are still to be written.
    missing_bytes: u64,
}

/// The outcome of asking for a group.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is the caller's until that is dropped.
    Claimed(Claim),
    /// This very snapshot is installed already; the vote that was the answer.
    Installed(Vote),
}

/// The right to receive a snapshot of a group.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    group: GroupNumber,
}

impl Claims {
    /// Asks for the group, for a snapshot of this checkpoint that a leader of `term` sends; whoever has the group gives way. Waits
    /// until it has, or `halt` asks for the end.
    ///
    /// # Errors
    /// The reason to be told to the sender.
    pub(super) fn ask(
        self: &Arc<Self>,
        group: GroupNumber,
        term: u64,
        checkpoint: u64,
        halt: &Arc<Halt>,
    ) -> Result<Asked, ReceiveError> {
        let refuse = |reason, text: String| Err(ReceiveError::Other(Unable::new(reason, text)));
        let deadline = Instant::now() + TAKE_OVER_WAIT;
        let mut groups = self.groups();
        loop {
            let others = groups.values().filter(|state| state.holder.is_some()).count();
            let state = groups.entry(group).or_default();
            match state.installed {
                Some((installed, vote)) if installed == checkpoint => return Ok(Asked::Installed(vote)),
                _ => {}
            }
            let Some(holder) = &state.holder else {
                if others >= RECEIVED_MAX {
                    let text = format!("{RECEIVED_MAX} snapshots are received at once, and as many are");
                    return refuse(UnableReason::Overloaded, text);
                }
                let halt = halt.clone();
                state.holder = Some(Holder { halt, term, is_installing: false, missing_bytes: 0 });
                return Ok(Asked::Claimed(Claim { claims: self.clone(), group }));
            };
            if holder.term > term {
                let text =
                    format!("a snapshot of a leader of term {} is received, this one is of term {term}", holder.term);
                return refuse(UnableReason::Overloaded, text);
            }
            if halt.is_halted() {
                return refuse(UnableReason::Closed, "the node stops, or a newer snapshot has come".to_owned());
            }
            if Instant::now() >= deadline {
                let doing = if holder.is_installing { "installed" } else { "received" };
                return refuse(UnableReason::Overloaded, format!("a snapshot of the group is still being {doing}"));
            }
            if !holder.is_installing {
                holder.halt.halt();
            }
            groups = self.changed.wait_timeout(groups, TAKE_OVER_LOOKS).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<GroupNumber, State>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Says how much is still to be written; returns what all others have still to write.
    pub(super) fn set_missing(&self, bytes: u64) -> u64 {
        let mut groups = self.claims.groups();
        self.change(&mut groups, |holder| holder.missing_bytes = bytes);
        let of = |(&group, state): (&GroupNumber, &State)| match &state.holder {
            Some(holder) if group != self.group => holder.missing_bytes,
            _ => 0,
        };
        groups.iter().map(of).fold(0, u64::saturating_add)
    }

    /// Says that the group has it from now on: nobody drives it out.
    pub(super) fn begin_install(&self) {
        self.change(&mut self.claims.groups(), |holder| (holder.is_installing, holder.missing_bytes) = (true, 0));
    }

    /// Remembers the answer.
    pub(super) fn installed(&self, checkpoint: u64, vote: Vote) {
        self.claims.groups().entry(self.group).or_default().installed = Some((checkpoint, vote));
    }

    fn change(&self, groups: &mut HashMap<GroupNumber, State>, change: impl FnOnce(&mut Holder)) {
        let holder = groups.get_mut(&self.group).and_then(|state| state.holder.as_mut());
        change(holder.expect("a group is held for as long as its claim lives"));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(state) = self.claims.groups().get_mut(&self.group) {
            state.holder = None;
        }
        self.claims.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use basalt_net::peer::NodeNumber;

    use super::*;

    fn ask(claims: &Arc<Claims>, group: u64, term: u64, halt: &Arc<Halt>) -> Result<Asked, ReceiveError> {
        claims.ask(GroupNumber(group), term, 100 + term, halt)
    }

    fn claimed(asked: Result<Asked, ReceiveError>) -> Claim {
        match asked {
            Ok(Asked::Claimed(claim)) => claim,
            other => panic!("{other:?}"),
        }
    }

    fn new_halt() -> Arc<Halt> {
        Arc::default()
    }

    #[test]
    fn a_newer_snapshot_drives_the_older_one_out_and_an_older_leader_s_does_not() {
        let claims = Arc::new(Claims::default());
        let first = new_halt();
        let claim = claimed(ask(&claims, 1, 5, &first));
        let refused = ask(&claims, 1, 4, &new_halt()).unwrap_err().to_string();
        assert!(refused.contains("of a leader of term 5"), "{refused}");
        assert!(!first.is_halted());
        let giving_way = first.clone();
        let gives_way = std::thread::spawn(move || {
            assert!(giving_way.wait(TAKE_OVER_WAIT));
            drop(claim);
        });
        let _second = claimed(ask(&claims, 1, 5, &new_halt()));
        gives_way.join().unwrap();
    }

    #[test]
    fn while_it_is_installed_a_snapshot_is_not_driven_out_and_its_answer_is_remembered() {
        let claims = Arc::new(Claims::default());
        let halt = new_halt();
        let claim = claimed(ask(&claims, 1, 5, &halt));
        claim.begin_install();
        let vote = Vote { term: 5, node: NodeNumber(3), is_committed: true };
        let installs = std::thread::spawn(move || {
            std::thread::sleep(TAKE_OVER_LOOKS);
            claim.installed(105, vote);
        });
        assert!(matches!(ask(&claims, 1, 5, &new_halt()), Ok(Asked::Installed(found)) if found == vote));
        installs.join().unwrap();
        assert!(!halt.is_halted());
        assert!(matches!(ask(&claims, 1, 6, &new_halt()), Ok(Asked::Claimed(_))));
        // Who waits for it may be asked to end.
        let claim = claimed(ask(&claims, 1, 7, &new_halt()));
        claim.begin_install();
        let halt = new_halt();
        halt.halt();
        assert!(ask(&claims, 1, 7, &halt).is_err());
    }

    #[test]
    fn no_more_are_received_at_once_than_may_be_and_each_knows_of_the_others_bytes() {
        let claims = Arc::new(Claims::default());
        let held: Vec<Claim> =
            (0..RECEIVED_MAX as u64).map(|group| claimed(ask(&claims, group, 1, &new_halt()))).collect();
        let refused = ask(&claims, 99, 1, &new_halt()).unwrap_err();
        assert_eq!(refused.unable().reason, UnableReason::Overloaded);
        for (number, claim) in (1..).zip(&held) {
            claim.set_missing(number * 10);
        }
        let all: u64 = (1..=RECEIVED_MAX as u64).map(|number| number * 10).sum();
        assert_eq!(held[0].set_missing(5), all - 10);
        held[1].begin_install();
        assert_eq!(held[0].set_missing(5), all - 30, "what is whole takes no more");
        drop(held);
        assert!(ask(&claims, 99, 1, &new_halt()).is_ok());
    }
}
