//! The one memory map of the project, and with it the one `unsafe` block.
//!
//! Only files that no longer change are mapped: sealed indexes and facets. Record data is never mapped, because an I/O error
//! on a mapped page is a fatal signal instead of an error.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps the whole file for reads.
#[expect(
    unsafe_code,
    reason = "a memory map has no safe constructor; see the comment at the block"
)]
pub(super) fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: The bytes behind a map must not change while a slice of it is borrowed. The files mapped here are written and
    // synced before they are mapped and never written again; they are replaced by unlinking, which leaves the map whole.
    // Other programs are kept out by the modes (directory 0700, file 0600) and the lock of the data directory; root, or a
    // second program of the same user that edits the files in place, is outside of what any database defends against.
    unsafe { Mmap::map(file) }
}
