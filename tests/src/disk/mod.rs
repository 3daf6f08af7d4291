//! A disk that forgets what was not synced, that can be full or slow, and whose syncs can fail: a file system in this process'
//! memory, which the kernel mounts through FUSE.
//!
//! Why FUSE: kill -9 leaves the kernel's page cache, so that it cannot tell a node that syncs from one that does not. A library
//! preloaded into the node would see only the calls it knows of, and would have to be right about each; device-mapper targets that
//! drop writes (`flakey`, `log-writes`) are modules that containers and small kernels lack. Through FUSE every byte of the node
//! goes by its file system calls, whichever they are, mapped memory and future ones included, and the kernel hands each over
//! when it is made (no write-back cache is asked for).
//!
//! It is stricter than any common file system: a sync of a file makes its content durable and nothing else; the *name* of a new,
//! renamed or removed file is durable once its directory was synced. So what survives here survives anywhere.
//!
//! What a newcomer would get wrong: the kernel keeps a cache for this file system as for any other. A power failure therefore
//! unmounts it, forgets, and mounts it again.

mod files;
mod mounted;

pub use files::{Pace, Survivors};
pub use mounted::ForgetfulDisk;
