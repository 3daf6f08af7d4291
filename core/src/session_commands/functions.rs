//! The function of each command that concerns a connection or the node.
//!
//! What a newcomer would get wrong: these pointers are not in the rows of the table, as those of commands on keys are. The table
//! lies below sessions and the node, so that shards need not know them; its rows cannot name what works on them.

use std::sync::LazyLock;

use basalt_net::resp::Reply;

use super::outcome::Ran;
use super::{
    SessionContext, acl, client, cluster, command, command_docs, command_keys, config, connection, debug, info,
    latency, memory, placing, pubsub, raft, replication, script, server, slowlog, tracking, transactions,
};
use crate::commands::cluster::facts as of_cluster;
use crate::commands::cluster::newer_facts as newer_of_cluster;
use crate::commands::connection::facts as of_connections;
use crate::commands::connection::newer_facts as newer;
use crate::commands::facts::Facts;
use crate::commands::functions::facts as of_libraries;
use crate::commands::pubsub::facts as of_pubsub;
use crate::commands::raft::own_facts as of_raft;
use crate::commands::scripts::facts as of_scripts;
use crate::commands::server::facts as of_servers;
use crate::commands::server::newer_facts as newer_of_servers;
use crate::commands::server::own_facts as own;
use crate::commands::table::ID_END;
use crate::commands::transactions::facts as of_transactions;
use crate::commands::{Args, Command, Kind, table};

