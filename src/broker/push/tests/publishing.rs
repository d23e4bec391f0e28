//! Publishing at the edges: who hangs up, keys that come again, partitions that take nothing.

use std::collections::BTreeSet;
use std::task::Poll;

use storage::address::Address;

use super::*;

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
    assert_eq!(failed, 1, "of 8");
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
async fn requests_of_any_size_go_to_all_partitions() {
    let machine = Machine::new();
    let push = machine.broker.push();
    for messages in [1, 31, 32, 33, 64, 100, 256, usize::MAX] {
        let found: BTreeSet<_> = (0..65).map(|_| push.any_partition(messages)).collect();
        assert_eq!(found.len(), push.desks.len(), "{messages} in each request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_many_batches_stands_in_its_queue_in_order() {
    let machine = Machine::new();
    let body = Bytes::from(vec![b'x'; 900_000]);
    let queued = |_| {
        let envelope = Envelope {
            queue: Some("q".to_owned()),
            not_before: Some(NOW.saturating_add(60_000)),
            ..to("http://h/a")
        };
        publication(envelope, body.clone())
    };
    for _ in 0..2 {
        let answers = machine.broker.publish((0..20).map(queued).collect()).await;
        let ids: Vec<Address> = answers
            .into_iter()
            .map(|answer| id(&answer.unwrap()).parse().unwrap())
            .collect();
        let offsets: Vec<_> = ids.iter().map(|id| id.offset).collect();
        assert!(offsets.is_sorted(), "{offsets:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_behind_a_refused_batch_of_its_queue_does_not_overtake_it() {
    let machine = Machine::new();
    let queued = |bytes: usize| {
        let envelope = Envelope {
            queue: Some("q".to_owned()),
            not_before: Some(NOW.saturating_add(60_000)),
            ..to("http://h/a")
        };
        publication(envelope, Bytes::from(vec![b'x'; bytes]))
    };
    // Room for a small batch, and not for a large one.
    let length = |path: PathBuf| machine.disk.read_file(&path).map_or(0, |bytes| bytes.len());
    let used: usize = machine.disk.paths().into_iter().map(length).sum();
    let room = u64::try_from(used + (2 << 20)).unwrap();
    machine.disk.set_capacity_bytes(Some(room));
    let sizes = [900_000; 9].into_iter().chain([400_000]);
    let answers = machine.broker.publish(sizes.map(queued).collect()).await;
    let taken: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [false; 10]);
    machine.disk.set_capacity_bytes(None);
    let last = machine.broker.publish(vec![queued(10)]).await.pop();
    assert!(last.unwrap().is_ok());
}

/// Append times do not fall: after the clock was set back they are ahead of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_forgotten_in_time_by_a_clock_that_once_stood_ahead() {
    let machine = Machine::new();
    let later = |dedup| Envelope {
        dedup,
        not_before: Some(NOW.saturating_add(1 << 40)),
        ..to("http://h/a")
    };
    machine.clock.advance(MINUTE * 60 * 24);
    for _ in 0..4 {
        machine.publish(later(None)).await;
    }
    machine.clock.jump_to(NOW);
    let keyed = || later(Some([9; 16]));
    assert!(!machine.publish(keyed()).await.is_duplicate);
    let machine = machine.restart().await;
    assert!(machine.publish(keyed()).await.is_duplicate);
    machine.advance(MINUTE * 10);
    assert!(!machine.publish(keyed()).await.is_duplicate);
    machine.advance(MINUTE * 10);
    assert!(!machine.publish(keyed()).await.is_duplicate);
}
