//! What entries add up to.

use super::*;

#[test]
fn the_state_is_what_was_set_last() {
    let mut state = fold(&samples()[..ADDING]);
    let push = state.push();
    assert_eq!(push.queue("mail").unwrap().parallelism, 1);
    assert!(push.queue("bulk").unwrap().is_paused);
    assert_eq!(push.url_group("shops").unwrap().endpoints.len(), 2);
    assert_eq!(push.schedule("bare").unwrap().number, 1);
    assert_eq!(push.next_schedule_number(), 2);
    assert_eq!(push.flow_key("tenant 1"), Some(pinned()));
    assert_eq!(push.signing_keys().unwrap().next.expose(), "sig_b");
    let nightly = push.schedule("nightly").unwrap();
    assert!(nightly.is_paused);
    assert_eq!(nightly.since, NOW, "a pause does not move what is due");

    let resumed = NOW.saturating_add(9);
    state
        .apply(&schedule_paused("nightly", false, resumed.0))
        .unwrap();
    let nightly = state.push().schedule("nightly").unwrap();
    assert_eq!((nightly.is_paused, nightly.since), (false, resumed));

    let state = fold(&samples());
    let push = state.push();
    assert_eq!(push.queues().map(|(n, _)| n).collect::<Vec<_>>(), ["mail"]);
    assert_eq!(push.url_groups().len(), 0);
    assert_eq!(push.schedules().len(), 1);
    assert_eq!(push.next_schedule_number(), 2, "numbers stay used");
    let keys: Vec<_> = push.flow_keys().map(|(key, _)| key).collect();
    assert_eq!(keys, ["tenant 1"]);
}

#[test]
fn a_copy_of_the_state_stays_as_it_was() {
    let mut state = fold(&samples()[..ADDING]);
    let before = state.push().clone();
    let encoded = state.clone();
    for entry in &samples()[ADDING..] {
        state.apply(entry).unwrap();
    }
    assert_eq!(&before, encoded.push());
    assert_ne!(&before, state.push());
}

#[test]
fn entries_that_contradict_the_state_are_refused_and_change_nothing() {
    let mut state = fold(&samples()[..ADDING]);
    let before = state.clone();
    for (entry, told) in [
        (queue_deleted("no"), "there is no queue no"),
        (group_deleted("no"), "there is no URL group no"),
        (schedule_deleted("no"), "there is no schedule no"),
        (schedule_paused("no", true, 1), "there is no schedule no"),
        (flow_cleared("no"), "there is no flow-control key no"),
        (
            schedule_set("nightly", schedule(2)),
            "the schedule's number is 2, it must be 0 to 0",
        ),
        (
            schedule_set("new", schedule(1)),
            "the schedule's number is 1, it must be 2 to",
        ),
        (
            schedule_set("new", schedule(u64::MAX)),
            "the schedule's number is 18446744073709551615, it must be 2 to",
        ),
    ] {
        let refusal = state.apply(&entry).unwrap_err();
        assert!(refusal.to_string().starts_with(told), "{refusal}");
        assert_eq!(state.check(&entry), Err(refusal));
        assert_eq!(state, before, "after {entry:?}");
    }
}
