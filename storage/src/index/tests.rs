use super::*;

const LOG: LogId = LogId::new(PartitionNumber(3), LogKind::Main);

fn filled() -> (Index, Extent) {
    let mut index = Index::default();
    let base = Offset(1000);
    for batch in 0..40u64 {
        // Batches of 10 records and 32 KiB: every second one is noted.
        let position = FilePosition(32 + batch * 32 * 1024);
        index.note(
            base,
            Offset(1000 + batch * 10),
            position,
            TimestampMs(5_000 + i64::try_from(batch).unwrap()),
        );
    }
    let extent = Extent {
        base_offset: base,
        end_offset: Offset(1400),
        end: FilePosition(32 + 40 * 32 * 1024),
        first_append_time: TimestampMs(5_000),
        last_append_time: TimestampMs(5_039),
        last_header_crc: 0xDEAD_BEEF,
    };
    (index, extent)
}

fn reopened(index: &Index, extent: &Extent) -> Index {
    let (file, read) = Index::open(LOG, MappedBytes::Owned(index.encode(LOG, extent))).unwrap();
    assert_eq!(read, *extent);
    file
}

#[test]
fn one_entry_stands_for_an_interval() {
    let (index, _) = filled();
    assert_eq!(index.entry_count(), 20);
}

#[test]
fn memory_and_file_give_the_same_answers() {
    let (index, extent) = filled();
    let file = reopened(&index, &extent);
    for delta in 0..420 {
        let entry = index.at_or_before(delta);
        assert_eq!(entry, file.at_or_before(delta));
        assert_eq!(
            entry.map(|e| u64::from(e.offset_delta)),
            Some(delta.min(399) / 20 * 20)
        );
    }
    for time in 4_990..5_050 {
        assert_eq!(
            index.before_time(TimestampMs(time)),
            file.before_time(TimestampMs(time))
        );
    }
    assert_eq!(index.before_time(TimestampMs(5_000)), None);
    assert_eq!(
        index.before_time(TimestampMs(5_001)).unwrap().offset_delta,
        0
    );
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let (index, extent) = filled();
    let bytes = index.encode(LOG, &extent);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Index::open(LOG, MappedBytes::Owned(flipped)).is_err(),
            "bit {bit}"
        );
    }
    for end in 0..bytes.len() {
        assert!(
            Index::open(LOG, MappedBytes::Owned(bytes[..end].to_vec())).is_err(),
            "{end} bytes"
        );
    }
}

#[test]
fn the_index_of_another_log_is_refused() {
    let (index, extent) = filled();
    let other = LogId::new(PartitionNumber(4), LogKind::Main);
    assert!(Index::open(other, MappedBytes::Owned(index.encode(LOG, &extent))).is_err());
}
