//! Which letters a filter takes, and by what its hash tells it from others.

use proptest::prelude::*;

use super::*;
use crate::dead_letter::fingerprint::Fingerprint;
use crate::dead_letter::letter::{Destination, Disposition, Receiver};

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn a_filter_takes_any_value_of_a_field_and_needs_every_field() {
    let letter = letter((1, 0, 2, 2, 0, 5));
    let group = |groups: &[&str]| LetterFilter {
        groups: texts(groups),
        ..Default::default()
    };
    assert!(LetterFilter::default().matches(&letter) && LetterFilter::default().is_empty());
    assert!(group(&["other", "group-1"]).matches(&letter) && !group(&["other"]).matches(&letter));
    let both = |status| LetterFilter {
        statuses: vec![status],
        ..group(&["group-1"])
    };
    assert!(both(502).matches(&letter) && !both(503).matches(&letter));
    let labels = LetterFilter {
        labels: texts(&["label-1"]),
        ..Default::default()
    };
    assert!(labels.matches(&letter), "one of several labels is enough");
    let urls = LetterFilter {
        urls: texts(&["group-1"]),
        ..Default::default()
    };
    assert!(!urls.matches(&letter), "a group is no url");
}

#[test]
fn each_part_of_a_destination_is_asked_for_by_its_own_field() {
    let mut letter = letter((3, 0, 2, 2, 0, 5));
    letter.receiver = Receiver::Destination(Destination {
        url: "1".to_owned(),
        method: "POST".to_owned(),
        url_group: Some("2".to_owned()),
        endpoint: Some("3".to_owned()),
        queue: Some("4".to_owned()),
        schedule: Some("5".to_owned()),
        flow_control_key: Some("6".to_owned()),
    });
    let mut other = letter.clone();
    other.receiver = Receiver::Destination(Destination {
        url: "1".to_owned(),
        ..Destination::default()
    });
    for (field, filter) in [
        part(|f| &mut f.urls),
        part(|f| &mut f.url_groups),
        part(|f| &mut f.endpoints),
        part(|f| &mut f.queues),
        part(|f| &mut f.schedules),
        part(|f| &mut f.flow_control_keys),
    ]
    .iter()
    .enumerate()
    {
        for asked in 1..=6 {
            let filter = filter(&asked.to_string());
            assert_eq!(filter.matches(&letter), asked == field + 1, "{filter:?}");
            assert_eq!(filter.matches(&other), asked == 1 && field == 0);
        }
    }
}

/// Makes filters that ask for one value of one field.
fn part(field: fn(&mut LetterFilter) -> &mut Vec<String>) -> impl Fn(&str) -> LetterFilter {
    move |value| {
        let mut filter = LetterFilter::default();
        field(&mut filter).push(value.to_owned());
        filter
    }
}

#[test]
fn deaths_are_taken_from_the_first_time_and_below_the_second() {
    let between = |from, to| LetterFilter {
        died_from: Some(TimestampMs(from)),
        died_to: Some(TimestampMs(to)),
        ..Default::default()
    };
    let letter = letter((0, 0, 0, 0, 0, 5));
    assert!(between(5, 6).matches(&letter));
    assert!(!between(4, 5).matches(&letter) && !between(6, 7).matches(&letter));
}

#[test]
fn the_hash_tells_fields_and_values_apart_but_not_their_order() {
    let groups = |values: &[&str]| LetterFilter {
        groups: texts(values),
        ..Default::default()
    };
    assert_eq!(groups(&["a", "b"]).hash(), groups(&["b", "a", "b"]).hash());
    let disposition = Disposition(1);
    let filters = [
        LetterFilter::default(),
        groups(&["a"]),
        groups(&["a", "b"]),
        groups(&["ab"]),
        LetterFilter {
            urls: texts(&["a"]),
            ..Default::default()
        },
        LetterFilter {
            labels: texts(&["a"]),
            ..Default::default()
        },
        LetterFilter {
            message_ids: texts(&["a"]),
            ..Default::default()
        },
        LetterFilter {
            callers: texts(&["a"]),
            ..Default::default()
        },
        part(|f| &mut f.url_groups)("a"),
        part(|f| &mut f.endpoints)("a"),
        part(|f| &mut f.queues)("a"),
        part(|f| &mut f.schedules)("a"),
        part(|f| &mut f.flow_control_keys)("a"),
        LetterFilter {
            statuses: vec![97],
            ..Default::default()
        },
        LetterFilter {
            dispositions: vec![disposition],
            ..Default::default()
        },
        LetterFilter {
            fingerprints: vec![Fingerprint {
                version: 1,
                hash: 1,
            }],
            ..Default::default()
        },
        LetterFilter {
            died_from: Some(TimestampMs(1)),
            ..Default::default()
        },
        LetterFilter {
            died_to: Some(TimestampMs(1)),
            ..Default::default()
        },
    ];
    for (at, one) in filters.iter().enumerate() {
        for other in &filters[..at] {
            assert_ne!(one.hash(), other.hash(), "{one:?} and {other:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_filter_from_a_letter_matches_it(seeds in seeds(), filter in filters()) {
        let letter = letter(seeds);
        let copy = LetterFilter {
            dispositions: vec![letter.disposition],
            fingerprints: vec![letter.fingerprint],
            labels: letter.labels.clone(),
            message_ids: letter.message_id.clone().into_iter().collect(),
            callers: letter.caller.clone().into_iter().collect(),
            statuses: letter.history.filed_status().into_iter().collect(),
            died_from: Some(letter.died_at),
            ..Default::default()
        };
        prop_assert!(copy.matches(&letter));
        let both = LetterFilter { died_to: Some(letter.died_at), ..filter };
        prop_assert!(!both.matches(&letter), "a death at the end is behind it");
    }
}
