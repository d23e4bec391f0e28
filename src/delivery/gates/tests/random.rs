//! The gates at random: nobody is lost, no limit is passed, nobody waits before an open gate, nobody is overtaken by who came
//! later for the same destination with the same key.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::check::check;
use super::*;

/// What is done: what, to which destination, with which key, for how many places, how much later.
type Act = (u8, u8, u8, usize, i64);

fn acts() -> impl Strategy<Value = Vec<Act>> {
    proptest::collection::vec((0u8..9, 0u8..3, 0u8..4, 1usize..4, 0i64..400), 1..200)
}

/// The gates, and what a test knows of them.
struct Machine {
    gates: Gates,
    limits: GateLimits,
    flows: [FlowControl; 3],
    now: TimestampMs,
    next: u64,
    entered: HashSet<u64>,
    inside: Vec<Pass>,
    /// Attempts of each key in each period.
    starts: HashMap<(Arc<str>, TimestampMs), u32>,
    /// The last that was let in of each destination and key.
    last: HashMap<(Arc<str>, Option<Arc<str>>), u64>,
}

impl Machine {
    fn new(limits: GateLimits) -> Self {
        Self {
            gates: Gates::new(limits),
            limits,
            flows: [
                flow("p", Some(2), None),
                flow("r", None, Some(3)),
                flow("b", Some(1), Some(2)),
            ],
            now: NOW,
            next: 0,
            entered: HashSet::new(),
            inside: Vec::new(),
            starts: HashMap::new(),
            last: HashMap::new(),
        }
    }

    fn act(&mut self, (what, host, key, places, later): Act) {
        self.now = self.now.saturating_add(later);
        let is_moved = match what {
            0..=3 => {
                let turn = if what == 0 {
                    Turn::InOrder
                } else {
                    Turn::Ahead
                };
                let claim = Claim {
                    places,
                    ..claim(&format!("h{host}"), turn)
                };
                self.enter(key, claim);
                true
            }
            4 | 5 if !self.inside.is_empty() => {
                let at = usize::from(key) % self.inside.len();
                self.leave(at, what == 4);
                true
            }
            6 => {
                let gone: HashSet<_> = self
                    .gates
                    .waiting()
                    .filter(|it| it.message.0 % 5 == u64::from(key))
                    .collect();
                let passes = self.gates.withdraw(&gone, self.now);
                self.entered
                    .retain(|message| !gone.contains(&ticket(*message)));
                self.come_in(passes);
                true
            }
            7 => {
                let pin = Pin {
                    is_paused: places == 1,
                    ..Pin::default()
                };
                let Some(flow) = self.flows.get(usize::from(key)) else {
                    return;
                };
                let passes = self.gates.set_pin(&flow.key, Some(&pin), self.now);
                self.come_in(passes);
                false
            }
            _ => {
                let passes = self.gates.tick(self.now);
                self.come_in(passes);
                false
            }
        };
        check(&self.gates);
        self.check_limits();
        if is_moved {
            self.check_first();
        }
    }

    fn enter(&mut self, key: u8, claim: Claim) {
        let flow = self.flows.get(usize::from(key)).map(|flow| (flow, NOW));
        let number = self.next;
        self.next += 1;
        self.entered.insert(number);
        let (pass, others) = self.gates.enter(ticket(number), flow, claim, self.now);
        self.come_in(others.into_iter().chain(pass).collect());
    }

    fn leave(&mut self, at: usize, is_sent: bool) {
        let pass = self.inside.remove(at);
        self.entered.remove(&pass.ticket.message.0);
        let passes = if is_sent {
            self.gates.leave(&pass, self.now)
        } else {
            if let (Some(key), Some(period)) = (pass.key.clone(), pass.period) {
                *self.starts.get_mut(&(key, period)).unwrap() -= 1;
            }
            self.gates.leave_unsent(&pass, self.now)
        };
        self.come_in(passes);
    }

    fn come_in(&mut self, passes: Vec<Pass>) {
        for pass in &passes {
            let number = pass.ticket.message.0;
            let line = (Arc::clone(&pass.claim.host), pass.key.clone());
            let before = self.last.insert(line, number);
            assert!(
                before.is_none_or(|before| before < number),
                "{number} was overtaken by {before:?}"
            );
            if let (Some(key), Some(period)) = (&pass.key, pass.period) {
                let rate = self
                    .flows
                    .iter()
                    .find(|flow| *flow.key == **key)
                    .unwrap()
                    .rate;
                let count = self.starts.entry((Arc::clone(key), period)).or_default();
                *count += 1;
                assert!(rate.is_none_or(|max| *count <= max));
            }
        }
        self.inside.extend(passes);
    }

