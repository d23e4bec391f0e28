//! Which messages: those that match every field that is given, and one value of each. PURE.

use storage::delivery::Envelope;
use storage::offset::TimestampMs;

/// What messages are like. Fields without values match all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageFilter {
    /// Message ids.
    pub message_ids: Vec<String>,
    /// Destination URLs, whole.
    pub urls: Vec<String>,
    /// Hosts of the destination URL, with or without the port.
    pub hosts: Vec<String>,
    /// Paths of the destination URL, without its query.
    pub paths: Vec<String>,
    /// URL groups.
    pub url_groups: Vec<String>,
    /// Queues.
    pub queues: Vec<String>,
    /// Schedules.
    pub schedules: Vec<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// Flow-control keys.
    pub flow_keys: Vec<String>,
    /// Addresses of the publisher.
    pub caller_ips: Vec<String>,
    /// Earliest time of publishing (inclusive).
    pub created_from: Option<TimestampMs>,
    /// Latest time of publishing (inclusive).
    pub created_to: Option<TimestampMs>,
}

impl MessageFilter {
    /// Returns whether a message matches.
    #[must_use]
    pub fn matches(&self, id: &str, envelope: &Envelope, created_at: TimestampMs) -> bool {
        let flow_key = envelope.flow.as_ref().map(|flow| flow.key.as_str());
        has(&self.message_ids, Some(id))
            && has(&self.urls, Some(&envelope.url))
            && has(&self.url_groups, envelope.url_group.as_deref())
            && has(&self.queues, envelope.queue.as_deref())
            && has(&self.schedules, envelope.schedule.as_deref())
            && has(&self.flow_keys, flow_key)
            && has(&self.caller_ips, envelope.caller_ip.as_deref())
            && (self.labels.is_empty() || envelope.labels.iter().any(|l| self.labels.contains(l)))
            && self.has_place(&envelope.url)
            && self.created_from.is_none_or(|from| created_at >= from)
            && self.created_to.is_none_or(|to| created_at <= to)
    }

    fn has_place(&self, url: &str) -> bool {
        if self.hosts.is_empty() && self.paths.is_empty() {
            return true;
        }
        let Some((authority, path)) = places(url) else {
            return false;
        };
        let host = without_port(authority);
        let has_host = |wanted: &String| {
            wanted.eq_ignore_ascii_case(authority) || wanted.eq_ignore_ascii_case(host)
        };
        (self.hosts.is_empty() || self.hosts.iter().any(has_host)) && has(&self.paths, Some(path))
    }
}

fn has(wanted: &[String], found: Option<&str>) -> bool {
    wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|one| one == found))
}

/// Returns the authority of a URL without the user, and its path; `/` if it has none.
fn places(url: &str) -> Option<(&str, &str)> {
    let (_, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let path = rest.get(..end).unwrap_or_default();
    Some((authority, if path.is_empty() { "/" } else { path }))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::delivery::FlowControl;

    const NOW: TimestampMs = TimestampMs(1000);

    fn envelope() -> Envelope {
        Envelope {
            url: "https://user@Example.org:8443/a/b?x=/y".to_owned(),
            labels: vec!["one".to_owned(), "two".to_owned()],
            queue: Some("q".to_owned()),
            url_group: Some("g".to_owned()),
            schedule: Some("s".to_owned()),
            flow: Some(FlowControl {
                key: "k".to_owned(),
                ..FlowControl::default()
            }),
            caller_ip: Some("10.0.0.1".to_owned()),
            ..Envelope::default()
        }
    }

    #[test]
    fn each_field_matches_one_of_its_values_and_nothing_else() {
        type Field = fn(&mut MessageFilter) -> &mut Vec<String>;
        let fields: [(Field, &[&str]); 10] = [
            (|f| &mut f.message_ids, &["id"]),
            (|f| &mut f.urls, &["https://user@Example.org:8443/a/b?x=/y"]),
            (|f| &mut f.hosts, &["example.org", "example.org:8443"]),
            (|f| &mut f.paths, &["/a/b"]),
            (|f| &mut f.url_groups, &["g"]),
            (|f| &mut f.queues, &["q"]),
            (|f| &mut f.schedules, &["s"]),
            (|f| &mut f.labels, &["one", "two"]),
            (|f| &mut f.flow_keys, &["k"]),
            (|f| &mut f.caller_ips, &["10.0.0.1"]),
        ];
        for (field, values) in fields {
            for value in values {
                let mut filter = MessageFilter::default();
                field(&mut filter).extend(["other".to_owned(), (*value).to_owned()]);
                assert!(filter.matches("id", &envelope(), NOW), "{filter:?}");
                assert!(
                    !filter.matches("ix", &Envelope::default(), NOW),
                    "{filter:?}"
                );
                field(&mut filter).pop();
                assert!(!filter.matches("id", &envelope(), NOW), "{filter:?}");
            }
        }
    }

    #[test]
    fn all_fields_must_match_and_times_are_inclusive() {
        let filter = MessageFilter {
            queues: vec!["q".to_owned()],
            created_from: Some(NOW),
            created_to: Some(NOW),
            ..MessageFilter::default()
        };
        assert!(filter.matches("id", &envelope(), NOW));
        assert!(!filter.matches("id", &envelope(), TimestampMs(999)));
        assert!(!filter.matches("id", &envelope(), TimestampMs(1001)));
        assert!(!filter.matches("id", &Envelope::default(), NOW));
        assert!(MessageFilter::default().matches("id", &Envelope::default(), NOW));
    }

    #[test]
    fn places_of_urls() {
        for (url, expected) in [
            ("http://h", Some(("h", "/"))),
            ("http://h?x=/y", Some(("h", "/"))),
            ("http://h#/y", Some(("h", "/"))),
            ("http://h:1//a//b", Some(("h:1", "//a//b"))),
            ("http://[::1]:80/a", Some(("[::1]:80", "/a"))),
            ("h/a", None),
        ] {
            assert_eq!(places(url), expected, "{url}");
        }
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("[::1]:80"), "[::1]");
    }
}
