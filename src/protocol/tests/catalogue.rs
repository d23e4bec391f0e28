//! Every message of the protocol, with all its fields filled in.

use bytes::Bytes;
use storage::offset::{Offset, TimestampMs};

use super::Visitor;
use super::samples::{change, committed, counts, filter, letter, name, page, refusal, topic};
use crate::protocol::alter_topic::AlterTopicRequest;
use crate::protocol::create_topic::CreateTopicRequest;
use crate::protocol::cursor::Text;
use crate::protocol::delete_topic::{DeleteTopicAnswer, DeleteTopicRequest};
use crate::protocol::fetch::{FetchAnswer, FetchPartition, FetchRequest, FetchedPartition};
use crate::protocol::group_offsets::{
    CommitOffsetsAnswer, CommitOffsetsRequest, DeleteGroupAnswer, DeleteGroupRequest,
    FetchOffsetsAnswer, FetchOffsetsRequest, GroupPartitionView, GroupView, ListGroupsAnswer,
    ListGroupsRequest,
};
use crate::protocol::handshake::{HandshakeAnswer, HandshakeRequest};
use crate::protocol::letter::{DestinationView, ReceiverView};
use crate::protocol::list_offsets::{
    FoundOffset, ListOffsetsAnswer, ListOffsetsRequest, Place, PlaceInPartition,
};
use crate::protocol::metadata::{MetadataAnswer, MetadataRequest};
use crate::protocol::produce::{Acks, Appended, ProduceAnswer, ProduceBatch, ProduceRequest};
use crate::protocol::producer_id::{ProducerIdAnswer, ProducerIdRequest};
use crate::protocol::read_letters::{
    FingerprintCount, GetLetterRequest, LetterStatsAnswer, LetterStatsRequest, ListLettersAnswer,
    ListLettersRequest,
};
use crate::protocol::reject::{RejectAnswer, RejectRequest};
use crate::protocol::resolve_letters::{
    DeleteLettersAnswer, DeleteLettersRequest, Republished, RetryLettersAnswer, RetryLettersRequest,
};
use crate::protocol::selection::{Order, Page, Selection};
use crate::protocol::settings::Durability;

pub(super) fn visit_all(v: &mut impl Visitor) {
    visit_topics(v);
    visit_logs(v);
    visit_groups(v);
    visit_letters(v);
    visit_resolutions(v);
}

fn visit_topics(v: &mut impl Visitor) {
    v.api(
        &HandshakeRequest {
            version_min: 1,
            version_max: 2,
            client_name: name("redrive 0.1.0"),
            token: Some(name("secret")),
        },
        &HandshakeAnswer {
            version: 1,
            broker_version: name("0.1.0"),
            frame_bytes_max: 3,
            batch_bytes_max: 4,
            record_bytes_max: 5,
        },
    );
    v.api(
        &MetadataRequest {
            topics: Some(vec![name("flights"), name("other")]),
        },
        &MetadataAnswer {
            topics: vec![
                (name("flights"), Ok(topic())),
                (name("other"), Err(refusal())),
            ],
        },
    );
    v.api(
        &CreateTopicRequest {
            name: name("flights"),
            partition_count: 8,
            durability: Durability::Synced,
            change: change(),
        },
        &topic(),
    );
    v.api(
        &AlterTopicRequest {
            name: name("flights"),
            partition_count: Some(16),
            change: change(),
        },
        &topic(),
    );
    v.api(
        &DeleteTopicRequest {
            name: name("flights"),
            force: true,
        },
        &DeleteTopicAnswer {},
    );
    v.api(
        &ProducerIdRequest {},
        &ProducerIdAnswer { id: 1000, epoch: 2 },
    );
}

