//! Damage of every file of a data directory, one place at a time: bits, lengths, blocks and whole files.
//!
//! Everything in the directory was acknowledged, and a checkpoint says so. Then what is read is right or refused by name, whatever
//! was damaged: no wrong byte is served, nothing is missing that nobody speaks of, no state is made of less than all of the logs.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::checkpoint::CheckpointStore;
use storage::control::{ControlLog, ControlState, Entry, TopicSettings};
use storage::data_dir::{DataDir, checkpoint_paths};
use storage::dead_letter::select::{LetterFilter, Order as Turn};
use storage::disk::sim::SimDisk;
use storage::error::LogError;
use storage::log::{LogReader, ReadBound};
use storage::log_id::PartitionNumber;
use storage::offset::{Offset, TimestampMs};
use storage::partition::Partition;

use crate::crashes::new_disk;
use crate::hold::Hold;
use crate::machine::{CHECKPOINTS, Machine, Watch, open_partition, read_checkpoints};
use crate::mutants::Order;
use crate::oracle::Oracle;
use crate::workload::{Op, WORKLOAD};

const ROOT: &str = "/data";
const NOW: TimestampMs = TimestampMs(9_000_000);
const SECTOR: usize = 512;
const PAGE: usize = 4096;
/// Cases of each kind in the merge-sized set.
const CASES: usize = 400;

/// What is served of a log: batches by their base offsets, and where it ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Served {
    batches: BTreeMap<u64, Vec<u8>>,
    start: u64,
    end: u64,
}

/// Everything that readers and the engine go by.
#[derive(Debug, Clone, PartialEq)]
struct Whole {
    control: ControlState,
    main: Served,
    letters: Served,
    entries: Served,
    live: Vec<u64>,
    listed: Vec<u64>,
    state: Vec<u8>,
}

/// A directory, its files as they were behind each step, and what it serves.
struct Sample {
    disk: SimDisk,
    files: Vec<(PathBuf, Vec<u8>)>,
    older: BTreeMap<PathBuf, Vec<Vec<u8>>>,
    whole: Whole,
}

/// What became of a damaged directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Everything is served as it was.
    Harmless,
    /// A part is refused, and named; the rest is right.
    Reported,
    /// Nothing is opened.
    Refused,
}

fn sample() -> Sample {
    let disk = new_disk(13);
    let root = Path::new(ROOT);
    drop(DataDir::open(&disk, root, "redrive", 1).unwrap());
    let (mut control, _) = ControlLog::open(Arc::new(disk.clone()), root, None, NOW).unwrap();
    for number in 0..6 {
        let topic = Entry::TopicCreated {
            name: format!("t{number}"),
            settings: TopicSettings::default(),
            partitions: vec![PartitionNumber(number + 1)],
        };
        control.change(&topic, NOW).unwrap();
    }
    let watch = Watch::new(&disk);
    let (mut machine, _) = Machine::open(&watch, Order::Right, 0).unwrap();
    let mut oracle = Oracle::default();
    let mut older: BTreeMap<PathBuf, Vec<Vec<u8>>> = BTreeMap::new();
    // Up to where retention would take most of it.
    let kept = WORKLOAD
        .iter()
        .filter(|op| !matches!(op, Op::Retain | Op::RetainLetters));
    for op in kept {
        machine.run(*op, &mut oracle).unwrap();
        for path in disk.paths() {
            let bytes = disk.read_file(&path).unwrap();
            let versions = older.entry(path).or_default();
            if versions.last() != Some(&bytes) {
                versions.push(bytes);
            }
        }
    }
    machine.run(Op::Checkpoint, &mut oracle).unwrap();
    let (mut store, _) = CheckpointStore::open(&disk, control_slots()).unwrap();
    store.write(&[control.checkpoint()]).unwrap();
    drop((machine, control));
    let disk = disk.reboot(storage::disk::sim::Survival::Nothing);
    // Recovery tidies up once; what is damaged is what it leaves, without the room that was reserved.
    look(&disk).unwrap();
    for path in disk.paths() {
        let bytes = disk.read_file(&path).unwrap();
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 8);
        disk.truncate_file(&path, used.min(bytes.len()) as u64)
            .unwrap();
    }
    let whole = look(&disk).unwrap().0;
    let paths = disk
        .paths()
        .into_iter()
        .filter(|path| !path.ends_with("made"));
    let files = paths.map(|path| (path.clone(), disk.read_file(&path).unwrap()));
    Sample {
        files: files.collect(),
        disk,
        older,
        whole,
    }
}

