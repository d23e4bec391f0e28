use super::*;

fn entries() -> Vec<LogCheckpoint> {
    [
        (1, LogKind::Main, vec![]),
        (1, LogKind::DeadLetter, vec![7; 9]),
        (2, LogKind::Main, vec![1]),
    ]
    .into_iter()
    .map(|(partition, kind, state)| LogCheckpoint {
        id: LogId::new(PartitionNumber(partition), kind),
        log_start: Offset(3),
        durable_end: Offset(900),
        segment_base: Offset(800),
        position: FilePosition(4096),
        header_crc: 0xABCD_EF01,
        append_time: TimestampMs(-5),
        state,
    })
    .collect()
}

#[test]
fn comes_back() {
    assert_eq!(decode(&encode(9, &entries())), Ok((9, entries())));
    assert_eq!(decode(&encode(1, &[])), Ok((1, vec![])));
}

#[test]
fn older_bytes_behind_it_do_not_matter() {
    let mut bytes = encode(9, &entries());
    bytes.extend_from_slice(b"left over");
    assert_eq!(decode(&bytes), Ok((9, entries())));
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let bytes = encode(9, &entries());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_err(), "bit {bit}");
    }
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn a_hostile_count_allocates_nothing() {
    let mut bytes = encode(9, &[]);
    bytes.truncate(20);
    bytes.extend_from_slice(&u32::MAX.to_be_bytes());
    bytes.extend_from_slice(&crc32(&bytes).to_be_bytes());
    assert!(matches!(
        decode(&bytes),
        Err(CheckpointError::Corrupt(Corruption::Truncated { .. }))
    ));
}