fn visit_logs(v: &mut impl Visitor) {
    v.api(
        &ProduceRequest {
            acks: Acks::Synced,
            batches: vec![ProduceBatch {
                topic: name("flights"),
                partition: 1,
                batch: Bytes::from_static(b"batch"),
            }],
        },
        &ProduceAnswer {
            batches: vec![
                Ok(Appended {
                    base_offset: Offset(7),
                    append_time: TimestampMs(8),
                }),
                Err(refusal()),
            ],
        },
    );
    v.api(
        &FetchRequest {
            partitions: vec![FetchPartition {
                topic: name("flights"),
                partition: 1,
                offset: Offset(2),
                bytes_max: 3,
            }],
            bytes_min: 4,
            bytes_max: 5,
            wait_ms_max: 6,
        },
        &FetchAnswer {
            partitions: vec![
                FetchedPartition {
                    refusal: None,
                    log_start_offset: Offset(1),
                    high_watermark: Offset(2),
                    batches: Bytes::from_static(b"batches"),
                },
                FetchedPartition {
                    refusal: Some(refusal()),
                    ..FetchedPartition::default()
                },
            ],
        },
    );
    let place = |place| PlaceInPartition {
        topic: name("flights"),
        partition: 1,
        place,
    };
    v.api(
        &ListOffsetsRequest {
            partitions: vec![
                place(Place::Earliest),
                place(Place::Latest),
                place(Place::AppendedAt(TimestampMs(-5))),
            ],
        },
        &ListOffsetsAnswer {
            partitions: vec![
                Ok(FoundOffset {
                    offset: Offset(1),
                    append_time: Some(TimestampMs(2)),
                }),
                Err(refusal()),
            ],
        },
    );
}

fn visit_groups(v: &mut impl Visitor) {
    v.api(
        &CommitOffsetsRequest {
            group: name("billing"),
            offsets: vec![committed()],
        },
        &CommitOffsetsAnswer {},
    );
    v.api(
        &FetchOffsetsRequest {
            group: name("billing"),
            topics: Some(vec![name("flights")]),
        },
        &FetchOffsetsAnswer {
            offsets: vec![committed()],
        },
    );
    v.api(
        &ListGroupsRequest {},
        &ListGroupsAnswer {
            groups: vec![GroupView {
                name: name("billing"),
                partitions: vec![GroupPartitionView {
                    committed: committed(),
                    high_watermark: Offset(9),
                    lag: 5,
                }],
            }],
        },
    );
    v.api(
        &DeleteGroupRequest {
            group: name("billing"),
        },
        &DeleteGroupAnswer {},
    );
}

fn visit_letters(v: &mut impl Visitor) {
    v.api(
        &RejectRequest {
            group: name("billing"),
            topic: name("flights"),
            partition: 1,
            offset: Offset(2),
            reason: Text(name("late")),
            details: Some(Text(name("by a day"))),
        },
        &RejectAnswer {
            letter_id: name("2abc"),
            is_new: true,
        },
    );
    v.api(
        &ListLettersRequest {
            topic: name("flights"),
            selection: Selection::Filter(filter()),
            page: page(),
            bytes_max: 1,
        },
        &ListLettersAnswer {
            letters: vec![letter(ReceiverView::Group(name("billing")))],
            cursor: Some(name("next")),
        },
    );
    v.api(
        &GetLetterRequest { id: name("2abc") },
        &letter(ReceiverView::Destination(DestinationView {
            method: name("POST"),
            url: name("https://example.com/hook"),
            url_group: Some(name("g1")),
            endpoint: Some(name("e1")),
            queue: None,
            schedule: Some(name("s1")),
            flow_control_key: Some(name("k1")),
        })),
    );
    v.api(
        &LetterStatsRequest {
            topic: name("flights"),
            selection: Selection::All,
        },
        &LetterStatsAnswer {
            counts: counts(),
            selected: 5,
            by_disposition: vec![(3, 5)],
            by_group: vec![(name("billing"), 5)],
            by_fingerprint: vec![FingerprintCount {
                fingerprint: name("010203040506070809"),
                reason: Text(name("late")),
                count: 5,
            }],
            by_age: vec![(3_600_000, 5)],
            oldest_died_at: Some(TimestampMs(6)),
            newest_died_at: Some(TimestampMs(7)),
        },
    );
}

fn visit_resolutions(v: &mut impl Visitor) {
    v.api(
        &RetryLettersRequest {
            topic: name("flights"),
            selection: Selection::Ids(vec![name("2abc")]),
            page: page(),
            request_id: Some(name("r1")),
        },
        &RetryLettersAnswer {
            letters: vec![
                (
                    name("2abc"),
                    Ok(Republished {
                        message_id: name("1abc"),
                        partition: 1,
                        offset: Offset(2),
                        is_new: true,
                    }),
                ),
                (name("2abd"), Err(refusal())),
            ],
            cursor: Some(name("next")),
        },
    );
    v.api(
        &DeleteLettersRequest {
            topic: name("flights"),
            selection: Selection::All,
            page: Page::first(Order::OldestFirst, 10_000),
            request_id: None,
        },
        &DeleteLettersAnswer {
            letters: vec![(name("2abc"), Ok(true)), (name("2abd"), Err(refusal()))],
            cursor: None,
        },
    );
}
