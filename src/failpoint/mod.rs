//! Test-only switches: places where the process ends as in a crash, and a disk that lies. Builds without debug assertions
//! have none.
//!
//! `REDRIVE_TEST_ABORT=name` aborts when the place is passed for the first time, `name:n` at the n-th time.
//!
//! `REDRIVE_TEST_LIE=site` has the disk report success at every sync, truncation and rename of that [`storage::disk::Site`]
//! and do nothing; `site:text` only where the path has the text in it. `Forget` leaves what memory holds of a file when it is to be read from the disk. A suite that cuts the power shows by it that the site
//! is needed.

use std::sync::Arc;

use storage::disk::{Disk, RealDisk};

#[cfg(debug_assertions)]
mod lie;

/// Returns the system's disk, which lies if the environment says so.
#[cfg(debug_assertions)]
pub(crate) fn disk() -> Arc<dyn Disk> {
    match std::env::var("REDRIVE_TEST_LIE") {
        Ok(text) => Arc::new(lie::LyingDisk::new(&text)),
        Err(_) => Arc::new(RealDisk),
    }
}

/// Returns the system's disk.
#[cfg(not(debug_assertions))]
pub(crate) fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// Aborts the process here if the environment says so.
#[cfg(debug_assertions)]
pub(crate) fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);

    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("REDRIVE_TEST_ABORT").ok()?;
        let (place, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((place.to_owned(), count.parse().unwrap_or(1)))
    });
    if let Some((place, count)) = wanted
        && place == name
        && COUNT.fetch_add(1, Ordering::AcqRel).saturating_add(1) == *count
    {
        std::process::abort();
    }
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn hit(_name: &str) {}
