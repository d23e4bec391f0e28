//! Appending with rolls where they are needed, for those who append to a partition by themselves.

use std::sync::Arc;

use storage::error::LogError;
use storage::log::LogReader;
use storage::log_id::LogKind;
use storage::offset::TimestampMs;
use storage::partition::Partition;

use super::PartitionHandle;

impl PartitionHandle {
    /// Calls `append` under the owner's lock with the time, and again behind a roll of the log of this kind as often as it asks
    /// for one. The caller then schedules the sync that it needs.
    ///
    /// # Errors
    /// Those of `append`, and of the roll.
    pub async fn with_room<T>(
        self: &Arc<Self>,
        kind: LogKind,
        now: &(dyn Fn() -> TimestampMs + Sync),
        mut append: impl FnMut(&mut Partition, TimestampMs) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        loop {
            let time = now();
            let appended = append(&mut self.owner().lock(), time);
            match appended {
                Err(LogError::Rolling { .. }) => self.roll_of(kind, time).await?,
                appended => return appended,
            }
        }
    }

    /// Returns readers of the logs that are there.
    #[must_use]
    pub fn readers(&self) -> Vec<(LogKind, LogReader)> {
        let kinds = [LogKind::Main, LogKind::DeadLetter, LogKind::Delivery];
        let mut owner = self.owner().lock();
        let readers = kinds.map(|kind| Some((kind, owner.log_mut(kind)?.reader())));
        readers.into_iter().flatten().collect()
    }

    /// Returns the reader of the delivery log; `None` before its first entry.
    #[must_use]
    pub fn delivery_reader(&self) -> Option<LogReader> {
        let owner = self.owner().lock();
        let log = owner.delivery_log()?.log()?;
        Some(log.reader())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use storage::delivery::{Entry, Envelope};
    use storage::disk::sim::SimDisk;
    use storage::log::{LogConfig, Visibility};
    use storage::log_id::PartitionNumber;
    use storage::offset::Offset;
    use storage::partition::{
        NewMessage, PartitionConfig, PartitionHints, PartitionPlace, PushUpkeep,
    };

    use super::*;
    use crate::engine::{DurabilityWanted, WorkPool};
    use crate::metrics::Metrics;

    const NOW: TimestampMs = TimestampMs(1_000);
    const TASKS: u64 = 6;
    const EACH: u64 = 40;

    fn open(disk: &SimDisk) -> Partition {
        let place = PartitionPlace {
            disk: Arc::new(disk.clone()),
            root: "/data".into(),
            number: PartitionNumber(1),
        };
        let small = LogConfig {
            segment_bytes: 4096,
            ..LogConfig::default()
        };
        let config = PartitionConfig {
            main: small.clone(),
            dead_letters: small.clone(),
            delivery: Some(small),
            ..PartitionConfig::default()
        };
        let hints = PartitionHints::default();
        Partition::open(&place, config, &hints, NOW).unwrap().0
    }

    async fn publish(handle: &Arc<PartitionHandle>) -> Offset {
        let message = NewMessage {
            timestamp: NOW,
            body: bytes::Bytes::from_static(b"body"),
            envelope: Envelope {
                url: "http://host/".to_owned(),
                method: "POST".to_owned(),
                ..Envelope::default()
            },
            cause: None,
        };
        let messages = [message];
        let appended = handle
            .with_room(LogKind::Main, &|| NOW, |owner, now| {
                owner.append_messages(&messages, now)
            })
            .await
            .unwrap();
        handle.start_sync(DurabilityWanted::Synced, false);
        let end = appended.next_offset;
        handle.wait_durable_of(LogKind::Main, end).await.unwrap();
        appended.base_offset
    }

    async fn cancel(handle: &Arc<PartitionHandle>, message: Offset) {
        let entry = [Entry::Cancelled { message, time: NOW }];
        let appended = handle
            .with_room(LogKind::Delivery, &|| NOW, |owner, now| {
                owner.append_entries(&entry, now)
            })
            .await
            .unwrap();
        handle.schedule_sync(LogKind::Delivery);
        let end = appended.next_offset;
        let synced = handle.wait_durable_of(LogKind::Delivery, end).await;
        synced.unwrap();
    }

    fn keep_up(handle: &PartitionHandle) {
        let upkeep = PushUpkeep {
            owner: handle.owner(),
            now: &|| NOW,
            wait: &std::thread::yield_now,
            rolled: &|kind| handle.notify(kind),
        };
        for _ in 0..20 {
            upkeep.snapshot().unwrap();
            handle.notify(LogKind::Delivery);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn publishers_an_engine_and_the_upkeep_do_not_stand_in_each_others_way() {
        let disk = SimDisk::new(7);
        disk.write_file(Path::new("/data/.made"), b"").unwrap();
        let pool = WorkPool::start(2).unwrap();
        let metrics = Arc::new(Metrics::new());
        let handle = PartitionHandle::new(open(&disk), Visibility::Synced, pool, metrics);
        let kept = {
            let handle = Arc::clone(&handle);
            tokio::task::spawn_blocking(move || keep_up(&handle))
        };
        let work = (0..TASKS).map(|_| {
            let handle = Arc::clone(&handle);
            tokio::spawn(async move {
                for _ in 0..EACH {
                    let message = publish(&handle).await;
                    cancel(&handle, message).await;
                }
            })
        });
        let work: Vec<_> = work.collect();
        // It is what makes a hang a failure.
        let all = async {
            for task in work {
                task.await.unwrap();
            }
            kept.await.unwrap();
        };
        tokio::time::timeout(Duration::from_mins(1), all)
            .await
            .unwrap();
        let count = |partition: &Partition| partition.delivery().unwrap().counts();
        let counts = count(&handle.owner().lock());
        assert_eq!(
            (counts.accepted, counts.cancelled),
            (TASKS * EACH, TASKS * EACH)
        );
        assert_eq!(count(&open(&disk.restart_process())), counts);
    }
}
