//! What is read: whole batches in order, below the high watermark, by offset and by time.

use super::*;
use crate::batch::header::HEADER_BYTES;

#[test]
fn what_is_appended_is_read_across_segments_and_after_reopening() {
    let disk = SimDisk::new(1);
    let (mut log, report) = open(&disk);
    assert_eq!(report, RecoveryReport::default());
    let expected: Vec<_> = (0..50u8)
        .map(|fill| (append(&mut log, 3, fill).base_offset.0, fill))
        .collect();
    assert_eq!(expected[49].0, 147);
    assert_eq!(contents(&log), expected);
    assert!(log.reader().segments().len() > 5);
    let checkpoint = log.checkpoint();
    drop(log);
    for hint in [None, Some(&checkpoint)] {
        let (log, report) = open_with(&disk, small(), hint);
        assert_eq!(contents(&log), expected);
        assert_eq!((report.cut, report.damage), (None, vec![]));
        assert_eq!(log.checkpoint(), checkpoint);
    }
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset_and_stops_at_the_high_watermark() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..20 {
        append(&mut log, 5, fill);
    }
    let mut unsynced = batch(5, 99, 100);
    let header = BatchHeader::decode(&unsynced).unwrap();
    if log.needs_roll(u64::from(header.length), NOW) {
        log.roll().unwrap();
    }
    log.append(&header, &mut unsynced, NOW).unwrap();
    let reader = log.reader();
    assert_eq!(
        (reader.high_watermark(), reader.log_end()),
        (Offset(100), Offset(105))
    );
    for offset in 0..100 {
        let bytes = reader
            .read(Offset(offset), 1, ReadBound::HighWatermark)
            .unwrap();
        let header = BatchHeader::decode(&bytes).unwrap();
        assert_eq!(header.base_offset.0, offset / 5 * 5);
        assert_eq!(bytes.len(), header.length as usize);
    }
    assert!(
        reader
            .read(Offset(100), 1, ReadBound::HighWatermark)
            .unwrap()
            .is_empty()
    );
    assert!(matches!(
        reader.read(Offset(101), 1, ReadBound::HighWatermark),
        Err(LogError::OffsetOutOfRange {
            requested: Offset(101),
            log_start: Offset(0),
            log_end: Offset(100)
        })
    ));
    log.begin_sync().unwrap().run().unwrap();
    assert_eq!(
        reader
            .read(Offset(104), 1, ReadBound::HighWatermark)
            .unwrap()
            .len(),
        HEADER_BYTES + 100
    );
}

#[test]
fn what_was_in_a_buffer_before_is_never_read_from_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..30u8 {
        append(&mut log, 3, fill);
    }
    let reader = log.reader();
    let memory = Arc::new(FetchMemory::default());
    for from in (0..90).map(Offset) {
        for bytes_max in [0, 700, 1 << 20] {
            for used in [vec![0xA5; 10], vec![0xA5; 1 << 16]] {
                drop(memory.buffers.lend(used, 1));
                let read = reader.read(from, bytes_max, ReadBound::HighWatermark);
                let fetched = reader.fetch(from, bytes_max, &memory);
                assert_eq!(fetched.unwrap(), read.unwrap(), "from {from:?}");
            }
        }
    }
}

#[test]
fn a_time_leads_to_the_first_batch_appended_then_or_later() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for at in 0..40 {
        log.append_synced(&mut batch(2, 0, 500), TimestampMs(1000 + at * 10))
            .unwrap();
    }
    // A clock that falls back does not make append times fall.
    log.append_synced(&mut batch(2, 0, 500), TimestampMs(5))
        .unwrap();
    let reader = log.reader();
    assert_eq!(
        reader.offset_at_time(TimestampMs(0)).unwrap(),
        Some(Offset(0))
    );
    for at in 0..40u64 {
        let time = TimestampMs(1000 + i64::try_from(at).unwrap() * 10);
        assert_eq!(reader.offset_at_time(time).unwrap(), Some(Offset(at * 2)));
        assert_eq!(
            reader.offset_at_time(time.saturating_add(-9)).unwrap(),
            Some(Offset(at * 2))
        );
    }
    assert_eq!(reader.offset_at_time(TimestampMs(1391)).unwrap(), None);
}
