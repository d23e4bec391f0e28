//! What `Debug` shows of an envelope: not the values of headers, which may be credentials, and no query of a URL.

use std::fmt;

use super::envelope::{Callback, Envelope};
use crate::hidden::{HiddenHeaders, HiddenQuery};

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("url", &HiddenQuery(&self.url))
            .field("method", &self.method)
            .field("headers", &HiddenHeaders(&self.headers))
            .field("not_before", &self.not_before)
            .field("retries", &self.retries)
            .field("timeout_ms", &self.timeout_ms)
            .field("retry_delay", &self.retry_delay)
            .field("labels", &self.labels)
            .field("dedup", &self.dedup)
            .field("callback", &self.callback)
            .field("failure_callback", &self.failure_callback)
            .field("flow", &self.flow)
            .field("queue", &self.queue)
            .field("url_group", &self.url_group)
            .field("endpoint", &self.endpoint)
            .field("schedule", &self.schedule)
            .field("redaction", &self.redaction)
            .field("caller_ip", &self.caller_ip)
            .field("root", &self.root)
            .finish()
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("url", &HiddenQuery(&self.url))
            .field("method", &self.method)
            .field("headers", &HiddenHeaders(&self.headers))
            .field("retries", &self.retries)
            .field("timeout_ms", &self.timeout_ms)
            .field("retry_delay", &self.retry_delay)
            .field("delay_ms", &self.delay_ms)
            .finish()
    }
}
