//! The commands of publish and subscribe. Their ids are 901 to 999.

use super::facts;
use crate::commands::{Command, help};

/// The commands of publish and subscribe.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::session(901, &facts::PUBLISH).publishing(),
    Command::session(902, &facts::SUBSCRIBE).subscribing(),
    Command::session(903, &facts::UNSUBSCRIBE).for_subscribers(),
    Command::session(904, &facts::PSUBSCRIBE).subscribing_by_patterns(),
    Command::session(905, &facts::PUNSUBSCRIBE).for_subscribers(),
    Command::session(906, &facts::SPUBLISH).by_slot().publishing(),
    Command::session(907, &facts::SSUBSCRIBE).by_slot().subscribing(),
    Command::session(908, &facts::SUNSUBSCRIBE).for_subscribers(),
    Command::help(909, &facts::PUBSUB, help::PUBSUB).containing(PUBSUB),
];

static PUBSUB: &[Command] = &[
    Command::session(920, &facts::PUBSUB_CHANNELS),
    Command::help(921, &facts::PUBSUB_HELP, help::PUBSUB),
    Command::session(922, &facts::PUBSUB_NUMPAT),
    Command::session(923, &facts::PUBSUB_NUMSUB),
    Command::session(924, &facts::PUBSUB_SHARDCHANNELS),
    Command::session(925, &facts::PUBSUB_SHARDNUMSUB),
];
