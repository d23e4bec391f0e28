//! `/v2/dlq`: messages that failed for good.
//!
//! An answer has no place for a letter that could not be resolved now. So the cursor of a page by filter leads to the same page
//! again while some letter of it may be resolved later: those that were are found no more. A page of which nothing was resolved is
//! refused, so that whoever follows the cursors comes to an end; and so is a call by ids, which may be asked again as it is.

use hyper::StatusCode;
use serde::Serialize;

use super::call::{Answer, Call, done, ok};
use super::filters::letters;
use super::headers::cut;
use super::resolved::Letters;
use super::views::DeadLetterJson;
use crate::http::{ApiError, response};
use crate::protocol::resolve_letters::{DeleteLettersRequest, RetryLettersRequest};
use crate::protocol::selection::{Order, Page, Selection};
use crate::topic::PUSH_TOPIC;

#[derive(Serialize, Default)]
struct DeadLetterPage {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    messages: Vec<DeadLetterJson>,
}

#[derive(Serialize, Default)]
struct Deleted {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    deleted: usize,
}

#[derive(Serialize, Default)]
struct Retried {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    responses: Vec<RetriedMessage>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RetriedMessage {
    message_id: String,
}

/// Lists dead letters.
pub(super) async fn list(call: Call) -> Answer {
    let asked = letters(&call.query, b"")?;
    let Some(selection) = asked.selection else {
        return ok(&DeadLetterPage::default());
    };
    let page = asked.page;
    let permit = call.broker.may_list().await;
    let found = call.blocking(move |broker| Ok((broker.dead_messages(&selection, &page)?, permit)));
    let ((messages, cursor), _permit) = found.await?;
    ok(&DeadLetterPage {
        cursor,
        messages: messages.into_iter().map(DeadLetterJson::from).collect(),
    })
}

/// Returns a dead letter.
pub(super) async fn get(call: Call) -> Answer {
    let id = call.name.clone();
    let found = call
        .blocking(move |broker| Ok(broker.dead_message(&id)))
        .await?;
    let message = found.map_err(|refusal| call.refused_name(&refusal))?;
    ok(&DeadLetterJson::from(message))
}

/// Deletes a dead letter.
pub(super) async fn delete_one(call: Call) -> Answer {
    let request = deletion(one(&call.name), Page::first(Order::OldestFirst, 1));
    let answer = call.broker.delete_letters(request, call.who()).await;
    let answer = answer.map_err(|refusal| call.refused_name(&refusal))?;
    let first = answer.letters.into_iter().next();
    match first.map(|(_, result)| result) {
        Some(Ok(true)) => done(),
        Some(Err(refusal)) => Err(call.refused_name(&refusal)),
        Some(Ok(false)) | None => Err(not_found(&call.name)),
    }
}

/// Deletes a page of dead letters.
pub(super) async fn delete_many(call: Call) -> Answer {
    let asked = letters(&call.query, &call.body)?;
    let Some(selection) = asked.selection else {
        return ok(&Deleted::default());
    };
    let (is_by_id, page) = (is_by_id(&selection), begun(&call, &selection, asked.page)?);
    let request = deletion(selection, page.clone());
    let answer = call.broker.delete_letters(request, call.who()).await;
    let answer = answer.map_err(|refusal| call.refused(&refusal))?;
    let letters = Letters::sort(answer.letters);
    let (results, cursor) = resolved(&call, letters, is_by_id, (page.cursor, answer.cursor))?;
    ok(&Deleted {
        cursor,
        deleted: results.into_iter().filter(|is_new| *is_new).count(),
    })
}

/// Publishes a dead letter anew.
pub(super) async fn retry_one(call: Call) -> Answer {
    let page = Page::first(Order::OldestFirst, 1);
    let (mut ids, _) = retried(&call, one(&call.name), page).await?;
    let message_id = ids.pop().ok_or_else(|| not_found(&call.name))?;
    let shown = RetriedMessage { message_id };
    Ok(response::json(StatusCode::CREATED, &shown))
}

/// Publishes a page of dead letters anew.
pub(super) async fn retry_many(call: Call) -> Answer {
    let asked = letters(&call.query, &call.body)?;
    let Some(selection) = asked.selection else {
        return Ok(response::json(StatusCode::CREATED, &Retried::default()));
    };
    let is_by_id = is_by_id(&selection);
    let (ids, cursor) = retried(&call, selection, asked.page).await?;
    if is_by_id && ids.is_empty() {
        return Err(ApiError::not_found("there is none of these dead letters"));
    }
    let responses = ids
        .into_iter()
        .map(|message_id| RetriedMessage { message_id });
    let shown = Retried {
        cursor,
        responses: responses.collect(),
    };
    Ok(response::json(StatusCode::CREATED, &shown))
}

/// Retries letters; the headers of a publish override what the message was published with. Returns the new messages' ids.
async fn retried(
    call: &Call,
    selection: Selection,
    page: Page,
) -> Result<(Vec<String>, Option<String>), ApiError> {
    let overrides = call.overrides()?;
    let (is_by_id, page) = (is_by_id(&selection), begun(call, &selection, page)?);
    let begin = page.cursor.clone();
    let request = RetryLettersRequest {
        topic: PUSH_TOPIC.to_owned(),
        selection,
        page,
        request_id: None,
    };
    let answer = call
        .broker
        .retry_messages(request, overrides, call.who())
        .await;
    let answer = answer.map_err(|refusal| call.refused(&refusal))?;
    let letters = Letters::sort(answer.letters);
    let (republished, cursor) = resolved(call, letters, is_by_id, (begin, answer.cursor))?;
    let ids = republished.into_iter().map(|one| one.message_id).collect();
    Ok((ids, cursor))
}

/// Returns a page that can be asked for again.
fn begun(call: &Call, selection: &Selection, mut page: Page) -> Result<Page, ApiError> {
    if page.cursor.is_none() {
        let first = call.broker.first_cursor(PUSH_TOPIC, selection, &page);
        page.cursor = first.map_err(|refusal| call.refused(&refusal))?;
    }
    Ok(page)
}

/// Returns the letters that were resolved, and the cursor to go on with: in front of the page, or behind it.
fn resolved<T>(
    call: &Call,
    letters: Letters<T>,
    is_by_id: bool,
    (in_front, behind): (Option<String>, Option<String>),
) -> Result<(Vec<T>, Option<String>), ApiError> {
    if let Some((id, refusal)) = letters.failed.first() {
        let count = letters.failed.len();
        let left_out = &call.broker.metrics().dead_letters.left_out;
        left_out.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        tracing::warn!(count, id, error = %refusal, "dead letters could not be resolved");
    }
    let is_again = letters.is_again();
    let done = letters.answer(is_by_id);
    let done = done.map_err(|refusal| call.refused(&refusal))?;
    Ok((done, if is_again { in_front } else { behind }))
}

fn is_by_id(selection: &Selection) -> bool {
    matches!(selection, Selection::Ids(_))
}

fn one(id: &str) -> Selection {
    Selection::Ids(vec![id.to_owned()])
}

fn deletion(selection: Selection, page: Page) -> DeleteLettersRequest {
    DeleteLettersRequest {
        topic: PUSH_TOPIC.to_owned(),
        selection,
        page,
        request_id: None,
    }
}

fn not_found(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no dead letter {:?}", cut(id)))
}
