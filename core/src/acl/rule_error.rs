//! Reasons that a rule of a user is refused, in Redis' words.

/// The reason that a rule of a user is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// It names no command and no category that there is.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// It is no rule.
    #[error("Syntax error")]
    Syntax,
    /// Every key is allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' \
         to start with an empty list of patterns"
    )]
    AllKeys,
    /// Every channel is allowed already.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try \
         'resetchannels' to start with an empty list of channels"
    )]
    AllChannels,
    /// There is no such password to be taken away.
    #[error("The password you are trying to remove from the user does not exist")]
    NoPassword,
    /// A hash is none.
    #[error("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")]
    Hash,
    /// A subcommand has no further ones.
    #[error("Allowing first-arg of a subcommand is not supported")]
    Subcommand,
    /// A pattern, or an argument of a command, is longer than is kept.
    #[error("a pattern or an argument has {} bytes at most", crate::limits::ACL_RULE_BYTES_MAX)]
    TooLong,
    /// A password is longer than is kept.
    #[error("a password has {} bytes at most", crate::limits::PASSWORD_BYTES_MAX)]
    LongPassword,
    /// A user would have more rules than are kept.
    #[error(
        "too many rules, a user has {} patterns, passwords, selectors or rules on commands at most",
        crate::limits::ACL_RULES_MAX
    )]
    TooMany,
}
