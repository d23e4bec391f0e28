//! What a peer should not send, and that nobody else suffers from it.

mod batches;
mod frames;
mod limits;
mod strangers;

use std::net::SocketAddr;

use redrive::client::Client;
use redrive::protocol::error_code::{ErrorCode, Refusal};
use redrive::protocol::group_offsets::{FetchOffsetsRequest, ListGroupsRequest};
use redrive::protocol::list_offsets::{ListOffsetsRequest, Place, PlaceInPartition};
use redrive::protocol::metadata::MetadataRequest;
use redrive::protocol::read_letters::LetterStatsRequest;
use redrive::protocol::selection::{Order, Page, Selection};

use crate::harness::{Running, batch, create};
use crate::letters::{list_request, retry_request};
use crate::produce::{fetch_request, produce_request};
use crate::wire::{Raw, frame};

/// Asserts that the broker still serves somebody else.
async fn others_go_on(client: &Client) {
    let appended = client
        .produce(&produce_request("other", 0, batch(&[b"still here"])))
        .await
        .unwrap();
    let offset = appended.batches[0].as_ref().unwrap().base_offset;
    let fetched = client
        .fetch(&fetch_request("other", offset.0, 0))
        .await
        .unwrap();
    assert!(!fetched.partitions[0].batches.is_empty());
}

async fn start() -> (Running, Client, SocketAddr) {
    let broker = Running::start().await;
    let client = broker.client().await;
    create(&client, "t", 1).await;
    create(&client, "other", 1).await;
    let address = broker.addresses.protocol;
    (broker, client, address)
}

/// Sends one frame after a handshake; the answer is a refusal and the connection ends.
async fn ends_with(address: SocketAddr, bytes: &[u8], code: ErrorCode) -> Refusal {
    let mut raw = Raw::shaken(address).await;
    raw.send(bytes).await;
    let (_, answer) = raw.answer::<MetadataRequest>().await.expect("an answer");
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.code, code, "{refusal}");
    assert_eq!(raw.body().await, None, "the connection is to end");
    refusal
}

fn requests() -> Vec<Vec<u8>> {
    vec![
        frame(1, &MetadataRequest { topics: None }),
        frame(2, &produce_request("t", 0, batch(&[b"abc"]))),
        frame(3, &fetch_request("t", 0, 0)),
        frame(4, &ListGroupsRequest {}),
        frame(
            5,
            &FetchOffsetsRequest {
                group: "g".to_owned(),
                topics: Some(vec!["t".to_owned()]),
            },
        ),
        frame(
            6,
            &ListOffsetsRequest {
                partitions: vec![PlaceInPartition {
                    topic: "t".to_owned(),
                    partition: 0,
                    place: Place::Earliest,
                }],
            },
        ),
        frame(
            7,
            &LetterStatsRequest {
                topic: "t".to_owned(),
                selection: Selection::All,
            },
        ),
        frame(
            8,
            &list_request("t", Selection::All, Page::first(Order::OldestFirst, 5)),
        ),
        frame(9, &retry_request("t", Selection::All)),
    ]
}

/// Bytes of this process in memory.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4_096
}
