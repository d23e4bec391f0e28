//! What may happen, at random.

use super::*;

/// One thing that happens. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Messages of one batch: queue, flow key, deduplication key (0 is none), delay.
    Publish(Vec<(u8, u8, u8, i64)>),
    /// A schedule fires: which, how many messages.
    Fire(u8, u8),
    /// All callbacks that can be appended are.
    CallBack,
    Begin(u8),
    End {
        which: u8,
        verdict: u8,
        owes: (bool, bool),
    },
    Cancel(u8),
    /// Nothing can follow from a message that is held, wherever it stands.
    GiveUp(u8),
    /// The letter of a dying message stands.
    Die(u8),
    Copy(u8),
    Snapshot,
    Crash,
    Pass(i64),
}

pub(super) fn steps() -> impl Strategy<Value = Step> {
    let message = (0..4u8, 0..3u8, 0..4u8, 0..30i64);
    prop_oneof![
        4 => proptest::collection::vec(message, 1..4).prop_map(Step::Publish),
        1 => (0..2u8, 1..3u8).prop_map(|(which, count)| Step::Fire(which, count)),
        2 => Just(Step::CallBack),
        6 => any::<u8>().prop_map(Step::Begin),
        6 => (any::<u8>(), 0..5u8, any::<(bool, bool)>())
            .prop_map(|(which, verdict, owes)| Step::End { which, verdict, owes }),
        1 => any::<u8>().prop_map(Step::Cancel),
        1 => any::<u8>().prop_map(Step::GiveUp),
        3 => any::<u8>().prop_map(Step::Die),
        1 => any::<u8>().prop_map(Step::Copy),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Crash),
        2 => (0..40i64).prop_map(Step::Pass),
    ]
}

impl World {
    pub(super) fn run(&mut self, step: Step) {
        match step {
            Step::Publish(messages) => {
                let named =
                    |prefix: &str, number: u8| (number > 0).then(|| format!("{prefix}{number}"));
                let arrivals = messages
                    .into_iter()
                    .map(|(queue, flow, key, delay)| Arrival {
                        not_before: (delay > 20).then_some(TimestampMs(self.now + delay)),
                        queue: named("q", queue.saturating_sub(1)),
                        flow: named("f", flow).map(|key| FlowControl {
                            key,
                            rate: (delay % 3 == 0).then_some(7),
                            parallelism: (delay % 2 == 0).then_some(1),
                            period_ms: None,
                        }),
                        dedup: (key > 0).then_some([key; 16]),
                        ..Arrival::default()
                    });
                self.admit(arrivals.collect());
            }
            Step::Fire(which, count) => self.fire(which, count),
            Step::CallBack => self.call_back(),
            Step::Begin(which) => self.begin(which),
            Step::End {
                which,
                verdict,
                owes,
            } => self.end(which, verdict, owes),
            Step::Cancel(which) => {
                let can = |known: &Known| known.end.is_none() && known.dying_of.is_none();
                if let Some(at) = self.choose(which, can) {
                    let (message, time) = (Offset(at as u64), TimestampMs(self.now));
                    self.append(Entry::Cancelled { message, time });
                    self.messages[at].end = Some("cancelled");
                    self.messages[at].is_in_flight = false;
                }
            }
            Step::GiveUp(which) => self.give_up(which),
            Step::Die(which) => {
                let can = |known: &Known| known.dying_of.is_some() && known.end.is_none();
                if let Some(at) = self.choose(which, can) {
                    let letter = Offset(self.letters);
                    self.letters += 1;
                    let (message, time) = (Offset(at as u64), TimestampMs(self.now));
                    self.append(Entry::Dead {
                        message,
                        letter,
                        time,
                    });
                    self.messages[at].end = Some("dead");
                    self.messages[at].letter = Some(letter);
                }
            }
            Step::Copy(which) => self.copy(which),
            Step::Snapshot => {
                let end = Offset(self.messages.len() as u64);
                self.snapshot = Some((end, self.entries.len(), self.state.encode()));
            }
            Step::Crash => self.crash(),
            Step::Pass(ms) => self.now += ms,
        }
    }

    fn give_up(&mut self, which: u8) {
        let held = |known: &Known| known.end.is_none() || self.owes(known);
        let Some(at) = self.choose(which, held) else {
            return;
        };
        let (message, time) = (Offset(at as u64), TimestampMs(self.now));
        self.append(Entry::GivenUp { message, time });
        let known = &mut self.messages[at];
        known.end = known.end.or(Some("cancelled"));
        known.is_in_flight = false;
        known.asks.clear();
    }

