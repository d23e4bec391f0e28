//! What becomes of a message: delivered, retried, dead, cancelled, or there already.

use std::time::Duration;

use bytes::Bytes;
use storage::delivery::{Callback, Envelope};

use super::{Machine, NOW, id, publication, to};
use crate::broker::push::logs::{EFFORT_MAX, Effort};
use crate::delivery::api::{LogFilter, MessageState};
use crate::delivery::settings::PublishSettings;
use crate::protocol::resolve_letters::{DeleteLettersRequest, RetryLettersRequest};
use crate::protocol::selection::{Order, Page, Selection};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_delivered_once_with_its_headers() {
    let mut machine = Machine::new();
    let published = machine.publish(to("http://h/a")).await;
    let attempt = machine.attempt().await;
    assert_eq!(attempt.header("upstash-message-id"), id(&published));
    assert_eq!(attempt.header("upstash-retried"), "0");
    assert_eq!(attempt.request.body, "body");
    assert!(!attempt.header("upstash-signature").is_empty());
    attempt.answer(200, &[]);
    machine
        .until("delivered", |broker| {
            broker.delivery_counts().delivered == 1
        })
        .await;
    assert_eq!(machine.broker.message(&id(&published)).unwrap(), None);
    let mut machine = machine.restart().await;
    assert_eq!(machine.broker.delivery_counts().delivered, 1);
    machine.publish(to("http://h/b")).await;
    assert_eq!(machine.attempt().await.url(), "http://h/b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_flight_is_sent_again_under_its_number_after_a_power_cut() {
    let mut machine = Machine::new();
    let published = machine.publish(to("http://h/a")).await;
    let _unanswered = machine.attempt().await;
    let mut machine = machine.restart().await;
    let again = machine.attempt().await;
    assert_eq!(again.header("upstash-message-id"), id(&published));
    assert_eq!(again.header("upstash-retried"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_keeps_failing_dies_and_comes_back_with_other_settings() {
    let mut machine = Machine::new();
    let callback = |url: &str| {
        Some(Callback {
            url: url.to_owned(),
            ..Callback::default()
        })
    };
    let envelope = Envelope {
        callback: callback("http://c/each"),
        failure_callback: callback("http://c/failed"),
        ..to("http://h/a")
    };
    let published = machine.publish(envelope).await;
    machine.attempt_to("http://h/a").await.answer(500, &[]);
    let told = machine.attempt_to("http://c/each").await;
    let body: serde_json::Value = serde_json::from_slice(&told.request.body).unwrap();
    assert_eq!(body["status"], 500);
    assert_eq!(body["sourceMessageId"], id(&published));
    assert!(body.get("dlqId").is_none());
    told.answer(200, &[]);
    machine.advance(Duration::from_secs(1));
    let second = machine.attempt_to("http://h/a").await;
    assert_eq!(second.header("upstash-retried"), "1");
    second.answer(503, &[]);
    let failed = machine.attempt_to("http://c/failed").await;
    let body: serde_json::Value = serde_json::from_slice(&failed.request.body).unwrap();
    let letters = machine.letters();
    let letter = letters.first().unwrap();
    assert_eq!(body["dlqId"], letter.id);
    assert_eq!(letter.letter.history.attempts().len(), 2);
    assert_eq!(letter.letter.history.last_status(), Some(503));
    failed.answer(200, &[]);
    machine.attempt_to("http://c/each").await.answer(200, &[]);
    machine
        .until("all told", |broker| broker.delivery_counts().delivered == 3)
        .await;

    let mut machine = machine.restart().await;
    let request = RetryLettersRequest {
        topic: String::new(),
        selection: Selection::Ids(vec![letter.id.clone()]),
        page: Page::first(Order::OldestFirst, 1),
        request_id: None,
    };
    machine.refuse_too_large(&request).await;
    let overrides = PublishSettings {
        method: Some("PUT".to_owned()),
        ..PublishSettings::default()
    };
    let answer = machine
        .broker
        .retry_messages(request, overrides, "test".to_owned())
        .await
        .unwrap();
    let republished = answer.letters.first().unwrap().1.as_ref().unwrap();
    let again = machine.attempt_to("http://h/a").await;
    assert_eq!(again.header("upstash-message-id"), republished.message_id);
    assert_eq!(again.request.method, "PUT");
    again.answer(204, &[]);
    machine
        .until("delivered", |broker| {
            broker.delivery_counts().delivered == 4
        })
        .await;
    assert!(machine.letters().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cursor_in_front_of_a_page_leads_to_what_is_left_of_it() {
    let mut machine = Machine::new();
    let page = Page::first(Order::OldestFirst, 2);
    let first = |machine: &Machine| {
        let cursor = machine.broker.first_cursor("_push", &Selection::All, &page);
        cursor.unwrap()
    };
    for n in 0..4 {
        let once = Envelope {
            retries: 0,
            ..to(&format!("http://h/{n}"))
        };
        machine.publish(once).await;
        machine.attempt().await.answer(500, &[]);
        machine
            .until("dead", |broker| {
                broker.delivery_counts().dead_lettered == n + 1
            })
            .await;
    }
    let again = Page {
        cursor: first(&machine),
        ..page.clone()
    };
    let found = |page: &Page| {
        let (letters, _) = machine.broker.dead_messages(&Selection::All, page).unwrap();
        letters
            .into_iter()
            .map(|letter| letter.id)
            .collect::<Vec<_>>()
    };
    let before = found(&page);
    assert_eq!((before.len(), &found(&again)), (2, &before));
    let request = DeleteLettersRequest {
        topic: "_push".to_owned(),
        selection: Selection::Ids(vec![before[0].clone()]),
        page: page.clone(),
        request_id: None,
    };
    let deleted = machine.broker.delete_letters(request, "test".to_owned());
    assert!(deleted.await.unwrap().letters[0].1.as_ref().unwrap());
    assert_eq!(found(&again)[0], before[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_may_end_it_or_say_when() {
    let mut machine = Machine::new();
    machine.publish(to("http://h/never")).await;
    let never = [("upstash-nonretryable-error", "true")];
    machine.attempt().await.answer(489, &never);
    machine
        .until("dead", |broker| broker.delivery_counts().dead_lettered == 1)
        .await;
    let published = machine.publish(to("http://h/later")).await;
    machine
        .attempt()
        .await
        .answer(429, &[("retry-after", "60")]);
    machine
        .until("retry", |broker| {
            let message = broker.message(&id(&published)).unwrap().unwrap();
            message.state == MessageState::Retry
        })
        .await;
    let message = machine.broker.message(&id(&published)).unwrap().unwrap();
    let wait = message.next_attempt_at.unwrap().since(NOW);
    assert!((60_000..=66_000).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_message_is_not_sent() {
    let machine = Machine::new();
    let later = Envelope {
        not_before: Some(NOW.saturating_add(60_000)),
        ..to("http://h/later")
    };
    let published = machine.publish(later).await;
    assert_eq!(machine.broker.cancel(&[id(&published)]).await.unwrap(), 1);
    assert_eq!(machine.broker.cancel(&[id(&published)]).await.unwrap(), 0);
    let mut machine = machine.restart().await;
    machine.advance(Duration::from_secs(61));
    machine.publish(to("http://h/now")).await;
    assert_eq!(machine.attempt().await.url(), "http://h/now");
    assert_eq!(machine.broker.delivery_counts().cancelled, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_gets_the_first_ones_answer_for_ten_minutes_also_after_a_power_cut() {
    let mut machine = Machine::new();
    let keyed = || Envelope {
        dedup: Some([9; 16]),
        ..to("http://h/a")
    };
    let first = machine.publish(keyed()).await;
    let (second, third) = tokio::join!(machine.publish(keyed()), machine.publish(keyed()));
    assert!(second.is_duplicate && third.is_duplicate && !first.is_duplicate);
    assert_eq!((id(&second), id(&third)), (id(&first), id(&first)));
    machine.attempt().await.answer(200, &[]);
    let machine = machine.restart().await;
    assert_eq!(id(&machine.publish(keyed()).await), id(&first));
    machine.advance(Duration::from_mins(10));
    assert!(!machine.publish(keyed()).await.is_duplicate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_newest_first_page_by_page() {
    let mut machine = Machine::new();
    let published = machine.publish(to("http://h/a")).await;
    machine.attempt().await.answer(500, &[]);
    machine
        .until("retry", |broker| broker.delivery_counts().in_flight == 0)
        .await;
    machine.advance(Duration::from_secs(1));
    machine.attempt().await.answer(200, &[]);
    machine
        .until("delivered", |broker| {
            broker.delivery_counts().delivered == 1
        })
        .await;
    machine.publish(to("http://h/other")).await;
    let mut filter = LogFilter::default();
    filter.messages.message_ids = vec![id(&published)];
    let mut states = Vec::new();
    let mut cursor = None;
    loop {
        let (events, next) = machine.broker.logs(&filter, cursor, 2).unwrap();
        assert!(events.len() <= 2);
        for event in events {
            assert_eq!(event.message_id, id(&published));
            assert_eq!(event.envelope.url, "http://h/a");
            states.push(event.state);
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let [active, retry] = [MessageState::Active, MessageState::Retry];
    let delivered = MessageState::Delivered;
    let (error, created) = (MessageState::Error, MessageState::Created);
    assert_eq!(states, [delivered, active, retry, error, active, created]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_message_are_found_behind_those_of_many_others() {
    let mut machine = Machine::new();
    let mut ids = Vec::new();
    for n in 0..6 {
        let published = machine.publish(to(&format!("http://h/{n}"))).await;
        machine.attempt().await.answer(200, &[]);
        machine
            .until("delivered", |broker| {
                broker.delivery_counts().delivered == n + 1
            })
            .await;
        ids.push(id(&published));
        machine.advance(Duration::from_secs(1));
    }
    let mut filter = LogFilter::default();
    filter.messages.message_ids = vec![ids[1].clone()];
    let effort = |looked_at, passed_over| Effort {
        looked_at,
        passed_over,
        ..EFFORT_MAX
    };
    let states = [
        MessageState::Delivered,
        MessageState::Active,
        MessageState::Created,
    ];
    for (effort, pages_expected) in [
        (effort(100, 100), 1),
        (effort(100, 2), 6),
        (effort(1, 100), 4),
    ] {
        let (mut found, mut pages, mut cursor) = (Vec::new(), 0, None);
        loop {
            let page = machine.broker.logs_within(effort, &filter, cursor, 100);
            let (events, next) = page.unwrap();
            assert!(events.iter().all(|event| event.message_id == ids[1]));
            found.extend(events.into_iter().map(|event| event.state));
            pages += 1;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, states);
        // Each of the other messages has two events in the log that is read of all, and none in the other one.
        assert_eq!(pages, pages_expected, "by {effort:?}");
    }
    // What happened before the first time that is asked for is not looked at, whatever it is.
    filter.from = Some(machine.broker.now());
    let page = machine.broker.logs_within(effort(1, 1), &filter, None, 100);
    assert_eq!(page.unwrap(), (Vec::new(), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_events_ends_behind_its_bytes() {
    let machine = Machine::new();
    for n in 0..3 {
        let body = Bytes::from(vec![b'x'; 1_000]);
        let message = publication(to(&format!("http://h/{n}")), body);
        let published = machine.broker.publish(vec![message]).await;
        assert!(published.iter().all(Result::is_ok), "{published:?}");
    }
    let effort = Effort {
        bytes: 2_500,
        ..EFFORT_MAX
    };
    let filter = LogFilter {
        states: vec![MessageState::Created],
        ..LogFilter::default()
    };
    let (mut sizes, mut cursor) = (Vec::new(), None);
    loop {
        let page = machine.broker.logs_within(effort, &filter, cursor, 100);
        let (events, next) = page.unwrap();
        sizes.push(events.len());
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [2, 1]);
}
