//! What hostile bytes can make the batch codec allocate, and what the facets of letters hold: counted by the allocator.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "tests may panic"
)]
#![expect(
    unsafe_code,
    reason = "a counting allocator cannot be written without it"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use storage::batch::codec::pack;
use storage::batch::varint::write_i32;
use storage::batch::{
    BatchBuilder, BatchHeader, BatchLimits, BuildOptions, Codec, HEADER_BYTES_U32, NewRecord,
    check_produced,
};
use storage::checksum::crc32;
use storage::dead_letter::facets::{Facets, FacetsBuilder};
use storage::dead_letter::{
    DeadLetter, Destination, Disposition, Fingerprint, History, Lineage, Receiver, Source,
};
use storage::disk::MappedBytes;
use storage::log_id::PartitionNumber;
use storage::offset::{Offset, TimestampMs};

thread_local! {
    /// Below zero when the thread frees what another one allocated.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(added: usize, removed: usize) {
    let live = LIVE.get() + added.cast_signed() - removed.cast_signed();
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(place, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `run` had allocated at a time.
fn peak_of(run: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    run();
    (PEAK.get() - before).cast_unsigned()
}

fn header() -> BatchHeader {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&NewRecord::default()).unwrap();
    BatchHeader::decode(&builder.build(BuildOptions::default()).unwrap()).unwrap()
}

fn sealed(mut header: BatchHeader, unpacked_bytes: u32, body: &[u8]) -> Vec<u8> {
    header.length = HEADER_BYTES_U32 + body.len() as u32;
    header.unpacked_bytes = unpacked_bytes;
    header.body_crc = crc32(body);
    [header.encode().as_slice(), body].concat()
}

fn packed(codec: Codec, unpacked_bytes: u32, body: &[u8]) -> Vec<u8> {
    let mut header = header();
    header.attributes.codec = codec;
    sealed(header, unpacked_bytes, body)
}

/// The most bytes that refusing the batch allocates.
fn cost_of_refusal(batch: &[u8], limits: &BatchLimits) -> usize {
    peak_of(|| {
        check_produced(batch, limits).unwrap_err();
    })
}

#[test]
fn the_allocator_counts() {
    let peak = peak_of(|| drop(std::hint::black_box(vec![0_u8; 100_000])));
    assert!((100_000..101_000).contains(&peak), "{peak}");
}

#[test]
fn lengths_and_counts_that_lie_allocate_nothing() {
    let any_size = BatchLimits {
        unpacked_bytes_max: u32::MAX,
        record_count_max: u32::MAX,
        ..BatchLimits::default()
    };
    let number = |value| {
        let mut bytes = Vec::new();
        write_i32(&mut bytes, value);
        bytes
    };
    let long = number(i32::MAX);
    let record = |parts: &[&[u8]]| {
        let body = parts.concat();
        [number(body.len() as i32), body].concat()
    };
    let sections = [
        long.clone(),
        record(&[&[0, 0, 0], &long]),
        record(&[&[0, 0, 0, 1], &long]),
        record(&[&[0, 0, 0, 1, 1], &long]),
        record(&[&[0, 0, 0, 1, 1, 2], &long]),
        record(&[&[0, 0, 0, 1, 1, 2, 2, b'n'], &long]),
    ];
    for section in sections {
        let mut header = header();
        header.record_count = u32::MAX;
        let batch = sealed(header, section.len() as u32, &section);
        assert_eq!(cost_of_refusal(&batch, &any_size), 0, "{section:x?}");
    }
    let declared = packed(Codec::None, u32::MAX, b"short");
    assert_eq!(cost_of_refusal(&declared, &any_size), 0);
}

#[test]
fn a_packed_section_costs_what_it_unpacks_to_whatever_the_header_declares() {
    let any_size = BatchLimits {
        unpacked_bytes_max: u32::MAX,
        ..BatchLimits::default()
    };
    for (codec, constant) in [(Codec::Lz4, 256 << 10), (Codec::Zstd, 64 << 10)] {
        let mut body = Vec::new();
        pack(codec, &[0; 1000], &mut body).unwrap();
        let cost = cost_of_refusal(&packed(codec, u32::MAX, &body), &any_size);
        assert!(cost < constant, "{codec:?}: {cost}");
    }
}

#[test]
fn compression_bombs_cost_no_more_than_what_is_declared_and_a_constant() {
    const BOMB_BYTES: usize = 64 << 20;
    // The lz4 decoder's buffers: two blocks of at most 4 MiB and what they look back on, and one packed block.
    const LZ4_BUFFERS: usize = 13 << 20;
    for (codec, ratio, buffers) in [(Codec::Lz4, 200, LZ4_BUFFERS), (Codec::Zstd, 10_000, 0)] {
        let mut body = Vec::new();
        pack(codec, &vec![0; BOMB_BYTES], &mut body).unwrap();
        assert!(body.len() * ratio < BOMB_BYTES, "{codec:?}: {}", body.len());
        for declared in [1_u32, 1000, 1 << 20] {
            let batch = packed(codec, declared, &body);
            let cost = cost_of_refusal(&batch, &BatchLimits::default());
            let most = 2 * declared as usize + (64 << 10) + buffers;
            assert!(cost < most, "{codec:?}, {declared} declared: {cost}");
        }
        let honest = packed(codec, BOMB_BYTES as u32, &body);
        let small = BatchLimits {
            unpacked_bytes_max: 1 << 20,
            ..BatchLimits::default()
        };
        assert_eq!(cost_of_refusal(&honest, &small), 0, "{codec:?}");
    }
}

/// A letter of a pushed message: few URLs, queues, groups and schedules, one flow-control key for each ten messages.
fn pushed(number: u32) -> DeadLetter {
    let name = |kind: &str, count: u32| Some(format!("{kind}-{}", number % count));
    DeadLetter {
        source: Source {
            topic: "_push".to_owned(),
            partition_index: 0,
            partition: PartitionNumber(1),
            offset: Offset(u64::from(number)),
        },
        receiver: Receiver::Destination(Destination {
            url: format!("https://host-{}.example/hook", number % 50),
            method: "POST".to_owned(),
            url_group: name("group", 20),
            endpoint: name("endpoint", 5),
            queue: name("queue", 30),
            schedule: name("schedule", 100),
            flow_control_key: Some(format!("tenant-{}", number / 10)),
        }),
        record: storage::batch::Record::default(),
        disposition: Disposition::RETRIES_EXHAUSTED,
        died_at: TimestampMs(i64::from(number)),
        reason: "it died".to_owned(),
        details: None,
        history: History::default(),
        fingerprint: Fingerprint {
            version: 1,
            hash: u64::from(number % 40),
        },
        lineage: Lineage::default(),
        labels: name("label", 10).into_iter().collect(),
        message_id: Some(format!("message-{number}")),
        caller: Some("10.0.0.1".to_owned()),
        cut: 0,
    }
}

#[test]
fn facets_hold_at_most_100_bytes_of_a_letter_of_the_active_segment_and_next_to_nothing_of_a_sealed_one()
 {
    const LETTERS: u32 = 100_000;
    let before = LIVE.get();
    let held = || (LIVE.get() - before).cast_unsigned();
    let mut builder = FacetsBuilder::new(Offset(0));
    for number in 0..LETTERS {
        builder.add_letter(number, &pushed(number));
    }
    let building = held() / LETTERS as usize;
    assert!(building <= 100, "{building} bytes a letter");
    let file = builder.finish();
    drop(builder);
    // A file is mapped: what stands in it is not held.
    let mapped = held();
    let sealed = Facets::open(MappedBytes::Owned(file)).unwrap();
    let sealed_bytes = held() - mapped;
    assert!(
        sealed_bytes <= LETTERS as usize / 8 + 1024,
        "{sealed_bytes} bytes"
    );
    drop(sealed);
}
