//! Files that are cut, flipped, of another version, or lie under a right checksum.

use proptest::prelude::*;

use super::*;
use crate::dead_letter::letter::Disposition;

proptest! {
    #[test]
    fn any_bytes_behind_a_right_checksum_never_panic(
        changes in vec((4..10_000_usize, any::<u8>()), 1..6),
        filter in filters(),
    ) {
        let mut bytes = builder(&small()).finish();
        bytes.truncate(bytes.len() - 4);
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        use_hostile(bytes, &filter);
    }
}

/// Opens a file under a right checksum and asks everything of it.
fn use_hostile(mut covered: Vec<u8>, filter: &LetterFilter) {
    seal(&mut covered);
    if let Ok(facets) = opened(covered) {
        let live = facets.letters().clone();
        for filter in [filter, &everything_asked()] {
            let candidates = facets.candidates(filter);
            assert!(candidates.bitmap.is_subset(&live));
        }
        assert_eq!(facets.counts(&live, TimestampMs(0)).letters, live.len());
        std::hint::black_box(facets.marker_of(Offset(1001)));
        assert!(facets.by_source(7).count() < 100);
    }
}

fn everything_asked() -> LetterFilter {
    let text = |value: &str| vec![value.to_owned()];
    LetterFilter {
        groups: text("group-0"),
        fingerprints: vec![Fingerprint {
            version: 1,
            hash: 1,
        }],
        dispositions: vec![Disposition(2)],
        statuses: vec![502],
        urls: text("https://host-4.example/hook"),
        labels: text("label-1"),
        message_ids: text("msg-6"),
        callers: text("caller-0"),
        url_groups: text("group-1"),
        endpoints: text("endpoint-1"),
        queues: text("queue-1"),
        schedules: text("schedule-1"),
        flow_control_keys: text("flow-1"),
        died_from: Some(TimestampMs(0)),
        died_to: Some(TimestampMs(9)),
    }
}

#[test]
fn truncated_at_every_byte_and_every_flipped_bit_is_refused() {
    let bytes = builder(&small()).finish();
    assert!(opened(bytes.clone()).is_ok());
    for end in 0..bytes.len() {
        assert!(opened(bytes[..end].to_vec()).is_err(), "cut at {end}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(opened(flipped).is_err(), "bit {bit}");
    }
    assert!(opened([&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn another_version_and_a_used_reserve_are_refused() {
    for (at, byte) in [(5, 1), (5, 3), (7, 1)] {
        let mut bytes = builder(&small()).finish();
        bytes.truncate(bytes.len() - 4);
        bytes[at] = byte;
        seal(&mut bytes);
        assert!(
            matches!(opened(bytes), Err(crate::error::Corruption::Field { .. })),
            "byte {at}"
        );
    }
}

#[test]
fn hostile_numbers_in_every_place_never_panic_nor_allocate_what_they_say() {
    let bytes = builder(&small()).finish();
    let covered = &bytes[..bytes.len() - 4];
    for at in 4..covered.len() {
        for hostile in [[0; 4], [0xff; 4], [0x7f, 0xff, 0xff, 0xff]] {
            let mut changed = covered.to_vec();
            for (place, byte) in changed[at..].iter_mut().zip(hostile) {
                *place = byte;
            }
            use_hostile(changed, &LetterFilter::default());
        }
    }
}
