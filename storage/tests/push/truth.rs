//! What the three logs of a partition hold, read without the partition's own folds.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use storage::batch::{Record, RecordRef, Records, unpack};
use storage::cause::{CAUSE_HEADER, Cause};
use storage::dead_letter::DeadLetter;
use storage::dead_letter::letter::LETTER_KIND;
use storage::delivery::{ENVELOPE_HEADER, Entry, Envelope};
use storage::error::LogError;
use storage::log::{LogReader, ReadBound};
use storage::offset::Offset;
use storage::partition::Partition;

/// A record of the main log.
#[derive(Debug)]
pub struct Found {
    pub base: Offset,
    pub body: String,
    pub envelope: Envelope,
    pub cause: Option<Cause>,
}

impl Found {
    pub fn name(&self) -> &str {
        self.body.split(" ;").next().unwrap()
    }
}

#[derive(Debug, Default)]
pub struct Truth {
    pub records: BTreeMap<Offset, Found>,
    pub entries: BTreeMap<Offset, Entry>,
    pub entries_start: Offset,
    pub letters: BTreeMap<Offset, DeadLetter>,
}

fn each(
    log: &LogReader,
    visit: &mut dyn FnMut(Offset, Offset, &RecordRef<'_>),
) -> Result<(), LogError> {
    log.scan(log.log_start(), ReadBound::LogEnd, &mut |header, body| {
        let section = unpack(header, body, 1 << 24).unwrap();
        for record in Records::new(header, &section) {
            let record = record.unwrap();
            let offset = Offset(header.base_offset.0 + u64::from(record.offset_delta));
            if offset >= log.log_start() {
                visit(header.base_offset, offset, &record);
            }
        }
        ControlFlow::Continue(())
    })
}

impl Truth {
    pub fn read(partition: &Partition) -> Result<Self, LogError> {
        let mut truth = Self::default();
        each(&partition.main().reader(), &mut |base, offset, record| {
            let record = Record::from(record);
            let cause = record.header(CAUSE_HEADER);
            let found = Found {
                base,
                body: String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap(),
                envelope: Envelope::decode(record.header(ENVELOPE_HEADER).unwrap()).unwrap(),
                cause: cause.map(|cause| Cause::decode(cause).unwrap()),
            };
            truth.records.insert(offset, found);
        })?;
        if let Some(log) = partition.delivery_log().and_then(|log| log.log()) {
            truth.entries_start = log.reader().log_start();
            each(&log.reader(), &mut |_, offset, record| {
                let entry = Entry::decode(record.value.unwrap()).unwrap();
                truth.entries.insert(offset, entry);
            })?;
        }
        if let Some(log) = partition.dead_letters() {
            each(&log.log().reader(), &mut |_, offset, record| {
                let value = record.value.unwrap();
                if value.first() == Some(&LETTER_KIND) {
                    let letter = DeadLetter::decode(value).unwrap();
                    truth.letters.insert(offset, letter);
                }
            })?;
        }
        Ok(truth)
    }
}
