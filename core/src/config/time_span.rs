//! Durations: `100ms`, `5s`.

use std::time::Duration;

use super::error::Invalid;
use super::kind::Kind;
use super::nearest::nearest;

const UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

/// A duration between two bounds, both valid; zero too where it has a meaning of its own.
pub(super) struct Span {
    pub least: Duration,
    pub most: Duration,
    pub zero_means: Option<&'static str>,
    /// True if a bare number is a number of seconds, as for the settings that Redis has too.
    pub bare_seconds: bool,
}

impl Kind for Span {
    type Value = Duration;

    fn parse(&self, text: &str) -> Result<Duration, Invalid> {
        let span = parse_span(text, self.bare_seconds)?;
        if (span.is_zero() && self.zero_means.is_some()) || (self.least..=self.most).contains(&span) {
            return Ok(span);
        }
        let bound = if span > self.most { self.most } else { self.least };
        let invalid =
            Invalid::new(format!("it must be between {} and {}", show_span(self.least), show_span(self.most)));
        Err(invalid.nearest(show_span(bound)))
    }

    fn show(&self, value: &Duration) -> String {
        show_span(*value)
    }

    fn show_plain(&self, value: &Duration) -> String {
        // Only what Redis has too is a bare number of seconds there.
        if self.bare_seconds { value.as_secs().to_string() } else { show_span(*value) }
    }

    fn unit(&self) -> String {
        let unit = if self.bare_seconds { "seconds, or as 100ms or 5min" } else { "a duration, as 100ms or 5s" };
        match self.zero_means {
            Some(meaning) => format!("{unit}; 0: {meaning}"),
            None => unit.to_owned(),
        }
    }

    fn placeholder(&self) -> &'static str {
        if self.bare_seconds { "SECONDS" } else { "DURATION" }
    }
}

/// Reads a duration such as `100ms` or `5s`; a bare number only as `0` or where it means seconds.
pub(super) fn parse_span(text: &str, bare_seconds: bool) -> Result<Duration, Invalid> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..digits_end], text[digits_end..].trim().to_ascii_lowercase());
    if digits.is_empty() {
        return Err(Invalid::new("it takes a duration: a whole number and a unit, as 100ms"));
    }
    let number: u64 = digits.parse().map_err(|_| Invalid::new("the number is too large"))?;
    let factor = match unit.as_str() {
        "" if bare_seconds || number == 0 => 1_000_000,
        "" => return Err(Invalid::new("it lacks a unit: us, ms, s, min, h or d").nearest(format!("{digits}ms"))),
        "m" => return Err(Invalid::new("'m' may be minutes or milliseconds").nearest(format!("{digits}min"))),
        _ => match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None => return Err(wrong_unit(digits, &unit)),
        },
    };
    number.checked_mul(factor).map(Duration::from_micros).ok_or_else(|| Invalid::new("the duration is too long"))
}

fn wrong_unit(digits: &str, unit: &str) -> Invalid {
    let invalid = Invalid::new(format!("'{unit}' is no unit of time: they are us, ms, s, min, h and d"));
    let unit = match unit {
        "sec" | "secs" | "second" | "seconds" => Some("s"),
        "hour" | "hours" => Some("h"),
        "day" | "days" => Some("d"),
        _ => nearest(unit, UNITS.iter().map(|(name, _)| *name)),
    };
    match unit {
        Some(unit) => invalid.nearest(format!("{digits}{unit}")),
        None => invalid,
    }
}

/// Writes `span` with the largest unit up to seconds that needs no fraction, so that it reads back as the same.
pub(super) fn show_span(span: Duration) -> String {
    match span.as_micros() {
        0 => String::from("0"),
        us if us.is_multiple_of(1_000_000) => format!("{}s", us / 1_000_000),
        us if us.is_multiple_of(1_000) => format!("{}ms", us / 1_000),
        us => format!("{us}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_show_alike() {
        for (text, shown, us) in [
            ("100ms", "100ms", 100_000),
            ("5s", "5s", 5_000_000),
            ("2min", "120s", 120_000_000),
            ("0", "0", 0),
            ("7us", "7us", 7),
        ] {
            let span = parse_span(text, false).expect(text);
            assert_eq!((span, show_span(span).as_str()), (Duration::from_micros(us), shown), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_seconds_only_where_redis_says_so() {
        assert_eq!(parse_span("300", true), Ok(Duration::from_secs(300)));
        assert!(parse_span("300", false).expect_err("ambiguous").to_string().ends_with("'300ms'"));
    }

    #[test]
    fn a_wrong_unit_names_the_nearest_one() {
        for (text, near) in [("5sec", "'5s'"), ("5m", "'5min'"), ("5mss", "'5ms'")] {
            assert!(parse_span(text, true).expect_err(text).to_string().ends_with(near), "{text}");
        }
        assert!(parse_span("64mb", true).is_err());
    }
}
