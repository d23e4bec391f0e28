//! Syncs that fail: the disk has no room for a time and heals, and the page cache that this leaves outlives the process. The
//! system says of pages that never reached the disk that they are clean, until it drops them.
//!
//! One life: work until a sync fails; nothing more is acknowledged by the logs that it met, before and after the disk
//! heals; the process is killed and the next one starts on the page cache as it is; what that one serves and acknowledges
//! must be there when the cache is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use hyper::Method;
use redrive::client::ClientError;
use redrive::protocol::error_code::ErrorCode;

use super::{Age, Broken, Lane, PATIENCE, blocking};
use crate::oracle::Crash;
use crate::process::{self, Process};
use crate::verify;
use crate::workload::{Burst, PARTITIONS, World, commit_next, letters, produce_one};

/// Free blocks that the disk keeps at most when it begins to fail.
const BLOCKS_MAX: u64 = 40;
/// Looks at the broker, a hundredth of a second apart, until a sync must have failed.
const LOOKS_MAX: u64 = 1_000;
/// What `/readyz` says of a log behind its name.
const FAILED: &str = ": a sync failed, only a restart";
/// Codes that a failing disk may be told by.
const CLEAR: [ErrorCode; 5] = [
    ErrorCode::LogPoisoned,
    ErrorCode::StorageFull,
    ErrorCode::StorageFailed,
    ErrorCode::OutcomeUnknown,
    ErrorCode::Overloaded,
];
const CONTROL: &str = "the control log takes no changes";

impl Lane {
    pub(super) async fn life_with_failed_syncs(&mut self) -> Result<(), Broken> {
        let (process, world) = self.start(false).await?;
        let burst = self.begin_work(&world);
        self.pause(self.plan.work_us_max).await;
        let is_healed_at_work = self.random.one_in(4);
        self.fail_syncs(&world, burst, is_healed_at_work).await?;
        let mut poisoned = BTreeSet::new();
        if !is_healed_at_work {
            poisoned = self.look(&world, poisoned).await?;
        }
        // The disk stays as it is in some lives.
        let is_healed = is_healed_at_work || !self.random.one_in(4);
        if is_healed && !is_healed_at_work {
            self.with_ground(Age::relieve).await;
        }
        for _ in 0..2 {
            poisoned = self.look(&world, poisoned).await?;
        }
        self.crash(process, None, (Crash::Kill, false)).await?;
        if !is_healed || self.random.one_in(4) {
            self.start_on_a_failing_disk(!is_healed).await?;
        }
        if self.with_ground(|age| age.ground.has_given_up()).await {
            self.count("journals_aborted");
            self.start_on_a_failing_disk(true).await?;
            self.forget_the_cache().await;
        }
        self.live_on_what_is_left().await
    }

    async fn pause(&mut self, us_max: u64) {
        let time = self.random.below(us_max);
        tokio::time::sleep(Duration::from_micros(time)).await;
    }

