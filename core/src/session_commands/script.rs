//! SCRIPT: the scripts that clients may call by their digest.

use basalt_lua::digest;
use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use crate::commands::{Args, CommandError, scripts};

/// `SCRIPT LOAD script`
pub(super) fn load(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let name = digest(args[2]);
    if context.server.scripts.get(&name).is_none() {
        scripts::check(args[2])?;
        context.server.scripts.add(name.clone(), args[2]);
    }
    reply.bulk(&name);
    Ok(Outcome::Done)
}

/// `SCRIPT EXISTS sha1 [sha1 …]`
pub(super) fn exists(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.array(args.len() - 2);
    for digest in &args[2..] {
        let digest = String::from_utf8_lossy(digest).to_ascii_lowercase();
        reply.integer(context.server.scripts.get(&digest).is_some().into());
    }
    Ok(Outcome::Done)
}

/// `SCRIPT KILL`: a script is over before its core reads what other clients send.
pub(super) fn kill(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Ran {
    Err(CommandError::text("NOTBUSY No scripts in execution right now."))
}

/// `SCRIPT FLUSH [ASYNC|SYNC]`
pub(super) fn flush(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    match args[2..] {
        [] => {}
        [how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {}
        _ => return Err(CommandError::text("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    context.server.scripts.clear();
    reply.ok();
    Ok(Outcome::Done)
}
