//! Connections that are kept for the next attempt.
//!
//! Nobody drives a connection that lies here. Whether the other side has closed it is seen when it is taken; a connection
//! that nobody takes is closed after a while.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::link::Link;
use crate::delivery::destination::Destination;

/// How long an unused connection is kept: less than the 5 s after which Node and Apache close theirs, so that a request
/// seldom meets a connection that is about to close.
const IDLE_WAIT_MAX: Duration = Duration::from_secs(4);

/// How often it is looked for connections that nobody takes.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Unused connections kept to one host: more than attempts are under way to one destination by default. With fewer, those of
/// a busy destination are closed and opened again all the time.
const IDLE_COUNT_MAX: usize = 128;

/// What connections serve: the same host and port, encrypted or not.
type Place = (Arc<str>, bool);

/// Unused connections, by where they lead.
#[derive(Debug, Default)]
pub(super) struct Pool {
    all: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    idle: HashMap<Place, Vec<Idle>>,
    /// Whether a task looks for those that nobody takes.
    is_swept: bool,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
}

impl Idle {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < IDLE_WAIT_MAX
    }
}

impl Pool {
    /// Takes a connection that a request can be sent over, the one that was used last.
    pub(super) async fn take(&self, destination: &Destination) -> Option<Link> {
        let place = place(destination);
        loop {
            let mut idle = self.all.lock().idle.get_mut(&place)?.pop()?;
            // The sweep may be late.
            if idle.is_fresh(Instant::now()) && idle.link.is_idle().await {
                return Some(idle.link);
            }
        }
    }

    /// Keeps a connection, unless it is of no more use or there are enough.
    pub(super) async fn put(self: &Arc<Self>, destination: &Destination, mut link: Link) {
        if !link.is_done().await {
            return;
        }
        let since = Instant::now();
        let mut all = self.all.lock();
        let kept = all.idle.entry(place(destination)).or_default();
        if kept.len() < IDLE_COUNT_MAX {
            kept.push(Idle { link, since });
        }
        if !std::mem::replace(&mut all.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes the connections that have lain here too long; returns whether there are others.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut all = self.all.lock();
        all.idle.retain(|_, kept| {
            kept.retain(|idle| idle.is_fresh(now));
            !kept.is_empty()
        });
        all.is_swept = !all.idle.is_empty();
        all.is_swept
    }
}

/// Works as long as there is anything in the pool.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if pool.upgrade().is_none_or(|pool| !pool.sweep()) {
            return;
        }
    }
}

fn place(destination: &Destination) -> Place {
    (Arc::clone(destination.authority()), destination.is_https())
}
