//! Sizes in bytes: `64mb`, `1g`, `50%` of the machine's memory.

use std::fs;

use super::error::Invalid;
use super::kind::Kind;
use super::nearest::nearest;

/// The units of `redis.conf`: `k` is 1000 bytes and `kb` is 1024.
const UNITS: [(&str, u64); 15] = [
    ("gb", 1 << 30),
    ("mb", 1 << 20),
    ("kb", 1 << 10),
    ("tb", 1 << 40),
    ("b", 1),
    ("", 1),
    ("k", 1_000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("t", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("bytes", 1),
];

/// Reads a size such as `64mb`, `1g` or `1048576`; case does not matter.
pub(super) fn parse_bytes(text: &str) -> Result<u64, Invalid> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = (&text[..digits_end], text[digits_end..].trim().to_ascii_lowercase());
    if digits.is_empty() {
        return Err(Invalid::new("it takes a size: a whole number and a unit, as 64mb"));
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let invalid =
            Invalid::new(format!("'{unit}' is no unit of size: they are kb, mb, gb, tb (1024), k, m, g, t (1000)"));
        return Err(match nearest(&unit, UNITS.iter().map(|(name, _)| *name)) {
            Some(near) => invalid.nearest(format!("{digits}{near}")),
            None => invalid,
        });
    };
    let number: u64 = digits.parse().map_err(|_| Invalid::new("the number is too large"))?;
    number.checked_mul(*factor).ok_or_else(|| Invalid::new("the size is too large"))
}

/// Writes `bytes` with the largest unit that needs no fraction, so that it reads back as the same size.
pub(super) fn show_bytes(bytes: u64) -> String {
    let exact = [("tb", 1 << 40), ("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
    match exact.into_iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// A size between two bounds, both valid; zero too where it has a meaning of its own.
pub(super) struct Bytes {
    pub least: u64,
    pub most: u64,
    pub zero_means: Option<&'static str>,
}

impl Kind for Bytes {
    type Value = u64;

    fn parse(&self, text: &str) -> Result<u64, Invalid> {
        let bytes = parse_bytes(text)?;
        if (bytes == 0 && self.zero_means.is_some()) || (self.least..=self.most).contains(&bytes) {
            return Ok(bytes);
        }
        let bound = if bytes > self.most { self.most } else { self.least };
        let invalid =
            Invalid::new(format!("it must be between {} and {}", show_bytes(self.least), show_bytes(self.most)));
        Err(invalid.nearest(show_bytes(bound)))
    }

    fn show(&self, value: &u64) -> String {
        show_bytes(*value)
    }

    fn show_plain(&self, value: &u64) -> String {
        value.to_string()
    }

    fn unit(&self) -> String {
        match self.zero_means {
            Some(meaning) => format!("bytes, as 64mb or 1g; 0: {meaning}"),
            None => String::from("bytes, as 64mb or 1g"),
        }
    }

    fn placeholder(&self) -> &'static str {
        "BYTES"
    }
}

/// A size, or a share of the memory that this process may use.
pub(super) struct Memory {
    pub least: u64,
}

impl Kind for Memory {
    type Value = u64;

    fn parse(&self, text: &str) -> Result<u64, Invalid> {
        let bytes = match text.strip_suffix('%') {
            Some(percent) => share_of_machine(percent)?,
            None => parse_bytes(text)?,
        };
        match bytes >= self.least {
            true => Ok(bytes),
            false => Err(Invalid::new(format!("a node needs {} at least", show_bytes(self.least)))
                .nearest(show_bytes(self.least))),
        }
    }

    fn show(&self, value: &u64) -> String {
        show_bytes(*value)
    }

    fn show_plain(&self, value: &u64) -> String {
        value.to_string()
    }

    fn unit(&self) -> String {
        String::from("bytes, as 4gb, or a share of the machine's memory, as 50%")
    }

    fn placeholder(&self) -> &'static str {
        "BYTES"
    }
}

fn share_of_machine(percent: &str) -> Result<u64, Invalid> {
    let percent = match percent.trim().parse::<u64>() {
        Ok(percent @ 1..=90) => percent,
        Ok(0) => return Err(Invalid::new("a share lies between 1% and 90%").nearest("1%")),
        Ok(_) => return Err(Invalid::new("a share lies between 1% and 90%").nearest("90%")),
        Err(_) => return Err(Invalid::new("a share is a whole number and '%'").nearest("50%")),
    };
    match machine_memory() {
        // Whole mebibytes: nobody wants to read the odd bytes of a share.
        Some(bytes) => Ok((bytes / 100 * percent) >> 20 << 20),
        None => Err(Invalid::new("the machine's memory is unknown since /proc/meminfo cannot be read").nearest("1gb")),
    }
}

/// Bytes of memory that this process may use: the machine's, or less where its control group says so.
pub(super) fn machine_memory() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes: u64 =
        meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().split(' ').next()?.parse().ok()?;
    Some(control_group_memory().unwrap_or(u64::MAX).min(kilobytes * 1024))
}

/// The tightest `memory.max` from this process' control group up to the root (cgroup v2), none where nothing is limited.
fn control_group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = std::path::Path::new("/sys/fs/cgroup");
    root.join(path)
        .ancestors()
        .take_while(|directory| directory.starts_with(root))
        .filter_map(|directory| fs::read_to_string(directory.join("memory.max")).ok()?.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_mean_what_they_mean_in_redis() {
        for (text, bytes) in
            [("64mb", 64 << 20), ("1g", 1_000_000_000), ("1GB", 1 << 30), ("512", 512), ("10k", 10_000), ("0", 0)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_wrong_unit_names_the_nearest_one() {
        assert!(parse_bytes("64mbb").expect_err("no unit").to_string().ends_with("'64mb'"));
        assert!(parse_bytes("5s").expect_err("a duration").to_string().contains("no unit of size"));
        assert!(parse_bytes("mb").is_err());
        assert!(parse_bytes("99999999tb").is_err());
    }

    #[test]
    fn sizes_are_shown_so_that_they_read_back() {
        for bytes in [0, 1, 1023, 1024, 64 << 20, (64 << 20) + 1, 3 << 40, u64::MAX] {
            assert_eq!(parse_bytes(&show_bytes(bytes)), Ok(bytes));
        }
        assert_eq!(show_bytes(64 << 20), "64mb");
    }

    #[test]
    fn a_size_out_of_bounds_names_the_nearest_bound() {
        let kind = Bytes { least: 1 << 20, most: 512 << 20, zero_means: None };

        assert!(kind.parse("1gb").expect_err("too large").to_string().ends_with("'512mb'"));
        assert!(kind.parse("0").expect_err("too small").to_string().ends_with("'1mb'"));
    }

    #[test]
    fn a_share_is_of_the_memory_this_process_may_use() {
        let kind = Memory { least: 1 };
        let machine = machine_memory().expect("a Linux machine tells its memory");

        let half = kind.parse("50%").expect("a valid share");

        assert!(half.abs_diff(machine / 2) <= 1 << 20, "{half} of {machine}");
        assert!(kind.parse("200%").expect_err("too much").to_string().ends_with("'90%'"));
    }
}
