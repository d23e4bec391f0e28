//! The destinations of a life: they take, refuse, ask for patience, say never again, break, are slow, or say nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redrive::clock::Clock;
use redrive::delivery::client::{Answer, AttemptClient, AttemptFuture, AttemptRequest};
use serde_json::Value;
use storage::dead_letter::{AttemptResult, ErrorClass};
use storage::disk::sim::SimDisk;

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::life::Life;
use crate::log_model::Broken;
use crate::push_model::Arrival;
use crate::push_model::flow::Now;
use crate::world::World;

/// Attempts of which one is followed by a power cut, in a life that ends by one.
const CUT_ONE_IN: u64 = 25;
/// The same of those that have a rate: what is lost of them shows in their period.
const RATED_CUT_ONE_IN: u64 = 3;

/// All destinations.
#[derive(Debug)]
pub(crate) struct Destinations {
    world: Arc<World>,
    clock: Arc<SimClock>,
    chance: Mutex<Chance>,
    is_calm: bool,
    /// The disk whose power may be cut soon after an attempt has come.
    cut: Option<SimDisk>,
}

/// What a destination does with an attempt.
#[derive(Debug)]
struct Reaction {
    result: AttemptResult,
    headers: Vec<(String, String)>,
    /// It ends the message, whatever its retries.
    is_last: bool,
    time: Duration,
}

impl Destinations {
    pub(crate) fn new(life: &Life, cut: Option<SimDisk>) -> Self {
        Self {
            world: Arc::clone(&life.world),
            clock: Arc::clone(&life.clock),
            chance: Mutex::new(life.world.chance("destinations", 0)),
            is_calm: life.is_calm,
            cut,
        }
    }

    /// Lets the power be cut between an attempt and what the broker writes down of it, one time in many.
    fn cut_perhaps(&self, has_rate: bool) {
        if let Some(disk) = &self.cut {
            let mut chance = self.chance.lock();
            let one_in = if has_rate {
                RATED_CUT_ONE_IN
            } else {
                CUT_ONE_IN
            };
            if chance.one_in(one_in) {
                disk.cut_power_at(disk.op_count() + chance.between(1, 4));
            }
        }
    }

    fn react(&self, timeout: Duration) -> Reaction {
        let mut chance = self.chance.lock();
        let status = |status| (AttemptResult::Status(status), Vec::new(), false);
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let (result, headers, is_last) = match chance.below(10) {
            _ if self.is_calm => status(200),
            0 => status(500),
            1 => status(404),
            2 => {
                let wait = header("retry-after", "2");
                (AttemptResult::Status(429), wait, false)
            }
            3 => {
                let never = header("upstash-nonretryable-error", "true");
                (AttemptResult::Status(489), never, true)
            }
            4 => (AttemptResult::Error(ErrorClass::CONNECT), Vec::new(), false),
            5 => (AttemptResult::Error(ErrorClass::TIMEOUT), Vec::new(), false),
            _ => status(200),
        };
        let is_timeout = result == AttemptResult::Error(ErrorClass::TIMEOUT);
        let time = match chance.below(3) {
            _ if is_timeout => timeout,
            0 => chance.ms(0, 2_000),
            _ => chance.ms(0, 50),
        };
        Reaction {
            result,
            headers,
            is_last,
            time: time.min(timeout),
        }
    }

    fn arrived(&self, id: &str, retried: u32, request: &AttemptRequest) -> Result<(), Broken> {
        let url = request.url.as_str();
        let mut push = self.world.push.lock();
        if let Some(kind) = url.strip_prefix("http://told.example/") {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let source = body["sourceMessageId"].as_str().unwrap_or_default();
            let of = body["retried"].as_u64().unwrap_or_default();
            return push.told(id, kind, (source, of));
        }
        let text = String::from_utf8_lossy(&request.body);
        let token = token_of(&text).ok_or_else(|| format!("message {id} has the body {text:?}"))?;
        let arrival = Arrival {
            id,
            token,
            retried,
            url,
            group: header(request, "upstash-topic-name"),
            schedule: header(request, "upstash-schedule-id"),
        };
        push.arrived(&arrival, self.now())
    }

    fn now(&self) -> Now {
        Now {
            wall_ms: self.clock.now().0,
            simulated_ms: self.world.simulated_ms(),
        }
    }
}

/// Returns the token that a body begins with.
pub(crate) fn token_of(body: &str) -> Option<u64> {
    body.split(':').next()?.parse().ok()
}

fn header<'a>(request: &'a AttemptRequest, name: &str) -> &'a str {
    let value = request.headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

impl AttemptClient for Destinations {
    fn attempt(&self, request: AttemptRequest) -> AttemptFuture<'_> {
        Box::pin(async move {
            let id = header(&request, "upstash-message-id").to_owned();
            let retried = header(&request, "upstash-retried");
            let retried = retried.parse().unwrap_or_default();
            let reaction = self.react(request.timeout);
            let line = format!(
                "{id} arrives at {}, {retried}: {reaction:?}",
                request.url.as_str()
            );
            self.world.note(&line);
            self.world.check(self.arrived(&id, retried, &request));
            let has_rate = self.world.push.lock().has_rate(&id);
            self.cut_perhaps(has_rate);
            tokio::time::sleep(reaction.time).await;
            let is_taken = matches!(reaction.result, AttemptResult::Status(200..300));
            let mut push = self.world.push.lock();
            let ends = (is_taken, reaction.is_last);
            push.answered((&id, retried), ends, self.world.simulated_ms());
            drop(push);
            self.world.note(&format!("{id} is answered"));
            Answer {
                result: reaction.result,
                headers: reaction.headers,
                body: Bytes::from_static(b"said"),
                is_body_cut: false,
                duration: reaction.time,
            }
        })
    }
}