    fn check_limits(&self) {
        let (limits, inside) = (self.limits, &self.inside);
        let is_in_turn = |pass: &&Pass| pass.is_in_turn();
        let places = inside.iter().map(|pass| pass.claim.places).sum::<usize>();
        assert!(places <= limits.in_all(Turn::Ahead));
        let places = inside
            .iter()
            .filter(is_in_turn)
            .map(|pass| pass.claim.places);
        assert!(places.sum::<usize>() <= limits.total_max);
        for host in ["h0", "h1", "h2"] {
            let at = || inside.iter().filter(|pass| *pass.claim.host == *host);
            assert!(at().count() <= limits.of_host(Turn::Ahead));
            assert!(at().filter(is_in_turn).count() <= limits.host_max);
        }
        for flow in &self.flows {
            let at = inside
                .iter()
                .filter(|pass| pass.key.as_deref() == Some(&flow.key));
            let at = u32::try_from(at.count()).unwrap();
            assert!(flow.parallelism.is_none_or(|max| at <= max));
        }
        assert_eq!(
            inside.len() + self.gates.waiting_count(),
            self.entered.len()
        );
        assert_eq!(self.gates.in_flight(), inside.len());
        let ends = self.gates.keys.values().filter_map(Key::opens_at);
        assert_eq!(self.gates.next_tick(), ends.min());
    }

    /// Nobody waits for whom every gate is open: who is first of all finds no places, and what is parked a closed key, unless
    /// it is the end of a period that is to be looked at.
    fn check_first(&self) {
        if let Some((_, name)) = self.gates.ready.first() {
            let host = self.gates.hosts.get(*name).unwrap();
            let (key, first) = host.first().unwrap();
            let key = key.as_ref().map(|key| self.gates.keys.get(key).unwrap());
            assert!(key.is_none_or(|key| key.is_open_to(first.seq, self.now)));
            assert!(host.has_room(&first.claim, self.limits));
            let claim = &first.claim;
            assert!(
                !self
                    .gates
                    .total
                    .has_room(claim.places, self.limits.in_all(claim.turn))
            );
        }
        for key in self.gates.keys.values() {
            let is_to_come = key.noted_end.is_some_and(|end| end <= self.now);
            assert!(is_to_come || key.next_parked(self.now).is_none());
        }
    }

    /// Everybody gets through in the end.
    fn empty(mut self) {
        for flow in self.flows.clone() {
            let passes = self.gates.set_pin(&flow.key, None, self.now);
            self.come_in(passes);
        }
        while !self.inside.is_empty() || self.gates.waiting_count() > 0 {
            self.now = self.now.saturating_add(1_000);
            let passes = self.gates.tick(self.now);
            self.come_in(passes);
            let waiting = self.gates.waiting_count();
            assert!(!self.inside.is_empty(), "{waiting} wait for ever");
            self.leave(self.inside.len() - 1, true);
            check(&self.gates);
        }
        assert!(self.entered.is_empty());
        let much_later = self.now.saturating_add(8 * 24 * 3_600_000);
        self.gates.sweep(much_later, &|_| false);
        let left = (
            self.gates.hosts.iter().count(),
            self.gates.keys.len(),
            self.gates.ends.len(),
        );
        assert_eq!(left, (0, 0, 0));
    }
}

proptest! {
    #[test]
    fn nobody_is_lost_and_no_limit_is_passed(acts in acts(), ahead_factor in 1usize..4) {
        let mut machine = Machine::new(GateLimits { ahead_factor, ..LIMITS });
        for act in acts {
            machine.act(act);
        }
        machine.empty();
    }
}

/// Who comes: to which destination, with which key, for how many places.
fn arrivals() -> impl Strategy<Value = Vec<(u8, u8, usize)>> {
    proptest::collection::vec((0u8..3, 0u8..4, 1usize..4), 600)
}

proptest! {
    /// Attempts end in the order in which they began, and two messages come for each. It may wait four times until all end who
    /// are inside: for its destination, for its key, for its destination again, and for its places.
    #[test]
    fn the_oldest_comes_in_however_many_come_without_end(arrivals in arrivals(), ahead_factor in 1usize..4) {
        let mut machine = Machine::new(GateLimits { ahead_factor, ..LIMITS });
        machine.flows = [flow("p", Some(2), None), flow("q", Some(1), None), flow("r", Some(1), None)];
        let (mut oldest, mut ends) = (None, 0);
        for two in arrivals.chunks(2) {
            for (host, key, places) in two {
                let claim = claim(&format!("h{host}"), Turn::Ahead);
                machine.enter(*key, Claim { places: *places, ..claim });
            }
            machine.leave(0, true);
            let waiting = machine.gates.waiting().map(|ticket| ticket.message.0).min();
            ends = if waiting == oldest { ends + 1 } else { 0 };
            oldest = waiting;
            prop_assert!(oldest.is_none() || ends <= 100, "{:?} waits for ever", oldest);
        }
    }
}
