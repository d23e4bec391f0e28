//! When a schedule fires: a cron expression of five fields in a time zone, `CRON_TZ=Europe/Berlin 30 8 * * MON-FRI`. PURE.
//!
//! Fields are minute, hour, day of month, month and day of week, with `* , - /`, names of months and days, and `L`, `W`
//! and `#`; `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` stand for the usual five. When both days are given,
//! either may match. Without `CRON_TZ=` and a name of the IANA database the time zone is UTC. The database is the machine's,
//! which is kept up to date, or the one that is built in when the machine has none; it is the only thing read here.
//!
//! Where clocks are changed, an expression with one fixed time of day fires once: in the hour that is left out at its end,
//! in the hour that comes twice the first time. All others follow the clock: they skip the one and fire in both of the
//! other.

use std::cmp::Ordering;
use std::fmt;

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{CivilDateTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use storage::offset::TimestampMs;

/// Longest expression, in bytes: an expression that lists every minute and hour, and a zone's name.
pub const SCHEDULE_BYTES_MAX: usize = 512;

const ZONE_PREFIX: &str = "CRON_TZ=";

/// When a schedule fires.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: croner::Cron,
    zone: TimeZone,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// There is too much of it.
    #[error("the cron expression has {bytes} bytes, it may have {SCHEDULE_BYTES_MAX}")]
    TooLong {
        /// How many bytes there are.
        bytes: usize,
    },
    /// The time zone is none.
    #[error(
        "the cron expression {value:?} names the time zone {zone:?}, it must be one of the IANA database, as Europe/Berlin"
    )]
    UnknownZone {
        /// The whole text.
        value: String,
        /// The zone's name.
        zone: String,
    },
    /// The time zone is written as other programs take it.
    #[error(
        "the cron expression {value:?} begins with TZ=, a time zone is written as CRON_TZ={zone}"
    )]
    ZonePrefix {
        /// The whole text.
        value: String,
        /// The zone's name.
        zone: String,
    },
    /// There are too few or too many fields.
    #[error(
        "the cron expression {value:?} has {count} fields, it must have 5: minute, hour, day of month, month, day of week"
    )]
    FieldCount {
        /// The whole text.
        value: String,
        /// How many fields there are.
        count: usize,
    },
    /// A field means nothing.
    #[error(
        "the cron expression {value:?} is not valid ({reason}); minute 0-59, hour 0-23, day 1-31, month 1-12 and weekday 0-7 are, with * , - and /, names as JAN and MON, and L, W and #"
    )]
    Malformed {
        /// The whole text.
        value: String,
        /// What the parser says.
        reason: String,
    },
    /// It has no time that ever comes, such as the 30th of February.
    #[error("the cron expression {value:?} never fires")]
    Never {
        /// The whole text.
        value: String,
    },
}

