//! The dead-letter log of a partition: letters and the markers that resolve them, over a [`Log`].
//!
//! # Invariants
//! 1. A letter is live from its append until the first marker that names it. Markers stand behind their letters, so that
//!    retention at the head can never remove a marker and keep its letter.
//! 2. The live set and the facets are folds of the log: what the checkpoint holds of them is a hint.
//! 3. Only letters below the durable end are shown: a letter that somebody saw survives any crash.

use std::borrow::Borrow;
use std::sync::Arc;

use parking_lot::RwLock;

use super::letter::DeadLetter;
use super::live::{LiveCounts, LiveSet};
use super::marker::Marker;
use super::places::{FacetsTask, Places};
use super::view::DeadLetterView;
use crate::batch::builder::{BatchBuilder, BrokerMark, BuildError, BuildOptions};
use crate::batch::header::{BatchHeader, Codec};
use crate::batch::record::{HeaderRef, NewRecord};
use crate::cause::{CAUSE_HEADER, Cause, CauseDetail, CauseKind};
use crate::checkpoint::LogCheckpoint;
use crate::error::LogError;
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::{Appended, Log, LogConfig, LogPlace, RecoveryReport, RollDone, Unlink};
use crate::log_id::{LogId, LogKind};
use crate::offset::{Offset, TimestampMs};
use crate::segment::file_name::{self, FileKind};

/// The dead-letter log of one partition, as its one owner has it.
#[derive(Debug)]
pub struct DeadLetterLog {
    pub(super) log: Log,
    pub(super) place: LogPlace,
    pub(super) live: Arc<LiveSet>,
    pub(super) places: Arc<RwLock<Places>>,
}

