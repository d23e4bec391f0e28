//! The error of this surface, as its document describes it.

use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was not answered as asked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorAnswer {
    /// What was wrong, with which value, and what would be right.
    error: String,
}
