//! `/admin/v1/topics/{topic}/dead-letters` and `/admin/v1/dead-letters/{id}`: looking at dead letters.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::arguments::{disposition, order, time};
use super::call::{Answer, Call, ok};
use super::error::ErrorAnswer;
use super::letter_views::Letter;
use super::topics::LetterCountsView;
use crate::http::ApiError;
use crate::http::parameters::Query;
use crate::http::refusal::refused;
use crate::limits::{LETTER_PAGE_DEFAULT, LETTER_PAGE_MAX};
use crate::protocol::error_code::ErrorCode;
use crate::protocol::letter::disposition_name;
use crate::protocol::read_letters::{
    GetLetterRequest, LetterStatsAnswer, LetterStatsRequest, ListLettersRequest,
};
use crate::protocol::selection::{LetterFilter, Page, Selection};

/// Which letters: those that match every field that is given, and one value of each. All parameters but the times may be
/// repeated.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "the names are what the path takes; the values are read one by one"
)]
pub(super) struct FilterParameters {
    /// Group that rejected.
    group: Option<Vec<String>>,
    /// Fingerprint.
    fingerprint: Option<Vec<String>>,
    /// Disposition, by name or number.
    disposition: Option<Vec<String>>,
    /// HTTP status of the last attempt.
    status: Option<Vec<u16>>,
    /// Destination URL.
    url: Option<Vec<String>>,
    /// Label.
    label: Option<Vec<String>>,
    /// Message id.
    message_id: Option<Vec<String>>,
    /// Who published it.
    caller: Option<Vec<String>>,
    /// URL group that it was published to.
    url_group: Option<Vec<String>>,
    /// Name of the endpoint in its URL group.
    endpoint: Option<Vec<String>>,
    /// Queue.
    queue: Option<Vec<String>>,
    /// Id of the schedule that published it.
    schedule: Option<Vec<String>>,
    /// Flow-control key.
    flow_control_key: Option<Vec<String>>,
    /// Earliest time of death (inclusive): milliseconds since 1970, or RFC 3339.
    died_from: Option<String>,
    /// Latest time of death (exclusive).
    died_to: Option<String>,
}

/// Which part of them.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "the names are what the path takes; the values are read one by one"
)]
pub(super) struct PageParameters {
    /// `oldest_first` (the default) or `newest_first`.
    order: Option<String>,
    /// Where to go on: the cursor of the page before. Order and filter must stay the same.
    cursor: Option<String>,
    /// Letters in the page, 1 to 1000; 100 if not given.
    limit: Option<u32>,
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LetterPage {
    /// The letters.
    letters: Vec<Letter>,
    /// Where the next page begins; null after the last.
    cursor: Option<String>,
}

/// Counts of live dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LetterStats {
    /// Of the whole topic.
    counts: LetterCountsView,
    /// Live letters that match.
    selected_count: u64,
    /// Of the selected, by disposition.
    by_disposition: Vec<DispositionCount>,
    /// Of the selected, by group.
    by_group: Vec<GroupCount>,
    /// Of the selected, by fingerprint, most first; at most 100.
    by_fingerprint: Vec<FingerprintCountView>,
    /// Of the selected, by age.
    by_age: Vec<AgeCount>,
    /// When the oldest of the selected died, in milliseconds since 1970.
    oldest_died_at_ms: Option<i64>,
    /// When the newest of the selected died, in milliseconds since 1970.
    newest_died_at_ms: Option<i64>,
}

/// How many letters died of one disposition.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DispositionCount {
    /// The disposition.
    disposition: String,
    /// How many.
    count: u64,
}

/// How many letters one group has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GroupCount {
    /// The group.
    group: String,
    /// How many.
    count: u64,
}

/// How many letters have one fingerprint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FingerprintCount)]
pub(super) struct FingerprintCountView {
    /// The fingerprint.
    fingerprint: String,
    /// The reason of one of them.
    reason: String,
    /// How many.
    count: u64,
}

/// How many letters are of one age.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgeCount {
    /// Died less than so many milliseconds ago, and longer ago than the entry before says; null: any longer.
    age_ms_max: Option<u64>,
    /// How many.
    count: u64,
}

