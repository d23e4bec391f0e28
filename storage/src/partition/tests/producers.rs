//! Batches that a producer sends again.

use super::*;

#[test]
fn a_repeated_batch_is_answered_and_not_appended() {
    let owner = open(&new_disk());
    let producer = |base_sequence| {
        Some(Producer {
            id: 1,
            epoch: 0,
            base_sequence,
        })
    };
    let first = build(&["a", "b"], producer(0));
    let Ok(AppendOutcome::Appended(appended)) = append(&owner, first.clone()) else {
        panic!("the first is appended");
    };
    let repeat = AppendOutcome::Repeat {
        base_offset: appended.base_offset,
        next_offset: appended.next_offset,
    };
    assert_eq!(append(&owner, first.clone()).unwrap(), repeat);
    let gap = append(&owner, build(&["c"], producer(9)));
    assert!(
        matches!(gap, Err(Refused::Sequence(_))),
        "a gap is refused, not {gap:?}"
    );
    append(&owner, build(&["c"], producer(2))).unwrap();
    assert_eq!(append(&owner, first).unwrap(), repeat);
    assert_eq!(owner.lock().main().next_offset(), Offset(3));
}
