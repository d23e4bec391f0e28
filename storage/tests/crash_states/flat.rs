//! The smallest disk that a log can be opened on: a few files in memory, and a note of every change since a file's last sync.
//!
//! It is made for speed: an image is put into place by copying bytes, and buffers are used again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use storage::disk::{DirEntry, Disk, DiskFile, MappedBytes, OpenMode, Site};

/// A change of a file that no sync has made durable.
#[derive(Debug, Clone)]
pub enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default, Clone)]
pub struct File {
    pub name: String,
    /// What readers see.
    pub bytes: Vec<u8>,
    /// What a power cut leaves at least, and what came since. Only kept while the disk records.
    pub durable: Vec<u8>,
    pub changes: Vec<Change>,
    /// Something that readers see is not synced.
    pub is_dirty: bool,
}

/// Whether a file is a segment: the others are indexes, which nobody syncs.
pub fn is_segment(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|kind| kind == "log")
}

/// A disk. A clone is another handle on the same one.
#[derive(Debug, Default, Clone)]
pub struct Flat {
    files: Arc<Mutex<Vec<File>>>,
    is_recording: bool,
}

impl Flat {
    pub fn recording() -> Self {
        Self {
            is_recording: true,
            ..Self::default()
        }
    }

    /// Returns copies of all files as they are now.
    pub fn files(&self) -> Vec<File> {
        self.files.lock().clone()
    }

    /// Returns whether anything of a segment is visible that is not durable.
    pub fn is_dirty(&self) -> bool {
        let files = self.files.lock();
        let mut segments = files.iter().filter(|file| is_segment(&file.name));
        segments.any(|file| file.is_dirty)
    }

    /// Lets `act` work on the files.
    pub fn with<T>(&self, act: impl FnOnce(&mut Vec<File>) -> T) -> T {
        act(&mut self.files.lock())
    }

    fn handle(&self, at: usize) -> Arc<dyn DiskFile> {
        let disk = self.clone();
        Arc::new(FlatFile { disk, at })
    }
}

impl Disk for Flat {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        let mut files = self.files.lock();
        let found = files.iter().position(|file| file.name == name);
        let at = match (found, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(at), _) => at,
            (None, OpenMode::CreateNew) => {
                files.push(File {
                    name: name.to_owned(),
                    ..File::default()
                });
                files.len() - 1
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        drop(files);
        Ok(self.handle(at))
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
        let files = self.files.lock();
        let entry = |file: &File| DirEntry {
            name: file.name.clone(),
            is_dir: false,
        };
        let mut entries: Vec<_> = files.iter().map(entry).collect();
        entries.sort();
        Ok(entries)
    }
    fn rename(&self, _: &Path, _: &Path, _: Site) -> io::Result<()> {
        unreachable!("a log renames nothing")
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        // Index files, which are not kept here.
        Err(io::ErrorKind::NotFound.into())
    }
    fn sync_dir(&self, _: &Path, _: Site) -> io::Result<()> {
        Ok(())
    }
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[derive(Debug)]
struct FlatFile {
    disk: Flat,
    at: usize,
}

impl FlatFile {
    fn with<T>(&self, act: impl FnOnce(&mut File) -> T) -> T {
        act(&mut self.disk.files.lock()[self.at])
    }

    fn change(&self, change: impl FnOnce() -> Change, act: impl FnOnce(&mut Vec<u8>)) {
        self.with(|file| {
            file.is_dirty = true;
            if self.disk.is_recording {
                file.changes.push(change());
            }
            act(&mut file.bytes);
        });
    }
}

impl DiskFile for FlatFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.with(|file| {
            let rest = file.bytes.get(position as usize..).unwrap_or_default();
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let at = position as usize;
        let note = || Change::Write {
            at,
            bytes: bytes.to_vec(),
        };
        self.change(note, |all| {
            all.resize(all.len().max(at + bytes.len()), 0);
            all[at..at + bytes.len()].copy_from_slice(bytes);
        });
        Ok(())
    }
    fn sync(&self, _: Site) -> io::Result<()> {
        self.with(|file| {
            file.is_dirty = false;
            if self.disk.is_recording {
                file.changes.clear();
                file.durable.clone_from(&file.bytes);
            }
        });
        Ok(())
    }
    fn forget(&self, _position: u64) -> io::Result<()> {
        Ok(())
    }
    fn byte_count(&self) -> io::Result<u64> {
        Ok(self.with(|file| file.bytes.len() as u64))
    }
    fn set_len(&self, bytes: u64, _: Site) -> io::Result<()> {
        let length = bytes as usize;
        self.change(|| Change::Length(length), |all| all.resize(length, 0));
        Ok(())
    }
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let length = bytes as usize;
        if self.with(|file| file.bytes.len()) < length {
            self.change(|| Change::Length(length), |all| all.resize(length, 0));
        }
        Ok(())
    }
    fn map(&self) -> io::Result<MappedBytes> {
        Ok(MappedBytes::Owned(self.with(|file| file.bytes.clone())))
    }
    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}
