//! Retrying and deleting dead letters, by ids, by fields, or all. A selection is never empty by accident: what touches
//! everything says `"all": true`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::arguments::{DispositionArgument, Time, order};
use super::call::{Answer, Call, ok};
use super::error::refused;
use super::openapi::ErrorAnswer;
use crate::http::ApiError;
use crate::limits::LETTERS_PER_CALL_MAX;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::resolve_letters::{DeleteLettersRequest, Republished, RetryLettersRequest};
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
    /// Letters at most, 1 to 10,000; 10,000 if not given.
    limit: Option<u32>,
    /// Names this request in the log, for people.
    request_id: Option<String>,
}

/// What can be said when one letter is retried.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryOptions {
    /// Names this request in the log, for people.
    request_id: Option<String>,
}

/// What became of the letters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Retried {
    /// Letters that this request republished.
    republished_count: usize,
    /// Letters that an earlier or a concurrent request had republished.
    repeated_count: usize,
    /// Letters that could not be republished.
    failed_count: usize,
    /// The letters, in the order of the selection.
    letters: Vec<RetriedLetter>,
    /// Where to go on; null when this was all.
    cursor: Option<String>,
}

/// What became of one letter: its fresh record, or why there is none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RetriedLetter {
    /// Id of the letter.
    id: String,
    /// Whether this request republished it, and not an earlier or a concurrent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_new: Option<bool>,
    /// Message id of the fresh record.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// Index of the fresh record's partition within the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    /// Offset of the fresh record.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// Why it was not republished.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What became of the letters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Deleted {
    /// Letters that this request deleted.
    deleted_count: usize,
    /// Letters that an earlier or a concurrent request had deleted.
    repeated_count: usize,
    /// Letters that could not be deleted.
    failed_count: usize,
    /// The letters, in the order of the selection.
    letters: Vec<DeletedLetter>,
    /// Where to go on; null when this was all.
    cursor: Option<String>,
}

/// What became of one letter.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedLetter {
    /// Id of the letter.
    id: String,
    /// Whether this request deleted it, and not an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_new: Option<bool>,
    /// Why it was not deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
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
            limit: self.limit.unwrap_or(LETTERS_PER_CALL_MAX),
            cursor: self.cursor,
        };
        Ok((selection, page, self.request_id))
    }
}

impl RetriedLetter {
    fn new(id: String, result: Result<Republished, Refusal>) -> Self {
        match result {
            Ok(republished) => Self {
                id,
                is_new: Some(republished.is_new),
                message_id: Some(republished.message_id),
                partition: Some(republished.partition),
                offset: Some(republished.offset.0),
                error: None,
            },
            Err(refusal) => Self {
                id,
                is_new: None,
                message_id: None,
                partition: None,
                offset: None,
                error: Some(refusal.message),
            },
        }
    }
}

impl DeletedLetter {
    fn new(id: String, result: Result<bool, Refusal>) -> Self {
        match result {
            Ok(is_new) => Self {
                id,
                is_new: Some(is_new),
                error: None,
            },
            Err(refusal) => Self {
                id,
                is_new: None,
                error: Some(refusal.message),
            },
        }
    }
}

/// Counts what is new, what is a repeat, and what failed.
fn count<'a>(outcomes: impl Iterator<Item = &'a Option<bool>>) -> (usize, usize, usize) {
    outcomes.fold(
        (0, 0, 0),
        |(new, repeated, failed), outcome| match outcome {
            Some(true) => (new + 1, repeated, failed),
            Some(false) => (new, repeated + 1, failed),
            None => (new, repeated, failed + 1),
        },
    )
}

/// Republishes dead letters, each exactly once whoever asks how often. Answered when the fresh records are synced.
#[utoipa::path(post, path = "/admin/v1/topics/{topic}/dead-letters/retry", tag = "dead letters", operation_id = "retry_dead_letters",
    params(("topic" = String, Path, description = "The topic's name")), request_body = LetterSelection, responses(
    (status = 200, body = Retried), (status = "4XX", body = ErrorAnswer)))]