impl Schedule {
    /// Parses an expression with or without a time zone.
    ///
    /// # Errors
    /// The [`ScheduleError`].
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.len() > SCHEDULE_BYTES_MAX {
            return Err(ScheduleError::TooLong { bytes: text.len() });
        }
        let value = || text.to_owned();
        let (zone, expression) = zone(text)?;
        let count = expression.split_whitespace().count();
        let is_nickname = count == 1 && expression.starts_with('@');
        if count != 5 && !is_nickname {
            return Err(ScheduleError::FieldCount {
                value: value(),
                count,
            });
        }
        let mut fields = expression.split_whitespace();
        if fields.any(|field| field.split(',').any(str::is_empty)) {
            return Err(ScheduleError::Malformed {
                value: value(),
                reason: "a list has a part that is empty".to_owned(),
            });
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed);
        let cron = parser.build().parse(expression);
        let cron = cron.map_err(|error| ScheduleError::Malformed {
            value: value(),
            reason: error.to_string(),
        })?;
        let schedule = Self {
            text: value(),
            cron,
            zone,
        };
        // Whether it ever fires does not depend on when the search begins: the calendar repeats itself.
        match schedule.next_after(TimestampMs(0)) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never { value: value() }),
        }
    }

    /// Returns the text that was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the first time after `time` at which the schedule fires, a whole minute in its time zone. `None` when
    /// there is none that can be told, as at the end of time.
    #[must_use]
    pub fn next_after(&self, time: TimestampMs) -> Option<TimestampMs> {
        // The search goes by seconds: from the second that `time` lies in, to what is after that.
        let time = Timestamp::from_second(time.0.div_euclid(1000)).ok()?;
        let time = Local::new(time.to_zoned_datetime(self.zone.clone())).ok()?;
        let next = self.cron.find_next_occurrence(&time, false).ok()?;
        Some(TimestampMs(next.zoned.timestamp().as_millisecond()))
    }

    /// Returns the last time up to `time` (inclusive) at which the schedule fires; `None` when there is none that can be told.
    #[must_use]
    pub fn last_until(&self, time: TimestampMs) -> Option<TimestampMs> {
        let time = Timestamp::from_second(time.0.div_euclid(1000)).ok()?;
        let time = Local::new(time.to_zoned_datetime(self.zone.clone())).ok()?;
        let last = self.cron.find_previous_occurrence(&time, true).ok()?;
        Some(TimestampMs(last.zoned.timestamp().as_millisecond()))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Splits a text into its time zone and what stands behind it.
fn zone(text: &str) -> Result<(TimeZone, &str), ScheduleError> {
    let text = text.trim();
    if let Some(zoned) = text.strip_prefix("TZ=") {
        let zone = zoned.split_whitespace().next().unwrap_or_default();
        return Err(ScheduleError::ZonePrefix {
            value: text.to_owned(),
            zone: zone.to_owned(),
        });
    }
    let Some(zoned) = text.strip_prefix(ZONE_PREFIX) else {
        return Ok((TimeZone::UTC, text));
    };
    let (name, expression) = zoned.split_once(char::is_whitespace).unwrap_or((zoned, ""));
    let zone = jiff::tz::db().get(name);
    let zone = zone.map_err(|_no_zone| ScheduleError::UnknownZone {
        value: text.to_owned(),
        zone: name.to_owned(),
    })?;
    Ok((zone, expression.trim()))
}

/// A moment in a time zone, as the search wants to see it.
#[derive(Debug, Clone)]
struct Local {
    zoned: ZonedDateTime,
    civil: CivilDateTime,
}

impl Local {
    fn new(zoned: ZonedDateTime) -> Result<Self, CronError> {
        let part = |n: i8| u32::try_from(n).map_err(|_negative| CronError::InvalidDate);
        let civil = CivilDateTime::from_ymd_hms(
            i32::from(zoned.year()),
            part(zoned.month())?,
            part(zoned.day())?,
            part(zoned.hour())?,
            part(zoned.minute())?,
            part(zoned.second())?,
        )?;
        Ok(Self { zoned, civil })
    }
}

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        self.civil
    }

    fn civil_weekday(&self) -> Weekday {
        match self.zoned.weekday() {
            jiff::civil::Weekday::Sunday => Weekday::Sunday,
            jiff::civil::Weekday::Monday => Weekday::Monday,
            jiff::civil::Weekday::Tuesday => Weekday::Tuesday,
            jiff::civil::Weekday::Wednesday => Weekday::Wednesday,
            jiff::civil::Weekday::Thursday => Weekday::Thursday,
            jiff::civil::Weekday::Friday => Weekday::Friday,
            jiff::civil::Weekday::Saturday => Weekday::Saturday,
        }
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let ambiguous = self
            .zoned
            .time_zone()
            .to_ambiguous_zoned_datetime(to_jiff(civil)?);
        let local = |zoned: Result<ZonedDateTime, jiff::Error>| {
            Self::new(zoned.map_err(|_out_of_range| CronError::InvalidTime)?)
        };
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(local(ambiguous.unambiguous())?)
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
            AmbiguousOffset::Fold { .. } => {
                let earlier = local(ambiguous.clone().earlier())?;
                Resolution::Ambiguous(earlier, local(ambiguous.later())?)
            }
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        let later = self
            .zoned
            .checked_add(SignedDuration::from_secs(seconds))
            .ok()?;
        Self::new(later).ok()
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.zoned.timestamp().cmp(&other.zoned.timestamp())
    }
}

