//! Processors that the servers and the client may run on.

use std::process::{Child, Command};

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Starts `command` on processor `cpu` alone, or where this program may run if there is none.
///
/// # Errors
/// If the processor does not exist or the program cannot be started.
pub fn spawn(command: &mut Command, cpu: Option<usize>) -> Result<Child> {
    let name = command.get_program().display().to_string();
    let Some(cpu) = cpu else {
        return command.spawn().with_context(|| format!("{name} could not be started"));
    };
    // A child inherits its parent's processors.
    let this_thread = Pid::from_raw(0);
    let own = sched_getaffinity(this_thread).context("this program's own processors are unknown")?;
    let mut one = CpuSet::new();
    one.set(cpu).with_context(|| format!("no processor has the number {cpu}"))?;
    sched_setaffinity(this_thread, &one).with_context(|| format!("there is no processor {cpu} to run {name} on"))?;
    let child = command.spawn();
    sched_setaffinity(this_thread, &own).context("this program could not return to its processors")?;
    child.with_context(|| format!("{name} could not be started"))
}

/// Has this thread run on processor `cpu` alone from now on, if there is one.
///
/// # Errors
/// If the processor does not exist.
pub fn place_this_thread(cpu: Option<usize>) -> Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut one = CpuSet::new();
    one.set(cpu).with_context(|| format!("no processor has the number {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &one).with_context(|| format!("there is no processor {cpu}"))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn only_the_child_is_placed() {
        let this_thread = Pid::from_raw(0);
        let own = sched_getaffinity(this_thread).unwrap();

        let mut command = Command::new("cat");
        command.arg("/proc/self/status").stdout(Stdio::piped());
        let child = spawn(&mut command, Some(0)).unwrap();

        let status = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        assert_eq!(sched_getaffinity(this_thread).unwrap(), own);
    }
}
