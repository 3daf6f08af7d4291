//! The sections of INFO.

use std::time::Instant;

use basalt_storage::DATABASE_COUNT;
use basalt_storage::keyspace::ACCESS_TIMES_BYTES;

use super::connection;
use super::info::{Fields, Scene};
use super::process::{self, ProcessMemory};
use super::replication::{Replica, Replicas};
use super::server::last_save_unix_s;
use crate::commands::facts::REDIS_VERSION;
use crate::commands::table::commands;
use crate::config::Durability;
use crate::node::{CoreStats, Counter, Figure, GroupState, Server, ShardStats};
use crate::snapshots::Progress;

/// Redis' clock of accesses counts seconds in 24 bits.
const LRU_CLOCK_END: u64 = 1 << 24;

pub(super) fn server(scene: &Scene<'_>, fields: &mut Fields) {
    let server = scene.server;
    let uptime_s = server.started.elapsed().as_secs();
    fields.add("redis_version", REDIS_VERSION);
    // What Redis says of itself where it was not built from its repository.
    fields.add("redis_git_sha1", "00000000");
    add_zeros(fields, &["redis_git_dirty", "redis_build_id"]);
    fields.add("redis_mode", connection::mode(server));
    fields.add("os", process::system());
    fields.add("arch_bits", usize::BITS);
    fields.add("monotonic_clock", "POSIX clock_gettime");
    fields.add("multiplexing_api", "io_uring");
    fields.add("atomicvar_api", "c11-builtin");
    fields.add("gcc_version", "0.0.0");
    fields.add("process_id", std::process::id());
    fields.add("process_supervised", "no");
    fields.add("run_id", &server.run_id);
    // The port the client came to: the configured one may be 0, which takes any.
    fields.add("tcp_port", scene.session.local.map_or(scene.config.port, |local| local.port()));
    let now = server.clock.unix();
    fields.add("server_time_usec", now.as_micros());
    fields.add("uptime_in_seconds", uptime_s);
    fields.add("uptime_in_days", uptime_s / 86_400);
    fields.add("hz", 10);
    fields.add("configured_hz", 10);
    fields.add("lru_clock", now.as_secs() % LRU_CLOCK_END);
    fields.add_known("executable", std::env::current_exe().ok().map(|path| path.display().to_string()));
    fields.add("config_file", server.settings.file_shown());
    fields.add("io_threads_active", 0);
    fields.add("server_name", "basalt");
    fields.add("basalt_version", env!("CARGO_PKG_VERSION"));
    fields.add("cores", server.cores.len());
    fields.add("shards", server.shards.len());
    let has_failed = |shard: &&ShardStats| shard.state.get() == GroupState::Failed;
    fields.add("shards_failed", server.shards.iter().filter(has_failed).count());
    fields.add("clock_behind_ms", server.shards.iter().map(|shard| shard.clock_behind_ms.get()).max().unwrap_or(0));
}

pub(super) fn clients(scene: &Scene<'_>, fields: &mut Fields) {
    fields.add("connected_clients", gauge(scene.server, |core| &core.clients));
    fields.add("cluster_connections", 0);
    fields.add("maxclients", scene.config.maxclients);
    // As of the last tick of each core.
    let largest =
        |figure: fn(&CoreStats) -> &Figure| scene.server.cores.iter().map(|core| figure(core).get()).max().unwrap_or(0);
    fields.add("client_recent_max_input_buffer", largest(|core| &core.largest_input_bytes));
    fields.add("client_recent_max_output_buffer", largest(|core| &core.largest_output_bytes));
    // In this order: who begins to wait meanwhile is not counted as one that has ceased to.
    let ended = gauge(scene.server, |core| &core.waits_ended);
    let begun = scene.server.shards.iter().map(|shard| shard.waits_begun.get()).sum::<u64>();
    let of_replicas = gauge(scene.server, |core| &core.replica_waits);
    fields.add("blocked_clients", begun.saturating_sub(ended) + of_replicas);
    fields.add("watching_clients", gauge(scene.server, |core| &core.watching_clients));
    fields.add("total_watched_keys", gauge(scene.server, |core| &core.watched_keys));
    fields.add("tracking_clients", scene.server.tracking_clients());
    fields.add("clients_in_timeout_table", gauge(scene.server, |core| &core.waits_with_deadline));
    // Each core knows of all of them.
    fields.add("monitors", scene.server.cores.iter().map(|core| core.monitors.get()).max().unwrap_or(0));
}

