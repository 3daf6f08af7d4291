//! The commands of publish and subscribe (<https://redis.io/docs/latest/commands/?group=pubsub>), as far as they concern the
//! connection that calls them. What they mean for other connections, the core does ([`FanoutOrder`]).

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{FanoutOrder, Outcome, Ran};
use crate::clients::{Audience, SubscriptionChange, Subscriptions};
use crate::commands::{Args, CommandError};
use crate::limits;
use crate::mail::Published;

/// `PUBLISH channel message`.
pub(super) fn publish(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    published(Audience::Channel, args)
}

/// `SPUBLISH shardchannel message`.
pub(super) fn spublish(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    published(Audience::ShardChannel, args)
}

fn published(audience: Audience, args: Args<'_>) -> Ran {
    let published = Published { audience, channel: args[1].into(), message: args[2].into(), patterns: Vec::new() };
    Ok(Outcome::Fanout(FanoutOrder::Publish(published)))
}

/// `SUBSCRIBE channel …`.
pub(super) fn subscribe(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    begin(context, (Audience::Channel, "subscribe"), args, reply)
}

/// `PSUBSCRIBE pattern …`.
pub(super) fn psubscribe(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    begin(context, (Audience::Pattern, "psubscribe"), args, reply)
}

/// `SSUBSCRIBE shardchannel …`.
pub(super) fn ssubscribe(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    begin(context, (Audience::ShardChannel, "ssubscribe"), args, reply)
}

fn begin(
    context: &mut SessionContext<'_>,
    (audience, word): (Audience, &str),
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Ran {
    let has = context.session.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.count());
    if has + args.len() - 1 > limits::SUBSCRIPTIONS_MAX {
        let most = limits::SUBSCRIPTIONS_MAX;
        return Err(CommandError::owned(format!("ERR a client subscribes to {most} channels and patterns at most")));
    }
    let copies = context.server.mailboxes.core_count() + 2;
    let subscriptions = context.session.subscriptions.get_or_insert_with(|| Box::new(Subscriptions::new(copies)));
    let mut changes = Vec::new();
    for name in &args[1..] {
        if subscriptions.add(audience, name) {
            changes.push(SubscriptionChange { audience, name: (*name).into(), is_made: true });
        }
        tell(word, Some(name), subscriptions.count_beside(audience), reply);
    }
    Ok(Outcome::Fanout(FanoutOrder::Change(changes)))
}

/// `UNSUBSCRIBE [channel …]`.
pub(super) fn unsubscribe(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    Ok(end(context, (Audience::Channel, "unsubscribe"), args, reply))
}

/// `PUNSUBSCRIBE [pattern …]`.
pub(super) fn punsubscribe(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    Ok(end(context, (Audience::Pattern, "punsubscribe"), args, reply))
}

/// `SUNSUBSCRIBE [shardchannel …]`.
pub(super) fn sunsubscribe(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    Ok(end(context, (Audience::ShardChannel, "sunsubscribe"), args, reply))
}

fn end(
    context: &mut SessionContext<'_>,
    (audience, word): (Audience, &str),
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut subscriptions = context.session.subscriptions.take().unwrap_or_default();
    let all: Vec<Box<[u8]>> = match &args[1..] {
        [] => subscriptions.of(audience).iter().cloned().collect(),
        names => names.iter().map(|name| Box::from(*name)).collect(),
    };
    if all.is_empty() {
        tell(word, None, subscriptions.count_beside(audience), reply);
    }
    let mut changes = Vec::new();
    for name in all {
        let was_there = subscriptions.remove(audience, &name);
        tell(word, Some(&name), subscriptions.count_beside(audience), reply);
        if was_there {
            changes.push(SubscriptionChange { audience, name, is_made: false });
        }
    }
    context.session.subscriptions = Some(subscriptions).filter(|subscriptions| !subscriptions.is_empty());
    Outcome::Fanout(FanoutOrder::Change(changes))
}

fn tell(word: &str, name: Option<&[u8]>, count: usize, reply: &mut Reply<'_>) {
    reply.push(3);
    reply.bulk(word);
    reply.bulk_or_null(name);
    reply.integer(count as i64);
}

/// `MONITOR`: the connection is told of the commands of all clients from now on.
pub(super) fn monitor(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let audience = Audience::Commands;
    let copies = context.server.mailboxes.core_count() + 2;
    let subscriptions = context.session.subscriptions.get_or_insert_with(|| Box::new(Subscriptions::new(copies)));
    let is_new = subscriptions.add(audience, b"");
    let change = SubscriptionChange { audience, name: Box::default(), is_made: true };
    reply.ok();
    Ok(Outcome::Fanout(FanoutOrder::Change(if is_new { vec![change] } else { Vec::new() })))
}

/// `PUBSUB CHANNELS [pattern]`.
pub(super) fn channels(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    channels_of(Audience::Channel, args)
}

/// `PUBSUB SHARDCHANNELS [pattern]`.
pub(super) fn shard_channels(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    channels_of(Audience::ShardChannel, args)
}

fn channels_of(audience: Audience, args: Args<'_>) -> Ran {
    if args.len() > 3 {
        let name = String::from_utf8_lossy(args[1]);
        return Err(CommandError::owned(format!(
            "ERR unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP."
        )));
    }
    let pattern = args.get(2).map(|pattern| Box::from(*pattern));
    Ok(Outcome::Fanout(FanoutOrder::Channels(audience, pattern)))
}

/// `PUBSUB NUMSUB [channel …]`.
pub(super) fn subscribers(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let names = args[2..].iter().map(|name| Box::from(*name)).collect();
    Ok(Outcome::Fanout(FanoutOrder::Subscribers(Audience::Channel, names)))
}

/// `PUBSUB SHARDNUMSUB [shardchannel …]`.
pub(super) fn shard_subscribers(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply<'_>) -> Ran {
    let names = args[2..].iter().map(|name| Box::from(*name)).collect();
    Ok(Outcome::Fanout(FanoutOrder::Subscribers(Audience::ShardChannel, names)))
}

/// `PUBSUB NUMPAT`.
pub(super) fn pattern_count(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    Ok(Outcome::Fanout(FanoutOrder::PatternCount))
}
