//! `/v2/keys`: the keys that sign deliveries.

use serde::Serialize;
use storage::control::push::SigningKeys;

use super::call::{Answer, Call, ok};

#[derive(Serialize)]
struct KeysJson<'a> {
    current: &'a str,
    next: &'a str,
}

/// Returns the keys.
pub(super) async fn get(call: Call) -> Answer {
    show(&call.broker.signing_keys())
}

/// Makes the next key the current one.
pub(super) async fn rotate(call: Call) -> Answer {
    let keys = call.blocking(|broker| broker.rotate_signing_keys()).await?;
    show(&keys)
}

fn show(keys: &SigningKeys) -> Answer {
    ok(&KeysJson {
        current: keys.current.expose(),
        next: keys.next.expose(),
    })
}
