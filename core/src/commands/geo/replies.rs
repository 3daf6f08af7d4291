//! Distances and positions as Redis prints them.

use std::fmt::Write as _;

use basalt_net::resp::{Protocol, Reply};

use super::cell::Position;

/// A distance, in four digits behind the point: a string in both versions of the protocol.
pub(super) fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    reply.bulk_display(format_args!("{distance:.4}"));
}

/// A longitude and a latitude.
pub(super) fn reply_position(reply: &mut Reply<'_>, position: Position) {
    reply.array(2);
    for degrees in [position.longitude, position.latitude] {
        let text = text(degrees);
        match reply.protocol() {
            Protocol::Resp2 => reply.bulk(text),
            Protocol::Resp3 => reply.raw(format!(",{text}\r\n").as_bytes()),
        }
    }
}

/// A number in 17 digits behind the point, without those at the end that are 0.
fn text(degrees: f64) -> String {
    let mut text = String::new();
    write!(text, "{degrees:.17}").expect("a string takes any text");
    let length = text.trim_end_matches('0').trim_end_matches('.').len();
    text.truncate(length);
    if text == "-0" { "0".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_printed_as_redis_prints_them() {
        for (degrees, expected) in [
            (13.361389338970184, "13.36138933897018433"),
            (38.1155563954963, "38.11555639549629859"),
            (-180.0, "-180"),
            (0.0, "0"),
            (-0.0, "0"),
            (-1e-18, "0"),
            (100.5, "100.5"),
        ] {
            assert_eq!(text(degrees), expected);
        }
    }
}
