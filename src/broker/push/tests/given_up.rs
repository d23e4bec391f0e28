//! What an operator has given up with `repair`: nothing waits for it for ever, and what can still be kept is.

use storage::address::Address;
use storage::delivery::DeliveryCounts;
use storage::disk::Disk;
use storage::log_id::{LogKind, PartitionNumber};
use storage::offset::Offset;
use storage::partition::PushUpkeep;
use storage::repair::{Repair, repair};

use super::*;

impl Machine {
    /// Ends the broker with a snapshot of everything. Returns the disk.
    async fn stop(self) -> (SimDisk, Arc<ManualClock>) {
        for desk in &self.broker.push().desks {
            let upkeep = PushUpkeep {
                owner: desk.partition.owner(),
                now: &|| NOW,
                wait: &|| {},
                rolled: &|_| {},
            };
            upkeep.snapshot().unwrap();
        }
        self.running.abort();
        self.running.await.ok();
        self.broker.close();
        drop(self.broker);
        (self.disk.restart_process(), self.clock)
    }

    /// Returns how many messages are held: not at their end, or with callbacks to tell.
    fn held(&self) -> usize {
        let desks = self.broker.push().desks.iter();
        let held = |desk: &Arc<Desk>| {
            let owner = desk.partition.owner().lock();
            let state = owner.delivery().unwrap();
            state.messages_from(Offset::ZERO).count()
        };
        desks.map(held).sum()
    }
}

fn give_up(disk: &SimDisk, partition: PartitionNumber, kind: LogKind, at: Offset) {
    let request = Repair {
        partition,
        kind,
        from: at,
        to: at.next(),
    };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    repair(&shared, Path::new("/data"), ("test", 1), &request, NOW).unwrap();
}

