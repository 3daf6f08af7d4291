//! Settings of glibc's heap, which RocksDB takes its memory from; Rust's own allocations have another allocator.

#![allow(unsafe_code, reason = "glibc's settings are made through a C call")]

/// Has glibc's heap give the kernel what is free in it, which takes as long as there is much: no call for a thread that others wait
/// for.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain number; glibc looks at its own heap only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has all threads share `count` arenas of glibc's heap, instead of up to eight for each processor.
///
/// Memory that one thread frees stays in its arena for the next one that allocates there. RocksDB's blocks are allocated by
/// reader threads and compactions and freed by whoever makes room in the cache, so that arenas of all threads grow to the size
/// of the largest demand each has ever seen. Call it before other threads start.
pub fn share_arenas(count: u16) {
    #[cfg(target_env = "gnu")]
    // SAFETY: two plain numbers; glibc refuses what it does not take, and goes on as before.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, libc::c_int::from(count));
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = count;
}
