//! Hints beside the segments, compared with what the segments give.
//!
//! A hint that does not verify is rebuilt by whoever needs it, so it is only noted. One that verifies is believed: when it
//! says something else than the segment it is damage.

use std::path::Path;

use super::report::{Fault, Finding, Note, Remark, VerifyReport};
use crate::disk::{MappedBytes, OpenMode, read_exact_at};
use crate::error::LogError;
use crate::index::{Extent, Index};
use crate::log::LogPlace;
use crate::offset::FilePosition;
use crate::segment::file_name::{self, FileKind};

/// Reads a hint whole; `None` when there is none.
pub(super) fn read(place: &LogPlace, path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    let file = match place.disk.open(path, OpenMode::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| LogError::io("open", path, source))?,
    };
    let read = file.byte_count().and_then(|count| {
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
        read_exact_at(file.as_ref(), &mut bytes, 0).map(|()| bytes)
    });
    read.map(Some)
        .map_err(|source| LogError::io("read", path, source))
}

/// Compares the index file of a sealed segment with what a scan gave. Of a segment that was not whole only the ends count.
pub(super) fn index(
    place: &LogPlace,
    report: &mut VerifyReport,
    (expected, extent): (&Index, &Extent),
    is_whole: bool,
) -> Result<(), LogError> {
    let base = extent.base_offset;
    let path = file_name::path(&place.dir, base, FileKind::Index);
    let Some(bytes) = read(place, &path)? else {
        return Ok(());
    };
    let remark = match Index::open(place.id, MappedBytes::Owned(bytes.clone())) {
        Err(reason) => Remark::HintRebuilt(reason),
        Ok(_) if !is_whole || bytes == expected.encode(place.id, extent) => return Ok(()),
        Ok((_, found)) => {
            let ends = |extent: &Extent| (extent.base_offset, extent.end_offset, extent.end);
            if ends(&found) == ends(extent) {
                report.find(Finding {
                    path,
                    position: FilePosition(0),
                    log: Some(place.id),
                    from: base,
                    to: extent.end_offset,
                    what: Fault::IndexDiffers,
                });
                return Ok(());
            }
            Remark::StaleHint
        }
    };
    report.note(Note {
        path,
        log: Some(place.id),
        offset: base,
        what: remark,
    });
    Ok(())
}
