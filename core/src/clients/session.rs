//! The state that a connection has set for itself: its database, protocol, name and the like.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use basalt_net::resp::Protocol;

use crate::acl::{User, UserTable, may_subscribe};
use crate::entry::waiting::Claim;

use super::subscriptions::{Audience, SubscriptionChange, Subscriptions};
use super::tracking::Tracking;
use super::transaction::{Transaction, Watching};

/// The user of connections that were given none: who may do everything.
static PLAIN_USER: LazyLock<Arc<User>> = LazyLock::new(|| Arc::new(User::plain_default()));

/// The things that have to be asked before a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing: it may do everything.
    Open,
    /// Its user's rights.
    Checked,
    /// Its name and a password: it may do little before it has given them.
    Locked,
}

/// The replies that the client wants (`CLIENT REPLY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// All of them.
    On,
    /// None.
    Off,
    /// Not that of the next command.
    SkipNext,
    /// Not that of the command being run.
    Skip,
}

/// The state of one client connection that its commands read and set.
#[derive(Debug)]
pub struct Session {
    /// The client's id, never used twice by a process.
    pub id: u64,
    /// The number of its socket; -1 if it has none.
    pub fd: i32,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// The address it connected to.
    pub local: Option<SocketAddr>,
    /// The moment at which it connected.
    pub connected: Instant,
    /// The moment of its last command.
    pub active: Instant,
    /// The protocol of its replies.
    pub protocol: Protocol,
    /// Its selected database.
    pub db: u8,
    /// Its user.
    pub user: Arc<User>,
    /// True if it has said who it is, or did not have to when it came.
    pub is_authenticated: bool,
    /// The things that have to be asked before a command of it is run: what follows from the two, and from the default user.
    pub gate: Gate,
    /// `CLIENT SETNAME`.
    pub name: Box<[u8]>,
    /// `CLIENT SETINFO lib-name`.
    pub library: Box<str>,
    /// `CLIENT SETINFO lib-ver`.
    pub library_version: Box<str>,
    /// `CLIENT REPLY`.
    pub reply_mode: ReplyMode,
    /// `CLIENT NO-EVICT`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: bool,
    /// `READONLY`: it reads what the replicas of this node have.
    pub is_readonly: bool,
    /// The id in the command table of the last command it sent.
    pub last_command: Option<u16>,
    /// Commands it has sent.
    pub command_count: u64,
    /// True if it is to be closed once what is queued is sent.
    pub closing: bool,
    /// Tells whether it waits for elements, while a command is under way that may.
    pub claim: Option<Arc<Claim>>,
    /// True while it waits until replicas have what it has written.
    pub awaits_replicas: bool,
    /// Its subscriptions, if it has any.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// Commands that it has sent after MULTI, if it has.
    pub transaction: Option<Box<Transaction>>,
    /// The keys that it watches, if there are some.
    pub watching: Option<Box<Watching>>,
    /// Its wish to hear when keys change that it keeps copies of.
    pub tracking: Option<Box<Tracking>>,
    /// True if it has had such a wish: shards may know of it.
    pub has_tracked: bool,
    /// Another node, if that sends commands of its clients here.
    pub forwarded: Option<Box<ForwardedFrom>>,
}

/// The other end of a connection over which another node sends the commands of one of its clients.
#[derive(Debug)]
pub struct ForwardedFrom {
    /// The number of the node.
    pub node: u64,
    /// The mark of what is refused because another node leads it; empty until the other end has told it.
    pub token: String,
    /// The rights of the client's user, for scripts; `None` for one that may do everything.
    pub rights: Option<Arc<[u8]>>,
}

impl ForwardedFrom {
    /// One of the node with this number that has said nothing yet.
    pub fn of(node: u64) -> ForwardedFrom {
        ForwardedFrom { node, token: String::new(), rights: None }
    }
}

impl Session {
    /// A fresh connection's state.
    pub fn new(id: u64, peer: Option<SocketAddr>, local: Option<SocketAddr>, now: Instant) -> Session {
        Session {
            id,
            fd: -1,
            peer,
            local,
            connected: now,
            active: now,
            protocol: Protocol::Resp2,
            db: 0,
            user: PLAIN_USER.clone(),
            is_authenticated: true,
            gate: Gate::Open,
            name: Box::default(),
            library: Box::default(),
            library_version: Box::default(),
            reply_mode: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            is_readonly: false,
            last_command: None,
            command_count: 0,
            closing: false,
            claim: None,
            awaits_replicas: false,
            subscriptions: None,
            transaction: None,
            watching: None,
            tracking: None,
            has_tracked: false,
            forwarded: None,
        }
    }