fn to_jiff(civil: CivilDateTime) -> Result<DateTime, CronError> {
    let part = |n: u32| i8::try_from(n).map_err(|_too_large| CronError::InvalidDate);
    let year = i16::try_from(civil.year()).map_err(|_too_far| CronError::InvalidDate)?;
    DateTime::new(
        year,
        part(civil.month())?,
        part(civil.day())?,
        part(civil.hour())?,
        part(civil.minute())?,
        part(civil.second())?,
        0,
    )
    .map_err(|_no_date| CronError::InvalidDate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> TimestampMs {
        let time: Timestamp = text.parse().unwrap();
        TimestampMs(time.as_millisecond())
    }

    /// The next times after `from`, as UTC.
    fn times(expression: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(expression).unwrap();
        let next = |time: &TimestampMs| schedule.next_after(*time);
        let fired = std::iter::successors(Some(at(from)), next);
        let text = |time: TimestampMs| {
            let time = Timestamp::from_millisecond(time.0).unwrap();
            time.to_string()
        };
        fired.skip(1).take(count).map(text).collect()
    }

    #[test]
    fn fields_mean_what_cron_says() {
        let from = "2026-11-26T10:17:33.5Z";
        for (expression, expected) in [
            ("* * * * *", "2026-11-26T10:18:00Z"),
            ("*/5 * * * *", "2026-11-26T10:20:00Z"),
            ("0 9 * * *", "2026-11-27T09:00:00Z"),
            ("30 8 * * MON-FRI", "2026-11-27T08:30:00Z"),
            ("0 0 * * 0", "2026-11-29T00:00:00Z"),
            ("0 0 * * 7", "2026-11-29T00:00:00Z"),
            ("0 0 1 JAN *", "2027-01-01T00:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("0 0 L * *", "2026-11-30T00:00:00Z"),
            ("0 0 13 * FRI", "2026-11-27T00:00:00Z"),
            ("15,45 10-11 * * *", "2026-11-26T10:45:00Z"),
            ("@daily", "2026-11-27T00:00:00Z"),
            ("  0  9 * *\t* ", "2026-11-27T09:00:00Z"),
            ("CRON_TZ=America/New_York 0 9 * * *", "2026-11-26T14:00:00Z"),
            ("CRON_TZ=Asia/Kolkata 0 9 * * *", "2026-11-27T03:30:00Z"),
            ("CRON_TZ=UTC 0 9 * * *", "2026-11-27T09:00:00Z"),
        ] {
            assert_eq!(times(expression, from, 1), [expected], "{expression}");
        }
    }

    #[test]
    fn the_next_time_is_strictly_after() {
        let expected = ["2026-11-26T10:05:00Z", "2026-11-26T10:10:00Z"];
        assert_eq!(times("*/5 * * * *", "2026-11-26T10:00:00Z", 2), expected);
        assert_eq!(
            times("*/5 * * * *", "2026-11-26T10:00:00.001Z", 2),
            expected
        );
        let before = "2026-11-26T10:04:59.999Z";
        assert_eq!(times("*/5 * * * *", before, 2), expected);
    }

    #[test]
    fn in_the_hour_that_is_left_out_a_fixed_time_fires_at_its_end() {
        // In Berlin 02:00 to 03:00 of 2027-03-28 does not exist: 03:00 is 01:00 UTC.
        let fixed = times(
            "CRON_TZ=Europe/Berlin 30 2 * * *",
            "2027-03-26T12:00:00Z",
            3,
        );
        let expected = [
            "2027-03-27T01:30:00Z",
            "2027-03-28T01:00:00Z",
            "2027-03-29T00:30:00Z",
        ];
        assert_eq!(fixed, expected);
        let half_hours = times(
            "CRON_TZ=Europe/Berlin */30 * * * *",
            "2027-03-28T00:00:00Z",
            3,
        );
        let expected = [
            "2027-03-28T00:30:00Z",
            "2027-03-28T01:00:00Z",
            "2027-03-28T01:30:00Z",
        ];
        assert_eq!(half_hours, expected);
        let in_the_gap = times(
            "CRON_TZ=Europe/Berlin */30 2 * * *",
            "2027-03-27T02:00:00Z",
            1,
        );
        assert_eq!(in_the_gap, ["2027-03-29T00:00:00Z"]);
    }

    #[test]
    fn in_the_hour_that_comes_twice_a_fixed_time_fires_once() {
        // In Berlin 02:00 to 03:00 of 2026-10-25 is 00:00 to 01:00 UTC and again 01:00 to 02:00.
        let fixed = times(
            "CRON_TZ=Europe/Berlin 30 2 * * *",
            "2026-10-24T12:00:00Z",
            2,
        );
        assert_eq!(fixed, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let half_hours = times(
            "CRON_TZ=Europe/Berlin */30 * * * *",
            "2026-10-24T23:45:00Z",
            5,
        );
        let expected = [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:00:00Z",
        ];
        assert_eq!(half_hours, expected);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_value() {
        for (text, expected) in [
            ("", "has 0 fields, it must have 5"),
            ("* * * *", "has 4 fields"),
            ("0 * * * * *", "has 6 fields"),
            ("* * * * * * *", "has 7 fields"),
            ("CRON_TZ=UTC", "has 0 fields"),
            (
                "CRON_TZ=Mars/Phobos * * * * *",
                "the time zone \"Mars/Phobos\"",
            ),
            ("CRON_TZ= * * * * *", "the time zone \"\""),
            ("TZ=UTC * * * * *", "is written as CRON_TZ=UTC"),
            ("60 * * * *", "is not valid"),
            ("* 24 * * *", "is not valid"),
            ("* * 0 * *", "is not valid"),
            ("* * * 13 *", "is not valid"),
            ("* * * * 8", "is not valid"),
            ("*/0 * * * *", "is not valid"),
            ("5-1 * * * *", "is not valid"),
            ("a * * * *", "is not valid"),
            ("@every", "is not valid"),
            ("@every 5m", "has 2 fields"),
            ("1,2,,3 * * * *", "a part that is empty"),
            ("1, * * * *", "a part that is empty"),
            ("0 0 30 2 *", "never fires"),
        ] {
            let told = Schedule::parse(text)
                .map(|s| s.to_string())
                .unwrap_err()
                .to_string();
            assert!(told.contains(expected), "{text:?}: {told}");
            assert!(told.contains(&format!("{text:?}")), "{text:?}: {told}");
        }
        let bytes = SCHEDULE_BYTES_MAX + 1;
        let told = Schedule::parse(&"*".repeat(bytes)).unwrap_err();
        assert_eq!(told, ScheduleError::TooLong { bytes });
    }

    #[test]
    fn every_minute_and_hour_can_be_listed() {
        let list = |to: u32| {
            (0..=to)
                .map(|n| n.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        let text = format!(
            "CRON_TZ=America/Argentina/ComodRivadavia {} {} * * *",
            list(59),
            list(23)
        );
        assert!(Schedule::parse(&text).is_ok(), "{} bytes", text.len());
    }

    #[test]
    fn at_the_ends_of_time_there_is_no_next() {
        let schedule = Schedule::parse("* * * * *").unwrap();
        assert_eq!(schedule.next_after(TimestampMs(i64::MAX)), None);
        assert_eq!(schedule.next_after(TimestampMs(i64::MIN)), None);
    }

    proptest! {
        #[test]
        fn the_next_time_is_a_minute_after_now_and_none_lies_between(
            minute in 0..60_u8, step in 1..60_u8, from in 0..4_000_000_000_000_i64,
        ) {
            for zone in ["UTC", "America/New_York", "Australia/Lord_Howe"] {
                let text = format!("CRON_TZ={zone} {minute}/{step} * * * *").replace(&format!("{minute}/"), &format!("{minute}-59/"));
                let schedule = Schedule::parse(&text).unwrap();
                let next = schedule.next_after(TimestampMs(from)).unwrap();
                prop_assert!(next.0 > from && next.0 % 60_000 == 0, "{}", text);
                // At most an hour, and half an hour that is left out.
                prop_assert!(next.0 - from <= 5_400_000 + 60_000, "{}", text);
                let just_before = schedule.next_after(TimestampMs(next.0 - 1)).unwrap();
                prop_assert_eq!(just_before, next);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "(CRON_TZ=UTC )?([-*/,0-9LW#+?]{1,4} ){4}[-*/,0-9L#+?]{1,4}|\\PC{0,40}", from in any::<i64>()) {
            if let Ok(schedule) = Schedule::parse(&text) {
                prop_assert_eq!(schedule.as_str(), &text);
                if let Some(next) = schedule.next_after(TimestampMs(from)) {
                    prop_assert!(next.0 > from);
                }
            }
        }
    }
}
