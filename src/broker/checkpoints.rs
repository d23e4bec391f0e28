//! The checkpoints of all logs, in a few shards.
//!
//! Invariant: a log start that was stored never falls: retention stores it first and unlinks afterwards.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use storage::checkpoint::{CheckpointStore, LogCheckpoint};
use storage::data_dir;
use storage::disk::Disk;
use storage::error::LogError;
use storage::log_id::{LogId, PartitionNumber};
use storage::offset::Offset;

/// Shards, so that one busy partition does not make the state of all others be written again and again.
const SHARD_COUNT: u32 = 4;

/// The newest checkpoint of each log.
#[derive(Debug)]
pub(super) struct Checkpoints {
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    store: CheckpointStore,
    entries: BTreeMap<LogId, LogCheckpoint>,
    is_dirty: bool,
}

impl Checkpoints {
    pub(super) fn open(disk: &dyn Disk, root: &Path) -> Result<Self, LogError> {
        let shard = |number| {
            let (store, entries) =
                CheckpointStore::open(disk, data_dir::checkpoint_paths(root, number))?;
            let entries = entries.into_iter().map(|entry| (entry.id, entry)).collect();
            Ok(Shard {
                store,
                entries,
                is_dirty: false,
            })
        };
        Ok(Self {
            shards: (0..SHARD_COUNT)
                .map(shard)
                .collect::<Result<_, LogError>>()?,
        })
    }

    /// Returns all entries, by log.
    pub(super) fn hints(&self) -> HashMap<LogId, LogCheckpoint> {
        self.shards
            .iter()
            .flat_map(|shard| shard.entries.clone())
            .collect()
    }

    pub(super) fn get(&self, log: LogId) -> Option<&LogCheckpoint> {
        self.shards
            .get(shard_of(log))
            .and_then(|shard| shard.entries.get(&log))
    }

    /// Takes a checkpoint whose durable end has been reached. [`Checkpoints::write`] stores it.
    pub(super) fn put(&mut self, mut entry: LogCheckpoint) {
        let Some(shard) = self.shards.get_mut(shard_of(entry.id)) else {
            return;
        };
        if let Some(stored) = shard.entries.get(&entry.id) {
            entry.log_start = entry.log_start.max(stored.log_start);
            if *stored == entry {
                return;
            }
        }
        shard.entries.insert(entry.id, entry);
        shard.is_dirty = true;
    }

    /// Stores a new log start, durably when this returns.
    ///
    /// # Errors
    /// [`LogError::Io`], also for a log that has no entry: nothing could be synced of it.
    pub(super) fn raise_log_start(&mut self, log: LogId, start: Offset) -> Result<(), LogError> {
        let found = self.shards.get_mut(shard_of(log)).and_then(|shard| {
            let entry = shard.entries.get_mut(&log)?;
            entry.log_start = entry.log_start.max(start);
            shard.is_dirty = true;
            Some(())
        });
        if found.is_none() {
            let source =
                std::io::Error::other(format!("{log} has no checkpoint, so its start cannot move"));
            return Err(LogError::io("checkpoint", Path::new(""), source));
        }
        self.write()
    }

    /// Forgets a partition that was deleted.
    pub(super) fn remove(&mut self, partition: PartitionNumber) {
        for shard in &mut self.shards {
            let before = shard.entries.len();
            shard.entries.retain(|log, _| log.partition != partition);
            shard.is_dirty |= shard.entries.len() != before;
        }
    }

    /// Stores what has changed.
    pub(super) fn write(&mut self) -> Result<(), LogError> {
        for shard in self.shards.iter_mut().filter(|shard| shard.is_dirty) {
            let entries: Vec<_> = shard.entries.values().cloned().collect();
            shard.store.write(&entries)?;
            shard.is_dirty = false;
        }
        Ok(())
    }
}

fn shard_of(log: LogId) -> usize {
    usize::try_from(log.partition.0 % SHARD_COUNT).unwrap_or(0)
}
