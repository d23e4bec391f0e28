//! Who is next when many wait, and what it takes to find out.

use super::super::register::WORK;
use super::check::check;
use super::*;

/// Gates with messages that come without end.
struct Busy {
    gates: Gates,
    now: TimestampMs,
    next: u64,
    inside: VecDeque<Pass>,
    /// Who was let in, in that order.
    begun: Vec<u64>,
}

impl Busy {
    fn new(limits: GateLimits) -> Self {
        Self {
            gates: Gates::new(limits),
            now: NOW,
            next: 0,
            inside: VecDeque::new(),
            begun: Vec::new(),
        }
    }

    /// Lets another one come; returns its number.
    fn come(&mut self, flow: Option<&FlowControl>, host: &str) -> u64 {
        let number = self.next;
        self.next += 1;
        let flow = flow.map(|flow| (flow, NOW));
        let claim = claim(host, Turn::Ahead);
        let (pass, others) = self.gates.enter(ticket(number), flow, claim, self.now);
        self.come_in(others.into_iter().chain(pass).collect());
        number
    }

    fn come_in(&mut self, passes: Vec<Pass>) {
        self.begun.extend(messages(&passes));
        self.inside.extend(passes);
    }

    /// Ends the attempt that has been under way longest, of those to a destination.
    fn end(&mut self, host: &str) {
        let mut inside = self.inside.iter();
        let at = inside.position(|pass| &*pass.claim.host == host).unwrap();
        let pass = self.inside.remove(at).unwrap();
        let passes = self.gates.leave(&pass, self.now);
        self.come_in(passes);
        check(&self.gates);
    }

    fn has_begun(&self, number: u64) -> bool {
        self.begun.contains(&number)
    }
}

#[test]
fn messages_of_a_key_begin_in_the_order_in_which_they_came_however_many_follow() {
    let key = flow("k", Some(1), None);
    let mut busy = Busy::new(LIMITS);
    let keyed: Vec<_> = (0..6).map(|_| busy.come(Some(&key), "a")).collect();
    busy.come(None, "a");
    for _ in 0..40 {
        // For each that ends others come, with the key and without.
        busy.come(Some(&key), "a");
        busy.come(None, "a");
        busy.end("a");
    }
    assert!(keyed.iter().all(|number| busy.has_begun(*number)));
    assert!(
        busy.begun.is_sorted_by(|one, two| {
            let is_keyed = |number: &u64| *number < 6 || number % 2 == 1;
            one < two || is_keyed(one) != is_keyed(two)
        }),
        "{:?}",
        busy.begun
    );
}

#[test]
fn one_of_a_key_that_waits_at_a_destination_that_hangs_holds_up_no_other() {
    let key = flow("k", Some(1), None);
    let mut busy = Busy::new(LIMITS);
    for host in ["sick", "sick", "ill", "ill"] {
        busy.come(None, host);
    }
    // One comes while the key is open, and one while it is closed.
    let mut waits = vec![busy.come(Some(&key), "sick")];
    let mut others = vec![busy.come(Some(&key), "well")];
    waits.push(busy.come(Some(&key), "ill"));
    others.extend((0..3).map(|_| busy.come(Some(&key), "well")));
    assert_eq!(busy.gates.view("k", NOW).unwrap().waiting_count, 5);
    for _ in 0..4 {
        busy.end("well");
    }
    assert!(others.iter().all(|number| busy.has_begun(*number)));
    assert!(!waits.iter().any(|number| busy.has_begun(*number)));
    let view = busy.gates.view("k", NOW).unwrap();
    assert_eq!((view.waiting_count, view.parallelism_count), (2, 0));
    busy.end("ill");
    busy.end("ill");
    busy.end("ill");
    busy.end("sick");
    assert!(waits.iter().all(|number| busy.has_begun(*number)));
}

