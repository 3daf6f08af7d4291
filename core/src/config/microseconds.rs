//! A time in microseconds, as Redis writes some.

use super::error::Invalid;
use super::kind::Kind;

/// A number of microseconds, or -1 for never.
pub(super) struct MicrosOrNever;

impl Kind for MicrosOrNever {
    type Value = i64;

    fn parse(&self, text: &str) -> Result<i64, Invalid> {
        match text.parse::<i64>() {
            Ok(micros) if micros >= -1 => Ok(micros),
            Ok(_) => Err(Invalid::new("it must be -1 or more").nearest("-1")),
            Err(_) => Err(Invalid::new("it takes a whole number of microseconds, without a unit, or -1 for never")),
        }
    }

    fn show(&self, value: &i64) -> String {
        value.to_string()
    }

    fn unit(&self) -> String {
        String::from("microseconds, or -1 for never")
    }

    fn placeholder(&self) -> &'static str {
        "US"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_read_back_as_written_and_nothing_else_is_taken() {
        for text in ["-1", "0", "10000", "9223372036854775807"] {
            assert_eq!(MicrosOrNever.parse(text).map(|micros| MicrosOrNever.show(&micros)), Ok(text.to_owned()));
        }
        for text in ["-2", "", "1ms", "9223372036854775808", "x"] {
            assert!(MicrosOrNever.parse(text).is_err(), "{text}");
        }
    }
}
