//! Which dead letters a caller means: any query, body or cursor is decoded or refused, and what the facets of a segment rule
//! out is never a letter that the filter matches.

use std::sync::LazyLock;

use bytes::Bytes;
use redrive::admin::decode::{Routes, letters_in_body};
use redrive::protocol::cursor::{Reader, Wire, Writer};
use redrive::protocol::selection::{Page, Selection};
use storage::batch::Record;
use storage::dead_letter::facets::{Facets, FacetsBuilder, SegmentFacets};
use storage::dead_letter::select::{Cursor, LetterFilter};
use storage::dead_letter::{
    Attempt, AttemptResult, DeadLetter, Destination, Disposition, ErrorClass, Fingerprint, History,
    Lineage, Receiver, Source,
};
use storage::disk::MappedBytes;
use storage::log_id::PartitionNumber;
use storage::offset::{Offset, TimestampMs};

use super::input::Input;

const BASE: Offset = Offset(1000);
const ITEMS_MAX: usize = 48;

static ROUTES: LazyLock<Routes> = LazyLock::new(Routes::default);

/// Takes a first byte of 0 for text that names letters, any other for a filter and a segment that it is asked of.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, text)) => text_of(text),
        Some((_, ops)) => segment(&mut Input(ops)),
        None => {}
    }
}

fn text_of(text: &[u8]) {
    decoded(letters_in_body(text).map_err(|error| error.status.as_u16()));
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    decoded(
        ROUTES
            .letters_in_query(text)
            .map_err(|error| error.status.as_u16()),
    );
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text, "two texts of one cursor");
    }
}

/// What is taken can be sent on, and arrives as it was; what is refused is the caller's mistake.
fn decoded(result: Result<(Selection, Page), u16>) {
    let (selection, page) = match result {
        Ok(read) => read,
        Err(status) => return assert_eq!(status, 400),
    };
    let mut writer = Writer::new();
    selection.write(&mut writer);
    page.write(&mut writer);
    // A text may be longer than a message carries.
    if let Ok(parts) = writer.finish() {
        let bytes = parts.concat();
        let mut reader = Reader::new(&bytes);
        assert_eq!(Selection::read(&mut reader).as_ref(), Ok(&selection));
        assert_eq!(Page::read(&mut reader).as_ref(), Ok(&page));
        assert_eq!(reader.finish(), Ok(()));
    }
}

fn segment(input: &mut Input<'_>) {
    let filter = filter(input);
    let mut builder = FacetsBuilder::new(BASE);
    let mut letters = Vec::new();
    let mut relative = 0;
    for _ in 0..ITEMS_MAX {
        if input.is_empty() {
            break;
        }
        match input.u8() % 4 {
            0 => builder.add_marker(relative, Offset(990 + u64::from(input.u8() % 64))),
            gap => {
                relative += u32::from(gap) - 1;
                let letter = letter(input);
                assert_eq!(DeadLetter::decode(&letter.encode()).as_ref(), Ok(&letter));
                builder.add_letter(relative, &letter);
                letters.push((relative, letter));
            }
        }
        relative += 1;
    }
    let sealed = Facets::open(MappedBytes::Owned(builder.finish())).expect("it was just made");
    let facets = [
        SegmentFacets::Building(builder),
        SegmentFacets::Sealed(sealed),
    ];
    let expected: Vec<u32> = matched(&letters, &filter).collect();
    for facets in &facets {
        let candidates = facets.candidates(&filter);
        assert!(candidates.bitmap.is_subset(facets.letters()), "{filter:?}");
        for relative in &expected {
            assert!(
                candidates.bitmap.contains(*relative),
                "{filter:?}: {relative}"
            );
        }
        if candidates.is_exact {
            assert!(
                candidates.bitmap.iter().eq(expected.iter().copied()),
                "{filter:?}"
            );
        }
        let counts = facets.counts(&candidates.bitmap, TimestampMs(100));
        assert_eq!(counts.letters, candidates.bitmap.len());
    }
    let [building, sealed] = facets;
    assert_eq!(building.candidates(&filter), sealed.candidates(&filter));
}

