//! When a message has its turn: queues, limits, rates and schedules.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::delivery::{Envelope, FlowControl};
use storage::offset::{Offset, TimestampMs};

use super::{MINUTE, Machine, NOW, to};
use crate::broker::{Broker, NewSchedule};
use crate::delivery::gates::{Claim, Ticket, Turn};
use crate::names::{QueueName, ScheduleId};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_goes_in_order_also_after_a_power_cut() {
    let mut machine = Machine::new();
    let queued = |n: u32| Envelope {
        queue: Some("q".to_owned()),
        ..to(&format!("http://h/{n}"))
    };
    for n in 0..4 {
        machine.publish(queued(n)).await;
    }
    assert_eq!(machine.broker.queue_lag("q"), 4);
    let first = machine.attempt().await;
    assert_eq!(first.url(), "http://h/0");
    first.answer(500, &[]);
    machine
        .until("the retry is set", |broker| {
            broker.delivery_counts().in_flight == 0
        })
        .await;
    assert!(machine.arrived.try_recv().is_err(), "the next one waits");
    let mut machine = machine.restart().await;
    machine.advance(Duration::from_secs(1));
    for n in 0..4 {
        let attempt = machine.attempt().await;
        assert_eq!(attempt.url(), format!("http://h/{n}"));
        attempt.answer(200, &[]);
    }
    machine
        .until("empty", |broker| broker.queue_lag("q") == 0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_queue_waits() {
    let mut machine = Machine::new();
    let queue = QueueName::parse("q").unwrap();
    machine
        .broker
        .upsert_queue(&queue, Some(2), Some(true))
        .unwrap();
    machine
        .until("the queue is known", |broker| {
            broker.push_settings().state.queue("q").is_some()
        })
        .await;
    let envelope = |n: u32| Envelope {
        queue: Some("q".to_owned()),
        ..to(&format!("http://h/{n}"))
    };
    for n in 0..3 {
        machine.publish(envelope(n)).await;
    }
    machine.publish(to("http://h/other")).await;
    machine.attempt_to("http://h/other").await.answer(200, &[]);
    machine.broker.pause_queue(&queue, false).unwrap();
    let one = machine.attempt().await;
    let two = machine.attempt().await;
    let urls = [one.url().to_owned(), two.url().to_owned()];
    assert!(urls.contains(&"http://h/0".to_owned()) && urls.contains(&"http://h/1".to_owned()));
    one.answer(200, &[]);
    assert_eq!(machine.attempt().await.url(), "http://h/2");
}

/// Who is let in in its turn is sent at once, so that a pause holds all others: somebody behind it, ahead of its turn, may be
/// written down first and finds no place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_kept_for_who_was_let_in_in_its_turn() {
    let mut machine = Machine::new();
    let mut busy = Vec::new();
    for n in 0..2 {
        machine.publish(to(&format!("http://h/{n}"))).await;
        busy.push(machine.attempt().await);
    }
    let push = machine.broker.push();
    let pass = {
        let mut gates = push.gates.lock();
        let claim = Claim {
            host: Arc::from("h:80"),
            turn: Turn::InOrder,
            places: 1,
        };
        let ticket = Ticket {
            partition: 0,
            message: Offset(99),
        };
        let pass = gates.enter(ticket, None, claim, NOW).0.unwrap();
        push.keep_place(&gates, &pass);
        pass
    };
    machine.publish(to("http://h/ahead")).await;
    machine
        .until("it waits for a place", |broker| {
            broker.push().places.lock().waiting_count() == 1
        })
        .await;
    let next = push.leave_unsent(&pass, NOW);
    assert_eq!(next.len(), 1);
    assert_eq!(push.gates.lock().in_flight(), 3);
    assert_eq!(push.places.lock().in_flight(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_messages_are_refused_and_a_sick_destination_keeps_its_places() {
    let mut machine = Machine::new();
    for _ in 0..10 {
        machine.publish(to("http://sick/")).await;
    }
    machine.publish(to("http://well/")).await;
    let well = machine.attempt_to("http://well/").await;
    // Those of the sick one may come behind it. They are not answered.
    let mut sick = Vec::new();
    while sick.len() < 3 {
        sick.push(machine.attempt_to("http://sick/").await);
    }
    let more = machine.early.get_mut().len();
    assert_eq!(more, 0, "one destination has three places");
    well.answer(200, &[]);
    // One that has just been synced may be counted twice for a moment.
    let mut taken = 10;
    let refusal = loop {
        assert!(taken <= 50, "more are taken than may wait");
        match machine.try_publish(to("http://sick/")).await {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    assert!(taken >= 49, "only {taken} were taken");
    assert_eq!(
        refusal.code,
        crate::protocol::error_code::ErrorCode::Overloaded
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_counts_on_over_a_power_cut() {
    let mut machine = Machine::new();
    let limited = || Envelope {
        flow: Some(FlowControl {
            key: "k".to_owned(),
            parallelism: None,
            rate: Some(2),
            period_ms: Some(60_000),
        }),
        ..to("http://h/a")
    };
    for _ in 0..3 {
        machine.publish(limited()).await;
    }
    machine.attempt().await.answer(200, &[]);
    machine.attempt().await.answer(200, &[]);
    machine
        .until("two delivered", |broker| {
            broker.delivery_counts().delivered == 2
        })
        .await;
    let mut machine = machine.restart().await;
    machine
        .until("it waits", |broker| {
            broker
                .flow_view("k")
                .is_some_and(|view| view.waiting_count == 1)
        })
        .await;
    assert_eq!(machine.broker.flow_view("k").unwrap().rate_count, 2);
    machine.advance(Duration::from_mins(1));
    machine.attempt().await.answer(200, &[]);
}

fn each_minute() -> NewSchedule {
    NewSchedule {
        id: Some(ScheduleId::parse("s").unwrap()),
        cron: "* * * * *".to_owned(),
        destination: "http://h/tick".to_owned(),
        queue: None,
        envelope: Envelope {
            url: String::new(),
            ..to("")
        },
        body: Bytes::from_static(b"tick"),
        caller_ip: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_fires_once_for_each_time_and_once_for_a_downtime() {
    let mut machine = Machine::new();
    machine.broker.set_schedule(each_minute()).unwrap();
    machine.advance(Duration::from_mins(1));
    let tick = machine.attempt().await;
    assert_eq!(tick.header("upstash-schedule-id"), "s");
    assert_eq!(tick.request.body, "tick");
    tick.answer(200, &[]);
    machine
        .until("delivered", |broker| {
            broker.delivery_counts().delivered == 1
        })
        .await;
    machine.clock.advance(Duration::from_mins(10));
    let mut machine = machine.restart().await;
    machine.attempt().await.answer(200, &[]);
    machine
        .until("one catch-up", |broker| {
            broker.delivery_counts().delivered == 2
        })
        .await;
    assert_eq!(machine.broker.delivery_counts().accepted, 2);
    let machine = machine.restart().await;
    machine
        .until("nothing more", |broker| broker.last_firing("s").is_some())
        .await;
    assert_eq!(machine.broker.delivery_counts().accepted, 2);
}

/// Otherwise it would be silent until the time has come that the clock once showed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_goes_by_the_clock_again_that_once_stood_far_ahead() {
    let mut machine = Machine::new();
    machine.broker.set_schedule(each_minute()).unwrap();
    machine.clock.advance(Duration::from_hours(24));
    machine.attempt().await.answer(200, &[]);
    // What fires is sent before it is noted.
    let fired = |after: TimestampMs| {
        move |broker: &Broker| {
            let due = broker
                .last_firing("s")
                .map(|firing| firing.due.since(after));
            due.is_some_and(|ahead| (0..120_000).contains(&ahead))
        }
    };
    let day = 24 * 3600 * 1000;
    let tomorrow = NOW.saturating_add(day - 60_000);
    machine.until("it is ahead", fired(tomorrow)).await;
    machine.clock.jump_to(NOW);
    // When it was set back is not when something is due.
    let schedule = machine.broker.push_settings();
    let schedule = schedule.state.schedule("s").unwrap().clone();
    let next = machine.broker.next_firing("s", &schedule).unwrap();
    assert!((1..=60_000).contains(&next.since(NOW)), "{next:?}");
    machine.advance(Duration::from_mins(1));
    machine.attempt().await.answer(200, &[]);
    machine.until("it has fired", fired(next)).await;
    // The newest firing counts, not that of the latest time.
    let mut machine = machine.restart().await;
    machine.advance(Duration::from_mins(1));
    machine.attempt().await.answer(200, &[]);
    let next = next.saturating_add(60_000);
    machine.until("it has fired again", fired(next)).await;
}

/// What was noted while the clock stood ahead counts for nothing until it is past, also when it has come near.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_goes_on_also_when_the_time_comes_that_the_clock_once_showed() {
    let machine = Machine::new();
    let hours = |count: i64| count * 3_600_000;
    machine.clock.jump_to(NOW.saturating_add(hours(5)));
    machine.broker.set_schedule(each_minute()).unwrap();
    let schedule = machine.broker.push_settings();
    let schedule = schedule.state.schedule("s").unwrap().clone();
    machine.clock.jump_to(NOW);
    let next = || machine.broker.next_firing("s", &schedule).unwrap();
    assert!(next().since(NOW) <= 60_000);
    for hour in [1, 3, 4] {
        let now = NOW.saturating_add(hours(hour));
        machine.clock.jump_to(now);
        assert!(next().since(now) <= 60_000, "behind {hour} hours");
    }
    // It has caught up: what was found then is no matter of a later step.
    let now = NOW.saturating_add(hours(6));
    machine.clock.jump_to(now);
    assert_eq!(
        next().since(NOW.saturating_add(hours(5))),
        60_000 - NOW.0 % 60_000
    );
    assert!(machine.broker.push().set_back.lock().is_empty());
}

/// There may be a key for each user of somebody's, and each has had an attempt once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_period_is_remembered_until_it_is_over_and_no_longer() {
    let mut machine = Machine::new();
    let flow = FlowControl {
        key: "k".to_owned(),
        parallelism: None,
        rate: Some(1),
        period_ms: Some(60_000),
    };
    let limited = || Envelope {
        flow: Some(flow.clone()),
        ..to("http://h/a")
    };
    machine.publish(limited()).await;
    machine.attempt().await.answer(200, &[]);
    machine
        .until("it is delivered", |broker| {
            broker.delivery_counts().delivered == 1
        })
        .await;
    let remembered = |broker: &Broker| {
        let desks = broker.push().desks.iter();
        let periods = desks.map(|desk| {
            let owner = desk.partition.owner().lock();
            owner.delivery().unwrap().periods().count()
        });
        periods.sum::<usize>()
    };
    machine.broker.sweep_push();
    assert_eq!(remembered(&machine.broker), 1);
    let machine = machine.restart().await;
    machine.broker.sweep_push();
    assert_eq!(remembered(&machine.broker), 1, "it counts behind a restart");
    machine.advance(MINUTE);
    machine.broker.sweep_push();
    assert_eq!(remembered(&machine.broker), 0);
}

/// Otherwise those who name the key alone would all go at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_for_those_who_name_the_key_alone_across_restarts_and_sweeps() {
    let flow = |rate| FlowControl {
        key: "k".to_owned(),
        parallelism: rate,
        rate,
        period_ms: rate.map(|_| 3_600_000),
    };
    let with = |rate| Envelope {
        flow: Some(flow(rate)),
        ..to("http://h/a")
    };
    let mut machine = Machine::new();
    machine.publish(with(Some(1))).await;
    machine.attempt().await.answer(200, &[]);
    for round in 1..3 {
        machine.publish(with(None)).await;
        machine
            .until("it has come to its turn or waits", |broker| {
                broker.delivery_counts().delivered == round
                    && broker.push().gates.lock().waiting_count() == 1
            })
            .await;
        machine = machine.restart().await;
        machine
            .until("it waits again", |broker| {
                broker.push().gates.lock().waiting_count() == 1
            })
            .await;
        machine.advance(MINUTE * 60);
        machine.attempt().await.answer(200, &[]);
    }
    // Nobody has the key any more.
    machine
        .until("all are delivered", |broker| {
            broker.delivery_counts().delivered == 3
        })
        .await;
    machine.advance(MINUTE * 60);
    machine.broker.sweep_push();
    machine = machine.restart().await;
    machine.broker.sweep_push();
    let view = machine.broker.flow_view("k").unwrap();
    assert_eq!((view.rate_max, view.parallelism_max), (Some(1), Some(1)));
    machine.advance(MINUTE * 60 * 24 * 8);
    machine.broker.forget_limits();
    machine.broker.sweep_push();
    assert!(machine.broker.flow_view("k").is_none(), "a week has passed");
}
