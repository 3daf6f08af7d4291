//! The commands on the cluster. Their ids are 1001 to 1099.

use super::{facts, newer_facts};
use crate::commands::{Command, help};

/// The commands on the cluster.
pub(in crate::commands) static COMMANDS: &[Command] = &[
    Command::help(1001, &facts::CLUSTER, help::CLUSTER).of_cluster().containing(CLUSTER),
    Command::session(1002, &facts::ASKING).of_cluster(),
    Command::session(1003, &facts::READONLY).of_cluster(),
    Command::session(1004, &facts::READWRITE).of_cluster(),
];

static CLUSTER: &[Command] = &[
    Command::session(1020, &facts::CLUSTER_ADDSLOTS).of_cluster(),
    Command::session(1021, &facts::CLUSTER_ADDSLOTSRANGE).of_cluster(),
    Command::session(1022, &facts::CLUSTER_BUMPEPOCH).of_cluster(),
    Command::session(1023, &facts::CLUSTER_COUNT_FAILURE_REPORTS).of_cluster(),
    Command::session(1024, &facts::CLUSTER_COUNTKEYSINSLOT).of_cluster(),
    Command::session(1025, &facts::CLUSTER_DELSLOTS).of_cluster(),
    Command::session(1026, &facts::CLUSTER_DELSLOTSRANGE).of_cluster(),
    Command::session(1027, &facts::CLUSTER_FAILOVER).of_cluster(),
    Command::session(1028, &facts::CLUSTER_FLUSHSLOTS).of_cluster().after_replies(),
    Command::session(1029, &facts::CLUSTER_FORGET).of_cluster(),
    Command::session(1030, &facts::CLUSTER_GETKEYSINSLOT).of_cluster(),
    Command::help(1031, &facts::CLUSTER_HELP, help::CLUSTER).of_cluster(),
    Command::session(1032, &facts::CLUSTER_INFO).of_cluster(),
    Command::session(1033, &facts::CLUSTER_KEYSLOT).of_cluster(),
    Command::session(1034, &facts::CLUSTER_LINKS).of_cluster(),
    Command::session(1035, &facts::CLUSTER_MEET).of_cluster(),
    Command::session(1036, &facts::CLUSTER_MYID).of_cluster(),
    Command::session(1037, &newer_facts::CLUSTER_MYSHARDID).of_cluster(),
    Command::session(1038, &facts::CLUSTER_NODES).of_cluster(),
    Command::session(1039, &facts::CLUSTER_REPLICAS).of_cluster(),
    Command::session(1040, &facts::CLUSTER_REPLICATE).of_cluster(),
    Command::session(1041, &facts::CLUSTER_RESET).of_cluster().after_replies(),
    Command::session(1042, &facts::CLUSTER_SAVECONFIG).of_cluster(),
    Command::session(1043, &facts::CLUSTER_SET_CONFIG_EPOCH).of_cluster(),
    Command::session(1044, &facts::CLUSTER_SETSLOT).of_cluster(),
    Command::session(1045, &facts::CLUSTER_SHARDS).of_cluster(),
    Command::session(1046, &facts::CLUSTER_SLAVES).of_cluster(),
    Command::session(1047, &facts::CLUSTER_SLOTS).of_cluster(),
];
