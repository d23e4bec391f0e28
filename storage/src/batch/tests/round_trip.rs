//! Whole batches: what was built comes back, and nothing that was changed on the way passes.

use proptest::prelude::*;

use super::*;

prop_compose! {
    fn records()(
        time in -5_000_i64..5_000,
        key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
        headers in proptest::collection::vec(
            (".{0,20}", proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))), 0..4),
    ) -> Record {
        Record {
            timestamp: NOW.saturating_add(time),
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers: headers.into_iter().map(|(name, value)| (name, value.map(Bytes::from))).collect(),
        }
    }
}

fn producers() -> impl Strategy<Value = Option<Producer>> {
    proptest::option::of((0..u64::MAX, any::<u16>(), 0..u32::MAX)).prop_map(|producer| {
        producer.map(|(id, epoch, base_sequence)| Producer {
            id,
            epoch,
            base_sequence,
        })
    })
}

proptest! {
    #[test]
    fn records_come_back_in_every_codec_and_pass_the_check(
        records in proptest::collection::vec(records(), 1..30),
        producer in producers(),
        codec in 0_usize..3,
    ) {
        let codec = CODECS[codec];
        let mut builder = BatchBuilder::new(codec);
        for record in &records {
            builder.push(&record.as_new(&record.header_refs())).unwrap();
        }
        let (count, unpacked, at_most) =
            (builder.record_count(), builder.unpacked_bytes(), builder.estimated_bytes());
        let bytes = builder.build(BuildOptions { producer, ..BuildOptions::default() }).unwrap();
        prop_assert!(bytes.len() <= at_most as usize);

        let header = check_produced(&bytes, &BatchLimits::default()).unwrap();
        let batch = Batch::decode(Bytes::from(bytes.clone())).unwrap();
        prop_assert_eq!(batch.header(), &header);
        prop_assert_eq!((header.record_count, header.unpacked_bytes), (count, unpacked));
        prop_assert_eq!(header.producer, producer);
        prop_assert_eq!(header.length as usize, bytes.len());
        prop_assert_eq!(header.first_timestamp, records[0].timestamp);
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|r| r.timestamp).max());
        prop_assert!(codec == header.attributes.codec || header.attributes.codec == Codec::None);
        prop_assert_eq!(batch.records(unpacked).unwrap(), records.clone());

        let section = batch.section(unpacked).unwrap();
        let owned: Vec<_> = Records::new(&header, &section).map(|r| Record::from(&r.unwrap())).collect();
        prop_assert_eq!(owned, records);
    }
}

/// Small batches in each codec; what the codec packs is really smaller.
fn samples() -> Vec<(Codec, Vec<u8>)> {
    let text = "redrive ".repeat(8);
    CODECS
        .into_iter()
        .map(|codec| {
            let batch = build(codec, &[value(&text), value(""), value(&text)]);
            assert_eq!(header_of(&batch).attributes.codec, codec);
            (codec, batch)
        })
        .collect()
}

#[test]
fn every_flipped_bit_is_refused() {
    for (codec, batch) in samples() {
        for bit in 0..batch.len() * 8 {
            let mut flipped = batch.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                check_produced(&flipped, &BatchLimits::default()).is_err(),
                "{codec:?}, bit {bit}, as produced"
            );
            assert!(
                Batch::decode(Bytes::from(flipped)).is_err(),
                "{codec:?}, bit {bit}"
            );
        }
    }
}

#[test]
fn every_truncation_and_every_longer_form_is_refused() {
    for (codec, batch) in samples() {
        for end in 0..batch.len() {
            let cut = &batch[..end];
            assert!(
                check_produced(cut, &BatchLimits::default()).is_err(),
                "{codec:?}, cut at {end}, as produced"
            );
            assert!(
                Batch::decode(Bytes::copy_from_slice(cut)).is_err(),
                "{codec:?}, cut at {end}"
            );
        }
        let longer = [batch.as_slice(), &[0]].concat();
        assert!(check_produced(&longer, &BatchLimits::default()).is_err());
        assert!(Batch::decode(Bytes::from(longer)).is_err());
    }
}

#[test]
fn keys_and_values_are_not_copied_out_of_a_batch() {
    let bytes = Bytes::from(build(Codec::None, &[value("a long enough value")]));
    let batch = Batch::decode(bytes.clone()).unwrap();
    let records = batch.records(1 << 20).unwrap();
    let value = records[0].value.as_ref().unwrap();
    assert!(bytes.as_ptr_range().contains(&value.as_ptr()));
}
