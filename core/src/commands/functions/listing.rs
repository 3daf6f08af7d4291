//! FUNCTION LIST, DUMP and STATS: what the rows of a shard have, which all shards of a node have alike.

use basalt_net::resp::Reply;

use super::metadata::shown;
use super::payload;
use crate::commands::{Args, CommandError, Context, glob_matches_any_case};

type Outcome = Result<(), CommandError>;

/// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`
pub(super) fn list(context: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (mut pattern, mut with_code) = (None, false);
    let mut options = args[2..].iter();
    while let Some(option) = options.next() {
        if !with_code && option.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && option.eq_ignore_ascii_case(b"libraryname") {
            let given = options.next();
            pattern = Some(given.ok_or(CommandError::text("ERR library name argument was not given"))?);
        } else {
            return Err(CommandError::owned(format!("ERR Unknown argument {}", shown(option))));
        }
    }
    let mut libraries = context.keyspace.libraries()?;
    libraries.retain(|(library, _)| pattern.is_none_or(|pattern| glob_matches_any_case(pattern, &library.name)));
    reply.array(libraries.len());
    for (library, _) in &libraries {
        reply.map(if with_code { 4 } else { 3 });
        reply.bulk("library_name");
        reply.bulk(&library.name);
        reply.bulk("engine");
        reply.bulk("LUA");
        reply.bulk("functions");
        reply.array(library.functions.len());
        for function in &library.functions {
            reply.map(3);
            reply.bulk("name");
            reply.bulk(&function.name);
            reply.bulk("description");
            reply.bulk_or_null(function.description.as_ref());
            reply.bulk("flags");
            let flags = basalt_lua::FunctionFlags::from_bits(function.flags);
            reply.set(flags.names().count());
            flags.names().for_each(|flag| reply.simple(flag));
        }
        if with_code {
            reply.bulk("library_code");
            reply.bulk(&library.code);
        }
    }
    Ok(())
}

/// `FUNCTION DUMP`
pub(super) fn dump(context: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let libraries = context.keyspace.libraries()?;
    reply.bulk(payload::encode(libraries.iter().map(|(library, _)| &library.code[..])));
    Ok(())
}

/// `FUNCTION STATS`: a function is over before its core reads what other clients send, so none is ever seen running.
pub(super) fn stats(context: &mut Context<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let totals = context.keyspace.function_totals()?;
    reply.map(2);
    reply.bulk("running_script");
    reply.null();
    reply.bulk("engines");
    reply.map(1);
    reply.bulk("LUA");
    reply.map(2);
    reply.bulk("libraries_count");
    reply.integer(totals.libraries.into());
    reply.bulk("functions_count");
    reply.integer(totals.functions.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use basalt_net::resp::Protocol;

    use crate::commands::FunctionChange;
    use crate::commands::functions::step_args;
    use crate::commands::functions::table::STEP_FUNCTIONS;
    use crate::commands::testing::Shard;

    #[test]
    fn libraries_are_told_as_redis_tells_them() {
        let mut shard = Shard::new();
        shard.expect(
            Protocol::Resp2,
            &[
                ("FUNCTION LIST", "*0"),
                (
                    "FUNCTION STATS",
                    "*4 $14 running_script $-1 $7 engines *2 $3 LUA *4 $15 libraries_count :0 $15 functions_count :0",
                ),
            ],
        );
        for code in [
            "#!lua name=lib\nlocal f = function() end redis.register_function('a', f) redis.register_function{function_name='b', \
             callback=f, description='d', flags={'allow-stale', 'no-writes'}}",
            "#!lua name=Other\nredis.register_function('c', function() end)",
        ] {
            let words = step_args(FunctionChange::Load, &[b"function", b"load", code.as_bytes()], u64::MAX).unwrap();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            shard.step(STEP_FUNCTIONS, &words);
        }
        let a = "$4 name $1 a $11 description $-1 $5 flags *0";
        let b = "$4 name $1 b $11 description $1 d $5 flags *2 +no-writes +allow-stale";
        let c = "$4 name $1 c $11 description $-1 $5 flags *0";
        let lib = format!("*6 $12 library_name $3 lib $6 engine $3 LUA $9 functions *2 *6 {a} *6 {b}");
        let other = format!("*6 $12 library_name $5 Other $6 engine $3 LUA $9 functions *1 *6 {c}");
        let code = "$12 library_code $61 #!lua name=Other\nredis.register_function('c', function() end)";
        let with_code = format!("*1 {} {code}", other.replacen("*6", "*8", 1));
        shard.expect(
            Protocol::Resp2,
            &[
                ("FUNCTION LIST", &format!("*2 {other} {lib}")),
                ("FUNCTION LIST LIBRARYNAME L*", &format!("*1 {lib}")),
                ("FUNCTION LIST WITHCODE LIBRARYNAME oTH?r", &with_code),
                ("FUNCTION LIST LIBRARYNAME x", "*0"),
                ("FUNCTION LIST LIBRARYNAME", "-ERR library name argument was not given"),
                ("FUNCTION LIST WITHCODE WITHCODE", "-ERR Unknown argument WITHCODE"),
                ("FUNCTION LIST LIBRARYNAME a LIBRARYNAME b", "-ERR Unknown argument LIBRARYNAME"),
            ],
        );
        let stats = "%2 $14 running_script _ $7 engines %1 $3 LUA %2 $15 libraries_count :2 $15 functions_count :3";
        shard.expect(Protocol::Resp3, &[("FUNCTION STATS", stats)]);
    }
}
