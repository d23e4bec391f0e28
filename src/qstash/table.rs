//! The routes of this surface, one by one.

use std::future::Future;
use std::pin::Pin;

use hyper::Method;

use super::call::{Answer, Call};
use super::{dlq, flow_control, keys, logs, messages, queues, schedules, unserved, url_groups};

/// What answers a request.
pub(super) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What a request's body is, which says how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// A message.
    Message,
    /// Messages.
    Batch,
    /// JSON that says what is asked for.
    Json,
}

/// A route: method, path, what the body is, and the handler.
pub(super) type Route = (Method, &'static str, BodyKind, Handler);

const QUEUE: &str = "/v2/queues/{queueName}";
const SCHEDULE: &str = "/v2/schedules/{scheduleId}";
const SCHEDULE_PAUSE: &str = "/v2/schedules/{scheduleId}/pause";
const SCHEDULE_RESUME: &str = "/v2/schedules/{scheduleId}/resume";
const GROUP: &str = "/v2/topics/{urlGroupName}";
const ENDPOINTS: &str = "/v2/topics/{urlGroupName}/endpoints";

macro_rules! handler {
    ($handler:path) => {
        |call| Box::pin($handler(call))
    };
}

pub(super) fn with_destination() -> [Route; 3] {
    use BodyKind::Message;
    [
        (
            Method::POST,
            "/v2/publish/{*destination}",
            Message,
            handler!(messages::publish),
        ),
        (
            Method::POST,
            "/v2/enqueue/{queueName}/{*destination}",
            Message,
            handler!(messages::enqueue),
        ),
        (
            Method::POST,
            "/v2/schedules/{*destination}",
            Message,
            handler!(schedules::set),
        ),
    ]
}

pub(super) fn named() -> Vec<Route> {
    let mut routes = of_messages();
    routes.extend(of_queues_and_groups());
    routes.extend(of_schedules());
    routes.extend(of_flow_and_keys());
    routes.extend(of_others());
    routes
}

fn of_messages() -> Vec<Route> {
    use BodyKind::{Batch, Json};
    vec![
        (
            Method::POST,
            "/v2/batch",
            Batch,
            handler!(messages::publish_batch),
        ),
        (
            Method::GET,
            "/v2/messages/{messageId}",
            Json,
            handler!(messages::get),
        ),
        (
            Method::DELETE,
            "/v2/messages/{messageId}",
            Json,
            handler!(messages::cancel_one),
        ),
        (
            Method::DELETE,
            "/v2/messages",
            Json,
            handler!(messages::cancel_many),
        ),
        (Method::GET, "/v2/dlq", Json, handler!(dlq::list)),
        (Method::DELETE, "/v2/dlq", Json, handler!(dlq::delete_many)),
        (Method::GET, "/v2/dlq/{dlqId}", Json, handler!(dlq::get)),
        (
            Method::DELETE,
            "/v2/dlq/{dlqId}",
            Json,
            handler!(dlq::delete_one),
        ),
        (
            Method::POST,
            "/v2/dlq/retry",
            Json,
            handler!(dlq::retry_many),
        ),
        (
            Method::POST,
            "/v2/dlq/retry/{dlqId}",
            Json,
            handler!(dlq::retry_one),
        ),
        (Method::GET, "/v2/logs", Json, handler!(logs::list)),
        (Method::GET, "/v2/events", Json, handler!(logs::events)),
    ]
}

fn of_queues_and_groups() -> Vec<Route> {
    use BodyKind::Json;
    vec![
        (Method::GET, "/v2/queues", Json, handler!(queues::list)),
        (Method::POST, "/v2/queues", Json, handler!(queues::upsert)),
        (Method::GET, QUEUE, Json, handler!(queues::get)),
        (Method::DELETE, QUEUE, Json, handler!(queues::delete)),
        (
            Method::POST,
            "/v2/queues/{queueName}/pause",
            Json,
            handler!(queues::pause),
        ),
        (
            Method::POST,
            "/v2/queues/{queueName}/resume",
            Json,
            handler!(queues::resume),
        ),
        (Method::GET, "/v2/topics", Json, handler!(url_groups::list)),
        (Method::GET, GROUP, Json, handler!(url_groups::get)),
        (Method::DELETE, GROUP, Json, handler!(url_groups::delete)),
        (Method::POST, ENDPOINTS, Json, handler!(url_groups::add)),
        (
            Method::DELETE,
            ENDPOINTS,
            Json,
            handler!(url_groups::remove),
        ),
    ]
}

fn of_schedules() -> Vec<Route> {
    use BodyKind::Json;
    vec![
        (
            Method::GET,
            "/v2/schedules",
            Json,
            handler!(schedules::list),
        ),
        (Method::GET, SCHEDULE, Json, handler!(schedules::get)),
        (Method::DELETE, SCHEDULE, Json, handler!(schedules::delete)),
        (
            Method::POST,
            SCHEDULE_PAUSE,
            Json,
            handler!(schedules::pause),
        ),
        (
            Method::PATCH,
            SCHEDULE_PAUSE,
            Json,
            handler!(schedules::pause),
        ),
        (
            Method::POST,
            SCHEDULE_RESUME,
            Json,
            handler!(schedules::resume),
        ),
        (
            Method::PATCH,
            SCHEDULE_RESUME,
            Json,
            handler!(schedules::resume),
        ),
    ]
}

fn of_flow_and_keys() -> Vec<Route> {
    use BodyKind::Json;
    let key = "/v2/flowControl/{flowControlKey}";
    vec![
        (
            Method::GET,
            "/v2/flowControl",
            Json,
            handler!(flow_control::list),
        ),
        (Method::GET, key, Json, handler!(flow_control::get)),
        (
            Method::POST,
            "/v2/flowControl/{flowControlKey}/pause",
            Json,
            handler!(flow_control::pause),
        ),
        (
            Method::POST,
            "/v2/flowControl/{flowControlKey}/resume",
            Json,
            handler!(flow_control::resume),
        ),
        (
            Method::POST,
            "/v2/flowControl/{flowControlKey}/pin",
            Json,
            handler!(flow_control::pin),
        ),
        (
            Method::POST,
            "/v2/flowControl/{flowControlKey}/unpin",
            Json,
            handler!(flow_control::unpin),
        ),
        (
            Method::POST,
            "/v2/flowControl/{flowControlKey}/resetRate",
            Json,
            handler!(flow_control::reset_rate),
        ),
        (
            Method::GET,
            "/v2/globalParallelism",
            Json,
            handler!(flow_control::global_parallelism),
        ),
        (Method::GET, "/v2/keys", Json, handler!(keys::get)),
        (
            Method::POST,
            "/v2/keys/rotate",
            Json,
            handler!(keys::rotate),
        ),
    ]
}

/// What clients ask for and is refused with a reason.
fn of_others() -> Vec<Route> {
    use BodyKind::Json;
    vec![
        (
            Method::POST,
            "/llm/v1/chat/completions",
            Json,
            handler!(unserved::chat),
        ),
        (
            Method::DELETE,
            "/v2/workflows/runs/{runId}",
            Json,
            handler!(unserved::workflow_run),
        ),
    ]
}
