//! Taking over sealed segments: by their indexes where those fit, else by a scan. What does not verify in them is damage.

use std::io;
use std::path::Path;

use super::{Recovery, Segment, tail};
use crate::disk::{DiskFile, OpenMode, read_exact_at};
use crate::error::{Corruption, LogError};
use crate::index::{Extent, Index};
use crate::log::roll::write_index;
use crate::offset::{FilePosition, Offset};
use crate::segment::file_name::{self, FileKind};
use crate::segment::header::SEGMENT_VERSION;
use crate::segment::{
    Chain, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES_U64, SegmentHeader, SegmentHeaderError,
};

impl Recovery<'_> {
    /// Checks the header of a sealed segment and that it follows the one before.
    pub(super) fn check_header(&mut self, base: Offset, chain: &mut Chain) -> Result<(), LogError> {
        let path = self.shared.segment_path(base);
        let file = self.open_file(&path, OpenMode::Read)?;
        match self.read_header(file.as_ref(), &path, base)? {
            Err(reason) => self.damaged(base, base, FilePosition(0), reason, base),
            Ok(header) if chain.next_offset != base => {
                self.damaged(
                    chain.next_offset,
                    base,
                    FilePosition(0),
                    Corruption::MissingSegment,
                    base,
                );
                chain.prev_header_crc = Some(header.prev_header_crc);
            }
            Ok(header) => match chain.prev_header_crc {
                Some(expected) if expected != header.prev_header_crc => {
                    let reason = Corruption::BrokenChain {
                        found: header.prev_header_crc,
                        expected,
                    };
                    self.damaged(base, base, FilePosition(0), reason, base);
                    chain.prev_header_crc = None;
                }
                _ => chain.prev_header_crc = Some(header.prev_header_crc),
            },
        }
        chain.next_offset = base;
        Ok(())
    }

    /// Reads a segment's header. The outer error stops the opening, the inner one is damage or a torn creation.
    pub(super) fn read_header(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        base: Offset,
    ) -> Result<Result<SegmentHeader, Corruption>, LogError> {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        match read_exact_at(file, &mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let needed = SEGMENT_HEADER_BYTES_U64;
                return Ok(Err(Corruption::Truncated {
                    part: "segment header",
                    needed,
                    available: 0,
                }));
            }
            read => read.map_err(|source| LogError::io("read", path, source))?,
        }
        let id = self.shared.place.id;
        match SegmentHeader::decode(&bytes) {
            Err(SegmentHeaderError::UnknownVersion(found)) => Err(LogError::UnknownVersion {
                path: path.to_path_buf(),
                found,
                known: SEGMENT_VERSION,
            }),
            Err(SegmentHeaderError::Corrupt(reason)) => Ok(Err(reason)),
            Ok(header) if header.log != id => Ok(Err(Corruption::WrongLog {
                found_partition: header.log.partition.0,
                found_kind: header.log.kind.byte(),
            })),
            Ok(header) if header.base_offset != base => Ok(Err(Corruption::OffsetGap {
                found: header.base_offset,
                expected: base,
            })),
            Ok(header) => Ok(Ok(header)),
        }
    }

    /// Takes over a sealed segment: by its index where that fits the file and the successor, else by a scan.
    pub(super) fn sealed(
        &mut self,
        base: Offset,
        next: Offset,
        chain: &mut Chain,
    ) -> Result<Segment, LogError> {
        let path = self.shared.segment_path(base);
        let file = self.open_file(&path, OpenMode::Read)?;
        let bytes = file
            .byte_count()
            .map_err(|source| LogError::io("measure", &path, source))?;
        if let Some((index, extent)) = self.open_index(base)
            && (extent.base_offset, extent.end_offset, extent.end.0) == (base, next, bytes)
        {
            chain.next_offset = next;
            chain.prev_header_crc = Some(extent.last_header_crc);
            chain.append_time = extent.last_append_time;
            return Ok(Segment::new(extent, index, true));
        }
        let scan = self.scan(file.as_ref(), &path, bytes, *chain, FilePosition(0))?;
        *chain = scan.chain;
        let is_whole = scan.stop.is_none() && scan.extent.end_offset == next;
        let mut extent = scan.extent;
        if !is_whole {
            // A file that came from elsewhere may stand as successor in the middle of this segment: what it hides ends there.
            let from = scan.extent.end_offset.min(next);
            let expected = Chain::unanchored(self.shared.place.id, from);
            let limit = FilePosition(bytes);
            let tail = tail(file.as_ref(), &path, extent.end, limit, &expected)?;
            let to = tail
                .next
                .map_or(next, |(_, header)| header.base_offset.min(next));
            let reason = scan.stop.unwrap_or(Corruption::MissingSegment);
            self.damaged(from, to, extent.end, reason, base);
            // Readers look for the next sound batch themselves, up to the file's end.
            (extent.end_offset, extent.end) = (next, FilePosition(bytes));
            (chain.next_offset, chain.prev_header_crc) = (next, None);
        }
        let segment = Segment::new(extent, scan.index, true);
        if is_whole {
            write_index(&self.shared, &segment);
        }
        Ok(segment)
    }

    fn open_index(&self, base: Offset) -> Option<(Index, Extent)> {
        let place = &self.shared.place;
        let path = file_name::path(&place.dir, base, FileKind::Index);
        let map = place
            .disk
            .open(&path, OpenMode::Read)
            .and_then(|file| file.map())
            .ok()?;
        let opened = Index::open(place.id, map).ok();
        if opened.is_none() {
            // Whatever stands there is of no use; a later index must be able to take its place.
            drop(place.disk.remove(&path));
        }
        opened
    }
}
