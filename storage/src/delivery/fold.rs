//! The way from the batches of a delivery log and of its main log to the state.
//!
//! 1. The newest complete snapshot is found: it begins a segment, so only the first record of each is looked at. Without one
//!    the fold begins at the first record ever, which the log must still have.
//! 2. The main log is admitted from where the snapshot ends. Damage in it is passed over: what cannot be read cannot be
//!    delivered, and the rest can.
//! 3. The entries from the snapshot's first part on are applied, in order. None of them may be missing: a state that was
//!    guessed would deliver twice or not at all.

use std::ops::ControlFlow;

use super::entry::{Entry, SnapshotPart};
use super::envelope::{ENVELOPE_HEADER, Envelope};
use super::snapshots::Snapshot;
use super::state::{Arrival, DeliveryState};
use crate::batch::{BatchHeader, RecordRef, Records, unpack};
use crate::cause::{CAUSE_HEADER, Cause};
use crate::checksum::crc32;
use crate::error::{Corruption, LogError};
use crate::limits::BATCH_BYTES_CEILING;
use crate::log::{LogReader, ReadBound};
use crate::offset::{Offset, TimestampMs};

/// Calls `visit` with each entry of the log from `from` on, in order, with its offset and append time, until it breaks or the
/// bound is reached.
///
/// # Errors
/// As [`LogReader::read`]; [`LogError::Corrupt`] also for what is no entry.
pub fn scan_entries(
    log: &LogReader,
    from: Offset,
    bound: ReadBound,
    visit: &mut dyn FnMut(Offset, &BatchHeader, Entry) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let mut undecodable = None;
    log.scan(
        from,
        bound,
        &mut |header, body| match take_entries(header, body, from, visit) {
            Ok(flow) => flow,
            Err((offset, reason)) => {
                undecodable = Some(log.undecodable(offset, reason));
                ControlFlow::Break(())
            }
        },
    )?;
    undecodable.map_or(Ok(()), Err)
}

