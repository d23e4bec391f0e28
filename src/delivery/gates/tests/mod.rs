//! The gates by example.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may panic"
)]

mod check;
mod order;
mod random;

use std::collections::HashSet;

use storage::offset::Offset;

use super::*;

const LIMITS: GateLimits = GateLimits {
    total_max: 6,
    host_max: 2,
    ahead_factor: 1,
};
const NOW: TimestampMs = TimestampMs(10_000);

fn ticket(message: u64) -> Ticket {
    Ticket {
        partition: 0,
        message: Offset(message),
    }
}

fn claim(host: &str, turn: Turn) -> Claim {
    Claim {
        host: Arc::from(host),
        turn,
        places: 1,
    }
}

fn flow(key: &str, parallelism: Option<u32>, rate: Option<u32>) -> FlowControl {
    FlowControl {
        key: key.to_owned(),
        parallelism,
        rate,
        period_ms: Some(1_000),
    }
}

fn messages(passes: &[Pass]) -> Vec<u64> {
    passes.iter().map(|pass| pass.ticket.message.0).collect()
}

#[test]
fn a_destination_that_hangs_fills_its_own_places_only() {
    let mut gates = Gates::new(LIMITS);
    let hung: Vec<_> = (0..20)
        .filter_map(|n| {
            gates
                .enter(ticket(n), None, claim("sick", Turn::InOrder), NOW)
                .0
        })
        .collect();
    assert_eq!(hung.len(), 2);
    let well = gates
        .enter(ticket(99), None, claim("well", Turn::InOrder), NOW)
        .0
        .unwrap();
    assert_eq!(gates.waiting_count(), 18);
    assert_eq!(gates.leave(&well, NOW), []);
    assert_eq!(messages(&gates.leave(hung.first().unwrap(), NOW)), [2]);
}

#[test]
fn what_may_go_ahead_does_and_the_rest_keeps_to_the_limits() {
    let limits = GateLimits {
        ahead_factor: 2,
        ..LIMITS
    };
    let mut gates = Gates::new(limits);
    let mut enter = |n, turn| gates.enter(ticket(n), None, claim("a", turn), NOW).0;
    let passes: Vec<_> = (0..3).filter_map(|n| enter(n, Turn::Ahead)).collect();
    assert_eq!(passes.len(), 3);
    assert_eq!(enter(3, Turn::InOrder), None);
    // It has room, and somebody who came before it waits.
    assert_eq!(enter(4, Turn::Ahead), None);
    assert_eq!(enter(5, Turn::Ahead), None);
    let flow = flow("k", None, Some(9));
    let keyed = gates.enter(ticket(6), Some((&flow, NOW)), claim("b", Turn::Ahead), NOW);
    assert!(keyed.0.is_some());
    // Nobody passes the first who waits, and it goes in when only those within the limits are left.
    let mut left = passes.iter().map(|pass| messages(&gates.leave(pass, NOW)));
    assert_eq!(left.next(), Some(vec![]));
    assert_eq!(left.next(), Some(vec![3, 4, 5]));
    assert_eq!(left.next(), Some(vec![]));
    let keyed = |n| {
        gates
            .enter(ticket(n), Some((&flow, NOW)), claim("c", Turn::Ahead), NOW)
            .0
    };
    let within: Vec<_> = (7..10).filter_map(keyed).collect();
    assert_eq!(within.len(), LIMITS.host_max);
}

#[test]
fn one_that_may_not_go_ahead_comes_in_however_many_others_come() {
    let limits = GateLimits {
        total_max: 100,
        ahead_factor: 8,
        ..LIMITS
    };
    let mut gates = Gates::new(limits);
    let enter = |gates: &mut Gates, n, turn| gates.enter(ticket(n), None, claim("a", turn), NOW).0;
    let mut inside: VecDeque<_> = (1..17)
        .filter_map(|n| enter(&mut gates, n, Turn::Ahead))
        .collect();
    assert_eq!(enter(&mut gates, 0, Turn::InOrder), None);
    // For each that leaves another one comes.
    let is_in = (17..50).any(|n| {
        let gone = inside.pop_front().unwrap();
        inside.extend(gates.leave(&gone, NOW));
        inside.extend(enter(&mut gates, n, Turn::Ahead));
        inside.iter().any(|pass| pass.ticket.message.0 == 0)
    });
    assert!(is_in, "it waits for ever: {inside:?}");
}

