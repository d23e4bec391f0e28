//! Writing segment headers anew that do not verify and of which it is certain what they held: see [`rebuild`](crate::segment::rebuild()).
//!
//! # Invariants
//! 1. Of a segment its first 32 bytes change and no other. They lie in one sector: an interruption leaves the old header or the
//!    new one, and the order can be given again.
//! 2. What stood there is durable in a file beside the segment before a byte of it changes.
//! 3. A header that is not certain is left as it is, and so is one that verifies: its file may be another one's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{RepairError, examine};
use crate::data_dir;
use crate::disk::{Disk, OpenMode, Site, read_exact_at};
use crate::error::{Corruption, LogError};
use crate::log_id::{LogId, PartitionNumber};
use crate::offset::Offset;
use crate::segment::file_name::{self, FileKind};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::verify::{Fault, Finding};

/// A header that was written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MendedHeader {
    /// The segment.
    pub path: PathBuf,
    /// The log.
    pub log: LogId,
    /// Base offset of the segment.
    pub base_offset: Offset,
    /// What had not verified.
    pub reason: Corruption,
    /// The file that holds what stood there.
    pub copy: PathBuf,
}

/// What came of mending headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mended {
    /// The headers that were written anew.
    pub headers: Vec<MendedHeader>,
    /// What is wrong with those that were left as they are.
    pub left: Vec<Finding>,
    /// Findings of the verification that it did not list: headers may be among them.
    pub left_out: u64,
}

/// Writes anew every damaged segment header of which it is certain what it held, while no broker has the directory: those of
/// `partition` and of the control log, or all. `program` and `pid` name this process to others.
///
/// # Errors
/// [`RepairError`]. The headers before it were mended.
pub fn mend_headers(
    disk: &Arc<dyn Disk>,
    root: &Path,
    holder: (&str, u32),
    partition: Option<PartitionNumber>,
) -> Result<Mended, RepairError> {
    let (_held, report) = examine(disk, root, holder, partition)?;
    let mut mended = Mended {
        left_out: report.findings_left_out,
        ..Mended::default()
    };
    for finding in report.findings {
        match finding.what {
            Fault::HeaderMendable { reason, rebuilt } => {
                let copy = write_anew(disk.as_ref(), root, &rebuilt)?;
                mended.headers.push(MendedHeader {
                    path: finding.path,
                    log: rebuilt.log,
                    base_offset: rebuilt.base_offset,
                    reason,
                    copy,
                });
            }
            ref what if what.is_header() => mended.left.push(finding),
            _ => {}
        }
    }
    Ok(mended)
}

/// Writes the header into its segment, and returns the file that holds what stood there.
fn write_anew(disk: &dyn Disk, root: &Path, header: &SegmentHeader) -> Result<PathBuf, LogError> {
    let dir = data_dir::log_dir(root, header.log);
    let path = file_name::path(&dir, header.base_offset, FileKind::Log);
    let failed = |op| {
        let path = path.clone();
        move |source| LogError::io(op, &path, source)
    };
    let file = disk.open(&path, OpenMode::Write).map_err(failed("open"))?;
    let mut old = [0; SEGMENT_HEADER_BYTES];
    read_exact_at(file.as_ref(), &mut old, 0).map_err(failed("read"))?;
    let copy = file_name::path(&dir, header.base_offset, FileKind::OldHeader);
    keep(disk, &copy, &old).map_err(|source| LogError::io("write", &copy, source))?;
    disk.sync_dir(&dir, Site::RecoveryNames)
        .map_err(|source| LogError::io("sync", &dir, source))?;
    file.write_all_at(&header.encode(), 0)
        .map_err(failed("write"))?;
    file.sync(Site::SegmentHeader).map_err(failed("sync"))?;
    Ok(copy)
}

/// Makes the bytes durable in a file, in place of those of an earlier time.
fn keep(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = match disk.open(path, OpenMode::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.open(path, OpenMode::Write)?
        }
        opened => opened?,
    };
    file.write_all_at(bytes, 0)?;
    file.sync(Site::SegmentHeader)
}
