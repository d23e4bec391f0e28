//! Pages of a filter against a model, which lists the selection by its definition.

use proptest::prelude::*;

use super::*;
use crate::dead_letter::letter::DeadLetter;

proptest! {
    #[test]
    fn pages_of_a_filter_repeat_and_skip_nothing_while_letters_die_and_are_resolved(
        stood in vec(vec((1..4_u64, seeds()), 0..12), 1..5),
        died in vec((0..5_usize, seeds()), 0..40),
        resolved in vec((0..5_usize, 0..14_usize), 0..20),
        filter in filters(),
        sizes in vec((1..5_usize, 1..6_usize), 1..40),
        is_newest: bool,
    ) {
        let order = if is_newest { Order::NewestFirst } else { Order::OldestFirst };
        let mut model = Model::new(&stood);
        let first = model.ranges();
        let expected = model.in_order(order, &filter);
        let mut left = first;
        let mut listed = Vec::new();
        let mut gone = Vec::new();
        let mut died = died.into_iter();
        let mut resolved = resolved.into_iter();
        for (size, seen) in sizes.iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (picks, next) = model.page(order, &filter, &left, *size, *seen);
            // What the caller gets is the text of a cursor.
            let cursor = Cursor::new(order, &filter, &next).unwrap().to_string();
            let cursor: Cursor = cursor.parse().unwrap();
            left = cursor.remaining(order, &filter).unwrap().to_vec();
            listed.extend(picks);
            for (partition, seeds) in died.by_ref().take(2) {
                model.die(partition, seeds);
            }
            for (partition, at) in resolved.by_ref().take(1) {
                gone.extend(model.resolve(partition, at));
            }
        }
        let before = listed.len();
        listed.sort_unstable();
        listed.dedup();
        prop_assert_eq!(listed.len(), before, "a letter came twice");
        let stands = |place: &&(PartitionNumber, Offset)| !gone.contains(*place);
        for place in expected.iter().filter(stands) {
            prop_assert!(listed.contains(place), "{place:?} was left out");
        }
        for place in &listed {
            prop_assert!(expected.contains(place), "{place:?} was not there at the first page");
        }
        // The order is the one that all of them had in the first place.
        if gone.is_empty() {
            let mut sorted = expected.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&listed, &sorted);
        }
    }

    #[test]
    fn pages_of_a_filter_follow_the_order_of_the_whole(
        stood in vec(vec((1..4_u64, seeds()), 0..12), 1..5),
        filter in filters(),
        sizes in vec((1..5_usize, 1..6_usize), 1..40),
    ) {
        let model = Model::new(&stood);
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let mut left = model.ranges();
            let mut listed = Vec::new();
            for (size, seen) in sizes.iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (picks, next) = model.page(order, &filter, &left, *size, *seen);
                listed.extend(picks);
                left = next;
            }
            prop_assert_eq!(listed, model.in_order(order, &filter));
        }
    }
}

/// Partitions with letters, live or not, by offset.
struct Model {
    logs: Vec<std::collections::BTreeMap<u64, DeadLetter>>,
}

impl Model {
    fn new(stood: &[Vec<(u64, crate::dead_letter::samples::Seeds)>]) -> Self {
        let place = |letters: &Vec<(u64, _)>| {
            let mut offset = 0;
            let place = |(gap, seeds): &(u64, _)| {
                offset += gap;
                (offset, letter(*seeds))
            };
            letters.iter().map(place).collect()
        };
        Self {
            logs: stood.iter().map(place).collect(),
        }
    }

    fn end(log: &std::collections::BTreeMap<u64, DeadLetter>) -> u64 {
        log.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    fn ranges(&self) -> Vec<PartitionRange> {
        let range = |(partition, log)| range(partition, 0, Self::end(log));
        let ranges = (1..).zip(&self.logs).map(range);
        ranges.filter(|range| !range.is_empty()).collect()
    }

    fn die(&mut self, partition: usize, seeds: crate::dead_letter::samples::Seeds) {
        let count = self.logs.len();
        let log = &mut self.logs[partition % count];
        log.insert(Self::end(log), letter(seeds));
    }

    fn resolve(&mut self, partition: usize, at: usize) -> Option<(PartitionNumber, Offset)> {
        let partition = partition % self.logs.len();
        let log = &mut self.logs[partition];
        // The last one holds the end of the log.
        if at + 1 >= log.len() {
            return None;
        }
        let offset = *log.keys().nth(at)?;
        log.remove(&offset);
        Some((PartitionNumber(partition as u32 + 1), Offset(offset)))
    }

    /// Lists what matches by its definition: the smallest of the next letters of all partitions, again and again.
    fn in_order(&self, order: Order, filter: &LetterFilter) -> Vec<(PartitionNumber, Offset)> {
        let mut queues: Vec<Letters> = self
            .logs
            .iter()
            .map(|log| Self::matched(log, filter))
            .collect();
        for queue in &mut queues {
            // The next one stands at the end.
            if order == Order::OldestFirst {
                queue.reverse();
            }
        }
        let mut listed = Vec::new();
        loop {
            let next = (1..).zip(&queues).filter_map(|(partition, queue)| {
                let (_, died_at) = queue.last()?;
                Some((*died_at, partition))
            });
            let next = match order {
                Order::OldestFirst => next.min(),
                Order::NewestFirst => next.max(),
            };
            let Some((_, partition)) = next else {
                return listed;
            };
            let (offset, _) = queues[partition as usize - 1].pop().unwrap();
            listed.push((PartitionNumber(partition), offset));
        }
    }

    fn matched(
        log: &std::collections::BTreeMap<u64, DeadLetter>,
        filter: &LetterFilter,
    ) -> Letters {
        let matched = log.iter().filter(|(_, letter)| filter.matches(letter));
        matched
            .map(|(offset, letter)| (Offset(*offset), letter.died_at))
            .collect()
    }

    fn page(
        &self,
        order: Order,
        filter: &LetterFilter,
        left: &[PartitionRange],
        size: usize,
        seen: usize,
    ) -> (Vec<(PartitionNumber, Offset)>, Vec<PartitionRange>) {
        let logs: Vec<_> = self
            .logs
            .iter()
            .map(|log| Self::matched(log, filter))
            .collect();
        page(order, &logs, left, size, seen)
    }
}
