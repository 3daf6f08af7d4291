//! LATENCY (<https://redis.io/docs/latest/commands/?name=latency>).

use std::fmt::Write;

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use super::sparkline;
use crate::commands::table::{commands, named};
use crate::commands::{Args, Command, CommandError};
use crate::node::{LatencyEvent, LatencySeries, RunTime, Server};

const OFF: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Basalt instance. You may use \"CONFIG SET \
latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space mission I'd suggest to take a look at \
https://redis.io/topics/latency-monitor.\n";

const NOTHING: &str = "Dave, no latency spike was observed during the lifetime of this Basalt instance, not in the slightest bit. I honestly \
think you ought to sit down calmly, take a stress pill, and think things over.\n";

/// `LATENCY LATEST`.
pub(super) fn latest(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let all = context.server.latency.series();
    reply.array(all.len());
    for (event, series) in all {
        let last = series.samples.back().expect("something was noted of it");
        reply.array(4);
        reply.bulk(event.name());
        reply.integer(last.at_s as i64);
        reply.integer(last.ms as i64);
        reply.integer(series.most_ms as i64);
    }
    Ok(Outcome::Done)
}

/// The samples of the event with this name, if there are some.
fn series_of(server: &Server, name: &[u8]) -> Option<(LatencyEvent, LatencySeries)> {
    server.latency.series().into_iter().find(|(event, _)| event.name().as_bytes() == name)
}

/// `LATENCY HISTORY event`.
pub(super) fn history(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let samples = series_of(context.server, args[2]).map(|(_, series)| series.samples).unwrap_or_default();
    reply.array(samples.len());
    for sample in samples {
        reply.array(2);
        reply.integer(sample.at_s as i64);
        reply.integer(sample.ms as i64);
    }
    Ok(Outcome::Done)
}

/// `LATENCY RESET [event …]`.
pub(super) fn reset(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let names = &args[2..];
    let is_meant = |event: LatencyEvent| names.is_empty() || names.contains(&event.name().as_bytes());
    reply.integer(context.server.latency.reset(is_meant) as i64);
    Ok(Outcome::Done)
}

/// `LATENCY GRAPH event`.
pub(super) fn graph(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let Some((event, series)) = series_of(context.server, args[2]) else {
        let name = String::from_utf8_lossy(args[2]);
        return Err(CommandError::owned(format!("ERR No samples available for event '{name}'")));
    };
    let now_s = context.server.clock.unix().as_secs();
    let samples: Vec<(u64, String)> =
        series.samples.iter().map(|sample| (sample.ms, age(now_s.saturating_sub(sample.at_s)))).collect();
    let most = samples.iter().map(|(ms, _)| *ms).max().unwrap_or(0);
    let least = samples.iter().map(|(ms, _)| *ms).min().unwrap_or(0);
    let line = "-".repeat(sparkline::COLUMNS);
    let (name, drawn) = (event.name(), sparkline::draw(&samples));
    let all_time = series.most_ms;
    reply.verbatim(
        b"txt",
        format!("{name} - high {most} ms, low {least} ms (all time high {all_time} ms)\n{line}\n{drawn}"),
    );
    Ok(Outcome::Done)
}

/// A number of seconds in the largest unit of which it is one at least.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `LATENCY DOCTOR`.
pub(super) fn doctor(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let server = context.server;
    let all = server.latency.series();
    let text = match all.is_empty() {
        true if !server.latency.is_on() => OFF.to_owned(),
        true => NOTHING.to_owned(),
        false => report(&all, server.clock.unix().as_secs()),
    };
    reply.verbatim(b"txt", text);
    Ok(Outcome::Done)
}

fn report(all: &[(LatencyEvent, LatencySeries)], now_s: u64) -> String {
    let mut text = String::from(
        "Dave, I have observed latency spikes in this Basalt instance. You don't mind talking about it, do you Dave?\n\n",
    );
    for (number, (event, series)) in all.iter().enumerate() {
        let count = series.samples.len() as u64;
        let average = series.samples.iter().map(|sample| sample.ms).sum::<u64>() / count;
        let deviation = series.samples.iter().map(|sample| sample.ms.abs_diff(average)).sum::<u64>() / count;
        let oldest = series.samples.front().map_or(now_s, |sample| sample.at_s);
        let period = now_s.saturating_sub(oldest) as f64 / count as f64;
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{}. {}: {count} latency spikes (average {average}ms, mean deviation {deviation}ms, period {period:.2} sec). Worst all \
             time event {}ms.",
            number + 1,
            event.name(),
            series.most_ms
        );
    }
    text.push_str("\nI have a few advices for you:\n\n");
    for (event, _) in all {
        text.push_str(advice(*event));
    }
    text
}

