//! The control log behind a lock, with its offset commits gathered: one sync answers all that came while the last one ran.
//!
//! What deliveries go by is shown to readers after each change of it, so that none of them waits for a sync.

use parking_lot::Mutex;
use storage::control::push::{PushEntry, PushState};
use storage::control::{self, ControlError, ControlLog, ControlState, Entry};
use storage::offset::TimestampMs;
use tokio::sync::{oneshot, watch};

use super::push_settings::PushSettings;
use crate::causes::Causes;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// The control log. Changes block on the disk.
#[derive(Debug)]
pub(super) struct Control {
    log: Mutex<ControlLog>,
    waiting: Mutex<Queue>,
    push: watch::Sender<PushSettings>,
}

#[derive(Debug, Default)]
struct Queue {
    changes: Vec<Waiting>,
    /// Somebody writes them, and will look again.
    is_written: bool,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

impl Control {
    /// Takes the log, and what deliveries go by as it is now.
    pub(super) fn new(log: ControlLog, push: PushSettings) -> Self {
        Self {
            log: Mutex::new(log),
            waiting: Mutex::default(),
            push: watch::Sender::new(push),
        }
    }

    /// Returns where what deliveries go by is shown.
    pub(super) fn push(&self) -> &watch::Sender<PushSettings> {
        &self.push
    }

    /// Looks at the state as it is now.
    pub(super) fn look<T>(&self, look: impl FnOnce(&ControlState) -> T) -> T {
        look(self.log.lock().state())
    }

    /// Uses the log itself.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut ControlLog) -> T) -> T {
        act(&mut self.log.lock())
    }

    /// Makes a change that is decided from the state, with nobody in between. Blocks on the disk.
    pub(super) fn change<T>(
        &self,
        now: TimestampMs,
        decide: impl FnOnce(&ControlState) -> Result<(Entry, T), Refusal>,
    ) -> Result<T, Refusal> {
        let mut log = self.log.lock();
        let (entry, value) = decide(log.state())?;
        log.change(&entry, now).map_err(|error| refusal(&error))?;
        Ok(value)
    }

    /// Makes a change of what deliveries go by, decided from it as it is now, with nobody in between; `None` changes nothing.
    /// Blocks on the disk.
    pub(super) fn change_push<T>(
        &self,
        now: TimestampMs,
        decide: impl FnOnce(&PushState) -> Result<(Option<PushEntry>, T), Refusal>,
    ) -> Result<T, Refusal> {
        let mut log = self.log.lock();
        let (entry, value) = decide(log.state().push())?;
        if let Some(entry) = entry {
            log.change(&Entry::Push(entry), now)
                .map_err(|error| refusal(&error))?;
            // Under the lock: readers see the changes in their order.
            let state = log.state().push().clone();
            self.push.send_modify(|settings| settings.replace(state));
        }
        Ok(value)
    }

    /// Queues a change of something else than what deliveries go by. The receiver is answered after its sync. Returns whether the caller must have
    /// [`Control::write_waiting`] called: one thread at a time waits for the control log, however many changes come.
    pub(super) fn queue(&self, entry: Entry) -> (oneshot::Receiver<Result<(), Refusal>>, bool) {
        let (answer, receiver) = oneshot::channel();
        let mut queue = self.waiting.lock();
        queue.changes.push(Waiting { entry, answer });
        let must_write = !std::mem::replace(&mut queue.is_written, true);
        (receiver, must_write)
    }

    /// Writes queued changes until none is left. Blocks on the disk.
    pub(super) fn write_waiting(&self, now: impl Fn() -> TimestampMs) {
        loop {
            let mut log = self.log.lock();
            let waiting = {
                let mut queue = self.waiting.lock();
                let waiting = std::mem::take(&mut queue.changes);
                queue.is_written = !waiting.is_empty();
                waiting
            };
            if waiting.is_empty() {
                return;
            }
            write(&mut log, waiting, now());
        }
    }
}

/// Writes changes as one batch; if that is refused, one by one.
fn write(log: &mut ControlLog, waiting: Vec<Waiting>, now: TimestampMs) {
    let entries: Vec<_> = waiting.iter().map(|one| one.entry.clone()).collect();
    let all = log.change_all(&entries, now);
    for one in waiting {
        let result = match &all {
            Ok(()) => Ok(()),
            Err(ControlError::Refused(_) | ControlError::TooLarge(_)) => {
                log.change(&one.entry, now).map_err(|error| refusal(&error))
            }
            Err(error) => Err(refusal(error)),
        };
        // A caller that has gone away needs no answer.
        one.answer.send(result).ok();
    }
}

/// Says on the wire why a change was not made.
pub(super) fn refusal(error: &ControlError) -> Refusal {
    // The log takes nothing more from now on: this is told once.
    if matches!(error, ControlError::OutcomeUnknown { .. }) {
        tracing::error!(error = %Causes(error), "the control log has failed; it takes no more changes");
    }
    let code = match error {
        ControlError::Refused(control::Refusal::TooMany { .. }) => ErrorCode::LimitExceeded,
        ControlError::Refused(control::Refusal::Unknown { .. }) => ErrorCode::NotFound,
        ControlError::Refused(_) | ControlError::TooLarge(_) => ErrorCode::InvalidSettings,
        ControlError::Log(error) => return super::refusal::of_log(error),
        ControlError::OutcomeUnknown { .. } => ErrorCode::OutcomeUnknown,
        ControlError::Unreadable { .. } | ControlError::Contradiction { .. } => {
            ErrorCode::StorageFailed
        }
    };
    Refusal::new(code, Causes(error).to_string())
}