#[test]
fn what_waits_for_a_period_goes_before_what_comes_later() {
    let mut gates = Gates::new(LIMITS);
    let flow = flow("k", None, Some(1));
    let mut enter = |n, now| {
        let claim = claim("a", Turn::Ahead);
        let (pass, others) = gates.enter(ticket(n), Some((&flow, NOW)), claim, now);
        messages(&others.into_iter().chain(pass).collect::<Vec<_>>())
    };
    assert_eq!(enter(0, NOW), [0]);
    assert_eq!(enter(1, NOW), [0; 0]);
    // The period is over, and nobody has looked.
    assert_eq!(enter(2, NOW.saturating_add(1_000)), [1]);
}

#[test]
fn kept_places_are_nobody_elses_and_are_given_back() {
    let mut places = Gates::new(LIMITS);
    let enter = |places: &mut Gates, n| {
        let claim = claim("a", Turn::Ahead);
        places.enter(ticket(n), None, claim, NOW).0
    };
    let in_turn = claim("a", Turn::InOrder);
    let first = enter(&mut places, 0).unwrap();
    places.keep(&in_turn);
    assert_eq!(places.in_flight(), 1);
    assert_eq!(enter(&mut places, 1), None);
    let kept = places.take_kept(ticket(2), in_turn);
    assert_eq!(places.in_flight(), 2);
    assert_eq!(messages(&places.leave(&kept, NOW)), [1]);
    assert_eq!(messages(&places.leave(&first, NOW)), [0; 0]);
}

#[test]
fn a_rate_lets_so_many_through_in_each_period() {
    let mut gates = Gates::new(LIMITS);
    let flow = flow("k", None, Some(2));
    let mut enter = |n: u64, host: &str, now| {
        gates
            .enter(ticket(n), Some((&flow, NOW)), claim(host, Turn::Ahead), now)
            .0
    };
    let first = enter(0, "a", NOW).unwrap();
    assert_eq!(first.period, Some(NOW));
    let second = enter(1, "a", NOW.saturating_add(10)).unwrap();
    assert_eq!(second.period, Some(NOW));
    assert_eq!(enter(2, "b", NOW.saturating_add(20)), None);
    assert_eq!(gates.leave(&first, NOW.saturating_add(30)), []);
    assert_eq!(gates.leave(&second, NOW.saturating_add(30)), []);
    let end = NOW.saturating_add(1_000);
    assert_eq!(gates.next_tick(), Some(end));
    assert_eq!(gates.tick(NOW.saturating_add(999)), []);
    let third = gates.tick(end);
    assert_eq!(messages(&third), [2]);
    assert_eq!(third.first().unwrap().period, Some(end));
    assert_eq!(gates.next_tick(), None);
}

#[test]
fn a_clock_that_was_set_back_ends_a_period() {
    let mut gates = Gates::new(LIMITS);
    let flow = flow("k", None, Some(1));
    let mut enter = |n: u64| {
        let claim = claim("a", Turn::Ahead);
        gates.enter(ticket(n), Some((&flow, NOW)), claim, NOW).0
    };
    assert!(enter(0).is_some());
    assert_eq!(enter(1), None);
    assert_eq!(gates.tick(NOW), []);
    let back = NOW.saturating_add(-3_600_000);
    assert_eq!(messages(&gates.tick(back)), [1]);
}

#[test]
fn a_period_before_a_restart_still_counts() {
    let mut gates = Gates::new(LIMITS);
    gates.restore_period("k", NOW, 1, NOW);
    gates.restore_period("k", NOW, 1, NOW);
    gates.restore_period("k", TimestampMs(1), 50, NOW);
    // From before the clock was set back.
    gates.restore_period("k", NOW.saturating_add(3_600_000), 1, NOW);
    let flow = flow("k", None, Some(3));
    let enter = |gates: &mut Gates, n| {
        gates
            .enter(ticket(n), Some((&flow, NOW)), claim("a", Turn::Ahead), NOW)
            .0
    };
    assert_eq!(enter(&mut gates, 0).unwrap().period, Some(NOW));
    assert_eq!(enter(&mut gates, 1), None);
}

#[test]
fn pins_and_pauses_count_before_messages() {
    let mut gates = Gates::new(LIMITS);
    let open = flow("k", None, None);
    let paused = Pin {
        is_paused: true,
        ..Pin::default()
    };
    gates.set_pin("k", Some(&paused), NOW);
    assert_eq!(
        gates
            .enter(ticket(0), Some((&open, NOW)), claim("a", Turn::Ahead), NOW)
            .0,
        None
    );
    assert_eq!(
        gates
            .enter(ticket(1), Some((&open, NOW)), claim("b", Turn::Ahead), NOW)
            .0,
        None
    );
    let one = Pin {
        parallelism: Some(1),
        ..Pin::default()
    };
    let passes = gates.set_pin("k", Some(&one), NOW);
    assert_eq!(messages(&passes), [0]);
    let view = gates.view("k", NOW).unwrap();
    assert_eq!((view.waiting_count, view.parallelism_count), (1, 1));
    assert!(view.is_pinned_parallelism && !view.is_paused);
    gates.set_pin("k", None, NOW);
    let view = gates.view("k", NOW).unwrap();
    assert_eq!(view.parallelism_max, Some(1), "until a newer message");
    let wide = flow("k", Some(5), None);
    let later = NOW.saturating_add(1);
    assert_eq!(gates.note_config(&open, later, NOW), [], "it names none");
    assert_eq!(gates.view("k", NOW).unwrap().parallelism_max, Some(1));
    let passes = gates.note_config(&wide, later, NOW);
    assert_eq!(messages(&passes), [1], "the one that had waited");
    let older = flow("k", Some(1), None);
    assert_eq!(gates.note_config(&older, TimestampMs(1), NOW), []);
    assert_eq!(gates.view("k", NOW).unwrap().parallelism_max, Some(5));
}