    fn fire(&mut self, which: u8, count: u8) {
        let due = self.firings.get(&which).copied().unwrap_or(0) + 60;
        self.firings.insert(which, due);
        let cause = Cause {
            kind: CauseKind::Schedule,
            log: LogId::CONTROL,
            offset: Offset(0),
            detail: CauseDetail {
                request_id: Some(format!("s{which}")),
                due: Some(TimestampMs(due)),
                ..CauseDetail::default()
            },
        };
        let arrival = Arrival {
            cause: Some(cause),
            ..Arrival::default()
        };
        self.admit(vec![arrival; usize::from(count)]);
    }

    fn call_back(&mut self) {
        let owed: Vec<_> = self.state.owed().collect();
        let mut arrivals = Vec::new();
        for (outcome, owed) in owed {
            let source = &self.messages[owed.message.0 as usize].arrival;
            let root = source.root.or(source.queue.as_ref().map(|_| owed.message));
            let mut push = |kind, log, offset| {
                arrivals.push(Arrival {
                    queue: source.queue.clone(),
                    root,
                    cause: Some(Cause {
                        kind,
                        log: LogId::new(PartitionNumber(1), log),
                        offset,
                        detail: CauseDetail::default(),
                    }),
                    ..Arrival::default()
                });
            };
            if owed.callback {
                push(CauseKind::Callback, LogKind::Delivery, outcome);
            }
            if let (true, Some(letter)) = (owed.failure_callback, owed.letter) {
                push(CauseKind::FailureCallback, LogKind::DeadLetter, letter);
            }
        }
        if !arrivals.is_empty() {
            self.admit(arrivals);
        }
    }

    fn begin(&mut self, which: u8) {
        let ready = self.state.take_due(TimestampMs(self.now), usize::MAX);
        for message in &ready {
            let at = message.0 as usize;
            assert!(self.may_run(at), "{message} does not wait for its queue");
            let known = &self.messages[at];
            assert!(
                !known.is_in_flight && known.end.is_none(),
                "{message} is ready: {known:?}"
            );
        }
        let chosen = (!ready.is_empty()).then(|| ready[usize::from(which) % ready.len()]);
        for message in ready.iter().filter(|message| Some(**message) != chosen) {
            let due = self.state.get(*message).unwrap().due;
            self.state.put_back(*message, due);
        }
        let Some(message) = chosen else { return };
        let at = message.0 as usize;
        let intent = Intent {
            message,
            attempt: self.messages[at].ended + 1,
            time: TimestampMs(self.now),
            period: which
                .is_multiple_of(2)
                .then_some(TimestampMs(self.now / 50)),
        };
        self.append(Entry::Intent(intent));
        self.messages[at].begun += 1;
        self.messages[at].is_in_flight = true;
    }

    fn end(&mut self, which: u8, verdict: u8, owes: (bool, bool)) {
        let Some(at) = self.choose(which, |known| known.is_in_flight) else {
            return;
        };
        let verdict = match verdict {
            0 | 1 => Verdict::Delivered,
            2 => Verdict::Dead {
                disposition: Disposition::RETRIES_EXHAUSTED,
            },
            other => Verdict::Retry {
                at: TimestampMs(self.now + i64::from(other) * 7),
            },
        };
        let is_dead = matches!(verdict, Verdict::Dead { .. });
        let owes = Owes {
            callback: owes.0,
            failure_callback: owes.1 && is_dead,
        };
        let known = &self.messages[at];
        let outcome = Outcome {
            message: Offset(at as u64),
            verdict,
            owes,
            previous: known.history_at,
            attempt: attempt(known.ended + 1),
        };
        let offset = self.append(Entry::Outcome(outcome));
        let known = &mut self.messages[at];
        known.ended += 1;
        known.is_in_flight = false;
        known.history_at = Some(offset);
        if !owes.is_nothing() {
            known
                .asks
                .push((offset, owes.callback, owes.failure_callback));
        }
        match verdict {
            Verdict::Delivered => known.end = Some("delivered"),
            Verdict::Dead { .. } => known.dying_of = Some(offset),
            Verdict::Retry { .. } => {}
        }
    }

    fn copy(&mut self, which: u8) {
        let Some(at) = self.choose(which, |known| known.end.is_none()) else {
            return;
        };
        let message = Offset(at as u64);
        if which.is_multiple_of(2) {
            self.append(Entry::Carried {
                message,
                append_time: TimestampMs(0),
                record: crate::batch::Record::default(),
            });
        } else if self.messages[at].history_at.is_some() {
            let mut history = History::default();
            for number in 1..=self.messages[at].ended {
                history.push(attempt(number));
            }
            let offset = self.append(Entry::History { message, history });
            self.messages[at].history_at = Some(offset);
        }
    }
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        time: TimestampMs(1),
        duration_ms: 1,
        result: AttemptResult::Status(500),
        headers: Vec::new(),
        body: Bytes::new(),
        is_body_cut: false,
        are_headers_cut: false,
    }
}
