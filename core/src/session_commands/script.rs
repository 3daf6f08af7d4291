//! SCRIPT: the scripts that clients may call by their digest.

use basalt_net::resp::Reply;

use super::SessionContext;
use super::outcome::{Outcome, Ran};
use crate::commands::{Args, CommandError, scripts};

/// `SCRIPT LOAD script`
pub(super) fn load(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    let known = &context.server.scripts;
    let name = scripts::learn(args[2], |name| known.get(name).is_some())?;
    known.add(name.clone(), args[2]);
    reply.bulk(&name);
    Ok(Outcome::Done)
}

/// `SCRIPT EXISTS sha1 [sha1 …]`
pub(super) fn exists(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    reply.array(args.len() - 2);
    for digest in &args[2..] {
        let known = scripts::read_digest(digest).and_then(|digest| context.server.scripts.get(&digest));
        reply.integer(known.is_some().into());
    }
    Ok(Outcome::Done)
}

/// `SCRIPT DEBUG YES|SYNC|NO`: there is no debugger, which may be told to be off.
pub(super) fn debug(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Ran {
    match args[2].to_ascii_lowercase().as_slice() {
        b"no" => reply.ok(),
        b"yes" | b"sync" => {
            return Err(CommandError::text("ERR There is no debugger of scripts here, SCRIPT DEBUG knows NO alone"));
        }
        _ => return Err(CommandError::text("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
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
