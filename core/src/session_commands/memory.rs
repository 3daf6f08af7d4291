//! MEMORY STATS, DOCTOR, PURGE and MALLOC-STATS (<https://redis.io/docs/latest/commands/?name=memory>); USAGE concerns a key.

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use super::process::ProcessMemory;
use crate::commands::Args;
use crate::node::{CoreStats, Server, ShardStats};

/// Bytes of memory below which the doctor has nothing to say, as in Redis.
const WORTH_A_LOOK: u64 = 5 << 20;
/// Bytes of one client's buffers on average that the doctor finds large, as in Redis.
const LARGE_CLIENT: u64 = 200 << 10;

const SMALL: &str = "Hi Sam, this instance is empty or is using very little memory, my issues detector can't be used in these conditions. \
Please, leave for your mission on Earth and fill it with some data. The new Sam and I will be back to our programming as soon as I \
finished rebooting.\n";

const WELL: &str =
    "Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n";

/// The memory of a node by what it is for.
struct Figures {
    used: u64,
    resident: u64,
    peak: u64,
    clients: u64,
    client_count: u64,
    scripts: u64,
    dataset: u64,
    at_start: u64,
    keys: u64,
}

impl Figures {
    fn of(server: &Server) -> Figures {
        let memory = ProcessMemory::read();
        let sum = |figure: fn(&ShardStats) -> u64| server.shards.iter().map(figure).sum::<u64>();
        let in_shards = sum(|shard| shard.memtable_bytes.get() + shard.row_cache_bytes.get());
        let used = memory.anonymous.unwrap_or(0);
        Figures {
            used,
            resident: memory.resident.unwrap_or(0),
            peak: memory.resident_peak.unwrap_or(0),
            clients: server.cores.iter().map(CoreStats::client_bytes).sum(),
            client_count: server.cores.iter().map(|core| core.clients.get()).sum(),
            scripts: server.scripts.figures().1 as u64,
            dataset: in_shards + server.block_cache.bytes() as u64,
            at_start: server.memory_at_start,
            keys: sum(|shard| shard.keys.iter().map(|keys| keys.get()).sum()),
        }
    }
}

/// `MEMORY STATS`: Redis' fields, as far as they mean something here. Of keys that is what is in memory of them: they may have more
/// on disk.
pub(super) fn stats(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let figures = Figures::of(context.server);
    let beyond_start = figures.used.saturating_sub(figures.at_start);
    let overhead = figures.used.saturating_sub(figures.dataset);
    let numbers = [
        ("peak.allocated", figures.peak),
        ("total.allocated", figures.used),
        ("startup.allocated", figures.at_start),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", figures.clients),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", figures.scripts),
        ("functions.caches", 0),
        ("overhead.total", overhead),
        ("keys.count", figures.keys),
        ("keys.bytes-per-key", beyond_start.checked_div(figures.keys).unwrap_or(0)),
        ("dataset.bytes", figures.dataset),
    ];
    let percent = |part: u64, whole: u64| (part as f64 * 100.0 / whole.max(1) as f64).min(100.0);
    let ratio = figures.resident as f64 / figures.used.max(1) as f64;
    reply.map(numbers.len() + 7);
    for (name, number) in numbers {
        reply.bulk(name);
        reply.integer(number as i64);
    }
    let beyond_used = figures.resident.saturating_sub(figures.used);
    for (name, value) in [
        ("dataset.percentage", percent(figures.dataset, beyond_start)),
        ("peak.percentage", percent(figures.used, figures.peak)),
        ("rss-overhead.ratio", ratio),
    ] {
        reply.bulk(name);
        reply.double(value);
    }
    for (name, number) in [("rss-overhead.bytes", beyond_used), ("total.resident", figures.resident)] {
        reply.bulk(name);
        reply.integer(number as i64);
    }
    reply.bulk("fragmentation");
    reply.double(ratio);
    reply.bulk("fragmentation.bytes");
    reply.integer(beyond_used as i64);
    Ok(Outcome::Done)
}

/// `MEMORY DOCTOR`.
pub(super) fn doctor(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let figures = Figures::of(context.server);
    reply.verbatim(b"txt", diagnosis(&figures, context.server.config.memory));
    Ok(Outcome::Done)
}

fn diagnosis(figures: &Figures, budget: u64) -> String {
    if figures.used < WORTH_A_LOOK {
        return SMALL.to_owned();
    }
    let mut found = Vec::new();
    if figures.used > budget {
        found.push(format!(
            "Over the budget: the process has {} bytes of memory for itself, and the setting memory is {budget}. INFO memory tells what it \
             is for; what is in memory_... fields is bounded, the rest is the allocator's and of threads. Give it more, or give the \
             machine some to spare.",
            figures.used
        ));
    }
    if figures.peak > figures.used + figures.used / 2 {
        found.push(String::from(
            "Peak memory: In the past this instance used more than 150% the memory that is currently using. What was given back then is \
             used again as soon as there is need for it.",
        ));
    }
    if figures.clients.checked_div(figures.client_count).unwrap_or(0) > LARGE_CLIENT {
        found.push(String::from(
            "Big client buffers: The clients' buffers have more than 200 KB each on average. Check for those that do not read what they \
             are answered, or send long requests (CLIENT LIST, fields qbuf and omem); maxmemory-clients bounds all of them.",
        ));
    }
    if found.is_empty() {
        return WELL.to_owned();
    }
    let items: String = found.iter().map(|item| format!(" * {item}\n\n")).collect();
    format!(
        "Sam, I detected a few issues in this Basalt instance memory implants:\n\n{items}I'm here to keep you safe, Sam. I want to help \
         you.\n"
    )
}

/// `MEMORY PURGE`: has the C library give back what RocksDB does not use, which may take a while: another thread does that. Rust's
/// allocator gives back by itself what was not used for some seconds.
pub(super) fn purge(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.ok();
    Ok(Outcome::GiveMemoryBack)
}

/// `MEMORY MALLOC-STATS`.
pub(super) fn malloc_stats(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.verbatim(b"txt", "Stats not supported for the current allocator");
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use super::*;

    #[test]
    fn stats_are_a_map_whose_length_is_told() {
        let mut client = Client::new();
        client.ask("hello 3");
        client.server.shards[0].keys[0].set(4);
        let stats = client.ask("memory stats");
        assert!(stats.starts_with("%21|"), "{stats}");
        // Names and values in turns: 21 of either.
        assert_eq!(stats.matches('$').count(), 21, "{stats}");
        assert!(stats.contains("keys.count|:4|"), "{stats}");
        assert!(matches!(client.run("memory purge"), Ok(Outcome::GiveMemoryBack)));
    }

    #[test]
    fn the_doctor_tells_what_is_wrong_and_nothing_else() {
        let well = Figures {
            used: 100 << 20,
            resident: 110 << 20,
            peak: 120 << 20,
            clients: 1000,
            client_count: 10,
            scripts: 0,
            dataset: 50 << 20,
            at_start: 1 << 20,
            keys: 1,
        };
        assert_eq!(diagnosis(&Figures { used: 1 << 20, ..well }, 1 << 30), SMALL);
        assert_eq!(diagnosis(&well, 1 << 30), WELL);
        for (figures, budget, said) in [
            (Figures { ..well }, 50 << 20, "Over the budget"),
            (Figures { peak: 200 << 20, ..well }, 1 << 30, "Peak memory"),
            (Figures { clients: 100 << 20, ..well }, 1 << 30, "Big client buffers"),
        ] {
            let text = diagnosis(&figures, budget);
            assert_eq!((text.matches(" * ").count(), text.contains(said)), (1, true), "{text}");
        }
    }
}
