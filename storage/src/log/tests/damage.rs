//! Damaged files: what is lost is told, the rest is read, and only a torn tail is cut.

use std::path::Path;

use super::*;

/// The file of the first segment.
const FIRST: &str = "/data/0000000001/main/00000000000000000000.log";

fn flip(disk: &SimDisk, path: &Path, bit: u64) {
    disk.flip_bit(path, bit).unwrap();
}

#[test]
fn a_missing_first_segment_is_damage_and_appends_go_on() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..50 {
        append(&mut log, 1, fill);
    }
    let hint = log.checkpoint();
    let second = log.reader().segments()[1].base_offset;
    drop(log);
    disk.remove(Path::new(FIRST)).unwrap();
    let (mut log, report) = open_with(&disk, small(), Some(&hint));
    assert_eq!(report.damage.len(), 1);
    assert_eq!(
        (report.damage[0].from, report.damage[0].to),
        (Offset(0), second)
    );
    assert_eq!(log.poison(), None);
    append(&mut log, 1, 77);
    let reader = log.reader();
    assert!(matches!(
        reader.read(Offset(0), 1, ReadBound::HighWatermark),
        Err(LogError::Corrupt { from: Offset(0), to, .. }) if to == second
    ));
    assert!(
        !reader
            .read(second, 1, ReadBound::HighWatermark)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_costs_its_batch_and_no_other() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for fill in 0..50 {
        append(&mut log, 2, fill);
    }
    let segment = log.reader().segments()[1];
    let path = PathBuf::from(format!(
        "/data/0000000001/main/{:020}.log",
        segment.base_offset.0
    ));
    // The third batch of the segment.
    flip(&disk, &path, (32 + 2 * 596 + 300) * 8);
    let reader = log.reader();
    let bad = segment.base_offset.0 + 4;
    for offset in 0..100 {
        match reader.read(Offset(offset), 1, ReadBound::HighWatermark) {
            Ok(bytes) => assert_eq!(
                BatchHeader::decode(&bytes).unwrap().base_offset.0,
                offset / 2 * 2
            ),
            Err(LogError::Corrupt { from, to, .. }) => {
                assert_eq!((from.0, to.0), (bad, bad + 2), "asked for {offset}");
                assert!((bad..bad + 2).contains(&offset));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(reader.damage().len(), 1);
    append(&mut log, 1, 1);
}

#[test]
fn damage_below_the_durable_end_is_never_cut() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogConfig::default(), None);
    for fill in 0..10 {
        append(&mut log, 1, fill);
    }
    drop(log);
    let path = Path::new(FIRST);
    flip(&disk, path, (32 + 4 * 596 + 200) * 8);
    let before = disk.read_file(path).unwrap();
    // No checkpoint: the headers behind say that offset 4 was durable.
    let (mut log, report) = open_with(&disk, LogConfig::default(), None);
    assert_eq!(log.poison(), Some(PoisonCause::Damaged));
    assert_eq!(
        (report.damage[0].from, report.damage[0].to, report.cut),
        (Offset(4), Offset(5), None)
    );
    assert!(matches!(
        log.append_synced(&mut batch(1, 0, 10), NOW),
        Err(LogError::Poisoned {
            cause: PoisonCause::Damaged,
            ..
        })
    ));
    for offset in [0, 3, 5, 9] {
        assert!(
            log.reader()
                .read(Offset(offset), 1, ReadBound::HighWatermark)
                .is_ok(),
            "{offset}"
        );
    }
    assert!(
        log.reader()
            .read(Offset(4), 1, ReadBound::HighWatermark)
            .is_err()
    );
    drop(log);
    assert_eq!(
        disk.read_file(path).unwrap(),
        before,
        "recovery changed a damaged file"
    );
    // The operator gives the range up: everything else is there, and appends go on.
    let config = LogConfig {
        gaps: vec![Gap {
            from: Offset(4),
            to: Offset(5),
        }],
        ..LogConfig::default()
    };
    let (mut log, report) = open_with(&disk, config, None);
    assert_eq!((report.damage, log.poison()), (vec![], None));
    append(&mut log, 1, 50);
    let offsets: Vec<_> = contents(&log).iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]);
    let bytes = log
        .reader()
        .read(Offset(4), 1, ReadBound::HighWatermark)
        .unwrap();
    assert_eq!(BatchHeader::decode(&bytes).unwrap().base_offset, Offset(5));
}

#[test]
fn damage_at_the_tail_can_be_given_up_and_the_log_goes_on_behind_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogConfig::default(), None);
    for fill in 0..10 {
        append(&mut log, 1, fill);
    }
    let hint = log.checkpoint();
    drop(log);
    flip(&disk, Path::new(FIRST), (32 + 9 * 596 + 200) * 8);
    let (log, _) = open_with(&disk, LogConfig::default(), Some(&hint));
    // The header still says where it ends; only a read meets the damage below the checkpoint.
    drop(log);
    let config = LogConfig {
        gaps: vec![Gap {
            from: Offset(9),
            to: Offset(10),
        }],
        ..LogConfig::default()
    };
    for _ in 0..2 {
        let (mut log, report) = open_with(&disk, config.clone(), None);
        assert_eq!(report.damage, vec![]);
        append(&mut log, 1, 50);
    }
    let (log, _) = open_with(&disk, config, None);
    let offsets: Vec<_> = contents(&log).iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]);
}

#[test]
fn a_torn_tail_is_cut_at_the_last_whole_batch() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogConfig::default(), None);
    for fill in 0..3 {
        append(&mut log, 1, fill);
    }
    let mut unsynced = batch(1, 9, 500);
    let header = BatchHeader::decode(&unsynced).unwrap();
    log.append(&header, &mut unsynced, NOW).unwrap();
    drop(log);
    flip(&disk, Path::new(FIRST), (32 + 3 * 596 + 200) * 8);
    let (log, report) = open_with(&disk, LogConfig::default(), None);
    assert_eq!(
        report.cut.map(|cut| (cut.offset.0, cut.position.0)),
        Some((3, 32 + 3 * 596))
    );
    assert_eq!(contents(&log).len(), 3);
    drop(log);
    let (_, report) = open_with(&disk, LogConfig::default(), None);
    assert_eq!(report.cut, None, "recovery is idempotent");
}

#[test]
fn a_header_that_a_torn_record_quotes_makes_no_damage_of_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open_with(&disk, LogConfig::default(), None);
    for fill in 0..3 {
        append(&mut log, 1, fill);
    }
    let mut unsynced = batch(1, 9, 500);
    let own = BatchHeader::decode(&unsynced).unwrap();
    // It claims to come later, and that what is torn here was durable.
    let quoted = BatchHeader {
        log: Some(ID),
        base_offset: Offset(1_000),
        durable_up_to: Offset(1_000),
        ..own
    };
    unsynced[300..396].copy_from_slice(&quoted.encode());
    let own = BatchHeader {
        body_crc: crc32(&unsynced[96..]),
        ..own
    };
    unsynced[..96].copy_from_slice(&own.encode());
    let own = BatchHeader::decode(&unsynced).unwrap();
    log.append(&own, &mut unsynced, NOW).unwrap();
    drop(log);
    flip(&disk, Path::new(FIRST), (32 + 3 * 596 + 200) * 8);
    let (log, report) = open_with(&disk, LogConfig::default(), None);
    assert_eq!((report.damage, log.poison()), (vec![], None));
    assert_eq!(report.cut.map(|cut| cut.offset), Some(Offset(3)));
    assert_eq!(log.next_offset(), Offset(3));
}
