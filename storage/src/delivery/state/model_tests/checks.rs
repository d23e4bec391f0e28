//! What the model says of the state, and of every fold that comes to it.

use super::*;

impl World {
    pub(super) fn has_answer(&self, kind: CauseKind, offset: Offset) -> bool {
        self.messages.iter().any(|message| {
            let cause = message.arrival.cause.as_ref();
            cause.is_some_and(|cause| (cause.kind, cause.offset) == (kind, offset))
        })
    }

    pub(super) fn owes(&self, message: &Known) -> bool {
        message.asks.iter().any(|(outcome, callback, failure)| {
            let has_failure = message
                .letter
                .is_some_and(|letter| self.has_answer(CauseKind::FailureCallback, letter));
            (*callback && !self.has_answer(CauseKind::Callback, *outcome))
                || (*failure && !has_failure)
        })
    }

    /// The oldest message of a queue that is not through, callbacks included; those behind it wait.
    pub(super) fn head(&self, queue: &str) -> Option<usize> {
        (0..self.messages.len()).find(|at| {
            let message = &self.messages[*at];
            let is_of = message.arrival.queue.as_deref() == Some(queue);
            is_of && message.arrival.root.is_none() && !self.is_through(*at)
        })
    }

    pub(super) fn is_through(&self, at: usize) -> bool {
        let message = &self.messages[at];
        let root = Some(Offset(at as u64));
        let are_callbacks_through = self
            .messages
            .iter()
            .all(|other| other.arrival.root != root || (other.end.is_some() && !self.owes(other)));
        message.end.is_some() && !self.owes(message) && are_callbacks_through
    }

    pub(super) fn may_run(&self, at: usize) -> bool {
        let message = &self.messages[at];
        match &message.arrival.queue {
            Some(queue) if message.arrival.root.is_none() => self.head(queue) == Some(at),
            _ => true,
        }
    }

    /// Folds everything, and from the snapshot on: both come to what the state was.
    pub(super) fn crash(&mut self) {
        let fold = |mut state: DeliveryState, from: usize| {
            for (base, time, arrivals) in &self.main {
                state.admit(*base, *time, arrivals);
            }
            for (at, entry) in self.entries.iter().enumerate().skip(from) {
                state.apply(Offset(at as u64), entry);
            }
            state.finish_fold();
            state
        };
        let whole = fold(DeliveryState::default(), 0);
        assert_eq!(whole.encode(), self.state.encode(), "fold of everything");
        if let Some((_, entries, bytes)) = &self.snapshot {
            let state = DeliveryState::decode(bytes).unwrap();
            let short = fold(state, *entries);
            assert_eq!(short.encode(), whole.encode(), "fold from the snapshot");
            assert_eq!(short.counts(), whole.counts());
            assert_eq!(short.next_due(), whole.next_due());
            self.state = short;
        } else {
            self.state = whole;
        }
        for known in &mut self.messages {
            known.is_in_flight = false;
        }
    }

    pub(super) fn check(&self) {
        let counts = self.state.counts();
        let ended = |end| {
            let of = self.messages.iter().filter(|m| m.end == Some(end));
            of.count() as u64
        };
        let expected = DeliveryCounts {
            accepted: self.messages.len() as u64,
            delivered: ended("delivered"),
            cancelled: ended("cancelled"),
            dead_lettered: ended("dead"),
            in_flight: self.messages.iter().filter(|m| m.is_in_flight).count() as u64,
            pending: self
                .messages
                .iter()
                .filter(|m| m.end.is_none() && !m.is_in_flight)
                .count() as u64,
        };
        assert_eq!(counts, expected);
        for (at, known) in self.messages.iter().enumerate() {
            let message = Offset(at as u64);
            let is_held = known.end.is_none() || self.owes(known);
            assert_eq!(self.state.holds(message), is_held, "{message} {known:?}");
            assert_eq!(self.state.is_pending(message), known.end.is_none());
            if let Some(state) = self.state.get(message) {
                assert_eq!(state.attempts, known.ended, "{message}");
                assert_eq!(state.history_at, known.history_at, "{message}");
            }
        }
        self.check_due();
        let queues: BTreeSet<_> = self
            .messages
            .iter()
            .filter_map(|m| m.arrival.queue.clone())
            .collect();
        for queue in &queues {
            let of = |m: &&Known| {
                m.arrival.queue.as_ref() == Some(queue)
                    && m.arrival.root.is_none()
                    && m.end.is_none()
            };
            let lag = self.messages.iter().filter(of).count() as u64;
            assert_eq!(self.state.queue_lag(queue), lag, "{queue}");
        }
    }

    /// As many are due as a look at all messages finds, whatever the time.
    fn check_due(&self) {
        let state = &self.state;
        let times = state.messages.values().map(|pending| pending.due);
        for now in times.chain([TimestampMs(-1), TimestampMs(i64::MAX)]) {
            let is_due = |message: Offset, pending: &Pending| match pending.phase {
                Phase::Ready => true,
                Phase::Waiting => pending.due <= now && state.may_run(message),
                Phase::InFlight | Phase::Dying | Phase::Owing => false,
            };
            let all = state.messages.iter();
            let due = all.filter(|(message, pending)| is_due(**message, pending));
            assert_eq!(state.due_count(now), due.count() as u64, "at {now:?}");
        }
    }
}