/// A key with a long backlog was moved as a whole whenever a place in it got free.
#[test]
fn what_an_end_takes_does_not_grow_with_the_backlog() {
    let key = flow("k", Some(1), None);
    let mut busy = Busy::new(LIMITS);
    for host in ["a", "a", "b", "b"] {
        busy.come(None, host);
    }
    for number in 0..10_000 {
        busy.come(Some(&key), if number % 2 == 0 { "a" } else { "b" });
        busy.come(None, "b");
    }
    for _ in 0..600 {
        let before = WORK.get();
        let pass = busy.inside.pop_front().unwrap();
        let passes = busy.gates.leave(&pass, NOW);
        let work = WORK.get() - before;
        assert!(work <= 40, "{work} steps for one end");
        busy.come_in(passes);
    }
    check(&busy.gates);
    assert!(busy.begun.len() > 500);
}

#[test]
fn an_attempt_that_was_not_made_does_not_count_in_its_period() {
    let key = flow("k", None, Some(1));
    let mut gates = Gates::new(LIMITS);
    let enter = |gates: &mut Gates, n, now| {
        let claim = claim("a", Turn::Ahead);
        gates.enter(ticket(n), Some((&key, NOW)), claim, now).0
    };
    let first = enter(&mut gates, 0, NOW).unwrap();
    assert_eq!(enter(&mut gates, 1, NOW), None);
    let mut next = gates.leave_unsent(&first, NOW);
    assert_eq!(messages(&next), [1], "the slot is free again");
    let second = next.pop().unwrap();
    assert_eq!(enter(&mut gates, 2, NOW), None);
    assert_eq!(gates.leave(&second, NOW), [], "it was sent");
    let end = NOW.saturating_add(1_000);
    let third = gates.tick(end).pop().unwrap();
    assert_eq!(enter(&mut gates, 3, end), None);
    // Of a period that is over, nothing is taken back from the next one.
    assert_eq!(gates.leave_unsent(&first, end), []);
    assert_eq!(gates.view("k", end).unwrap().rate_count, 1);
    assert_eq!(messages(&gates.leave_unsent(&third, end)), [3]);
}

#[test]
fn who_is_withdrawn_leaves_its_place_in_the_order_to_the_next() {
    let key = flow("k", Some(1), None);
    let mut busy = Busy::new(LIMITS);
    for host in ["a", "a", "b"] {
        busy.come(Some(&key), host);
    }
    let (behind_a, behind_b) = (busy.come(Some(&key), "a"), busy.come(Some(&key), "b"));
    let gone = HashSet::from([ticket(1), ticket(2)]);
    assert_eq!(busy.gates.withdraw(&gone, NOW), []);
    check(&busy.gates);
    assert_eq!(busy.gates.view("k", NOW).unwrap().waiting_count, 2);
    busy.end("a");
    busy.end("a");
    busy.end("b");
    assert_eq!(busy.begun, [0, behind_a, behind_b]);
    assert!(busy.inside.is_empty() && busy.gates.hosts.is_empty());
}

/// Each end at the one destination, and each at the other, found the other gate closed again.
#[test]
fn one_of_a_key_comes_in_at_a_busy_destination_also_when_others_of_the_key_never_end() {
    let key = flow("k", Some(1), None);
    let mut busy = Busy::new(LIMITS);
    busy.come(Some(&key), "free");
    busy.come(None, "busy");
    busy.come(None, "busy");
    let waits = busy.come(Some(&key), "busy");
    for _ in 0..5 {
        busy.come(Some(&key), "free");
        busy.come(None, "busy");
        busy.end("busy");
        if busy.has_begun(waits) {
            return;
        }
        busy.end("free");
    }
    panic!("it waits for ever: {:?}", busy.begun);
}

/// Nobody had looked at the end of the period when a place got free elsewhere, and who was let in then began the next one.
#[test]
fn who_begins_a_period_brings_the_others_of_its_key_in() {
    let key = flow("k", None, Some(2));
    let mut busy = Busy::new(LIMITS);
    busy.come(None, "busy");
    busy.come(None, "busy");
    let ready = busy.come(Some(&key), "busy");
    busy.come(Some(&key), "free");
    busy.come(Some(&key), "free");
    let parked = busy.come(Some(&key), "other");
    busy.now = NOW.saturating_add(1_000);
    busy.end("busy");
    assert!(busy.has_begun(ready) && busy.has_begun(parked));
    assert_eq!(busy.gates.next_tick(), None);
}
