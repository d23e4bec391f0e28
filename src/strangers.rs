//! Connections that have not shown the token yet and have nothing under way, the one that has waited longest first.
//!
//! A listener has so many places. Without this, whoever opens that many connections and says nothing locks everybody out until
//! they time out, and may then do it again. So when all places are taken, the stranger that has waited longest gives up its
//! place; a peer that has shown the token keeps its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The strangers of one listener.
#[derive(Debug, Default)]
pub struct Strangers {
    waiting: Mutex<Waiting>,
    /// Told when one begins to wait.
    has_one: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// By when they began to wait.
    by_turn: BTreeMap<u64, Arc<Notify>>,
}

/// A connection that is a stranger until it is known. It is forgotten when the value is dropped.
#[derive(Debug)]
pub struct Stranger {
    of: Arc<Strangers>,
    leave: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits, with this turn.
    Waiting(u64),
    /// Has a request under way.
    Busy,
    Known,
}

impl Strangers {
    /// Takes in a connection; it waits from now on.
    pub fn enter(self: &Arc<Self>) -> Stranger {
        let leave = Arc::new(Notify::new());
        let turn = self.wait(&leave);
        Stranger {
            of: Arc::clone(self),
            leave,
            state: Mutex::new(State::Waiting(turn)),
        }
    }

    /// Asks the stranger that has waited longest to leave. Returns whether there was one.
    pub fn send_off_oldest(&self) -> bool {
        let oldest = self.waiting.lock().by_turn.pop_first();
        let Some((_, leave)) = oldest else {
            return false;
        };
        leave.notify_one();
        true
    }

    /// Asks the stranger that has waited longest to leave, as soon as there is one.
    pub async fn send_off_one(&self) {
        while !self.send_off_oldest() {
            self.has_one.notified().await;
        }
    }

    fn wait(&self, leave: &Arc<Notify>) -> u64 {
        let mut waiting = self.waiting.lock();
        let turn = waiting.next;
        waiting.next = turn.saturating_add(1);
        waiting.by_turn.insert(turn, Arc::clone(leave));
        self.has_one.notify_one();
        turn
    }
}

impl Stranger {
    /// Waits until the connection is asked to leave.
    pub async fn sent_off(&self) {
        self.leave.notified().await;
    }

    /// It has shown the token: it stays.
    pub fn is_known_now(&self) {
        self.become_state(State::Known);
    }

    /// It has a request under way, which is answered first.
    pub fn begins(&self) {
        self.become_state(State::Busy);
    }

    /// Its request has been answered. A stranger waits again, behind all others.
    pub fn has_ended(&self) {
        let mut state = self.state.lock();
        if *state == State::Busy {
            *state = State::Waiting(self.of.wait(&self.leave));
        }
    }

    fn become_state(&self, next: State) {
        let mut state = self.state.lock();
        if let State::Waiting(turn) = *state {
            self.of.waiting.lock().by_turn.remove(&turn);
        }
        if *state != State::Known {
            *state = next;
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_known_now();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_sent_off(stranger: &Stranger) -> bool {
        stranger.sent_off().now_or_never().is_some()
    }

    #[test]
    fn the_one_that_has_waited_longest_goes_first() {
        let strangers = Arc::new(Strangers::default());
        let (first, second, third) = (strangers.enter(), strangers.enter(), strangers.enter());
        // A request makes a stranger wait anew.
        first.begins();
        first.has_ended();
        drop(third);
        assert!(strangers.send_off_oldest() && is_sent_off(&second) && !is_sent_off(&first));
        assert!(strangers.send_off_oldest() && is_sent_off(&first));
        assert!(!strangers.send_off_oldest());
    }

    #[test]
    fn who_is_known_or_has_a_request_under_way_stays() {
        let strangers = Arc::new(Strangers::default());
        let (known, busy) = (strangers.enter(), strangers.enter());
        known.begins();
        known.is_known_now();
        known.has_ended();
        busy.begins();
        assert!(!strangers.send_off_oldest());
        let mut asking = Box::pin(strangers.send_off_one());
        assert!(asking.as_mut().now_or_never().is_none());
        busy.has_ended();
        assert!(asking.now_or_never().is_some() && is_sent_off(&busy) && !is_sent_off(&known));
        drop((known, busy));
        assert!(strangers.waiting.lock().by_turn.is_empty());
    }
}
