//! Topics: listing, creating, changing and deleting them.

use std::sync::Arc;

use storage::control::{ControlState, Durability, Entry, TopicSettings};
use storage::error::LogError;
use storage::log_id::PartitionNumber;

use super::{Broker, refusal};
use crate::causes::Causes;
use crate::config;
use crate::engine::PartitionHandle;
use crate::limits::TOPICS_PER_REQUEST_MAX;
use crate::names::TopicName;
use crate::protocol::alter_topic::AlterTopicRequest;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::delete_topic::DeleteTopicRequest;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::metadata::{
    LetterCounts, MetadataAnswer, MetadataRequest, PartitionView, TopicView,
};
use crate::protocol::settings as wire;
use crate::topic::{Topic, changed, durability_of, view_of};

impl Broker {
    /// Describes topics.
    ///
    /// # Errors
    /// [`ErrorCode::LimitExceeded`] when too many names are asked for.
    pub fn metadata(&self, request: &MetadataRequest) -> Result<MetadataAnswer, Refusal> {
        let Some(names) = &request.topics else {
            let all = self.all_topics();
            let topics = all
                .iter()
                .map(|topic| (topic.name().to_string(), Ok(topic_view(topic))));
            return Ok(MetadataAnswer {
                topics: topics.collect(),
            });
        };
        if names.len() > usize::try_from(TOPICS_PER_REQUEST_MAX).unwrap_or(usize::MAX) {
            let message = format!(
                "{} topics are asked for, at most {TOPICS_PER_REQUEST_MAX} are answered",
                names.len()
            );
            return Err(Refusal::new(ErrorCode::LimitExceeded, message));
        }
        let topics = names.iter().map(|name| {
            (
                name.clone(),
                self.topic(name).map(|topic| topic_view(&topic)),
            )
        });
        Ok(MetadataAnswer {
            topics: topics.collect(),
        })
    }

    /// Creates a topic. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidTopicName`], [`ErrorCode::TopicExists`], [`ErrorCode::InvalidSettings`], or the control log's.
    pub fn create_topic(&self, request: &CreateTopicRequest) -> Result<TopicView, Refusal> {
        let name = TopicName::parse(&request.name)
            .map_err(|error| Refusal::new(ErrorCode::InvalidTopicName, error.to_string()))?;
        let settings = changed(&self.default_settings(request.durability), &request.change)?;
        if request.partition_count == 0 {
            return Err(Refusal::new(
                ErrorCode::InvalidSettings,
                "a topic needs at least 1 partition, 0 were asked for",
            ));
        }
        let _changing = self.changing_topics.lock();
        self.end_unopened(&request.name)?;
        let numbers = self.control.change(self.clock.now(), |state| {
            if state.topic(&request.name).is_some() {
                return Err(Refusal::new(
                    ErrorCode::TopicExists,
                    format!("there is a topic {name} already"),
                ));
            }
            let partitions = numbers(state, request.partition_count)?;
            let entry = Entry::TopicCreated {
                name: name.to_string(),
                settings,
                partitions: partitions.clone(),
            };
            Ok((entry, partitions))
        })?;
        let partitions = self
            .open_partitions(&name, &numbers, &settings)
            .map_err(|error| self.take_back(&name, &error))?;
        let topic = Arc::new(Topic::new(name.clone(), settings, partitions));
        self.topics.write().insert(name, Arc::clone(&topic));
        Ok(topic_view(&topic))
    }

    /// Takes back the creation of a topic whose partitions could not be opened, so that its name is free again.
    fn take_back(&self, name: &TopicName, error: &LogError) -> Refusal {
        if let Err(refusal) = self.end_unopened(name.as_str()) {
            tracing::warn!(topic = %name, error = %refusal.message, "a topic that could not be opened stands until it is created again or the next start");
        }
        refusal::of_log(error)
    }

    /// Deletes a topic that is stored and not served: its creation failed, and could not be taken back then.
    fn end_unopened(&self, name: &str) -> Result<(), Refusal> {
        if self.topic(name).is_ok() {
            return Ok(());
        }
        let stored = |state: &ControlState| state.topic(name).map(|topic| topic.partitions.clone());
        let Some(numbers) = self.control.look(stored) else {
            return Ok(());
        };
        let name = name.to_owned();
        self.control
            .change(self.clock.now(), |_| Ok((Entry::TopicDeleted { name }, ())))?;
        self.forget_partitions(&numbers);
        Ok(())
    }

