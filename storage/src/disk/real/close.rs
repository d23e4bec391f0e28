//! Closing files that are deleted. The last handle of such a file takes its pages with it, about 40 ms for 128 MiB, and whoever
//! lets go of it last may be serving others.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, channel};

/// From this size on a deleted file is closed elsewhere.
const LARGE_BYTES: u64 = 4 << 20;

/// The thread that closes, from the first file on that it is given. It ends with the process.
static CLOSER: LazyLock<Option<Sender<File>>> = LazyLock::new(start);

/// Has what closing this file for the last time costs done elsewhere, if it is much. The caller closes it next.
pub(super) fn before_close(file: &File) {
    if is_costly(file)
        && let Ok(last) = file.try_clone()
        && let Some(closer) = CLOSER.as_ref()
    {
        // Without the thread it is closed here.
        closer.send(last).ok();
    }
}

fn is_costly(file: &File) -> bool {
    let metadata = file.metadata();
    metadata.is_ok_and(|file| file.nlink() == 0 && file.len() >= LARGE_BYTES)
}

fn start() -> Option<Sender<File>> {
    let (closer, files) = channel();
    let closing = move || close_all(&files);
    let thread = std::thread::Builder::new().name("close".to_owned());
    thread.spawn(closing).ok().map(|_| closer)
}

fn close_all(files: &Receiver<File>) {
    while let Ok(file) = files.recv() {
        drop(file);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_large_deleted_file_is_closed_elsewhere_and_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let file = File::create_new(&path).unwrap();
        file.set_len(LARGE_BYTES).unwrap();
        assert!(!is_costly(&file), "it has a name");
        std::fs::remove_file(&path).unwrap();
        assert!(is_costly(&file));
        let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        before_close(&file);
        drop(file);
        let is_open = || {
            let open = std::fs::read_dir("/proc/self/fd").unwrap();
            open.flatten()
                .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|at| at == link))
        };
        while is_open() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_small_deleted_file_is_closed_at_once() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_costly(&file));
    }
}
