//! Tests of the memory of producers: against a model that keeps the whole log, and one by one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod encoding;
mod forgetting;
mod random;
mod verdicts;

use super::*;
use crate::batch::header::{Attributes, HEADER_BYTES_U32};
use crate::log_id::{LogId, LogKind, PartitionNumber};

const SMALL: ProducerLimits = ProducerLimits {
    memory_ms: 1_000,
    producer_count_max: 3,
};

fn producer(id: u64, epoch: u16, base_sequence: u32) -> Producer {
    Producer {
        id,
        epoch,
        base_sequence,
    }
}

fn header(producer: Producer, record_count: u32, base_offset: u64, now: i64) -> BatchHeader {
    BatchHeader {
        log: Some(LogId::new(PartitionNumber(1), LogKind::Main)),
        attributes: Attributes::default(),
        length: HEADER_BYTES_U32,
        base_offset: Offset(base_offset),
        record_count,
        unpacked_bytes: 0,
        producer: Some(producer),
        body_crc: 0,
        first_timestamp: TimestampMs(0),
        max_timestamp: TimestampMs(0),
        append_time: TimestampMs(now),
        prev_header_crc: 0,
        durable_up_to: Offset(0),
        header_crc: 0,
    }
}

/// A log with its memory, appended to as a partition does.
struct Partition {
    producers: Producers,
    log: Vec<BatchHeader>,
    log_start: Offset,
    end: u64,
    now: i64,
}

impl Partition {
    fn new(limits: ProducerLimits) -> Self {
        Self {
            producers: Producers::new(limits),
            log: Vec::new(),
            log_start: Offset(0),
            end: 100,
            now: 1_000_000,
        }
    }

    fn check(&self, id: u64, epoch: u16, sequence: u32, count: u32) -> Verdict {
        let now = TimestampMs(self.now);
        self.producers
            .check(&producer(id, epoch, sequence), count, now)
    }

    fn produce(&mut self, id: u64, epoch: u16, sequence: u32, count: u32) -> Verdict {
        let verdict = self.check(id, epoch, sequence, count);
        if verdict == Verdict::Fresh {
            self.append(producer(id, epoch, sequence), count);
        }
        verdict
    }

    fn append(&mut self, producer: Producer, count: u32) {
        let header = header(producer, count, self.end, self.now);
        self.end += u64::from(count);
        self.producers.record(&header);
        self.log.push(header);
    }

    fn folded(&self) -> Producers {
        let mut folded = Producers::new(self.producers.limits);
        for header in self.log.iter().filter(|h| h.base_offset >= self.log_start) {
            folded.record(header);
        }
        folded.forget_expired(TimestampMs(self.now));
        folded
    }
}

fn repeat(base: u64, next: u64) -> Verdict {
    Verdict::Repeat {
        base_offset: Offset(base),
        next_offset: Offset(next),
    }
}
