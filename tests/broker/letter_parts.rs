//! A page of letters that is worked off in parts, because it takes more than is held in memory at a time.

use redrive::client::api::rejection;
use redrive::client::{Producer, ProducerOptions};
use redrive::protocol::selection::Selection;
use storage::offset::Offset;

use crate::harness::{Running, bounded, create, record};
use crate::letters::retry_request;

/// Together more than a part of a page takes.
const LETTERS: u64 = 16;
const RECORD_BYTES: usize = 400_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_answered_whole_and_in_order_however_many_parts_it_has() {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    let options = ProducerOptions::default();
    let producer = Producer::open(&client, "t", options).await.unwrap();
    let value = vec![b'v'; RECORD_BYTES];
    for _ in 0..LETTERS {
        producer.send(&record(None, &value, &[])).await.unwrap();
    }
    bounded(producer.close()).await.unwrap();
    let mut ids = Vec::new();
    for offset in 0..LETTERS {
        let request = rejection("g", ("t", 0, Offset(offset)), "no", None);
        ids.push(client.reject(&request).await.unwrap().letter_id);
    }
    let mut request = retry_request("t", Selection::All);
    request.page.limit = u32::try_from(LETTERS - 1).unwrap();
    let mut done = Vec::new();
    for count in [LETTERS - 1, 1] {
        let answer = bounded(client.retry_letters(&request)).await.unwrap();
        assert_eq!(answer.letters.len() as u64, count);
        done.extend(answer.letters);
        request.page.cursor = answer.cursor;
    }
    assert_eq!(request.page.cursor, None);
    let places = done.into_iter().map(|(id, republished)| {
        let republished = republished.unwrap();
        assert!(republished.is_new);
        (id, republished.offset)
    });
    let expected = ids.into_iter().zip((LETTERS..).map(Offset));
    assert_eq!(places.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}