impl DeadLetterLog {
    /// Opens a dead-letter log, creating it where it is missing, and folds what it holds.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open(
        place: LogPlace,
        config: LogConfig,
        hint: Option<&LogCheckpoint>,
        now: TimestampMs,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let (log, report) = Log::open(place.clone(), config, hint, now)?;
        let start = log.reader().log_start();
        let known = hint
            .filter(|hint| hint.durable_end >= start)
            .and_then(|hint| Some((LiveSet::decode(&hint.state).ok()?, hint.durable_end)));
        let (mut live, folded_to) = known.unwrap_or_else(|| (LiveSet::default(), start));
        live.expire_below(start);
        let mut opened = Self {
            log,
            place,
            live: Arc::new(live),
            places: Arc::default(),
        };
        opened.fold(folded_to)?;
        Ok((opened, report))
    }

    /// Returns the log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Returns the log, for its syncs, rolls and heals. Appends go through this type's own methods.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Returns a view that needs no owner. It sees the letters that are live now, and no later change.
    #[must_use]
    pub fn view(&self) -> DeadLetterView {
        DeadLetterView::new(
            self.log.reader(),
            Arc::clone(&self.live),
            Arc::clone(&self.places),
        )
    }

    /// Takes a new segment over.
    ///
    /// # Errors
    /// As [`Log::finish_roll`].
    pub fn finish_roll(&mut self, done: RollDone) -> Result<Option<FacetsTask>, LogError> {
        let base = self.log.active_base();
        self.log.finish_roll(done)?;
        let is_sealed = self.log.active_base() != base;
        Ok(is_sealed.then(|| self.facets_task(base)))
    }

    /// Appends letters as one batch, without syncing it. Each is cut to its limits, and carries what it died of as a cause.
    ///
    /// # Errors
    /// The log's error; [`LogError::BatchTooLarge`] also when the letters do not fit one batch.
    pub fn append_letters(
        &mut self,
        letters: &[impl Borrow<DeadLetter>],
        now: TimestampMs,
    ) -> Result<Vec<Offset>, LogError> {
        let mut builder = BatchBuilder::new(Codec::None);
        let mut fitted: Vec<_> = letters.iter().map(|one| one.borrow().clone()).collect();
        for letter in &mut fitted {
            let cause = cause_of(letter).encode();
            let headers = [HeaderRef {
                name: CAUSE_HEADER,
                value: Some(&cause),
            }];
            letter.fit();
            push(&mut builder, &letter.encode(), &headers, now)?;
        }
        let appended = self.append(&mut builder, BrokerMark::BrokerWithCauses, now)?;
        let offsets: Vec<_> = (0u64..)
            .zip(letters)
            .map(|(at, _)| Offset(appended.base_offset.0.saturating_add(at)))
            .collect();
        self.note_letters(appended.base_offset, &fitted);
        Ok(offsets)
    }

    /// Appends markers as one batch, without syncing it. Their letters leave the live set at once. Returns the first offset
    /// behind the batch.
    ///
    /// # Errors
    /// The log's error.
    pub fn append_markers(
        &mut self,
        markers: &[Marker],
        now: TimestampMs,
    ) -> Result<Offset, LogError> {
        let mut builder = BatchBuilder::new(Codec::None);
        let mut value = Vec::new();
        for marker in markers {
            value.clear();
            marker.encode(&mut value);
            push(&mut builder, &value, &[], now)?;
        }
        let appended = self.append(&mut builder, BrokerMark::Broker, now)?;
        self.note_markers(appended.base_offset, markers);
        Ok(appended.next_offset)
    }

    /// Returns whether a letter is live.
    #[must_use]
    pub fn is_live(&self, letter: Offset) -> bool {
        self.live.contains(letter)
    }

    /// Returns how many letters there were and what became of them.
    #[must_use]
    pub fn counts(&self) -> LiveCounts {
        self.live.counts()
    }

    /// Returns how many letters are live.
    #[must_use]
    pub fn live_count(&self) -> u64 {
        self.live.live_count()
    }

    /// Returns the live letter with this source key for which `is_it` holds.
    ///
    /// # Errors
    /// As [`crate::log::LogReader::read`].
    pub fn live_from(
        &self,
        source_key: u64,
        is_it: &dyn Fn(&DeadLetter) -> bool,
    ) -> Result<Option<Offset>, LogError> {
        self.first_from(source_key, &|offset| self.is_live(offset), is_it)
    }

    /// Returns the first letter with this source key for which `is_it` holds, live or resolved, as long as its segment stands.
    /// Letters that are not synced yet count too.
    ///
    /// # Errors
    /// As [`crate::log::LogReader::read`].
    pub fn any_from(
        &self,
        source_key: u64,
        is_it: &dyn Fn(&DeadLetter) -> bool,
    ) -> Result<Option<Offset>, LogError> {
        self.first_from(source_key, &|_| true, is_it)
    }

    fn first_from(
        &self,
        source_key: u64,
        is_asked: &dyn Fn(Offset) -> bool,
        is_it: &dyn Fn(&DeadLetter) -> bool,
    ) -> Result<Option<Offset>, LogError> {
        let candidates = self.places.read().by_source(source_key);
        let view = self.view();
        for offset in candidates.into_iter().filter(|offset| is_asked(*offset)) {
            let found = view.get_written(offset)?;
            if found.is_some_and(|letter| is_it(&letter)) {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    /// Returns the hint that the log's checkpoint carries.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        self.live.encode()
    }

    /// Moves the log start, which must already be durable in the checkpoint. Letters below it are gone.
    pub fn apply_log_start(&mut self, start: Offset) -> Unlink {
        let unlink = self.log.apply_log_start(start);
        Arc::make_mut(&mut self.live).expire_below(start);
        self.places.write().drop_below(start);
        unlink
    }

    fn append(
        &mut self,
        builder: &mut BatchBuilder,
        broker: BrokerMark,
        now: TimestampMs,
    ) -> Result<Appended, LogError> {
        let mut batch = builder
            .build(BuildOptions {
                producer: None,
                broker,
            })
            .map_err(|error| too_large(&error))?;
        let header = BatchHeader::decode(&batch).map_err(|reason| {
            self.log
                .reader()
                .undecodable(self.log.next_offset(), reason)
        })?;
        self.log.append(&header, &mut batch, now)
    }

    /// Takes note of letters that stand one by one from an offset on, in one segment.
    fn note_letters(&mut self, first: Offset, letters: &[DeadLetter]) {
        let base = self.log.segment_base_of(first);
        let live = Arc::make_mut(&mut self.live);
        live.begin_segment(base);
        let mut places = self.places.write();
        for (at, letter) in (first.0..).zip(letters) {
            live.insert(Offset(at));
            places.add_letter(base, Offset(at), letter);
        }
    }

    /// Likewise of markers. The first marker of a letter wins; one of a letter that is gone says nothing.
    fn note_markers(&mut self, first: Offset, markers: &[Marker]) {
        let base = self.log.segment_base_of(first);
        let live = Arc::make_mut(&mut self.live);
        let mut places = self.places.write();
        for (at, marker) in (first.0..).zip(markers) {
            live.resolve(marker.letter, marker.resolution);
            places.add_marker(base, Offset(at), marker.letter);
        }
    }

    pub(super) fn facets_task(&self, base: Offset) -> FacetsTask {
        FacetsTask {
            places: Arc::clone(&self.places),
            disk: Arc::clone(&self.place.disk),
            path: file_name::path(&self.place.dir, base, FileKind::Facets),
            base,
        }
    }
}

/// What a letter died of, as the cause that its record carries.
fn cause_of(letter: &DeadLetter) -> Cause {
    let group = match &letter.receiver {
        super::letter::Receiver::Group(group) => Some(group.clone()),
        super::letter::Receiver::Destination(_) => None,
    };
    Cause {
        kind: CauseKind::DeadLettering,
        log: LogId::new(letter.source.partition, LogKind::Main),
        offset: letter.source.offset,
        detail: CauseDetail {
            group,
            ..CauseDetail::default()
        },
    }
}

fn push(
    builder: &mut BatchBuilder,
    value: &[u8],
    headers: &[HeaderRef<'_>],
    now: TimestampMs,
) -> Result<(), LogError> {
    builder
        .push(&NewRecord {
            timestamp: now,
            key: None,
            value: Some(value),
            headers,
        })
        .map_err(|error| too_large(&error))
}

fn too_large(error: &BuildError) -> LogError {
    match error {
        BuildError::TooLarge { found, limit, .. } => LogError::BatchTooLarge {
            bytes: *found,
            bytes_max: *limit,
        },
        _ => LogError::BatchTooLarge {
            bytes: 0,
            bytes_max: u64::from(BATCH_BYTES_CEILING),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::path::{Path, PathBuf};

    use super::*;
    use crate::dead_letter::facets::{FACETS_VERSION, Facets};
    use crate::dead_letter::letter::{Destination, Receiver, destination_source_key};
    use crate::dead_letter::limits::URL_BYTES_MAX;
    use crate::dead_letter::marker::Resolution;
    use crate::dead_letter::samples::letter;
    use crate::dead_letter::sealed::seal;
    use crate::dead_letter::select::{LetterFilter, Order};
    use crate::disk::sim::SimDisk;
    use crate::disk::{Disk as _, MappedBytes};
    use crate::log_id::PartitionNumber;

    const NOW: TimestampMs = TimestampMs(1_000_000);
    const PARTITION: PartitionNumber = PartitionNumber(3);

    fn open(disk: &SimDisk) -> DeadLetterLog {
        let root = PathBuf::from("/data");
        disk.create_dir(&root).unwrap();
        let place = LogPlace {
            disk: Arc::new(disk.clone()),
            dir: root.join("dead"),
            root,
            id: LogId::new(PARTITION, LogKind::DeadLetter),
        };
        DeadLetterLog::open(place, LogConfig::default(), None, NOW)
            .unwrap()
            .0
    }

    fn pushed(url: &str, source: u64) -> DeadLetter {
        let mut letter = letter((0, 0, 0, 0, 0, 0));
        letter.source.offset = Offset(source);
        letter.receiver = Receiver::Destination(Destination {
            url: url.to_owned(),
            method: "POST".to_owned(),
            queue: Some("q".to_owned()),
            ..Destination::default()
        });
        letter
    }

    fn delete(log: &mut DeadLetterLog, letter: Offset) {
        let marker = Marker {
            letter,
            resolution: Resolution::Deleted,
            request_id: None,
            time: NOW,
            who: "tester".to_owned(),
        };
        log.append_markers(&[marker], NOW).unwrap();
    }

    fn seal_segment(log: &mut DeadLetterLog) {
        let done = log.log_mut().begin_roll().unwrap().run();
        log.finish_roll(done).unwrap().unwrap().run();
    }

    /// Finds the letter of a message, as a recovery does that knows only where the message stands and where it went.
    fn find(log: &DeadLetterLog, url: &str, source: u64) -> Option<Offset> {
        let key = destination_source_key(url, PARTITION, Offset(source));
        log.any_from(key, &|letter| letter.source.offset == Offset(source))
            .unwrap()
    }

    /// A letter that shares the bytes of a read keeps all of them alive.
    #[test]
    fn letters_share_what_was_read_only_where_most_of_it_is_wanted() {
        let mut log = open(&SimDisk::new(1));
        let letters = (0..100).map(|at| {
            let group = if at % 5 == 0 { "few" } else { "many" };
            let mut letter = letter((0, 0, 0, 0, 0, 0));
            letter.source.offset = Offset(at);
            letter.receiver = Receiver::Group(group.to_owned());
            letter.record.value = Some(vec![7; 2048].into());
            letter
        });
        log.append_letters(&letters.collect::<Vec<_>>(), NOW)
            .unwrap();
        log.log_mut().begin_sync().unwrap().run().unwrap();
        let shared_in = |order, view: DeadLetterView, groups: &[&str]| {
            let filter = LetterFilter {
                groups: groups.iter().map(|&group| group.to_owned()).collect(),
                ..LetterFilter::default()
            };
            let range = (Offset::ZERO, Offset(100));
            let mut found = Vec::new();
            let mut take = |_, letter: Box<DeadLetter>| {
                found.push(letter.record.value.unwrap());
                true
            };
            view.visit(&filter, order, range, &mut take).unwrap();
            let shared = found.iter().filter(|value| !value.is_unique());
            (found.len(), shared.count())
        };
        let shared_of = |view, groups: &[&str]| shared_in(Order::OldestFirst, view, groups);
        let buffers = DeadLetterView::buffers(1 << 20);
        let sharing = || log.view().sharing(&buffers);
        assert_eq!(shared_of(sharing(), &["few"]), (20, 0));
        assert_eq!(shared_of(sharing(), &["many"]), (80, 80));
        assert_eq!(shared_of(sharing(), &[]), (100, 100));
        assert_eq!(shared_of(log.view(), &[]), (100, 0), "nobody asked for it");
        let newest = shared_in(Order::NewestFirst, sharing(), &[]);
        assert_eq!(newest, (100, 0), "what is read ahead was visited before");
    }

    /// The buffer of a small read may be one that was made for a large one.
    #[test]
    fn a_letter_that_is_read_alone_holds_no_buffer() {
        let mut log = open(&SimDisk::new(1));
        let mut letter = letter((0, 0, 0, 0, 0, 0));
        letter.record.value = Some(vec![7; 2048].into());
        log.append_letters(&[letter], NOW).unwrap();
        log.log_mut().begin_sync().unwrap().run().unwrap();
        let buffers = DeadLetterView::buffers(1 << 20);
        drop(buffers.lend(vec![0; 256 << 10], 1));
        let mut found = Vec::new();
        let mut take = |_, letter| {
            found.push(letter);
            true
        };
        let range = (Offset::ZERO, Offset(1));
        let view = log.view().sharing(&buffers);
        view.visit(
            &LetterFilter::default(),
            Order::OldestFirst,
            range,
            &mut take,
        )
        .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(buffers.take().capacity(), 256 << 10);
    }

    #[test]
    fn a_message_that_died_is_found_whatever_became_of_its_letter() {
        let disk = SimDisk::new(1);
        let large_url = "u".repeat(URL_BYTES_MAX - 1) + "\u{e9}and so on";
        let mut log = open(&disk);
        let letters = [pushed("a", 1), pushed("b", 1), pushed(&large_url, 2)];
        let offsets = log.append_letters(&letters, NOW).unwrap();
        delete(&mut log, offsets[0]);
        let check = |log: &DeadLetterLog| {
            assert_eq!(find(log, "a", 1), Some(offsets[0]), "resolved");
            assert_eq!(find(log, "b", 1), Some(offsets[1]), "live");
            assert_eq!(
                find(log, &large_url, 2),
                Some(offsets[2]),
                "cut to its limit"
            );
            assert_eq!(find(log, "a", 2), None, "another message");
            assert_eq!(find(log, "c", 1), None, "another destination");
            let key = pushed("a", 1).source_key();
            assert_eq!(log.live_from(key, &|_| true).unwrap(), None);
            assert_eq!(log.any_from(key, &|_| false).unwrap(), None);
            let elsewhere = destination_source_key("a", PartitionNumber(4), Offset(1));
            assert_eq!(log.any_from(elsewhere, &|_| true).unwrap(), None);
        };
        check(&log);
        seal_segment(&mut log);
        check(&log);
        drop(log);
        let mut log = open(&disk);
        check(&log);
        let end = log.log().next_offset();
        drop(log.apply_log_start(end));
        assert_eq!(find(&log, "a", 1), None, "retention took its letter");
    }

    #[test]
    fn a_facet_file_of_another_version_is_replaced() {
        let disk = SimDisk::new(1);
        let mut log = open(&disk);
        let offsets = log.append_letters(&[pushed("a", 1)], NOW).unwrap();
        seal_segment(&mut log);
        drop(log);
        let path = file_name::path(Path::new("/data/dead"), Offset::ZERO, FileKind::Facets);
        let right = disk.read_file(&path).unwrap();
        for version in [1, FACETS_VERSION + 1] {
            let mut other = right.get(..right.len() - 4).unwrap().to_vec();
            for (place, byte) in other.iter_mut().skip(4).zip(version.to_be_bytes()) {
                *place = byte;
            }
            seal(&mut other);
            assert!(Facets::open(MappedBytes::Owned(other.clone())).is_err());
            disk.remove_file(&path).unwrap();
            disk.write_file(&path, &other).unwrap();
            let log = open(&disk);
            assert_eq!(disk.read_file(&path).unwrap(), right, "version {version}");
            assert_eq!(find(&log, "a", 1), Some(offsets[0]));
        }
    }
}
