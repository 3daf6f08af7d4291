//! The table `redis` of scripts.

use std::rc::Rc;

use crate::limits::{BYTES_PER_WORK, CALL_WORK, LOG_BYTES_MAX, LOG_WORK};
use crate::numbers::{exact_text, text_work};
use crate::replies::{push_error, push_reply};
use crate::stack::{Raised, Stack, Type, to_integer};
use crate::{Called, digest};

/// Constants: their names and numbers.
pub(crate) const NUMBERS: &[(&str, f64)] = &[
    ("LOG_DEBUG", 0.0),
    ("LOG_VERBOSE", 1.0),
    ("LOG_NOTICE", 2.0),
    ("LOG_WARNING", 3.0),
    ("REPL_NONE", 0.0),
    ("REPL_AOF", 1.0),
    ("REPL_SLAVE", 2.0),
    ("REPL_REPLICA", 2.0),
    ("REPL_ALL", 3.0),
    ("REDIS_VERSION_NUM", 0x0007_000f as f64),
];

/// The beginning of those names that are levels of the log.
pub(crate) const LOG_LEVELS: &str = "LOG_";

/// The version of Redis that scripts may rely on.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// An error table with `text`, to be raised.
pub(crate) fn raise(stack: &mut Stack, text: &str) -> Raised {
    push_error(stack, text.as_bytes());
    Raised(stack.take())
}

/// Makes every argument a string, numbers with all their digits. False if one is neither, or there is none; then the error is
/// pushed.
fn stringify(stack: &mut Stack) -> bool {
    let count = stack.top();
    if count == 0 {
        push_error(stack, b"Please specify at least one argument for this redis lib call");
        return false;
    }
    for index in 1..=count {
        match stack.kind(index) {
            Type::String => {}
            Type::Number => {
                let number = stack.number(index).unwrap_or_default();
                stack.budget().pay(2 * text_work(number));
                stack.push_bytes(exact_text(number).as_bytes());
                stack.replace(index);
            }
            _ => {
                stack.set_top(0);
                push_error(stack, b"Lua redis lib command arguments must be strings or integers");
                return false;
            }
        }
    }
    true
}

/// Runs a command; leaves its reply on top. True if that is an error, and `raises` says if it is to be raised then: a script that
/// waits for it goes on with that.
fn run(stack: &mut Stack, raises: bool) -> Result<bool, Raised> {
    if !stack.has_room(2) || !stringify(stack) {
        if stack.top() == 0 || stack.kind(-1) != Type::Table {
            stack.set_top(0);
            push_error(stack, b"stack overflow");
        }
        return Ok(true);
    }
    let mut reply = Vec::new();
    let count = stack.top();
    let args_bytes: usize = (1..=count).map(|index| stack.bytes(index).unwrap_or_default().len()).sum();
    stack.pay(CALL_WORK + count as usize + 2 * args_bytes / BYTES_PER_WORK)?;
    let is_resp3 = stack.budget().is_resp3;
    // What is left pays for the reply.
    let bytes_max = usize::try_from(stack.budget().work_left).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_WORK / 2);
    // The host takes off what the command does beside its bytes.
    let mut work_left = stack.budget().work_left;
    let called = stack.call_host(count, |host, args| host.call(args, is_resp3, bytes_max, &mut work_left, &mut reply));
    let done = stack.budget().work_left.saturating_sub(work_left);
    stack.pay(usize::try_from(done).unwrap_or(usize::MAX))?;
    match called {
        Called::Waits => Err(stack.machine.wait_for_answer(raises)),
        called => answered(stack, called, &reply),
    }
}

/// Leaves the reply to a command on top, in the place of its words. True if it is an error.
pub(crate) fn answered(stack: &mut Stack, called: Called, reply: &[u8]) -> Result<bool, Raised> {
    stack.set_top(0);
    match called {
        Called::Replied => {
            stack.pay(2 * reply.len() / BYTES_PER_WORK)?;
            push_reply(stack, reply)?;
            Ok(reply.first() == Some(&b'-'))
        }
        Called::Refused(reason) => {
            push_error(stack, reason.as_bytes());
            stack.push_boolean(true);
            stack.set_field(-2, "ignore_error_stats_update");
            Ok(true)
        }
        Called::Stop | Called::Waits => Err(stack.machine.stop(crate::Stop::Host)),
        Called::TooLong => Err(stack.machine.stop(crate::Stop::Work)),
    }
}

/// `redis.call`.
pub(crate) fn call(stack: &mut Stack) -> Result<usize, Raised> {
    if run(stack, true)? { Err(Raised(stack.take())) } else { Ok(1) }
}

/// `redis.pcall`.
pub(crate) fn pcall(stack: &mut Stack) -> Result<usize, Raised> {
    run(stack, false)?;
    Ok(1)
}

