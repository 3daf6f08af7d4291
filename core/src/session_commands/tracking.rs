//! The CLIENT commands about keys that a client keeps copies of (<https://redis.io/docs/latest/commands/client-tracking/>).

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{FanoutOrder, Outcome, Ran};
use crate::clients::{Audience, Redirect, ReplyMode, Session, SubscriptionChange, Subscriptions, Tracking};
use crate::commands::{Args, CommandError, parse_i64};
use crate::config::Redirect as Redirecting;
use crate::limits;
use crate::node::Server;

const ONE_REDIRECT: CommandError = CommandError::text("ERR A client can only redirect to a single other client");
const NO_SUCH_CLIENT: CommandError = CommandError::text("ERR The client ID you want redirect to does not exist");
const PREFIX_WITHOUT_BROADCAST: CommandError =
    CommandError::text("ERR PREFIX option requires BCAST mode to be enabled");
const OTHER_MODE: CommandError = CommandError::text(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different \
     mode.",
);
const CHOICE_WITH_BROADCAST: CommandError = CommandError::text("ERR OPTIN and OPTOUT are not compatible with BCAST");
const BOTH_CHOICES: CommandError = CommandError::text("ERR You can't specify both OPTIN mode and OPTOUT mode");
const OTHER_CHOICE: CommandError = CommandError::text(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different \
     mode.",
);
const NOT_TRACKING: CommandError = CommandError::text(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const NOT_OPT_IN: CommandError =
    CommandError::text("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
const NOT_OPT_OUT: CommandError =
    CommandError::text("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");

const FORWARDED: CommandError = CommandError::text(
    "ERR CLIENT TRACKING ON is refused where redirect is 'proxy': nobody would tell of changes of keys that other nodes lead",
);

/// The options of `CLIENT TRACKING`.
#[derive(Default)]
struct Options<'a> {
    tracking: Tracking,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn read(server: &Server, args: Args<'a>) -> Result<Options<'a>, CommandError> {
        let mut options = Options::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let tracking = &mut options.tracking;
            match word.to_ascii_lowercase().as_slice() {
                b"redirect" if words.len() > 0 => {
                    if tracking.redirect.is_some() {
                        return Err(ONE_REDIRECT);
                    }
                    let id = parse_i64(words.next().expect("it was counted"))?;
                    let found = u64::try_from(id).ok().and_then(|id| Some((id, server.client_places.find(id)?)));
                    let (id, (core, connection)) = found.ok_or(NO_SUCH_CLIENT)?;
                    tracking.redirect = Some(Redirect { id, core, connection });
                }
                b"prefix" if words.len() > 0 => options.prefixes.push(words.next().expect("it was counted")),
                b"bcast" => tracking.is_broadcast = true,
                b"optin" => tracking.is_opt_in = true,
                b"optout" => tracking.is_opt_out = true,
                b"noloop" => tracking.is_deaf_to_itself = true,
                _ => return Err(CommandError::SYNTAX),
            }
        }
        Ok(options)
    }

    /// Checks that the options go together, and with what the connection has.
    fn check(&self, session: &Session) -> Result<(), CommandError> {
        let wanted = &self.tracking;
        if !wanted.is_broadcast && !self.prefixes.is_empty() {
            return Err(PREFIX_WITHOUT_BROADCAST);
        }
        let present = session.tracking.as_deref();
        if present.is_some_and(|present| present.is_broadcast != wanted.is_broadcast) {
            return Err(OTHER_MODE);
        }
        if wanted.is_broadcast && (wanted.is_opt_in || wanted.is_opt_out) {
            return Err(CHOICE_WITH_BROADCAST);
        }
        if wanted.is_opt_in && wanted.is_opt_out {
            return Err(BOTH_CHOICES);
        }
        let is_other =
            |present: &Tracking| (wanted.is_opt_in && present.is_opt_out) || (wanted.is_opt_out && present.is_opt_in);
        if present.is_some_and(is_other) {
            return Err(OTHER_CHOICE);
        }
        if wanted.is_broadcast { check_prefixes(session, &self.prefixes) } else { Ok(()) }
    }
}

/// Checks that of two prefixes none begins with the other.
fn check_prefixes(session: &Session, prefixes: &[&[u8]]) -> Result<(), CommandError> {
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    let text = |prefix: &[u8], other: &[u8], which: &str| {
        let (prefix, other) = (String::from_utf8_lossy(prefix), String::from_utf8_lossy(other));
        CommandError::owned(format!(
            "ERR Prefix '{prefix}' overlaps with {which} prefix '{other}'. Prefixes for a single client must not overlap."
        ))
    };
    for (index, prefix) in prefixes.iter().enumerate() {
        if let Some(there) = prefixes_of(session).find(|there| overlap(there, prefix)) {
            return Err(text(prefix, there, "an existing"));
        }
        if let Some(other) = prefixes[index + 1..].iter().find(|other| overlap(prefix, other)) {
            return Err(text(prefix, other, "another provided"));
        }
    }
    if prefixes_of(session).count() + prefixes.len() > limits::SUBSCRIPTIONS_MAX {
        let most = limits::SUBSCRIPTIONS_MAX;
        return Err(CommandError::owned(format!("ERR a client tracks {most} prefixes at most")));
    }
    Ok(())
}

fn prefixes_of(session: &Session) -> impl Iterator<Item = &[u8]> {
    let subscriptions = session.subscriptions.iter();
    subscriptions.flat_map(|subscriptions| subscriptions.of(Audience::Prefix)).map(|prefix| &**prefix)
}

/// `CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix …] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`.
pub(super) fn tracking(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let options = Options::read(context.server, &args[3..])?;
    let changes = match args[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            // What is read of another node is entered nowhere.
            if context.server.config.redirect == Redirecting::Proxy {
                return Err(FORWARDED);
            }
            options.check(context.session)?;
            begin(context, options)
        }
        b"off" => end(context),
        _ => return Err(CommandError::SYNTAX),
    };
    if changes.is_empty() {
        reply.ok();
        return Ok(Outcome::Done);
    }
    // What is said of subscriptions is said in any case.
    if context.session.reply_mode == ReplyMode::On {
        reply.ok();
    }
    Ok(Outcome::Fanout(FanoutOrder::Change(changes)))
}

