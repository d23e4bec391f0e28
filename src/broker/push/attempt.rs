//! One attempt: what is sent, and what its end comes to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use storage::address::Address;
use storage::dead_letter::limits::{ATTEMPT_BODY_BYTES_MAX, TOLD_BODY_BYTES_MAX};
use storage::dead_letter::{Attempt, AttemptResult, ErrorClass};
use storage::delivery::{Outcome, Owes, Verdict};
use storage::offset::TimestampMs;
use storage::partition::PushedMessage;

use super::desk::Held;
use crate::broker::Broker;
use crate::config::DeliveryConfig;
use crate::delivery::client::{Answer, AttemptClient, AttemptRequest};
use crate::delivery::destination::{Destination, DestinationError};
use crate::delivery::expression::Expression;
use crate::delivery::gates::Pass;
use crate::delivery::outcome::{AttemptEnd, Decision, Policy, decide};
use crate::delivery::request::Outgoing;
use crate::delivery::signature::SigningKey;

/// An attempt that may be made: its message, and the pass for it.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) message: Box<PushedMessage>,
    /// Where it goes.
    pub(super) destination: Result<Destination, DestinationError>,
    pub(super) pass: Held,
    /// Its number, from 1; 0 until its intent is written.
    pub(super) number: u32,
}

impl Start {
    pub(super) fn new(
        mut message: Box<PushedMessage>,
        destination: Result<Destination, DestinationError>,
        pass: Held,
    ) -> Self {
        message.detach();
        Self {
            message,
            destination,
            pass,
            number: 0,
        }
    }
}

/// What attempts are made with.
#[derive(Debug, Clone)]
pub(super) struct Attempts {
    pub(super) broker: Arc<Broker>,
    pub(super) client: Arc<dyn AttemptClient>,
}

impl Attempts {
    /// Makes the prepared attempt that a place is for, and those that its end makes room for.
    pub(super) fn launch(&self, place: Pass) {
        tokio::spawn(self.clone().run(place));
    }

    async fn run(self, place: Pass) {
        let mut next = Some(place);
        while let Some(place) = next {
            let mut places = self.make(&place).await;
            next = places.pop();
            for place in places {
                self.launch(place);
            }
        }
    }

    /// Makes an attempt whose intent is durable. Its end lies on the desk afterwards, and its place and its pass are given
    /// back. Returns the places of those who may be sent instead.
    async fn make(&self, place: &Pass) -> Vec<Pass> {
        let push = self.broker.push();
        let began = self.broker.clock.now();
        let desk = push.desk(place.ticket.partition);
        let start = desk.and_then(|desk| Some((desk, desk.take_prepared(place.ticket.message)?)));
        let Some((desk, start)) = start else {
            // It was called off, or the broker shuts down.
            return push.places.lock().leave(place, began);
        };
        let id = Address::message(desk.partition.number(), start.message.offset).to_string();
        let answer = self.attempt(&start, &id, began).await;
        let metrics = &self.broker.metrics.deliveries;
        metrics.count_attempt(answer.result, answer.duration);
        let ended_at = self.broker.clock.now();
        let outcome = outcome(&start, answer, began, ended_at);
        if matches!(outcome.verdict, Verdict::Retry { .. }) {
            metrics.retries.inc();
        }
        let next = push.end(&start.pass, place, ended_at);
        desk.end(outcome);
        next
    }

    async fn attempt(&self, start: &Start, id: &str, now: TimestampMs) -> Answer {
        let attempt = async {
            // The key as it is when the attempt is sent: it may have waited for its place.
            let key = self.broker.signer();
            match request(start, id, &key, &self.broker.push().config, now) {
                Ok(request) => self.client.attempt(request).await,
                Err(answer) => answer,
            }
        };
        // A panic would keep the place for ever, and the message in flight.
        let attempted = AssertUnwindSafe(attempt).catch_unwind().await;
        attempted.unwrap_or_else(|_panic| {
            tracing::error!(message = id, "an attempt has failed inside the broker");
            failed(
                ErrorClass::BROKEN,
                "the attempt failed inside the broker".to_owned(),
            )
        })
    }
}

