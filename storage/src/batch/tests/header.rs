//! The fixed header: its bytes, and that nothing else passes for one.

use proptest::prelude::*;

use super::*;
use crate::log_id::{LogId, LogKind, PartitionNumber};
use crate::offset::Offset;

/// Every field by hand, from the table in the module's docs.
const GOLDEN: &str = "524442f1010203020000100000000007\
                      01020304050607080000000200000003\
                      00002000111213142122232425262728\
                      3132000041424344fffffffffffffffe\
                      0000018bcfe568000000018bcfe56801\
                      515253540102030405060700d2afd924";

fn stamped() -> BatchHeader {
    BatchHeader {
        log: Some(LogId::new(PartitionNumber(7), LogKind::DeadLetter)),
        attributes: Attributes {
            codec: Codec::Zstd,
            is_broker_built: true,
            holds_causes: true,
        },
        length: 0x1000,
        base_offset: Offset(0x0102_0304_0506_0708),
        record_count: 3,
        unpacked_bytes: 0x2000,
        producer: Some(Producer {
            id: 0x2122_2324_2526_2728,
            epoch: 0x3132,
            base_sequence: 0x1112_1314,
        }),
        body_crc: 0x4142_4344,
        first_timestamp: TimestampMs(-2),
        max_timestamp: TimestampMs(0x018b_cfe5_6800),
        append_time: TimestampMs(0x018b_cfe5_6801),
        prev_header_crc: 0x5152_5354,
        durable_up_to: Offset(0x0102_0304_0506_0700),
        header_crc: 0xd2af_d924,
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex
        .chars()
        .map(|digit| digit.to_digit(16).unwrap())
        .collect();
    let byte = |pair: &[u32]| (pair[0] * 16 + pair[1]) as u8;
    digits.chunks(2).map(byte).collect()
}

#[test]
fn every_field_stands_where_the_table_says() {
    let golden = bytes_of(GOLDEN);
    assert_eq!(stamped().encode().to_vec(), golden);
    assert_eq!(BatchHeader::decode(&golden), Ok(stamped()));
}

prop_compose! {
    fn headers()(
        log in proptest::option::of((any::<u32>(), 1_u8..=4)),
        (codec, is_broker_built, holds_causes) in (0_usize..3, any::<bool>(), any::<bool>()),
        (length, unpacked_bytes, body_crc, prev_header_crc) in
            (HEADER_BYTES_U32.., any::<u32>(), any::<u32>(), any::<u32>()),
        (base_offset, durable_up_to) in (0..u64::MAX - u64::from(u32::MAX), any::<u64>()),
        record_count in 1_u32..,
        producer in proptest::option::of((0..u64::MAX, any::<u16>(), 0..u32::MAX)),
        times in any::<[i64; 3]>(),
    ) -> BatchHeader {
        BatchHeader {
            log: log.map(|(partition, kind)| {
                LogId::new(PartitionNumber(partition), LogKind::from_byte(kind).unwrap())
            }),
            attributes: Attributes {
                codec: CODECS[codec],
                is_broker_built,
                holds_causes: is_broker_built && holds_causes,
            },
            length,
            base_offset: Offset(base_offset),
            record_count,
            unpacked_bytes,
            producer: producer.map(|(id, epoch, base_sequence)| Producer { id, epoch, base_sequence }),
            body_crc,
            first_timestamp: TimestampMs(times[0]),
            max_timestamp: TimestampMs(times[1]),
            append_time: TimestampMs(times[2]),
            prev_header_crc,
            durable_up_to: Offset(durable_up_to),
            header_crc: 0,
        }
    }
}

proptest! {
    #[test]
    fn header_comes_back(header in headers()) {
        let bytes = header.encode();
        let decoded = BatchHeader::decode(&bytes).unwrap();
        prop_assert_eq!(BatchHeader { header_crc: 0, ..decoded }, header);
        prop_assert_eq!(decoded.encode(), bytes);
    }

    #[test]
    fn any_bytes_with_a_right_checksum_decode_to_what_encodes_to_them_or_not_at_all(
        header in headers(),
        at in 4_usize..92,
        byte in any::<u8>(),
    ) {
        let mut bytes = header.encode();
        bytes[at] = byte;
        let crc = crc32(&bytes[..92]);
        bytes[92..].copy_from_slice(&crc.to_be_bytes());
        if let Ok(decoded) = BatchHeader::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }
}

#[test]
fn truncated_at_every_byte_is_an_error() {
    let bytes = stamped().encode();
    for end in 0..bytes.len() {
        assert_eq!(
            BatchHeader::decode(&bytes[..end]),
            Err(Corruption::Truncated {
                part: "batch header",
                needed: 96,
                available: end as u64
            })
        );
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = stamped().encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(BatchHeader::decode(&flipped).is_err(), "bit {bit}");
    }
    assert!(BatchHeader::decode(&[0; 96]).is_err(), "zeros");
}

/// Puts `value` at `at` and makes the checksum right again.
fn forged(at: usize, value: &[u8]) -> Result<BatchHeader, Corruption> {
    let mut bytes = stamped().encode();
    bytes[at..at + value.len()].copy_from_slice(value);
    let crc = crc32(&bytes[..92]);
    bytes[92..].copy_from_slice(&crc.to_be_bytes());
    BatchHeader::decode(&bytes)
}

#[test]
fn fields_that_nothing_writes_are_errors_although_the_checksum_is_right() {
    let field = |field, value| Err(Corruption::Field { field, value });
    assert_eq!(forged(4, &[2]), field("header version", 2));
    assert_eq!(
        forged(5, &[5]),
        Err(Corruption::WrongLog {
            found_partition: 7,
            found_kind: 5
        })
    );
    assert_eq!(
        forged(5, &[0]),
        Err(Corruption::WrongLog {
            found_partition: 7,
            found_kind: 0
        })
    );
    for bits in [0x0303_u16, 0x0307, 0x030a, 0x0702, 0x0202] {
        assert_eq!(
            forged(6, &bits.to_be_bytes()),
            field("attributes", bits.into())
        );
    }
    assert_eq!(forged(8, &95_u32.to_be_bytes()), field("length", 95));
    assert_eq!(
        forged(16, &u64::MAX.to_be_bytes()),
        field("base offset", u64::MAX)
    );
    assert_eq!(
        forged(16, &(u64::MAX - 2).to_be_bytes()),
        field("base offset", u64::MAX - 2)
    );
    assert_eq!(forged(24, &3_u32.to_be_bytes()), field("record count", 3));
    assert_eq!(
        forged(24, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        field("record count", 0)
    );
    assert_eq!(
        forged(36, &[0xff; 4]),
        field("base sequence", u32::MAX.into())
    );
    assert_eq!(forged(40, &[0xff; 8]), field("base sequence", 0x1112_1314));
    assert_eq!(
        forged(36, &[0xff; 12]),
        field("base sequence", u32::MAX.into()),
        "an epoch without a producer"
    );
    assert_eq!(forged(50, &[1, 0]), field("reserved", 256));
}

#[test]
fn last_and_next_offset_count_from_the_base_offset() {
    let header = stamped();
    assert_eq!(header.last_offset(), Offset(0x0102_0304_0506_070a));
    assert_eq!(header.next_offset(), Offset(0x0102_0304_0506_070b));
    assert_eq!(header.body_bytes(), 0x1000 - 96);
}

#[test]
fn stamping_changes_the_brokers_fields_alone() {
    let sent = header_of(&build(Codec::None, &[value("a"), value("b")]));
    let full = stamped();
    let stamp = Stamp {
        log: full.log.unwrap(),
        base_offset: full.base_offset,
        append_time: full.append_time,
        prev_header_crc: full.prev_header_crc,
        durable_up_to: full.durable_up_to,
    };
    let there = sent.stamp(&stamp);
    let expected = BatchHeader {
        log: full.log,
        base_offset: full.base_offset,
        append_time: full.append_time,
        prev_header_crc: full.prev_header_crc,
        durable_up_to: full.durable_up_to,
        header_crc: there.header_crc,
        ..sent
    };
    assert_eq!(there, expected);
    assert_eq!(BatchHeader::decode(&there.encode()), Ok(there));
}
