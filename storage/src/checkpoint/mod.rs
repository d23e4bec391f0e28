//! Checkpoints: how far each log was durable, so that recovery reads only what lies above, and where its readable part begins.
//!
//! A checkpoint is a hint for everything but the log start: without one recovery reads whole logs and comes to the same
//! result. One shard of partitions shares two slot files, written in turn, so that a torn write leaves the other slot.
//!
//! Invariant: an entry is handed to [`CheckpointStore::write`] only when everything below its `durable_end` has been synced.
//!
//! # A slot file
//! All numbers are big-endian. Bytes behind the CRC are left from a longer, older checkpoint.
//!
//! | field | bytes | type | meaning |
//! |---|---|---|---|
//! | magic | 4 | u32 | [`CHECKPOINT_MAGIC`] |
//! | format version | 2 | u16 | [`CHECKPOINT_VERSION`] |
//! | reserved | 2 | u16 | 0 |
//! | sequence | 8 | u64 | the slot with the higher one counts |
//! | body bytes | 4 | u32 | bytes of all entries |
//! | entry count | 4 | u32 | |
//! | entries | | | see below |
//! | CRC | 4 | u32 | CRC-32 of everything before |
//!
//! | entry field | bytes | type | meaning |
//! |---|---|---|---|
//! | partition number | 4 | u32 | |
//! | log kind | 1 | u8 | |
//! | log start | 8 | u64 | first readable offset |
//! | durable end | 8 | u64 | first offset not known synced |
//! | segment base | 8 | u64 | base offset of the segment that holds the durable end |
//! | position | 8 | u64 | where in it the batch with the durable end will stand |
//! | header CRC | 4 | u32 | of the last durable batch |
//! | append time | 8 | i64 | of the last durable batch |
//! | state bytes | 4 | u32 | |
//! | state | | bytes | a hint of the log's owner, opaque here |

use std::path::PathBuf;
use std::sync::Arc;

use crate::checksum::crc32;
use crate::disk::{Disk, DiskFile, OpenMode, Site, read_anew, read_exact_at};
use crate::error::{Corruption, LogError};
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::{FilePosition, Offset, TimestampMs};

/// Opens every checkpoint slot: `RDCP`.
pub const CHECKPOINT_MAGIC: u32 = 0x5244_4350;
/// The version of the checkpoint format.
pub const CHECKPOINT_VERSION: u16 = 1;
const HEADER_BYTES: usize = 24;
const ENTRY_BYTES: usize = 53;
const _: () = assert!(4 + 1 + 8 * 4 + 4 + 8 + 4 == ENTRY_BYTES);

/// How far one log was durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCheckpoint {
    /// The log.
    pub id: LogId,
    /// First readable offset.
    pub log_start: Offset,
    /// First offset not known synced (exclusive end).
    pub durable_end: Offset,
    /// Base offset of the segment that holds the durable end.
    pub segment_base: Offset,
    /// Where in that segment the durable end stands.
    pub position: FilePosition,
    /// Header CRC of the last durable batch; 0 without one.
    pub header_crc: u32,
    /// Append time of the last durable batch.
    pub append_time: TimestampMs,
    /// A hint of the log's owner, folded up to `durable_end`.
    pub state: Vec<u8>,
}

