//! Processors that the node runs on.

use super::error::Invalid;
use super::kind::Kind;
use super::nearest::nearest;
use crate::limits::{self, CORES_MAX};

/// The processors the node is asked to run on; whether they exist is checked at start, by [`crate::boot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuChoice {
    /// Most that this process may run on: one of eight, and one at least, is left to what does not run on a core.
    Auto,
    /// Every processor that this process may run on.
    All,
    /// The first so many of them.
    Count(u16),
    /// Exactly these, ascending and without repetition.
    List(Vec<u16>),
}

/// The kind of `cores`: `auto`, `all`, a count as `4`, or a list as `0,2-3`.
pub(super) struct Cpus;

impl Kind for Cpus {
    type Value = CpuChoice;

    fn parse(&self, text: &str) -> Result<CpuChoice, Invalid> {
        match text {
            "auto" => return Ok(CpuChoice::Auto),
            "all" => return Ok(CpuChoice::All),
            _ => {}
        }
        if text.contains([',', '-']) {
            return parse_list(text);
        }
        match text.parse::<u16>() {
            Ok(0) => {
                Err(Invalid::new("a node needs one core at least (the one processor 0 is written 0-0)").nearest("1"))
            }
            Ok(count) if usize::from(count) <= CORES_MAX => Ok(CpuChoice::Count(count)),
            Ok(_) => Err(Invalid::new(format!("a node has {CORES_MAX} cores at most")).nearest(CORES_MAX.to_string())),
            Err(_) => Err(Invalid::new("it takes a count as 4, a list as 0,2-3, auto or all")
                .nearest(nearest(text, ["auto", "all"]).unwrap_or("auto"))),
        }
    }

    fn show(&self, value: &CpuChoice) -> String {
        match value {
            CpuChoice::Auto => String::from("auto"),
            CpuChoice::All => String::from("all"),
            CpuChoice::Count(count) => count.to_string(),
            CpuChoice::List(cpus) => show_list(cpus),
        }
    }

    fn unit(&self) -> String {
        String::from("a count, a list of processors as 0,2-3 (one: 3-3), auto or all")
    }

    fn placeholder(&self) -> &'static str {
        "N|LIST"
    }
}

fn parse_list(text: &str) -> Result<CpuChoice, Invalid> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_cpu(part, first)?, parse_cpu(part, last)?);
        if first > last {
            return Err(Invalid::new(format!("the range {part} runs backwards")).nearest(format!("{last}-{first}")));
        }
        cpus.extend(first..=last);
    }
    let count = cpus.len();
    cpus.sort_unstable();
    cpus.dedup();
    if cpus.len() < count {
        return Err(Invalid::new("a processor is named twice").nearest(show_list(&cpus)));
    }
    match cpus.len() <= CORES_MAX {
        true => Ok(CpuChoice::List(cpus)),
        false => {
            Err(Invalid::new(format!("a node has {CORES_MAX} cores at most")).nearest(show_list(&cpus[..CORES_MAX])))
        }
    }
}

fn parse_cpu(part: &str, number: &str) -> Result<u16, Invalid> {
    match number.trim().parse() {
        Ok(cpu @ 0..=limits::CPU_NUMBER_MAX) => Ok(cpu),
        _ => Err(Invalid::new(format!("'{part}' is no processor number or range, as 2 or 2-3"))),
    }
}

/// Writes `cpus`, ascending, as ranges; a single processor as `3-3`, since `3` alone is a count.
pub(crate) fn show_list(cpus: &[u16]) -> String {
    if let [cpu] = cpus {
        return format!("{cpu}-{cpu}");
    }
    let runs = cpus.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [cpu] => cpu.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_lists_read_back_as_written() {
        let cases = [
            ("auto", CpuChoice::Auto),
            ("all", CpuChoice::All),
            ("2", CpuChoice::Count(2)),
            ("0,2-3", CpuChoice::List(vec![0, 2, 3])),
            ("3-3", CpuChoice::List(vec![3])),
        ];
        for (text, choice) in cases {
            assert_eq!(Cpus.parse(text), Ok(choice.clone()), "{text}");
            assert_eq!(Cpus.show(&choice), text);
        }
    }

    #[test]
    fn what_is_no_core_is_refused_with_the_nearest() {
        for (text, near) in [
            ("0", "'1'"),
            ("9999", "'256'"),
            ("3-1", "'1-3'"),
            ("1,0,1", "'0-1'"),
            ("al", "'all'"),
            ("aut", "'auto'"),
            ("0-9000", "2-3"),
        ] {
            let refusal = Cpus.parse(text).expect_err(text).to_string();
            assert!(refusal.ends_with(near), "{text}: {refusal}");
        }
    }
}