/// Reads a log batch by batch; what is refused must be refused with a range that holds it.
fn served(reader: &LogReader) -> (Served, Vec<(u64, u64)>) {
    let mut served = Served {
        start: reader.log_start().0,
        end: reader.log_end().0,
        ..Served::default()
    };
    let mut refused = Vec::new();
    let mut next = served.start;
    while next < served.end {
        match reader.batch_at(Offset(next), ReadBound::LogEnd) {
            Ok(batch) => {
                let header = batch.header();
                let (base, end) = (header.base_offset.0, header.next_offset().0);
                assert!(
                    (base..end).contains(&next),
                    "{next} is served from {base} to {end}"
                );
                let bytes = reader.read(Offset(base), 1, ReadBound::LogEnd).unwrap();
                served.batches.insert(base, bytes);
                next = end;
            }
            Err(LogError::Corrupt { from, to, .. }) => {
                assert!(
                    (from.0..to.0).contains(&next),
                    "{next} is refused as {from} to {to}"
                );
                refused.push((next, to.0));
                next = to.0;
            }
            Err(other) => panic!("{next}: {other:?}"),
        }
    }
    (served, refused)
}

fn control_slots() -> [PathBuf; 2] {
    checkpoint_paths(Path::new(CHECKPOINTS), 1)
}

/// Opens everything and reads everything. The second is whether something is reported.
fn look(disk: &SimDisk) -> Result<(Whole, bool), LogError> {
    let root = Path::new(ROOT);
    let shared = Arc::new(disk.clone());
    let _dir = DataDir::open(disk, root, "redrive", 1)?;
    let (_, hints) = CheckpointStore::open(disk, control_slots())?;
    let control = match ControlLog::open(Arc::clone(&shared) as _, root, hints.first(), NOW) {
        Ok((control, report)) => {
            assert!(report.damage.is_empty(), "the control log opens damaged");
            control
        }
        Err(error) => return Err(refused(&error)),
    };
    let (_, stored) = read_checkpoints(disk)?;
    let (partition, report) = open_partition(shared, &stored, NOW)?;
    let damage = [&report.main, &report.dead_letters, &report.delivery];
    let mut is_reported = damage
        .iter()
        .any(|r| !r.damage.is_empty() || r.cut.is_some());
    is_reported |= partition.delivery_damage().is_some();
    let whole = read_all(&partition, control.state().clone(), &mut is_reported);
    Ok((whole, is_reported))
}

fn refused(error: &dyn std::error::Error) -> LogError {
    let source = std::io::Error::other(error.to_string());
    LogError::Io {
        op: "open",
        path: PathBuf::new(),
        source,
    }
}

fn read_all(partition: &Partition, control: ControlState, is_reported: &mut bool) -> Whole {
    let mut of = |reader: Option<LogReader>| {
        let (served, refused) = reader.map(|reader| served(&reader)).unwrap_or_default();
        *is_reported |= !refused.is_empty();
        served
    };
    let main = of(Some(partition.main().reader()));
    let letters = of(partition.dead_letters().map(|log| log.log().reader()));
    let delivery = partition.delivery_log().and_then(|log| log.log());
    let entries = of(delivery.map(storage::log::Log::reader));
    let (mut live, mut listed) = (Vec::new(), Vec::new());
    if let Some(log) = partition.dead_letters() {
        let view = log.view();
        let (from, to) = (view.reader().log_start(), view.reader().log_end());
        live = (from.0..to.0)
            .filter(|at| view.is_live(Offset(*at)))
            .collect();
        let (all, turn) = (LetterFilter::default(), Turn::OldestFirst);
        let visited = view.visit(&all, turn, (from, to), &mut |at, _| {
            listed.push(at.0);
            true
        });
        *is_reported |= matches!(visited, Err(LogError::Corrupt { .. }));
    }
    Whole {
        control,
        main,
        letters,
        entries,
        live,
        listed,
        state: partition
            .delivery()
            .map(storage::delivery::DeliveryState::encode)
            .unwrap_or_default(),
    }
}

