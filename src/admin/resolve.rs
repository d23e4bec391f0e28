//! Retrying and deleting dead letters, by ids, by fields, or all.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Answer, Call, ok};
use super::error::ErrorAnswer;
use super::selection::LetterSelection;
use crate::http::ApiError;
use crate::http::refusal::refused;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::resolve_letters::{DeleteLettersRequest, Republished, RetryLettersRequest};
use crate::protocol::selection::{Order, Page, Selection};

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
#[expect(clippy::struct_field_names, reason = "counts end in _count")]
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
    (status = 200, description = "How many letters were republished, and whether there is more to select.", body = Retried),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
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
    (status = 200, description = "How many letters were deleted, and whether there is more to select.", body = Deleted),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
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
    (status = 200, description = "What became of the letter, also when it had been republished before.", body = RetriedLetter),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
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
    (status = 200, description = "What became of the letter, also when it had been deleted before.", body = DeletedLetter),
    (status = "4XX", description = "Refused: the error says why.", body = ErrorAnswer)))]
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
    Ok((topic, selection, Page::first(Order::OldestFirst, 1)))
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