/// Runs a command that concerns a connection or the node.
pub(super) type Function = fn(&mut SessionContext<'_>, Args<'_>, &mut Reply<'_>) -> Ran;

/// Every one of them, by the facts of its command.
static FUNCTIONS: &[(&Facts, Function)] = &[
    (&of_connections::ACL_CAT, acl::categories),
    (&of_connections::ACL_DELUSER, acl::delete_user),
    (&of_connections::ACL_DRYRUN, acl::dry_run),
    (&of_connections::ACL_GENPASS, acl::generate_password),
    (&of_connections::ACL_GETUSER, acl::get_user),
    (&of_connections::ACL_LIST, acl::list),
    (&of_connections::ACL_LOAD, acl::load),
    (&of_connections::ACL_LOG, acl::log),
    (&of_connections::ACL_SAVE, acl::save),
    (&of_connections::ACL_SETUSER, acl::set_user),
    (&of_connections::ACL_USERS, acl::users),
    (&of_connections::ACL_WHOAMI, acl::who_am_i),
    (&of_connections::AUTH, connection::auth),
    (&of_connections::ECHO, connection::echo),
    (&of_connections::HELLO, connection::hello),
    (&of_connections::PING, connection::ping),
    (&of_connections::QUIT, connection::quit),
    (&of_connections::RESET, connection::reset),
    (&of_connections::SELECT, connection::select),
    (&of_connections::CLIENT_GETNAME, client::get_name),
    (&of_connections::CLIENT_ID, client::id),
    (&of_connections::CLIENT_INFO, client::info),
    (&of_connections::CLIENT_KILL, client::kill),
    (&of_connections::CLIENT_LIST, client::list),
    (&of_connections::CLIENT_NO_EVICT, client::no_evict),
    (&newer::CLIENT_NO_TOUCH, client::no_touch),
    (&of_connections::CLIENT_REPLY, client::reply_mode),
    (&newer::CLIENT_SETINFO, client::set_info),
    (&of_connections::CLIENT_SETNAME, client::set_name),
    (&of_connections::CLIENT_UNBLOCK, client::unblock),
    (&of_servers::COMMAND, command::all),
    (&of_servers::COMMAND_COUNT, command::count),
    (&of_servers::COMMAND_DOCS, command_docs::docs),
    (&of_servers::COMMAND_GETKEYS, command_keys::get_keys),
    (&of_servers::COMMAND_GETKEYSANDFLAGS, command_keys::get_keys_and_flags),
    (&of_servers::COMMAND_INFO, command::info),
    (&of_servers::COMMAND_LIST, command::list),
    (&of_servers::CONFIG_GET, config::get),
    (&of_servers::CONFIG_RESETSTAT, config::reset_stat),
    (&of_servers::CONFIG_REWRITE, config::rewrite),
    (&of_servers::CONFIG_SET, config::set),
    (&of_servers::INFO, info::info),
    (&of_servers::LASTSAVE, server::last_save),
    (&of_servers::MODULE_LIST, server::modules),
    (&of_servers::REPLICAOF, replication::replica_of),
    (&of_servers::ROLE, replication::role),
    (&of_servers::SHUTDOWN, server::shutdown),
    (&of_servers::SLAVEOF, replication::replica_of),
    (&of_servers::TIME, server::time),
    (&of_servers::WAIT, replication::wait),
    (&newer_of_servers::WAITAOF, replication::wait_aof),
    (&own::BASALT_REOPEN, server::reopen),
    (&own::BASALT_CHANGE, cluster::change_for_node),
    (&own::BASALT_MAP, cluster::tell_map),
    (&own::BASALT_MOVE, placing::move_replica),
    (&own::BASALT_DRAIN, placing::drain),
    (&own::BASALT_REBALANCE, placing::rebalance),
    (&own::BASALT_REPLACE, placing::replace),
    (&own::BASALT_MOVES, placing::moves),
    (&of_connections::CLIENT_CACHING, tracking::caching),
    (&of_connections::CLIENT_GETREDIR, tracking::get_redirection),
    (&of_connections::CLIENT_TRACKING, tracking::tracking),
    (&of_connections::CLIENT_PAUSE, client::pause),
    (&of_connections::CLIENT_TRACKINGINFO, tracking::tracking_info),
    (&of_connections::CLIENT_UNPAUSE, client::unpause),
    (&of_servers::DEBUG, debug::debug),
    (&of_servers::LATENCY_DOCTOR, latency::doctor),
    (&of_servers::LATENCY_GRAPH, latency::graph),
    (&of_servers::LATENCY_HISTOGRAM, latency::histogram),
    (&of_servers::LATENCY_HISTORY, latency::history),
    (&of_servers::LATENCY_LATEST, latency::latest),
    (&of_servers::LATENCY_RESET, latency::reset),
    (&of_servers::MEMORY_DOCTOR, memory::doctor),
    (&of_servers::MEMORY_MALLOC_STATS, memory::malloc_stats),
    (&of_servers::MEMORY_PURGE, memory::purge),
    (&of_servers::MEMORY_STATS, memory::stats),
    (&of_servers::MONITOR, pubsub::monitor),
    (&of_servers::LOLWUT, server::lolwut),
    (&of_servers::SLOWLOG_GET, slowlog::get),
    (&of_servers::SLOWLOG_LEN, slowlog::len),
    (&of_servers::SLOWLOG_RESET, slowlog::reset),
    (&of_raft::RAFT_STATUS, raft::status),
    (&of_raft::RAFT_TRANSFER, raft::transfer),
    (&of_raft::RAFT_SNAPSHOT, raft::snapshot),
    (&of_libraries::FUNCTION_KILL, script::kill),
    (&of_scripts::SCRIPT_DEBUG, script::debug),
    (&of_scripts::SCRIPT_EXISTS, script::exists),
    (&of_scripts::SCRIPT_FLUSH, script::flush),
    (&of_scripts::SCRIPT_KILL, script::kill),
    (&of_scripts::SCRIPT_LOAD, script::load),
    (&of_pubsub::PUBLISH, pubsub::publish),
    (&of_pubsub::SPUBLISH, pubsub::spublish),
    (&of_pubsub::SUBSCRIBE, pubsub::subscribe),
    (&of_pubsub::PSUBSCRIBE, pubsub::psubscribe),
    (&of_pubsub::SSUBSCRIBE, pubsub::ssubscribe),
    (&of_pubsub::UNSUBSCRIBE, pubsub::unsubscribe),
    (&of_pubsub::PUNSUBSCRIBE, pubsub::punsubscribe),
    (&of_pubsub::SUNSUBSCRIBE, pubsub::sunsubscribe),
    (&of_pubsub::PUBSUB_CHANNELS, pubsub::channels),
    (&of_pubsub::PUBSUB_SHARDCHANNELS, pubsub::shard_channels),
    (&of_pubsub::PUBSUB_NUMSUB, pubsub::subscribers),
    (&of_pubsub::PUBSUB_SHARDNUMSUB, pubsub::shard_subscribers),
    (&of_pubsub::PUBSUB_NUMPAT, pubsub::pattern_count),
    (&of_cluster::CLUSTER_ADDSLOTS, cluster::add_slots),
    (&of_cluster::CLUSTER_ADDSLOTSRANGE, cluster::add_slots_range),
    (&of_cluster::CLUSTER_BUMPEPOCH, cluster::bump_epoch),
    (&of_cluster::CLUSTER_COUNT_FAILURE_REPORTS, cluster::count_failure_reports),
    (&of_cluster::CLUSTER_COUNTKEYSINSLOT, cluster::count_keys_in_slot),
    (&of_cluster::CLUSTER_DELSLOTS, cluster::delete_slots),
    (&of_cluster::CLUSTER_DELSLOTSRANGE, cluster::delete_slots_range),
    (&of_cluster::CLUSTER_FAILOVER, raft::fail_over),
    (&of_cluster::CLUSTER_FLUSHSLOTS, cluster::flush_slots),
    (&of_cluster::CLUSTER_FORGET, cluster::forget),
    (&of_cluster::CLUSTER_GETKEYSINSLOT, cluster::get_keys_in_slot),
    (&of_cluster::CLUSTER_INFO, cluster::info),
    (&of_cluster::CLUSTER_KEYSLOT, cluster::key_slot),
    (&of_cluster::CLUSTER_LINKS, cluster::links),
    (&of_cluster::CLUSTER_MEET, cluster::meet),
    (&of_cluster::CLUSTER_MYID, cluster::my_id),
    (&of_cluster::CLUSTER_NODES, cluster::nodes),
    (&of_cluster::CLUSTER_REPLICAS, cluster::replicas),
    (&of_cluster::CLUSTER_REPLICATE, cluster::replicate),
    (&of_cluster::CLUSTER_RESET, cluster::reset),
    (&of_cluster::CLUSTER_SAVECONFIG, cluster::save_config),
    (&of_cluster::CLUSTER_SET_CONFIG_EPOCH, cluster::set_config_epoch),
    (&of_cluster::CLUSTER_SETSLOT, cluster::set_slot),
    (&of_cluster::CLUSTER_SHARDS, cluster::shards),
    (&of_cluster::CLUSTER_SLAVES, cluster::replicas),
    (&of_cluster::CLUSTER_SLOTS, cluster::slots),
    (&newer_of_cluster::CLUSTER_MYSHARDID, cluster::my_shard_id),
    (&of_cluster::ASKING, cluster::allow),
    (&of_cluster::READONLY, cluster::read_only),
    (&of_cluster::READWRITE, cluster::read_write),
    (&of_transactions::MULTI, transactions::multi),
    (&of_transactions::EXEC, transactions::exec),
    (&of_transactions::DISCARD, transactions::discard),
    (&of_transactions::WATCH, transactions::watch),
    (&of_transactions::UNWATCH, transactions::unwatch),
];

static BY_ID: LazyLock<Box<[Option<Function>; ID_END]>> = LazyLock::new(|| {
    let mut by_id: Box<[Option<Function>; ID_END]> = Box::new([None; ID_END]);
    for command in table::with_subcommands().filter(|command| matches!(command.kind, Kind::Session)) {
        let function = FUNCTIONS.iter().find(|(facts, _)| facts.name == command.name());
        by_id[usize::from(command.id)] = function.map(|(_, function)| *function);
    }
    by_id
});

/// The function of `command`.
pub(super) fn of(command: &Command) -> Function {
    BY_ID[usize::from(command.id)].expect("every command that concerns a connection or the node has a function")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_command_has_one_function() {
        let rows = table::with_subcommands().filter(|command| matches!(command.kind, Kind::Session));
        let mut rows: Vec<&str> = rows.map(Command::name).collect();
        let mut functions: Vec<&str> = FUNCTIONS.iter().map(|(facts, _)| facts.name).collect();
        rows.sort_unstable();
        functions.sort_unstable();
        assert_eq!(functions, rows);
        for name in rows {
            of(table::named(name.as_bytes()).expect("it is in the table"));
        }
    }
}
