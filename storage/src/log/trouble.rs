//! What the system last said when a write, a sync or a roll of a log did not go through: for people, who read that a write failed
//! and ask why. Nothing is decided by it.

use std::error::Error;

use parking_lot::Mutex;

use crate::error::LogError;

/// The last trouble of one log.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<Told>>);

#[derive(Debug)]
struct Told {
    text: String,
    is_old: bool,
}

impl Trouble {
    /// Notes an error. A log that takes no appends says so itself, and a roll under way is none.
    pub(super) fn note(&self, error: &LogError) {
        let (LogError::Io { .. } | LogError::Corrupt { .. }) = error else {
            return;
        };
        let mut text = error.to_string();
        if let Some(source) = error.source() {
            text = format!("{text}: {source}");
        }
        *self.0.lock() = Some(Told {
            text,
            is_old: false,
        });
    }

    pub(super) fn told(&self) -> Option<String> {
        self.0.lock().as_ref().map(|told| told.text.clone())
    }

    /// What was tried has gone through.
    pub(super) fn is_over(&self) {
        *self.0.lock() = None;
    }

    /// Forgets what has not been met again between two calls.
    pub(super) fn age(&self) {
        let mut told = self.0.lock();
        if told.as_ref().is_some_and(|told| told.is_old) {
            *told = None;
        }
        if let Some(told) = told.as_mut() {
            told.is_old = true;
        }
    }
}