/// Encodes a checkpoint as the bytes of a slot.
#[must_use]
pub fn encode(sequence: u64, entries: &[LogCheckpoint]) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in entries {
        body.extend_from_slice(&entry.id.partition.0.to_be_bytes());
        body.push(entry.id.kind.byte());
        body.extend_from_slice(&entry.log_start.0.to_be_bytes());
        body.extend_from_slice(&entry.durable_end.0.to_be_bytes());
        body.extend_from_slice(&entry.segment_base.0.to_be_bytes());
        body.extend_from_slice(&entry.position.0.to_be_bytes());
        body.extend_from_slice(&entry.header_crc.to_be_bytes());
        body.extend_from_slice(&entry.append_time.0.to_be_bytes());
        body.extend_from_slice(
            &u32::try_from(entry.state.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        body.extend_from_slice(&entry.state);
    }
    let mut bytes = Vec::with_capacity(body.len().saturating_add(HEADER_BYTES + 4));
    bytes.extend_from_slice(&CHECKPOINT_MAGIC.to_be_bytes());
    bytes.extend_from_slice(&CHECKPOINT_VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(
        &u32::try_from(entries.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    bytes
}

/// Why a slot was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointError {
    /// The bytes do not verify: a torn write, damage, or a slot that was never written.
    Corrupt(Corruption),
    /// The bytes verify and carry a version that this program does not know.
    UnknownVersion(u16),
}

impl From<Corruption> for CheckpointError {
    fn from(reason: Corruption) -> Self {
        Self::Corrupt(reason)
    }
}

/// Decodes the bytes of a slot into its sequence and entries.
///
/// # Errors
/// [`CheckpointError`], the version only when the checksum holds.
pub fn decode(bytes: &[u8]) -> Result<(u64, Vec<LogCheckpoint>), CheckpointError> {
    let mut header = Fields { rest: bytes };
    let magic = header.u32()?;
    if magic != CHECKPOINT_MAGIC {
        return Err(Corruption::Magic {
            found: magic,
            expected: CHECKPOINT_MAGIC,
        }
        .into());
    }
    let version = u16::from_be_bytes(header.array()?);
    header.array::<2>()?;
    let sequence = header.u64()?;
    let body_bytes = usize::try_from(header.u32()?).unwrap_or(usize::MAX);
    let count = header.u32()?;
    let body = header.bytes(body_bytes)?;
    let found = header.u32()?;
    let covered = bytes
        .get(..HEADER_BYTES.saturating_add(body_bytes))
        .unwrap_or_default();
    let computed = crc32(covered);
    if found != computed {
        return Err(Corruption::Checksum {
            part: "checkpoint",
            found,
            computed,
        }
        .into());
    }
    if version != CHECKPOINT_VERSION {
        return Err(CheckpointError::UnknownVersion(version));
    }
    let mut fields = Fields { rest: body };
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(decode_entry(&mut fields)?);
    }
    Ok((sequence, entries))
}

fn decode_entry(fields: &mut Fields<'_>) -> Result<LogCheckpoint, Corruption> {
    let partition = fields.u32()?;
    let [kind] = fields.array()?;
    let kind = LogKind::from_byte(kind).ok_or(Corruption::WrongLog {
        found_partition: partition,
        found_kind: kind,
    })?;
    Ok(LogCheckpoint {
        id: LogId::new(PartitionNumber(partition), kind),
        log_start: Offset(fields.u64()?),
        durable_end: Offset(fields.u64()?),
        segment_base: Offset(fields.u64()?),
        position: FilePosition(fields.u64()?),
        header_crc: fields.u32()?,
        append_time: TimestampMs(i64::from_be_bytes(fields.array()?)),
        state: {
            let bytes = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
            fields.bytes(bytes)?.to_vec()
        },
    })
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Corruption> {
        let Some((head, rest)) = self.rest.split_at_checked(count) else {
            return Err(Corruption::Truncated {
                part: "checkpoint",
                needed: u64::try_from(count).unwrap_or(u64::MAX),
                available: u64::try_from(self.rest.len()).unwrap_or(u64::MAX),
            });
        };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corruption> {
        Ok(self.bytes(N)?.first_chunk().copied().unwrap_or([0; N]))
    }

    fn u32(&mut self) -> Result<u32, Corruption> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Corruption> {
        Ok(u64::from_be_bytes(self.array()?))
    }
}

/// The two slots of one shard.
#[derive(Debug)]
pub struct CheckpointStore {
    slots: [Slot; 2],
    sequence: u64,
    /// A sync failed: what the disk holds is unknown, and no later sync would tell.
    is_poisoned: bool,
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl CheckpointStore {
    /// Opens both slots, creating missing ones, and returns the newest checkpoint that verifies; empty without one. It is
    /// durable, whatever the run before was doing when it ended.
    ///
    /// # Errors
    /// [`LogError::UnknownVersion`] for a slot of a newer program, [`LogError::Io`]. A slot that does not verify is no error.
    pub fn open(
        disk: &dyn Disk,
        paths: [PathBuf; 2],
    ) -> Result<(Self, Vec<LogCheckpoint>), LogError> {
        let mut newest = (0, Vec::new());
        let [first, second] = paths;
        let slots = [
            read_slot(disk, first, &mut newest)?,
            read_slot(disk, second, &mut newest)?,
        ];
        let (sequence, entries) = newest;
        let store = Self {
            slots,
            sequence,
            is_poisoned: false,
        };
        store.make_durable(disk, &entries)?;
        Ok((store, entries))
    }

    /// Makes durable what was found, before anybody relies on it: a run that was killed may have left names and bytes that
    /// never reached the disk, and a sync that failed pages that only look clean. Segments are unlinked by what is read here.
    fn make_durable(&self, disk: &dyn Disk, entries: &[LogCheckpoint]) -> Result<(), LogError> {
        let [even, odd] = &self.slots;
        for slot in [even, odd] {
            let dir = slot.path.parent().unwrap_or(&slot.path);
            disk.sync_dir(dir, Site::CheckpointName)
                .map_err(|source| LogError::io("sync", dir, source))?;
        }
        if self.sequence == 0 {
            return Ok(());
        }
        let slot = self.slot(self.sequence);
        slot.file
            .write_all_at(&encode(self.sequence, entries), 0)
            .map_err(|source| LogError::io("write back", &slot.path, source))?;
        slot.file
            .sync(Site::Checkpoint)
            .map_err(|source| LogError::io("sync", &slot.path, source))
    }

    fn slot(&self, sequence: u64) -> &Slot {
        let [even, odd] = &self.slots;
        if sequence.is_multiple_of(2) {
            even
        } else {
            odd
        }
    }

    /// Writes a checkpoint over the older slot and syncs it. When this returns, it is the one that a restart reads.
    ///
    /// # Errors
    /// [`LogError::Io`]; the newer slot is untouched. After a failed write the next one goes to the same slot again; after
    /// a failed sync every later call fails as well, until the store is opened anew.
    pub fn write(&mut self, entries: &[LogCheckpoint]) -> Result<(), LogError> {
        let sequence = self.sequence.saturating_add(1);
        let slot = self.slot(sequence);
        if self.is_poisoned {
            let source = std::io::Error::other("an earlier sync of this checkpoint failed");
            return Err(LogError::io("write", &slot.path, source));
        }
        slot.file
            .write_all_at(&encode(sequence, entries), 0)
            .map_err(|source| LogError::io("write", &slot.path, source))?;
        if let Err(source) = slot.file.sync(Site::Checkpoint) {
            let error = LogError::io("sync", &slot.path, source);
            self.is_poisoned = true;
            return Err(error);
        }
        self.sequence = sequence;
        Ok(())
    }
}

/// Opens a slot, and takes its checkpoint over when it is newer than `newest`.
fn read_slot(
    disk: &dyn Disk,
    path: PathBuf,
    newest: &mut (u64, Vec<LogCheckpoint>),
) -> Result<Slot, LogError> {
    let file = open_slot(disk, &path)?;
    read_anew(file.as_ref(), Site::Checkpoint)
        .map_err(|source| LogError::io("sync", &path, source))?;
    let bytes = read_whole(file.as_ref()).map_err(|source| LogError::io("read", &path, source))?;
    match decode(&bytes) {
        Ok((sequence, entries)) if sequence > newest.0 => *newest = (sequence, entries),
        Ok(_) | Err(CheckpointError::Corrupt(_)) => {}
        Err(CheckpointError::UnknownVersion(found)) => {
            let known = CHECKPOINT_VERSION;
            return Err(LogError::UnknownVersion { path, found, known });
        }
    }
    Ok(Slot { path, file })
}

fn open_slot(disk: &dyn Disk, path: &std::path::Path) -> Result<Arc<dyn DiskFile>, LogError> {
    match disk.open(path, OpenMode::Write) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => disk
            .open(path, OpenMode::CreateNew)
            .map_err(|source| LogError::io("create", path, source)),
        opened => opened.map_err(|source| LogError::io("open", path, source)),
    }
}

fn read_whole(file: &dyn DiskFile) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.byte_count()?).unwrap_or(usize::MAX)];
    read_exact_at(file, &mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