impl Served {
    /// Compares with what was there: every batch that is served is the one that was, at its place.
    fn check(&self, whole: &Self, what: &str) {
        for (base, bytes) in &self.batches {
            assert_eq!(
                whole.batches.get(base),
                Some(bytes),
                "{what}: wrong bytes at {base}"
            );
        }
    }
}

impl Sample {
    /// Looks at a damaged directory, and judges what is served of it.
    fn judge(&self, disk: &SimDisk, what: &str) -> Result<Verdict, String> {
        let looked = catch_unwind(AssertUnwindSafe(|| {
            let Ok((found, is_reported)) = look(disk) else {
                return Ok(Verdict::Refused);
            };
            found.main.check(&self.whole.main, "main");
            found.letters.check(&self.whole.letters, "letters");
            found.entries.check(&self.whole.entries, "entries");
            if found.control != self.whole.control {
                return Err("another control state".to_owned());
            }
            if found == self.whole {
                return Ok(Verdict::Harmless);
            }
            if is_reported {
                return Ok(Verdict::Reported);
            }
            Err(self.difference(&found))
        }));
        looked
            .unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                Err(text.unwrap_or_else(|| "it panicked".to_owned()))
            })
            .map_err(|broken| format!("{what}: {broken}"))
    }

    fn difference(&self, found: &Whole) -> String {
        let logs = [
            ("main", &found.main, &self.whole.main),
            ("letters", &found.letters, &self.whole.letters),
            ("entries", &found.entries, &self.whole.entries),
        ];
        let mut text = "nobody speaks of".to_owned();
        for (name, found, whole) in logs {
            if found != whole {
                let (f, w) = ((found.start, found.end), (whole.start, whole.end));
                text = format!("{text} {name} {f:?} instead of {w:?};");
            }
        }
        let live = (&found.live, &self.whole.live, &found.listed);
        let is_same_state = found.state == self.whole.state;
        format!("{text} live {live:?}, state is the same: {is_same_state}")
    }

    fn is_checkpoint(path: &Path) -> bool {
        path.to_string_lossy().contains("checkpoint")
    }

    /// Writes files over those of a copy, `None` removing one, and judges it. A lost checkpoint may hide that a tail is gone:
    /// so nothing but checkpoints is damaged together with them.
    fn with(&self, changes: &[(&Path, Option<Vec<u8>>)], what: &str) -> Result<Verdict, String> {
        let disk = self.disk.snapshot();
        for (path, bytes) in changes {
            match bytes {
                Some(bytes) => disk.write_file(path, bytes).unwrap(),
                None => disk.remove_file(path).unwrap(),
            }
        }
        self.judge(&disk, what)
    }

    fn bytes(&self, path: &Path) -> &[u8] {
        &self
            .files
            .iter()
            .find(|(known, _)| known == path)
            .unwrap()
            .1
    }
}

/// One damage: its kind, and what is written where.
struct Case<'a> {
    kind: &'static str,
    what: String,
    changes: Vec<(&'a Path, Option<Vec<u8>>)>,
}

/// Cases that are made by their number.
struct Cases<'a> {
    count: usize,
    make: Box<dyn Fn(usize) -> Case<'a> + 'a>,
}

/// Damages of one file that are told by a place in it and a number below `each`.
fn in_files<'a>(
    kind: &'static str,
    sample: &'a Sample,
    (step, each): (usize, usize),
    damage: impl Fn(&mut Vec<u8>, usize, usize) + 'a,
) -> Cases<'a> {
    let count_of = move |bytes: &Vec<u8>| bytes.len().div_ceil(step) * each;
    let make = move |number| {
        let mut rest: usize = number;
        for (path, bytes) in &sample.files {
            if rest >= count_of(bytes) {
                rest -= count_of(bytes);
                continue;
            }
            let (at, which) = (rest / each * step, rest % each);
            let mut changed = bytes.clone();
            damage(&mut changed, at, which);
            return Case {
                kind,
                what: format!("{kind} {} at {at}, {which}", path.display()),
                changes: vec![(path, Some(changed))],
            };
        }
        unreachable!("there are not so many cases")
    };
    Cases {
        count: sample.files.iter().map(|(_, bytes)| count_of(bytes)).sum(),
        make: Box::new(make),
    }
}