    /// Does something to the ground that blocks.
    async fn with_ground<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut Age) -> T + Send + 'static,
    ) -> T {
        let mut age = self.age.take().expect("there is a data directory");
        let (age, done) = blocking(move || {
            let done = act(&mut age);
            (age, done)
        })
        .await;
        self.age = Some(age);
        done
    }

    /// The disk begins to fail. What an ext4 says whose journal fails proves nothing.
    fn disk_fails(&mut self) {
        let age = self.age_mut();
        let mut oracle = age.oracle.lock();
        oracle.disk_fails();
        if age.ground.may_lie() {
            oracle.goes_dark();
        }
    }

    /// Lets syncs fail under clients at work, until one has.
    async fn fail_syncs(
        &mut self,
        world: &World,
        burst: Burst,
        is_healed_at_work: bool,
    ) -> Result<(), Broken> {
        let room = self.random.below(BLOCKS_MAX);
        self.disk_fails();
        self.with_ground(move |age| age.ground.squeeze(room)).await;
        let mut looks = 0;
        while poisoned(world)
            .await
            .map_err(|what| self.broken(&what))?
            .is_empty()
        {
            looks += 1;
            if looks > LOOKS_MAX {
                return Err(self.broken("no sync fails"));
            }
            if looks % 20 == 0 {
                self.with_ground(|age| age.ground.squeeze(0)).await;
                if self.with_ground(|age| age.ground.has_given_up()).await {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.pause(30_000).await;
        if is_healed_at_work {
            self.with_ground(Age::relieve).await;
            self.pause(30_000).await;
        }
        burst.end().await;
        self.count("failures");
        Ok(())
    }

    /// Looks at a broker whose syncs have failed: it says so and goes on with everything else, and what has failed once takes
    /// nothing any more. Returns the logs that take nothing.
    async fn look(
        &mut self,
        world: &World,
        before: BTreeSet<String>,
    ) -> Result<BTreeSet<String>, Broken> {
        let looked = tokio::time::timeout(PATIENCE, self.try_look(world, before)).await;
        let looked = looked.unwrap_or_else(|_| Err("the broker does not answer".to_owned()));
        let age = self.age_mut();
        match (looked, age.broken().or_else(|| age.panics())) {
            (Ok(poisoned), None) => Ok(poisoned),
            (Err(broken), _) | (_, Some(broken)) => Err(self.broken(&broken)),
        }
    }

    async fn try_look(
        &mut self,
        world: &World,
        before: BTreeSet<String>,
    ) -> Result<BTreeSet<String>, String> {
        let named = poisoned(world).await?;
        if let Some(missing) = before.difference(&named).next() {
            return Err(format!("forgotten without a restart: {missing}"));
        }
        for (at, (topic, partition)) in PARTITIONS.into_iter().enumerate() {
            let name = format!("partition {partition} of topic {topic} takes no appends");
            let stream = format!("q{}", self.random.next());
            let answer = produce_one(world, at, &stream, &mut self.random).await;
            self.judge_answer(&named, &name, answer)?;
        }
        let answer = commit_next(world, &world.client).await;
        self.judge_answer(&named, CONTROL, answer)?;
        verify::reads(world).await?;
        letters::list(&world.client, PARTITIONS[0].0)
            .await
            .map_err(|error| format!("the letters are not listed: {error}"))?;
        poisoned(world).await
    }

    /// Judges what a log answered that was named, or not, before it was asked.
    fn judge_answer(
        &mut self,
        named: &BTreeSet<String>,
        name: &str,
        answer: Result<(), ClientError>,
    ) -> Result<(), String> {
        let is_named = named.contains(name);
        match answer {
            Ok(()) if is_named => Err(format!("{name}, and has taken something")),
            Ok(()) => {
                self.count("taken_beside");
                Ok(())
            }
            Err(error) => {
                self.count("refused");
                let refusal = error.refusal().ok_or_else(|| format!("{name}: {error}"))?;
                let is_clear = CLEAR.contains(&refusal.code)
                    && (!is_named || refusal.message.contains("a sync failed"));
                is_clear
                    .then_some(())
                    .ok_or_else(|| format!("{name}: {refusal:?}"))
            }
        }
    }

    /// Starts a broker while the disk fails: it ends and says why, or serves what must then stay.
    async fn start_on_a_failing_disk(&mut self, is_failing: bool) -> Result<(), Broken> {
        if !is_failing {
            let room = self.random.below(4);
            self.with_ground(move |age| age.ground.squeeze(room)).await;
        }
        let lie = self.plan.lie;
        let starting = self.with_ground(move |age| {
            let mut process = Process::spawn(&age.ground, lie);
            let served = process.served();
            (process, served)
        });
        let started = tokio::time::timeout(PATIENCE, starting).await;
        let (process, served) = started.expect("a broker serves or ends");
        if let Some(served) = served {
            self.count("starts_while_failing");
            let world = self.world(&served);
            self.disk_fails();
            // First what stands there, as after every start.
            let read = verify::reads(&world).await;
            read.map_err(|what| self.broken(&what))?;
            self.look(&world, BTreeSet::new()).await?;
            self.crash(process, None, (Crash::Kill, false)).await?;
        } else {
            self.count("starts_refused");
            let status = blocking(move || process.ended()).await;
            let age = self.age_mut();
            age.oracle.lock().crashed(Crash::Kill);
            if status.code() != Some(1) || age.panics().is_some() {
                return Err(self.broken(&format!("the broker ended with {status}")));
            }
        }
        self.with_ground(Age::relieve).await;
        Ok(())
    }

    /// The page cache goes; nothing else does.
    async fn forget_the_cache(&mut self) {
        self.with_ground(|age| {
            age.ground.power_up();
            age.oracle.lock().crashed(Crash::Power);
        })
        .await;
    }

    /// Starts on the page cache that failed syncs have left, and works; then the cache goes. Everything must be there.
    async fn live_on_what_is_left(&mut self) -> Result<(), Broken> {
        let (process, world) = self.start(false).await?;
        let burst = (!self.random.one_in(3)).then(|| self.begin_work(&world));
        if burst.is_some() {
            self.pause(self.plan.work_us_max).await;
        }
        if self.random.one_in(3) {
            self.crash(process, burst, (Crash::Power, false)).await?;
        } else {
            self.crash(process, burst, (Crash::Kill, false)).await?;
            self.forget_the_cache().await;
            self.count("caches_lost");
        }
        let (process, _) = self.start(false).await?;
        self.crash(process, None, (Crash::Kill, false)).await?;
        let verified = self.with_ground(|age| process::verify(&age.ground)).await;
        verified.map_err(|said| self.broken(&said))
    }
}

impl Age {
    fn relieve(&mut self) {
        self.ground.relieve();
    }
}

/// Leaves the partition's number out, which is not known here.
fn without_number(name: &str) -> String {
    let parts = name.split_once(" (number ");
    let parts = parts.and_then(|(before, behind)| Some((before, behind.split_once(')')?.1)));
    parts.map_or_else(
        || name.to_owned(),
        |(before, behind)| [before, behind].concat(),
    )
}

/// The logs of which `/readyz` says that a sync has failed.
async fn poisoned(world: &World) -> Result<BTreeSet<String>, String> {
    let Some((status, text)) = world.http.send(Method::GET, "/readyz", &[], "").await else {
        return Err("the broker does not say how it is".to_owned());
    };
    let said: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let problems = said["problems"].as_array().into_iter().flatten();
    let names: BTreeSet<_> = problems
        .filter_map(|problem| Some(without_number(problem.as_str()?.split_once(FAILED)?.0)))
        .collect();
    if names.is_empty() || status == 503 {
        Ok(names)
    } else {
        Err(format!("ready, and yet: {names:?}"))
    }
}
