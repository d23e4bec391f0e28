//! Cron expressions that strangers write: any text is a schedule or refused, and a schedule's times go on, minute by minute.

use redrive::delivery::cron::{SCHEDULE_BYTES_MAX, Schedule};
use storage::offset::TimestampMs;

use super::input::NOW;

const MINUTE_MS: i64 = 60_000;

/// Takes the bytes for the text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(error) => return assert!(error.to_string().len() < 4 * SCHEDULE_BYTES_MAX + 1_000),
    };
    assert!(text.len() <= SCHEDULE_BYTES_MAX);
    assert_eq!(schedule.as_str(), text);
    let mut time = NOW;
    for _ in 0..3 {
        let Some(next) = schedule.next_after(time) else {
            return;
        };
        assert!(next > time, "{next} is not after {time}");
        // Zones have been whole minutes away from each other for a century.
        assert_eq!(next.0 % MINUTE_MS, 0, "{next} is within a minute");
        if let Some(last) = schedule.last_until(next) {
            assert!(
                last <= next && last >= TimestampMs(next.0 - MINUTE_MS),
                "{last} {next}"
            );
        }
        time = next;
    }
}