fn zero(size: usize) -> impl Fn(&mut Vec<u8>, usize, usize) {
    move |bytes, at, _| {
        let end = bytes.len().min(at + size);
        bytes[at..end].fill(0);
    }
}

/// Powers of two, one less and one more.
fn number(bytes: &mut [u8], at: usize, which: usize) {
    let power = 1_u32 << (which / 3);
    let value = power.wrapping_sub(1).wrapping_add(which as u32 % 3);
    let end = bytes.len().min(at + 4);
    bytes[at..end].copy_from_slice(&value.to_be_bytes()[..end - at]);
}

/// Every bit, every length, every number at every place, every block, every file.
fn places(sample: &Sample) -> Vec<Cases<'_>> {
    vec![
        whole_files(sample),
        in_files("zeroed 512", sample, (SECTOR, 1), zero(SECTOR)),
        in_files("zeroed 1024", sample, (SECTOR, 1), zero(2 * SECTOR)),
        in_files("zeroed 4096", sample, (SECTOR, 1), zero(PAGE)),
        older("older 512", sample, SECTOR),
        older("older 4096", sample, PAGE),
        swaps(sample),
        in_files("length", sample, (1, 1), |bytes, at, _| bytes.truncate(at)),
        in_files("bit", sample, (1, 8), |bytes, at, bit| {
            bytes[at] ^= 1 << bit;
        }),
        in_files("number", sample, (1, 96), |bytes, at, which| {
            number(bytes, at, which);
        }),
    ]
}

/// Every block replaced by each older version of itself.
fn older<'a>(kind: &'static str, sample: &'a Sample, size: usize) -> Cases<'a> {
    let all = sample.files.iter().flat_map(move |(path, bytes)| {
        let versions = sample.older.get(path).into_iter().flatten();
        versions.flat_map(move |version| {
            let places = (0..bytes.len().min(version.len())).step_by(size);
            places.map(move |at| (path.as_path(), bytes, version, at))
        })
    });
    let all: Vec<_> = all.collect();
    Cases {
        count: all.len(),
        make: Box::new(move |number| {
            let (path, bytes, version, at) = all[number];
            let mut changed = bytes.clone();
            let end = bytes.len().min(version.len()).min(at + size);
            changed[at..end].copy_from_slice(&version[at..end]);
            Case {
                kind,
                what: format!("{kind} {} at {at}", path.display()),
                changes: vec![(path, Some(changed))],
            }
        }),
    }
}

/// Every sector swapped with every other one, of the same file or another.
fn swaps(sample: &Sample) -> Cases<'_> {
    let sectors = sample.files.iter().flat_map(|(path, bytes)| {
        let places = (0..bytes.len()).step_by(SECTOR);
        places.map(move |at| (path.as_path(), at))
    });
    let all: Vec<_> = sectors.collect();
    Cases {
        count: all.len() * all.len(),
        make: Box::new(move |number| {
            let (a, b) = (all[number / all.len()], all[number % all.len()]);
            swap(sample, a, b)
        }),
    }
}

fn swap<'a>(
    sample: &'a Sample,
    (path, at): (&'a Path, usize),
    (other, other_at): (&'a Path, usize),
) -> Case<'a> {
    let mut ours = sample.bytes(path).to_vec();
    let mut theirs = sample.bytes(other).to_vec();
    let count = SECTOR.min(ours.len() - at).min(theirs.len() - other_at);
    let block = ours[at..at + count].to_vec();
    ours[at..at + count].copy_from_slice(&theirs[other_at..other_at + count]);
    let mut changes = Vec::new();
    if path == other {
        ours[other_at..other_at + count].copy_from_slice(&block);
    } else {
        theirs[other_at..other_at + count].copy_from_slice(&block);
        changes.push((other, Some(theirs)));
    }
    changes.push((path, Some(ours)));
    let (path, other) = (path.display(), other.display());
    Case {
        kind: "swapped",
        what: format!("{path} {at} with {other} {other_at}"),
        changes,
    }
}