    /// Changes a topic's settings and adds partitions. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`], [`ErrorCode::ReservedTopic`], [`ErrorCode::InvalidSettings`] (also for fewer partitions), or
    /// the control log's.
    pub fn alter_topic(&self, request: &AlterTopicRequest) -> Result<TopicView, Refusal> {
        let _changing = self.changing_topics.lock();
        let topic = self.topic(&request.name)?;
        // Names of queues and schedules lead to partitions by their count.
        refuse_reserved(&topic, "its settings are those of the configuration")?;
        let settings = changed(&topic.settings(), &request.change)?;
        let now = self.clock.now();
        let have = topic.partitions().len();
        let want = request
            .partition_count
            .map_or(have, |count| usize::try_from(count).unwrap_or(usize::MAX));
        if want < have {
            let message = format!(
                "topic {} has {have} partitions, {want} were asked for; partitions are never removed",
                topic.name()
            );
            return Err(Refusal::new(ErrorCode::InvalidSettings, message));
        }
        if settings != topic.settings() {
            let name = topic.name().to_string();
            self.control
                .change(now, |_| Ok((Entry::TopicAltered { name, settings }, ())))?;
            topic.set_settings(settings);
        }
        if want > have {
            self.add_partitions(&topic, &settings, (have, want))?;
        }
        Ok(topic_view(&topic))
    }

    /// Adds partitions behind the `have` that are served, until there are `want`. Those that an earlier call added and could not
    /// open come first: an index means the same partition now and after a restart.
    fn add_partitions(
        &self,
        topic: &Topic,
        settings: &TopicSettings,
        (have, want): (usize, usize),
    ) -> Result<(), Refusal> {
        let name = topic.name().as_str();
        let stored = |state: &ControlState| {
            let partitions = state.topic(name).map(|topic| topic.partitions.clone());
            partitions.unwrap_or_default()
        };
        let known = self.control.look(stored).len();
        if want > known {
            let count = u32::try_from(want.saturating_sub(known)).unwrap_or(u32::MAX);
            self.control.change(self.clock.now(), |state| {
                let entry = Entry::PartitionsAdded {
                    name: name.to_owned(),
                    partitions: numbers(state, count)?,
                };
                Ok((entry, ()))
            })?;
        }
        let all = self.control.look(stored);
        let added = self
            .open_partitions(topic.name(), all.get(have..).unwrap_or_default(), settings)
            .map_err(|error| refusal::of_log(&error))?;
        topic.add_partitions(added);
        Ok(())
    }

    /// Deletes a topic. The control log's entry is the commit point; the files go after it. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::TopicInUse`] with the counts, unless forced; [`ErrorCode::ReservedTopic`]; [`ErrorCode::UnknownTopic`].
    pub fn delete_topic(&self, request: &DeleteTopicRequest) -> Result<(), Refusal> {
        let _changing = self.changing_topics.lock();
        self.end_unopened(&request.name)?;
        let topic = self.topic(&request.name)?;
        refuse_reserved(&topic, "it cannot be deleted")?;
        let live: u64 = topic
            .partitions()
            .iter()
            .map(|partition| letter_counts(partition).live)
            .sum();
        let numbers = self.control.change(self.clock.now(), |state| {
            let groups = state.groups_of_topic(&request.name).count();
            if !request.force && (live > 0 || groups > 0) {
                let message = format!(
                    "topic {} has {}; force the deletion to lose them",
                    topic.name(),
                    what_is_lost(live, groups)
                );
                return Err(Refusal::new(ErrorCode::TopicInUse, message));
            }
            let numbers = state
                .topic(&request.name)
                .map(|topic| topic.partitions.clone())
                .unwrap_or_default();
            Ok((
                Entry::TopicDeleted {
                    name: request.name.clone(),
                },
                numbers,
            ))
        })?;
        self.forget_topic(&topic);
        self.forget_partitions(&numbers);
        Ok(())
    }

    /// Takes a deleted topic out of the map. Its letters stay among those that there ever were; the live ones are deleted.
    fn forget_topic(&self, topic: &Topic) {
        let mut gone = self.gone_letters.lock();
        self.topics.write().remove(topic.name().as_str());
        for partition in topic.partitions().iter() {
            let counts = letter_counts(partition);
            *gone += LetterCounts {
                live: 0,
                deleted: counts.deleted.saturating_add(counts.live),
                ..counts
            };
        }
    }

