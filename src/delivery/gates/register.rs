//! Who is next, by the number that the first message of each queue got when it came.
//!
//! The only place where a queue or a destination is put into an order or taken out of it, so that tests can count what that
//! takes.

use std::collections::BTreeMap;

/// Those that are registered, each under a number of its own.
#[derive(Debug)]
pub(super) struct Register<T>(BTreeMap<u64, T>);

impl<T> Default for Register<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Register<T> {
    /// Returns the one with the smallest number.
    pub(super) fn first(&self) -> Option<(u64, &T)> {
        count_work();
        self.0.first_key_value().map(|(seq, one)| (*seq, one))
    }

    pub(super) fn insert(&mut self, seq: u64, one: T) {
        count_work();
        self.0.insert(seq, one);
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<T> {
        count_work();
        self.0.remove(&seq)
    }

    pub(super) fn pop_first(&mut self) -> Option<(u64, T)> {
        count_work();
        self.0.pop_first()
    }

    pub(super) fn has(&self, seq: u64) -> bool {
        count_work();
        self.0.contains_key(&seq)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.0.iter().map(|(seq, one)| (*seq, one))
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
