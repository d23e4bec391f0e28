//! Variable-length integers.

use proptest::prelude::*;

use crate::batch::varint::*;

#[test]
fn numbers_have_the_bytes_of_kafkas_varints() {
    let golden: [(i64, &[u8]); 12] = [
        (0, &[0x00]),
        (-1, &[0x01]),
        (1, &[0x02]),
        (63, &[0x7e]),
        (-64, &[0x7f]),
        (64, &[0x80, 0x01]),
        (-65, &[0x81, 0x01]),
        (8191, &[0xfe, 0x7f]),
        (8192, &[0x80, 0x80, 0x01]),
        (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        (
            i64::MIN,
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ),
    ];
    for (number, bytes) in golden {
        let mut out = Vec::new();
        write_i64(&mut out, number);
        assert_eq!(out, bytes, "{number}");
        assert_eq!(read_i64(bytes), Ok((number, &[][..])));
        if let Ok(number) = i32::try_from(number) {
            assert_eq!(read_i32(bytes), Ok((number, &[][..])));
            let mut out = Vec::new();
            write_i32(&mut out, number);
            assert_eq!(out, bytes, "{number}");
        }
    }
}

#[test]
fn longer_forms_and_numbers_outside_the_type_are_malformed() {
    let long: [&[u8]; 5] = [
        &[0x80, 0x00],
        &[0xff, 0x80, 0x00],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        &[0x80; 11],
    ];
    for bytes in long {
        assert_eq!(read_u64(bytes), Err(VarintError::Malformed), "{bytes:x?}");
        assert_eq!(read_u32(bytes), Err(VarintError::Malformed), "{bytes:x?}");
    }
    let too_large = [0x80, 0x80, 0x80, 0x80, 0x10];
    assert_eq!(read_u32(&too_large), Err(VarintError::Malformed));
    assert_eq!(read_u64(&too_large), Ok((1 << 32, &[][..])));
}

proptest! {
    #[test]
    fn number_comes_back_and_every_truncation_is_an_error(number in any::<u64>(), shift in 0..64) {
        let number = number >> shift;
        let mut out = Vec::new();
        write_u64(&mut out, number);
        prop_assert_eq!(out.len(), size_of_u64(number) as usize);
        for end in 0..out.len() {
            prop_assert_eq!(read_u64(&out[..end]), Err(VarintError::Truncated));
        }
        if let Ok(small) = u32::try_from(number) {
            prop_assert_eq!(read_u32(&out), Ok((small, &[][..])));
        } else {
            prop_assert_eq!(read_u32(&out), Err(VarintError::Malformed));
        }
        out.push(0xaa);
        prop_assert_eq!(read_u64(&out), Ok((number, &[0xaa][..])));
    }

    #[test]
    fn bytes_that_decode_encode_to_themselves(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
        if let Ok((number, rest)) = read_u64(&bytes) {
            let mut out = Vec::new();
            write_u64(&mut out, number);
            prop_assert_eq!(&out, &bytes[..bytes.len() - rest.len()]);
        }
    }

    #[test]
    fn zigzag_comes_back(small in any::<i32>(), large in any::<i64>()) {
        let mut out = Vec::new();
        write_i32(&mut out, small);
        write_i64(&mut out, large);
        let (found, rest) = read_i32(&out).unwrap();
        prop_assert_eq!((found, read_i64(rest)), (small, Ok((large, &[][..]))));
    }
}
