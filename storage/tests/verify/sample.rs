//! A data directory with everything in it, made as a broker makes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::batch::{BatchBuilder, BatchLimits, BrokerMark, BuildOptions, Codec, Record};
use storage::checkpoint::{CheckpointStore, LogCheckpoint};
use storage::control::{ControlLog, Entry, TopicSettings};
use storage::data_dir::{self, DataDir};
use storage::disk::Disk;
use storage::log::{Gap, LogConfig, ReadBound};
use storage::log_id::{LogId, LogKind, PartitionNumber};
use storage::offset::{Offset, TimestampMs};
use storage::partition::{
    Hooks, Partition, PartitionConfig, PartitionHints, PartitionPlace, PartitionReport,
    RecentBatches, Rejection, Resolver, Who, prepare_letter,
};

pub(crate) const NOW: TimestampMs = TimestampMs(1_000_000);
pub(crate) const NUMBER: PartitionNumber = PartitionNumber(1);
pub(crate) const MAIN: LogId = LogId::new(NUMBER, LogKind::Main);
pub(crate) const DELIVERIES: LogId = LogId::new(NUMBER, LogKind::Delivery);
pub(crate) const LETTERS: LogId = LogId::new(NUMBER, LogKind::DeadLetter);

/// A directory that is open, as a broker has it.
pub(crate) struct Open {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    pub(crate) control: ControlLog,
    pub(crate) owner: Mutex<Partition>,
    pub(crate) report: PartitionReport,
    _data_dir: DataDir,
}

fn hints(disk: &dyn Disk, root: &Path) -> Vec<LogCheckpoint> {
    CheckpointStore::open(disk, data_dir::checkpoint_paths(root, 0))
        .unwrap()
        .1
}

impl Open {
    pub(crate) fn new(disk: &Arc<dyn Disk>, root: &Path) -> Self {
        Self::with(disk, root, false)
    }

    /// As [`Open::new`], of a topic whose records are pushed.
    pub(crate) fn pushed(disk: &Arc<dyn Disk>, root: &Path) -> Self {
        Self::with(disk, root, true)
    }

    fn with(disk: &Arc<dyn Disk>, root: &Path, is_pushed: bool) -> Self {
        let data_dir = DataDir::open(disk.as_ref(), root, "test", 1).unwrap();
        let hints = hints(disk.as_ref(), root);
        let hint = |id: LogId| hints.iter().find(|hint| hint.id == id).cloned();
        let control_hint = hint(LogId::CONTROL);
        let (mut control, _) =
            ControlLog::open(Arc::clone(disk), root, control_hint.as_ref(), NOW).unwrap();
        if control.state().topic("t").is_none() {
            let topic = Entry::TopicCreated {
                name: "t".to_owned(),
                settings: TopicSettings::default(),
                partitions: vec![NUMBER],
            };
            control.change(&topic, NOW).unwrap();
        }
        let config = |log| LogConfig {
            segment_bytes: 4096,
            gaps: control
                .state()
                .gaps_of(log)
                .map(|gap| Gap {
                    from: gap.from,
                    to: gap.to,
                })
                .collect(),
            ..LogConfig::default()
        };
        let config = PartitionConfig {
            main: config(MAIN),
            dead_letters: config(LETTERS),
            delivery: is_pushed.then(|| config(DELIVERIES)),
            ..PartitionConfig::default()
        };
        let place = PartitionPlace {
            disk: Arc::clone(disk),
            root: root.to_path_buf(),
            number: NUMBER,
        };
        let partition_hints = PartitionHints {
            main: hint(MAIN),
            dead_letters: hint(LETTERS),
            delivery: hint(DELIVERIES),
        };
        let (partition, report) = Partition::open(&place, config, &partition_hints, NOW).unwrap();
        Self {
            disk: Arc::clone(disk),
            root: root.to_path_buf(),
            control,
            owner: Mutex::new(partition),
            report,
            _data_dir: data_dir,
        }
    }

    pub(crate) fn produce(&self, count: usize, codec: Codec) -> Offset {
        let base = self.write(count, codec);
        self.sync();
        base
    }

