//! One file of the simulated disk: what readers see, what is durable, and every unsynced change between the two.
//!
//! Contents are kept in sectors of 512 bytes, each written whole or not at all; a sector that is not stored is all zeros.
//! Every unsynced write adds a version of each sector it touches, and any one of them, or the durable one, may survive.
//! Length changes survive up to some point in their order, as the journal of a file system keeps them; a surviving
//! truncation also clears what was written before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Fate;

/// What the disk writes whole or not at all, in bytes.
pub const SECTOR_BYTES: usize = 512;

const SECTOR: u64 = 512;

type Sector = Arc<[u8; SECTOR_BYTES]>;
type Sectors = BTreeMap<u64, Sector>;

/// A version of a sector, with the number of the file's change that wrote it.
#[derive(Debug, Clone)]
struct Version {
    change: u64,
    bytes: Sector,
}

/// A change of the length, with its number.
#[derive(Debug, Clone, Copy)]
struct LengthChange {
    change: u64,
    bytes: u64,
}

/// One file.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    visible: Sectors,
    visible_bytes: u64,
    durable: Sectors,
    durable_bytes: u64,
    versions: BTreeMap<u64, Vec<Version>>,
    lengths: Vec<LengthChange>,
    change_count: u64,
    /// Sectors that a sync has failed to write: what readers see of them is neither durable nor waiting to become so, and
    /// what is written over them does not become so either until they are read from the disk again.
    lost: BTreeSet<u64>,
}

impl Inode {
    /// Makes a file whose bytes are all durable.
    pub(super) fn durable(bytes: &[u8]) -> Self {
        let mut inode = Self::default();
        inode.write(bytes, 0);
        inode.sync();
        inode
    }

    pub(super) fn byte_count(&self) -> u64 {
        self.visible_bytes
    }

