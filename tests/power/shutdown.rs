//! The power cut itself: ext4 stops at once, and what it has not written and committed is lost.
//!
//! `EXT4_IOC_SHUTDOWN` with the flag `NOLOGFLUSH` drops the page cache's dirty pages and the running transaction of the
//! journal. The call has no safe wrapper: this is the one file of the suite with unsafe code.

#![allow(
    unsafe_code,
    reason = "an ioctl of one file system has no safe wrapper"
)]

use std::fs::File;
use std::io;

use rustix::ioctl::{self, Setter};

/// `_IOR('X', 125, __u32)`.
const EXT4_IOC_SHUTDOWN: ioctl::Opcode = 0x8004_587d;
/// Neither data nor the journal's running transaction are written.
const NOLOGFLUSH: u32 = 2;

/// Cuts the power of the file system that holds `root`, an open directory or file of it.
pub(crate) fn cut(root: &File) -> io::Result<()> {
    // SAFETY: the request takes a pointer to a u32, which it only reads, and changes nothing of this process's memory.
    unsafe { ioctl::ioctl(root, Setter::<EXT4_IOC_SHUTDOWN, u32>::new(NOLOGFLUSH)) }?;
    Ok(())
}
