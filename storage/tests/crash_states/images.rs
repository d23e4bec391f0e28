//! The images that a power cut may leave at one moment of a scenario, and what must be true of each.

use storage::checkpoint::LogCheckpoint;
use storage::offset::Offset;

use crate::flat::{Change, File, Flat};
use crate::scenario::{Moment, Random, Scenario};

const SECTOR: usize = 512;
const HEADER: usize = 32;

/// A sector with what it may hold: the first is the durable one.
#[derive(Debug)]
struct Sector {
    at: usize,
    versions: Vec<(u64, Vec<u8>)>,
}

/// Everything that a power cut may leave. Only the active segment has changes that no sync has made durable.
#[derive(Debug)]
pub struct Images<'a> {
    scenario: &'a Scenario,
    moment: &'a Moment,
    /// The active segment among the files.
    active: usize,
    sectors: Vec<Sector>,
    lengths: Vec<usize>,
    /// Hash of all that stays as it is.
    base: u64,
    /// Batches in the active segment: number, and where each begins. The last place is where the next would begin.
    first: usize,
    places: Vec<usize>,
}

impl<'a> Images<'a> {
    pub fn of(scenario: &'a Scenario, moment: &'a Moment) -> Self {
        let name = format!("{:020}.log", moment.active_base.0);
        let active = moment.files.iter().position(|f| f.name == name).unwrap();
        let file = &moment.files[active];
        for other in moment.files.iter().filter(|other| other.name != name) {
            assert!(other.changes.is_empty(), "a sealed segment is durable");
        }
        let base = moment.files.iter().map(hash_of).fold(0, u64::wrapping_add);
        let batches = &scenario.batches[..moment.written];
        let first = batches.partition_point(|b| b.offset < moment.active_base);
        let mut places = vec![HEADER];
        for batch in &batches[first..] {
            places.push(places.last().unwrap() + batch.bytes.len());
        }
        let mut lengths = vec![file.durable.len()];
        lengths.extend(lengths_of(file));
        Self {
            scenario,
            moment,
            active,
            sectors: sectors_of(file),
            lengths,
            base,
            first,
            places,
        }
    }

    pub fn hint(&self) -> Option<&'a LogCheckpoint> {
        self.moment.hint.as_ref()
    }

    pub fn acknowledged(&self) -> usize {
        self.moment.acknowledged
    }

    /// Returns how many images are worth drawing: as many as there are, up to `most`.
    pub fn count(&self, most: u64) -> u64 {
        let versions = self.sectors.iter().map(|sector| sector.versions.len());
        let all = versions.chain([self.lengths.len()]);
        let all = all.fold(1, |all: u64, more| all.saturating_mul(more as u64));
        all.clamp(2, most)
    }

    /// Puts an image onto the disk, and returns the hash of its contents. The first two are nothing and everything.
    pub fn draw(&self, disk: &Flat, random: &mut Random, number: u64) -> u64 {
        let style = random.below(4);
        let last = self.lengths.len() as u64 - 1;
        let length = match number {
            0 => 0,
            1 => last,
            _ if style == 0 => random.below(last + 1),
            _ => last,
        };
        let length = self.lengths[length as usize];
        let mut hash = self.base.wrapping_add(mix(length as u64, 7));
        disk.with(|files| {
            copy_files(&self.moment.files, files);
            let file = &mut files[self.active].bytes;
            file.resize(self.lengths.iter().copied().fold(length, usize::max), 0);
            for sector in &self.sectors {
                let newest = sector.versions.len() as u64 - 1;
                let chosen = match (number, style) {
                    (0, _) => 0,
                    (1, _) => newest,
                    // Nearly all of them: what is torn is one sector in the middle.
                    (_, 1) if random.below(8) > 0 => newest,
                    _ => random.below(newest + 1),
                };
                let (_, bytes) = &sector.versions[chosen as usize];
                file[sector.at..sector.at + bytes.len()].copy_from_slice(bytes);
            }
            file.truncate(length);
            for sector in &self.sectors {
                let here = file.get(sector.at..).unwrap_or_default();
                let here = &here[..here.len().min(SECTOR)];
                let known = sector
                    .versions
                    .iter()
                    .find(|(_, bytes)| bytes.as_slice() == here);
                let now = known.map_or_else(|| hash_sector(sector.at, here), |(hash, _)| *hash);
                hash = hash.wrapping_add(now).wrapping_sub(sector.versions[0].0);
            }
        });
        hash
    }

    /// Returns how many batches, from the log's first one on, stand whole on the disk.
    pub fn whole_batches(&self, disk: &Flat) -> usize {
        disk.with(|files| {
            let file = &files[self.active].bytes;
            let starts = self.places.iter().zip(&self.scenario.batches[self.first..]);
            let is_whole = |(at, batch): &(&usize, &crate::scenario::Written)| {
                file.get(**at..**at + batch.bytes.len()) == Some(batch.bytes.as_slice())
            };
            self.first
                + starts
                    .take(self.places.len() - 1)
                    .take_while(is_whole)
                    .count()
        })
    }

    /// Returns the log's end behind so many batches.
    pub fn end_of(&self, batches: usize) -> Offset {
        let last = batches
            .checked_sub(1)
            .map(|last| &self.scenario.batches[last]);
        last.map_or(Offset::ZERO, |batch| batch.next)
    }

    pub fn batch(&self, at: usize) -> (Offset, &[u8]) {
        let batch = &self.scenario.batches[at];
        (batch.offset, &batch.bytes)
    }

    /// Compares the files with what was written: byte for byte up to the end, zeros behind it.
    pub fn compare(&self, disk: &Flat, whole: usize) -> Result<(), String> {
        disk.with(|files| {
            let segments = self.moment.files.iter().zip(files).enumerate();
            for (at, (expected, file)) in segments {
                let expected = &expected.bytes;
                let end = if at == self.active {
                    self.places[whole - self.first]
                } else {
                    file.bytes.len()
                };
                if file.bytes.get(..end) != expected.get(..end) {
                    return Err(format!("{}: other bytes before {end}", file.name));
                }
                let mut rest = file.bytes[end..].chunks(64);
                if rest.any(|block| block.iter().fold(0, |all, byte| all | byte) != 0) {
                    return Err(format!("{}: something is left behind {end}", file.name));
                }
            }
            Ok(())
        })
    }
}

