//! Dead letters over the wire: rejecting, finding, retrying and deleting them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redrive::client::api::rejection;
use redrive::client::{Client, ConsumerOptions, Producer, ProducerOptions};
use redrive::protocol::error_code::ErrorCode;
use redrive::protocol::letter::{LetterView, ReceiverView};
use redrive::protocol::read_letters::ListLettersRequest;
use redrive::protocol::resolve_letters::{
    DeleteLettersRequest, Republished, RetryLettersAnswer, RetryLettersRequest,
};
use redrive::protocol::selection::{LetterFilter, Order, Page, Selection};
use storage::batch::HeaderRef;
use storage::offset::{Offset, TimestampMs};

use crate::harness::{Running, bounded, counted, create, read, read_all, record, refused};

/// Produces `count` records `0`, `1`, ... with keys and headers.
pub(crate) async fn fill(client: &Client, topic: &str, count: u32) {
    let producer = Producer::open(client, topic, ProducerOptions::default())
        .await
        .unwrap();
    for index in 0..count {
        let text = index.to_string();
        let headers = [HeaderRef {
            name: "number",
            value: Some(text.as_bytes()),
        }];
        producer
            .send(&record(Some(text.as_bytes()), text.as_bytes(), &headers))
            .await
            .unwrap();
    }
    assert_eq!(
        bounded(producer.close()).await.unwrap().acknowledged,
        u64::from(count)
    );
}

/// Rejects every record of a topic for a group, several at a time, and returns the letters' ids in no order.
pub(crate) async fn reject_all(client: &Client, topic: &str, group: &str) -> Vec<String> {
    let records = Arc::new(read_all(client, topic).await);
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (client, records) = (client.sibling(), Arc::clone(&records));
            let (topic, group) = (topic.to_owned(), group.to_owned());
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for record in records.iter().skip(task).step_by(16) {
                    let place = (topic.as_str(), record.partition, record.offset);
                    let reason = format!("reason {}", record.offset.0 % 3);
                    let answer = client
                        .reject(&rejection(&group, place, &reason, Some("details")))
                        .await
                        .unwrap();
                    assert!(answer.is_new);
                    ids.push(answer.letter_id);
                }
                ids
            })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.extend(bounded(task).await.unwrap());
    }
    ids
}

pub(crate) fn list_request(topic: &str, selection: Selection, page: Page) -> ListLettersRequest {
    ListLettersRequest {
        topic: topic.to_owned(),
        selection,
        page,
        bytes_max: 0,
    }
}

/// Lists a whole selection, page by page.
pub(crate) async fn list_all(
    client: &Client,
    topic: &str,
    selection: &Selection,
    order: Order,
    limit: u32,
) -> Vec<LetterView> {
    let mut page = Page::first(order, limit);
    let mut letters = Vec::new();
    loop {
        let request = list_request(topic, selection.clone(), page.clone());
        let answer = client.letters(&request).await.unwrap();
        assert!(answer.letters.len() <= limit as usize);
        letters.extend(answer.letters);
        page.cursor = answer.cursor;
        if page.cursor.is_none() {
            return letters;
        }
    }
}

pub(crate) fn retry_request(topic: &str, selection: Selection) -> RetryLettersRequest {
    RetryLettersRequest {
        topic: topic.to_owned(),
        selection,
        page: Page::first(Order::OldestFirst, 10_000),
        request_id: None,
    }
}

/// Retries everything that is live, page by page; returns what became of each letter.
pub(crate) async fn retry_all(
    client: &Client,
    topic: &str,
    limit: u32,
) -> Vec<(String, Republished)> {
    let mut request = retry_request(topic, Selection::All);
    request.page.limit = limit;
    let mut done = Vec::new();
    loop {
        let RetryLettersAnswer { letters, cursor } = client.retry_letters(&request).await.unwrap();
        for (id, result) in letters {
            let republished = result.unwrap_or_else(|refusal| panic!("{id}: {refusal}"));
            done.push((id, republished));
        }
        request.page.cursor = cursor;
        if request.page.cursor.is_none() {
            return done;
        }
    }
}

fn delete_request(topic: &str, selection: Selection) -> DeleteLettersRequest {
    DeleteLettersRequest {
        topic: topic.to_owned(),
        selection,
        page: Page::first(Order::OldestFirst, 10_000),
        request_id: None,
    }
}

