//! How records die: one live letter for each record and group, and no letter before its record is durable.

use super::*;
use crate::error::LogError;
use crate::log::Visibility;

#[test]
fn a_group_has_one_live_letter_for_a_record() {
    let disk = new_disk();
    let (owner, first) = rejected(&disk);
    assert_eq!(
        reject(&owner, "g", Offset(0)),
        RejectOutcome::Live { letter: first }
    );
    let other = reject(&owner, "h", Offset(0));
    assert_eq!(other, RejectOutcome::Appended { letter: Offset(1) });
    drop(owner);
    let owner = open(&disk);
    assert_eq!(
        reject(&owner, "g", Offset(0)),
        RejectOutcome::Live { letter: first }
    );
    assert_eq!(delete(&owner, first), Outcome::Deleted);
    let again = reject(&owner, "g", Offset(0));
    assert_eq!(again, RejectOutcome::Appended { letter: Offset(3) });
}

/// The second one is too large for any batch, and goes into another one than the first.
#[test]
fn a_rejection_before_one_that_fails_stands_and_is_told() {
    let disk = new_disk();
    let owner = open(&disk);
    let mut letters = ["one", "two"].map(|value| letter_of(&owner, "g", produce(&owner, value)));
    letters[1].record.value = Some(vec![7; 9 << 20].into());
    let (outcomes, error) = resolver(&owner).reject(&letters);
    assert!(matches!(error, Some(LogError::BatchTooLarge { .. })));
    assert_eq!(outcomes, [RejectOutcome::Appended { letter: Offset(0) }]);
    drop(owner);
    let owner = open(&disk.reboot(Survival::Nothing));
    let owner = owner.lock();
    let letters = owner.dead_letters().unwrap();
    assert!(letters.is_live(Offset(0)) && letters.live_count() == 1);
}

/// Producers decide how far a batch unpacks.
#[test]
fn what_is_kept_of_a_packed_batch_counts_unpacked() {
    let owner = open(&new_disk());
    let mut builder = BatchBuilder::new(Codec::Lz4);
    let record = Record {
        timestamp: NOW,
        key: None,
        value: Some(vec![0; 1 << 20].into()),
        headers: Vec::new(),
    };
    builder.push(&record.as_new(&[])).unwrap();
    let options = BuildOptions {
        producer: None,
        broker: BrokerMark::Client,
    };
    let batch = builder.build(options).unwrap();
    assert!(batch.len() < 10_000, "{}", batch.len());
    append(&owner, batch).unwrap();
    let mut recent = RecentBatches::default();
    let reader = owner.lock().main().reader();
    assert!(recent.batch(&reader, Offset(0)).is_ok());
    assert!(recent.bytes() >= 1 << 20, "{}", recent.bytes());
}

#[test]
fn the_lineage_names_the_first_message_through_several_deaths() {
    let owner = open(&new_disk());
    let first = produce(&owner, "one");
    let first_id = crate::address::Address::message(NUMBER, first).to_string();
    let mut at = first;
    for death in 0..4 {
        let letter = reject(&owner, "g", at).letter();
        let (_, held) = load(&owner, letter);
        let lineage = Lineage {
            first_message_id: Some(first_id.clone()),
            republished: death,
        };
        assert_eq!(held.lineage, lineage);
        assert_eq!(held.record.value.as_deref(), Some(&b"one"[..]));
        let names: Vec<_> = held.record.headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["user"], "no reserved header comes back");
        let Outcome::Republished { target, .. } = retry(&owner, letter) else {
            panic!("it is live");
        };
        at = target;
    }
}

#[test]
fn a_record_is_durable_before_its_letter_stands_for_it() {
    let disk = new_disk();
    let log = LogConfig {
        visibility: Visibility::Written,
        ..LogConfig::default()
    };
    let place = PartitionPlace {
        disk: Arc::new(disk.clone()),
        root: PathBuf::from("/data"),
        number: NUMBER,
    };
    let written = PartitionConfig {
        main: log,
        ..PartitionConfig::default()
    };
    let hints = PartitionHints::default();
    let (mut partition, _) = Partition::open(&place, written, &hints, NOW).unwrap();
    for value in ["one", "two"] {
        let mut batch = build(&[value], None);
        let header = check_produced(&batch, &crate::batch::BatchLimits::default()).unwrap();
        partition.append(&header, &mut batch, NOW).unwrap();
        if value == "one" {
            // One of the two needs no sync any more.
            let task = partition.main_mut().begin_sync();
            task.unwrap().run().unwrap();
        }
    }
    let owner = Mutex::new(partition);
    let letters = [1, 0].map(|at| letter_of(&owner, "g", Offset(at)));
    let (outcomes, error) = resolver(&owner).reject(&letters);
    assert!(error.is_none(), "{error:?}");
    drop(owner);
    let owner = open(&disk.reboot(Survival::Nothing));
    for (outcome, (at, value)) in outcomes.iter().zip([(1, "two"), (0, "one")]) {
        let letter = outcome.letter();
        assert!(owner.lock().dead_letters().unwrap().is_live(letter));
        let record = record_at(&owner, Offset(at));
        assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
    }
}
