//! The check of a command: may this user call it, with these keys and channels?
//!
//! What a newcomer would get wrong: a selector allows a call as a whole. What one allows of the command and another of its keys is
//! allowed by none.

use super::User;
use super::selector::Selector;
use crate::commands::rights::Denied;
use crate::commands::{Args, Command};

/// Checks that `user` may call `command` with `args`, the number of which has been checked.
///
/// # Errors
/// What comes closest to be allowed, of all selectors.
pub fn check(user: &User, command: &Command, args: Args<'_>) -> Result<(), Denied> {
    let mut closest = Denied::Command;
    for selector in user.all_selectors() {
        match check_selector(selector, command, args) {
            Ok(()) => return Ok(()),
            Err(denied) => closest = closest.max(denied),
        }
    }
    Err(closest)
}

/// Returns whether `user` may call `command` with `args`, and read every key besides: one selector has to allow both.
pub fn may_read_all(user: &User, command: &Command, args: Args<'_>) -> bool {
    user.all_selectors().any(|selector| selector.rights().may_read_all(command, args, &mut { u64::MAX }))
}

fn check_selector(selector: &Selector, command: &Command, args: Args<'_>) -> Result<(), Denied> {
    selector.rights().check(command, args, &mut { u64::MAX })?;
    let channels = command.channels(args);
    for position in channels.positions {
        if !selector.allows_channel(args[position], channels.are_patterns) {
            return Err(Denied::Channel(position));
        }
    }
    Ok(())
}

/// Returns whether `user` may hear of a channel, or of those of a pattern.
pub fn may_subscribe(user: &User, channel: &[u8], is_pattern: bool) -> bool {
    user.all_selectors().any(|selector| selector.allows_channel(channel, is_pattern))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::split_rules;
    use crate::commands::table;

    fn user(rules: &str) -> User {
        let mut user = User::new(b"u", false);
        let words: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
        split_rules(&words).unwrap().iter().for_each(|rule| user.add(rule, false).unwrap());
        user
    }

    fn checked(user: &User, line: &str) -> Result<(), Denied> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        check(user, table::find(&args).unwrap(), &args)
    }

    // The outcomes are those of ACL DRYRUN of redis-server 7.0.15.

    #[test]
    fn keys_are_allowed_for_what_is_done_with_them() {
        let one = user("+@all ~both:* %R~read:* %W~write:*");
        for (line, outcome) in [
            ("get both:1", Ok(())),
            ("get read:1", Ok(())),
            ("get write:1", Err(Denied::Key(1))),
            ("set write:1 v", Ok(())),
            ("set read:1 v", Err(Denied::Key(1))),
            ("set write:1 v get", Err(Denied::Key(1))),
            ("set both:1 v get", Ok(())),
            ("append write:1 v", Ok(())),
            ("incr write:1", Err(Denied::Key(1))),
            ("bitfield read:1 get u8 0", Ok(())),
            ("bitfield read:1 set u8 0 1", Err(Denied::Key(1))),
            ("copy read:1 write:1", Ok(())),
            ("copy write:1 read:1", Err(Denied::Key(1))),
            ("mget both:1 read:1 other", Err(Denied::Key(3))),
            ("del read:1", Err(Denied::Key(1))),
            ("lmpop 2 both:1 read:1 left", Err(Denied::Key(3))),
            ("xread count 1 streams both:1 other 0 0", Err(Denied::Key(5))),
            ("zunionstore write:1 2 read:1 read:2", Ok(())),
            ("exists other", Err(Denied::Key(1))),
            ("ping", Ok(())),
            ("scan 0", Ok(())),
        ] {
            assert_eq!(checked(&one, line), outcome, "{line}");
        }
    }

    #[test]
    fn the_streams_that_are_read_are_the_keys_whatever_else_has_their_word() {
        let one = user("+@all ~STREAMS");
        let line = "xreadgroup count 1 group g STREAMS STREAMS other >";
        assert_eq!(checked(&one, line), Err(Denied::Key(7)));
        assert_eq!(checked(&one, "xreadgroup count 1 group STREAMS c STREAMS STREAMS >"), Ok(()));
    }

    #[test]
    fn a_selector_allows_a_call_as_a_whole() {
        let two = user("+get ~a (+set ~b) (+mget ~c)");
        for (line, outcome) in [
            ("get a", Ok(())),
            ("set b v", Ok(())),
            ("set a v", Err(Denied::Key(1))),
            ("get b", Err(Denied::Key(1))),
            ("mget c c x", Err(Denied::Key(3))),
            ("hget a f", Err(Denied::Command)),
            ("auth x", Ok(())),
        ] {
            assert_eq!(checked(&two, line), outcome, "{line}");
        }
    }

    #[test]
    fn channels_are_matched_and_patterns_are_compared() {
        let one = user("+@all &news.* &plain");
        for (line, outcome) in [
            ("subscribe news.a plain", Ok(())),
            ("subscribe plain other", Err(Denied::Channel(2))),
            ("psubscribe news.*", Ok(())),
            ("psubscribe news.a", Err(Denied::Channel(1))),
            ("ssubscribe news.a", Ok(())),
            ("publish other m", Err(Denied::Channel(1))),
            ("spublish news.x m", Ok(())),
            ("unsubscribe other", Ok(())),
            ("punsubscribe other", Ok(())),
        ] {
            assert_eq!(checked(&one, line), outcome, "{line}");
        }
        assert!(may_subscribe(&one, b"news.b", false) && !may_subscribe(&one, b"news.b", true));
    }
}
