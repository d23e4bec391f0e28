//! Deaths and callbacks, and what is owed of them.

use super::*;

#[test]
fn a_dead_message_keeps_until_letter_and_callbacks_stand() {
    let mut state = DeliveryState::default();
    state.admit(Offset(0), NOW, &[Some(arrival(None))]);
    state.take_due(NOW, 1);
    state.apply(Offset(0), &intent(Offset(0), 1));
    state.apply(Offset(1), &outcome(Offset(0), 1, DEAD, BOTH));
    assert_eq!(state.dying().collect::<Vec<_>>(), [(Offset(0), Offset(1))]);
    assert_eq!(state.head_ceiling(), Some(Offset(1)));
    assert_eq!(state.owed().count(), 0, "they wait for the letter");
    check(&state);
    let dead = Entry::Dead {
        message: Offset(0),
        letter: Offset(77),
        time: NOW,
    };
    state.apply(Offset(2), &dead);
    assert_eq!(state.counts().dead_lettered, 1);
    let (at, owed) = state.owed().next().unwrap();
    assert_eq!((at, owed.letter), (Offset(1), Some(Offset(77))));
    check(&state);
    state.admit(
        Offset(1),
        NOW,
        &[
            Some(callback(CauseKind::Callback, Offset(1), None)),
            Some(callback(CauseKind::FailureCallback, Offset(77), None)),
        ],
    );
    assert_eq!(state.owed().count(), 0);
    assert!(state.get(Offset(0)).is_none());
    assert_eq!(state.head_ceiling(), None);
    check(&state);
}

#[test]
fn a_callback_met_before_what_it_answers_is_not_owed_again() {
    let mut state = DeliveryState::default();
    state.admit(
        Offset(0),
        NOW,
        &[
            Some(arrival(None)),
            Some(callback(CauseKind::Callback, Offset(1), None)),
            Some(callback(CauseKind::FailureCallback, Offset(77), None)),
        ],
    );
    state.apply(Offset(0), &intent(Offset(0), 1));
    state.apply(Offset(1), &outcome(Offset(0), 1, DEAD, BOTH));
    let dead = Entry::Dead {
        message: Offset(0),
        letter: Offset(77),
        time: NOW,
    };
    state.apply(Offset(2), &dead);
    state.finish_fold();
    assert_eq!(state.owed().count(), 0);
    assert!(state.get(Offset(0)).is_none());
    check(&state);
}

#[test]
fn what_is_given_up_owes_nothing_and_lets_the_next_of_its_queue_go() {
    let mut state = DeliveryState::default();
    let queued = || Some(arrival(Some("q")));
    state.admit(Offset(0), NOW, &[queued(), queued(), queued(), queued()]);
    let give_up = |state: &mut DeliveryState, message: u64| {
        let message = Offset(message);
        state.apply(Offset(99), &Entry::GivenUp { message, time: NOW });
        assert!(!state.holds(message));
        assert_eq!(state.owed().count(), 0);
        check(state);
    };
    let mut at = 0..;
    let mut end = |state: &mut DeliveryState, message: u64, verdict| {
        assert_eq!(state.take_due(NOW, 9), [Offset(message)]);
        state.apply(Offset(at.next().unwrap()), &intent(Offset(message), 1));
        let ended = outcome(Offset(message), 1, verdict, BOTH);
        state.apply(Offset(at.next().unwrap()), &ended);
    };
    // One that waits for its retry and owes a callback, one that dies, one that is dead and owes, one that nothing has begun.
    let at = NOW.saturating_add(1_000);
    end(&mut state, 0, Verdict::Retry { at });
    give_up(&mut state, 0);
    end(&mut state, 1, DEAD);
    give_up(&mut state, 1);
    assert_eq!(state.dying().count(), 0);
    end(&mut state, 2, DEAD);
    let dead = Entry::Dead {
        message: Offset(2),
        letter: Offset(0),
        time: NOW,
    };
    state.apply(Offset(50), &dead);
    give_up(&mut state, 2);
    give_up(&mut state, 3);
    let counts = state.counts();
    assert_eq!((counts.cancelled, counts.dead_lettered), (3, 1));
    assert_eq!(state.queue_lag("q"), 0);
}
