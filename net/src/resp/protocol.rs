//! The version of RESP that a connection speaks.

/// The version of the reply encoding, chosen by `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Every connection starts with it: strings, integers, arrays and errors.
    #[default]
    Resp2,
    /// Adds maps, sets, doubles, booleans, a null of its own and push messages.
    Resp3,
}

impl Protocol {
    /// The version as `HELLO` takes it, or none if there is no such version.
    pub fn from_version(version: i64) -> Option<Self> {
        match version {
            2 => Some(Self::Resp2),
            3 => Some(Self::Resp3),
            _ => None,
        }
    }

    /// The version as `HELLO` and `CLIENT LIST` report it.
    pub fn version(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}
