//! Requests of an older version are answered in it, while newer ones get all there is.

use std::sync::Arc;

use bytes::Bytes;
use redrive::protocol::cursor::{Reader, Wire};
use redrive::protocol::error_code::Refusal;
use redrive::protocol::frame::{Request, RequestHeader, decode_payload, encode_request};
use redrive::protocol::letter::{DestinationView, LetterView, ReceiverView};
use redrive::protocol::read_letters::{GetLetterRequest, ListLettersRequest};
use redrive::protocol::selection::{LetterFilter, Order, Page, Selection};

use crate::harness::Running;
use crate::pushed;
use crate::wire::Raw;

/// Sends a request in a version's layout, and returns its answer, read in the same layout to its last byte.
async fn ask<R: Request>(raw: &mut Raw, version: u16, request: &R) -> R::Answer {
    let header = RequestHeader {
        api_key: R::KEY.number(),
        api_version: version,
        correlation_id: 3,
    };
    let parts = encode_request(header, |writer| request.write(writer)).unwrap();
    raw.send(&parts.concat()).await;
    let body: Bytes = raw.body().await.unwrap();
    let mut reader = Reader::shared(&body);
    reader.set_version(version);
    assert_eq!(u32::read(&mut reader), Ok(3));
    let answer: Result<R::Answer, Refusal> = decode_payload(&mut reader).unwrap();
    answer.unwrap()
}

fn destination(letter: LetterView) -> DestinationView {
    match letter.receiver {
        ReceiverView::Destination(destination) => destination,
        ReceiverView::Group(group) => panic!("a letter of {group}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_is_answered_as_it_asks() {
    let dir = tempfile::tempdir().unwrap();
    let ids = pushed::make(&dir.path().join("data"));
    let broker = Running::within(Arc::new(dir), &[]).await;
    let mut raw = Raw::shaken(broker.addresses.protocol).await;
    let get = GetLetterRequest { id: ids[2].clone() };
    let old = ask(&mut raw, 1, &get).await;
    let new = ask(&mut raw, 2, &get).await;
    assert_eq!(new.history[1].number, 2);
    assert_eq!(old.history[1].number, 0, "nothing is told of it");
    assert_eq!(new.history[1].body, old.history[1].body);
    let (old, new) = (destination(old), destination(new));
    assert_eq!(new.queue.as_deref(), Some("even"));
    assert_eq!((old.url, old.method), (new.url, new.method));
    assert_eq!(old.queue, None);
    let list = ListLettersRequest {
        topic: "_push".to_owned(),
        selection: Selection::Filter(LetterFilter {
            statuses: vec![503],
            queues: vec!["even".to_owned()],
            ..LetterFilter::default()
        }),
        page: Page::first(Order::NewestFirst, 100),
        bytes_max: 0,
    };
    let listed = |letters: Vec<LetterView>| -> Vec<String> {
        letters.into_iter().map(|letter| letter.id).collect()
    };
    let new = listed(ask(&mut raw, 2, &list).await.letters);
    assert_eq!(new, [ids[4].as_str(), &ids[2]]);
    // An old request has no place for the queue.
    let old = listed(ask(&mut raw, 1, &list).await.letters);
    assert_eq!(old, [ids[5].as_str(), &ids[4], &ids[3], &ids[2]]);
    broker.stop().await;
}
