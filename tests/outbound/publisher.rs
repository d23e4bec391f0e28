//! Strangers who publish, some at a time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::process::Http;

const THREAD_COUNT: usize = 4;

/// What a hostile URL stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Destination,
    /// The callback of a message that is delivered.
    Callback,
    /// The failure callback of a message that is not.
    FailureCallback,
    /// The destination of a schedule that fires every minute.
    Schedule,
}

#[derive(Debug)]
pub(crate) struct Publisher {
    broker: SocketAddr,
}

impl Publisher {
    pub(crate) fn new(broker: SocketAddr) -> Self {
        Self { broker }
    }

    /// Publishes all; each is taken or refused as the caller's mistake. Returns how many messages come of them in all (for schedules:
    /// how many there are now).
    pub(crate) fn all(&self, urls: &[String], way: As) -> u64 {
        let (next, count) = (AtomicUsize::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..THREAD_COUNT {
                scope.spawn(|| {
                    let mut http = Http::connect(self.broker);
                    while let Some(url) = urls.get(next.fetch_add(1, Ordering::Relaxed)) {
                        count.fetch_add(publish(&mut http, url, way), Ordering::Relaxed);
                    }
                });
            }
        });
        count.into_inner()
    }
}

fn publish(http: &mut Http, url: &str, way: As) -> u64 {
    let once = ("upstash-retries", "0");
    let answer = match way {
        As::Destination => http.post(&format!("/v2/publish/{url}"), &[once], b"{}"),
        As::Callback => {
            let headers = [
                once,
                ("upstash-callback", url),
                ("upstash-callback-retries", "0"),
            ];
            http.post("/v2/publish/http://9.9.9.9/", &headers, b"{}")
        }
        As::FailureCallback => {
            let headers = [
                once,
                ("upstash-failure-callback", url),
                ("upstash-failure-callback-retries", "0"),
            ];
            http.post("/v2/publish/http://9.9.9.9/fail", &headers, b"{}")
        }
        As::Schedule => {
            let headers = [once, ("upstash-cron", "* * * * *")];
            http.post(&format!("/v2/schedules/{url}"), &headers, b"{}")
        }
    };
    match (answer.status, way) {
        (200..=202, As::Destination | As::Schedule) => 1,
        (200..=202, As::Callback | As::FailureCallback) => 2,
        (400 | 404, _) => 0,
        (other, _) => panic!("{url:?} is answered {other}: {}", answer.body),
    }
}
