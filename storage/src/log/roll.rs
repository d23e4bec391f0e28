//! Replacing a full segment by a new one, without the owner.
//!
//! The order is the rule of a log (invariant 3): the full segment is cut to its data and synced, then its successor is
//! created, its header and its name are synced, and only then the owner may write the first batch to it.

use std::io;
use std::sync::Arc;

use super::append::Log;
use super::shared::{Segment, Shared};
use crate::disk::{Disk, DiskFile, OpenMode, Site};
use crate::error::{LogError, PoisonCause};
use crate::index::{Extent, Index};
use crate::offset::{FilePosition, Offset, TimestampMs};
use crate::segment::file_name::{self, FileKind};
use crate::segment::{Chain, SEGMENT_HEADER_BYTES_U64, SegmentHeader};

/// The sealing of a full segment and the creation of its successor. Run it on any thread.
#[derive(Debug)]
#[must_use = "the log takes no appends until the task is run and given back"]
pub struct RollTask {
    pub(super) shared: Arc<Shared>,
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) position: FilePosition,
    pub(super) chain: Chain,
}

/// What a roll came to, for [`super::Log::finish_roll`].
#[derive(Debug)]
#[must_use = "the log takes no appends until this is given back"]
pub struct RollDone {
    pub(super) result: Result<(Arc<Segment>, Arc<dyn DiskFile>), LogError>,
}

impl RollTask {
    /// Seals and creates. Everything in the full segment is durable afterwards. An empty segment stays the active one.
    ///
    /// # Errors
    /// In the value, for the owner: a failed sync poisons the log, anything else can be tried again.
    pub fn run(self) -> RollDone {
        // A successor of an empty segment would have its offset and its name: it would be the same file twice.
        if self.segment.base == self.chain.next_offset {
            return RollDone {
                result: Ok((self.segment, self.file)),
            };
        }
        let result = self.seal().and_then(|()| self.create());
        match &result {
            Ok(_) => self.shared.trouble.is_over(),
            Err(error) => self.shared.trouble.note(error),
        }
        RollDone { result }
    }

    fn seal(&self) -> Result<(), LogError> {
        let _one_at_a_time = self.shared.sync_lock.lock();
        self.shared.check_poison()?;
        let path = self.shared.segment_path(self.segment.base);
        self.file
            .set_len(self.position.0, Site::RollTruncate)
            .map_err(|source| LogError::io("truncate", &path, source))?;
        if let Err(source) = self.file.sync(Site::RollSealed) {
            self.shared.set_poison(PoisonCause::SyncFailed);
            return Err(LogError::io("sync", &path, source));
        }
        self.shared.raise_durable_end(self.chain.next_offset);
        Ok(())
    }

    fn create(&self) -> Result<(Arc<Segment>, Arc<dyn DiskFile>), LogError> {
        let place = &self.shared.place;
        let base = self.chain.next_offset;
        let prev_header_crc = self.chain.prev_header_crc.unwrap_or(0);
        let header = SegmentHeader {
            log: place.id,
            base_offset: base,
            prev_header_crc,
        };
        let created = create_segment(place.disk.as_ref(), &place.dir, &header);
        if let Err(CreateError::Sync(_)) = &created {
            self.shared.set_poison(PoisonCause::SyncFailed);
        }
        let file = created.map_err(CreateError::into_log_error)?;
        self.segment.change(|state| state.is_sealed = true);
        write_index(&self.shared, &self.segment);
        let extent = Extent {
            base_offset: base,
            end_offset: base,
            end: FilePosition(SEGMENT_HEADER_BYTES_U64),
            first_append_time: self.chain.append_time,
            last_append_time: self.chain.append_time,
            last_header_crc: prev_header_crc,
        };
        Ok((
            Arc::new(Segment::new(extent, Index::default(), false)),
            file,
        ))
    }
}

