//! Headers of answers, which destinations write: whatever they ask for, the wait before a retry is bounded.

use redrive::delivery::DAY_MS;
use redrive::delivery::retry::{delay_ms, told_delay_ms};

use super::input::NOW;

const NAMES: [&str; 4] = [
    "Retry-After",
    "X-RateLimit-Reset",
    "x-ratelimit-reset-requests",
    "X-RATELIMIT-RESET-TOKENS",
];

/// Takes each line for a header: its first byte says which, the rest is the value.
pub fn run(data: &[u8]) {
    let mut headers = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((which, value)) = line.split_first() else {
            continue;
        };
        let name = NAMES[usize::from(*which) % NAMES.len()];
        headers.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
    }
    let told = told_delay_ms(&headers, NOW);
    assert!(told.is_none_or(|told| told <= DAY_MS), "{told:?}");
    for random in [0, u64::MAX / 2, u64::MAX] {
        let delay = delay_ms(&headers, None, 1, NOW, random);
        assert!(delay <= DAY_MS + DAY_MS / 10, "{delay}");
        assert!(told.is_none_or(|told| (told..=told + told / 10).contains(&delay)));
    }
}
