//! The filter that a selection asks for. PURE.

use storage::dead_letter::select::LetterFilter;
use storage::dead_letter::{Disposition, Fingerprint};

use crate::limits::FILTER_VALUE_COUNT_MAX;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::protocol::selection::Selection;

/// Returns the filter of a selection that is not by ids.
pub(in crate::broker) fn filter_of(selection: &Selection) -> Result<LetterFilter, Refusal> {
    let wire = match selection {
        Selection::Filter(filter) => filter,
        Selection::All => return Ok(LetterFilter::default()),
        Selection::Ids(_) => {
            return Err(Refusal::new(
                ErrorCode::InvalidSelection,
                "select by fields here, not by ids",
            ));
        }
    };
    let most = [
        wire.groups.len(),
        wire.fingerprints.len(),
        wire.dispositions.len(),
        wire.urls.len(),
        wire.labels.len(),
        wire.message_ids.len(),
        wire.callers.len(),
        wire.statuses.len(),
        wire.url_groups.len(),
        wire.endpoints.len(),
        wire.queues.len(),
        wire.schedules.len(),
        wire.flow_control_keys.len(),
    ]
    .into_iter()
    .max()
    .unwrap_or(0);
    if most > usize::try_from(FILTER_VALUE_COUNT_MAX).unwrap_or(usize::MAX) {
        let message = format!(
            "a field of the filter has {most} values, at most {FILTER_VALUE_COUNT_MAX} are taken"
        );
        return Err(Refusal::new(ErrorCode::InvalidSelection, message));
    }
    let fingerprint = |text: &String| {
        text.parse::<Fingerprint>().map_err(|error| {
            Refusal::new(
                ErrorCode::InvalidSelection,
                format!("{text:?} is no fingerprint: {error}"),
            )
        })
    };
    Ok(LetterFilter {
        groups: wire.groups.clone(),
        fingerprints: wire
            .fingerprints
            .iter()
            .map(fingerprint)
            .collect::<Result<_, _>>()?,
        dispositions: wire
            .dispositions
            .iter()
            .map(|number| Disposition(*number))
            .collect(),
        statuses: wire.statuses.clone(),
        urls: wire.urls.clone(),
        labels: wire.labels.clone(),
        message_ids: wire.message_ids.clone(),
        callers: wire.callers.clone(),
        url_groups: wire.url_groups.clone(),
        endpoints: wire.endpoints.clone(),
        queues: wire.queues.clone(),
        schedules: wire.schedules.clone(),
        flow_control_keys: wire.flow_control_keys.clone(),
        died_from: wire.died_from,
        died_to: wire.died_to,
    })
}
