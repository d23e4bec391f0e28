//! From what a request says to what is published. PURE.

use std::fmt;

use bytes::Bytes;
use storage::delivery::Envelope;
use storage::delivery::limits::ENVELOPE_BYTES_MAX;
use storage::hidden::Hidden;
use storage::offset::TimestampMs;

use super::headers::{DELAY_ONLY, Dedup, HeaderError, NOT_BEFORE, PublishHeaders};
use super::target::PublishTarget;
use crate::broker::NewSchedule;
use crate::delivery::api::{Publication, Target};
use crate::delivery::cron;
use crate::delivery::dedup_key::{of_content, of_id};
use crate::delivery::destination::URL_BYTES_MAX;
use crate::delivery::settings::Start;
use crate::http::ApiError;
use crate::names::{QueueName, ScheduleId};

/// What a request asks to publish.
#[derive(Clone)]
pub struct PublishRequest {
    /// Where to.
    pub target: PublishTarget,
    /// By which rules.
    pub headers: PublishHeaders,
    /// The body.
    pub body: Bytes,
    /// The queue; it counts before the header's.
    pub queue: Option<String>,
    /// Address of the publisher.
    pub caller_ip: Option<String>,
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest")
            .field("target", &self.target)
            .field("headers", &self.headers)
            .field("body", &Hidden(&self.body))
            .field("queue", &self.queue)
            .field("caller_ip", &self.caller_ip)
            .finish()
    }
}

impl PublishTarget {
    /// Returns the URL, or the name of the group.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Url(url) => url,
            Self::UrlGroup(name) => name.as_str(),
        }
    }
}

impl PublishRequest {
    /// Returns the message, or the messages of a group, to publish.
    ///
    /// # Errors
    /// 400 for headers of a schedule and for the name of a queue.
    pub fn publication(self, now: TimestampMs) -> Result<Publication, ApiError> {
        let headers = &self.headers;
        let of_schedule = [
            ("upstash-cron", &headers.cron),
            ("upstash-schedule-id", &headers.schedule_id),
        ];
        for (name, value) in of_schedule {
            if let Some(value) = value {
                let expected = "it belongs to a schedule, which POST /v2/schedules makes";
                return Err(HeaderError::value(name, value, expected).into());
            }
        }
        let dedup = match &headers.dedup {
            Dedup::None => None,
            Dedup::Id(id) => Some(of_id(id)),
            Dedup::Content => Some(of_content(
                self.target.as_str(),
                &self.body,
                &headers.settings.headers,
            )),
        };
        let queue = self.queue()?.map(|queue| queue.to_string());
        let mut envelope = Envelope {
            queue,
            dedup,
            caller_ip: self.caller_ip,
            ..headers.settings.envelope(now)
        };
        let target = match self.target {
            PublishTarget::Url(url) => {
                envelope.url = url;
                Target::Url
            }
            PublishTarget::UrlGroup(name) => Target::UrlGroup(name.to_string()),
        };
        check_size(&envelope)?;
        Ok(Publication {
            envelope,
            body: self.body,
            target,
            created_at: now,
        })
    }

    /// Returns the schedule to set. Its envelope's time is the delay, counted from each firing.
    ///
    /// # Errors
    /// 400.
    pub fn schedule(self) -> Result<NewSchedule, ApiError> {
        let headers = &self.headers;
        let cron = headers.cron.as_deref().ok_or_else(|| {
            HeaderError::name(
                "upstash-cron",
                "it is missing, it says when the schedule fires, as in */5 * * * *",
            )
        })?;
        let schedule = cron::Schedule::parse(cron)
            .map_err(|error| HeaderError::value("upstash-cron", cron, error.to_string()))?;
        if let Some(Start::At(time)) = headers.settings.start {
            let value = time.0.div_euclid(1000).to_string();
            return Err(HeaderError::value(NOT_BEFORE, &value, DELAY_ONLY).into());
        }
        let once = "each firing is a message of its own, a schedule takes no deduplication";
        match &headers.dedup {
            Dedup::None => {}
            Dedup::Id(id) => {
                return Err(HeaderError::value("upstash-deduplication-id", id, once).into());
            }
            Dedup::Content => {
                let name = "upstash-content-based-deduplication";
                return Err(HeaderError::value(name, "true", once).into());
            }
        }
        let parse_id = |id: &String| {
            ScheduleId::parse(id)
                .map_err(|error| HeaderError::value("upstash-schedule-id", id, error.to_string()))
        };
        let id = headers.schedule_id.as_ref().map(parse_id).transpose()?;
        let envelope = headers.settings.envelope(TimestampMs(0));
        check_size(&envelope)?;
        Ok(NewSchedule {
            id,
            cron: schedule.as_str().to_owned(),
            destination: self.target.as_str().to_owned(),
            queue: self.queue()?,
            envelope,
            body: self.body,
            caller_ip: self.caller_ip,
        })
    }

    /// Returns the queue.
    ///
    /// # Errors
    /// 400 for a name that is none.
    pub fn queue(&self) -> Result<Option<QueueName>, ApiError> {
        let name = self.queue.as_ref().or(self.headers.queue.as_ref());
        let parse = |name: &String| {
            QueueName::parse(name).map_err(|error| ApiError::bad_request(error.to_string()))
        };
        name.map(parse).transpose()
    }
}

