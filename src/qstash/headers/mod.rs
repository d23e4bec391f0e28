//! The headers of a publish, and of everything that is like one: enqueue, batch items, schedules, retries of dead letters.
//! PURE.
//!
//! Names stand in any case. A header without a value counts as not given, as it does for the API that this one follows. Of
//! the rest, what begins with `Upstash-` and is no setting (clients send their version so) is passed over, and so is
//! everything that does not begin with it: only `Content-Type` and `Upstash-Forward-*` go on to the destination.
//!
//! `Upstash-Callback-X` is a setting of the callback if X is one, and otherwise a header X for the callback's destination,
//! as one client documents it; `Upstash-Callback-Forward-X` always is. Failure callbacks alike.

mod error;
mod forwarded;
mod values;

use storage::delivery::{FlowControl, Redaction};
use storage::offset::TimestampMs;

pub use error::HeaderError;
pub(crate) use error::{cut, cut_url};

use crate::delivery::settings::{CallbackSettings, PublishSettings, Start};
use forwarded::forward;

/// The header that no schedule takes, and what it takes in its place.
pub(crate) const NOT_BEFORE: &str = "upstash-not-before";
pub(crate) const DELAY_ONLY: &str =
    "a schedule takes Upstash-Delay, which is counted from each firing";

/// What the headers say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishHeaders {
    /// What goes into the envelope.
    pub settings: PublishSettings,
    /// What makes it a duplicate.
    pub dedup: Dedup,
    /// The queue.
    pub queue: Option<String>,
    /// When a schedule fires.
    pub cron: Option<String>,
    /// The schedule's id.
    pub schedule_id: Option<String>,
}

/// What makes a message a duplicate of another one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Dedup {
    /// Nothing.
    #[default]
    None,
    /// The same id.
    Id(String),
    /// The same content.
    Content,
}

/// What is found before it is known how it fits together.
#[derive(Default)]
struct Parser {
    found: PublishHeaders,
    seen: Vec<String>,
    delay_ms: Option<u64>,
    not_before: Option<TimestampMs>,
    flow_key: Option<String>,
    flow_value: Option<(String, FlowControl)>,
    dedup_id: Option<String>,
    is_content_dedup: bool,
    content_type: Option<Vec<u8>>,
}

