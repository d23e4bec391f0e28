//! Who is next, by the number that the first message of each queue got when it came.
//!
//! The only place where a queue or a destination is put into an order or taken out of it, so that tests can count what that
//! takes.

use std::collections::BTreeMap;

/// Those that are registered, each under a number of its own. The first stands apart: mostly there is only one, which comes and
/// goes with every attempt, and a tree would be built for it each time.
#[derive(Debug)]
pub(super) struct Register<T> {
    first: Option<(u64, T)>,
    /// Behind the first; empty without one.
    rest: BTreeMap<u64, T>,
}

impl<T> Default for Register<T> {
    fn default() -> Self {
        Self {
            first: None,
            rest: BTreeMap::new(),
        }
    }
}

impl<T> Register<T> {
    /// Returns the one with the smallest number.
    pub(super) fn first(&self) -> Option<(u64, &T)> {
        count_work();
        self.first.as_ref().map(|(seq, one)| (*seq, one))
    }

    pub(super) fn insert(&mut self, seq: u64, one: T) {
        count_work();
        match &mut self.first {
            Some((first, _)) if *first < seq => {
                self.rest.insert(seq, one);
            }
            first => {
                let before = first.replace((seq, one));
                self.rest
                    .extend(before.filter(|(before, _)| *before != seq));
            }
        }
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<T> {
        match &self.first {
            Some((first, _)) if *first == seq => self.pop_first().map(|(_, one)| one),
            _ => {
                count_work();
                self.rest.remove(&seq)
            }
        }
    }

    pub(super) fn pop_first(&mut self) -> Option<(u64, T)> {
        count_work();
        std::mem::replace(&mut self.first, self.rest.pop_first())
    }

    pub(super) fn has(&self, seq: u64) -> bool {
        count_work();
        self.first.as_ref().is_some_and(|(first, _)| *first == seq) || self.rest.contains_key(&seq)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let first = self.first.iter().map(|(seq, one)| (*seq, one));
        first.chain(self.rest.iter().map(|(seq, one)| (*seq, one)))
    }
}

/// Counts a step, in tests.
#[cfg(not(test))]
pub(super) fn count_work() {}

#[cfg(test)]
pub(super) fn count_work() {
    WORK.with(|work| work.set(work.get() + 1));
}

#[cfg(test)]
thread_local! {
    /// Steps that registers and queues have taken on this thread.
    pub(super) static WORK: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