    /// Makes it one of the default user, as every connection is that has said nothing.
    pub fn admit(&mut self, users: &UserTable) {
        self.user = users.default_user().clone();
        self.is_authenticated = self.user.is_for_everybody();
        self.set_gate(users);
    }

    /// Makes it one of `user`, who was let in.
    pub fn log_in(&mut self, user: Arc<User>, users: &UserTable) {
        (self.user, self.is_authenticated) = (user, true);
        self.set_gate(users);
    }

    /// Takes what has become of its user. False if it is to be closed: its user is gone, or may not hear any more of what it has
    /// subscribed to.
    pub fn take_users(&mut self, users: &UserTable) -> bool {
        if self.forwarded.is_some() {
            // Rights are checked where its client is.
            return true;
        }
        let user = users.user(self.user.name()).filter(|user| user.is_still(&self.user));
        let Some(user) = user else { return false };
        let before = std::mem::replace(&mut self.user, user.clone());
        self.set_gate(users);
        before.has_channels_of(&self.user) || self.may_hear()
    }

    /// Returns whether its user may hear of all that it has subscribed to.
    fn may_hear(&self) -> bool {
        let Some(subscriptions) = &self.subscriptions else { return true };
        let audiences = [Audience::Channel, Audience::Pattern, Audience::ShardChannel];
        audiences.into_iter().all(|audience| {
            let mut names = subscriptions.of(audience).iter();
            names.all(|name| may_subscribe(&self.user, name, audience == Audience::Pattern))
        })
    }

    fn set_gate(&mut self, users: &UserTable) {
        self.gate = if !self.is_authenticated && !users.default_user().is_for_everybody() {
            Gate::Locked
        } else if self.user.may_do_everything() {
            Gate::Open
        } else {
            Gate::Checked
        };
    }

    /// Returns whether it has subscribed to channels.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions.as_ref().is_some_and(|subscriptions| subscriptions.has_channels())
    }

    /// Returns whether it is told of the commands of all clients.
    pub fn is_monitor(&self) -> bool {
        self.is_subscribed_to(Audience::Commands, b"")
    }

    /// Returns whether it is sent what it has not asked for one by one.
    pub fn is_listening(&self) -> bool {
        self.subscriptions.is_some()
    }

    /// Returns whether it waits for elements of keys, or for replicas.
    pub fn is_blocked(&self) -> bool {
        self.awaits_replicas || self.claim.as_ref().is_some_and(|claim| claim.is_waiting())
    }

    /// Returns whether it has subscribed to `name`.
    pub fn is_subscribed_to(&self, audience: Audience, name: &[u8]) -> bool {
        self.subscriptions.as_ref().is_some_and(|subscriptions| subscriptions.of(audience).contains(name))
    }

    /// Bytes of commands that it has queued, and of keys that it watches.
    pub fn transaction_bytes(&self) -> usize {
        let queued = self.transaction.as_ref().map_or(0, |transaction| transaction.held_bytes());
        queued + self.watching.as_ref().map_or(0, |watching| watching.bytes())
    }

    /// Ends all its subscriptions; returns what has changed.
    pub fn end_subscriptions(&mut self) -> Vec<SubscriptionChange> {
        let Some(ended) = self.subscriptions.take() else { return Vec::new() };
        let audiences =
            [Audience::Channel, Audience::Pattern, Audience::ShardChannel, Audience::Commands, Audience::Prefix];
        let of = |audience| {
            let names = ended.of(audience).iter();
            names.map(move |name| SubscriptionChange { audience, name: name.clone(), is_made: false })
        };
        audiences.into_iter().flat_map(of).collect()
    }

    /// `RESET`: everything as on a fresh connection but what it is, where it comes from and which library is behind it; and what it
    /// watches, of which its shards have to hear.
    pub fn reset(&mut self, users: &UserTable) {
        let fresh = Session { fd: self.fd, ..Session::new(self.id, self.peer, self.local, self.connected) };
        let (active, command_count, last_command) = (self.active, self.command_count, self.last_command);
        let (library, library_version) = (std::mem::take(&mut self.library), std::mem::take(&mut self.library_version));
        let (watching, has_tracked) = (self.watching.take(), self.has_tracked);
        *self =
            Session { watching, has_tracked, active, command_count, last_command, library, library_version, ..fresh };
        self.admit(users);
    }
}

/// The protocol's version as HELLO and CLIENT LIST write it.
pub(crate) fn protocol_number(protocol: Protocol) -> i64 {
    match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    }
}
