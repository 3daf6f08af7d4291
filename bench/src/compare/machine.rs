//! The machine a report comes from.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sys::utsname::uname;

/// Facts of a machine that must be known to compare a report with another.
#[derive(Debug)]
pub struct Machine {
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// Reads the facts of the machine and of the disk that holds `dir`, and asks `programs`, each with its name, for their
    /// versions.
    ///
    /// # Errors
    /// If a program is missing, or a path does not exist.
    pub fn read(dir: &Path, programs: &[(&'static str, &Path)]) -> Result<Machine> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("{path} cannot be read"));
        let mounts = read("/proc/self/mounts")?;
        let dir = dir.canonicalize().with_context(|| format!("there is no {}", dir.display()))?;
        let file_system = file_system(&mounts, &dir).context("no file system is mounted at /")?;
        let kernel = uname().context("the kernel does not say its name")?;
        let mut facts = vec![
            ("processor", value_of(&read("/proc/cpuinfo")?, "model name").unwrap_or("unknown").to_string()),
            ("processors", thread::available_parallelism().context("the processors cannot be counted")?.to_string()),
            ("memory", value_of(&read("/proc/meminfo")?, "MemTotal").unwrap_or("unknown").to_string()),
            ("kernel", format!("{} {}", kernel.sysname().display(), kernel.release().display())),
            ("file system of the data", file_system),
            ("load average before", read("/proc/loadavg")?.split_whitespace().take(3).collect::<Vec<_>>().join(" ")),
        ];
        for &(name, program) in programs {
            facts.push((name, version(program)?));
        }
        Ok(Machine { facts })
    }

    /// Returns each fact with its name.
    pub fn facts(&self) -> &[(&'static str, String)] {
        &self.facts
    }
}

/// Asks a program for its version.
fn version(program: &Path) -> Result<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("{} cannot be started; `make deps` installs what is needed", program.display()))?;
    ensure!(output.status.success(), "{} --version ended with {}", program.display(), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_string())
}

/// Finds `name   : value` in a file of `/proc`.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.split_once(':')).find(|(other, _)| other.trim() == name).map(|(_, v)| v.trim())
}

/// Finds the file system that holds `dir` in `/proc/self/mounts`: the one mounted closest above it, the last of several
/// mounted at the same place.
fn file_system(mounts: &str, dir: &Path) -> Option<String> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, place, kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        dir.starts_with(place).then_some((Path::new(place).components().count(), device, kind, options))
    });
    let (_, device, kind, options) = mounted.max_by_key(|(depth, ..)| *depth)?;
    Some(format!("{kind} on {device} ({options})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_the_one_mounted_closest() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw,nosuid 0 0\n/dev/vdb /tmp/x xfs rw 0 0\n";
        let of = |dir| file_system(mounts, Path::new(dir)).unwrap();
        assert_eq!(of("/tmp"), "tmpfs on tmpfs (rw,nosuid)");
        assert_eq!(of("/tmp/x/y"), "xfs on /dev/vdb (rw)");
        assert_eq!(of("/tmpx"), "ext4 on /dev/vda (rw)");
    }

    #[test]
    fn values_of_proc_files_are_found() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\n\nmodel name\t: other\n";
        assert_eq!(value_of(text, "model name"), Some("AMD EPYC"));
        assert_eq!(value_of(text, "model"), None);
    }
}
