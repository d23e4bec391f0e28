//! How much a suite does, and the line that says what it did.
//!
//! Run by `cargo test`, a suite does its fixed merge-sized set with seed 1. With `REDRIVE_HOLD_FOR=90s` (or `30m`, `2h`) it goes on
//! until that time is over, from a seed of its own; `REDRIVE_TEST_SEED=n` gives the seed in both. At its end a suite prints one
//! line and appends it to `hold.txt` in the build's temporary directory; `.ci/hold` runs the suites and shows the lines.
//!
//! A suite that fails prints its seed and the command that repeats it before it panics: [`Hold::replay`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One run of one suite.
#[derive(Debug)]
pub(crate) struct Hold {
    suite: &'static str,
    seed: u64,
    started: Instant,
    until: Option<Instant>,
    counts: BTreeMap<&'static str, u64>,
}

impl Hold {
    /// Begins a suite. The name is the test binary's and, after a slash, the test's.
    pub(crate) fn begin(suite: &'static str) -> Self {
        let started = Instant::now();
        let long = std::env::var("REDRIVE_HOLD_FOR").ok().map(|text| {
            duration(&text).unwrap_or_else(|| {
                panic!("REDRIVE_HOLD_FOR is {text:?}, but must be a number with s, m or h")
            })
        });
        let seed = match std::env::var("REDRIVE_TEST_SEED") {
            Ok(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("REDRIVE_TEST_SEED is {text:?}, but must be a number")),
            Err(_) if long.is_none() => 1,
            Err(_) => entropy(),
        };
        eprintln!("{suite}: seed {seed}");
        Self {
            suite,
            seed,
            started,
            until: long.map(|long| started + long),
            counts: BTreeMap::new(),
        }
    }

    /// The seed that everything random in this run comes from.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether this is a long run, bounded by time alone.
    #[allow(dead_code, reason = "not every suite asks")]
    pub(crate) fn is_long(&self) -> bool {
        self.until.is_some()
    }

    /// Whether another round is to be done after `done` of them: until the time is over, or `merge` rounds in the merge-sized set.
    pub(crate) fn goes_on(&self, done: u64, merge: u64) -> bool {
        match self.until {
            Some(until) => Instant::now() < until,
            None => done < merge,
        }
    }

    /// Adds to one of the numbers of the closing line.
    pub(crate) fn count(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }

    /// What repeats one round of this run.
    pub(crate) fn replay(&self, seed: u64) -> String {
        let (binary, test) = self.suite.split_once('/').unwrap_or((self.suite, ""));
        format!("REDRIVE_TEST_SEED={seed} cargo test --workspace --test {binary} {test}")
    }

    /// Prints the closing line, and keeps it.
    pub(crate) fn end(self, target_tmp: &str) {
        let mut line = format!("hold: {}", self.suite);
        for (what, count) in &self.counts {
            write!(line, " {what}={count}").expect("a string takes everything");
        }
        write!(
            line,
            " seed={} seconds={} commit={}",
            self.seed,
            self.started.elapsed().as_secs(),
            commit()
        )
        .expect("a string takes everything");
        eprintln!("{line}");
        let kept = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(Path::new(target_tmp).join("hold.txt"))
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        kept.expect("the build's temporary directory takes a line");
    }
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a long run starts from a seed that nobody has chosen"
)]
fn entropy() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock stands after 1970");
    u64::from(now.subsec_nanos()) << 20 | u64::from(std::process::id() & 0xf_ffff)
}

fn commit() -> String {
    let asked = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    match asked {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}