    /// Forgets what a deleted topic's partitions hold, and unlinks it.
    fn forget_partitions(&self, numbers: &[PartitionNumber]) {
        // Retention that has begun ends first: it would store a checkpoint again.
        let _no_retention = self.retaining.lock();
        let mut checkpoints = self.checkpoints.lock();
        for number in numbers {
            checkpoints.remove(*number);
            // What stays behind goes when the broker is opened next: the control log has decided.
            if let Err(error) = self.unlink_partition(*number) {
                tracing::warn!(partition = number.0, error = %Causes(&error), "a deleted partition's files stay until the next start");
            }
        }
    }

    /// Returns the settings of a topic that names none.
    fn default_settings(&self, durability: wire::Durability) -> TopicSettings {
        let defaults = &self.defaults;
        TopicSettings {
            durability: match durability {
                wire::Durability::Synced => Durability::Synced,
                wire::Durability::Written => Durability::Written,
            },
            segment_bytes: defaults.segment_bytes,
            segment_ms: defaults.segment_ms,
            retention_ms: defaults.retention_ms,
            retention_bytes: defaults.retention_bytes,
            dead_letter_retention_ms: defaults.dead_letter_retention_ms,
            dead_letter_retention_bytes: defaults.dead_letter_retention_bytes,
            record_bytes_max: defaults.record_bytes_max,
            batch_bytes_max: defaults.batch_bytes_max,
        }
    }

    /// Returns the durability of a topic that names none.
    #[must_use]
    pub fn default_durability(&self) -> wire::Durability {
        match self.defaults.durability {
            config::Durability::Synced => wire::Durability::Synced,
            config::Durability::Written => wire::Durability::Written,
        }
    }
}

fn numbers(state: &ControlState, count: u32) -> Result<Vec<PartitionNumber>, Refusal> {
    state.next_partitions(count).ok_or_else(|| {
        let message = format!("{count} partitions are more than the broker has numbers for");
        Refusal::new(ErrorCode::InvalidSettings, message)
    })
}

/// Says what stands against deleting a topic; one of the two is not 0.
fn what_is_lost(live: u64, groups: usize) -> String {
    let ending = |is_one: bool| if is_one { "" } else { "s" };
    let letters = (live > 0).then(|| format!("{live} live dead letter{}", ending(live == 1)));
    let offsets =
        (groups > 0).then(|| format!("committed offsets of {groups} group{}", ending(groups == 1)));
    let lost: Vec<_> = letters.into_iter().chain(offsets).collect();
    lost.join(" and ")
}

/// Refuses what is only the broker's to do with a topic of its own.
fn refuse_reserved(topic: &Topic, why: &str) -> Result<(), Refusal> {
    if !topic.name().is_internal() {
        return Ok(());
    }
    let message = format!("topic {} belongs to the broker: {why}", topic.name());
    Err(Refusal::new(ErrorCode::ReservedTopic, message))
}

/// Returns a topic as answers show it.
pub(super) fn topic_view(topic: &Topic) -> TopicView {
    let settings = topic.settings();
    let partitions = topic.partitions();
    let views = (0u32..)
        .zip(partitions.iter())
        .map(|(index, partition)| partition_view(index, partition));
    TopicView {
        name: topic.name().to_string(),
        durability: durability_of(&settings),
        settings: view_of(&settings),
        partitions: views.collect(),
    }
}

pub(super) fn partition_view(index: u32, partition: &PartitionHandle) -> PartitionView {
    let reader = partition.reader();
    // The ends first: none may pass what is read after it.
    let log_start_offset = reader.log_start();
    let high_watermark = reader.high_watermark();
    PartitionView {
        index,
        number: partition.number().0,
        log_start_offset,
        high_watermark,
        log_end_offset: reader.log_end(),
        letters: letter_counts(partition),
    }
}

pub(super) fn letter_counts(partition: &PartitionHandle) -> LetterCounts {
    let owner = partition.owner().lock();
    let Some(dead_letters) = owner.dead_letters() else {
        return LetterCounts::default();
    };
    let counts = dead_letters.counts();
    // A republish counts from its commit on, also while its marker is still due.
    let committed = owner.committed_count();
    LetterCounts {
        live: dead_letters.live_count().saturating_sub(committed),
        republished: counts.republished.saturating_add(committed),
        deleted: counts.deleted,
        expired: counts.expired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_against_a_deletion_is_named_and_nothing_else() {
        assert_eq!(what_is_lost(1, 0), "1 live dead letter");
        assert_eq!(what_is_lost(0, 1), "committed offsets of 1 group");
        assert_eq!(
            what_is_lost(2, 2),
            "2 live dead letters and committed offsets of 2 groups"
        );
    }
}