/// Every file missing, empty, longer, all zeros, and with each other one: doubled, renamed, exchanged.
fn whole_files(sample: &Sample) -> Cases<'_> {
    let count = sample.files.len();
    let make = move |number: usize| {
        let (way, a, b) = (
            number / count / count,
            number / count % count,
            number % count,
        );
        let ((path, bytes), (other, other_bytes)) = (&sample.files[a], &sample.files[b]);
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + PAGE, 0);
        let put = |path: &'_ PathBuf, bytes: &Vec<u8>| (path.clone(), Some(bytes.clone()));
        let (kind, changes) = match (way, a == b) {
            (0, true) => ("missing", vec![(path.clone(), None)]),
            (1, true) => ("empty", vec![put(path, &Vec::new())]),
            (2, true) => ("longer", vec![put(path, &longer)]),
            (_, true) => ("hole", vec![put(path, &vec![0; bytes.len()])]),
            (0, _) => ("doubled", vec![put(path, other_bytes)]),
            (1, _) => (
                "renamed",
                vec![put(path, other_bytes), (other.clone(), None)],
            ),
            _ => ("exchanged", vec![put(path, other_bytes), put(other, bytes)]),
        };
        let at = |path: &PathBuf| sample.files.iter().position(|(known, _)| known == path);
        let changes = changes.into_iter();
        let changes = changes.map(|(path, bytes)| {
            let at = at(&path).unwrap();
            (sample.files[at].0.as_path(), bytes)
        });
        Case {
            kind,
            what: format!("{kind} {} {}", path.display(), other.display()),
            changes: changes.collect(),
        }
    };
    Cases {
        count: 4 * count * count,
        make: Box::new(make),
    }
}

/// A case in which a checkpoint and something else are damaged is two damages: a tail may be gone then, and nobody knows.
fn is_one_damage(case: &Case<'_>) -> bool {
    let checkpoints = case
        .changes
        .iter()
        .filter(|(path, _)| Sample::is_checkpoint(path));
    let count = checkpoints.count();
    count == 0 || count == case.changes.len()
}

#[test]
fn damaged_files() {
    let mut hold = Hold::begin("push/damage::damaged_files");
    let sample = sample();
    let total: usize = sample.files.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut table: BTreeMap<(&str, String), [u64; 3]> = BTreeMap::new();
    let (mut cases, mut broken) = (0, Vec::new());
    let mut is_over = false;
    for all in places(&sample) {
        // The merge-sized set is spread over all files.
        let stride = if hold.is_long() {
            1
        } else {
            (all.count / CASES).max(1)
        };
        for number in (hold.seed() as usize % stride..all.count).step_by(stride) {
            is_over = is_over || (hold.is_long() && !hold.goes_on(cases, 0));
            if is_over {
                break;
            }
            let case = (all.make)(number);
            if !is_one_damage(&case) {
                continue;
            }
            cases += 1;
            match sample.with(&case.changes, &case.what) {
                Ok(verdict) => {
                    let cell = table.entry((case.kind, place_of(case.changes[0].0)));
                    cell.or_default()[verdict as usize] += 1;
                }
                Err(error) => broken.push(error),
            }
        }
    }
    eprintln!(
        "{:10} {:24} {:>10} {:>10} {:>10}",
        "damage", "file", "harmless", "reported", "refused"
    );
    for ((kind, place), [harmless, reported, refused]) in &table {
        eprintln!("{kind:10} {place:24} {harmless:>10} {reported:>10} {refused:>10}");
    }
    for error in broken.iter().take(30) {
        eprintln!("{error}");
    }
    for (path, bytes) in &sample.files {
        eprintln!("{} of {} bytes", path.display(), bytes.len());
    }
    hold.count("cases", cases);
    hold.count("files", sample.files.len() as u64);
    hold.count("bytes", total as u64);
    hold.count("broken", broken.len() as u64);
    let replay = hold.replay(hold.seed());
    hold.end(env!("CARGO_TARGET_TMPDIR"));
    assert!(broken.is_empty(), "{} broken\n{replay}", broken.len());
}

/// Returns what kind of file a path is.
fn place_of(path: &Path) -> String {
    let parent = path.parent().and_then(Path::file_name);
    let parent = parent.map(|name| name.to_string_lossy().into_owned());
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    match path.extension() {
        Some(extension) => format!(
            "{} {}",
            parent.unwrap_or_default(),
            extension.to_string_lossy()
        ),
        None => name,
    }
}
