//! What the owner and the readers of a log share: the segments, the offsets that bound what may be read, and the poison.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::config::{Gap, LogPlace, Visibility};
use super::recent::Recent;
use super::retention::SegmentStats;
use super::trouble::Trouble;
use crate::disk::{DiskFile, OpenMode};
use crate::error::{Corruption, LogError, PoisonCause};
use crate::index::{Extent, Index};
use crate::limits::OPEN_SEALED_SEGMENTS_MAX;
use crate::log_id::LogId;
use crate::offset::{FilePosition, Offset};
use crate::segment::file_name::{self, FileKind};

/// Offsets that cannot be read because the bytes do not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRange {
    /// The log.
    pub log: LogId,
    /// The damaged file.
    pub path: PathBuf,
    /// Where in the file the damage was met.
    pub position: FilePosition,
    /// First offset that cannot be read.
    pub from: Offset,
    /// First offset behind the damage (exclusive end).
    pub to: Offset,
    /// What does not verify.
    pub reason: Corruption,
}

impl From<DamagedRange> for LogError {
    fn from(range: DamagedRange) -> Self {
        let DamagedRange {
            path,
            position,
            from,
            to,
            reason,
            ..
        } = range;
        Self::Corrupt {
            path,
            position,
            from,
            to,
            reason,
        }
    }
}

/// One segment, as the owner and the readers see it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: Offset,
    state: RwLock<SegmentState>,
}

#[derive(Debug)]
pub(super) struct SegmentState {
    pub(super) extent: Extent,
    pub(super) index: Index,
    pub(super) is_sealed: bool,
}

impl Segment {
    pub(super) fn new(extent: Extent, index: Index, is_sealed: bool) -> Self {
        let state = RwLock::new(SegmentState {
            extent,
            index,
            is_sealed,
        });
        Self {
            base: extent.base_offset,
            state,
        }
    }

    pub(super) fn extent(&self) -> Extent {
        self.state.read().extent
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&SegmentState) -> T) -> T {
        look(&self.state.read())
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut SegmentState) -> T) -> T {
        change(&mut self.state.write())
    }
}

/// The state of one log that readers may look at without its owner.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: LogPlace,
    pub(super) visibility: Visibility,
    pub(super) gaps: Vec<Gap>,
    /// In order of base offsets; the last one is active.
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    log_start: AtomicU64,
    durable_end: AtomicU64,
    log_end: AtomicU64,
    poison: AtomicU8,
    /// Held for the whole of a sync, so that syncs of one log go one after the other.
    pub(super) sync_lock: Mutex<()>,
    /// Files of sealed segments, the one used last at the end.
    open_files: Mutex<Vec<(Offset, Arc<dyn DiskFile>)>>,
    damage: Mutex<Vec<DamagedRange>>,
    pub(super) recent: Recent,
    pub(super) trouble: Trouble,
}

impl Shared {
    pub(super) fn new(place: LogPlace, visibility: Visibility, gaps: Vec<Gap>) -> Self {
        Self {
            place,
            visibility,
            gaps,
            segments: RwLock::new(Arc::new(Vec::new())),
            log_start: AtomicU64::new(0),
            durable_end: AtomicU64::new(0),
            log_end: AtomicU64::new(0),
            poison: AtomicU8::new(0),
            sync_lock: Mutex::new(()),
            open_files: Mutex::new(Vec::new()),
            damage: Mutex::new(Vec::new()),
            recent: Recent::default(),
            trouble: Trouble::default(),
        }
    }

    pub(super) fn log_start(&self) -> Offset {
        Offset(self.log_start.load(Ordering::Acquire))
    }

    pub(super) fn log_end(&self) -> Offset {
        Offset(self.log_end.load(Ordering::Acquire))
    }

    pub(super) fn durable_end(&self) -> Offset {
        Offset(self.durable_end.load(Ordering::Acquire))
    }

    pub(super) fn high_watermark(&self) -> Offset {
        match self.visibility {
            Visibility::Synced => self.durable_end(),
            Visibility::Written => self.log_end(),
        }
    }

    pub(super) fn set_log_start(&self, start: Offset) {
        self.log_start.fetch_max(start.0, Ordering::AcqRel);
    }

    pub(super) fn set_log_end(&self, end: Offset) {
        self.log_end.store(end.0, Ordering::Release);
    }

    pub(super) fn raise_durable_end(&self, end: Offset) {
        self.durable_end.fetch_max(end.0, Ordering::AcqRel);
    }

