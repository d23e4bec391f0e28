//! The gates at random: nobody is lost, no limit is passed, nobody waits before an open gate.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn nobody_is_lost_and_no_limit_is_passed(steps in proptest::collection::vec((0u8..5, 0u8..3, 0u8..4, 1usize..4, 0i64..400), 1..200)) {
        let mut gates = Gates::new(LIMITS);
        let flows = [flow("p", Some(2), None), flow("r", None, Some(3)), flow("b", Some(1), Some(2))];
        let (mut now, mut next) = (NOW, 0u64);
        let mut entered = HashSet::new();
        let mut inside: Vec<Pass> = Vec::new();
        let mut starts: HashMap<(usize, i64), u32> = HashMap::new();
        for (action, host, key, places, pass_time) in steps {
            now = now.saturating_add(pass_time);
            let mut passes = match action {
                0..=2 => {
                    entered.insert(next);
                    let flow = flows.get(usize::from(key)).map(|flow| (flow, NOW));
                    let turn = if action == 0 { Turn::InOrder } else { Turn::Ahead };
                    let claim = Claim { places, ..claim(&format!("h{host}"), turn) };
                    let (pass, others) = gates.enter(ticket(next), flow, claim, now);
                    next += 1;
                    others.into_iter().chain(pass).collect()
                }
                3 if !inside.is_empty() => {
                    let pass = inside.swap_remove(usize::from(key) % inside.len());
                    entered.remove(&pass.ticket.message.0);
                    gates.leave(&pass, now)
                }
                _ => gates.tick(now),
            };
            for pass in &passes {
                let which = pass.key.as_deref().map(|key| flows.iter().position(|f| f.key == key).unwrap());
                if let (Some(which), Some(start)) = (which, pass.period) {
                    let count = starts.entry((which, start.0)).or_default();
                    *count += 1;
                    prop_assert!(*count <= flows.get(which).and_then(|f| f.rate).unwrap());
                }
            }
            inside.append(&mut passes);
            prop_assert!(inside.iter().map(|pass| pass.claim.places).sum::<usize>() <= LIMITS.total_max);
            for host in 0..3 {
                let at = inside.iter().filter(|pass| *pass.claim.host == *format!("h{host}")).count();
                prop_assert!(at <= LIMITS.host_max);
            }
            for flow in &flows {
                let at = inside.iter().filter(|pass| pass.key.as_deref() == Some(&flow.key)).count();
                prop_assert!(flow.parallelism.is_none_or(|max| at <= usize::try_from(max).unwrap()));
            }
            prop_assert_eq!(inside.len() + gates.waiting_count(), entered.len());
            prop_assert_eq!(gates.in_flight(), inside.len());
            prop_assert_eq!(gates.next_tick(), gates.keys.values().filter_map(Key::opens_at).min());
        }
        // Everybody gets through in the end.
        while !inside.is_empty() || gates.waiting_count() > 0 {
            now = now.saturating_add(1_000);
            inside.append(&mut gates.tick(now));
            let pass = inside.pop();
            prop_assert!(pass.is_some(), "{} wait for ever", gates.waiting_count());
            let pass = pass.unwrap();
            entered.remove(&pass.ticket.message.0);
            inside.append(&mut gates.leave(&pass, now));
        }
        prop_assert!(entered.is_empty());
    }
}
