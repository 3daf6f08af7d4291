//! Numbers as texts: integers as Redis tells them from other strings, and scores as C prints them.

/// The integer that `text` is, if it is the one text of it.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The integer that `score` is, if it is one of those that a `f64` and an `i64` both tell apart.
pub(crate) fn integer_score(score: f64) -> Option<i64> {
    const MAX: f64 = (i64::MAX / 2) as f64;
    let integer = score as i64;
    ((-MAX..=MAX).contains(&score) && integer as f64 == score).then_some(integer)
}

/// `score`, which is not NaN, as `%.17g` prints it.
pub(crate) fn score_text(score: f64) -> String {
    const DIGITS: i32 = 17;
    if score.is_infinite() {
        return if score > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = format!("{:.*e}", DIGITS as usize - 1, score);
    let (mantissa, exponent) = text.split_once('e').expect("it is printed with an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..DIGITS).contains(&exponent) {
        return trimmed(&format!("{:.*}", (DIGITS - 1 - exponent) as usize, score));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

/// The score that `text` is; `None` if it is none, or NaN.
pub(crate) fn score(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!number.is_nan()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_text_of_an_integer_is_one() {
        for number in [0, 1, -1, 127, i64::MAX, i64::MIN, 1_000_000] {
            assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }
        for text in ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "9223372036854775808", "99999999999999999999"]
        {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn scores_are_printed_as_c_does() {
        for (score, text) in [
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (-2.25, "-2.25"),
            (1e20, "1e+20"),
            (1.5e300, "1.5000000000000001e+300"),
            (1e-5, "1.0000000000000001e-05"),
            (0.0001, "0.0001"),
            (123456789.125, "123456789.125"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (5e-324, "4.9406564584124654e-324"),
        ] {
            assert_eq!(score_text(score), text);
            assert_eq!(super::score(text.as_bytes()), Some(score));
        }
        assert_eq!(super::score(b"nan"), None);
        assert_eq!(super::score(b"x"), None);
    }
}
