//! The destinations of all deliveries: they answer at once, by their URL, and count.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redrive::delivery::client::{Answer, AttemptClient, AttemptFuture, AttemptRequest};
use storage::dead_letter::AttemptResult;

/// Takes everything but what goes to `http://h/bad...`.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    attempts: Mutex<BTreeMap<String, u64>>,
}

impl Sink {
    pub(crate) fn attempts(&self, url: &str) -> u64 {
        self.attempts.lock().get(url).copied().unwrap_or(0)
    }
}

impl AttemptClient for Sink {
    fn attempt(&self, request: AttemptRequest) -> AttemptFuture<'_> {
        let url = request.url.as_str().to_owned();
        let status = if url.contains("/bad") { 500 } else { 200 };
        *self.attempts.lock().entry(url).or_default() += 1;
        Box::pin(async move {
            Answer {
                result: AttemptResult::Status(status),
                headers: Vec::new(),
                body: Bytes::from_static(b"said"),
                is_body_cut: false,
                duration: Duration::from_millis(1),
            }
        })
    }
}