impl PublishHeaders {
    /// Reads headers.
    ///
    /// # Errors
    /// The first [`HeaderError`].
    pub fn parse<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        now: TimestampMs,
    ) -> Result<Self, HeaderError> {
        let mut parser = Parser::default();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            if name == "content-type" {
                parser.content_type.get_or_insert_with(|| value.to_vec());
            } else if let Some(setting) = name.strip_prefix("upstash-") {
                parser.take(&name, setting, value, now)?;
            }
        }
        parser.finish()
    }

    /// Reads the headers of a schedule.
    ///
    /// # Errors
    /// As [`Self::parse`]; for `Upstash-Not-Before`, whatever it says.
    pub fn of_schedule<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        now: TimestampMs,
    ) -> Result<Self, HeaderError> {
        let headers: Vec<_> = headers.into_iter().collect();
        // First: what a time should look like is no help to whoever may not give one.
        for (name, value) in &headers {
            let value = String::from_utf8_lossy(value);
            if name.eq_ignore_ascii_case(NOT_BEFORE) && !value.trim().is_empty() {
                return Err(HeaderError::value(NOT_BEFORE, &value, DELAY_ONLY));
            }
        }
        Self::parse(headers, now)
    }

    /// Reads the headers of a retry, which override what the message was published with. The request's own content type is of its
    /// own body, and no override: that is `Upstash-Forward-Content-Type` alone.
    ///
    /// # Errors
    /// As [`Self::parse`], and for a header that a retry cannot override.
    pub fn overrides<'h>(
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        now: TimestampMs,
    ) -> Result<PublishSettings, HeaderError> {
        let is_override = |(name, _): &(&str, &[u8])| !name.eq_ignore_ascii_case("content-type");
        let found = Self::parse(headers.into_iter().filter(is_override), now)?;
        let content = (found.dedup == Dedup::Content).then(|| "true".to_owned());
        let id = match found.dedup {
            Dedup::Id(id) => Some(id),
            Dedup::None | Dedup::Content => None,
        };
        let stays = "a retry leaves the message where it was, in its queue or in none";
        let once = "a dead letter is retried once, so that a retry takes no deduplication";
        let of_schedule = "it belongs to a schedule, which POST /v2/schedules makes";
        for (name, value, expected) in [
            ("upstash-queue-name", found.queue, stays),
            ("upstash-deduplication-id", id, once),
            ("upstash-content-based-deduplication", content, once),
            ("upstash-cron", found.cron, of_schedule),
            ("upstash-schedule-id", found.schedule_id, of_schedule),
        ] {
            if let Some(value) = value {
                return Err(HeaderError::value(name, &value, expected));
            }
        }
        Ok(found.settings)
    }

    /// Returns whether they say anything at all that would change an envelope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Parser {
    fn take(
        &mut self,
        name: &str,
        setting: &str,
        value: &[u8],
        now: TimestampMs,
    ) -> Result<(), HeaderError> {
        if let Some(forwarded) = setting.strip_prefix("forward-") {
            return forward(name, forwarded, value, &mut self.found.settings.headers);
        }
        let callback = setting
            .strip_prefix("callback-")
            .map(|rest| (rest, &mut self.found.settings.callback));
        let callback = callback.or_else(|| {
            let rest = setting.strip_prefix("failure-callback-")?;
            Some((rest, &mut self.found.settings.failure_callback))
        });
        if let Some((rest, callback)) = callback {
            return take_callback(name, rest, value, callback, &mut self.seen);
        }
        if !is_setting(setting) {
            return Ok(());
        }
        let Some(text) = once(name, value, &mut self.seen)? else {
            return Ok(());
        };
        self.set(name, setting, text, now)
    }

    fn set(
        &mut self,
        name: &str,
        setting: &str,
        text: &str,
        now: TimestampMs,
    ) -> Result<(), HeaderError> {
        let settings = &mut self.found.settings;
        match setting {
            "method" => settings.method = Some(values::method(name, text)?),
            "retries" => settings.retries = Some(values::retries(name, text)?),
            "timeout" => settings.timeout_ms = Some(values::timeout_ms(name, text)?),
            "retry-delay" => settings.retry_delay = Some(values::retry_delay(name, text)?),
            "delay" => self.delay_ms = Some(values::delay_ms(name, text)?),
            "not-before" => self.not_before = Some(values::not_before(name, text, now)?),
            "label" => values::labels(name, text, settings.labels.get_or_insert_default())?,
            "redact-fields" => {
                let redaction = settings.redaction.get_or_insert_with(Redaction::default);
                values::redaction(name, text, redaction)?;
            }
            "callback" => settings.callback.url = Some(values::url(name, text)?),
            "failure-callback" => settings.failure_callback.url = Some(values::url(name, text)?),
            "flow-control-key" => self.flow_key = Some(values::flow_key(name, text)?),
            "flow-control-value" => {
                let mut flow = FlowControl::default();
                values::flow_value(name, text, &mut flow)?;
                self.flow_value = Some((text.to_owned(), flow));
            }
            "deduplication-id" => self.dedup_id = Some(text.to_owned()),
            "content-based-deduplication" => self.is_content_dedup = values::boolean(name, text)?,
            "queue-name" => self.found.queue = Some(text.to_owned()),
            "cron" => self.found.cron = Some(text.to_owned()),
            "schedule-id" => self.found.schedule_id = Some(text.to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<PublishHeaders, HeaderError> {
        let settings = &mut self.found.settings;
        let delay = self.delay_ms.map(Start::After);
        settings.start = self.not_before.map(Start::At).or(delay);
        settings.flow = match (self.flow_key, self.flow_value) {
            (Some(key), value) => Some(FlowControl {
                key,
                ..value.map_or_else(FlowControl::default, |(_, flow)| flow)
            }),
            (None, Some((value, _))) => {
                let expected = "it needs the header Upstash-Flow-Control-Key beside it";
                return Err(HeaderError::value(
                    "upstash-flow-control-value",
                    &value,
                    expected,
                ));
            }
            (None, None) => None,
        };
        let has_type = |(name, _): &(String, _)| name == "content-type";
        if let Some(value) = self.content_type.filter(|value| !value.is_empty())
            && !settings.headers.iter().any(has_type)
        {
            forward(
                "content-type",
                "content-type",
                &value,
                &mut settings.headers,
            )?;
        }
        self.found.dedup = match (self.dedup_id, self.is_content_dedup) {
            (Some(id), _) => Dedup::Id(id),
            (None, true) => Dedup::Content,
            (None, false) => Dedup::None,
        };
        Ok(self.found)
    }
}

fn is_setting(name: &str) -> bool {
    matches!(
        name,
        "method"
            | "retries"
            | "timeout"
            | "retry-delay"
            | "delay"
            | "not-before"
            | "label"
            | "redact-fields"
            | "callback"
            | "failure-callback"
            | "flow-control-key"
            | "flow-control-value"
            | "deduplication-id"
            | "content-based-deduplication"
            | "queue-name"
            | "cron"
            | "schedule-id"
    )
}

fn take_callback(
    name: &str,
    setting: &str,
    value: &[u8],
    callback: &mut CallbackSettings,
    seen: &mut Vec<String>,
) -> Result<(), HeaderError> {
    if let Some(forwarded) = setting.strip_prefix("forward-") {
        return forward(name, forwarded, value, &mut callback.headers);
    }
    if !is_setting(setting) {
        // The workflow client's own settings are none of the destination's business.
        if setting.starts_with("workflow-") || setting.starts_with("telemetry-") {
            return Ok(());
        }
        return forward(name, setting, value, &mut callback.headers);
    }
    let Some(text) = once(name, value, seen)? else {
        return Ok(());
    };
    match setting {
        "method" => callback.method = Some(values::method(name, text)?),
        "retries" => callback.retries = Some(values::retries(name, text)?),
        "timeout" => callback.timeout_ms = Some(values::timeout_ms(name, text)?),
        "retry-delay" => callback.retry_delay = Some(values::retry_delay(name, text)?),
        "delay" => callback.delay_ms = Some(values::delay_ms(name, text)?),
        // Settings that a callback does not have.
        _ => {}
    }
    Ok(())
}

/// Returns the text of a setting, `None` if it is blank. Labels and redacted fields may stand in several headers.
fn once<'v>(
    name: &str,
    value: &'v [u8],
    seen: &mut Vec<String>,
) -> Result<Option<&'v str>, HeaderError> {
    let text = std::str::from_utf8(value)
        .map_err(|_not_utf8| HeaderError::name(name, "its value must be UTF-8"))?
        .trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains(char::is_control) {
        let expected = "its value must be one line without control characters";
        return Err(HeaderError::name(name, expected));
    }
    if !matches!(name, "upstash-label" | "upstash-redact-fields") {
        if seen.iter().any(|known| known == name) {
            return Err(HeaderError::name(name, "it must be given once"));
        }
        seen.push(name.to_owned());
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests;