/// Reads the filter from a query. No parameter at all matches every letter.
pub(super) fn selection(query: &Query) -> Result<Selection, ApiError> {
    let texts = |name: &str| {
        query
            .all(name)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let status = |text: &str| {
        text.parse().map_err(|_not_a_number| {
            ApiError::bad_request(format!(
                "the query parameter status is {text:?}, it must be a number such as 503"
            ))
        })
    };
    let died = |name: &str| query.one(name)?.map(|text| time(name, text)).transpose();
    let filter = LetterFilter {
        groups: texts("group"),
        fingerprints: texts("fingerprint"),
        dispositions: query
            .all("disposition")
            .into_iter()
            .map(disposition)
            .collect::<Result<_, _>>()?,
        urls: texts("url"),
        labels: texts("label"),
        message_ids: texts("message_id"),
        callers: texts("caller"),
        url_groups: texts("url_group"),
        endpoints: texts("endpoint"),
        queues: texts("queue"),
        schedules: texts("schedule"),
        flow_control_keys: texts("flow_control_key"),
        statuses: query
            .all("status")
            .into_iter()
            .map(status)
            .collect::<Result<_, _>>()?,
        died_from: died("died_from")?,
        died_to: died("died_to")?,
    };
    Ok(if filter == LetterFilter::default() {
        Selection::All
    } else {
        Selection::Filter(filter)
    })
}

pub(super) fn page(query: &Query) -> Result<Page, ApiError> {
    let limit = query.number("limit")?.unwrap_or(LETTER_PAGE_DEFAULT);
    if limit == 0 || limit > LETTER_PAGE_MAX {
        let message =
            format!("the query parameter limit is {limit}, it must be 1 to {LETTER_PAGE_MAX}");
        return Err(ApiError::bad_request(message));
    }
    Ok(Page {
        order: query
            .one("order")?
            .map(order)
            .transpose()?
            .unwrap_or_default(),
        limit,
        cursor: query.one("cursor")?.map(str::to_owned),
    })
}

impl From<LetterStatsAnswer> for LetterStats {
    fn from(answer: LetterStatsAnswer) -> Self {
        let by_disposition =
            answer
                .by_disposition
                .into_iter()
                .map(|(number, count)| DispositionCount {
                    disposition: disposition_name(number),
                    count,
                });
        let by_group = answer
            .by_group
            .into_iter()
            .map(|(group, count)| GroupCount { group, count });
        let by_fingerprint = answer
            .by_fingerprint
            .into_iter()
            .map(|one| FingerprintCountView {
                fingerprint: one.fingerprint,
                reason: one.reason.0,
                count: one.count,
            });
        let by_age = answer.by_age.into_iter().map(|(age, count)| AgeCount {
            age_ms_max: (age != u64::MAX).then_some(age),
            count,
        });
        Self {
            counts: answer.counts.into(),
            selected_count: answer.selected,
            by_disposition: by_disposition.collect(),
            by_group: by_group.collect(),
            by_fingerprint: by_fingerprint.collect(),
            by_age: by_age.collect(),
            oldest_died_at_ms: answer.oldest_died_at.map(|time| time.0),
            newest_died_at_ms: answer.newest_died_at.map(|time| time.0),
        }
    }
}

/// Lists live dead letters.
#[utoipa::path(get, path = "/admin/v1/topics/{topic}/dead-letters", tag = "dead letters", operation_id = "list_dead_letters",
    params(("topic" = String, Path, description = "The topic's name"), FilterParameters, PageParameters), responses(
    (status = 200, description = "A page of letters, with the cursor of the next one.", body = LetterPage),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn list(call: Call) -> Answer {
    let request = ListLettersRequest {
        topic: call.param("topic"),
        selection: selection(&call.query)?,
        page: page(&call.query)?,
        bytes_max: 0,
    };
    let permit = call.broker.may_list().await;
    let listed = call.blocking(move |broker| Ok((broker.list_letters(&request)?, permit)));
    let (answer, _permit) = listed.await?;
    ok(&LetterPage {
        letters: answer.letters.into_iter().map(Letter::from).collect(),
        cursor: answer.cursor,
    })
}

/// Counts live dead letters by disposition, group, fingerprint and age.
#[utoipa::path(get, path = "/admin/v1/topics/{topic}/dead-letters/stats", tag = "dead letters", operation_id = "count_dead_letters",
    params(("topic" = String, Path, description = "The topic's name"), FilterParameters), responses(
    (status = 200, description = "The counts of the letters.", body = LetterStats),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn stats(call: Call) -> Answer {
    let request = LetterStatsRequest {
        topic: call.param("topic"),
        selection: selection(&call.query)?,
    };
    let answer = call
        .blocking(move |broker| broker.letter_stats(&request))
        .await?;
    ok(&LetterStats::from(answer))
}

/// Returns a live dead letter.
#[utoipa::path(get, path = "/admin/v1/dead-letters/{id}", tag = "dead letters", operation_id = "get_dead_letter",
    params(("id" = String, Path, description = "The letter's id")), responses(
    (status = 200, description = "The letter with its record and its history.", body = Letter),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
pub(super) async fn get(call: Call) -> Answer {
    let request = GetLetterRequest {
        id: call.param("id"),
    };
    let found = call
        .blocking(move |broker| Ok(broker.get_letter(&request)))
        .await?;
    let letter = found.map_err(|refusal| match refusal.code {
        // There is no conflict in looking: what was resolved is not there.
        ErrorCode::LetterResolved => ApiError::not_found(refusal.message),
        _ => refused(&refusal),
    })?;
    ok(&Letter::from(letter))
}
