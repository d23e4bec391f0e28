//! What the two logs of a partition hold, read without the partition's own folds.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use storage::batch::{Records, unpack};
use storage::cause::{CAUSE_HEADER, Cause, CauseKind};
use storage::dead_letter::letter::LETTER_KIND;
use storage::dead_letter::{DeadLetter, Marker, Resolution};
use storage::error::LogError;
use storage::log::{LogReader, ReadBound};
use storage::offset::Offset;
use storage::partition::Partition;

#[derive(Debug, Default)]
pub struct Truth {
    /// The value of every record of the main log.
    pub records: BTreeMap<Offset, String>,
    /// Fresh records by the letter that they were made of.
    pub causes: BTreeMap<Offset, Vec<Offset>>,
    /// The reason of every letter.
    pub letters: BTreeMap<Offset, String>,
    /// The first marker of each letter.
    pub markers: BTreeMap<Offset, Resolution>,
}

/// Takes a record's offset, its value and its cause.
type Visit<'a> = dyn FnMut(Offset, &[u8], Option<&[u8]>) + 'a;

fn each(log: &LogReader, visit: &mut Visit<'_>) -> Result<(), LogError> {
    log.scan(log.log_start(), ReadBound::LogEnd, &mut |header, body| {
        let section = unpack(header, body, 1 << 20).unwrap();
        for record in Records::new(header, &section) {
            let record = record.unwrap();
            let offset = Offset(header.base_offset.0 + u64::from(record.offset_delta));
            if offset >= log.log_start() {
                let cause = record.headers.get(CAUSE_HEADER).flatten();
                visit(offset, record.value.unwrap(), cause);
            }
        }
        ControlFlow::Continue(())
    })
}

impl Truth {
    pub fn read(partition: &Partition) -> Result<Self, LogError> {
        let mut truth = Self::default();
        each(&partition.main().reader(), &mut |offset, value, cause| {
            let value = String::from_utf8_lossy(value).into_owned();
            truth.records.insert(offset, value);
            if let Some(cause) = cause.map(|cause| Cause::decode(cause).unwrap()) {
                assert_eq!(cause.kind, CauseKind::Republish);
                truth.causes.entry(cause.offset).or_default().push(offset);
            }
        })?;
        let Some(dead_letters) = partition.dead_letters() else {
            return Ok(truth);
        };
        let start = dead_letters.log().reader().log_start();
        each(&dead_letters.log().reader(), &mut |offset, value, _| {
            if value[0] == LETTER_KIND {
                let letter = DeadLetter::decode(value).unwrap();
                truth.letters.insert(offset, letter.reason);
            } else {
                let marker = Marker::decode(value).unwrap();
                if marker.letter >= start {
                    truth
                        .markers
                        .entry(marker.letter)
                        .or_insert(marker.resolution);
                }
            }
        })?;
        Ok(truth)
    }
}
