//! The keys that sign deliveries: made at the first start, rotated on demand, never printed.
//!
//! While the development credentials are in force, the keys are the public ones that the SDKs know, at every start; a
//! rotation of them lasts until the broker ends. Stored keys are left as they are meanwhile.

use storage::control::push::{PushEntry, SigningKey, SigningKeys};
use storage::control::{ControlLog, Entry};
use storage::offset::TimestampMs;

use super::Broker;
use super::open::OpenError;
use super::random::{no_random, random_text};
use crate::config::development;
use crate::protocol::error_code::Refusal;

const PREFIX: &str = "sig_";

/// Returns the keys in force, making and storing them when there are none.
pub(super) fn at_start(
    control: &mut ControlLog,
    is_development: bool,
    now: TimestampMs,
) -> Result<SigningKeys, OpenError> {
    if is_development {
        return Ok(SigningKeys {
            current: SigningKey::new(development::CURRENT_SIGNING_KEY),
            next: SigningKey::new(development::NEXT_SIGNING_KEY),
        });
    }
    if let Some(keys) = control.state().push().signing_keys() {
        return Ok(keys.clone());
    }
    let keys = SigningKeys {
        current: random_key()?,
        next: random_key()?,
    };
    let entry = PushEntry::SigningKeysSet(keys.clone());
    control.change(&Entry::Push(entry), now)?;
    Ok(keys)
}

impl Broker {
    /// Returns the signing keys in force. Never blocks on the disk.
    #[must_use]
    pub fn signing_keys(&self) -> SigningKeys {
        self.control.push().borrow().signing_keys().clone()
    }

    /// Makes the next key the current one, and a new one the next. Blocks on the disk, unless the development credentials are
    /// in force: then it lasts until the broker ends.
    ///
    /// # Errors
    /// [`crate::protocol::error_code::ErrorCode::Internal`] when the system gives no random numbers, or the control log's.
    pub fn rotate_signing_keys(&self) -> Result<SigningKeys, Refusal> {
        let next = random_key().map_err(no_random)?;
        let rotated = |keys: &SigningKeys| SigningKeys {
            current: keys.next.clone(),
            next: next.clone(),
        };
        if self.is_development {
            let mut keys = self.signing_keys();
            self.control.push().send_modify(|settings| {
                keys = rotated(settings.signing_keys());
                settings.set_signing_keys(keys.clone());
            });
            return Ok(keys);
        }
        let in_force = self.signing_keys();
        self.change_push(self.clock.now(), |state| {
            let keys = rotated(state.signing_keys().unwrap_or(&in_force));
            Ok((Some(PushEntry::SigningKeysSet(keys.clone())), keys))
        })
    }
}

fn random_key() -> Result<SigningKey, getrandom::Error> {
    random_text(PREFIX).map(SigningKey::new)
}
