//! Partitions that deliver nothing for now or for good, and what the others have of the gates.

use std::sync::Arc;

use storage::delivery::{Envelope, FlowControl};
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::log_id::LogKind;
use storage::offset::Offset;
use storage::partition::RecentBatches;

use super::super::desk::{Desk, Held};
use super::super::destinations::Destinations;
use super::super::dispatch::{Dispatcher, Next};
use super::*;
use crate::delivery::gates::{Claim, Pass, Ticket, Turn};

impl Machine {
    /// Lets nobody deliver on it.
    async fn idle(mut self) -> Self {
        self.running.abort();
        (&mut self.running).await.ok();
        self
    }

    /// Lets a message of a partition come to the gates, with a claim to a place of its own.
    fn enter(&self, partition: u32, message: u64) -> Option<Pass> {
        let claim = Claim {
            host: Arc::from("h:80"),
            turn: Turn::InOrder,
            places: 1,
        };
        let ticket = Ticket {
            partition,
            message: Offset(message),
        };
        let push = self.broker.push();
        let mut gates = push.gates.lock();
        let (pass, others) = gates.enter(ticket, None, claim, NOW);
        assert_eq!(others, []);
        pass.inspect(|pass| push.keep_place(&gates, pass))
    }

    fn in_flight(&self) -> usize {
        self.broker.push().gates.lock().in_flight()
    }

    fn desk(&self, index: u32) -> &Arc<Desk> {
        self.broker.push().desk(index).unwrap()
    }
}

#[tokio::test]
async fn passes_of_a_partition_whose_dispatcher_has_failed_come_back() {
    let machine = Machine::new().idle().await;
    let (push, failed, well) = (machine.broker.push(), machine.desk(0), machine.desk(1));
    let mut passes: Vec<_> = (0..3).filter_map(|n| machine.enter(0, n)).collect();
    assert_eq!(passes.len(), 3, "the destination is full");
    assert!((3..100).all(|n| machine.enter(0, n).is_none()));
    assert!(machine.enter(1, 0).is_none());
    failed.grant(passes.pop().unwrap()).unwrap();
    let in_hand: Vec<_> = passes
        .into_iter()
        .map(|pass| Held::new(failed, pass))
        .collect();
    let task = async move {
        let _in_hand = in_hand;
        panic!("played")
    };
    let told = machine.broker.watch_deliveries(failed, task).await;
    assert!(told.is_some());
    let granted = well.take().granted;
    assert_eq!(granted.len(), 1);
    assert_eq!(
        (machine.in_flight(), push.gates.lock().waiting_count()),
        (1, 0)
    );
    assert!(!failed.is_well() && well.is_well());
}

/// The places of the others would be handed to nobody.
#[tokio::test]
async fn a_pass_for_a_partition_that_has_stopped_goes_to_the_next_one() {
    let machine = Machine::new().idle().await;
    let (push, failed, well) = (machine.broker.push(), machine.desk(0), machine.desk(1));
    let first: Vec<_> = (0..3).filter_map(|n| machine.enter(1, n)).collect();
    assert!((0..50).all(|n| machine.enter(0, n).is_none()));
    assert!(machine.enter(1, 3).is_none());
    // Its tickets are still there.
    failed.stop();
    push.leave_unsent(first.first().unwrap(), NOW);
    let granted = well.take().granted;
    let messages: Vec<_> = granted.iter().map(|pass| pass.ticket.message.0).collect();
    assert_eq!(messages, [3]);
    assert_eq!(machine.in_flight(), 3);
    assert_eq!(push.gates.lock().waiting_count(), 0);
    let mut places = push.places.lock();
    for pass in &granted {
        let place = places.take_kept(pass.ticket, pass.claim().clone());
        assert_eq!(places.leave(&place, NOW), []);
    }
}

#[tokio::test]
async fn nobody_waits_for_a_partition_whose_dispatcher_has_failed() {
    let machine = Machine::new().idle().await;
    let push = machine.broker.push();
    let inside: Vec<_> = (0..3).filter_map(|n| machine.enter(1, n)).collect();
    assert!((0..50).all(|n| machine.enter(0, n).is_none()));
    assert!(machine.enter(1, 3).is_none());
    push.stop(machine.desk(0), NOW);
    assert_eq!(push.gates.lock().waiting_count(), 1);
    assert_eq!(machine.in_flight(), inside.len());
}

#[tokio::test]
async fn a_partition_whose_log_takes_nothing_takes_nothing_up() {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/.made"), b"").unwrap();
    let faulty = FaultDisk::new(Arc::new(disk.clone()));
    let clock = Arc::new(ManualClock::new(NOW));
    let machine = Machine::through(Arc::new(faulty.clone()), disk, clock);
    let machine = machine.idle().await;
    let broker = &machine.broker;
    let of_first = |name: &String| broker.push().partition_of_name(name) == 0;
    let mut names = (0..).map(|n| format!("q{n}")).filter(of_first);
    let mut limited = || Envelope {
        queue: names.next(),
        flow: Some(FlowControl {
            key: "k".to_owned(),
            parallelism: None,
            rate: Some(3),
            period_ms: Some(60_000),
        }),
        ..to("http://h/")
    };
    let (sender, mut arrived) = mpsc::channel(8);
    let mut dispatcher = Dispatcher {
        broker: Arc::clone(broker),
        desk: Arc::clone(machine.desk(0)),
        client: Arc::new(Played { arrived: sender }),
        recent: RecentBatches::default(),
        destinations: Destinations::default(),
        is_stuck: false,
    };
    let counted = || broker.flow_view("k").unwrap().rate_count;
    machine.publish(limited()).await;
    assert_eq!(dispatcher.round(true).await.unwrap(), Next::AtOnce);
    arrived.recv().await.unwrap();
    assert_eq!(counted(), 1);

    let fail = Effect::Fail(std::io::ErrorKind::Other);
    faulty.add(Rule::new(OpClass::Write, fail).on("delivery/00000000000000000000.log"));
    machine.publish(limited()).await;
    dispatcher.round(true).await.unwrap_err();
    assert_eq!(counted(), 1, "nothing was sent");
    machine.publish(limited()).await;
    assert_eq!(dispatcher.round(true).await.unwrap(), Next::Rest);
    assert!(
        dispatcher.until_due() > Duration::ZERO,
        "it would go round and round"
    );
    let partition = &machine.desk(0).partition;
    assert!(partition.heal(LogKind::Delivery).unwrap());
    // At once: it was not taken up before.
    assert_eq!(dispatcher.round(true).await.unwrap(), Next::AtOnce);
    arrived.recv().await.unwrap();
    assert_eq!(counted(), 2);
    let counts = broker.delivery_counts();
    assert_eq!((counts.in_flight, counts.pending), (2, 1));
}
