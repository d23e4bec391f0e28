//! Closing files that are deleted. The last handle of such a file takes its pages with it, about 40 ms for 128 MiB, and whoever
//! lets go of it last may be serving others.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// From this size on a deleted file is closed elsewhere.
const LARGE_BYTES: u64 = 4 << 20;
/// Files that wait for it at most: each has a descriptor, and its space on the disk.
const WAITING_MAX: usize = 64;

/// The thread that closes, from the first file on that it is given. It ends with the process.
static CLOSER: LazyLock<Option<SyncSender<File>>> = LazyLock::new(start);

/// Has what closing this file for the last time costs done elsewhere, if it is much. The caller closes it next.
pub(super) fn before_close(file: &File) {
    if is_costly(file)
        && let Some(closer) = CLOSER.as_ref()
    {
        hand_over(file, closer);
    }
}

fn is_costly(file: &File) -> bool {
    let metadata = file.metadata();
    metadata.is_ok_and(|file| file.nlink() == 0 && file.len() >= LARGE_BYTES)
}

/// Gives a second handle away. When that is not possible the caller's is the last one.
fn hand_over(file: &File, closer: &SyncSender<File>) {
    if let Ok(last) = file.try_clone() {
        closer.try_send(last).ok();
    }
}

fn start() -> Option<SyncSender<File>> {
    let (closer, files) = sync_channel(WAITING_MAX);
    let thread = std::thread::Builder::new().name("close".to_owned());
    let started = thread.spawn(move || close_all(&files));
    started.ok().map(|_| closer)
}

fn close_all(files: &Receiver<File>) {
    while let Ok(file) = files.recv() {
        drop(file);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn only_a_large_file_without_a_name_is_costly_to_close() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let file = File::create_new(&path).unwrap();
        file.set_len(LARGE_BYTES).unwrap();
        assert!(!is_costly(&file), "it has a name");
        std::fs::remove_file(&path).unwrap();
        assert!(is_costly(&file));
        file.set_len(LARGE_BYTES - 1).unwrap();
        assert!(!is_costly(&file));
    }

    #[test]
    fn a_file_that_is_handed_over_lives_until_it_is_closed_there() {
        let (closer, files) = sync_channel(1);
        let file = tempfile::tempfile().unwrap();
        let inode = file.metadata().unwrap().ino();
        hand_over(&file, &closer);
        // There is no room for a second one, which is no reason to wait.
        hand_over(&file, &closer);
        drop(file);
        let last = files.try_recv().unwrap();
        assert_eq!(last.metadata().unwrap().ino(), inode);
        assert!(files.try_recv().is_err());
    }

    #[test]
    fn all_that_is_handed_over_is_closed() {
        let (closer, files) = sync_channel(2);
        for _ in 0..2 {
            hand_over(&tempfile::tempfile().unwrap(), &closer);
        }
        drop(closer);
        close_all(&files);
        assert!(files.try_recv().is_err());
    }
}