pub(super) fn memory(scene: &Scene<'_>, fields: &mut Fields) {
    let (server, memory) = (scene.server, ProcessMemory::read());
    let budget = server.shares.budget().again(&scene.config);
    let client_bytes: u64 = server.cores.iter().map(CoreStats::client_bytes).sum();
    let sum = |figure: fn(&ShardStats) -> &Figure| server.shards.iter().map(|shard| figure(shard).get()).sum::<u64>();
    let (memtables, row_caches) = (sum(|shard| &shard.memtable_bytes), sum(|shard| &shard.row_cache_bytes));
    let block_cache = server.block_cache.bytes() as u64;
    // Redis asks its allocator; this is what the allocator has from the kernel, and stacks.
    if let Some(bytes) = memory.anonymous {
        fields.add_bytes("used_memory", bytes);
    }
    if let Some(bytes) = memory.resident {
        fields.add_bytes("used_memory_rss", bytes);
    }
    if let (Some(peak), Some(used)) = (memory.resident_peak, memory.anonymous) {
        // The kernel keeps the peak of what is resident, mapped files included: never less than that of the rest.
        fields.add_bytes("used_memory_peak", peak);
        fields.add("used_memory_peak_perc", format_args!("{:.2}%", used as f64 * 100.0 / peak.max(1) as f64));
        fields.add("used_memory_overhead", used.saturating_sub(memtables + row_caches + block_cache));
    }
    fields.add("used_memory_startup", server.memory_at_start);
    // What of the keys is in memory.
    let dataset = memtables + row_caches + block_cache;
    fields.add("used_memory_dataset", dataset);
    if let Some(used) = memory.anonymous {
        let beyond_start = used.saturating_sub(server.memory_at_start).max(1);
        let percent = dataset as f64 * 100.0 / beyond_start as f64;
        fields.add("used_memory_dataset_perc", format_args!("{:.2}%", percent.min(100.0)));
        // The kernel does not tell what of this the allocator has handed out.
        for name in ["allocator_allocated", "allocator_active", "allocator_resident"] {
            fields.add(name, used);
        }
    }
    if let Some(bytes) = process::machine_memory() {
        fields.add_bytes("total_system_memory", bytes);
    }
    // What scripts need while they run is bounded, and given back at their end.
    fields.add_bytes("used_memory_lua", 0);
    let (script_count, script_bytes) = server.scripts.figures();
    fields.add("used_memory_vm_eval", 0);
    fields.add("used_memory_scripts_eval", script_bytes);
    fields.add("number_of_cached_scripts", script_count);
    // All shards of a node alone have the same libraries, those of a cluster may have others.
    let most =
        |figure: fn(&ShardStats) -> &Figure| server.shards.iter().map(|shard| figure(shard).get()).max().unwrap_or(0);
    let (function_bytes, heap_bytes) = (most(|shard| &shard.function_bytes), most(|shard| &shard.function_heap_bytes));
    fields.add("number_of_functions", most(|shard| &shard.functions));
    fields.add("number_of_libraries", most(|shard| &shard.libraries));
    fields.add("used_memory_vm_functions", heap_bytes);
    fields.add_bytes("used_memory_vm_total", heap_bytes);
    fields.add("used_memory_functions", function_bytes);
    fields.add_bytes("used_memory_scripts", script_bytes as u64 + function_bytes);
    fields.add_bytes("maxmemory", 0);
    fields.add("maxmemory_policy", "noeviction");
    fields.add("allocator_frag_ratio", "1.00");
    fields.add("allocator_frag_bytes", 0);
    fields.add("allocator_rss_ratio", "1.00");
    fields.add("allocator_rss_bytes", 0);
    if let (Some(resident), Some(used)) = (memory.resident, memory.anonymous) {
        fields.add("rss_overhead_ratio", format_args!("{:.2}", resident as f64 / used.max(1) as f64));
        fields.add("rss_overhead_bytes", resident.saturating_sub(used));
        fields.add("mem_fragmentation_ratio", format_args!("{:.2}", resident as f64 / used.max(1) as f64));
        fields.add("mem_fragmentation_bytes", resident.saturating_sub(used));
    }
    add_zeros(fields, &["mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers"]);
    add_zeros(fields, &["mem_clients_slaves", "mem_cluster_links"]);
    fields.add("mem_clients_normal", client_bytes);
    fields.add("mem_aof_buffer", 0);
    fields.add("mem_allocator", "jemalloc");
    add_zeros(fields, &["active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects"]);
    fields.add_bytes("memory_budget", scene.config.memory);
    fields.add("memory_memtables", memtables);
    fields.add("memory_memtables_max", budget.memtables_max());
    fields.add("memory_row_caches", row_caches);
    fields.add("memory_row_caches_max", budget.row_caches_max());
    fields.add("memory_block_cache", block_cache);
    fields.add("memory_block_cache_max", budget.block_cache_bytes);
    fields.add("memory_log_tails", sum(|shard| &shard.log_tail_bytes));
    fields.add("memory_log_tails_max", budget.log_tails_max());
    fields.add("memory_log_segments", sum(|shard| &shard.log_segments_bytes));
    fields.add("memory_log_segments_max", budget.log_segments_max());
    fields.add("memory_clients", client_bytes);
    fields.add("memory_client_input", gauge(server, |core| &core.input_bytes));
    fields.add("memory_client_output", gauge(server, |core| &core.output_bytes));
    fields.add("memory_client_replies", gauge(server, |core| &core.held_bytes));
    fields.add("memory_clients_max", budget.client_bytes);
    fields.add("memory_waiting_clients", sum(|shard| &shard.waiter_bytes));
    fields.add("memory_tracked_keys", sum(|shard| &shard.tracked_bytes));
    fields.add("memory_access_times", server.shares.shard_count() * ACCESS_TIMES_BYTES);
    // On their way between clients and shards.
    let (mailbox_requests, mailbox_replies) = server.mailboxes.bytes();
    let requests = sum(|shard| &shard.request_bytes) + gauge(server, |core| &core.outbox_requests_bytes);
    fields.add("memory_requests", requests + mailbox_requests as u64);
    fields.add("memory_batch_replies", sum(|shard| &shard.reply_bytes));
    fields.add("memory_batch_replies_max", server.reply_bounds().shard_bytes_max * server.shares.shard_count());
    fields.add("memory_mailbox_replies", gauge(server, |core| &core.outbox_replies_bytes) + mailbox_replies as u64);
}