fn ids_of(letters: &[LetterView]) -> Vec<String> {
    letters.iter().map(|letter| letter.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_record_becomes_one_letter_for_each_group() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    fill(&client, "t", 5).await;
    let reject = |group: &'static str, offset| {
        let client = client.clone();
        async move {
            let request = rejection(group, ("t", 0, Offset(offset)), "broken", Some("at length"));
            client.reject(&request).await
        }
    };
    let first = reject("g", 3).await.unwrap();
    let again = reject("g", 3).await.unwrap();
    let other = reject("h", 3).await.unwrap();
    assert!(first.is_new && other.is_new && !again.is_new);
    assert_eq!(first.letter_id, again.letter_id);
    assert_ne!(first.letter_id, other.letter_id);
    let broker = broker.restart().await;
    let client = broker.client().await;
    let letter = client.letter(&first.letter_id).await.unwrap();
    assert_eq!(letter.receiver, ReceiverView::Group("g".to_owned()));
    assert_eq!((letter.disposition, letter.source_offset), (3, Offset(3)));
    assert_eq!(letter.reason.as_str(), "broken");
    assert_eq!(letter.details.unwrap().as_str(), "at length");
    let trace = "x".repeat(20 << 10);
    let long = rejection("long", ("t", 0, Offset(3)), "broken", Some(&trace));
    let long = client.reject(&long).await.unwrap();
    let details = client
        .letter(&long.letter_id)
        .await
        .unwrap()
        .details
        .unwrap();
    let kept = "x".repeat(16 << 10);
    assert_eq!(details.as_str(), format!("{kept} ... (cut)"));
    assert_eq!(letter.key.unwrap(), "3");
    assert_eq!(letter.value.unwrap(), "3");
    let number = Some(bytes::Bytes::from_static(b"3"));
    assert_eq!(letter.headers, [("number".to_owned(), number)]);
    // A reject commits nothing.
    assert_eq!(client.committed_offsets("g", None).await.unwrap(), []);
    let reject = async |group: &str, topic: &str, partition, offset, reason: &str| {
        let place = (topic, partition, Offset(offset));
        client.reject(&rejection(group, place, reason, None)).await
    };
    refused(
        reject("g", "t", 0, 5, "r").await,
        ErrorCode::OffsetOutOfRange,
    );
    refused(
        reject("g", "t", 1, 0, "r").await,
        ErrorCode::UnknownPartition,
    );
    refused(reject("g", "u", 0, 0, "r").await, ErrorCode::UnknownTopic);
    refused(
        reject("", "t", 0, 0, "r").await,
        ErrorCode::InvalidGroupName,
    );
    let long = "r".repeat(1_025);
    refused(
        reject("g", "t", 0, 0, &long).await,
        ErrorCode::LimitExceeded,
    );
    let counts = client.topic("t").await.unwrap().partitions[0].letters;
    assert_eq!(counts.live, 3);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_reject_from_many_connections_makes_one_letter() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    fill(&client, "t", 1).await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let client = client.sibling();
            tokio::spawn(async move {
                let request = rejection("g", ("t", 0, Offset(0)), "no", None);
                client.reject(&request).await.unwrap()
            })
        })
        .collect();
    let mut ids = BTreeSet::new();
    let mut new_count = 0;
    for task in tasks {
        let answer = bounded(task).await.unwrap();
        ids.insert(answer.letter_id);
        new_count += usize::from(answer.is_new);
    }
    assert_eq!((ids.len(), new_count), (1, 1));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_found_by_their_fields_page_by_page_in_both_orders() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 3).await;
    fill(&client, "t", 120).await;
    let mut ids = reject_all(&client, "t", "g").await;
    let of_h = reject_all(&client, "t", "h").await;
    ids.sort();
    let by_group = |groups: &[&str]| {
        Selection::Filter(LetterFilter {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..LetterFilter::default()
        })
    };
    for limit in [1, 7, 120, 10_000] {
        let oldest = list_all(&client, "t", &by_group(&["g"]), Order::OldestFirst, limit).await;
        let mut newest = list_all(&client, "t", &by_group(&["g"]), Order::NewestFirst, limit).await;
        let mut found = ids_of(&oldest);
        found.sort();
        assert_eq!(found, ids, "pages of {limit}");
        newest.reverse();
        for letters in [&oldest, &newest] {
            let mut last: BTreeMap<u32, Offset> = BTreeMap::new();
            for letter in letters {
                let before = last.insert(letter.partition, letter.dead_letter_offset);
                assert!(before.is_none_or(|before| before < letter.dead_letter_offset));
            }
        }
        let mut found = ids_of(&newest);
        found.sort();
        assert_eq!(found, ids, "pages of {limit}, newest first");
    }
    let all = list_all(&client, "t", &Selection::All, Order::OldestFirst, 33).await;
    assert_eq!(all.len(), 240);
    let list = async |filter: LetterFilter| {
        list_all(
            &client,
            "t",
            &Selection::Filter(filter),
            Order::OldestFirst,
            50,
        )
        .await
    };
    // Each field alone against a walk over everything.
    let fingerprints: BTreeSet<_> = all
        .iter()
        .map(|letter| letter.fingerprint.clone())
        .collect();
    for fingerprint in &fingerprints {
        let found = list(LetterFilter {
            fingerprints: vec![fingerprint.clone()],
            ..LetterFilter::default()
        })
        .await;
        let expected = all
            .iter()
            .filter(|letter| letter.fingerprint == *fingerprint);
        assert_eq!(
            found.len(),
            expected.count(),
            "digits do not tell reasons apart"
        );
    }
    for (disposition, count) in [(3, 240), (1, 0), (77, 0)] {
        let found = list(LetterFilter {
            dispositions: vec![disposition],
            ..LetterFilter::default()
        })
        .await;
        assert_eq!(found.len(), count, "disposition {disposition}");
    }
    let middle = all[120].died_at;
    let (from, to) = (Some(middle), Some(middle));
    let after = list(LetterFilter {
        died_from: from,
        ..LetterFilter::default()
    });
    let before = list(LetterFilter {
        died_to: to,
        ..LetterFilter::default()
    });
    let (after, before) = (after.await, before.await);
    assert_eq!(after.len() + before.len(), 240);
    assert!(after.iter().all(|letter| letter.died_at >= middle));
    assert!(before.iter().all(|letter| letter.died_at < middle));
    let nothing = LetterFilter {
        urls: vec!["https://nowhere".to_owned()],
        ..LetterFilter::default()
    };
    assert_eq!(list(nothing).await, []);
    let both = LetterFilter {
        groups: vec!["g".to_owned(), "h".to_owned()],
        died_from: Some(TimestampMs(0)),
        died_to: Some(TimestampMs(i64::MAX)),
        dispositions: vec![3],
        ..LetterFilter::default()
    };
    assert_eq!(list(both).await.len(), 240);
    let by_ids = Selection::Ids(of_h.clone());
    let found = list_all(&client, "t", &by_ids, Order::OldestFirst, 1_000).await;
    assert_eq!(ids_of(&found), of_h);
    let stats = client.letter_stats("t", by_group(&["g"])).await.unwrap();
    assert_eq!((stats.selected, stats.counts.live), (120, 240));
    assert_eq!(stats.by_group, [("g".to_owned(), 120)]);
    assert_eq!(stats.by_disposition, [(3, 120)]);
    assert_eq!(
        stats.by_fingerprint.iter().map(|f| f.count).sum::<u64>(),
        120
    );
    assert_eq!(stats.by_age[0].1, 120);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_fixes_the_end_and_belongs_to_its_selection() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 2).await;
    fill(&client, "t", 20).await;
    reject_all(&client, "t", "g").await;
    let first = list_request("t", Selection::All, Page::first(Order::OldestFirst, 15));
    let page = client.letters(&first).await.unwrap();
    let cursor = page.cursor.clone().unwrap();
    reject_all(&client, "t", "later").await;
    let mut next = first.clone();
    next.page.cursor = Some(cursor.clone());
    for _ in 0..2 {
        let rest = client.letters(&next).await.unwrap();
        assert_eq!((rest.letters.len(), rest.cursor), (5, None));
    }
    let mut other = next.clone();
    other.page.order = Order::NewestFirst;
    refused(client.letters(&other).await, ErrorCode::InvalidCursor);
    other.page.order = Order::OldestFirst;
    other.selection = Selection::Filter(LetterFilter {
        groups: vec!["g".to_owned()],
        ..LetterFilter::default()
    });
    refused(client.letters(&other).await, ErrorCode::InvalidCursor);
    for at in 0..cursor.len() {
        let mut wrong = cursor.clone().into_bytes();
        wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
        next.page.cursor = Some(String::from_utf8(wrong).unwrap());
        refused(client.letters(&next).await, ErrorCode::InvalidCursor);
    }
    for limit in [0, 10_001] {
        let request = list_request("t", Selection::All, Page::first(Order::OldestFirst, limit));
        refused(client.letters(&request).await, ErrorCode::InvalidSelection);
    }
    for limit in [0, 20_001] {
        let request = RetryLettersRequest {
            topic: "t".to_owned(),
            selection: Selection::All,
            page: Page::first(Order::OldestFirst, limit),
            request_id: None,
        };
        let answer = client.retry_letters(&request).await;
        refused(answer, ErrorCode::InvalidSelection);
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_resolved_once_and_everybody_gets_the_same_answer() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    fill(&client, "t", 3).await;
    let mut ids = Vec::new();
    for offset in 0..3 {
        let request = rejection("g", ("t", 0, Offset(offset)), "no", None);
        ids.push(client.reject(&request).await.unwrap().letter_id);
    }
    let retry = async |client: &Client, id: &str, request_id: Option<&str>| {
        let mut request = retry_request("t", Selection::Ids(vec![id.to_owned()]));
        request.request_id = request_id.map(str::to_owned);
        let answer = client.retry_letters(&request).await.unwrap();
        assert_eq!((answer.letters.len(), answer.cursor), (1, None));
        let (found, result) = answer.letters.into_iter().next().unwrap();
        assert_eq!(found, id);
        result
    };
    let first = retry(&client, &ids[0], Some("deploy")).await.unwrap();
    assert!(first.is_new);
    assert_eq!((first.partition, first.offset), (0, Offset(3)));
    for name in [Some("deploy"), Some("another"), None] {
        let again = retry(&client, &ids[0], name).await.unwrap();
        assert_eq!(
            (&again.message_id, again.is_new),
            (&first.message_id, false)
        );
    }
    let broker = broker.restart().await;
    let client = broker.client().await;
    let again = retry(&client, &ids[0], Some("deploy")).await.unwrap();
    assert_eq!((again.message_id, again.is_new), (first.message_id, false));
    // Deleted is deleted, retried is retried.
    let delete = async |id: &str| {
        let request = delete_request("t", Selection::Ids(vec![id.to_owned()]));
        let answer = client.delete_letters(&request).await.unwrap();
        answer.letters.into_iter().next().unwrap().1
    };
    assert!(delete(&ids[1]).await.unwrap());
    let gone = retry(&client, &ids[1], None).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::UnknownLetter);
    let resolved = delete(&ids[0]).await.unwrap_err();
    assert_eq!(resolved.code, ErrorCode::LetterResolved);
    refused(client.letter(&ids[0]).await, ErrorCode::LetterResolved);
    refused(client.letter(&ids[1]).await, ErrorCode::LetterResolved);
    // Ids that are wrong are told apart.
    let mut mistyped = ids[2].clone().into_bytes();
    mistyped[10] = if mistyped[10] == b'A' { b'B' } else { b'A' };
    let mistyped = String::from_utf8(mistyped).unwrap();
    for id in [
        mistyped.as_str(),
        "",
        "x",
        "not an id at all",
        &again_id(&client).await,
    ] {
        let wrong = retry(&client, id, None).await.unwrap_err();
        assert_eq!(wrong.code, ErrorCode::InvalidLetterId, "{id:?}: {wrong}");
        assert!(wrong.message.contains(id));
    }
    let counts = client.topic("t").await.unwrap().partitions[0].letters;
    assert_eq!((counts.live, counts.republished), (1, 1));
    assert_eq!((counts.deleted, counts.expired), (1, 0));
    assert_eq!(read_all(&client, "t").await.len(), 4);
    let long = Some("i".repeat(129));
    let mut request = retry_request("t", Selection::All);
    request.request_id = long;
    refused(
        client.retry_letters(&request).await,
        ErrorCode::LimitExceeded,
    );
    broker.stop().await;
}