/// Replaces the files by what is durable of others, in the buffers that are there.
fn copy_files(from: &[File], to: &mut Vec<File>) {
    to.resize_with(from.len(), File::default);
    for (from, to) in from.iter().zip(to) {
        to.name.clone_from(&from.name);
        to.bytes.clone_from(&from.durable);
        to.is_dirty = false;
    }
}

fn lengths_of(file: &File) -> Vec<usize> {
    let mut length = file.durable.len();
    let mut lengths = Vec::new();
    for change in &file.changes {
        let next = match change {
            Change::Write { at, bytes } => length.max(at + bytes.len()),
            Change::Length(length) => *length,
        };
        if next != length {
            assert!(
                next > length,
                "only recovery and rolls make a segment shorter"
            );
            lengths.push(next);
        }
        length = next;
    }
    lengths
}

/// Returns every sector that was written since the last sync, with all its versions.
fn sectors_of(file: &File) -> Vec<Sector> {
    let mut visible = file.durable.clone();
    let mut sectors: Vec<Sector> = Vec::new();
    let longest = lengths_of(file).last().copied().unwrap_or(visible.len());
    visible.resize(longest.next_multiple_of(SECTOR), 0);
    for change in &file.changes {
        let Change::Write { at, bytes } = change else {
            continue;
        };
        let touched = (at / SECTOR * SECTOR..at + bytes.len()).step_by(SECTOR);
        for place in touched.clone() {
            if sectors.iter().all(|sector| sector.at != place) {
                let bytes = visible[place..place + SECTOR].to_vec();
                let versions = vec![(hash_sector(place, &bytes), bytes)];
                sectors.push(Sector {
                    at: place,
                    versions,
                });
            }
        }
        visible[*at..at + bytes.len()].copy_from_slice(bytes);
        for place in touched {
            let sector = sectors.iter_mut().find(|sector| sector.at == place);
            let bytes = visible[place..place + SECTOR].to_vec();
            sector
                .unwrap()
                .versions
                .push((hash_sector(place, &bytes), bytes));
        }
    }
    for sector in &mut sectors {
        // The file may end within its last sector.
        for (_, bytes) in &mut sector.versions {
            bytes.truncate(longest.saturating_sub(sector.at));
        }
    }
    sectors
}

fn hash_of(file: &File) -> u64 {
    let name = hash_sector(1, file.name.as_bytes());
    let sectors = file.durable.chunks(SECTOR).enumerate();
    sectors
        .map(|(at, bytes)| hash_sector(at * SECTOR, bytes))
        .fold(name, u64::wrapping_add)
}

/// Hashes what a sector holds at its place; zeros are like nothing.
fn hash_sector(at: usize, bytes: &[u8]) -> u64 {
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    if used == 0 {
        return 0;
    }
    let mut hash = mix(at as u64, 3);
    for chunk in bytes[..used].chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash ^ u64::from_be_bytes(word), 11);
    }
    hash
}

fn mix(value: u64, salt: u64) -> u64 {
    let mut mixed = value.wrapping_add(salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^= mixed >> 29;
    mixed = mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ mixed >> 32
}

/// The images that were met, one bit for each hash.
#[derive(Debug)]
pub struct Seen {
    bits: Vec<u64>,
    shift: u32,
}

impl Seen {
    pub fn new(log2_bits: u32) -> Self {
        Self {
            bits: vec![0; 1 << (log2_bits - 6)],
            shift: 64 - log2_bits,
        }
    }

    pub fn is_new(&mut self, hash: u64) -> bool {
        let bit = mix(hash, 5) >> self.shift;
        let word = &mut self.bits[(bit / 64) as usize];
        let mask = 1 << (bit % 64);
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    }
}
