//! Reasons that a command failed, in Redis' words.

use std::borrow::Cow;

/// The reason that a command failed. Its `Display` is the error reply, prefix included.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A reason by itself: the whole reply, prefix included.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// The reply is too large to be read at one moment: it is read in pieces, see `core_loop/piecemeal.rs`.
    #[error("ERR the reply is too large to be read at one moment, ask for fewer keys at a time")]
    Piecemeal,
    /// A reason by itself, for which all that the command changed is forgotten.
    #[error("{0}")]
    Undone(Cow<'static, str>),
    /// The shard's storage failed; [`basalt_storage::Error::Cold`] means: fetch the rows, then run the command again.
    #[error("ERR {0}")]
    Storage(basalt_storage::Error),
}

impl From<basalt_storage::Error> for CommandError {
    fn from(error: basalt_storage::Error) -> CommandError {
        match error {
            basalt_storage::Error::WrongType => CommandError::WrongType,
            error => CommandError::Storage(error),
        }
    }
}

impl CommandError {
    /// The options do not fit together.
    pub const SYNTAX: CommandError = CommandError::text("ERR syntax error");
    /// An argument or a value is not a 64-bit integer.
    pub const NOT_AN_INTEGER: CommandError = CommandError::text("ERR value is not an integer or out of range");
    /// An argument or a value is not a number.
    pub const NOT_A_FLOAT: CommandError = CommandError::text("ERR value is not a valid float");
    /// A bound of a score range is not a number.
    pub const BOUND_NOT_A_FLOAT: CommandError = CommandError::text("ERR min or max is not a float");
    /// An argument must not be negative.
    pub const NOT_POSITIVE: CommandError = CommandError::text("ERR value is out of range, must be positive");
    /// There is no such key.
    pub const NO_SUCH_KEY: CommandError = CommandError::text("ERR no such key");
    /// An index is outside of the collection.
    pub const INDEX_OUT_OF_RANGE: CommandError = CommandError::text("ERR index out of range");
    /// An increment leaves the 64-bit integers.
    pub const OVERFLOW: CommandError = CommandError::text("ERR increment or decrement would overflow");
    /// An increment leaves the numbers.
    pub const NOT_FINITE: CommandError = CommandError::text("ERR increment would produce NaN or Infinity");
    /// A string would become longer than values may be.
    pub const STRING_TOO_LONG: CommandError =
        CommandError::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// A SCAN cursor is not a number.
    pub const INVALID_CURSOR: CommandError = CommandError::text("ERR invalid cursor");
    /// Keys of one command are in several slots: the words of Redis Cluster.
    pub const CROSS_SLOT: CommandError = CommandError::text("CROSSSLOT Keys in request don't hash to the same slot");

    /// Keys of one command are on several shards of a node alone, where people may not know of slots.
    pub const CROSS_SHARD: CommandError = CommandError::text(
        "CROSSSLOT Keys in request don't hash to the same slot, give them a common hash tag, as in {user}:a and {user}:b",
    );

    /// The node belongs to no cluster.
    pub const NO_CLUSTER: CommandError = CommandError::text("ERR This instance has cluster support disabled");

    /// The group that has the keys does not take requests yet.
    pub const LOADING: CommandError = CommandError::text("LOADING Basalt is loading the dataset in memory");
    /// Another replica leads the group that has the keys, or none.
    pub const NOT_LED_HERE: CommandError =
        CommandError::text("CLUSTERDOWN this node does not lead the group, try again");
    /// The group that has the keys has stopped through a fault of its own.
    pub const SHARD_FAILED: CommandError =
        CommandError::text("CLUSTERDOWN The shard of the key has failed, INFO shards tells why");

    /// An error with a fixed text, prefix included.
    pub const fn text(text: &'static str) -> CommandError {
        CommandError::Refused(Cow::Borrowed(text))
    }

    /// An error with a text made for the occasion, prefix included; line ends become spaces, as the protocol demands.
    pub fn owned(mut text: String) -> CommandError {
        if text.contains(['\r', '\n']) {
            text = text.replace(['\r', '\n'], " ");
        }
        CommandError::Refused(Cow::Owned(text))
    }

    /// A command got too few or too many arguments; `name` as in the table.
    pub fn wrong_argument_count(name: &str) -> CommandError {
        CommandError::owned(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// A deadline is not in the range of deadlines; `name` as in the table.
    pub fn invalid_expire_time(name: &str) -> CommandError {
        CommandError::owned(format!("ERR invalid expire time in '{name}' command"))
    }

    /// There is no such command.
    pub fn unknown_command(args: &[&[u8]]) -> CommandError {
        /// Redis shows that much of the name, and that much of the arguments.
        const SHOWN_BYTES_MAX: usize = 128;
        let (name, rest) = args.split_first().map_or((&b""[..], args), |(name, rest)| (*name, rest));
        let mut shown = Vec::new();
        for arg in rest {
            if shown.len() >= SHOWN_BYTES_MAX {
                break;
            }
            let room = SHOWN_BYTES_MAX - shown.len();
            shown.push(b'\'');
            shown.extend_from_slice(&until_nul(arg)[..until_nul(arg).len().min(room)]);
            shown.extend_from_slice(b"' ");
        }
        let name = until_nul(name);
        let name = String::from_utf8_lossy(&name[..name.len().min(SHOWN_BYTES_MAX)]);
        let shown = String::from_utf8_lossy(&shown);
        CommandError::owned(format!("ERR unknown command '{name}', with args beginning with: {shown}"))
    }

    /// A container command has no such subcommand; `container` as in the table.
    pub fn unknown_subcommand(container: &str, subcommand: &[u8]) -> CommandError {
        let subcommand = until_nul(subcommand);
        let shown = String::from_utf8_lossy(&subcommand[..subcommand.len().min(128)]);
        CommandError::owned(format!("ERR unknown subcommand '{shown}'. Try {} HELP.", container.to_uppercase()))
    }

    /// A subcommand got arguments that it does not take; `args` are those of the whole call, the first one maybe as in the table.
    pub(super) fn wrong_subcommand_arguments(args: &[&[u8]]) -> CommandError {
        let [container, subcommand] = [0, 1].map(|at| until_nul(args.get(at).copied().unwrap_or_default()));
        let shown = String::from_utf8_lossy(&subcommand[..subcommand.len().min(128)]);
        let container = String::from_utf8_lossy(container.split(|&byte| byte == b'|').next().unwrap_or(container));
        let container = container.to_uppercase();
        CommandError::owned(format!(
            "ERR unknown subcommand or wrong number of arguments for '{shown}'. Try {container} HELP."
        ))
    }
}

/// `bytes` as C takes them for a string, which is how Redis prints arguments and reads some numbers.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_redis() {
        let unknown = CommandError::unknown_command(&[b"foo", b"a\r\nb", b"c"]).to_string();
        assert_eq!(unknown, "ERR unknown command 'foo', with args beginning with: 'a  b' 'c' ");
        assert_eq!(
            CommandError::unknown_subcommand("object", b"x").to_string(),
            "ERR unknown subcommand 'x'. Try OBJECT HELP."
        );
        assert_eq!(
            CommandError::from(basalt_storage::Error::WrongType).to_string(),
            "WRONGTYPE Operation against a key holding the wrong kind of value"
        );
    }
}
