//! Publishing, and `/v2/messages`: looking at messages that have not come to their end, and cancelling them.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use storage::address::Address;

use super::batch::{self, BatchItem};
use super::call::{Answer, Call, ok};
use super::filters::{CancelQuery, cancel};
use super::headers::PublishHeaders;
use super::publication::PublishRequest;
use super::target::PublishTarget;
use super::views::{MessageJson, PublishedJson};
use crate::delivery::api::{Publication, Published, Target};
use crate::http::{ApiError, response};
use crate::names::{QueueName, UrlGroupName};
use crate::protocol::error_code::{ErrorCode, Refusal};

/// What became of one message of a batch.
#[derive(Serialize)]
#[serde(untagged)]
enum BatchAnswer {
    Published(PublishedJson),
    Refused { error: String },
}

/// How many were cancelled.
#[derive(Serialize)]
struct Cancelled {
    cancelled: u64,
}

/// Publishes a message.
pub(super) async fn publish(call: Call) -> Answer {
    publish_to(&call, None).await
}

/// Publishes a message to a queue.
pub(super) async fn enqueue(call: Call) -> Answer {
    publish_to(&call, Some(call.name.clone())).await
}

async fn publish_to(call: &Call, queue: Option<String>) -> Answer {
    let request = PublishRequest {
        target: PublishTarget::from_path(&call.rest, call.raw_query.as_deref())?,
        headers: call.publish_headers()?,
        body: call.body.clone(),
        queue,
        caller_ip: call.caller_ip.clone(),
    };
    let publication = request.publication(call.broker.now())?;
    let prepared = prepare(call, std::slice::from_ref(&publication)).await;
    prepared.map_err(|(_, error)| error)?;
    let answer = call.broker.publish(vec![publication]).await.pop();
    let published = answer.unwrap_or_else(|| Err(no_answer()));
    let published = published.map_err(|refusal| call.refused(&refusal))?;
    let status = if published.is_duplicate {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok(response::json(status, &PublishedJson::from(published)))
}

/// Publishes messages. Nothing is published unless all of them are well formed.
pub(super) async fn publish_batch(call: Call) -> Answer {
    let items = batch::parse(&call.body)?.into_iter().enumerate();
    let publications: Result<Vec<_>, _> = items
        .map(|(at, item)| publication_of(&call, item).map_err(|error| batch::of_item(at, error)))
        .collect();
    let publications = publications?;
    let prepared = prepare(&call, &publications).await;
    prepared.map_err(|(at, error)| match at {
        Some(at) => batch::of_item(at, error),
        None => error,
    })?;
    let answers = call.broker.publish(publications).await;
    if let Some(refusal) = refusal_of_all(&answers) {
        return Err(call.refused(refusal));
    }
    let answer = |answer: Result<Published, Refusal>| match answer {
        Ok(published) => BatchAnswer::Published(published.into()),
        Err(refusal) => BatchAnswer::Refused {
            error: refusal.message,
        },
    };
    ok(&answers.into_iter().map(answer).collect::<Vec<_>>())
}

fn publication_of(call: &Call, item: BatchItem) -> Result<Publication, ApiError> {
    let now = call.broker.now();
    let headers = item.headers();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let request = PublishRequest {
        target: PublishTarget::parse(&item.destination)?,
        headers: PublishHeaders::parse(headers, now)?,
        body: Bytes::from(item.body.unwrap_or_default()),
        queue: item.queue.filter(|queue| !queue.is_empty()),
        caller_ip: call.caller_ip.clone(),
    };
    request.publication(now)
}

/// Returns why nothing of a batch was published, if nothing was.
fn refusal_of_all(answers: &[Result<Published, Refusal>]) -> Option<&Refusal> {
    if answers.iter().any(Result::is_ok) {
        return None;
    }
    answers.iter().find_map(|answer| answer.as_ref().err())
}

/// Makes the queues that are not there, and checks that the URL groups are. An error comes with the place of the publication that it
/// is about, if it is about one.
async fn prepare(
    call: &Call,
    publications: &[Publication],
) -> Result<(), (Option<usize>, ApiError)> {
    let mut missing: Vec<QueueName> = Vec::new();
    for (at, publication) in publications.iter().enumerate() {
        if let Target::UrlGroup(name) = &publication.target {
            check_group(call, name).map_err(|error| (Some(at), error))?;
        }
        let queue = publication.envelope.queue.as_deref();
        let queue = queue.and_then(|queue| QueueName::parse(queue).ok());
        let is_missing = |queue: &QueueName| call.broker.queue(queue).is_err();
        missing.extend(queue.filter(is_missing));
    }
    missing.sort();
    missing.dedup();
    make_queues(call, missing)
        .await
        .map_err(|error| (None, error))
}

pub(super) fn check_group(call: &Call, name: &str) -> Result<(), ApiError> {
    let name =
        UrlGroupName::parse(name).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let group = call.broker.url_group(&name);
    group.map_err(|refusal| call.refused(&refusal))?;
    Ok(())
}

/// Makes queues that are not there yet.
pub(super) async fn make_queues(call: &Call, names: Vec<QueueName>) -> Result<(), ApiError> {
    if names.is_empty() {
        return Ok(());
    }
    let make = move |broker: &std::sync::Arc<crate::broker::Broker>| {
        for name in &names {
            broker.upsert_queue(name, None, None)?;
        }
        Ok(())
    };
    call.blocking(make).await
}

fn no_answer() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the broker did not answer a publish")
}

/// Returns a message that has not come to its end.
pub(super) async fn get(call: Call) -> Answer {
    let id = call.name.clone();
    let found = call.blocking(move |broker| Ok(broker.message(&id))).await?;
    let found = found.map_err(|refusal| call.refused_name(&refusal))?;
    let message = found.ok_or_else(|| not_found(&call.name))?;
    ok(&MessageJson::from(message))
}

/// Cancels a message.
pub(super) async fn cancel_one(call: Call) -> Answer {
    let cancelled = call.broker.cancel(std::slice::from_ref(&call.name)).await;
    match cancelled.map_err(|refusal| call.refused_name(&refusal))? {
        0 => Err(not_found(&call.name)),
        cancelled => ok(&Cancelled { cancelled }),
    }
}

/// Cancels messages by id or by a filter.
pub(super) async fn cancel_many(call: Call) -> Answer {
    let cancelled = match cancel(&call.query, &call.body)? {
        CancelQuery::Ids(ids) => {
            // What is no id names no message.
            let is_id = |id: &String| {
                let address: Result<Address, _> = id.parse();
                address.is_ok_and(|address| address.kind == storage::address::AddressKind::Message)
            };
            let ids: Vec<_> = ids.into_iter().filter(is_id).collect();
            call.broker.cancel(&ids).await
        }
        CancelQuery::Filter(filter, count) => {
            let count_max = count.map_or(u64::MAX, u64::from);
            call.broker.cancel_matching(&filter, count_max).await
        }
    };
    let cancelled = cancelled.map_err(|refusal| call.refused(&refusal))?;
    ok(&Cancelled { cancelled })
}

fn not_found(id: &str) -> ApiError {
    let id = super::headers::cut(id);
    ApiError::not_found(format!(
        "there is no message {id:?} that is still to be delivered"
    ))
}