/// Checks that the envelope fits its record, also with the URL that a group sets later.
fn check_size(envelope: &Envelope) -> Result<(), ApiError> {
    let room = if envelope.url.is_empty() {
        URL_BYTES_MAX
    } else {
        0
    };
    let bytes = envelope.encode().len().saturating_add(room);
    if bytes > ENVELOPE_BYTES_MAX {
        return Err(ApiError::bad_request(format!(
            "the forwarded headers and the settings have {bytes} bytes, at most {ENVELOPE_BYTES_MAX} are taken"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    fn request(target: &str, headers: &[(&str, &str)]) -> PublishRequest {
        let pairs = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        PublishRequest {
            target: PublishTarget::parse(target).unwrap(),
            headers: PublishHeaders::parse(pairs, NOW).unwrap(),
            body: Bytes::from_static(b"body"),
            queue: None,
            caller_ip: Some("127.0.0.1".to_owned()),
        }
    }

    #[test]
    fn a_message_has_its_url_its_place_and_its_publisher() {
        let mut asked = request(
            "https://a/b?c",
            &[("upstash-delay", "5s"), ("upstash-queue-name", "header")],
        );
        let published = asked.clone().publication(NOW).unwrap();
        assert_eq!(published.target, Target::Url);
        let envelope = published.envelope;
        assert_eq!(envelope.url, "https://a/b?c");
        assert_eq!((envelope.retries, envelope.method.as_str()), (3, "POST"));
        assert_eq!(envelope.not_before, Some(TimestampMs(NOW.0 + 5000)));
        assert_eq!(envelope.queue.as_deref(), Some("header"));
        assert_eq!(envelope.caller_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(envelope.dedup, None);
        asked.queue = Some("path".to_owned());
        let envelope = asked.clone().publication(NOW).unwrap().envelope;
        assert_eq!(envelope.queue.as_deref(), Some("path"));
        asked.queue = Some("a/b".to_owned());
        let error = asked.publication(NOW).unwrap_err();
        assert!(error.message.contains("queue"), "{error}");
        let group = request("group", &[]).publication(NOW).unwrap();
        assert_eq!(group.target, Target::UrlGroup("group".to_owned()));
        assert_eq!(group.envelope.url, "");
    }

    #[test]
    fn keys_are_of_the_id_or_of_destination_body_and_headers() {
        let key = |target: &str, headers: &[(&str, &str)]| {
            request(target, headers)
                .publication(NOW)
                .unwrap()
                .envelope
                .dedup
                .unwrap()
        };
        let id = ("upstash-deduplication-id", "x");
        let content = ("upstash-content-based-deduplication", "True");
        assert_eq!(key("https://a", &[id]), key("https://b", &[id, content]));
        let plain = key("https://a", &[content]);
        assert_eq!(
            plain,
            key("https://a", &[content, ("upstash-retries", "1")])
        );
        assert_ne!(plain, key("https://b", &[content]));
        assert_ne!(plain, key("https://a", &[content, ("content-type", "a/b")]));
        assert_ne!(
            plain,
            key("https://a", &[content, ("upstash-forward-a", "b")])
        );
    }

    #[test]
    fn a_publish_takes_no_schedule() {
        for (name, value) in [("upstash-cron", "* * * * *"), ("upstash-schedule-id", "s")] {
            let error = request("https://a", &[(name, value)])
                .publication(NOW)
                .unwrap_err();
            assert!(error.message.contains("/v2/schedules"), "{error}");
        }
    }

    #[test]
    fn a_schedule_has_its_delay_as_a_time_from_zero() {
        let cron = ("upstash-cron", "CRON_TZ=Europe/Berlin */5 * * * *");
        let set = request(
            "group",
            &[cron, ("upstash-delay", "1m"), ("upstash-schedule-id", "s")],
        );
        let set = set.schedule().unwrap();
        assert_eq!(set.destination, "group");
        assert_eq!(set.cron, cron.1);
        assert_eq!(set.id.unwrap().as_str(), "s");
        assert_eq!(set.envelope.not_before, Some(TimestampMs(60_000)));
        for (headers, expected) in [
            (vec![], "header Upstash-Cron: it is missing"),
            (vec![("upstash-cron", "* * *")], "Upstash-Cron is \"* * *\""),
            (
                vec![cron, ("upstash-schedule-id", "a/b")],
                "Upstash-Schedule-Id",
            ),
            (
                vec![cron, ("upstash-not-before", "5")],
                "Upstash-Not-Before",
            ),
            (
                vec![cron, ("upstash-deduplication-id", "x")],
                "Upstash-Deduplication-Id is \"x\": each firing",
            ),
            (
                vec![cron, ("upstash-content-based-deduplication", "true")],
                "Upstash-Content-Based-Deduplication is \"true\": each firing",
            ),
            (vec![cron, ("upstash-queue-name", "a b")], "queue name"),
        ] {
            let error = request("https://a", &headers).schedule().unwrap_err();
            assert_eq!(error.status, 400);
            assert!(error.message.contains(expected), "{error}");
        }
    }

    #[test]
    fn headers_that_do_not_fit_a_record_are_refused() {
        let value = "x".repeat(30_000);
        let headers = [
            ("upstash-forward-a", value.as_str()),
            ("upstash-forward-b", value.as_str()),
        ];
        assert!(request("https://a", &headers).publication(NOW).is_ok());
        // A group's URL comes on top.
        let error = request("group", &headers).publication(NOW).unwrap_err();
        assert!(error.message.contains("at most 65536"), "{error}");
    }
}
