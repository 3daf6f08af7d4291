//! The way from the text of a setting to its value and back.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use super::error::Invalid;
use super::nearest::nearest;
use crate::limits::map::{HOSTNAME_BYTES_MAX, SEEDS_MAX};

/// One kind of value: numbers, sizes, durations, words of a fixed set.
pub(super) trait Kind {
    /// The type that the node works with.
    type Value;

    /// Reads `text` as a user wrote it.
    fn parse(&self, text: &str) -> Result<Self::Value, Invalid>;

    /// Writes `value` so that [`Kind::parse`] reads the same one back.
    fn show(&self, value: &Self::Value) -> String;

    /// Writes `value` as Redis' clients expect it from `CONFIG GET`: sizes as bytes, durations as seconds, no units.
    fn show_plain(&self, value: &Self::Value) -> String {
        self.show(value)
    }

    /// Says what a user may write: the unit, the bounds, the words.
    fn unit(&self) -> String;

    /// Names the value in the usage line, as `BYTES`.
    fn placeholder(&self) -> &'static str;
}

/// A whole number between two bounds, both valid.
pub(super) struct Number {
    pub least: u64,
    pub most: u64,
    pub what: &'static str,
}

impl Number {
    fn read(&self, text: &str) -> Result<u64, Invalid> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Invalid::new(format!("it takes a whole number of {}, without a unit", self.what)));
        }
        // More digits than a u64 holds, or a minus sign: out of bounds on that side.
        let number = match text.starts_with('-') {
            true => None,
            false => Some(digits.parse().unwrap_or(u64::MAX)),
        };
        match number {
            Some(number) if (self.least..=self.most).contains(&number) => Ok(number),
            Some(number) if number > self.most => Err(self.out_of_bounds().nearest(self.most.to_string())),
            _ => Err(self.out_of_bounds().nearest(self.least.to_string())),
        }
    }

    fn out_of_bounds(&self) -> Invalid {
        Invalid::new(format!("it must be between {} and {}", self.least, self.most))
    }
}

/// A [`Number`] that fits 16 bits.
pub(super) struct Number16(pub Number);

impl Kind for Number16 {
    type Value = u16;

    fn parse(&self, text: &str) -> Result<u16, Invalid> {
        Ok(u16::try_from(self.0.read(text)?).expect("the table bounds a 16-bit setting by 65535"))
    }

    fn show(&self, value: &u16) -> String {
        value.to_string()
    }

    fn unit(&self) -> String {
        format!("{}, {} to {}", self.0.what, self.0.least, self.0.most)
    }

    fn placeholder(&self) -> &'static str {
        "N"
    }
}

/// A [`Number`] that fits 32 bits.
pub(super) struct Number32(pub Number);

impl Kind for Number32 {
    type Value = u32;

    fn parse(&self, text: &str) -> Result<u32, Invalid> {
        Ok(u32::try_from(self.0.read(text)?).expect("the table bounds a 32-bit setting by 4294967295"))
    }

    fn show(&self, value: &u32) -> String {
        value.to_string()
    }

    fn unit(&self) -> String {
        format!("{}, {} to {}", self.0.what, self.0.least, self.0.most)
    }

    fn placeholder(&self) -> &'static str {
        "N"
    }
}

/// A [`Number`] or the word `auto`, which is none.
pub(super) struct NumberOrAuto(pub Number);

impl Kind for NumberOrAuto {
    type Value = Option<u16>;

    fn parse(&self, text: &str) -> Result<Option<u16>, Invalid> {
        match text {
            "auto" => Ok(None),
            _ if nearest(text, ["auto"]).is_some() => Err(Invalid::new("no such word").nearest("auto")),
            _ => Number16(Number { ..self.0 }).parse(text).map(Some),
        }
    }

    fn show(&self, value: &Option<u16>) -> String {
        value.map_or_else(|| String::from("auto"), |number| number.to_string())
    }

    fn unit(&self) -> String {
        format!("{}, {} to {}, or auto", self.0.what, self.0.least, self.0.most)
    }