fn matched<'a>(
    letters: &'a [(u32, DeadLetter)],
    filter: &'a LetterFilter,
) -> impl Iterator<Item = u32> + 'a {
    let matched = letters.iter().filter(|(_, letter)| filter.matches(letter));
    matched.map(|(relative, _)| *relative)
}

/// A filter out of few values, so that it meets some letters and misses others. Each bit of the first bytes asks for a field.
fn filter(input: &mut Input<'_>) -> LetterFilter {
    let asked = input.u16();
    let mut filter = LetterFilter::default();
    for field in 0..15 {
        if asked & (1 << field) == 0 {
            continue;
        }
        let value = input.u8();
        let two = [value % 8, value / 8 % 8];
        let texts = |name: &str| two.map(|n| format!("{name}-{n}")).to_vec();
        match field {
            0 => filter.groups = texts("group"),
            1 => filter.urls = texts("https://host"),
            2 => filter.labels = texts("label"),
            3 => filter.message_ids = texts("message"),
            4 => filter.callers = texts("caller"),
            5 => filter.dispositions = two.map(Disposition).to_vec(),
            6 => filter.statuses = two.map(|n| 500 + u16::from(n)).to_vec(),
            7 => filter.fingerprints = two.map(fingerprint).to_vec(),
            8 => filter.died_from = Some(TimestampMs(i64::from(value))),
            9 => filter.died_to = Some(TimestampMs(i64::from(value))),
            10 => filter.url_groups = texts("url-group"),
            11 => filter.endpoints = texts("endpoint"),
            12 => filter.queues = texts("queue"),
            13 => filter.schedules = texts("schedule"),
            _ => filter.flow_control_keys = texts("key"),
        }
    }
    filter
}

fn fingerprint(hash: u8) -> Fingerprint {
    Fingerprint {
        version: 1,
        hash: u64::from(hash),
    }
}

fn letter(input: &mut Input<'_>) -> DeadLetter {
    let (who, what, result) = (input.u8(), input.u8(), input.u8());
    let (labels, ids, died_at) = (input.u8(), input.u8(), input.u8());
    // Every second has none.
    let part = |name: &str, seed: u8| {
        seed.is_multiple_of(2)
            .then(|| format!("{name}-{}", seed / 2 % 8))
    };
    let receiver = match who % 16 {
        group @ 0..8 => Receiver::Group(format!("group-{group}")),
        host => Receiver::Destination(Destination {
            url: format!("https://host-{}", host - 8),
            method: "POST".to_owned(),
            url_group: part("url-group", who / 16),
            endpoint: part("endpoint", what / 2),
            queue: part("queue", result / 16),
            schedule: part("schedule", labels / 4),
            flow_control_key: part("key", ids / 2),
        }),
    };
    DeadLetter {
        source: Source {
            topic: "orders".to_owned(),
            partition_index: 0,
            partition: PartitionNumber(3),
            offset: Offset(u64::from(ids)),
        },
        receiver,
        record: Record::default(),
        disposition: Disposition(what % 8),
        died_at: TimestampMs(i64::from(died_at)),
        reason: "it died".to_owned(),
        details: None,
        history: history(result),
        fingerprint: fingerprint(what / 8 % 8),
        lineage: Lineage::default(),
        labels: (0..labels % 4)
            .map(|n| format!("label-{}", (labels / 4 + n) % 8))
            .collect(),
        message_id: (ids % 2 == 0).then(|| format!("message-{}", ids / 2 % 8)),
        caller: (ids % 3 == 0).then(|| format!("caller-{}", ids / 16 % 8)),
        cut: 0,
    }
}

fn history(result: u8) -> History {
    let mut history = History::default();
    let result = match result % 16 {
        0 => return history,
        1 => AttemptResult::Error(ErrorClass::TIMEOUT),
        status => AttemptResult::Status(500 + u16::from(status % 8)),
    };
    history.push(Attempt {
        number: 1,
        time: TimestampMs(1),
        duration_ms: 12,
        result,
        headers: Vec::new(),
        body: Bytes::from_static(b"no"),
        is_body_cut: false,
        are_headers_cut: false,
    });
    history
}
