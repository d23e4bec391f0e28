//! Test-only switches that end the process at a named place, as a crash would. Builds without debug assertions have none.
//!
//! `REDRIVE_TEST_ABORT=name` aborts when the place is passed for the first time, `name:n` at the n-th time.

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