    pub(crate) fn sync(&self) {
        let mut owner = self.owner.lock();
        owner.main_mut().begin_sync().unwrap().run().unwrap();
    }

    /// Appends a batch and does not sync it.
    pub(crate) fn write(&self, count: usize, codec: Codec) -> Offset {
        let mut builder = BatchBuilder::new(codec);
        for number in 0..count {
            let record = Record {
                timestamp: NOW,
                key: None,
                value: Some(Bytes::from(vec![u8::try_from(number).unwrap(); 150])),
                headers: Vec::new(),
            };
            builder.push(&record.as_new(&[])).unwrap();
        }
        let options = BuildOptions {
            producer: None,
            broker: BrokerMark::Client,
        };
        let mut batch = builder.build(options).unwrap();
        let header = storage::batch::check_produced(&batch, &BatchLimits::default()).unwrap();
        let mut owner = self.owner.lock();
        if owner.main().needs_roll(u64::from(header.length), NOW) {
            owner.main_mut().roll().unwrap();
        }
        let appended = owner.main_mut().append(&header, &mut batch, NOW).unwrap();
        appended.base_offset
    }

    pub(crate) fn resolver(&self) -> Resolver<'_> {
        Resolver {
            owner: &self.owner,
            who: Who {
                name: "tester",
                request_id: None,
            },
            hooks: Hooks {
                now: &|| NOW,
                after: &|_| {},
                wait: &std::thread::yield_now,
            },
        }
    }

    pub(crate) fn reject(&self, offset: Offset) -> Offset {
        let rejection = Rejection {
            topic: "t",
            partition_index: 0,
            group: "g",
            offset,
            reason: "it does not parse",
            details: None,
        };
        let reader = self.owner.lock().main().reader();
        let letter =
            prepare_letter(&reader, &mut RecentBatches::default(), &rejection, NOW).unwrap();
        let (outcomes, _) = self.resolver().reject(&[letter]);
        outcomes[0].letter()
    }

    pub(crate) fn republish(&self, letter: Offset, with_marker: bool) {
        let view = self.owner.lock().dead_letters().unwrap().view();
        let letter = (letter, view.get(letter).unwrap().unwrap());
        let (_, committed) = self.resolver().republish(&[letter]);
        if with_marker {
            self.resolver().finish(&[committed.unwrap()]).unwrap();
        }
    }

    /// Stores a checkpoint of everything.
    pub(crate) fn checkpoint(&self) {
        let paths = data_dir::checkpoint_paths(&self.root, 0);
        let (mut store, _) = CheckpointStore::open(self.disk.as_ref(), paths).unwrap();
        let owner = self.owner.lock();
        let mut entries = vec![self.control.checkpoint(), owner.main_checkpoint()];
        entries.extend(owner.dead_letter_checkpoint());
        entries.extend(owner.delivery_checkpoint());
        store.write(&entries).unwrap();
    }

    /// Returns the offsets of the main log that can be read, one by one.
    pub(crate) fn readable(&self) -> Vec<u64> {
        let reader = self.owner.lock().main().reader();
        let mut next = reader.log_start();
        let mut all = Vec::new();
        while next < reader.log_end() {
            let Ok(batch) = reader.batch_at(next, ReadBound::HighWatermark) else {
                next = next.next();
                continue;
            };
            let header = batch.header();
            all.extend(header.base_offset.0.max(next.0)..header.next_offset().0);
            next = header.next_offset();
        }
        all
    }
}

/// Makes a directory with several segments, letters in every state, and a checkpoint; the last appends lie above it.
pub(crate) fn fill(disk: &Arc<dyn Disk>, root: &Path) {
    let open = Open::new(disk, root);
    let codecs = [Codec::None, Codec::Lz4, Codec::Zstd];
    for number in 0..18 {
        let offset = open.produce(1 + number % 4, codecs[number % 3]);
        let letter = open.reject(offset);
        match number % 4 {
            0 => open.republish(letter, true),
            1 => assert_eq!(open.resolver().delete(&[letter]).letters.len(), 1),
            _ => {}
        }
        if number == 15 {
            open.checkpoint();
        }
    }
    for _ in 0..6 {
        open.produce(2, Codec::None);
    }
}
