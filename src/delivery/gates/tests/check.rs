//! What holds of the gates whenever nobody is inside of them.

use std::collections::HashMap;

use super::*;

/// Checks that every queue is registered once, under the number of its first, and that every count is right.
pub(super) fn check(gates: &Gates) {
    let mut waiting: HashMap<&str, u64> = HashMap::new();
    let mut queues = 0;
    for (id, host) in gates.hosts.iter() {
        assert!(!host.is_empty(), "{id:?} stays without use");
        queues += host.queues.len();
        for (key, queue) in &host.queues {
            let first = queue.front().expect("a queue has messages").seq;
            assert!(queue.iter().is_sorted_by(|one, two| one.seq < two.seq));
            let ready = host
                .ready
                .iter()
                .filter(|(seq, of)| *seq == first && *of == key);
            let key = key.as_deref();
            let parked = key.and_then(|key| gates.keys.get(key));
            let parked = parked.into_iter().flat_map(|key| key.parked.iter());
            let parked = parked.filter(|(seq, host)| *seq == first && **host == id);
            assert_eq!(ready.count() + parked.count(), 1, "{id:?} {key:?}");
            let count = u64::try_from(queue.len()).unwrap();
            *waiting.entry(key.unwrap_or_default()).or_default() += count;
        }
        let registered = gates.ready.iter().find(|(_, host)| **host == id);
        assert_eq!(registered.map(|(seq, _)| seq), host.registered);
        assert!(
            host.next(gates.limits)
                .is_none_or(|seq| host.registered == Some(seq))
        );
    }
    let ready = gates
        .hosts
        .iter()
        .map(|(_, host)| host.ready.iter().count());
    let parked = gates.keys.values().map(|key| key.parked.iter().count());
    assert_eq!(ready.chain(parked).sum::<usize>(), queues);
    for (name, key) in &gates.keys {
        let count = waiting.get(&**name).copied().unwrap_or_default();
        assert_eq!(key.waiting_count, count, "{name}");
        let lines = gates.hosts.iter().flat_map(|(_, host)| host.queues.iter());
        let mut firsts = lines.filter(|(key, _)| key.as_ref() == Some(name));
        let is_promised = |seq| firsts.any(|(_, queue)| queue.front().unwrap().seq == seq);
        assert!(key.promised.is_none_or(is_promised), "to nobody: {key:?}");
    }
}