/// Builds the request, or says at once what it comes to when it cannot be sent at all.
fn request(
    start: &Start,
    id: &str,
    key: &SigningKey,
    config: &DeliveryConfig,
    now: TimestampMs,
) -> Result<AttemptRequest, Answer> {
    let envelope = &start.message.envelope;
    // What was published under looser rules than are in force now is forbidden.
    let url = start.destination.clone();
    let url = url.map_err(|error| failed(ErrorClass::FORBIDDEN, error.to_string()))?;
    let method = hyper::Method::from_bytes(envelope.method.as_bytes()).map_err(|error| {
        let text = format!("method {:?}: {error}", envelope.method);
        failed(ErrorClass::FORBIDDEN, text)
    })?;
    let outgoing = Outgoing {
        envelope,
        message_id: id,
        attempt: start.number,
        body: &start.message.body,
        now,
    };
    let timeout_ms = envelope
        .timeout_ms
        .unwrap_or(config.timeout_ms)
        .clamp(1, config.timeout_ms_max);
    Ok(AttemptRequest {
        url,
        method,
        headers: outgoing.headers(key),
        body: start.message.body.clone(),
        timeout: Duration::from_millis(timeout_ms),
        answer_bytes_max: if envelope.callback.is_some() || envelope.failure_callback.is_some() {
            TOLD_BODY_BYTES_MAX
        } else {
            ATTEMPT_BODY_BYTES_MAX
        },
    })
}

fn failed(class: ErrorClass, why: String) -> Answer {
    Answer {
        result: AttemptResult::Error(class),
        headers: Vec::new(),
        body: why.into(),
        is_body_cut: false,
        duration: Duration::ZERO,
    }
}

fn outcome(start: &Start, answer: Answer, began: TimestampMs, now: TimestampMs) -> Outcome {
    let envelope = &start.message.envelope;
    let is_taken = matches!(answer.result, AttemptResult::Status(200..300));
    // An expression was checked when the message was published.
    let retry_delay = envelope
        .retry_delay
        .as_deref()
        .filter(|_| !is_taken)
        .and_then(|text| Expression::parse(text).ok());
    let policy = Policy {
        retries: envelope.retries,
        retry_delay: retry_delay.as_ref(),
    };
    let end = AttemptEnd {
        result: answer.result,
        headers: &answer.headers,
    };
    // What spreads retries: what is taken needs no call of the system for it.
    let random = if is_taken { Ok(0) } else { getrandom::u64() };
    let random = random.unwrap_or(u64::from(start.number));
    let verdict = match decide(&end, start.number, &policy, now, random) {
        Decision::Delivered => Verdict::Delivered,
        Decision::Retry { at } => Verdict::Retry { at },
        Decision::Dead(disposition) => Verdict::Dead { disposition },
    };
    let is_dead = matches!(verdict, Verdict::Dead { .. });
    let owes = Owes {
        callback: envelope.callback.is_some(),
        failure_callback: is_dead && envelope.failure_callback.is_some(),
    };
    let mut attempt = attempt(start.number, answer, began);
    if owes.callback || owes.failure_callback {
        attempt.cap_to_be_told();
    } else {
        attempt.cap();
    }
    Outcome {
        message: start.message.offset,
        verdict,
        owes,
        previous: None,
        attempt,
    }
}

fn attempt(number: u32, answer: Answer, began: TimestampMs) -> Attempt {
    Attempt {
        number,
        time: began,
        duration_ms: u32::try_from(answer.duration.as_millis()).unwrap_or(u32::MAX),
        result: answer.result,
        headers: answer.headers,
        body: answer.body,
        is_body_cut: answer.is_body_cut,
        are_headers_cut: false,
    }
}

/// Returns the number of a message's next attempt.
pub(super) fn next_number(attempts: u32) -> u32 {
    attempts.saturating_add(1)
}