fn address(published: &Published) -> Address {
    id(published).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_record_was_given_up_counts_as_cancelled() {
    let machine = Machine::new();
    let later = |url| Envelope {
        not_before: Some(NOW.saturating_add(60_000)),
        ..to(url)
    };
    let lost = address(&machine.publish(later("http://h/lost")).await);
    machine.publish(later("http://h/kept")).await;
    let (disk, clock) = machine.stop().await;
    damage(&disk, "http://h/lost");
    give_up(&disk, lost.partition, LogKind::Main, lost.offset);
    let machine = Machine::on(disk.restart_process(), clock);
    machine
        .until("it is called off", |broker| {
            let counts = broker.delivery_counts();
            (counts.cancelled, counts.pending) == (1, 1)
        })
        .await;
}

/// A message is answered `status` while its record cannot be read, and the record is then given up.
async fn given_up_behind_its_last_attempt(
    status: u16,
    envelope: Envelope,
    has_ended: impl Fn(DeliveryCounts) -> bool,
) -> DeliveryCounts {
    let mut machine = Machine::new();
    let lost = address(&machine.publish(envelope).await);
    let attempt = machine.attempt().await;
    damage(&machine.disk, "http://h/lost");
    attempt.answer(status, &[]);
    machine
        .until("the outcome is written", |broker| {
            has_ended(broker.delivery_counts())
        })
        .await;
    let (disk, clock) = machine.stop().await;
    give_up(&disk, lost.partition, LogKind::Main, lost.offset);
    let machine = Machine::on(disk.restart_process(), clock);
    machine
        .until("nothing is held", |_| machine.held() == 0)
        .await;
    let counts = machine.broker.delivery_counts();
    let machine = machine.restart().await;
    assert_eq!(machine.held(), 0, "it is given up for good");
    assert_eq!(machine.broker.delivery_counts(), counts);
    counts
}

fn callback(url: &str) -> Callback {
    Callback {
        url: url.to_owned(),
        ..Callback::default()
    }
}

/// A message that dies of its first attempt, and has somebody told of it.
fn dying() -> Envelope {
    Envelope {
        retries: 0,
        failure_callback: Some(callback("http://c/failed")),
        ..to("http://h/lost")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dying_message_whose_record_was_given_up_waits_for_no_letter() {
    let is_dying = |counts: DeliveryCounts| counts.pending == 1;
    let counts = given_up_behind_its_last_attempt(500, dying(), is_dying).await;
    assert_eq!((counts.cancelled, counts.dead_lettered), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivered_message_whose_record_was_given_up_owes_no_callback() {
    let owing = Envelope {
        callback: Some(callback("http://c/each")),
        ..to("http://h/lost")
    };
    let has_ended = |counts: DeliveryCounts| counts.delivered == 1;
    let counts = given_up_behind_its_last_attempt(200, owing, has_ended).await;
    assert_eq!((counts.delivered, counts.cancelled), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_last_outcome_was_given_up_has_its_letter_all_the_same() {
    let mut machine = Machine::new();
    let lost = address(&machine.publish(dying()).await);
    let attempt = machine.attempt().await;
    let (record, bit) = place_of(&machine.disk, "http://h/lost");
    machine.disk.flip_bit(&record, bit).unwrap();
    attempt.answer(500, &[("x-played", "last-words")]);
    let is_dying = |broker: &Broker| broker.delivery_counts().pending == 1;
    machine.until("the outcome is written", is_dying).await;
    let outcome = {
        let desks = &machine.broker.push().desks;
        let is_of = |desk: &&Arc<Desk>| desk.partition.number() == lost.partition;
        let owner = desks.iter().find(is_of).unwrap().partition.owner().lock();
        let dying: Vec<_> = owner.delivery().unwrap().dying().collect();
        assert_eq!(dying.len(), 1);
        dying.first().unwrap().1
    };
    let (disk, clock) = machine.stop().await;
    disk.flip_bit(&record, bit).unwrap();
    damage(&disk, "last-words");
    give_up(&disk, lost.partition, LogKind::Delivery, outcome);
    let mut machine = Machine::on(disk.restart_process(), clock);
    machine
        .until("it is dead", |broker| {
            broker.delivery_counts().dead_lettered == 1
        })
        .await;
    assert_eq!(machine.letters().len(), 1);
    let told = machine.attempt_to("http://c/failed").await;
    let body = String::from_utf8_lossy(&told.request.body).into_owned();
    assert!(body.contains("http://h/lost"), "{body}");
    told.answer(200, &[]);
    machine
        .until("nothing is held", |_| machine.held() == 0)
        .await;
}

/// Looks for the callbacks of both attempts, each in the body that `told` finds it by.
async fn told_of_each(machine: &mut Machine, told: [&str; 2]) {
    let mut bodies = Vec::new();
    for _ in told {
        let callback = machine.attempt_to("http://c/each").await;
        bodies.push(String::from_utf8_lossy(&callback.request.body).into_owned());
        callback.answer(200, &[]);
    }
    bodies.sort_by_key(|body| !body.contains(told[0]));
    for (body, told) in bodies.iter().zip(told) {
        assert!(body.contains(told), "{told} in {bodies:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callback_of_an_outcome_stays_when_the_one_before_it_was_given_up() {
    let mut machine = Machine::new();
    let envelope = Envelope {
        callback: Some(callback("http://c/each")),
        ..to("http://h/lost")
    };
    let lost = address(&machine.publish(envelope).await);
    let (record, bit) = place_of(&machine.disk, "http://h/lost");
    // No callback is made while the record cannot be read, and none of an outcome that cannot be.
    let first = machine.attempt().await;
    machine.disk.flip_bit(&record, bit).unwrap();
    first.answer(500, &[("x-played", "first-words")]);
    let is_of = |desk: &&Arc<Desk>| desk.partition.number() == lost.partition;
    let home = machine.broker.push().desks.iter().find(is_of).cloned();
    let home = home.unwrap();
    let owed = |desk: &Desk| -> Vec<_> {
        let owner = desk.partition.owner().lock();
        let owed = owner.delivery().unwrap().owed();
        owed.map(|(outcome, _)| outcome).collect()
    };
    machine
        .until("the first callback is owed", |_| owed(&home).len() == 1)
        .await;
    damage(&machine.disk, "first-words");
    machine.disk.flip_bit(&record, bit).unwrap();
    machine.advance(MINUTE);
    let second = machine.attempt().await;
    machine.disk.flip_bit(&record, bit).unwrap();
    second.answer(201, &[]);
    machine
        .until("both callbacks are owed", |_| owed(&home).len() == 2)
        .await;
    let outcome = *owed(&home).first().unwrap();
    drop(home);
    let (disk, clock) = machine.stop().await;
    disk.flip_bit(&record, bit).unwrap();
    give_up(&disk, lost.partition, LogKind::Delivery, outcome);
    let mut machine = Machine::on(disk.restart_process(), clock);
    told_of_each(&mut machine, ["\"status\":201", "\"status\":0"]).await;
    machine
        .until("nothing is held", |_| machine.held() == 0)
        .await;
}