fn begin(context: &mut SessionContext<'_>, options: Options<'_>) -> Vec<SubscriptionChange> {
    let session = &mut *context.session;
    let before = session.tracking.take();
    if before.is_none() {
        context.server.note_tracking(true);
    }
    let is_next_chosen = before.is_some_and(|before| before.is_next_chosen);
    let is_broadcast = options.tracking.is_broadcast;
    session.tracking = Some(Box::new(Tracking { is_next_chosen, ..options.tracking }));
    session.has_tracked = true;
    if !is_broadcast {
        return Vec::new();
    }
    let prefixes = if options.prefixes.is_empty() { vec![&b""[..]] } else { options.prefixes };
    let copies = context.server.mailboxes.core_count() + 2;
    let subscriptions = session.subscriptions.get_or_insert_with(|| Box::new(Subscriptions::new(copies)));
    let audience = Audience::Prefix;
    let fresh = prefixes.into_iter().filter(|prefix| subscriptions.add(audience, prefix));
    fresh.map(|prefix| SubscriptionChange { audience, name: prefix.into(), is_made: true }).collect()
}

fn end(context: &mut SessionContext<'_>) -> Vec<SubscriptionChange> {
    let session = &mut *context.session;
    if session.tracking.take().is_some() {
        context.server.note_tracking(false);
    }
    let Some(mut subscriptions) = session.subscriptions.take() else { return Vec::new() };
    let audience = Audience::Prefix;
    let names: Vec<Box<[u8]>> = subscriptions.of(audience).iter().cloned().collect();
    for name in &names {
        subscriptions.remove(audience, name);
    }
    session.subscriptions = Some(subscriptions).filter(|subscriptions| !subscriptions.is_empty());
    names.into_iter().map(|name| SubscriptionChange { audience, name, is_made: false }).collect()
}

