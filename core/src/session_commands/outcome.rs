//! The next step that a command that concerns a connection or the node leaves to its core.

use crate::clients::{Audience, SubscriptionChange};
use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::map::Change;
use crate::commands::{CommandError, Merge};
use crate::ids::ShardId;
use crate::mail::{Control, Published};
use crate::multi_shard::{Coordinator, Part};

/// The core's next step after a command that concerns a connection or the node.
pub enum Outcome {
    /// Nothing: the reply is written.
    Done,
    /// The connection is closed after the reply.
    Close,
    /// The node stops; there is no reply.
    Stop,
    /// Every core is asked, and the reply is made of their answers.
    Control(Control, Merge),
    /// The node gives up its slots if it has no keys; else it replies with this.
    GiveUp(&'static str),
    /// The node leaves its cluster, and is one of its own again.
    LeaveCluster,
    /// The cluster's map is changed; the reply says what came of it.
    Change(Box<Change>),
    /// The same for another node, which is told the epoch of the map besides.
    ChangeForNode(Box<Change>),
    /// The node becomes one of the cluster of the node that clients reach there.
    Meet(SocketAddr),
    /// These parts are sent, and the coordinator makes the reply of theirs.
    Parts(Vec<Part>, Box<dyn Coordinator>),
    /// The connection waits until replicas have what it has written.
    AwaitReplicas(ReplicaCall),
    /// The rows of a shard that are in memory are written to disk; the reply says what came of it.
    WriteOut(ShardId),
    /// Something of publish and subscribe.
    Fanout(FanoutOrder),
    /// The keys that are the arguments are watched.
    Watch,
    /// The connection watches nothing any more; the reply is written.
    Unwatch,
    /// The reply is `OK`, after this time.
    Sleep(Duration),
    /// The settings that were changed are put into their file, by another thread; the reply says what came of it.
    RewriteConfig,
    /// Another thread gives memory back that nobody uses; the reply is written.
    GiveMemoryBack,
    /// The file of users is read or written, by another thread; the reply says what came of it.
    UserFile(UserFile),
    /// The connection is as new, and these subscriptions have ended; the reply is written.
    Reset(Vec<SubscriptionChange>),
}

/// A call of WAIT or WAITAOF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaCall {
    /// The number of followers that are to have on disk what the connection has written.
    pub wanted: usize,
    /// The longest wait; `None` for as long as it takes.
    pub timeout: Option<Duration>,
    /// The number of logs here that have it on disk, for a reply that tells of these too.
    pub local: Option<i64>,
}

/// Something that is done with the file of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFile {
    /// Its users are put in the place of those there are.
    Load,
    /// The users that there are are written to it.
    Save,
}

/// A core's part of a command of publish and subscribe.
#[derive(Debug)]
pub enum FanoutOrder {
    /// The connection has made and ended subscriptions; the reply is written.
    Change(Vec<SubscriptionChange>),
    /// A message is published; the reply is how many clients get it.
    Publish(Published),
    /// The channels that have subscribers, those that match a pattern if there is one.
    Channels(Audience, Option<Box<[u8]>>),
    /// The numbers of clients that have subscribed to each of these channels.
    Subscribers(Audience, Vec<Box<[u8]>>),
    /// The number of patterns that have subscribers.
    PatternCount,
}

/// The outcome of a command, or Redis' text for what is wrong with its arguments: nothing has changed then.
pub type Ran = Result<Outcome, CommandError>;