    pub(super) fn poison(&self) -> Option<PoisonCause> {
        match self.poison.load(Ordering::Acquire) {
            0 => None,
            1 => Some(PoisonCause::WriteFailed),
            2 => Some(PoisonCause::Damaged),
            _ => Some(PoisonCause::SyncFailed),
        }
    }

    /// Poisons the log. A failed sync outweighs everything: only opening the log again takes it away.
    pub(super) fn set_poison(&self, cause: PoisonCause) {
        let byte = match cause {
            PoisonCause::WriteFailed => 1,
            PoisonCause::Damaged => 2,
            PoisonCause::SyncFailed => 3,
        };
        self.poison.fetch_max(byte, Ordering::AcqRel);
    }

    /// Takes the poison of a failed write away, and no other.
    pub(super) fn clear_write_poison(&self) {
        // A graver poison stays: losing the exchange is then the wanted outcome.
        self.poison
            .compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire)
            .ok();
    }

    pub(super) fn check_poison(&self) -> Result<(), LogError> {
        match self.poison() {
            None => Ok(()),
            Some(cause) => Err(LogError::Poisoned {
                log: self.place.id,
                cause,
            }),
        }
    }

    pub(super) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read())
    }

    pub(super) fn set_segments(&self, segments: Vec<Arc<Segment>>) {
        *self.segments.write() = Arc::new(segments);
    }

    pub(super) fn push_segment(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write();
        let mut longer = segments.as_ref().clone();
        longer.push(segment);
        *segments = Arc::new(longer);
    }

    /// Takes the segments that end at or below `start` out of the map, and returns them.
    pub(super) fn take_segments_below(&self, start: Offset) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.write();
        let is_below = |segment: &&Arc<Segment>| {
            segment.with(|state| state.is_sealed && state.extent.end_offset <= start)
        };
        let taken: Vec<_> = segments.iter().take_while(is_below).cloned().collect();
        *segments = Arc::new(segments.iter().skip(taken.len()).cloned().collect());
        let mut open = self.open_files.lock();
        open.retain(|(base, _)| taken.iter().all(|segment| segment.base != *base));
        taken
    }

    pub(super) fn stats(&self) -> Vec<SegmentStats> {
        let stats = |segment: &Arc<Segment>| {
            segment.with(|state| SegmentStats {
                base_offset: state.extent.base_offset,
                end_offset: state.extent.end_offset,
                bytes: state.extent.end.0,
                first_append_time: state.extent.first_append_time,
                last_append_time: state.extent.last_append_time,
                is_sealed: state.is_sealed,
            })
        };
        self.segments().iter().map(stats).collect()
    }

    pub(super) fn segment_path(&self, base: Offset) -> PathBuf {
        file_name::path(&self.place.dir, base, FileKind::Log)
    }

    /// Opens the file of a segment, or finds it among the open ones.
    pub(super) fn file(&self, base: Offset) -> Result<Arc<dyn DiskFile>, LogError> {
        let mut open = self.open_files.lock();
        if let Some(at) = open.iter().position(|(held, _)| *held == base) {
            let entry = open.remove(at);
            let file = Arc::clone(&entry.1);
            open.push(entry);
            return Ok(file);
        }
        let path = self.segment_path(base);
        let file = self
            .place
            .disk
            .open(&path, OpenMode::Read)
            .map_err(|source| LogError::io("open", &path, source))?;
        if base < self.log_start() {
            // Retention has taken the segment while a reader was on its way: a file kept open would hold its space.
            return Ok(file);
        }
        if open.len() >= OPEN_SEALED_SEGMENTS_MAX {
            open.remove(0);
        }
        open.push((base, Arc::clone(&file)));
        Ok(file)
    }

    pub(super) fn damage(&self) -> Vec<DamagedRange> {
        self.damage.lock().clone()
    }

    /// Notes damage, once for each place.
    pub(super) fn note_damage(&self, range: &DamagedRange) {
        let mut damage = self.damage.lock();
        if damage
            .iter()
            .all(|known| (&known.path, known.position) != (&range.path, range.position))
        {
            damage.push(range.clone());
        }
    }

    /// Returns the end of the gap that holds `offset`, if one does.
    pub(super) fn gap_end(&self, offset: Offset) -> Option<Offset> {
        self.gaps
            .iter()
            .find(|gap| gap.from <= offset && offset < gap.to)
            .map(|gap| gap.to)
    }
}
