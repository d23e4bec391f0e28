//! Topics: a name, settings, and partitions behind handles.

pub mod partitioner;
mod settings;

use std::sync::Arc;

use parking_lot::RwLock;
use storage::control::TopicSettings;
use storage::log::{LogConfig, RetentionPolicy, Visibility};
use storage::partition::PartitionRetention;
use storage::producers::ProducerLimits;

use crate::engine::PartitionHandle;
use crate::names::TopicName;

pub use settings::{changed, durability_of, view_of};

/// The reserved topic whose records are pushed.
pub const PUSH_TOPIC: &str = "_push";

/// A topic.
#[derive(Debug)]
pub struct Topic {
    name: TopicName,
    settings: RwLock<TopicSettings>,
    partitions: RwLock<Arc<Vec<Arc<PartitionHandle>>>>,
}

impl Topic {
    /// Makes a topic of its parts; the partitions are in the order of their index.
    #[must_use]
    pub fn new(
        name: TopicName,
        settings: TopicSettings,
        partitions: Vec<Arc<PartitionHandle>>,
    ) -> Self {
        Self {
            name,
            settings: RwLock::new(settings),
            partitions: RwLock::new(Arc::new(partitions)),
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// Returns the settings as they are now.
    #[must_use]
    pub fn settings(&self) -> TopicSettings {
        *self.settings.read()
    }

    /// Takes new settings, which stand in the control log already.
    pub fn set_settings(&self, settings: TopicSettings) {
        *self.settings.write() = settings;
        for partition in self.partitions().iter() {
            let mut owner = partition.owner().lock();
            owner.reconfigure(
                &main_config(&settings),
                &dead_letter_config(&settings),
                ProducerLimits::of_retention(settings.retention_ms),
            );
            owner.reconfigure_delivery(&delivery_config(&settings));
        }
    }

    /// Returns the partitions, in the order of their index.
    #[must_use]
    pub fn partitions(&self) -> Arc<Vec<Arc<PartitionHandle>>> {
        Arc::clone(&self.partitions.read())
    }

    /// Returns the partition with this index.
    #[must_use]
    pub fn partition(&self, index: u32) -> Option<Arc<PartitionHandle>> {
        self.partitions
            .read()
            .get(usize::try_from(index).ok()?)
            .cloned()
    }

    /// Adds partitions behind the ones there are.
    pub fn add_partitions(&self, added: Vec<Arc<PartitionHandle>>) {
        let mut partitions = self.partitions.write();
        let mut all = partitions.as_ref().clone();
        all.extend(added);
        *partitions = Arc::new(all);
    }

    /// Returns how long the partitions keep what they hold.
    #[must_use]
    pub fn retention(&self) -> PartitionRetention {
        let settings = self.settings();
        PartitionRetention {
            main: RetentionPolicy {
                retention_ms: settings.retention_ms,
                retention_bytes: settings.retention_bytes,
            },
            dead_letters: RetentionPolicy {
                retention_ms: settings.dead_letter_retention_ms,
                retention_bytes: settings.dead_letter_retention_bytes,
            },
            // The events of messages can be looked at as long as the messages themselves.
            delivery: RetentionPolicy {
                retention_ms: settings.retention_ms,
                retention_bytes: settings.retention_bytes,
            },
        }
    }
}

/// Returns how the main logs of a topic behave. Gaps are the partition's own.
#[must_use]
pub fn main_config(settings: &TopicSettings) -> LogConfig {
    LogConfig {
        segment_bytes: settings.segment_bytes,
        segment_ms: settings.segment_ms,
        batch_bytes_max: settings.batch_bytes_max,
        visibility: visibility(settings),
        gaps: Vec::new(),
    }
}

/// Returns how the dead-letter logs of a topic behave: always synced, with room for a letter of the largest record.
#[must_use]
pub fn dead_letter_config(settings: &TopicSettings) -> LogConfig {
    let letter_bytes = settings
        .record_bytes_max
        .saturating_add(storage::limits::LETTER_OVERHEAD_BYTES);
    LogConfig {
        visibility: Visibility::Synced,
        batch_bytes_max: settings
            .batch_bytes_max
            .max(letter_bytes)
            .min(storage::limits::BATCH_BYTES_CEILING),
        ..main_config(settings)
    }
}

/// Returns how the delivery logs of a topic behave: always synced, with room for a copy of the largest record.
#[must_use]
pub fn delivery_config(settings: &TopicSettings) -> LogConfig {
    LogConfig {
        segment_bytes: storage::delivery::limits::DELIVERY_SEGMENT_BYTES,
        ..dead_letter_config(settings)
    }
}

/// Returns when readers see what is appended.
#[must_use]
pub fn visibility(settings: &TopicSettings) -> Visibility {
    match settings.durability {
        storage::control::Durability::Synced => Visibility::Synced,
        storage::control::Durability::Written => Visibility::Written,
    }
}
