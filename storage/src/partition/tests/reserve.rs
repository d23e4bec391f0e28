//! Who may take the last space of a disk.

use super::*;
use crate::cause::CauseDetail;
use crate::delivery::Envelope;
use crate::error::LogError;
use crate::log_id::LogId;
use crate::reserve::Reserve;

const FULL: std::io::ErrorKind = std::io::ErrorKind::StorageFull;
const RESERVE: u64 = 1 << 20;

/// A partition whose every append begins a segment, so that each one asks for space.
fn open_reserving(disk: &SimDisk, config: PartitionConfig) -> Mutex<Partition> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let reserve = Reserve::new(Arc::clone(&disk), "/data".into(), RESERVE);
    let config = PartitionConfig {
        reserve: Some(Arc::new(reserve)),
        ..config
    };
    open_with(disk, config).0
}

/// Leaves so much of the disk free.
fn leave(disk: &SimDisk, bytes: u64) {
    disk.set_capacity_bytes(Some(u64::MAX));
    let used = u64::MAX - disk.free_bytes(Path::new("/data")).unwrap();
    disk.set_capacity_bytes(Some(used + bytes));
}

fn is_for_want_of_space(error: &LogError) -> bool {
    matches!(error, LogError::Io { op: "allocate", source, .. } if source.kind() == FULL)
}

#[test]
fn what_producers_leave_is_there_for_letters_and_their_return() {
    let disk = new_disk();
    let owner = open_reserving(&disk, config());
    let large = "x".repeat(3000);
    let rejected: Vec<_> = (0..3).map(|_| produce(&owner, &large)).collect();
    leave(&disk, RESERVE + 5000);
    produce(&owner, &large);
    let end = owner.lock().main().next_offset();
    let Err(Refused::Log(refused)) = append(&owner, build(&[&large], None)) else {
        panic!("the reserve is taken");
    };
    assert!(is_for_want_of_space(&refused), "{refused:?}");
    assert!(disk.free_bytes(Path::new("/data")).unwrap() >= RESERVE);
    for offset in rejected {
        let letter = reject(&owner, "g", offset).letter();
        let back = retry(&owner, letter);
        assert!(matches!(back, Outcome::Republished { .. }), "{back:?}");
    }
    assert!(disk.free_bytes(Path::new("/data")).unwrap() < RESERVE);
    assert_eq!(owner.lock().main().poison(), None);
    leave(&disk, 2 * RESERVE);
    assert_eq!(produce(&owner, &large), Offset(end.0 + 3));
}

#[test]
fn what_publishers_leave_is_there_for_callbacks() {
    let disk = new_disk();
    let pushed = PartitionConfig {
        delivery: Some(config().main),
        ..config()
    };
    let owner = open_reserving(&disk, pushed);
    let published = NewMessage {
        timestamp: NOW,
        body: Bytes::from(vec![7; 3000]),
        envelope: Envelope {
            url: "http://host/".to_owned(),
            method: "POST".to_owned(),
            ..Envelope::default()
        },
        cause: None,
    };
    let of_the_broker = NewMessage {
        cause: Some(Cause {
            kind: CauseKind::Schedule,
            log: LogId::CONTROL,
            offset: Offset(0),
            detail: CauseDetail::default(),
        }),
        ..published.clone()
    };
    leave(&disk, RESERVE + 100);
    let append = |message: &NewMessage| {
        let messages = std::slice::from_ref(message);
        owner.lock().append_messages(messages, NOW)
    };
    let refused = append(&published).unwrap_err();
    assert!(is_for_want_of_space(&refused), "{refused:?}");
    assert_eq!(append(&of_the_broker).unwrap().base_offset, Offset(0));
}
