//! `/v2/queues`.

use serde::Deserialize;
use storage::control::push::Queue;
use storage::limits::QUEUE_PARALLELISM_MAX;

use super::call::{Answer, Call, done, ok};
use super::views::QueueJson;
use crate::broker::Broker;
use crate::http::ApiError;
use crate::http::parameters::json;
use crate::names::QueueName;

/// What a queue is to be. What is not given stays, or has its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct UpsertQueue {
    queue_name: String,
    parallelism: Option<i64>,
    paused: Option<bool>,
}

/// Makes or changes a queue.
pub(super) async fn upsert(call: Call) -> Answer {
    let asked: UpsertQueue = json(&call.body)?;
    let name = parse(&asked.queue_name)?;
    let parallelism = asked.parallelism.map(parallelism).transpose()?;
    let change = move |broker: &std::sync::Arc<Broker>| {
        broker.upsert_queue(&name, parallelism, asked.paused)
    };
    call.blocking(change).await?;
    done()
}

/// Lists the queues.
pub(super) async fn list(call: Call) -> Answer {
    let queues = call.broker.list_queues().into_iter();
    let queues = queues.map(|(name, queue)| view(&call.broker, name, queue));
    ok(&queues.collect::<Vec<_>>())
}

/// Returns a queue.
pub(super) async fn get(call: Call) -> Answer {
    let name = parse(&call.name)?;
    let queue = call.broker.queue(&name);
    let queue = queue.map_err(|refusal| call.refused(&refusal))?;
    ok(&view(&call.broker, name.to_string(), queue))
}

/// Deletes a queue.
pub(super) async fn delete(call: Call) -> Answer {
    let name = parse(&call.name)?;
    call.blocking(move |broker| broker.delete_queue(&name))
        .await?;
    done()
}

/// Pauses a queue.
pub(super) async fn pause(call: Call) -> Answer {
    set_paused(&call, true).await
}

/// Resumes a queue.
pub(super) async fn resume(call: Call) -> Answer {
    set_paused(&call, false).await
}

async fn set_paused(call: &Call, is_paused: bool) -> Answer {
    let name = parse(&call.name)?;
    call.blocking(move |broker| broker.pause_queue(&name, is_paused))
        .await?;
    done()
}

fn parallelism(asked: i64) -> Result<u32, ApiError> {
    let number = u32::try_from(asked).ok();
    number
        .filter(|number| (1..=QUEUE_PARALLELISM_MAX).contains(number))
        .ok_or_else(|| {
            ApiError::bad_request(format!(
                "parallelism is {asked}, it must be a whole number from 1 to {QUEUE_PARALLELISM_MAX}"
            ))
        })
}

fn parse(name: &str) -> Result<QueueName, ApiError> {
    QueueName::parse(name).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn view(broker: &Broker, name: String, queue: Queue) -> QueueJson {
    QueueJson {
        parallelism: queue.parallelism,
        created_at: queue.created.0,
        updated_at: queue.updated.0,
        lag: broker.queue_lag(&name),
        paused: queue.is_paused,
        name,
    }
}
