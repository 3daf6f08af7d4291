//! The ties of a group to other nodes: the way to its other members, and the place where these find it.

use std::cell::RefCell;
use std::rc::Rc;

use basalt_raft::{Error, Group, GroupHooks, GroupOptions, Machine, Transport};
use basalt_storage::log::RaftLog;

use super::Peers;

/// Takes a group that others may ask for.
type OnOpen = Box<dyn FnOnce(&Group)>;

/// The ties of a group to other nodes.
#[derive(Default)]
pub struct Ties {
    /// The way to its other members; `None` on a node alone.
    pub transport: Option<Rc<dyn Transport>>,
    /// The links with other nodes, where there are any.
    pub links: Option<Peers>,
    /// Is told of the group as soon as others may ask for it, which is before it takes requests.
    pub on_open: Option<OnOpen>,
    /// Is told if the group has not come to take requests: nobody may ask for it any more.
    pub on_failure: Option<Box<dyn FnOnce()>>,
}

impl Ties {
    /// Opens a group with them, and waits until it takes requests, if no other node can. A group that waits for others is a
    /// follower until it hears of them, and its reads wait for a barrier.
    ///
    /// # Errors
    /// As [`Group::open_with`] and [`Group::wait_ready`].
    pub async fn open(
        self,
        options: GroupOptions,
        hooks: GroupHooks,
        log: RaftLog,
        machine: Rc<RefCell<dyn Machine>>,
    ) -> Result<Group, Error> {
        // Its members are those of the options until it has written them.
        let founds_alone = options.founder && options.voters.len() == 1;
        let group = match self.transport {
            Some(transport) => Group::open_with(options, hooks, transport, log, machine).await?,
            None => Group::open(options, hooks, log, machine).await?,
        };
        if let Some(on_open) = self.on_open {
            on_open(&group);
        }
        if !founds_alone && !group.is_only_voter() {
            return Ok(group);
        }
        match group.wait_ready().await {
            Ok(()) => Ok(group),
            Err(error) => {
                // Whoever else has the group would keep its files open.
                if let Some(on_failure) = self.on_failure {
                    on_failure();
                }
                group.abandon().await;
                Err(error)
            }
        }
    }
}
