//! Arguments that are not shown to others: passwords, and what says who may do what.

use super::{Args, Command, migrated_keys_word};

/// The words that stand for such an argument, in the slow log and for MONITOR, as in Redis.
pub const REDACTED: &[u8] = b"(redacted)";

/// The parameters of CONFIG SET whose values are secret.
const PARAMETERS: [&[u8]; 4] = [b"requirepass", b"masterauth", b"masteruser", b"cluster-secret"];

/// The arguments of a command that are secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// None.
    None,
    /// All from this position on.
    From(usize),
    /// The two behind each word AUTH.
    BehindAuth,
    /// The values of some parameters, which stand behind their names.
    OfParameters,
    /// The name and the password with which MIGRATE logs in at its target.
    OfMigrate,
}

impl Command {
    /// Returns whether the argument at `position` is not to be shown.
    pub fn is_secret(&self, args: Args<'_>, position: usize) -> bool {
        let is_behind = |distance: usize, word: &[u8]| {
            let before = position.checked_sub(distance).filter(|before| *before > 0);
            before.is_some_and(|before| args[before].eq_ignore_ascii_case(word))
        };
        match self.secrets {
            Secrets::None => false,
            Secrets::From(first) => position >= first,
            Secrets::BehindAuth => is_behind(1, b"auth") || is_behind(2, b"auth"),
            Secrets::OfMigrate => {
                // Behind KEYS are keys, whatever they are called.
                let is_option = position > 6 && migrated_keys_word(args).is_none_or(|word| position < word);
                is_option && (is_behind(1, b"auth") || is_behind(1, b"auth2") || is_behind(2, b"auth2"))
            }
            Secrets::OfParameters => {
                position >= 3 && position % 2 == 1 && PARAMETERS.iter().any(|name| is_behind(1, name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;

    #[test]
    fn passwords_and_rights_are_secret_and_nothing_else_is() {
        for (line, shown) in [
            ("auth p", "auth *"),
            ("auth u p", "auth * *"),
            ("hello 3", "hello 3"),
            ("hello 3 AUTH u p SETNAME n", "hello 3 AUTH * * SETNAME n"),
            ("acl setuser u on >p", "acl setuser * * *"),
            ("acl getuser u", "acl getuser u"),
            ("config set timeout 1 RequirePass p masterauth q", "config set timeout 1 RequirePass * masterauth *"),
            ("config get requirepass", "config get requirepass"),
            ("get auth", "get auth"),
            ("migrate auth auth2 auth 0 1 copy", "migrate auth auth2 auth 0 1 copy"),
            ("migrate h 1 k 0 1 copy AUTH p replace", "migrate h 1 k 0 1 copy AUTH * replace"),
            ("migrate h 1 \"\" 0 1 auth2 u p keys auth auth2 k", "migrate h 1 \"\" 0 1 auth2 * * keys auth auth2 k"),
        ] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let command = table::find(&args).unwrap();
            let word =
                |position: usize| if command.is_secret(&args, position) { b"*".as_slice() } else { args[position] };
            let words: Vec<_> = (0..args.len()).map(|at| String::from_utf8_lossy(word(at)).into_owned()).collect();
            assert_eq!(words.join(" "), shown);
        }
    }
}
