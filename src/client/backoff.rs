//! How long to pause between attempts. Pure: the random number is passed in.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// Doubling pauses with an upper end, each a random part of between a half and the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// First pause.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(20),
            longest: Duration::from_secs(2),
        }
    }
}

impl Backoff {
    /// Returns the pause after `failed` attempts that failed in a row, with any number as `random`.
    #[must_use]
    pub fn pause(&self, failed: u32, random: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let whole = self
            .first
            .saturating_mul(1_u32 << doublings)
            .min(self.longest);
        let half = whole / 2;
        // 1024 steps between a half and the whole keep clients apart that failed together.
        let step = u32::try_from(random % 1024).unwrap_or(0);
        half.saturating_add(half.saturating_mul(step) / 1024)
    }
}

/// Draws a number to spread clients with; nothing secret hangs on it.
#[must_use]
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(35),
        };
        let pauses: Vec<_> = (1..=4).map(|n| backoff.pause(n, 0).as_micros()).collect();
        assert_eq!(pauses, [5_000, 10_000, 17_500, 17_500]);
        assert_eq!(backoff.pause(u32::MAX, 0).as_micros(), 17_500);
    }

    #[test]
    fn a_pause_lies_between_a_half_and_the_whole() {
        let backoff = Backoff::default();
        for random in 0..2048 {
            let pause = backoff.pause(1, random);
            assert!(
                pause >= backoff.first / 2 && pause < backoff.first,
                "{random}: {pause:?}"
            );
        }
    }
}