fn take_entries(
    header: &BatchHeader,
    body: &[u8],
    from: Offset,
    visit: &mut dyn FnMut(Offset, &BatchHeader, Entry) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, (Offset, Corruption)> {
    let base = header.base_offset;
    let section = unpack(header, body, BATCH_BYTES_CEILING).map_err(|reason| (base, reason))?;
    for record in Records::new(header, &section) {
        let record = record.map_err(|reason| (base, reason))?;
        let offset = offset_at(header, record.offset_delta);
        if offset < from {
            continue;
        }
        let entry =
            Entry::decode(record.value.unwrap_or_default()).map_err(|reason| (offset, reason))?;
        if visit(offset, header, entry).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Finds the newest complete snapshot and decodes its state.
///
/// # Errors
/// [`LogError::Io`]; [`LogError::Corrupt`] for a complete snapshot that does not decode. One that cannot be read counts for
/// nothing: whoever folds from an older one meets the damage.
pub fn newest_snapshot(log: &LogReader) -> Result<Option<(Snapshot, DeliveryState)>, LogError> {
    for segment in log.segments().iter().rev() {
        let base = segment.base_offset.max(log.log_start());
        if segment.end_offset <= base || !begins_with_snapshot(log, base)? {
            continue;
        }
        let Some((bytes, end)) = passing_damage(read_parts(log, base))?.flatten() else {
            continue;
        };
        let state =
            DeliveryState::decode(&bytes).map_err(|reason| log.undecodable(base, reason))?;
        let snapshot = Snapshot {
            start: base,
            end,
            admitted_up_to: state.admitted_up_to(),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        };
        return Ok(Some((snapshot, state)));
    }
    Ok(None)
}

fn passing_damage<T>(read: Result<T, LogError>) -> Result<Option<T>, LogError> {
    match read {
        Err(LogError::Corrupt { .. } | LogError::OffsetOutOfRange { .. }) => Ok(None),
        read => read.map(Some),
    }
}

/// Says whether the record at `base` is the first part of a snapshot.
fn begins_with_snapshot(log: &LogReader, base: Offset) -> Result<bool, LogError> {
    let mut is_first_part = false;
    let looked = scan_entries(log, base, ReadBound::LogEnd, &mut |offset, _, entry| {
        is_first_part =
            offset == base && matches!(entry, Entry::Snapshot(SnapshotPart { index: 0, .. }));
        ControlFlow::Break(())
    });
    passing_damage(looked).map(|looked| looked.is_some() && is_first_part)
}

/// Reads the parts of the snapshot that begins at `start`. Other entries may stand between them. Returns the bytes of the
/// state and the first offset behind the last part; `None` when the last part never came.
fn read_parts(log: &LogReader, start: Offset) -> Result<Option<(Vec<u8>, Offset)>, LogError> {
    let mut parts = Parts::default();
    let mut complete = None;
    scan_entries(log, start, ReadBound::LogEnd, &mut |offset, _, entry| {
        let Entry::Snapshot(part) = entry else {
            return ControlFlow::Continue(());
        };
        match parts.take(&part) {
            PartsStep::More => ControlFlow::Continue(()),
            PartsStep::Broken => ControlFlow::Break(()),
            PartsStep::Complete(bytes) => {
                complete = Some((bytes, offset.next()));
                ControlFlow::Break(())
            }
        }
    })?;
    Ok(complete)
}

/// The parts of one snapshot, put together in order.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    bytes: Vec<u8>,
    last: Option<SnapshotPart>,
}

/// What a part made of the ones before it.
#[derive(Debug)]
pub(crate) enum PartsStep {
    /// Others are to follow.
    More,
    /// It was the last one: the bytes of the state.
    Complete(Vec<u8>),
    /// It does not follow, or the whole does not verify: the snapshot counts for nothing.
    Broken,
}

impl Parts {
    pub(crate) fn take(&mut self, part: &SnapshotPart) -> PartsStep {
        let follows = match &self.last {
            None => part.index == 0,
            Some(last) => {
                last.index.checked_add(1) == Some(part.index)
                    && (last.count, last.state_crc) == (part.count, part.state_crc)
            }
        };
        if !follows || part.index >= part.count {
            return PartsStep::Broken;
        }
        self.bytes.extend_from_slice(&part.bytes);
        if part.index.checked_add(1) == Some(part.count) {
            let bytes = std::mem::take(&mut self.bytes);
            return if crc32(&bytes) == part.state_crc {
                PartsStep::Complete(bytes)
            } else {
                PartsStep::Broken
            };
        }
        self.last = Some(SnapshotPart {
            index: part.index,
            count: part.count,
            state_crc: part.state_crc,
            bytes: Vec::new(),
        });
        PartsStep::More
    }
}

/// Admits what the main log holds from where the state ends. Returns how many bytes that were.
///
/// # Errors
/// [`LogError::Io`]; [`LogError::Corrupt`] for an envelope or a cause that does not decode in a batch that verifies.
pub fn admit_main(main: &LogReader, state: &mut DeliveryState) -> Result<u64, LogError> {
    let mut next = state.admitted_up_to().max(main.log_start());
    let mut bytes = 0u64;
    while next < main.log_end() {
        let mut undecodable = None;
        let scanned = main.scan(next, ReadBound::LogEnd, &mut |header, body| {
            bytes = bytes.saturating_add(u64::from(header.length));
            match arrivals(header, body) {
                Ok(arrivals) => {
                    state.admit(header.base_offset, header.append_time, &arrivals);
                    ControlFlow::Continue(())
                }
                Err(reason) => {
                    undecodable = Some(main.undecodable(header.base_offset, reason));
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(error) = undecodable {
            return Err(error);
        }
        match scanned {
            Err(LogError::Corrupt { to, .. }) if to > next => next = to,
            Err(LogError::Corrupt { .. }) | Ok(()) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Returns what the state needs to know of each record of a batch of the main log. Reserved headers mean something only in
/// batches that the broker built.
fn arrivals(header: &BatchHeader, body: &[u8]) -> Result<Vec<Option<Arrival>>, Corruption> {
    let section = unpack(header, body, BATCH_BYTES_CEILING)?;
    arrivals_in(header, &section)
}

/// As [`arrivals`], of an unpacked records section.
pub(crate) fn arrivals_in(
    header: &BatchHeader,
    section: &[u8],
) -> Result<Vec<Option<Arrival>>, Corruption> {
    let is_broker_built = header.attributes.is_broker_built;
    Records::new(header, section)
        .map(|record| {
            let record = record?;
            if is_broker_built {
                arrival(&record)
            } else {
                Ok(None)
            }
        })
        .collect()
}

fn arrival(record: &RecordRef<'_>) -> Result<Option<Arrival>, Corruption> {
    let Some(envelope) = record.headers.get(ENVELOPE_HEADER).flatten() else {
        return Ok(None);
    };
    let cause = record.headers.get(CAUSE_HEADER).flatten();
    let cause = cause.map(Cause::decode).transpose()?;
    let envelope = Envelope::decode(envelope)?;
    Ok(Some(Arrival::new(record.timestamp, &envelope, cause)))
}

/// Applies the entries from `from` on. Returns the bytes of the batches at or above `counted_from`.
///
/// # Errors
/// As [`scan_entries`]; [`LogError::Corrupt`] also for an entry about a record that the main log, whose end is `main_end`,
/// has lost.
pub(super) fn apply_entries(
    log: &LogReader,
    (from, counted_from): (Offset, Offset),
    main_end: Option<Offset>,
    state: &mut DeliveryState,
) -> Result<u64, LogError> {
    let mut bytes = 0u64;
    let mut counted = None;
    let mut lost = None;
    scan_entries(
        log,
        from,
        ReadBound::LogEnd,
        &mut |offset, header, entry| {
            let is_new = counted != Some(header.base_offset);
            if is_new && header.base_offset >= counted_from {
                bytes = bytes.saturating_add(u64::from(header.length));
            }
            counted = Some(header.base_offset);
            match (entry.message(), main_end) {
                (Some(message), Some(end)) if message >= end => {
                    lost = Some((offset, message));
                    ControlFlow::Break(())
                }
                _ => {
                    state.apply(offset, &entry);
                    ControlFlow::Continue(())
                }
            }
        },
    )?;
    lost.map_or(Ok(bytes), |(offset, message)| {
        let (field, value) = ("message that the main log has not", message.0);
        Err(log.undecodable(offset, Corruption::Field { field, value }))
    })
}

/// A batch of the main log that is written and not known durable.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) base: Offset,
    pub(super) next: Offset,
    pub(super) append_time: TimestampMs,
    pub(super) arrivals: Vec<Option<Arrival>>,
}

fn offset_at(header: &BatchHeader, delta: u32) -> Offset {
    Offset(header.base_offset.0.saturating_add(u64::from(delta)))
}