    fn placeholder(&self) -> &'static str {
        "N"
    }
}

/// IP addresses, separated by commas or blanks.
pub(super) struct Addresses;

impl Kind for Addresses {
    type Value = Vec<IpAddr>;

    fn parse(&self, text: &str) -> Result<Vec<IpAddr>, Invalid> {
        let mut addresses = Vec::new();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            let address = IpAddr::from_str(word).map_err(|_| not_an_address(word))?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match addresses.is_empty() {
            true => Err(Invalid::new("it needs one IP address at least").nearest("127.0.0.1")),
            false => Ok(addresses),
        }
    }

    fn show(&self, value: &Vec<IpAddr>) -> String {
        value.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    fn show_plain(&self, value: &Vec<IpAddr>) -> String {
        self.show(value).replace(',', " ")
    }

    fn unit(&self) -> String {
        String::from("IP addresses, separated by commas")
    }

    fn placeholder(&self) -> &'static str {
        "ADDR"
    }
}

fn not_an_address(word: &str) -> Invalid {
    let invalid = Invalid::new(format!("'{word}' is no IP address"));
    match word {
        "*" | "-::*" | "any" | "all" => invalid.nearest("0.0.0.0"),
        "localhost" => invalid.nearest("127.0.0.1"),
        _ if word.parse::<SocketAddr>().is_ok() => Invalid::new("the port is a setting of its own")
            .nearest(word.rsplit_once(':').map_or(word, |(address, _)| address).trim_matches(['[', ']'])),
        _ => invalid,
    }
}

/// An IP address, or nothing.
pub(super) struct AddressOrBlank;

impl Kind for AddressOrBlank {
    type Value = Option<IpAddr>;

    fn parse(&self, text: &str) -> Result<Option<IpAddr>, Invalid> {
        match text {
            "" => Ok(None),
            _ => IpAddr::from_str(text).map(Some).map_err(|_| not_an_address(text)),
        }
    }

    fn show(&self, value: &Option<IpAddr>) -> String {
        value.map_or_else(String::new, |address| address.to_string())
    }

    fn unit(&self) -> String {
        String::from("an IP address; nothing means the one that is listened on, if that is one")
    }

    fn placeholder(&self) -> &'static str {
        "ADDR"
    }
}

/// The name of a host, or nothing.
pub(super) struct HostName;

impl Kind for HostName {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, Invalid> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if text.len() > HOSTNAME_BYTES_MAX || !text.bytes().all(is_plain) {
            return Err(Invalid::new(format!("it has letters, digits, - and . only, {HOSTNAME_BYTES_MAX} at most")));
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn unit(&self) -> String {
        String::from("a host name, or nothing")
    }

    fn placeholder(&self) -> &'static str {
        "NAME"
    }
}

/// Hosts with ports, separated by commas or blanks, or nothing.
pub(super) struct HostPorts;

impl Kind for HostPorts {
    type Value = Vec<String>;

    fn parse(&self, text: &str) -> Result<Vec<String>, Invalid> {
        let mut places: Vec<String> = Vec::new();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            let port = match word.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && HostName.parse(host).is_ok() => port.parse().ok(),
                // One of version 6 stands in brackets.
                _ => word.parse::<SocketAddr>().ok().map(|address| address.port()),
            };
            if port.is_none_or(|port| port == 0) {
                return Err(Invalid::new(format!("'{word}' is no host with a port, as in 10.0.0.1:6379")));
            }
            if !places.iter().any(|place| place == word) {
                places.push(word.to_owned());
            }
        }
        match places.len() > SEEDS_MAX {
            true => Err(Invalid::new(format!("it has {SEEDS_MAX} nodes at most"))),
            false => Ok(places),
        }
    }

    fn show(&self, value: &Vec<String>) -> String {
        value.join(",")
    }

    fn unit(&self) -> String {
        String::from("hosts with ports, separated by commas, or nothing")
    }

    fn placeholder(&self) -> &'static str {
        "HOST:PORT"
    }
}

/// A directory.
pub(super) struct Directory;

