//! What deliveries go by, as readers see it: they never wait for a change that is being synced, and learn of each.

use std::sync::Arc;

use storage::control::push::{PushEntry, PushState, SigningKeys};
use storage::offset::TimestampMs;
use tokio::sync::watch;

use super::Broker;
use crate::delivery::signature::SigningKey;
use crate::protocol::error_code::Refusal;

/// What deliveries go by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PushSettings {
    /// Queues, URL groups, schedules and decisions about flow-control keys. The signing keys in it are the stored ones, not
    /// always those in force.
    pub state: PushState,
    /// The signing keys in force.
    signing_keys: SigningKeys,
    /// The current one, ready to sign with.
    signer: Arc<SigningKey>,
    /// The keys in force are not the stored ones.
    is_development: bool,
}

impl PushSettings {
    /// Begins with the stored state and the keys in force.
    pub(super) fn new(state: PushState, signing_keys: SigningKeys, is_development: bool) -> Self {
        Self {
            state,
            signer: signer(&signing_keys),
            signing_keys,
            is_development,
        }
    }

    /// Returns the signing keys in force.
    #[must_use]
    pub fn signing_keys(&self) -> &SigningKeys {
        &self.signing_keys
    }

    /// Puts other signing keys in force.
    pub(super) fn set_signing_keys(&mut self, keys: SigningKeys) {
        self.signer = signer(&keys);
        self.signing_keys = keys;
    }

    /// Takes a changed state.
    pub(super) fn replace(&mut self, state: PushState) {
        if let Some(keys) = state.signing_keys()
            && !self.is_development
            && *keys != self.signing_keys
        {
            self.set_signing_keys(keys.clone());
        }
        self.state = state;
    }
}

fn signer(keys: &SigningKeys) -> Arc<SigningKey> {
    Arc::new(SigningKey::new(keys.current.expose()))
}

impl Broker {
    /// Returns the key that signs deliveries now. Never blocks on the disk.
    pub(super) fn signer(&self) -> Arc<SigningKey> {
        Arc::clone(&self.control.push().borrow().signer)
    }

    /// Returns what deliveries go by now. Never blocks on the disk.
    #[must_use]
    pub fn push_settings(&self) -> PushSettings {
        self.control.push().borrow().clone()
    }

    /// Changes what deliveries go by; answered when the change is durable and in force. Blocks on the disk.
    pub(super) fn change_push<T>(
        &self,
        now: TimestampMs,
        decide: impl FnOnce(&PushState) -> Result<(Option<PushEntry>, T), Refusal>,
    ) -> Result<T, Refusal> {
        let changed = self.control.change_push(now, decide)?;
        self.follow_push_settings();
        Ok(changed)
    }

    /// Returns a receiver of what deliveries go by, which is told of each change after it is durable. Changes that come
    /// together may be told as one.
    #[must_use]
    pub fn subscribe_push_settings(&self) -> watch::Receiver<PushSettings> {
        self.control.push().subscribe()
    }
}
