//! A broker's use of its control log: changes, snapshots when they are due, the head deleted behind them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use storage::checkpoint::CheckpointStore;
use storage::control::push::{
    Endpoint, FlowOverride, PushEntry, Queue, Schedule, SigningKey, SigningKeys, UrlGroup,
};
use storage::control::{
    Commit, ControlConfig, ControlError, ControlLog, ControlState, Entry, TopicSettings,
};
use storage::disk::Disk;
use storage::disk::sim::SimDisk;
use storage::log_id::PartitionNumber;
use storage::offset::{Offset, TimestampMs};

pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// A segment holds a few changes, and every few segments there is a snapshot.
pub(crate) const SMALL: ControlConfig = ControlConfig {
    segment_bytes: 1500,
    snapshot_bytes: 2000,
};

pub(crate) fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.write_file(Path::new("/data/format"), b"1").unwrap();
    disk
}

pub(crate) struct Machine {
    pub(crate) control: ControlLog,
    store: CheckpointStore,
}

impl Machine {
    pub(crate) fn start(disk: Arc<dyn Disk>, config: ControlConfig) -> Result<Self, ControlError> {
        let root = Path::new("/data");
        let slots = ["checkpoint-0", "checkpoint-1"].map(|name| root.join(name));
        let (store, entries) = CheckpointStore::open(disk.as_ref(), slots)?;
        let (control, _) = ControlLog::open_with(disk, root, config, entries.first(), NOW)?;
        Ok(Self { control, store })
    }

    /// Makes the changes as one, then what a broker does behind its answer. The second result is that of the rest.
    pub(crate) fn change(
        &mut self,
        entries: &[Entry],
    ) -> Result<Result<(), ControlError>, ControlError> {
        self.control.change_all(entries, NOW)?;
        Ok(self.delete_head())
    }

    fn delete_head(&mut self) -> Result<(), ControlError> {
        let Some(start) = self.control.head_to_delete() else {
            return Ok(());
        };
        let mut checkpoint = self.control.checkpoint();
        if self.control.poison().is_some() {
            return Ok(());
        }
        let durable_end = self.control.reader().durable_end();
        assert_eq!(
            durable_end, checkpoint.durable_end,
            "something waits for a sync"
        );
        checkpoint.log_start = start;
        self.store.write(&[checkpoint])?;
        self.control.apply_log_start(start).run()?;
        Ok(())
    }
}

/// The segment files of the control log.
pub(crate) fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|e| e == "log");
    disk.paths().into_iter().filter(is_log).collect()
}

pub(crate) fn committed(group: &str, partition: u32, offset: u64, metadata: String) -> Entry {
    Entry::OffsetsCommitted {
        group: group.to_owned(),
        time: NOW,
        commits: vec![Commit {
            partition: PartitionNumber(partition),
            offset: Offset(offset),
            metadata,
        }],
    }
}

pub(crate) fn created(name: &str, partitions: &[u32]) -> Entry {
    Entry::TopicCreated {
        name: name.to_owned(),
        settings: TopicSettings::default(),
        partitions: partitions.iter().copied().map(PartitionNumber).collect(),
    }
}

fn schedule(number: u64, body: &'static [u8]) -> PushEntry {
    PushEntry::ScheduleSet {
        id: "nightly".to_owned(),
        schedule: Schedule {
            number,
            cron: "0 0 * * *".to_owned(),
            destination: "shops".to_owned(),
            created: NOW,
            since: NOW,
            is_paused: false,
            queue: Some("mail".to_owned()),
            envelope: Bytes::from_static(b"envelope"),
            body: Bytes::from_static(body),
            caller_ip: None,
        },
    }
}

fn queue(parallelism: u32) -> PushEntry {
    PushEntry::QueueSet {
        name: "mail".to_owned(),
        queue: Queue {
            parallelism,
            is_paused: parallelism > 1,
            created: NOW,
            updated: NOW,
        },
    }
}

fn url_group(urls: &[&str]) -> PushEntry {
    PushEntry::UrlGroupSet {
        name: "shops".to_owned(),
        group: UrlGroup {
            created: NOW,
            updated: NOW,
            endpoints: urls
                .iter()
                .map(|url| Endpoint {
                    name: None,
                    url: (*url).to_owned(),
                })
                .collect(),
        },
    }
}

fn flow_key(rate: Option<u32>) -> PushEntry {
    PushEntry::FlowKeySet {
        key: "tenant".to_owned(),
        flow: FlowOverride {
            is_paused: true,
            rate,
            ..FlowOverride::default()
        },
    }
}

/// What deliveries go by, in rounds of three changes: all of it is set, changed, and deleted but for the signing keys.
fn push_change(at: u64) -> Vec<Entry> {
    let (round, step) = (at / 3, at % 3);
    let text = |text: &str| text.to_owned();
    let entries = match step {
        0 => vec![
            queue(1),
            url_group(&["https://one.example"]),
            schedule(round, b"body"),
            flow_key(None),
            PushEntry::SigningKeysSet(SigningKeys {
                current: SigningKey::new(format!("sig_{round}")),
                next: SigningKey::new(format!("sig_{}", round + 1)),
            }),
        ],
        1 => vec![
            queue(2),
            url_group(&["https://one.example", "https://two.example"]),
            schedule(round, b"another body"),
            PushEntry::SchedulePaused {
                id: text("nightly"),
                is_paused: true,
                time: NOW,
            },
            flow_key(Some(3)),
        ],
        _ => vec![
            PushEntry::QueueDeleted { name: text("mail") },
            PushEntry::UrlGroupDeleted {
                name: text("shops"),
            },
            PushEntry::ScheduleDeleted {
                id: text("nightly"),
            },
            PushEntry::FlowKeyCleared {
                key: text("tenant"),
            },
        ],
    };
    entries.into_iter().map(Entry::Push).collect()
}

/// Changes of several kinds; some of one entry, some of several, among them ones that build on each other.
pub(crate) fn workload(count: u64, metadata_bytes: usize) -> Vec<Vec<Entry>> {
    let mut changes = vec![vec![created("flights", &[1, 2])]];
    for at in 1..count {
        let commit = |group: u64, partition| {
            let metadata = "m".repeat(metadata_bytes);
            committed(&format!("group-{}", group % 4), partition, at, metadata)
        };
        changes.push(match at % 7 {
            0 => vec![Entry::ProducerIdBlock {
                first: at * 1000,
                count: 1000,
            }],
            3 => {
                let name = format!("topic-{at}");
                let number = u32::try_from(at).unwrap() + 2;
                let commit = committed("late", number, at, String::new());
                vec![created(&name, &[number]), commit]
            }
            5 => vec![Entry::TopicDeleted {
                name: format!("topic-{}", at - 2),
            }],
            1 => push_change(at / 7),
            _ => (0..=at % 5)
                .map(|g| commit(g, 1 + u32::try_from(g % 2).unwrap()))
                .collect(),
        });
    }
    changes
}

/// The state after each number of changes.
pub(crate) fn states(changes: &[Vec<Entry>]) -> Vec<ControlState> {
    let mut states = vec![ControlState::default()];
    for change in changes {
        let mut state = states.last().unwrap().clone();
        for entry in change {
            state.apply(entry).unwrap();
        }
        states.push(state);
    }
    states
}
