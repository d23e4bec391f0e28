//! Messages that are called off, wherever they wait.

use std::sync::atomic::Ordering;
use std::task::Poll;

use super::super::AHEAD_FACTOR;
use super::*;
use crate::delivery::filter::MessageFilter;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_named_twice_is_cancelled_once() {
    let machine = Machine::new();
    let later = Envelope {
        not_before: Some(NOW.saturating_add(60_000)),
        ..to("http://h/later")
    };
    let id = id(&machine.publish(later).await);
    assert_eq!(machine.broker.cancel(&[id.clone(), id]).await.unwrap(), 1);
    machine.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_messages_do_not_stay_at_the_gates() {
    let machine = Machine::new();
    let mut ids = Vec::new();
    for _ in 0..3 * AHEAD_FACTOR + 14 {
        ids.push(id(&machine.publish(to("http://sick/")).await));
    }
    // Three are under way, and others have their intents written ahead.
    let ahead = 3 * AHEAD_FACTOR - 3;
    let waiting = |broker: &Broker| {
        let push = broker.push();
        let for_places = push.places.lock().waiting_count();
        (push.gates.lock().waiting_count(), for_places)
    };
    eventually(&machine, "they wait", |broker| {
        waiting(broker) == (14, ahead)
    })
    .await;
    machine.broker.cancel(&ids).await.unwrap();
    machine.broker.sweep_push();
    // A round that had begun before may put one there that is called off, which the next sweep takes out.
    eventually(&machine, "none waits", |broker| {
        broker.sweep_push();
        waiting(broker) == (0, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_called_off_while_it_waits_for_a_place_is_not_sent() {
    let mut machine = Machine::new();
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(id(&machine.publish(to(&format!("http://h/{n}"))).await));
        // One after the other, so that they wait in this order.
        let begun = |broker: &Broker| broker.delivery_counts().in_flight == n + 1;
        eventually(&machine, "its intent is written", begun).await;
    }
    let mut under_way = Vec::new();
    for _ in 0..3 {
        under_way.push(machine.attempt().await);
    }
    let waiting = |broker: &Broker| broker.push().places.lock().waiting_count() == 3;
    eventually(&machine, "they wait for a place", waiting).await;
    assert_eq!(machine.broker.cancel(&ids[3..5]).await.unwrap(), 2);
    under_way.pop().unwrap().answer(200, &[]);
    assert_eq!(machine.attempt().await.url(), "http://h/5");
    let counts = machine.broker.delivery_counts();
    assert_eq!(counts.cancelled, 2);
    machine.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_called_off_leaves_the_gates_also_when_its_caller_hangs_up() {
    let machine = Machine::new();
    let id = id(&machine.publish(to("http://sick/")).await);
    let ids = [id];
    let mut cancel = Box::pin(machine.broker.cancel(&ids));
    let polled = std::future::poll_fn(|cx| Poll::Ready(cancel.as_mut().poll(cx))).await;
    drop(cancel);
    let is_noted = machine.broker.push().has_cancelled.load(Ordering::Acquire);
    assert!(is_noted, "{polled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_behind_the_beginning_of_a_call_is_not_called_off() {
    let machine = Machine::new();
    let later = |path: &str| Envelope {
        not_before: Some(NOW.saturating_add(60_000)),
        ..to(&format!("http://h/{path}"))
    };
    machine.publish(later("before")).await;
    let filter = MessageFilter::default();
    let mut cancel = Box::pin(machine.broker.cancel_matching(&filter, u64::MAX));
    let polled = std::future::poll_fn(|cx| Poll::Ready(cancel.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    let behind = id(&machine.publish(later("behind")).await);
    assert_eq!(cancel.await.unwrap(), 1);
    assert!(machine.broker.message(&behind).unwrap().is_some());
}
