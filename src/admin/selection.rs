//! Which dead letters a body means. PURE. A selection is never empty by accident: what touches everything says
//! `"all": true`.

use serde::Deserialize;
use utoipa::ToSchema;

use super::arguments::{DispositionArgument, Time, order};
use crate::http::ApiError;
use crate::limits::LETTER_IDS_PER_CALL_MAX;
use crate::protocol::selection::{LetterFilter, Page, Selection};

/// Which letters to resolve: by ids, or those that match the fields, or all. At most a page is resolved by one request.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LetterSelection {
    /// These, at most 10,000.
    #[serde(default)]
    ids: Vec<String>,
    /// All that are live. Takes no ids and no fields.
    #[serde(default)]
    all: bool,
    /// Groups that rejected.
    #[serde(default)]
    groups: Vec<String>,
    /// Fingerprints.
    #[serde(default)]
    fingerprints: Vec<String>,
    /// Dispositions, by name or number.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    dispositions: Vec<DispositionArgument>,
    /// HTTP statuses of the last attempt.
    #[serde(default)]
    statuses: Vec<u16>,
    /// Destination URLs.
    #[serde(default)]
    urls: Vec<String>,
    /// Labels.
    #[serde(default)]
    labels: Vec<String>,
    /// Message ids.
    #[serde(default)]
    message_ids: Vec<String>,
    /// Who published them.
    #[serde(default)]
    callers: Vec<String>,
    /// URL groups that they were published to.
    #[serde(default)]
    url_groups: Vec<String>,
    /// Names of endpoints in URL groups.
    #[serde(default)]
    endpoints: Vec<String>,
    /// Queues.
    #[serde(default)]
    queues: Vec<String>,
    /// Ids of the schedules that published them.
    #[serde(default)]
    schedules: Vec<String>,
    /// Flow-control keys.
    #[serde(default)]
    flow_control_keys: Vec<String>,
    /// Earliest time of death (inclusive): milliseconds since 1970, or RFC 3339.
    #[schema(value_type = Option<String>)]
    died_from: Option<Time>,
    /// Latest time of death (exclusive).
    #[schema(value_type = Option<String>)]
    died_to: Option<Time>,
    /// `oldest_first` (the default) or `newest_first`.
    order: Option<String>,
    /// Where to go on: the cursor of the answer before. Order and fields must stay the same.
    cursor: Option<String>,
    /// Letters at most, 1 to 20,000; 10,000 if not given.
    limit: Option<u32>,
    /// Names this request in the log, for people.
    request_id: Option<String>,
}

impl LetterSelection {
    /// Checks that it says clearly which letters are meant.
    pub(super) fn resolve(self) -> Result<(Selection, Page, Option<String>), ApiError> {
        let filter = LetterFilter {
            groups: self.groups,
            fingerprints: self.fingerprints,
            dispositions: self
                .dispositions
                .iter()
                .map(DispositionArgument::resolve)
                .collect::<Result<_, _>>()?,
            urls: self.urls,
            labels: self.labels,
            message_ids: self.message_ids,
            callers: self.callers,
            url_groups: self.url_groups,
            endpoints: self.endpoints,
            queues: self.queues,
            schedules: self.schedules,
            flow_control_keys: self.flow_control_keys,
            statuses: self.statuses,
            died_from: self
                .died_from
                .map(|time| time.resolve("died_from"))
                .transpose()?,
            died_to: self
                .died_to
                .map(|time| time.resolve("died_to"))
                .transpose()?,
        };
        let has_fields = filter != LetterFilter::default();
        let selection = match (self.ids.is_empty(), has_fields, self.all) {
            (true, false, true) => Selection::All,
            (true, true, false) => Selection::Filter(filter),
            (false, false, false) => Selection::Ids(self.ids),
            (true, false, false) => {
                return Err(ApiError::bad_request(
                    "say which dead letters: \"ids\", a field such as \"groups\", or \"all\": true",
                ));
            }
            (_, _, true) => {
                return Err(ApiError::bad_request(
                    "\"all\": true takes no ids and no fields",
                ));
            }
            (false, true, false) => {
                return Err(ApiError::bad_request("give \"ids\" or fields, not both"));
            }
        };
        if matches!(selection, Selection::Ids(_)) && self.cursor.is_some() {
            return Err(ApiError::bad_request(
                "\"ids\" take no \"cursor\": they are one page",
            ));
        }
        let order = self.order.as_deref().map(order).transpose()?;
        let page = Page {
            order: order.unwrap_or_default(),
            limit: self.limit.unwrap_or(LETTER_IDS_PER_CALL_MAX),
            cursor: self.cursor,
        };
        Ok((selection, page, self.request_id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn resolve(body: &str) -> Result<Selection, String> {
        let selection: LetterSelection =
            serde_json::from_str(body).map_err(|error| error.to_string())?;
        let resolved = selection.resolve();
        resolved
            .map(|(selection, ..)| selection)
            .map_err(|error| error.message)
    }

    #[test]
    fn nothing_is_selected_by_saying_nothing() {
        for body in [
            "{}",
            r#"{"all": false}"#,
            r#"{"ids": []}"#,
            r#"{"groups": [], "statuses": []}"#,
            r#"{"died_from": null}"#,
            r#"{"limit": 5, "request_id": "r"}"#,
        ] {
            let error = resolve(body).unwrap_err();
            assert!(error.contains("\"all\": true"), "{body}: {error}");
        }
        assert_eq!(resolve(r#"{"all": true}"#).unwrap(), Selection::All);
    }

    #[test]
    fn a_selection_is_of_one_kind() {
        for body in [
            r#"{"all": true, "ids": ["a"]}"#,
            r#"{"all": true, "groups": ["g"]}"#,
            r#"{"ids": ["a"], "groups": ["g"]}"#,
            r#"{"ids": ["a"], "cursor": "c"}"#,
            r#"{"groups": "g"}"#,
            r#"{"all": 1}"#,
        ] {
            assert!(resolve(body).is_err(), "{body}");
        }
        let body = r#"{"dispositions": ["rejected", 2], "died_from": "1970-01-01T00:00:01Z", "died_to": 2000}"#;
        let Selection::Filter(filter) = resolve(body).unwrap() else {
            panic!("no filter");
        };
        assert_eq!(filter.dispositions, [3, 2]);
        assert_eq!(filter.died_from.unwrap().0, 1000);
        assert_eq!(filter.died_to.unwrap().0, 2000);
    }
}
