//! A disk that fails and heals: the image stands in a memory file system of its own that can be filled up.
//!
//! The image is sparse. While there is no room in memory, a write to a block that was never written fails below ext4: a
//! sync of it fails once, and the page is clean from then on, so that the next sync says that all is well and readers get bytes
//! that the disk does not have. A block that was written before takes every write. So it depends on the pages that are
//! left which file, directory or part of the journal fails.

use std::fs::{self, File};
use std::path::PathBuf;

use rustix::fs::FallocateFlags;

use super::{Ground, Kind, attempt, make_file_system};

/// A page, and a block: one fails without its neighbours.
const PAGE: u64 = 4096;
const IMAGE_BYTES: u64 = 24 << 20;
/// What the image and the balloon may take together.
const MEMORY_BYTES: u64 = 26 << 20;

/// How the file systems are made and mounted, in turn, and whether the journal and the inodes have their places from the
/// beginning. Where they have not, the journal may fail: ext4 takes no more writes until it is mounted again, and in that
/// moment acknowledges syncs that it has not done, as in a cut.
const KINDS: [(Kind, bool); 4] = [
    (("tight ext4", &["-b", "4096"], "defaults"), true),
    (
        (
            "tight ext4, data=writeback",
            &["-b", "4096"],
            "data=writeback",
        ),
        true,
    ),
    (
        ("tight ext4, journal in holes", &["-b", "4096"], "defaults"),
        false,
    ),
    (
        ("tight ext4, nodelalloc", &["-b", "4096"], "nodelalloc"),
        true,
    ),
];

impl Ground {
    /// Makes and mounts a file system of a kind that `number` chooses, on a disk that can fail.
    pub(crate) fn tight(label: &str, number: u64) -> Self {
        Self::try_tight(label, number).unwrap_or_else(|said| panic!("{said}"))
    }

    fn try_tight(label: &str, number: u64) -> Result<Self, String> {
        let mut ground = Self::begin(label, true);
        let (kind, has_places) = KINDS[usize::try_from(number).unwrap() % KINDS.len()];
        let memory = ground.memory();
        fs::create_dir(&memory).unwrap();
        let size = format!("size={MEMORY_BYTES}");
        let arguments = ["-t", "tmpfs", "-o", &size, "none", memory.to_str().unwrap()];
        attempt("mount", &arguments)?;
        let image = memory.join("image");
        let file = File::create(&image).unwrap();
        file.set_len(IMAGE_BYTES).unwrap();
        make_file_system(&image, kind)?;
        if has_places {
            // Every block; trimming takes the free ones away again.
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, IMAGE_BYTES).unwrap();
        }
        ground.attach(&image, kind)?;
        ground.write_blocks_one_by_one();
        ground.trim()?;
        Ok(ground)
    }

    /// A loop device reports success for a write of which only the first blocks found room. So each request gets one block.
    fn write_blocks_one_by_one(&self) {
        let device = self.device.as_ref().unwrap();
        let name = device.path.trim_start_matches("/dev/");
        let limit = format!("/sys/block/{name}/queue/max_sectors_kb");
        fs::write(&limit, (PAGE / 1024).to_string())
            .unwrap_or_else(|error| panic!("{limit}: {error}"));
    }

    fn memory(&self) -> PathBuf {
        self.dir.join("memory")
    }

    /// Makes holes of all free blocks: they fail again when there is no room.
    fn trim(&self) -> Result<(), String> {
        attempt("fstrim", &[self.root().to_str().unwrap()])?;
        Ok(())
    }

    /// Leaves room for so many more blocks.
    pub(crate) fn squeeze(&self, pages: u64) {
        // An ext4 that has given up takes no trimming; it takes nothing else either.
        self.trim().ok();
        let balloon = self.memory().join("balloon");
        let balloon = File::options()
            .append(true)
            .create(true)
            .open(balloon)
            .unwrap();
        loop {
            let room = rustix::fs::fstatvfs(&balloon).unwrap().f_bavail;
            let Some(excess) = room.checked_sub(pages).filter(|excess| *excess > 0) else {
                return;
            };
            let from = balloon.metadata().unwrap().len();
            // Somebody may take it in between: then there is less to take.
            rustix::fs::fallocate(&balloon, FallocateFlags::empty(), from, excess * PAGE).ok();
        }
    }

    /// Gives all room back, if it was taken.
    pub(crate) fn relieve(&self) {
        fs::remove_file(self.memory().join("balloon")).ok();
    }

    /// Whether its journal may fail.
    pub(crate) fn may_lie(&self) -> bool {
        KINDS
            .iter()
            .any(|(kind, has_places)| kind.0 == self.kind() && !has_places)
    }

    /// Whether ext4 has given up: it takes no writes until it is mounted again.
    pub(crate) fn has_given_up(&self) -> bool {
        File::create(self.root().join("probe")).is_err()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::fs::FileExt as _;

    use rustix::fs::Advice;

    use super::*;
    use crate::ground::is_there;

    const BLOCK: usize = 4096;

    fn block_at(file: &File, number: u64) -> io::Result<u8> {
        let mut bytes = [0; BLOCK];
        file.read_exact_at(&mut bytes, number * PAGE)?;
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        Ok(bytes[0])
    }

    fn evict(file: &File) -> io::Result<()> {
        Ok(rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?)
    }

    /// A harness whose syncs do not fail, or whose failed pages do not look clean, proves nothing. Whether it helps to write
    /// such a page again is up to the kernel: ext4 that delays allocation takes it, says that all is well, and loses it.
    #[test]
    fn what_a_failed_sync_leaves_looks_clean_and_is_lost_unless_it_is_dropped_and_written_again()
    -> io::Result<()> {
        if !is_there("the harness's own test") {
            return Ok(());
        }
        for number in [0, 1, 3] {
            let ground = Ground::tight(&format!("tight-{number}"), number);
            let kind = ground.device.as_ref().unwrap().kind;
            let path = ground.root().join("file");
            let file = File::create_new(&path)?;
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 16 * PAGE)?;
            file.write_all_at(&[1; BLOCK], 0)?;
            file.sync_all()?;
            File::open(ground.root())?.sync_all()?;
            for (number, (is_dropped, is_written)) in
                (1..).zip([(false, false), (false, true), (true, true)])
            {
                ground.squeeze(0);
                file.write_all_at(&[2; BLOCK], number * PAGE)?;
                assert!(file.sync_data().is_err(), "{kind}: no room");
                file.sync_data()?;
                ground.relieve();
                let next = File::options().read(true).write(true).open(&path)?;
                next.sync_data()?;
                assert_eq!(block_at(&next, number)?, 2, "{kind}: served from memory");
                if is_dropped {
                    evict(&next)?;
                }
                if is_written {
                    next.write_all_at(&[2; BLOCK], number * PAGE)?;
                    next.sync_data()?;
                }
                evict(&next)?;
                let found = block_at(&next, number)?;
                if is_dropped == is_written {
                    assert_eq!(found, if is_written { 2 } else { 0 }, "{kind}: on the disk");
                } else {
                    eprintln!("{kind}: written again and synced, there is {found}");
                }
                assert_eq!(block_at(&next, 0)?, 1, "{kind}: what was synced");
            }
            assert!(!ground.has_given_up(), "{kind}");
        }
        Ok(())
    }
}
