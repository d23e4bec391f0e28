//! What clients ask for and is not served, refused with what would be right.

use super::call::{Answer, Call};
use super::headers::cut;
use crate::http::ApiError;

/// Refuses the chat API of the hosted service.
pub(super) async fn chat(_call: Call) -> Answer {
    Err(ApiError::bad_request(
        "the hosted service's LLM is not provided here: publish to a provider with a base URL of its own",
    ))
}

/// Says that there is no such run: workflows are not provided.
pub(super) async fn workflow_run(call: Call) -> Answer {
    Err(ApiError::not_found(format!(
        "there is no workflow run {:?}: workflows are not provided here",
        cut(&call.name)
    )))
}