pub(super) async fn retry(call: Call) -> Answer {
    let (selection, page, request_id) = call.json::<LetterSelection>()?.resolve()?;
    let request = RetryLettersRequest {
        topic: call.param("topic"),
        selection,
        page,
        request_id,
    };
    let answer = call.broker.retry_letters(request, call.who).await;
    let answer = answer.map_err(|refusal| refused(&refusal))?;
    let letters = answer
        .letters
        .into_iter()
        .map(|(id, result)| RetriedLetter::new(id, result));
    let letters: Vec<_> = letters.collect();
    let (republished_count, repeated_count, failed_count) =
        count(letters.iter().map(|letter| &letter.is_new));
    ok(&Retried {
        republished_count,
        repeated_count,
        failed_count,
        letters,
        cursor: answer.cursor,
    })
}

/// Deletes dead letters. Answered when that is synced.
#[utoipa::path(post, path = "/admin/v1/topics/{topic}/dead-letters/delete", tag = "dead letters", operation_id = "delete_dead_letters",
    params(("topic" = String, Path, description = "The topic's name")), request_body = LetterSelection, responses(
    (status = 200, body = Deleted), (status = "4XX", body = ErrorAnswer)))]
pub(super) async fn delete(call: Call) -> Answer {
    let (selection, page, request_id) = call.json::<LetterSelection>()?.resolve()?;
    let request = DeleteLettersRequest {
        topic: call.param("topic"),
        selection,
        page,
        request_id,
    };
    let answer = call.broker.delete_letters(request, call.who).await;
    let answer = answer.map_err(|refusal| refused(&refusal))?;
    let letters = answer
        .letters
        .into_iter()
        .map(|(id, result)| DeletedLetter::new(id, result));
    let letters: Vec<_> = letters.collect();
    let (deleted_count, repeated_count, failed_count) =
        count(letters.iter().map(|letter| &letter.is_new));
    ok(&Deleted {
        deleted_count,
        repeated_count,
        failed_count,
        letters,
        cursor: answer.cursor,
    })
}

/// Republishes one dead letter. Asked again, it answers with the same fresh record.
#[utoipa::path(post, path = "/admin/v1/dead-letters/{id}/retry", tag = "dead letters", operation_id = "retry_dead_letter",
    params(("id" = String, Path, description = "The letter's id")), request_body = Option<RetryOptions>, responses(
    (status = 200, body = RetriedLetter), (status = "4XX", body = ErrorAnswer)))]
pub(super) async fn retry_one(call: Call) -> Answer {
    let RetryOptions { request_id } = call.json()?;
    let (topic, selection, page) = one(&call).await?;
    let request = RetryLettersRequest {
        topic,
        selection,
        page,
        request_id,
    };
    let answer = Arc::clone(&call.broker)
        .retry_letters(request, call.who)
        .await;
    let (id, result) = only(answer.map(|answer| answer.letters))?;
    result.as_ref().map_err(refused)?;
    ok(&RetriedLetter::new(id, result))
}

/// Deletes one dead letter.
#[utoipa::path(delete, path = "/admin/v1/dead-letters/{id}", tag = "dead letters", operation_id = "delete_dead_letter",
    params(("id" = String, Path, description = "The letter's id"),
        ("request_id" = Option<String>, Query, description = "Names this request in the log, for people")), responses(
    (status = 200, body = DeletedLetter), (status = "4XX", body = ErrorAnswer)))]
pub(super) async fn delete_one(call: Call) -> Answer {
    let request_id = call.query.one("request_id")?.map(str::to_owned);
    let (topic, selection, page) = one(&call).await?;
    let request = DeleteLettersRequest {
        topic,
        selection,
        page,
        request_id,
    };
    let answer = Arc::clone(&call.broker)
        .delete_letters(request, call.who)
        .await;
    let (id, result) = only(answer.map(|answer| answer.letters))?;
    result.as_ref().map_err(refused)?;
    ok(&DeletedLetter::new(id, result))
}

/// Selects the letter that the path names.
async fn one(call: &Call) -> Result<(String, Selection, Page), ApiError> {
    let id = call.param("id");
    let selection = Selection::Ids(vec![id.clone()]);
    let topic = call
        .blocking(move |broker| broker.topic_of_letter(&id))
        .await?;
    Ok((
        topic,
        selection,
        Page::first(crate::protocol::selection::Order::OldestFirst, 1),
    ))
}

fn only<T>(letters: Result<Vec<(String, T)>, Refusal>) -> Result<(String, T), ApiError> {
    let letters = letters.map_err(|refusal| refused(&refusal))?;
    letters.into_iter().next().ok_or_else(|| {
        refused(&Refusal::new(
            ErrorCode::Internal,
            "the broker answered for no letter",
        ))
    })
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