/// A message id, which is no letter's.
async fn again_id(client: &Client) -> String {
    let number = client.topic("t").await.unwrap().partitions[0].number;
    let number = storage::log_id::PartitionNumber(number);
    storage::address::Address::message(number, Offset(0)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_republished_record_is_for_the_group_that_rejected_it() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    fill(&client, "t", 4).await;
    reject_all(&client, "t", "g").await;
    retry_all(&client, "t", 10_000).await;
    let of_group = |group: Option<&str>, all_groups| ConsumerOptions {
        group: group.map(str::to_owned),
        all_groups,
        ..ConsumerOptions::default()
    };
    let mine = read(&client, "t", of_group(Some("g"), false)).await;
    assert_eq!(mine.len(), 8);
    for record in mine.iter().skip(4) {
        let user: Vec<_> = record
            .headers
            .iter()
            .filter(|(name, _)| !name.starts_with("redrive."))
            .collect();
        assert_eq!(user.len(), 1, "the record's own header is there");
        assert_eq!(record.key, record.value);
    }
    let theirs = read(&client, "t", of_group(Some("h"), false)).await;
    assert_eq!(theirs.len(), 4);
    assert_eq!(read(&client, "t", of_group(None, false)).await.len(), 4);
    assert_eq!(read(&client, "t", of_group(None, true)).await.len(), 8);
    // The fresh record dies once more: its lineage is known.
    let place = ("t", 0, mine[4].offset);
    let again = client
        .reject(&rejection("g", place, "again", None))
        .await
        .unwrap();
    let letter = client.letter(&again.letter_id).await.unwrap();
    assert_eq!(letter.republished, 1);
    assert!(letter.first_message_id.is_some());
    assert_eq!(letter.headers.len(), 1, "{:?}", letter.headers);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_retries_of_one_letter_append_one_record() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    fill(&client, "t", 10).await;
    for offset in 0..10 {
        let request = rejection("g", ("t", 0, Offset(offset)), "no", None);
        let id = client.reject(&request).await.unwrap().letter_id;
        let barrier = Arc::new(tokio::sync::Barrier::new(64));
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let (client, id) = (client.sibling(), id.clone());
                let barrier = Arc::clone(&barrier);
                tokio::spawn(async move {
                    let connection = client.connection().await.unwrap();
                    let mut request = retry_request("t", Selection::Ids(vec![id]));
                    request.request_id = Some(format!("request {task}"));
                    barrier.wait().await;
                    let answer = connection.call(&request).await.unwrap();
                    answer.letters[0].1.clone().unwrap()
                })
            })
            .collect();
        let mut ids = BTreeSet::new();
        let mut new_count = 0;
        for task in tasks {
            let republished = bounded(task).await.unwrap();
            new_count += u32::from(republished.is_new);
            ids.insert((republished.message_id, republished.offset));
        }
        assert_eq!((ids.len(), new_count), (1, 1), "letter {offset}");
    }
    assert_eq!(read_all(&client, "t").await.len(), 20);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_retry_everything_republish_each_letter_once() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 4).await;
    fill(&client, "t", 1_000).await;
    let mut ids = reject_all(&client, "t", "g").await;
    ids.sort();
    let tasks: Vec<_> = [10, 37]
        .map(|limit| {
            let client = client.sibling();
            tokio::spawn(async move { retry_all(&client, "t", limit).await })
        })
        .into_iter()
        .collect();
    let mut answers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut fresh = Vec::new();
    for task in tasks {
        for (id, republished) in bounded(task).await.unwrap() {
            answers
                .entry(id.clone())
                .or_default()
                .insert(republished.message_id);
            if republished.is_new {
                fresh.push(id);
            }
        }
    }
    assert!(answers.values().all(|messages| messages.len() == 1));
    fresh.sort();
    assert_eq!(fresh, ids, "each letter was new to one of the two, once");
    let counts = counted(&read_all(&client, "t").await);
    assert_eq!(counts.len(), 1_000);
    assert!(counts.values().all(|count| *count == 2));
    assert_eq!(
        list_all(&client, "t", &Selection::All, Order::OldestFirst, 100).await,
        []
    );
    let counts = client
        .letter_stats("t", Selection::All)
        .await
        .unwrap()
        .counts;
    assert_eq!((counts.live, counts.republished), (0, 1_000));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_and_a_delete_of_the_same_letters_share_them_out() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 2).await;
    fill(&client, "t", 200).await;
    let ids = reject_all(&client, "t", "g").await;
    let (retrier, deleter) = (client.sibling(), client.sibling());
    let retry = retry_request("t", Selection::Ids(ids.clone()));
    let mut reversed = ids.clone();
    reversed.reverse();
    let delete = delete_request("t", Selection::Ids(reversed));
    let (retried, deleted) = bounded(async {
        tokio::join!(
            retrier.retry_letters(&retry),
            deleter.delete_letters(&delete)
        )
    })
    .await;
    let retried: BTreeSet<_> = retried
        .unwrap()
        .letters
        .into_iter()
        .filter_map(|(id, result)| result.ok().map(|_| id))
        .collect();
    let deleted: BTreeSet<_> = deleted
        .unwrap()
        .letters
        .into_iter()
        .filter_map(|(id, result)| result.ok().map(|_| id))
        .collect();
    assert!(retried.is_disjoint(&deleted));
    assert_eq!(retried.len() + deleted.len(), 200);
    assert_eq!(read_all(&client, "t").await.len(), 200 + retried.len());
    broker.stop().await;
}
