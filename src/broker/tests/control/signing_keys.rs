//! Signing keys.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use storage::control::push::SigningKeys;
use storage::disk::Site;
use storage::disk::fault::{Effect, FaultDisk, OpClass, Rule};
use storage::disk::sim::SimDisk;

use super::{DEVELOPMENT, Machine, NOW, PRODUCTION, queue_name, try_open};
use crate::broker::OpenError;
use crate::clock::ManualClock;
use crate::config::development;

fn texts(keys: &SigningKeys) -> (String, String) {
    let text = |key: &storage::control::push::SigningKey| key.expose().to_owned();
    (text(&keys.current), text(&keys.next))
}

#[test]
fn signing_keys_are_made_once_and_rotated_for_good() {
    let machine = Machine::new(PRODUCTION);
    let (current, next) = texts(&machine.broker.signing_keys());
    for key in [&current, &next] {
        let random = key.strip_prefix("sig_").unwrap();
        assert!(random.len() == 28 && random.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
    assert_ne!(current, next);
    let machine = machine.restart();
    assert_eq!(
        texts(&machine.broker.signing_keys()),
        (current, next.clone())
    );
    let rotated = machine.assert_writes(true, |b| b.rotate_signing_keys().unwrap());
    assert_eq!(rotated, machine.broker.signing_keys());
    let (current, fresh) = texts(&rotated);
    assert_eq!(current, next);
    assert_ne!(fresh, next);
    let machine = machine.restart();
    assert_eq!(machine.broker.signing_keys(), rotated);
    let elsewhere = Machine::new(PRODUCTION);
    assert_ne!(elsewhere.broker.signing_keys(), rotated);
}

#[test]
fn development_keys_are_the_known_ones_at_every_start_and_leave_the_stored_ones_alone() {
    let known = (
        development::CURRENT_SIGNING_KEY.to_owned(),
        development::NEXT_SIGNING_KEY.to_owned(),
    );
    let machine = Machine::new(PRODUCTION);
    let stored = machine.broker.signing_keys();
    let machine = machine.restart_as(DEVELOPMENT);
    assert_eq!(texts(&machine.broker.signing_keys()), known);

    let before = machine.disk.op_count();
    let told = machine.broker.subscribe_push_settings();
    let rotated = machine.broker.rotate_signing_keys().unwrap();
    assert!(told.has_changed().unwrap());
    assert_eq!(machine.disk.op_count(), before, "it is in memory only");
    assert_eq!(rotated.current.expose(), known.1);
    assert_ne!(rotated.next.expose(), known.0);
    // A change of something else leaves it in force.
    let mail = queue_name("mail");
    machine.broker.upsert_queue(&mail, None, None).unwrap();
    assert_eq!(machine.broker.signing_keys(), rotated);

    let machine = machine.restart();
    assert_eq!(texts(&machine.broker.signing_keys()), known);
    let machine = machine.restart_as(PRODUCTION);
    assert_eq!(machine.broker.signing_keys(), stored);
}

#[test]
fn a_first_start_that_cannot_store_its_signing_keys_is_no_start() {
    let disk = SimDisk::new(7);
    disk.write_file(Path::new("/data/.made"), b"").unwrap();
    let faulty = FaultDisk::new(Arc::new(disk.clone()));
    faulty.add(Rule::new(OpClass::Sync, Effect::Fail(ErrorKind::Other)).at(Site::Append));
    let clock = Arc::new(ManualClock::new(NOW));
    let opened = try_open(Arc::new(faulty), PRODUCTION, Arc::clone(&clock));
    assert!(matches!(opened, Err(OpenError::Control(_))), "{opened:?}");
    try_open(Arc::new(disk), PRODUCTION, clock).unwrap();
}

#[test]
fn no_debug_output_has_a_signing_key() {
    let machine = Machine::new(PRODUCTION);
    let broker = &machine.broker;
    let (current, next) = texts(&broker.signing_keys());
    let told = broker.subscribe_push_settings();
    let text = format!(
        "{broker:?} {told:?} {:?} {:?}",
        broker.push_settings(),
        broker.rotate_signing_keys()
    );
    assert!(!text.contains(&current) && !text.contains(&next));
    assert!(text.contains("SigningKey(..)"));
}