    pub(super) fn is_clean(&self) -> bool {
        self.versions.is_empty() && self.lengths.is_empty() && self.lost.is_empty()
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    pub(super) fn read(&self, buf: &mut [u8], position: u64) -> usize {
        let available = self.visible_bytes.saturating_sub(position);
        let count = usize::try_from(available).map_or(buf.len(), |bytes| bytes.min(buf.len()));
        let mut position = position;
        let mut rest = buf.get_mut(..count).unwrap_or_default();
        while !rest.is_empty() {
            let (sector, within) = place(position);
            let (part, later) = rest.split_at_mut(rest.len().min(SECTOR_BYTES - within));
            let stored = self.visible.get(&sector);
            match stored.and_then(|bytes| bytes.get(within..within + part.len())) {
                Some(bytes) => part.copy_from_slice(bytes),
                None => part.fill(0),
            }
            position += byte_len(part);
            rest = later;
        }
        count
    }

    pub(super) fn read_all(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.visible_bytes).unwrap_or(usize::MAX)];
        self.read(&mut bytes, 0);
        bytes
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64) {
        self.change_count += 1;
        let end = position.saturating_add(byte_len(bytes));
        let mut position = position;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (sector, within) = place(position);
            let (part, later) = rest.split_at(rest.len().min(SECTOR_BYTES - within));
            let mut changed = self
                .visible
                .get(&sector)
                .map_or([0; SECTOR_BYTES], |stored| **stored);
            if let Some(target) = changed.get_mut(within..within + part.len()) {
                target.copy_from_slice(part);
            }
            let changed = Arc::new(changed);
            self.visible.insert(sector, Arc::clone(&changed));
            if !self.lost.contains(&sector) {
                self.versions.entry(sector).or_default().push(Version {
                    change: self.change_count,
                    bytes: changed,
                });
            }
            position += byte_len(part);
            rest = later;
        }
        if end > self.visible_bytes {
            self.push_length(end);
        }
    }

    pub(super) fn set_len(&mut self, bytes: u64) {
        if bytes == self.visible_bytes {
            return;
        }
        self.change_count += 1;
        if bytes < self.visible_bytes {
            cut(&mut self.visible, bytes);
            drop(self.lost.split_off(&bytes.div_ceil(SECTOR)));
        }
        self.push_length(bytes);
    }

    /// Makes every waiting change durable, and only those: what a failed sync has lost stays lost.
    pub(super) fn sync(&mut self) {
        *self = self.survivor(&mut Fate::Everything);
    }

    /// Forgets the waiting writes while readers go on to see them, as a kernel does after a failed sync.
    pub(super) fn lose_unsynced(&mut self) {
        self.lost.extend(self.versions.keys());
        self.versions.clear();
    }

    /// Has readers see what the disk has, or will have once everything that waits is written, from the sector of
    /// `position` on.
    pub(super) fn forget(&mut self, position: u64) {
        for sector in self.lost.split_off(&(position / SECTOR)) {
            match self.durable.get(&sector) {
                Some(bytes) => self.visible.insert(sector, Arc::clone(bytes)),
                None => self.visible.remove(&sector),
            };
        }
    }

    /// Flips one bit of the file wherever it is kept. Returns false behind the end of the file.
    pub(super) fn flip_bit(&mut self, bit: u64) -> bool {
        let position = bit / 8;
        if position >= self.visible_bytes {
            return false;
        }
        let (sector, within) = place(position);
        let mask = 1_u8 << (bit % 8);
        let zeros = || Arc::new([0; SECTOR_BYTES]);
        let visible = self.visible.entry(sector).or_insert_with(zeros);
        flip(visible, within, mask);
        flip(
            self.durable.entry(sector).or_insert_with(zeros),
            within,
            mask,
        );
        for version in self.versions.get_mut(&sector).into_iter().flatten() {
            flip(&mut version.bytes, within, mask);
        }
        true
    }

    /// Returns the file as a power cut leaves it: all of it durable, nothing waiting.
    pub(super) fn after_power_cut(&self, fate: &mut Fate) -> Self {
        let mut survivor = self.survivor(fate);
        survivor.visible = survivor.durable.clone();
        survivor.visible_bytes = survivor.durable_bytes;
        survivor.lost.clear();
        survivor
    }

    /// Feeds everything that readers see to `hash`.
    pub(super) fn hash_into(&self, mut hash: impl FnMut(&[u8])) {
        hash(&self.visible_bytes.to_be_bytes());
        for (sector, bytes) in &self.visible {
            if bytes.iter().any(|byte| *byte != 0) {
                hash(&sector.to_be_bytes());
                hash(bytes.as_slice());
            }
        }
    }

    fn push_length(&mut self, bytes: u64) {
        self.visible_bytes = bytes;
        self.lengths.push(LengthChange {
            change: self.change_count,
            bytes,
        });
    }

    /// Moves the changes that survive into the durable part and drops the others. Readers still see what they saw.
    fn survivor(&self, fate: &mut Fate) -> Self {
        let lengths = self.lengths.get(..fate.prefix(self.lengths.len()));
        let lengths = lengths.unwrap_or_default();
        let mut durable = self.durable.clone();
        let mut durable_bytes = self.durable_bytes;
        for length in lengths {
            if length.bytes < durable_bytes {
                cut(&mut durable, length.bytes);
            }
            durable_bytes = length.bytes;
        }
        for (sector, versions) in &self.versions {
            // Version 0 is the durable one, as the surviving truncations left it.
            let Some(chosen) = fate.version(versions.len()).checked_sub(1) else {
                continue;
            };
            let Some(version) = versions.get(chosen) else {
                continue;
            };
            let later = lengths.iter().filter(|l| l.change > version.change);
            let kept_bytes = later.map(|length| length.bytes).min().unwrap_or(u64::MAX);
            durable.insert(*sector, Arc::clone(&version.bytes));
            cut_sector(&mut durable, *sector, kept_bytes.min(durable_bytes));
        }
        Self {
            visible: self.visible.clone(),
            visible_bytes: self.visible_bytes,
            durable,
            durable_bytes,
            lost: self.lost.clone(),
            ..Self::default()
        }
    }
}

/// Clears everything from `bytes` on.
fn cut(sectors: &mut Sectors, bytes: u64) {
    let (last, _) = place(bytes);
    drop(sectors.split_off(&(last + 1)));
    cut_sector(sectors, last, bytes);
}

/// Clears the part of one sector from `bytes` of the file on.
fn cut_sector(sectors: &mut Sectors, sector: u64, bytes: u64) {
    let kept = bytes.saturating_sub(sector * SECTOR).min(SECTOR);
    if kept == 0 {
        sectors.remove(&sector);
    } else if kept < SECTOR
        && let Some(stored) = sectors.get_mut(&sector)
        && let Some(cleared) = usize::try_from(kept)
            .ok()
            .and_then(|kept| Arc::make_mut(stored).get_mut(kept..))
    {
        cleared.fill(0);
    }
}

fn flip(sector: &mut Sector, within: usize, mask: u8) {
    if let Some(byte) = Arc::make_mut(sector).get_mut(within) {
        *byte ^= mask;
    }
}

/// Returns the sector that holds the byte at `position`, and the byte's place within it.
fn place(position: u64) -> (u64, usize) {
    let within = usize::try_from(position % SECTOR).unwrap_or(0);
    (position / SECTOR, within)
}

fn byte_len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