/// What is pinned anew begins a new period; what was pinned before a restart does not, or each restart would allow the rate again.
#[test]
fn a_pin_that_is_restored_leaves_the_period_as_it_is() {
    let mut gates = Gates::new(LIMITS);
    let pin = Pin {
        rate: Some(1),
        period_ms: Some(1_000),
        ..Pin::default()
    };
    gates.restore_period("k", NOW, 1, NOW);
    gates.restore_pin("k", &pin);
    assert_eq!(gates.set_pin("k", Some(&pin), NOW), []);
    let open = flow("k", None, None);
    let enter = |gates: &mut Gates, number| {
        let claim = claim("a", Turn::Ahead);
        gates
            .enter(ticket(number), Some((&open, NOW)), claim, NOW)
            .0
    };
    assert_eq!(enter(&mut gates, 0), None, "the rate is used up");
    let twice = Pin {
        rate: Some(2),
        ..pin
    };
    let passes = gates.set_pin("k", Some(&twice), NOW);
    assert_eq!(messages(&passes), [0], "what is pinned anew begins anew");
}

/// With no message that says how long it is, a period was taken for over after a second, and what came next for the first of
/// another one.
#[test]
fn a_restored_period_is_remembered_until_a_message_says_how_long_it_is() {
    let mut gates = Gates::new(LIMITS);
    gates.restore_period("k", NOW, 1, NOW);
    let later = NOW.saturating_add(5_000);
    gates.sweep(later, &|_| false);
    let long = FlowControl {
        period_ms: Some(20_000),
        ..flow("k", None, Some(1))
    };
    let claim = claim("a", Turn::Ahead);
    let entered = gates.enter(ticket(0), Some((&long, later)), claim, later);
    assert_eq!(entered.0, None, "the rate is used up");
    let much_later = NOW.saturating_add(8 * 24 * 3_600_000);
    gates.restore_period("old", NOW, 1, NOW);
    gates.sweep(much_later, &|_| false);
    assert!(gates.view("old", much_later).is_none());
}

#[test]
fn an_idle_key_is_forgotten() {
    let mut gates = Gates::new(LIMITS);
    let flow = flow("k", Some(1), Some(1));
    let pass = gates
        .enter(ticket(0), Some((&flow, NOW)), claim("a", Turn::Ahead), NOW)
        .0
        .unwrap();
    gates.leave(&pass, NOW);
    gates.sweep(NOW, &|_| false);
    assert_eq!(gates.views(NOW).len(), 1, "its period is not over");
    let later = NOW.saturating_add(1_000);
    gates.sweep(later, &|key| key == "k");
    assert_eq!(gates.views(later).len(), 1, "it has messages");
    gates.sweep(later, &|_| false);
    assert!(gates.views(later).is_empty());
}

#[test]
fn a_large_one_takes_as_many_places_and_nobody_passes_it() {
    let mut gates = Gates::new(LIMITS);
    let mut enter = |n, host: &str, places| {
        let large = Claim {
            places,
            ..claim(host, Turn::InOrder)
        };
        gates.enter(ticket(n), None, large, NOW).0
    };
    let first = enter(0, "a", 4).unwrap();
    let second = enter(1, "b", 2).unwrap();
    assert_eq!(enter(2, "c", 3), None);
    assert_eq!(enter(3, "d", 1), None);
    assert_eq!(enter(4, "e", 100), None, "more than there are");
    assert_eq!(gates.in_flight(), 2);
    assert_eq!(messages(&gates.leave(&second, NOW)), [0; 0]);
    let mut inside = gates.leave(&first, NOW);
    assert_eq!(messages(&inside), [2, 3]);
    let last = inside.pop().unwrap();
    assert_eq!(messages(&gates.leave(&last, NOW)), [0; 0]);
    let last = inside.pop().unwrap();
    assert_eq!(messages(&gates.leave(&last, NOW)), [4], "alone");
}
