//! What an unlucky operator meets: damage, publishers that hang up, clocks that step back, limits that are met exactly.

use storage::dead_letter::Attempt;
use storage::delivery::limits::ENVELOPE_BYTES_MAX;
use storage::delivery::{Entry, Outcome, Owes, Verdict};
use storage::log_id::LogKind;
use storage::offset::Offset;

use super::super::start::watched;
use super::*;

fn callback(url: &str) -> Callback {
    Callback {
        url: url.to_owned(),
        ..Callback::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_read_holds_up_no_other_letter() {
    let mut machine = Machine::new();
    let dying = |url: &str| Envelope {
        retries: 0,
        failure_callback: Some(callback("http://c/failed")),
        ..to(url)
    };
    // The partitions take turns: the first and the third are in one.
    machine.publish(dying("http://h/damaged")).await;
    machine.publish(dying("http://h/other")).await;
    machine.publish(dying("http://h/whole")).await;
    let damaged = machine.attempt_to("http://h/damaged").await;
    let whole = machine.attempt_to("http://h/whole").await;
    damage(&machine.disk, "http://h/damaged");
    damaged.answer(500, &[]);
    eventually(&machine, "the outcome is written", |broker| {
        broker.delivery_counts().in_flight == 2
    })
    .await;
    whole.answer(500, &[]);
    eventually(&machine, "the other one's letter", |broker| {
        broker.delivery_counts().dead_lettered == 1
    })
    .await;
    let told = machine.attempt_to("http://c/failed").await;
    assert!(String::from_utf8_lossy(&told.request.body).contains("http://h/whole"));
    let counts = machine.broker.delivery_counts();
    assert_eq!(
        (counts.accepted, counts.pending),
        (4, 1),
        "it is not lost: {counts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_of_large_messages_are_appended_however_many_are_owed() {
    let machine = Machine::new();
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let later = |_| {
        let envelope = Envelope {
            callback: Some(callback("http://c/each")),
            not_before: Some(NOW.saturating_add(1_000_000)),
            ..to("http://h/a")
        };
        publication(envelope, body.clone())
    };
    let answers = machine.broker.publish((0..49).map(later).collect()).await;
    assert!(answers.iter().all(Result::is_ok));
    let outcome = |message| {
        Entry::Outcome(Outcome {
            message,
            verdict: Verdict::Delivered,
            owes: Owes {
                callback: true,
                failure_callback: false,
            },
            previous: None,
            attempt: Attempt {
                number: 1,
                time: NOW,
                duration_ms: 1,
                result: AttemptResult::Status(200),
                headers: Vec::new(),
                body: Bytes::new(),
                is_body_cut: false,
                are_headers_cut: false,
            },
        })
    };
    let desk = Arc::clone(&machine.broker.push().desks[0]);
    {
        let mut owner = desk.partition.owner().lock();
        owner.admit_durable();
        let state = owner.delivery().unwrap();
        let messages: Vec<_> = state
            .messages_from(Offset::ZERO)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(messages.len(), 49, "all in one partition");
        let entries: Vec<_> = messages.into_iter().map(outcome).collect();
        owner.append_entries(&entries, NOW).unwrap();
    }
    desk.partition.schedule_sync(LogKind::Delivery);
    eventually(&machine, "all callbacks are messages", |broker| {
        broker.delivery_counts().accepted == 98
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_with_the_largest_callback_headers_is_refused_or_its_callback_is_sent() {
    let mut machine = Machine::new();
    let with = |bytes: usize| Envelope {
        callback: Some(Callback {
            url: "http://c/each".to_owned(),
            headers: vec![("x".to_owned(), Bytes::from(vec![b'v'; bytes]))],
            ..Callback::default()
        }),
        retry_delay: None,
        ..to("http://h/a")
    };
    let room = ENVELOPE_BYTES_MAX - with(0).encode().len();
    let mut bytes = room + 8;
    // The largest that is taken.
    while with(bytes).encode().len() > ENVELOPE_BYTES_MAX
        || machine.try_publish(with(bytes)).await.is_err()
    {
        bytes -= 1;
    }
    machine.attempt_to("http://h/a").await.answer(200, &[]);
    let told = machine.attempt_to("http://c/each").await;
    assert_eq!(told.header("x").len(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_steps_back_delays_no_new_message() {
    let mut machine = Machine::new();
    let flow = || Envelope {
        flow: Some(FlowControl {
            key: "k".to_owned(),
            parallelism: None,
            rate: Some(1),
            period_ms: Some(1_000),
        }),
        ..to("http://h/a")
    };
    machine.publish(flow()).await;
    machine.publish(flow()).await;
    machine.attempt().await.answer(200, &[]);
    let waiting = |broker: &Broker| broker.push().gates.lock().waiting_count();
    eventually(&machine, "the second one waits", |broker| {
        waiting(broker) == 1
    })
    .await;
    machine.clock.jump_to(NOW.saturating_add(-3_600_000));
    for _ in 0..2 {
        machine.publish(to("http://h/b")).await;
    }
    machine.attempt_to("http://h/b").await.answer(200, &[]);
    machine.attempt_to("http://h/b").await.answer(200, &[]);
    machine.advance(Duration::from_secs(3));
    machine.attempt_to("http://h/a").await.answer(200, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_panics_costs_no_place() {
    let mut machine = Machine::new();
    for _ in 0..4 {
        machine.publish(to("http://panic/")).await;
    }
    eventually(&machine, "all have failed once", |broker| {
        broker.metrics.deliveries.retries.get() == 4
    })
    .await;
    assert_eq!(machine.broker.push().gates.lock().in_flight(), 0);
    machine.publish(to("http://h/a")).await;
    machine.attempt_to("http://h/a").await.answer(200, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_cannot_fire_delays_no_other() {
    let mut machine = Machine::new();
    let set = |id: &str, destination: &str| NewSchedule {
        id: Some(ScheduleId::parse(id).unwrap()),
        cron: "* * * * *".to_owned(),
        destination: destination.to_owned(),
        queue: None,
        envelope: Envelope {
            url: String::new(),
            ..to("")
        },
        body: Bytes::from_static(b"tick"),
        caller_ip: None,
    };
    machine
        .broker
        .set_schedule(set("a", "no-such-group"))
        .unwrap();
    machine
        .broker
        .set_schedule(set("b", "http://h/tick"))
        .unwrap();
    for _ in 0..2 {
        machine.advance(MINUTE);
        machine.attempt().await.answer(200, &[]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_has_failed_is_a_problem_of_the_broker() {
    let machine = Machine::new();
    assert_eq!(machine.broker.health().problems, [""; 0]);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(watched("deliveries".to_owned(), async { panic!("played") }));
    tasks.spawn(watched("others".to_owned(), async {}));
    machine.broker.supervise(tasks).await;
    let problems = machine.broker.health().problems;
    let expected =
        "deliveries stand still after a failure inside the broker: restart it".to_owned();
    assert_eq!(problems, [expected]);
}