impl Log {
    /// Returns whether a batch of `batch_bytes` must wait for a new segment.
    #[must_use]
    pub fn needs_roll(&self, batch_bytes: u64, now: TimestampMs) -> bool {
        let is_empty = self.tail.position <= SEGMENT_HEADER_BYTES_U64;
        let extent = self.tail.segment.extent();
        let is_full =
            self.tail.position.saturating_add(batch_bytes) > u64::from(self.config.segment_bytes);
        let is_old = now.since(extent.first_append_time) >= self.config.segment_ms;
        self.must_roll || (!is_empty && (is_full || is_old))
    }

    /// Returns how many bytes the active segment takes before it is full.
    #[must_use]
    pub fn segment_room(&self) -> u64 {
        u64::from(self.config.segment_bytes).saturating_sub(self.tail.position)
    }

    /// Returns whether an append was refused with [`LogError::Rolling`] and no new segment has begun since.
    #[must_use]
    pub fn awaits_roll(&self, now: TimestampMs) -> bool {
        self.is_rolling || (self.refused_bytes > 0 && self.needs_roll(self.refused_bytes, now))
    }

    /// Starts a new segment, on the calling thread. A segment without a batch stays the active one.
    ///
    /// # Errors
    /// As [`Log::begin_roll`] and [`RollTask::run`].
    pub fn roll(&mut self) -> Result<(), LogError> {
        let done = self.begin_roll()?.run();
        self.finish_roll(done)
    }
}

/// Why a segment could not be created.
pub(super) enum CreateError {
    /// Nothing durable is left of it, or only a file that the next try takes over.
    Io(LogError),
    /// A sync failed: what the disk holds is unknown.
    Sync(LogError),
}

impl CreateError {
    pub(super) fn into_log_error(self) -> LogError {
        match self {
            Self::Io(error) | Self::Sync(error) => error,
        }
    }
}

/// Creates a segment file with its header, durable in content and name. A file that an earlier try left, which holds no
/// batch, is taken over.
pub(super) fn create_segment(
    disk: &dyn Disk,
    dir: &std::path::Path,
    header: &SegmentHeader,
) -> Result<Arc<dyn DiskFile>, CreateError> {
    let path = file_name::path(dir, header.base_offset, FileKind::Log);
    let failed = |op| {
        let path = path.clone();
        move |source: io::Error| CreateError::Io(LogError::io(op, &path, source))
    };
    let file = match disk.open(&path, OpenMode::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.open(&path, OpenMode::Write).map_err(failed("open"))?
        }
        opened => opened.map_err(failed("create"))?,
    };
    file.write_all_at(&header.encode(), 0)
        .map_err(failed("write"))?;
    file.sync(Site::SegmentHeader)
        .map_err(|source| CreateError::Sync(LogError::io("sync", &path, source)))?;
    disk.sync_dir(dir, Site::SegmentName)
        .map_err(|source| CreateError::Sync(LogError::io("sync", dir, source)))?;
    Ok(file)
}

/// Writes the index of a sealed segment. It is a hint: without it the segment is scanned when the log is opened next.
pub(super) fn write_index(shared: &Shared, segment: &Segment) {
    let place = &shared.place;
    let path = file_name::path(&place.dir, segment.base, FileKind::Index);
    let bytes = segment.with(|state| state.index.encode(place.id, &state.extent));
    let written = place
        .disk
        .open(&path, OpenMode::CreateNew)
        .and_then(|file| file.write_all_at(&bytes, 0).and_then(|()| file.map()));
    // The file takes the place of the entries in memory only when it reads back as what was meant.
    let opened = written.ok().and_then(|map| Index::open(place.id, map).ok());
    match opened {
        Some((index, extent)) if extent == segment.extent() => {
            segment.change(|state| state.index = index);
        }
        _ => drop(place.disk.remove(&path)),
    }
}

/// Returns the header of the first segment of a log that begins at `base`.
pub(super) fn first_header(shared: &Shared, base: Offset) -> SegmentHeader {
    SegmentHeader {
        log: shared.place.id,
        base_offset: base,
        prev_header_crc: 0,
    }
}
