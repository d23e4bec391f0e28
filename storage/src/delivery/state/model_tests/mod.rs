//! The state at random against a model that keeps everything and looks at all of it every time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may panic"
)]

mod checks;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use self::steps::steps;
use super::*;
use crate::cause::{Cause, CauseDetail};
use crate::dead_letter::{Attempt, AttemptResult, Disposition, History};
use crate::delivery::entry::{Entry, Intent, Outcome, Owes, Verdict};
use crate::delivery::envelope::FlowControl;
use crate::log_id::{LogId, LogKind, PartitionNumber};

/// A message as the model knows it: nothing but what has happened to it.
#[derive(Debug, Clone)]
struct Known {
    arrival: Arrival,
    /// Attempts begun, ended, and how it ended.
    begun: u32,
    ended: u32,
    is_in_flight: bool,
    /// Outcomes that ask for callbacks: offset, callback, failure callback.
    asks: Vec<(Offset, bool, bool)>,
    dying_of: Option<Offset>,
    end: Option<&'static str>,
    letter: Option<Offset>,
    history_at: Option<Offset>,
}

#[derive(Debug, Default)]
struct World {
    now: i64,
    /// Batches of the main log: base, append time, arrivals.
    main: Vec<(Offset, TimestampMs, Vec<Option<Arrival>>)>,
    entries: Vec<Entry>,
    messages: Vec<Known>,
    letters: u64,
    /// Where the main log and the entries ended, and the bytes.
    snapshot: Option<(Offset, usize, Vec<u8>)>,
    state: DeliveryState,
    firings: BTreeMap<u8, i64>,
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        world.state.finish_fold();
        world
    }

    fn admit(&mut self, arrivals: Vec<Arrival>) {
        let base = Offset(self.messages.len() as u64);
        let time = TimestampMs(self.now);
        let batch: Vec<_> = arrivals.iter().cloned().map(Some).collect();
        self.state.admit(base, time, &batch);
        self.main.push((base, time, batch));
        self.messages
            .extend(arrivals.into_iter().map(|arrival| Known {
                arrival,
                begun: 0,
                ended: 0,
                is_in_flight: false,
                asks: Vec::new(),
                dying_of: None,
                end: None,
                letter: None,
                history_at: None,
            }));
    }

    fn append(&mut self, entry: Entry) -> Offset {
        let at = Offset(self.entries.len() as u64);
        self.state.apply(at, &entry);
        self.entries.push(entry);
        at
    }

    /// Returns the n-th message, counted round, for which `is_it` holds.
    fn choose(&self, which: u8, is_it: impl Fn(&Known) -> bool) -> Option<usize> {
        let all: Vec<_> = (0..self.messages.len())
            .filter(|at| is_it(&self.messages[*at]))
            .collect();
        (!all.is_empty()).then(|| all[usize::from(which) % all.len()])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_state_is_what_the_model_says_and_every_fold_comes_to_it(
        steps in proptest::collection::vec(steps(), 1..120)
    ) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            world.check();
        }
        world.crash();
        world.check();
    }
}
