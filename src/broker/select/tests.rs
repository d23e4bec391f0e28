#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use storage::dead_letter::DeadLetterView;
use storage::log_id::LogKind;
use storage::offset::Offset;

use super::*;
use crate::broker::tests::{append_value, bounded, open, rejection};
use crate::broker::upkeep::sync_all;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::reject::RejectRequest;
use crate::protocol::settings::{Durability, SettingsChange};

const PARTITIONS: u32 = 3;
const LETTERS: u64 = 5;
const LETTER_BYTES: usize = 100_000;

/// Dead letters of which each has its own value, in turn of all partitions.
async fn filled() -> (Arc<Broker>, Arc<Topic>) {
    let (broker, topic) = empty();
    for offset in 0..LETTERS {
        for number in 0..PARTITIONS {
            let mut value = vec![7; LETTER_BYTES];
            value.extend_from_slice(format!("{number} {offset}").as_bytes());
            die(&broker, &topic, (number, offset), &value).await;
        }
    }
    (broker, topic)
}

fn empty() -> (Arc<Broker>, Arc<Topic>) {
    let (broker, _disk) = open();
    let request = CreateTopicRequest {
        name: "t".to_owned(),
        partition_count: PARTITIONS,
        durability: Durability::Synced,
        change: SettingsChange::default(),
    };
    broker.create_topic(&request).unwrap();
    let topic = broker.topic("t").unwrap();
    (broker, topic)
}

/// Appends the next record of a partition, and rejects it.
async fn die(broker: &Arc<Broker>, topic: &Topic, (number, offset): (u32, u64), value: &[u8]) {
    let partition = topic.partition(number).unwrap();
    append_value(&partition, value).unwrap();
    sync_all(&partition, LogKind::Main).unwrap();
    let rejection = RejectRequest {
        partition: number,
        ..rejection(offset)
    };
    bounded(broker.reject(rejection)).await.unwrap();
}

fn ranges_of(topic: &Topic, order: Order, held_bytes: usize) -> Pages {
    let limits = PageLimits {
        letters: 100,
        bytes: usize::MAX,
        held_bytes,
        shared: Some(&DeadLetterView::buffers(1 << 20)),
    };
    let filter = LetterFilter::default();
    Pages::find(topic, &first_ranges(topic), (&filter, order), limits).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_bounded_and_what_is_not_is_read_again() {
    let (_broker, topic) = filled().await;
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let all = ranges_of(&topic, order, usize::MAX).letters().unwrap();
        assert_eq!(all.len(), 15);
        for held in [0, LETTER_BYTES * 5 / 2] {
            let pages = ranges_of(&topic, order, held);
            assert!(pages.held_bytes() <= held * 3, "{}", pages.held_bytes());
            assert_eq!(pages.held_bytes() > 0, held > 0);
            let letters = pages.letters().unwrap();
            let same = letters.iter().zip(&all).all(|((id, one), (known, other))| {
                let (one, other) = (one.as_ref().unwrap(), other.as_ref().unwrap());
                id == known && one.letter == other.letter
            });
            assert!(same && letters.len() == all.len());
            let places = ranges_of(&topic, order, held).places();
            let ids = |(id, _): &(String, _)| id.clone();
            assert!(
                places
                    .iter()
                    .map(ids)
                    .eq(all.iter().map(|(id, _)| id.clone()))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_by_bytes_give_every_letter_once() {
    let (_broker, topic) = filled().await;
    let mut page = Page::first(wire::Order::OldestFirst, 100);
    let mut found = Vec::new();
    let buffers = DeadLetterView::buffers(1 << 20);
    loop {
        let bytes_max = u32::try_from(LETTER_BYTES * 5 / 2).unwrap();
        let bounds = (bytes_max, &buffers);
        let places = select_places(&topic, &Selection::All, &page, bounds).unwrap();
        let letters = select(&topic, &Selection::All, &page, bounds).unwrap();
        assert_eq!(places.cursor, letters.cursor);
        assert!((1..=2).contains(&letters.letters.len()));
        assert_eq!(places.letters.len(), letters.letters.len());
        let offsets = letters.letters.iter().map(|(_, one)| {
            let one = one.as_ref().unwrap();
            (one.index, one.offset)
        });
        found.extend(offsets);
        page.cursor = letters.cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    found.sort_unstable();
    let expected =
        (0..PARTITIONS).flat_map(|index| (0..LETTERS).map(move |at| (index, Offset(at))));
    assert!(found.into_iter().eq(expected));
}

/// Most of the oldest letters are of one partition, and later ones of all in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_any_size_give_the_same_letters_and_look_at_few_more() {
    let (broker, topic) = empty();
    for offset in 0..40 {
        die(&broker, &topic, (0, offset), b"").await;
    }
    for turn in 0..20 {
        for number in 0..PARTITIONS {
            let offset = if number == 0 { 40 + turn } else { turn };
            die(&broker, &topic, (number, offset), b"").await;
        }
    }
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let page = |ranges: &[PartitionRange], letters| {
            let limits = PageLimits {
                letters,
                bytes: usize::MAX,
                held_bytes: usize::MAX,
                shared: None,
            };
            Pages::find(&topic, ranges, (&LetterFilter::default(), order), limits).unwrap()
        };
        let ids = |pages: Pages| pages.places().into_iter().map(|(id, _)| id);
        let all: Vec<_> = ids(page(&first_ranges(&topic), 1000)).collect();
        assert_eq!(all.len(), 100);
        for letters in [1, 2, 7, 20, 33] {
            let mut ranges = first_ranges(&topic);
            let mut found = Vec::new();
            while !ranges.is_empty() {
                let next = page(&ranges, letters);
                let looked = next.found_count();
                let is_spread = order == Order::NewestFirst;
                assert!(
                    !is_spread || looked <= 2 * letters + 9,
                    "{looked} for {letters}"
                );
                ranges = next.remaining().to_vec();
                found.extend(ids(next));
                assert!(ranges.is_empty() || found.len().is_multiple_of(letters));
            }
            assert_eq!(found, all, "{letters} at a time");
        }
    }
}

#[test]
fn each_partition_looks_for_its_share_and_a_little_more() {
    let share = |letters, bytes, partitions| {
        let limits = PageLimits {
            letters,
            bytes,
            held_bytes: 0,
            shared: None,
        };
        let goal = pages::Goal::share(limits, partitions);
        (goal.letters, goal.bytes)
    };
    assert_eq!(share(100, 1000, 1), (100, 1000));
    assert_eq!(share(100, 16_000, 8), (13 + 3 * 3, 2_500));
    assert_eq!(share(20_000, usize::MAX, 8).0, 2_500 + 3 * 50);
    assert_eq!(share(1, 1, 1000), (1 + 3, 1));
}

#[test]
fn partitions_share_what_is_held() {
    assert_eq!(held_bytes_max(16 << 20, 4), 4 << 20);
    assert_eq!(held_bytes_max(16 << 20, 64), HELD_BYTES_MIN);
    assert_eq!(held_bytes_max(1000, 4), 1000);
    assert_eq!(held_bytes_max(16 << 20, 0), 16 << 20);
}
