//! Verification of delivery logs: a sound one has no finding whatever crashed, and what contradicts the other logs is found.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use storage::batch::{BatchBuilder, BatchHeader, BrokerMark, BuildOptions, Codec, Record};
use storage::cause::{CAUSE_HEADER, Cause, CauseDetail, CauseKind};
use storage::data_dir;
use storage::dead_letter::{Attempt, AttemptResult, Disposition, History};
use storage::delivery::{
    Callback, ENVELOPE_HEADER, Entry, Envelope, Intent, Outcome, Owes, Verdict,
};
use storage::disk::Disk;
use storage::disk::sim::{SimDisk, Survival};
use storage::log::{Log, LogConfig, LogPlace, RetentionPolicy};
use storage::log_id::{LogId, LogKind};
use storage::offset::Offset;
use storage::partition::{NewMessage, PartitionRetention, PushDeath, PushUpkeep, push_letter};
use storage::verify::{Fault, Remark};

use crate::sample::{DELIVERIES, MAIN, NOW, NUMBER, Open};
use crate::{ROOT, verify};

const DEAD: Verdict = Verdict::Dead {
    disposition: Disposition::RETRIES_EXHAUSTED,
};

fn envelope() -> Envelope {
    Envelope {
        url: "http://host/".to_owned(),
        method: "POST".to_owned(),
        callback: Some(Callback {
            url: "http://caller/".to_owned(),
            ..Callback::default()
        }),
        ..Envelope::default()
    }
}

fn message(cause: Option<Cause>) -> NewMessage {
    NewMessage {
        timestamp: NOW,
        body: Bytes::from(vec![7; 150]),
        envelope: envelope(),
        cause,
    }
}

fn callback_of(outcome: Offset) -> Cause {
    Cause {
        kind: CauseKind::Callback,
        log: DELIVERIES,
        offset: outcome,
        detail: CauseDetail::default(),
    }
}

fn outcome(message: u64, verdict: Verdict, owes_callback: bool) -> Entry {
    Entry::Outcome(Outcome {
        message: Offset(message),
        verdict,
        owes: Owes {
            callback: owes_callback,
            failure_callback: false,
        },
        previous: None,
        attempt: Attempt {
            number: 1,
            time: NOW,
            duration_ms: 1,
            result: AttemptResult::Status(500),
            headers: Vec::new(),
            body: Bytes::new(),
            is_body_cut: false,
            are_headers_cut: false,
        },
    })
}

fn intent(message: u64) -> Entry {
    Entry::Intent(Intent {
        message: Offset(message),
        attempt: 1,
        time: NOW,
        period: None,
    })
}

/// The steps of an engine, each synced.
impl Open {
    fn publish(&self, messages: &[NewMessage]) -> Offset {
        let mut owner = self.owner.lock();
        if owner.main().needs_roll(300 * messages.len() as u64, NOW) {
            owner.main_mut().roll().unwrap();
        }
        let appended = owner.append_messages(messages, NOW).unwrap();
        owner.main_mut().begin_sync().unwrap().run().unwrap();
        owner.admit_durable();
        appended.base_offset
    }

    fn entries(&self, entries: &[Entry]) -> Offset {
        let mut owner = self.owner.lock();
        let appended = match owner.append_entries(entries, NOW) {
            Err(_) => {
                owner.log_mut(LogKind::Delivery).unwrap().roll().unwrap();
                owner.append_entries(entries, NOW)
            }
            appended => appended,
        };
        let log = owner.log_mut(LogKind::Delivery).unwrap();
        log.begin_sync().unwrap().run().unwrap();
        appended.unwrap().base_offset
    }

    fn dies(&self, message: Offset) -> Offset {
        let letter = {
            let read = self.owner.lock().push_reader().message(message, None);
            let death = PushDeath {
                topic: "t",
                partition_index: 0,
                partition: NUMBER,
                history: History::default(),
                disposition: Disposition::RETRIES_EXHAUSTED,
                reason: "it failed",
            };
            push_letter(&read.unwrap(), death, NOW)
        };
        let mut owner = self.owner.lock();
        let letters = [(message, letter)];
        let places = match owner.append_push_letters(&letters, NOW) {
            Err(_) => {
                let done = owner.begin_roll(LogKind::DeadLetter).unwrap().run();
                owner
                    .finish_roll(LogKind::DeadLetter, done)
                    .unwrap()
                    .unwrap()
                    .run();
                owner.append_push_letters(&letters, NOW).unwrap()
            }
            places => places.unwrap(),
        };
        let log = owner.log_mut(LogKind::DeadLetter).unwrap();
        log.begin_sync().unwrap().run().unwrap();
        places[0]
    }