/// `CLIENT CACHING YES|NO`.
pub(super) fn caching(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let tracking = context.session.tracking.as_mut().ok_or(NOT_TRACKING)?;
    match args[2].to_ascii_lowercase().as_slice() {
        b"yes" if tracking.is_opt_in => {}
        b"yes" => return Err(NOT_OPT_IN),
        b"no" if tracking.is_opt_out => {}
        b"no" => return Err(NOT_OPT_OUT),
        _ => return Err(CommandError::SYNTAX),
    }
    tracking.is_next_chosen = true;
    reply.ok();
    Ok(Outcome::Done)
}

/// The client that is told in the place of a session's; 0 if that is told itself, -1 if it is told nothing.
pub(super) fn redirection(session: &Session) -> i64 {
    let of = |tracking: &Tracking| tracking.redirect.map_or(0, |redirect| redirect.id as i64);
    session.tracking.as_deref().map_or(-1, of)
}

/// `CLIENT GETREDIR`.
pub(super) fn get_redirection(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.integer(redirection(context.session));
    Ok(Outcome::Done)
}

/// `CLIENT TRACKINGINFO`.
pub(super) fn tracking_info(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let off = Tracking::default();
    let session = &*context.session;
    let tracking = session.tracking.as_deref().unwrap_or(&off);
    let flags = [
        (session.tracking.is_none(), "off"),
        (session.tracking.is_some(), "on"),
        (tracking.is_broadcast, "bcast"),
        (tracking.is_opt_in, "optin"),
        (tracking.is_opt_in && tracking.is_next_chosen, "caching-yes"),
        (tracking.is_opt_out, "optout"),
        (tracking.is_opt_out && tracking.is_next_chosen, "caching-no"),
        (tracking.is_deaf_to_itself, "noloop"),
        (tracking.is_broken, "broken_redirect"),
    ];
    reply.map(3);
    reply.bulk("flags");
    reply.set(flags.iter().filter(|(is_set, _)| *is_set).count());
    flags.iter().filter(|(is_set, _)| *is_set).for_each(|(_, word)| reply.bulk(word));
    reply.bulk("redirect");
    reply.integer(redirection(session));
    reply.bulk("prefixes");
    reply.array(prefixes_of(session).count());
    prefixes_of(session).for_each(|prefix| reply.bulk(prefix));
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Client;

    #[test]
    fn what_is_wished_is_kept_and_told() {
        let mut client = Client::new();
        let info = |client: &mut Client| client.ask("client trackinginfo").replace("$", "");
        assert!(info(&mut client).contains("|3|off|") && client.ask("client getredir") == ":-1|");
        assert_eq!(client.ask("client tracking on noloop optin"), "+OK|");
        assert!(client.server.has_tracking() && client.ask("client getredir") == ":0|");
        assert_eq!(client.ask("client caching yes"), "+OK|");
        let told = info(&mut client);
        assert!(["|2|on|", "|optin|", "|caching-yes|", "|noloop|"].iter().all(|flag| told.contains(flag)), "{told}");
        assert_eq!(client.ask("client tracking off"), "+OK|");
        assert!(!client.server.has_tracking());
        assert_eq!(client.ask("client tracking on bcast prefix a prefix bc"), "+OK|");
        assert!(info(&mut client).ends_with("*2|1|a|2|bc|"), "{}", info(&mut client));
        for overlapping in ["ab", "", "b", "bc"] {
            let refused =
                client.ask_args(&[b"client", b"tracking", b"on", b"bcast", b"prefix", overlapping.as_bytes()]);
            assert!(refused.starts_with("-ERR Prefix '"), "{overlapping}: {refused}");
        }
        client.ask("reset");
        assert!(!client.server.has_tracking() && client.session.subscriptions.is_none());
        assert_eq!(client.ask("client getredir"), ":-1|");
    }
}
