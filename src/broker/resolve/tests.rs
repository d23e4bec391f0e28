#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use storage::log_id::LogKind;
use storage::offset::Offset;
use storage::partition::Claim;

use crate::broker::Broker;
use crate::broker::tests::{NOW, append_value, bounded, open, partition, rejection};
use crate::broker::topics::letter_counts;
use crate::broker::upkeep::sync_all;
use crate::engine::PartitionHandle;
use crate::limits::RESOLVE_BYTES_MAX;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::reject::RejectRequest;
use crate::protocol::resolve_letters::RetryLettersRequest;
use crate::protocol::selection::{Order, Page, Selection};
use crate::protocol::settings::{Durability, SettingsChange};

/// Letters of which two make a part.
const LETTER_BYTES: usize = 900 << 10;
const LETTERS: u64 = 7;

async fn fill(broker: &Arc<Broker>, partition: &Arc<PartitionHandle>, letters: u64) {
    let value = vec![7; LETTER_BYTES];
    for _ in 0..letters {
        if append_value(partition, &value).is_none() {
            bounded(partition.roll_of(LogKind::Main, NOW))
                .await
                .unwrap();
            append_value(partition, &value).unwrap();
        }
    }
    sync_all(partition, LogKind::Main).unwrap();
    for offset in 0..letters {
        bounded(broker.reject(rejection(offset))).await.unwrap();
    }
}

fn retry_all() -> RetryLettersRequest {
    RetryLettersRequest {
        topic: "t".to_owned(),
        selection: Selection::All,
        page: Page::first(Order::OldestFirst, 1000),
        request_id: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_parts_of_a_page_are_answered_in_its_order() {
    let (broker, _disk) = open();
    let partition = partition(&broker);
    fill(&broker, &partition, LETTERS).await;
    let answer = bounded(broker.retry_letters(retry_all(), "tester".to_owned())).await;
    let answer = answer.unwrap();
    assert_eq!(answer.cursor, None);
    let letters = answer.letters.iter().map(|(_, letter)| letter.as_ref());
    let letters: Vec<_> = letters.map(Result::unwrap).collect();
    assert!(letters.iter().all(|letter| letter.is_new));
    let offsets: Vec<_> = letters.iter().map(|letter| letter.offset.0).collect();
    assert_eq!(offsets, (LETTERS..2 * LETTERS).collect::<Vec<_>>());
    let again = bounded(broker.retry_letters(retry_all(), "tester".to_owned())).await;
    assert_eq!(again.unwrap().letters.len(), 0);
}

/// Two who hold what the other one wants would wait for each other in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_letter_holds_no_other_one() {
    let (broker, _disk) = open();
    let partition = partition(&broker);
    fill(&broker, &partition, LETTERS).await;
    let (first, last) = (Offset(0), Offset(LETTERS - 1));
    let claim = |letter| partition.owner().lock().claim(letter);
    assert_eq!(claim(first), Claim::Yours);
    let mut changes = partition.subscribe(LogKind::Main);
    let retrying = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.retry_letters(retry_all(), "tester".to_owned()).await })
    };
    // The other one of its part is sent back; then it waits for the first letter.
    bounded(async {
        while letter_counts(&partition).republished < 1 {
            changes.changed().await.unwrap();
        }
    })
    .await;
    assert_eq!(
        claim(last),
        Claim::Yours,
        "nobody holds a letter of the next part"
    );
    partition.owner().lock().release(&[first, last]);
    partition.notify(LogKind::Main);
    let answer = bounded(retrying).await.unwrap().unwrap();
    assert_eq!(answer.letters.len(), usize::try_from(LETTERS).unwrap());
    assert!(answer.letters.iter().all(|(_, letter)| letter.is_ok()));
}

/// Who waits for a letter of one partition and holds one of another may be waited for by whom it waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_in_all_partitions_is_committed_before_a_letter_is_waited_for() {
    let (broker, _disk) = open();
    let request = CreateTopicRequest {
        name: "t".to_owned(),
        partition_count: 2,
        durability: Durability::Synced,
        change: SettingsChange::default(),
    };
    broker.create_topic(&request).unwrap();
    let topic = broker.topic("t").unwrap();
    let mut ids = Vec::new();
    for number in 0..2 {
        let partition = topic.partition(number).unwrap();
        append_value(&partition, b"given up").unwrap();
        sync_all(&partition, LogKind::Main).unwrap();
        let rejection = RejectRequest {
            partition: number,
            ..rejection(0)
        };
        let rejected = bounded(broker.reject(rejection)).await.unwrap();
        ids.push(rejected.letter_id);
    }
    let held = topic.partition(0).unwrap();
    let claimed = held.owner().lock().claim(Offset(0));
    assert_eq!(claimed, Claim::Yours);
    // Each attempt at the letter that is held tells of itself.
    let mut changes = held.subscribe(LogKind::Main);
    let request = RetryLettersRequest {
        selection: Selection::Ids(ids),
        ..retry_all()
    };
    let retrying = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.retry_letters(request, "tester".to_owned()).await })
    };
    let other = topic.partition(1).unwrap();
    bounded(async {
        while letter_counts(&other).republished < 1 {
            changes.changed().await.unwrap();
        }
    })
    .await;
    held.owner().lock().release(&[Offset(0)]);
    held.notify(LogKind::Main);
    let answer = bounded(retrying).await.unwrap().unwrap();
    assert!(answer.letters.iter().all(|(_, letter)| letter.is_ok()));
}

/// What is left comes with the next call: who waits for an answer knows how long that takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_behind_so_many_bytes_of_letters() {
    let (broker, _disk) = open();
    let partition = partition(&broker);
    let letters = u64::from(RESOLVE_BYTES_MAX) / u64::try_from(LETTER_BYTES).unwrap() + 5;
    fill(&broker, &partition, letters).await;
    let mut request = retry_all();
    let first = bounded(broker.retry_letters(request.clone(), "tester".to_owned())).await;
    let first = first.unwrap();
    let answered = u64::try_from(first.letters.len()).unwrap();
    assert!(answered < letters, "{answered} of {letters}");
    request.page.cursor = first.cursor;
    assert!(request.page.cursor.is_some());
    let rest = bounded(broker.retry_letters(request, "tester".to_owned())).await;
    let rest = rest.unwrap();
    assert_eq!(rest.cursor, None);
    assert_eq!(
        rest.letters.len(),
        usize::try_from(letters - answered).unwrap()
    );
}