    /// Delivers, calls back, kills, and keeps one message waiting.
    fn work(&self, rounds: usize) {
        for _ in 0..rounds {
            let base = self
                .publish(&[message(None), message(None), message(None)])
                .0;
            self.entries(&[intent(base), intent(base + 1)]);
            let at = self.entries(&[
                outcome(base, Verdict::Delivered, true),
                outcome(base + 1, DEAD, false),
            ]);
            let letter = self.dies(Offset(base + 1));
            self.entries(&[Entry::Dead {
                message: Offset(base + 1),
                letter,
                time: NOW,
            }]);
            let called = self.publish(&[message(Some(callback_of(at)))]).0;
            self.entries(&[intent(called), outcome(called, Verdict::Delivered, false)]);
            self.entries(&[Entry::Cancelled {
                message: Offset(base + 2),
                time: NOW,
            }]);
        }
    }

    fn snapshot(&self) {
        let upkeep = PushUpkeep {
            owner: &self.owner,
            now: &|| NOW,
            wait: &std::thread::yield_now,
            rolled: &|_| {},
        };
        upkeep.snapshot().unwrap();
    }
}

fn pushed(seed: u64) -> (SimDisk, Open) {
    let disk = SimDisk::new(seed);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let open = Open::pushed(&shared, Path::new(ROOT));
    (disk, open)
}

fn faults(disk: &SimDisk) -> Vec<Fault> {
    let report = verify(disk);
    report
        .findings
        .into_iter()
        .map(|finding| finding.what)
        .collect()
}

#[test]
fn a_sound_pushed_partition_has_no_finding_with_and_without_a_snapshot() {
    let (disk, open) = pushed(1);
    open.publish(&[message(None), message(None)]);
    drop(open);
    let before_any_attempt = verify(&disk);
    assert_eq!(before_any_attempt.findings, vec![]);
    assert_eq!(before_any_attempt.counts.pending, 2);
    let (disk, open) = pushed(1);
    open.work(12);
    open.publish(&[message(None)]);
    drop(open);
    let before = verify(&disk);
    assert_eq!(before.findings, vec![]);
    assert_eq!((before.counts.entries, before.counts.pending), (12 * 8, 1));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let open = Open::pushed(&shared, Path::new(ROOT));
    open.snapshot();
    open.work(12);
    let everything = RetentionPolicy {
        retention_ms: None,
        retention_bytes: Some(0),
    };
    let retention = PartitionRetention {
        main: everything,
        delivery: everything,
        ..PartitionRetention::default()
    };
    let upkeep = PushUpkeep {
        owner: &open.owner,
        now: &|| NOW,
        wait: &std::thread::yield_now,
        rolled: &|_| {},
    };
    upkeep.run(&retention).unwrap();
    let plans = {
        let owner = open.owner.lock();
        [
            (LogKind::Main, owner.plan_main_retention(&everything, NOW)),
            (
                LogKind::Delivery,
                owner.plan_delivery_retention(&everything, NOW),
            ),
        ]
    };
    open.checkpoint();
    for (kind, start) in plans {
        let unlink = open.owner.lock().apply_log_start(kind, start.unwrap());
        unlink.unwrap().run().unwrap();
    }
    open.checkpoint();
    drop(open);
    let after = verify(&disk);
    assert_eq!(after.findings, vec![]);
    assert_eq!(after.counts.pending, 1, "carried, it is still known");
}

#[test]
fn a_pushed_partition_has_no_finding_after_any_power_cut() {
    let count = {
        let (disk, open) = pushed(2);
        open.work(3);
        open.snapshot();
        open.work(2);
        disk.op_count()
    };
    for op in (1..count).step_by(3) {
        let (disk, open) = pushed(2);
        disk.cut_power_at(disk.op_count() + op);
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            open.work(3);
            open.snapshot();
            open.work(2);
        }));
        drop(open);
        if worked.is_ok() {
            break;
        }
        for survival in [
            Survival::Nothing,
            Survival::Everything,
            Survival::Random(op),
        ] {
            let report = verify(&disk.reboot(survival));
            assert_eq!(report.findings, vec![], "op {op} {survival:?}");
        }
    }
}

#[test]
fn what_the_next_start_goes_on_with_is_a_note() {
    let (disk, open) = pushed(1);
    let base = open.publish(&[message(None), message(None)]).0;
    open.entries(&[intent(base), intent(base + 1)]);
    open.entries(&[
        outcome(base, Verdict::Delivered, true),
        outcome(base + 1, DEAD, false),
    ]);
    drop(open);
    let report = verify(&disk);
    assert_eq!(report.findings, vec![]);
    let due = Remark::DeliveriesDue {
        letters: 1,
        callbacks: 1,
    };
    assert!(
        report.notes.iter().any(|note| note.what == due),
        "{:?}",
        report.notes
    );
}

/// Appends to a log behind the partition's back.
fn forge(disk: &SimDisk, id: LogId, records: &[Record]) {
    let place = LogPlace {
        disk: Arc::new(disk.clone()),
        root: ROOT.into(),
        dir: data_dir::log_dir(Path::new(ROOT), id),
        id,
    };
    let (mut log, _) = Log::open(place, LogConfig::default(), None, NOW).unwrap();
    let mut builder = BatchBuilder::new(Codec::None);
    for record in records {
        let headers = record.header_refs();
        builder.push(&record.as_new(&headers)).unwrap();
    }
    let options = BuildOptions {
        producer: None,
        broker: BrokerMark::BrokerWithCauses,
    };
    let mut batch = builder.build(options).unwrap();
    BatchHeader::decode(&batch).unwrap();
    log.append_synced(&mut batch, NOW).unwrap();
}

