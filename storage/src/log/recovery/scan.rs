//! Going over the batches of one segment, and over the gaps that an operator has made in it.

use std::path::Path;

use super::{Recovery, empty_extent, tail};
use crate::disk::DiskFile;
use crate::error::{Corruption, LogError};
use crate::index::{Extent, Index};
use crate::offset::FilePosition;
use crate::segment::{Chain, SEGMENT_HEADER_BYTES_U64, Step, Walker};

/// Where a scan came to an end.
pub(super) struct Scan {
    pub(super) extent: Extent,
    pub(super) index: Index,
    pub(super) chain: Chain,
    /// What did not verify there; nothing at the end of the bytes.
    pub(super) stop: Option<Corruption>,
}

impl Recovery<'_> {
    /// Goes over a segment from its first batch; sections before `bodies_from` are not read.
    pub(super) fn scan(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        limit: u64,
        chain: Chain,
        bodies_from: FilePosition,
    ) -> Result<Scan, LogError> {
        let base = chain.next_offset;
        let start = FilePosition(SEGMENT_HEADER_BYTES_U64);
        let mut extent = empty_extent(base, chain.append_time, chain.prev_header_crc.unwrap_or(0));
        let mut index = Index::default();
        let mut walker = Walker::new(file, start, FilePosition(limit), chain, bodies_from);
        loop {
            let step = walker
                .step()
                .map_err(|source| LogError::io("read", path, source))?;
            let bad = match step {
                Step::End => None,
                Step::Bad(reason) if !self.passes_gap(&mut walker, path, limit)? => Some(reason),
                Step::Bad(_) => continue,
                Step::Batch { header, position } => {
                    index.note(base, header.base_offset, position, header.append_time);
                    if extent.end_offset == base {
                        extent.first_append_time = header.append_time;
                    }
                    extent.last_append_time = header.append_time;
                    extent.end_offset = header.next_offset();
                    continue;
                }
            };
            let chain = *walker.chain();
            extent.end_offset = chain.next_offset;
            extent.end = walker.position();
            extent.last_header_crc = chain.prev_header_crc.unwrap_or(0);
            return Ok(Scan {
                extent,
                index,
                chain,
                stop: bad,
            });
        }
    }

    /// Moves the walker over a gap that an operator has made, if one covers what does not verify here.
    fn passes_gap(
        &self,
        walker: &mut Walker<'_>,
        path: &Path,
        limit: u64,
    ) -> Result<bool, LogError> {
        let from = walker.chain().next_offset;
        let Some(gap_end) = self.shared.gap_end(from) else {
            return Ok(false);
        };
        let tail = tail(
            walker.file(),
            path,
            walker.position(),
            FilePosition(limit),
            walker.chain(),
        )?;
        match tail.next {
            Some((position, header)) if header.base_offset <= gap_end => {
                walker.jump(position, header.base_offset);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
