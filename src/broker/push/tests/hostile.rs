//! What an unlucky operator meets: damage, publishers that hang up, clocks that step back, limits that are met exactly.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::task::Poll;

use storage::address::Address;
use storage::dead_letter::Attempt;
use storage::delivery::limits::ENVELOPE_BYTES_MAX;
use storage::delivery::{Entry, Outcome, Owes, Verdict};
use storage::disk::Disk;
use storage::log_id::LogKind;
use storage::offset::Offset;
use storage::partition::PushUpkeep;
use storage::repair::{Repair, repair};

use super::super::AHEAD_FACTOR;
use super::super::start::watched;
use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn callback(url: &str) -> Callback {
    Callback {
        url: url.to_owned(),
        ..Callback::default()
    }
}

fn publication(envelope: Envelope, body: Bytes) -> Publication {
    Publication {
        envelope,
        body,
        target: Target::Url,
        created_at: NOW,
    }
}

/// Flips a bit where a file first holds `text`; returns whether one does.
fn damage(disk: &SimDisk, text: &str) -> bool {
    let is_main = |path: &PathBuf| path.extension().is_some_and(|it| it == "log");
    let mut found = false;
    for path in disk.paths().into_iter().filter(is_main) {
        let bytes = disk.read_file(&path).unwrap();
        let windows = bytes.windows(text.len());
        if let Some(at) = windows.clone().position(|window| window == text.as_bytes()) {
            disk.flip_bit(&path, u64::try_from(at).unwrap() * 8)
                .unwrap();
            found = true;
        }
    }
    found
}

/// Lets every desk look again, and time pass, until something holds.
async fn eventually(machine: &Machine, what: &str, holds: impl Fn(&Broker) -> bool) {
    for _ in 0..2_000 {
        if holds(&machine.broker) {
            return;
        }
        for desk in &machine.broker.push().desks {
            desk.arrived.notify_one();
            desk.aftermath.notify_one();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{what}: {:?}", machine.broker.delivery_counts());
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
    assert!(damage(&machine.disk, "http://h/damaged"));
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
async fn a_publisher_that_hangs_up_has_published_once_under_its_key() {
    let machine = Machine::new();
    let keyed = |key: u8| Envelope {
        dedup: Some([key; 16]),
        not_before: Some(NOW.saturating_add(60_000)),
        ..to("http://h/a")
    };
    // The connection ends while the append is being synced: the owner's lock is had by nobody else, and the sync by a pool.
    let mut hung_up = 0;
    for key in 0..40 {
        let publications = vec![publication(keyed(key), Bytes::from_static(b"body"))];
        let mut first = Box::pin(machine.broker.publish(publications));
        let polled = std::future::poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await;
        drop(first);
        hung_up += u64::from(polled.is_pending());
        machine.publish(keyed(key)).await;
        machine
            .until("admitted", |broker| {
                broker.delivery_counts().accepted > u64::from(key)
            })
            .await;
    }
    assert!(hung_up > 0);
    assert_eq!(machine.broker.delivery_counts().accepted, 40);
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
async fn old_deduplication_keys_and_periods_are_forgotten() {
    let machine = Machine::new();
    for key in 0..10 {
        let envelope = Envelope {
            dedup: Some([key; 16]),
            flow: Some(FlowControl {
                key: format!("k{key}"),
                parallelism: None,
                rate: Some(1),
                period_ms: Some(1_000),
            }),
            ..to(&format!("http://h{key}/"))
        };
        machine.publish(envelope).await;
    }
    let kept = |broker: &Broker| {
        let desks = &broker.push().desks;
        let of = |desk: &Arc<Desk>| {
            let owner = desk.partition.owner().lock();
            let state = owner.delivery().unwrap();
            (state.duplicates().count(), state.periods().count())
        };
        desks
            .iter()
            .map(of)
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    };
    eventually(&machine, "known", |broker| kept(broker) == (10, 10)).await;
    machine.clock.advance(MINUTE * 60 * 24 * 8);
    machine.broker.sweep_push();
    assert_eq!(kept(&machine.broker), (0, 0));
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
async fn a_publish_that_may_go_anywhere_avoids_a_partition_that_takes_nothing() {
    let mut machine = Machine::new();
    machine.publish(to("http://h/0")).await;
    machine.publish(to("http://h/1")).await;
    machine.attempt().await.answer(200, &[]);
    machine.attempt().await.answer(200, &[]);
    machine
        .until("delivered", |broker| {
            broker.delivery_counts().delivered == 2
        })
        .await;
    machine.disk.fail_sync_at(machine.disk.op_count() + 2);
    let mut failed = 0;
    for _ in 0..8 {
        failed += u32::from(machine.try_publish(to("http://h/x")).await.is_err());
    }
    assert!(failed <= 1, "{failed} of 8 failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_first_publish_is_unknown_makes_no_second_message() {
    let machine = Machine::new();
    let keyed = || Envelope {
        dedup: Some([9; 16]),
        not_before: Some(NOW.saturating_add(60_000)),
        ..to("http://h/a")
    };
    for _ in 0..2 {
        let other = Envelope {
            dedup: None,
            ..keyed()
        };
        machine.publish(other).await;
    }
    machine.disk.fail_sync_at(machine.disk.op_count() + 2);
    let mut accepted = 0;
    for _ in 0..4 {
        accepted += u64::from(machine.try_publish(keyed()).await.is_ok());
    }
    // The process ends, the disk keeps what was written.
    machine.running.abort();
    let disk = machine.disk.restart_process();
    let again = Machine::on(disk, Arc::clone(&machine.clock));
    let found = again.broker.delivery_counts().accepted;
    assert!(
        found <= 3,
        "{accepted} were accepted, and {found} are there, two of them others"
    );
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_record_was_given_up_counts_as_cancelled() {
    let machine = Machine::new();
    let later = |url| Envelope {
        not_before: Some(NOW.saturating_add(60_000)),
        ..to(url)
    };
    let lost = machine.publish(later("http://h/lost")).await;
    let lost: Address = id(&lost).parse().unwrap();
    machine.publish(later("http://h/kept")).await;
    for desk in &machine.broker.push().desks {
        let upkeep = PushUpkeep {
            owner: desk.partition.owner(),
            now: &|| NOW,
            wait: &|| {},
            rolled: &|_| {},
        };
        upkeep.snapshot().unwrap();
    }
    machine.running.abort();
    machine.running.await.ok();
    machine.broker.close();
    drop(machine.broker);
    let disk = machine.disk.restart_process();
    assert!(damage(&disk, "http://h/lost"));
    let request = Repair {
        partition: lost.partition,
        kind: LogKind::Main,
        from: lost.offset,
        to: lost.offset.next(),
    };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    repair(&shared, Path::new("/data"), ("test", 1), &request, NOW).unwrap();
    let machine = Machine::on(disk.restart_process(), machine.clock);
    machine
        .until("it is called off", |broker| {
            let counts = broker.delivery_counts();
            (counts.cancelled, counts.pending) == (1, 1)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_any_size_go_to_all_partitions() {
    let machine = Machine::new();
    let push = machine.broker.push();
    for messages in [1, 31, 32, 33, 64, 100, 256, usize::MAX] {
        let found: BTreeSet<_> = (0..65).map(|_| push.any_partition(messages)).collect();
        assert_eq!(found.len(), push.desks.len(), "{messages} in each request");
    }
}