fn forge_entry(disk: &SimDisk, entry: &Entry) {
    let record = Record {
        timestamp: NOW,
        value: Some(Bytes::from(entry.encode())),
        ..Record::default()
    };
    forge(disk, DELIVERIES, &[record]);
}

fn forge_callback(disk: &SimDisk, outcome: Offset) {
    let header = |name: &str, value: Vec<u8>| (name.to_owned(), Some(Bytes::from(value)));
    let record = Record {
        timestamp: NOW,
        value: Some(Bytes::new()),
        headers: vec![
            header(ENVELOPE_HEADER, envelope().encode()),
            header(CAUSE_HEADER, callback_of(outcome).encode()),
        ],
        ..Record::default()
    };
    forge(disk, MAIN, &[record]);
}

#[test]
fn entries_that_contradict_the_other_logs_are_found() {
    let (disk, open) = pushed(1);
    open.work(2);
    let waiting = open.publish(&[message(None)]);
    drop(open);
    assert_eq!(faults(&disk), vec![]);
    let with = |change: &dyn Fn(&SimDisk)| {
        let copy = disk.snapshot();
        change(&copy);
        faults(&copy)
    };
    let message = Offset(500);
    let cancelled = Entry::Cancelled { message, time: NOW };
    let found = with(&|disk| forge_entry(disk, &cancelled));
    assert_eq!(found, [Fault::UnknownMessage { message }]);
    for letter in [Offset(0), Offset(77)] {
        let dead = Entry::Dead {
            message: waiting,
            letter,
            time: NOW,
        };
        let found = with(&|disk| forge_entry(disk, &dead));
        let message = waiting;
        assert_eq!(found, [Fault::WrongLetter { message, letter }]);
    }
    let found = with(&|disk| {
        for path in disk.paths() {
            if path.to_string_lossy().contains("/dead-letter/") {
                disk.remove_file(&path).unwrap();
            }
        }
    });
    assert_eq!(found.len(), 2, "the letters of two deaths: {found:?}");
    // Entry 2 is an outcome that was called back, entry 0 an intent, entry 3 an outcome that asks for nothing.
    let found = with(&|disk| forge_callback(disk, Offset(2)));
    assert_eq!(found, [Fault::CalledBackTwice { outcome: Offset(2) }]);
    for outcome in [Offset(0), Offset(3), Offset(900)] {
        let found = with(&|disk| forge_callback(disk, outcome));
        assert_eq!(found, [Fault::UnknownOutcome { outcome }]);
    }
}

#[test]
fn a_head_that_is_gone_is_found() {
    let (disk, open) = pushed(1);
    open.work(20);
    open.publish(&[message(None)]);
    let segments = |open: &Open, kind| {
        let mut owner = open.owner.lock();
        owner.log_mut(kind).unwrap().reader().segments()
    };
    let (main, delivery) = (
        segments(&open, LogKind::Main),
        segments(&open, LogKind::Delivery),
    );
    drop(open);
    assert!(main.len() > 2 && delivery.len() > 1);
    let without = |kind: &str, base: Offset| {
        let copy = disk.snapshot();
        for path in copy.paths() {
            let text = path.to_string_lossy().into_owned();
            if text.contains(&format!("/{kind}/{:020}", base.0)) {
                copy.remove_file(&path).unwrap();
            }
        }
        faults(&copy)
    };
    let found = without("delivery", delivery[0].base_offset);
    assert!(found.contains(&Fault::DeliveryHeadMissing), "{found:?}");
    let found = without("main", main[0].base_offset);
    assert!(found.contains(&Fault::UnseenMessages), "{found:?}");
}

#[test]
fn every_flipped_bit_of_a_delivery_log_is_found_or_harmless() {
    let (disk, open) = pushed(1);
    open.work(6);
    open.snapshot();
    open.work(6);
    open.checkpoint();
    drop(open);
    let state = |disk: &SimDisk| {
        let shared: Arc<dyn Disk> = Arc::new(disk.restart_process());
        let open = Open::pushed(&shared, Path::new(ROOT));
        let owner = open.owner.lock();
        owner
            .delivery()
            .map(storage::delivery::DeliveryState::encode)
    };
    let whole = state(&disk);
    assert!(whole.is_some());
    for path in disk.paths() {
        let text = path.to_string_lossy().into_owned();
        let is_segment = path.extension().is_some_and(|found| found == "log");
        if !text.contains("/delivery/") || !is_segment {
            continue;
        }
        let bytes = disk.read_file(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
        for bit in (0..used * 8).step_by(97) {
            let copy = disk.snapshot();
            copy.flip_bit(&path, bit).unwrap();
            if verify(&copy).findings.is_empty() {
                assert_eq!(state(&copy), whole, "{text} bit {bit}");
            }
        }
    }
}
