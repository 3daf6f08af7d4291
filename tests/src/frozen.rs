//! One thread of a node that stands still.

use std::marker::PhantomData;
use std::{fs, io};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::node::Node;

/// A thread that stands still until this is dropped, while the others of its process go on. What it holds, it keeps.
#[derive(Debug)]
pub struct FrozenThread {
    thread: Pid,
    /// The kernel obeys the thread that has stopped it, and no other.
    _not_send: PhantomData<*const ()>,
}

impl FrozenThread {
    /// Stops the thread of `node` that is called `name`.
    ///
    /// # Errors
    /// Those of the kernel, which may not allow it, and [`io::ErrorKind::NotFound`] if there is no such thread.
    pub fn new(node: &Node, name: &str) -> io::Result<FrozenThread> {
        for entry in fs::read_dir(format!("/proc/{}/task", node.pid()))? {
            let entry = entry?;
            if fs::read_to_string(entry.path().join("comm"))?.trim_end() != name {
                continue;
            }
            let id = entry.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
            let thread = Pid::from_raw(id);
            ptrace::seize(thread, ptrace::Options::empty())?;
            ptrace::interrupt(thread)?;
            waitpid(thread, Some(WaitPidFlag::__WALL))?;
            return Ok(FrozenThread { thread, _not_send: PhantomData });
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("the node has no thread called {name}")))
    }
}

impl Drop for FrozenThread {
    fn drop(&mut self) {
        // If the node is gone, so is the thread.
        let _ = ptrace::detach(self.thread, None);
    }
}