fn advice(event: LatencyEvent) -> &'static str {
    match event {
        LatencyEvent::Command => {
            "- Check your Slow Log to understand what are the commands you are running which are too slow to execute. Please check \
             https://redis.io/commands/slowlog for more information.\n"
        }
        LatencyEvent::FastCommand => {
            "- A command that is short by itself took long: its value is large, or the core was kept from running by another program \
             (see stolen time of a virtual machine), or it waited for a page of memory.\n"
        }
        LatencyEvent::LogCommit => {
            "- The disk takes long to sync the log, or followers take long to have it. INFO raft and INFO shards tell of which shard; \
             other programs that write to the same disk are the usual reason.\n"
        }
        LatencyEvent::Turn => {
            "- A core was busy for long with one turn. If no command took as long, it was much of what is short, or the core was kept \
             from running by another program.\n"
        }
    }
}

/// `LATENCY HISTOGRAM [command …]`: of each command that has run the times that it took, from timing one in some runs of it.
pub(super) fn histogram(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let names = &args[2..];
    let wanted: Vec<&'static Command> = match names.is_empty() {
        true => commands().collect(),
        false => names.iter().filter_map(|name| named(name)).collect(),
    };
    let (mark, mut count) = (reply.mark(), 0);
    for command in wanted.into_iter().flat_map(|command| std::iter::once(command).chain(command.subcommands)) {
        let mut runs = [0; RunTime::BUCKETS];
        for core in &context.server.cores {
            core.by_command[usize::from(command.id)].time.add_to(&mut runs);
        }
        if runs.iter().any(|runs| *runs > 0) {
            write_histogram(command, &runs, reply);
            count += 1;
        }
    }
    reply.map_before(mark, count);
    Ok(Outcome::Done)
}

fn write_histogram(command: &Command, runs: &[u64], reply: &mut Reply<'_>) {
    reply.bulk(command.name());
    reply.map(2);
    reply.bulk("calls");
    reply.integer(runs.iter().sum::<u64>() as i64);
    reply.bulk("histogram_usec");
    reply.map(runs.iter().filter(|runs| **runs > 0).count());
    let mut sum = 0;
    for (bucket, runs) in runs.iter().enumerate().filter(|(_, runs)| **runs > 0) {
        sum += runs;
        reply.integer(RunTime::bucket_end_us(bucket) as i64);
        reply.integer(sum as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;
    use crate::node::{LatencyEvent, LatencySample};

    #[test]
    fn what_was_noted_is_told_and_forgotten() {
        let mut client = Client::new();
        assert_eq!(client.ask("latency latest"), "*0|");
        assert!(client.ask("latency doctor").contains("Latency monitoring is disabled"));
        assert_eq!(client.ask("latency graph command"), "-ERR No samples available for event 'command'|");
        client.server.latency.set_least(Some(1));
        assert!(client.ask("latency doctor").contains("no latency spike"));
        let now_s = client.server.clock.unix().as_secs();
        for (seconds_ago, ms) in [(7200, 300), (65, 40), (2, 20)] {
            client.server.latency.add(LatencyEvent::Command, LatencySample { at_s: now_s - seconds_ago, ms });
        }
        assert_eq!(client.ask("latency latest"), format!("*1|*4|$7|command|:{}|:20|:300|", now_s - 2));
        assert!(client.ask("latency history command").starts_with(&format!("*3|*2|:{}|:300|", now_s - 7200)));
        assert_eq!(client.ask("latency history nosuch"), "*0|");
        let graph = client.ask("latency graph command");
        assert!(graph.contains("command - high 300 ms, low 20 ms (all time high 300 ms)"), "{graph}");
        assert!(client.ask("latency doctor").contains("1. command: 3 latency spikes (average 120ms"));
        assert_eq!(client.ask("latency reset fast-command nosuch"), ":0|");
        assert_eq!(client.ask("latency reset"), ":1|");
        assert_eq!(client.ask("latency latest"), "*0|");
    }

    #[test]
    fn times_of_commands_are_told_by_powers_of_two() {
        let mut client = Client::new();
        assert_eq!(client.ask("latency histogram"), "*0|");
        for core in [0, 1] {
            let time = &client.server.cores[core].by_command[1].time;
            [500, 1500, 3000].into_iter().for_each(|ns| time.note_for_test(ns));
        }
        let told = "$5|calls|:6|$14|histogram_usec|*6|:1|:2|:2|:4|:4|:6|";
        assert_eq!(client.ask("latency histogram"), format!("*2|$3|get|*4|{told}"));
        assert_eq!(client.ask("latency histogram GET nosuch set"), format!("*2|$3|get|*4|{told}"));
    }
}
