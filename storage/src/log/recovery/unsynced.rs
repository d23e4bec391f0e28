//! Reading from the disk what no sync is known to have brought there.
//!
//! After a failed sync the kernel calls pages clean that are not on the disk. To write them once more is not enough: ext4 with
//! delayed allocation has then forgotten that their place on the disk is not in use yet, reports success for the write and for
//! its sync, and reads zeros there when the page has gone. Only a page that is dropped first takes a write again.
//!
//! Every batch says what was durable when it was written, and says so truthfully also in such a page. What the last one says
//! was synced needs no second look: a start reads again only what was written behind the last sync.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::Recovery;
use crate::disk::{DiskFile, Site};
use crate::error::LogError;
use crate::offset::{FilePosition, Offset};
use crate::segment::{Chain, SEGMENT_HEADER_BYTES_U64, Step, Walker};

impl Recovery<'_> {
    /// Syncs the last segment and drops it from memory where it may hold what is not on the disk. Returns from where on.
    pub(super) fn read_anew(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        base: Offset,
    ) -> Result<FilePosition, LogError> {
        // Pages that wait to be written are not dropped.
        file.sync(Site::RecoveryAccepted)
            .map_err(|source| LogError::io("sync", path, source))?;
        let from = self
            .unsynced_from(file, base)
            .map_err(|source| LogError::io("read", path, source))?;
        file.forget(from.0)
            .map_err(|source| LogError::io("drop from memory", path, source))?;
        Ok(from)
    }

    /// Returns the position behind the last batch that the checkpoint or a batch behind it knows synced; the start of the file
    /// when there is none.
    fn unsynced_from(&self, file: &dyn DiskFile, base: Offset) -> io::Result<FilePosition> {
        let limit = FilePosition(file.byte_count()?);
        let hint = self.hint_in(base, limit);
        let (start, next_offset, prev_header_crc) = match hint {
            Some(hint) => (hint.position, hint.durable_end, Some(hint.header_crc)),
            None => (FilePosition(SEGMENT_HEADER_BYTES_U64), base, None),
        };
        let mut synced = hint.map_or(FilePosition(0), |hint| hint.position);
        let chain = Chain {
            prev_header_crc,
            ..Chain::unanchored(self.shared.place.id, next_offset)
        };
        // Headers alone are read: each verifies by itself.
        let mut walker = Walker::new(file, start, limit, chain, limit);
        let mut ends = VecDeque::new();
        while let Step::Batch { header, .. } = walker.step()? {
            ends.push_back((header.next_offset(), walker.position()));
            while let Some((_, position)) =
                ends.pop_front_if(|(offset, _)| *offset <= header.durable_up_to)
            {
                synced = position;
            }
        }
        Ok(synced)
    }
}