pub(super) fn persistence(scene: &Scene<'_>, fields: &mut Fields) {
    let interval_ms = scene.config.durability_interval.as_millis();
    fields.add("loading", usize::from(scene.server.is_loading()));
    fields.add("async_loading", 0);
    // Any other error of the disk ends the node.
    let disk_is_full = scene.server.shards.iter().any(|shard| shard.disk_is_full.get() != 0);
    let written = if disk_is_full { "err" } else { "ok" };
    add_zeros(fields, &["current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    fields.add("current_fork_perc", "0.00");
    add_zeros(fields, &["current_save_keys_processed", "current_save_keys_total"]);
    // What is acknowledged is in the log all the same.
    let sum =
        |figure: fn(&ShardStats) -> &Figure| scene.server.shards.iter().map(|shard| figure(shard).get()).sum::<u64>();
    fields.add("rdb_changes_since_last_save", sum(|shard| &shard.unsaved_changes));
    fields.add("rdb_bgsave_in_progress", 0);
    fields.add("rdb_last_save_time", last_save_unix_s(scene.server));
    fields.add("rdb_last_bgsave_status", written);
    fields.add("rdb_last_bgsave_time_sec", -1);
    fields.add("rdb_current_bgsave_time_sec", -1);
    fields.add("rdb_saves", sum(|shard| &shard.saves));
    add_zeros(fields, &["rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"]);
    // The Raft logs are what an append-only file is; nothing has to rewrite them.
    fields.add("aof_enabled", 1);
    fields.add("aof_rewrite_in_progress", 0);
    fields.add("aof_rewrite_scheduled", 0);
    fields.add("aof_last_rewrite_time_sec", -1);
    fields.add("aof_current_rewrite_time_sec", -1);
    fields.add("aof_last_bgrewrite_status", "ok");
    add_zeros(fields, &["aof_rewrites", "aof_rewrites_consecutive_failures"]);
    fields.add("aof_last_write_status", written);
    add_zeros(fields, &["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    fields.add("aof_current_size", sum(|shard| &shard.log_bytes));
    add_zeros(fields, &["aof_base_size", "aof_pending_rewrite", "aof_buffer_length"]);
    add_zeros(fields, &["aof_pending_bio_fsync", "aof_delayed_fsync"]);
    fields.add("durability", scene.config.durability.word());
    match scene.config.durability {
        Durability::Always => {
            fields.add("durability_loss_max_ms", 0);
            fields.add("durability_can_lose", "nothing that was acknowledged");
        }
        Durability::Interval => {
            fields.add("durability_loss_max_ms", interval_ms);
            fields.add(
                "durability_can_lose",
                format_args!(
                    "when the machine crashes or loses power: what was acknowledged in the last {interval_ms} ms and the \
                     sync under way; when the process crashes: nothing"
                ),
            );
        }
        Durability::None => fields.add(
            "durability_can_lose",
            "when the machine crashes or loses power: whatever the kernel had not written to disk yet; when the process \
             crashes: nothing",
        ),
    }
    // After a stop that was not cut short there are none.
    fields.add("entries_replayed_at_start", scene.server.shards.iter().map(|shard| shard.replayed.get()).sum::<u64>());
    let to_replay = |shard: &ShardStats| shard.applied.get().saturating_sub(shard.durable_applied.get());
    fields.add("entries_to_replay", scene.server.shards.iter().map(to_replay).sum::<u64>());
}

pub(super) fn stats(scene: &Scene<'_>, fields: &mut Fields) {
    let server = scene.server;
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    fields.add("total_connections_received", count(server, |core| &core.connections));
    fields.add("total_commands_processed", count(server, |core| &core.commands));
    fields.add("instantaneous_ops_per_sec", gauge(server, |core| &core.commands_per_s));
    fields.add("total_net_input_bytes", count(server, |core| &core.bytes_in));
    fields.add("total_net_output_bytes", count(server, |core| &core.bytes_out));
    add_zeros(fields, &["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    fields.add("instantaneous_input_kbps", kilobytes(gauge(server, |core| &core.bytes_in_per_s)));
    fields.add("instantaneous_output_kbps", kilobytes(gauge(server, |core| &core.bytes_out_per_s)));
    fields.add("instantaneous_input_repl_kbps", kilobytes(0));
    fields.add("instantaneous_output_repl_kbps", kilobytes(0));
    fields.add("rejected_connections", count(server, |core| &core.rejected_connections));
    add_zeros(fields, &["sync_full", "sync_partial_ok", "sync_partial_err"]);
    fields.add("expired_keys", count_shards(server, |shard| &shard.expired_keys));
    fields.add("expired_stale_perc", "0.00");
    add_zeros(fields, &["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds", "evicted_keys"]);
    fields.add("evicted_clients", count(server, |core| &core.evicted_clients));
    add_zeros(fields, &["total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
    fields.add("keyspace_hits", count_shards(server, |shard| &shard.hits));
    fields.add("keyspace_misses", count_shards(server, |shard| &shard.misses));
    // Each core knows of all.
    let known = &server.cores[0];
    fields.add("pubsub_channels", known.channels.get());
    fields.add("pubsub_patterns", known.patterns.get());
    fields.add("pubsubshard_channels", known.shard_channels.get());
    fields.add("keyspace_events_dropped", count_shards(server, |shard| &shard.key_events_dropped));
    fields.add("latest_fork_usec", 0);
    add_zeros(fields, &["total_forks", "migrate_cached_sockets", "slave_expires_tracked_keys"]);
    add_zeros(fields, &["active_defrag_hits", "active_defrag_misses"]);
    add_zeros(fields, &["active_defrag_key_hits", "active_defrag_key_misses"]);
    add_zeros(fields, &["total_active_defrag_time", "current_active_defrag_time"]);
    let sum = |figure: fn(&ShardStats) -> &Figure| server.shards.iter().map(|shard| figure(shard).get()).sum::<u64>();
    fields.add("tracking_total_keys", sum(|shard| &shard.tracked_keys));
    fields.add("tracking_total_items", sum(|shard| &shard.tracked_items));
    fields.add("tracking_total_prefixes", known.tracked_prefixes.get());
    fields.add("once_sessions", sum(|shard| &shard.once_sessions));
    fields.add("unexpected_error_replies", 0);
    fields.add("total_error_replies", server.cores.iter().map(|core| core.error_replies.total()).sum::<u64>());
    fields.add("dump_payload_sanitizations", 0);
    fields.add("total_reads_processed", count(server, |core| &core.receives));
    fields.add("total_writes_processed", count(server, |core| &core.sends));
    add_zeros(fields, &["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    add_zeros(fields, &["reply_buffer_shrinks", "reply_buffer_expands"]);
    fields.add("client_output_buffer_limit_disconnections", count(server, |core| &core.output_limit_closed));
    fields.add("cold_reads", count_shards(server, |shard| &shard.cold_reads));
    fields.add("cold_rows_read", count_shards(server, |shard| &shard.cold_rows_read));
    fields.add("entry_waits", server.shards.iter().map(|shard| shard.entry_waits.get()).sum::<u64>());
    fields.add("disk_waits", server.shards.iter().map(|shard| shard.disk_waits.get()).sum::<u64>());
    fields.add("transactions_over_shards", count(server, |core| &core.spanning_transactions));
    fields.add("transactions_holding", server.shards.iter().map(|shard| shard.transactions_holding.get()).sum::<u64>());
    fields.add("transactions_left", server.shards.iter().map(|shard| shard.transactions_left.get()).sum::<u64>());
    fields.add("requests_forwarded", count(server, |core| &core.forwarded));
    fields.add("commands_proxied", count(server, |core| &core.relayed));
    fields.add("commands_proxied_again", count(server, |core| &core.relayed_again));
    fields.add("commands_proxied_uncertain", count(server, |core| &core.relayed_uncertain));
}

pub(super) fn replication(scene: &Scene<'_>, fields: &mut Fields) {
    let leads = scene.server.shards.iter().filter(|shard| shard.leads.get() == 1).count();
    fields.add("role", "master");
    let replicas = Replicas::of(scene.server);
    let map = scene.server.routes.map();
    let node_of = |node| map.as_deref().and_then(|map| map.node(node));
    let known: Vec<_> = replicas.online().filter_map(|(node, replica)| Some((node_of(node)?, replica))).collect();
    fields.add("connected_slaves", known.len());
    for (number, (node, Replica { offset, silent })) in known.into_iter().enumerate() {
        let ip = node.addresses.ip.map_or_else(String::new, |ip| ip.to_string());
        let (port, lag) = (node.addresses.port, silent.unwrap_or_default().as_secs());
        fields
            .add(format!("slave{number}"), format_args!("ip={ip},port={port},state=online,offset={offset},lag={lag}"));
    }
    fields.add("master_failover_state", "no-failover");
    // Its history has no name but that of this run.
    fields.add("master_replid", &scene.server.run_id);
    fields.add("master_replid2", "0".repeat(40));
    fields.add("master_repl_offset", replicas.offset);
    fields.add("second_repl_offset", -1);
    add_zeros(fields, &["repl_backlog_active", "repl_backlog_size"]);
    add_zeros(fields, &["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
    fields.add("shards_led", leads);
}

pub(super) fn cpu(_: &Scene<'_>, fields: &mut Fields) {
    let Some((own, children)) = process::cpu_times() else { return };
    for (name, time) in [
        ("used_cpu_sys", own.system),
        ("used_cpu_user", own.user),
        ("used_cpu_sys_children", children.system),
        ("used_cpu_user_children", children.user),
    ] {
        fields.add(name, format_args!("{:.6}", time.as_secs_f64()));
    }
    // There is no main thread: that of the core which answers.
    if let Some(answering) = process::own_thread_cpu_time() {
        fields.add("used_cpu_sys_main_thread", format_args!("{:.6}", answering.system.as_secs_f64()));
        fields.add("used_cpu_user_main_thread", format_args!("{:.6}", answering.user.as_secs_f64()));
    }
}

/// Calls and refusals of each command that was called, and how long it ran, from timing one in some runs of it: see
/// `RunTime` in `node/stats`. The steps of a command on several shards are its own.
pub(super) fn command_stats(scene: &Scene<'_>, fields: &mut Fields) {
    for command in commands().flat_map(|command| std::iter::once(command).chain(command.subcommands)) {
        let (mut calls, mut rejected, mut failed, mut ns) = (0, 0, 0, 0);
        for core in &scene.server.cores {
            let stats = &core.by_command[usize::from(command.id)];
            calls += stats.calls.get();
            rejected += stats.rejected.get();
            failed += stats.failed.get();
            ns += stats.time.ns();
        }
        if calls + rejected > 0 {
            let name = format!("cmdstat_{}", command.name());
            let us_per_call = if calls == 0 { 0.0 } else { ns as f64 / 1000.0 / calls as f64 };
            fields.add(
                name,
                format_args!(
                    "calls={calls},usec={},usec_per_call={us_per_call:.2},rejected_calls={rejected},failed_calls={failed}",
                    ns / 1000
                ),
            );
        }
    }
}

pub(super) fn error_stats(scene: &Scene<'_>, fields: &mut Fields) {
    let mut totals: Vec<(&str, u64)> = Vec::new();
    for core in &scene.server.cores {
        for (code, count) in core.error_replies.by_code() {
            match totals.iter_mut().find(|(other, _)| *other == code) {
                Some((_, total)) => *total += count,
                None => totals.push((code, count)),
            }
        }
    }
    for (code, total) in totals.into_iter().filter(|(_, total)| *total > 0) {
        fields.add(format_args!("errorstat_{code}"), format_args!("count={total}"));
    }
}

pub(super) fn cluster(scene: &Scene<'_>, fields: &mut Fields) {
    fields.add("cluster_enabled", usize::from(scene.server.config.cluster_enabled));
    if let Some(map) = scene.server.routes.map() {
        let moving = map.groups().iter().filter(|group| !group.leaving.is_empty()).count();
        fields.add("cluster_groups_moving", moving);
        let disk = &scene.server.disk;
        fields.add("cluster_disk_is_well", usize::from(disk.is_well(Instant::now())));
        fields.add("cluster_disk_stalls", disk.stalls());
        fields.add("cluster_nodes_draining", map.nodes().iter().filter(|node| node.is_draining).count());
    }
    let Some(under_way) = scene.server.snapshots.get() else { return };
    for (way, snapshots) in ["sent", "received"].into_iter().zip(under_way()) {
        fields.add(format_args!("snapshots_being_{way}"), snapshots.len());
        for (number, Progress { group, node, done_bytes, total_bytes }) in snapshots.into_iter().enumerate() {
            fields.add(
                format_args!("snapshot_{way}_{number}"),
                format_args!("group={group},node={node},done_bytes={done_bytes},total_bytes={total_bytes}"),
            );
        }
    }
}

/// Keys of each database that has some. `avg_ttl` is how many milliseconds those with a deadline have left on average: Redis
/// estimates it from a sample, here all of them count. `subexpiry`, which Redis has from 7.4 on, stands there only where hashes
/// have fields with deadlines.
pub(super) fn keyspace(scene: &Scene<'_>, fields: &mut Fields) {
    let now_ms = scene.server.clock.unix_ms();
    for db in 0..DATABASE_COUNT {
        let (mut keys, mut deadlines, mut left_ms, mut field_deadlines) = (0, 0, 0, 0);
        // What others lead they show.
        for shard in scene.server.shards.iter().filter(|shard| shard.state.get() != GroupState::Follower) {
            let (count, mean_ms) = (shard.deadlines[db].get(), shard.deadline_means_ms[db].get());
            keys += shard.keys[db].get();
            deadlines += count;
            field_deadlines += shard.field_deadlines[db].get();
            // The shard's time is ahead of a clock that was set back.
            let shard_ms = now_ms + shard.clock_behind_ms.get();
            left_ms += u128::from(count) * u128::from(mean_ms.saturating_sub(shard_ms));
        }
        if keys > 0 {
            let average_ms = left_ms / u128::from(deadlines.max(1));
            let subexpiry = match field_deadlines {
                0 => String::new(),
                count => format!(",subexpiry={count}"),
            };
            fields.add(
                format_args!("db{db}"),
                format_args!("keys={keys},expires={deadlines},avg_ttl={average_ms}{subexpiry}"),
            );
        }
    }
}

/// One line a core.
pub(super) fn cores(scene: &Scene<'_>, fields: &mut Fields) {
    for (index, core) in scene.server.cores.iter().enumerate() {
        let cpu = process::thread_cpu_time(core.thread_id.get());
        let cpu = cpu.map_or_else(String::new, |time| format!(",used_cpu={:.6}", time.as_secs_f64()));
        fields.add(
            format_args!("core_{index}"),
            format_args!(
                "clients={},commands={},ops_per_sec={},connections={},net_input_bytes={},net_output_bytes={},forwarded={},\
                 turns={},enters={},parks={},stalls={},stall_us_max={},timer_late_us_max={},input_bytes={},output_bytes={}{cpu}",
                core.clients.get(),
                core.commands.get(),
                core.commands_per_s.get(),
                core.connections.get(),
                core.bytes_in.get(),
                core.bytes_out.get(),
                core.forwarded.get(),
                core.turns.get(),
                core.enters.get(),
                core.parks.get(),
                core.stalls.get(),
                core.stall_us_max.get(),
                core.timer_late_us_max.get(),
                core.input_bytes.get(),
                core.output_bytes.get(),
            ),
        );
    }
}

/// One line for each core with links to other nodes: the counts of what they do, and of errors of peers by their names.
pub(super) fn peers(scene: &Scene<'_>, fields: &mut Fields) {
    for (index, core) in scene.server.cores.iter().enumerate() {
        let figures: Vec<String> = core.peers.iter().map(|(name, figure)| format!("{name}={figure}")).collect();
        if !figures.is_empty() {
            fields.add(format_args!("peers_{index}"), figures.join(","));
        }
    }
}

/// One line a shard: what it holds and does.
pub(super) fn shards(scene: &Scene<'_>, fields: &mut Fields) {
    for (id, shard) in scene.server.shards.numbered() {
        let sum = |figures: &[Figure]| figures.iter().map(Figure::get).sum::<u64>();
        fields.add(
            format_args!("shard_{id}"),
            format_args!(
                "core={},state={},keys={},expires={},batches={},writes={},expired_keys={},keyspace_hits={},keyspace_misses={},\
                 cold_reads={},cold_rows_read={},disk_waits={},row_cache_hits={},row_cache_misses={},row_cache_bytes={},memtable_bytes={},disk_bytes={},log_bytes={},\
                 writes_delayed={},write_delay_us={},write_stops={},writes_uncertain={},slow_down_us={},slow_down_bytes_per_s={},\
                 transactions_holding={},transactions_left={}",
                shard.core.get(),
                shard.state.get().name(),
                sum(&shard.keys),
                sum(&shard.deadlines),
                shard.batches.get(),
                shard.writes.get(),
                shard.expired_keys.get(),
                shard.hits.get(),
                shard.misses.get(),
                shard.cold_reads.get(),
                shard.cold_rows_read.get(),
                shard.disk_waits.get(),
                shard.row_cache_hits.get(),
                shard.row_cache_misses.get(),
                shard.row_cache_bytes.get(),
                shard.memtable_bytes.get(),
                shard.disk_bytes.get(),
                shard.log_bytes.get(),
                shard.writes_delayed.get(),
                shard.write_delay_us.get(),
                shard.write_stops.get(),
                shard.writes_uncertain.get(),
                shard.slow_down_us.get(),
                shard.slow_down_bytes_per_s.get(),
                shard.transactions_holding.get(),
                shard.transactions_left.get(),
            ),
        );
        if let Some(fault) = shard.fault.get() {
            fields.add(format_args!("shard_{id}_fault"), fault.replace(['\r', '\n'], " "));
        }
    }
}

/// One line a shard: where its Raft group stands.
pub(super) fn raft(scene: &Scene<'_>, fields: &mut Fields) {
    for (id, shard) in scene.server.shards.numbered() {
        fields.add(
            format_args!("raft_{id}"),
            format_args!(
                "role={},term={},last_log={},committed={},applied={},durable_applied={},purged={},voters={}",
                if shard.leads.get() == 1 { "leader" } else { "follower" },
                shard.term.get(),
                shard.last_log.get(),
                shard.committed.get(),
                shard.applied.get(),
                shard.durable_applied.get(),
                shard.purged.get(),
                shard.voters.get(),
            ),
        );
    }
}

pub(super) fn storage(scene: &Scene<'_>, fields: &mut Fields) {
    let sum =
        |figure: fn(&ShardStats) -> &Figure| scene.server.shards.iter().map(|shard| figure(shard).get()).sum::<u64>();
    let config = &scene.config;
    let dir = std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone());
    fields.add("data_dir", dir.display());
    fields.add("data_disk_bytes", sum(|shard| &shard.disk_bytes));
    fields.add("log_disk_bytes", sum(|shard| &shard.log_bytes));
    fields.add("raft_log_size_max", config.raft_log_size_max);
    fields.add("snapshot_log_size", config.snapshot_log_bytes());
    fields.add("disk_reserve", config.disk_reserve);
    fields.add("last_save_time", last_save_unix_s(scene.server));
    // How writers are slowed down where the disk does not keep up.
    fields.add("shards_slowed_down", scene.server.shards.iter().filter(|shard| shard.slow_down_us.get() > 0).count());
    fields.add("writes_delayed", count_shards(scene.server, |shard| &shard.writes_delayed));
    fields.add("write_delay_us", count_shards(scene.server, |shard| &shard.write_delay_us));
    fields.add("write_stops", count_shards(scene.server, |shard| &shard.write_stops));
    fields.add("writes_uncertain", count_shards(scene.server, |shard| &shard.writes_uncertain));
}

/// Adds counts of things that do not happen here.
fn add_zeros(fields: &mut Fields, names: &[&str]) {
    names.iter().for_each(|name| fields.add(name, 0));
}

fn gauge(server: &Server, figure: fn(&CoreStats) -> &Figure) -> u64 {
    server.cores.iter().map(|core| figure(core).get()).sum()
}

fn count(server: &Server, counter: fn(&CoreStats) -> &Counter) -> u64 {
    server.cores.iter().map(|core| counter(core).get()).sum()
}

fn count_shards(server: &Server, counter: fn(&ShardStats) -> &Counter) -> u64 {
    server.shards.iter().map(|shard| counter(shard).get()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;
    use crate::config::Config;

    fn assert_has(info: &str, lines: &[&str]) {
        for line in lines {
            assert!(info.contains(&format!("|{line}|")), "no '{line}' in {info}");
        }
    }

    #[test]
    fn the_server_says_what_it_is() {
        let info = Client::new().ask("info server");
        let version = format!("basalt_version:{}", env!("CARGO_PKG_VERSION"));
        assert_has(
            &info,
            &[
                "redis_version:7.0.15",
                "redis_mode:standalone",
                "tcp_port:6379",
                "uptime_in_days:1",
                "shards:2",
                &version,
            ],
        );
    }

    #[test]
    fn figures_are_sums_over_cores_and_shards() {
        let mut client = Client::new();
        let server = &client.server;
        for core in &server.cores {
            core.clients.set(2);
            core.commands.add(10);
            core.commands_per_s.set(5);
            core.bytes_in_per_s.set(512);
            core.by_command[820].calls.add(3);
            core.error_replies.count(b"-ERR x");
        }
        server.clock.set(1_000);
        for (shard, number) in server.shards.iter().zip(1..) {
            shard.keys[0].set(4);
            shard.deadlines[0].set(number);
            shard.deadline_means_ms[0].set(1_000 + 300 * number);
            shard.clock_behind_ms.set(60);
            shard.keys[9].set(1);
            shard.field_deadlines[9].set(number - 1);
            shard.hits.add(6);
            shard.applied.set(9);
            shard.durable_applied.set(7);
        }
        let info = client.ask("info everything");
        assert_has(
            &info,
            &[
                "connected_clients:4",
                "total_commands_processed:20",
                "instantaneous_ops_per_sec:10",
                "instantaneous_input_kbps:1.00",
                "total_error_replies:2",
                "errorstat_ERR:count=2",
                "cmdstat_client|getname:calls=6,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
                "clock_behind_ms:60",
                // One key has 240 ms left, two have 540.
                "db0:keys=8,expires=3,avg_ttl=440",
                "db9:keys=2,expires=0,avg_ttl=0,subexpiry=1",
                "keyspace_hits:12",
                "entries_to_replay:4",
            ],
        );
        assert!(!info.contains("|db1:"), "{info}");
        assert!(!info.contains("cmdstat_get:"), "only what was called is there");
    }

    #[test]
    fn durability_is_named_as_what_it_is() {
        let of = |durability| {
            let config = Config { durability, memory: 1 << 30, ..Config::default() };
            Client::of(config).ask("info persistence")
        };
        assert_has(
            &of(Durability::Always),
            &["durability:always", "durability_loss_max_ms:0", "durability_can_lose:nothing that was acknowledged"],
        );
        let interval = of(Durability::Interval);
        assert_has(&interval, &["durability:interval", "durability_loss_max_ms:100"]);
        assert!(interval.contains("|durability_can_lose:when the machine crashes"), "{interval}");
        let none = of(Durability::None);
        assert_has(&none, &["durability:none"]);
        assert!(!none.contains("durability_loss_max_ms"), "nothing bounds it: {none}");
    }

    #[test]
    fn a_full_disk_is_told_where_tools_look_for_failed_writes() {
        let mut client = Client::new();
        assert_has(&client.ask("info persistence"), &["aof_last_write_status:ok", "rdb_last_bgsave_status:ok"]);
        client.server.shards[1].disk_is_full.set(1);
        assert_has(&client.ask("info persistence"), &["aof_last_write_status:err", "rdb_last_bgsave_status:err"]);
    }

    #[test]
    fn memory_is_that_of_the_process_and_its_budget() {
        let mut client = Client::new();
        client.server.cores[0].input_bytes.set(3);
        client.server.cores[1].output_bytes.set(4);
        client.server.shards[1].memtable_bytes.set(50);
        let info = client.ask("info memory");
        assert_has(
            &info,
            &[
                "mem_clients_normal:7",
                "memory_memtables:50",
                "memory_budget:1073741824",
                "memory_budget_human:1.00G",
                "maxmemory:0",
                "maxmemory_human:0B",
            ],
        );
        assert!(info.contains("|used_memory_rss:"), "{info}");
    }

    #[test]
    fn changes_that_are_in_no_generation_are_those_of_all_shards() {
        let mut client = Client::new();
        client.server.shards[0].unsaved_changes.set(3);
        client.server.shards[1].unsaved_changes.set(4);
        client.server.shards[1].saves.set(2);
        assert_has(&client.ask("info persistence"), &["rdb_changes_since_last_save:7", "rdb_saves:2"]);
    }

    #[test]
    fn own_sections_have_a_line_for_each_core_and_shard() {
        let mut client = Client::new();
        client.server.shards[1].leads.set(1);
        client.server.shards[1].term.set(3);
        client.server.cores[1].peers.publish(&[("dials", 3), ("old-incarnation", 1)]);
        let info = client.ask("info cores peers shards raft storage");
        assert!(!info.contains("|peers_0:") && info.contains("|peers_1:dials=3,old-incarnation=1|"), "{info}");
        for start in ["|core_0:clients=0,", "|core_1:", "|shard_0:core=0,", "|shard_1:core=1,", "|data_dir:/"] {
            assert!(info.contains(start), "no {start} in {info}");
        }
        assert!(info.contains("|raft_1:role=leader,term=3,"), "{info}");
    }
}