/// `redis.sha1hex`.
pub(crate) fn sha1hex(stack: &mut Stack) -> Result<usize, Raised> {
    if stack.top() != 1 {
        return Err(raise(stack, "wrong number of arguments"));
    }
    let bytes = stack.text(1).unwrap_or_default();
    stack.pay(50 + bytes.len() / 8)?;
    stack.push_bytes(digest(&bytes).as_bytes());
    Ok(1)
}

/// The only argument, if it is a string; else the error is pushed as a result.
fn only_string(stack: &mut Stack) -> Option<Rc<[u8]>> {
    if stack.top() == 1 && stack.kind(1) == Type::String {
        return stack.text(1);
    }
    push_error(stack, b"wrong number or type of arguments");
    None
}

/// `redis.error_reply`.
pub(crate) fn error_reply(stack: &mut Stack) -> Result<usize, Raised> {
    if let Some(text) = only_string(stack) {
        // Line ends and zeros are looked for byte by byte.
        stack.pay(text.len() / 8)?;
        if text.first() == Some(&b'-') {
            push_error(stack, &text);
        } else {
            push_error(stack, &[b"-", &text[..]].concat());
        }
    }
    Ok(1)
}

/// `redis.status_reply`.
pub(crate) fn status_reply(stack: &mut Stack) -> Result<usize, Raised> {
    if only_string(stack).is_some() {
        stack.push_table(0, 1);
        stack.push_copy(1);
        stack.set_field(-2, "ok");
    }
    Ok(1)
}

/// `redis.set_repl`: effects are not what is replicated here, so there is nothing to turn off.
pub(crate) fn set_repl(stack: &mut Stack) -> Result<usize, Raised> {
    if stack.top() != 1 {
        return Err(raise(stack, "redis.set_repl() requires two arguments."));
    }
    let flags = to_integer(stack.number(1).unwrap_or_default()) as i32;
    if flags & !3 != 0 {
        return Err(raise(stack, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."));
    }
    Ok(0)
}

/// `redis.replicate_commands`, which Redis 7 has for old scripts.
pub(crate) fn replicate_commands(stack: &mut Stack) -> Result<usize, Raised> {
    stack.push_boolean(true);
    Ok(1)
}

/// `redis.breakpoint`: there is no debugger.
pub(crate) fn breakpoint(stack: &mut Stack) -> Result<usize, Raised> {
    stack.push_boolean(false);
    Ok(1)
}

/// `redis.debug`: nor is there anybody to show it to.
pub(crate) fn debug(_: &mut Stack) -> Result<usize, Raised> {
    Ok(0)
}

/// `redis.setresp`.
pub(crate) fn setresp(stack: &mut Stack) -> Result<usize, Raised> {
    if stack.top() != 1 {
        return Err(raise(stack, "redis.setresp() requires one argument."));
    }
    stack.budget().is_resp3 = match to_integer(stack.number(1).unwrap_or_default()) {
        2 => false,
        3 => true,
        _ => return Err(raise(stack, "RESP version must be 2 or 3.")),
    };
    Ok(0)
}

/// `redis.acl_check_cmd`.
pub(crate) fn acl_check_cmd(stack: &mut Stack) -> Result<usize, Raised> {
    if !stringify(stack) {
        return Err(Raised(stack.take()));
    }
    let count = stack.top();
    stack.pay(10 + count as usize)?;
    let mut work_left = stack.budget().work_left;
    let may_call = stack.call_host(count, |host, args| host.may_call(args, &mut work_left));
    let done = stack.budget().work_left.saturating_sub(work_left);
    stack.pay(usize::try_from(done).unwrap_or(usize::MAX))?;
    let Some(may_call) = may_call else {
        stack.set_top(0);
        return Err(raise(stack, "Invalid command passed to redis.acl_check_cmd()"));
    };
    stack.push_boolean(may_call);
    Ok(1)
}

/// `redis.log`.
pub(crate) fn log(stack: &mut Stack) -> Result<usize, Raised> {
    if stack.top() < 2 {
        return Err(raise(stack, "redis.log() requires two arguments or more."));
    }
    let Some(level) = stack.number(1).map(to_integer) else {
        return Err(raise(stack, "First argument must be a number (log level)."));
    };
    let Ok(level @ 0..=3) = u8::try_from(level) else {
        return Err(raise(stack, "Invalid debug level."));
    };
    let mut text = Vec::new();
    for index in 2..=stack.top() {
        if let Some(bytes) = stack.bytes(index) {
            if index > 2 {
                text.push(b' ');
            }
            text.extend_from_slice(&bytes[..bytes.len().min(LOG_BYTES_MAX)]);
            text.truncate(LOG_BYTES_MAX);
        }
    }
    stack.pay(LOG_WORK)?;
    stack.machine.host.log(level, &text);
    Ok(0)
}