impl Kind for Directory {
    type Value = PathBuf;

    fn parse(&self, text: &str) -> Result<PathBuf, Invalid> {
        match text {
            "" => Err(Invalid::new("it needs the path of a directory").nearest(".")),
            _ => Ok(PathBuf::from(text)),
        }
    }

    fn show(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }

    fn show_plain(&self, value: &PathBuf) -> String {
        std::path::absolute(value).unwrap_or_else(|_| value.clone()).display().to_string()
    }

    fn unit(&self) -> String {
        String::from("path of a directory, made when it does not exist")
    }

    fn placeholder(&self) -> &'static str {
        "DIR"
    }
}

/// A level, or the filter directives of `tracing-subscriber`.
pub(super) struct LogFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Kind for LogFilter {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, Invalid> {
        if LEVELS.contains(&text) {
            return Ok(text.to_owned());
        }
        if !text.contains('=') {
            let invalid = Invalid::new(format!("the levels are {}", LEVELS.join(", ")));
            return Err(match text {
                // Redis' words for the same.
                "notice" => invalid.nearest("info"),
                "verbose" => invalid.nearest("debug"),
                "warning" => invalid.nearest("warn"),
                _ => invalid.nearest(nearest(text, LEVELS).unwrap_or("info")),
            });
        }
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(Invalid::new(format!("{error}")).nearest("info")),
        }
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn unit(&self) -> String {
        format!("{}, or directives as info,basalt_net=debug", LEVELS.join("|"))
    }

    fn placeholder(&self) -> &'static str {
        "LEVEL"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_bounds_names_the_nearest_bound() {
        let port = Number16(Number { least: 1, most: 65_535, what: "port" });

        assert_eq!(port.parse("7000"), Ok(7000));
        for (text, expected) in
            [("70000", "'65535'"), ("0", "'1'"), ("-5", "'1'"), ("99999999999999999999999", "'65535'")]
        {
            let refusal = port.parse(text).expect_err(text).to_string();
            assert!(refusal.ends_with(expected), "{text}: {refusal}");
        }
        for text in ["", "7000s", "seven", "-"] {
            assert!(port.parse(text).expect_err(text).to_string().contains("whole number"), "{text}");
        }
    }

    #[test]
    fn hosts_with_ports_read_back_as_written() {
        let text = "10.0.0.1:6379,one.example:7000,[::1]:7001";
        assert_eq!(HostPorts.parse(&text.replace(',', ", ")).map(|places| HostPorts.show(&places)), Ok(text.into()));
        assert_eq!(HostPorts.parse(""), Ok(Vec::new()));
        for text in ["10.0.0.1", "one.example:", ":7000", "::1:7000", "a:0", "a:65536", "a b:1", "[::1]:0", "a_b:1"] {
            let refusal = HostPorts.parse(text).expect_err(text).to_string();
            assert!(refusal.contains("is no host with a port"), "{text}: {refusal}");
        }
    }

    #[test]
    fn addresses_read_back_as_written() {
        assert_eq!(Addresses.parse("127.0.0.1, ::1").map(|a| Addresses.show(&a)), Ok("127.0.0.1,::1".into()));
        for (text, expected) in
            [("*", "0.0.0.0"), ("localhost", "127.0.0.1"), ("10.0.0.1:6379", "10.0.0.1"), ("[::1]:1", "::1")]
        {
            let refusal = Addresses.parse(text).expect_err(text).to_string();
            assert!(refusal.ends_with(&format!("'{expected}'")), "{text}: {refusal}");
        }
    }

    #[test]
    fn log_levels_of_redis_are_translated() {
        assert!(LogFilter.parse("notice").expect_err("no level").to_string().ends_with("'info'"));
        assert!(LogFilter.parse("inof").expect_err("no level").to_string().ends_with("'info'"));
        assert_eq!(LogFilter.parse("info,basalt_net=debug"), Ok("info,basalt_net=debug".into()));
        assert!(LogFilter.parse("basalt_net=loud").is_err());
    }
}
