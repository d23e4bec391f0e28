//! Selecting dead letters by their ids.

use storage::dead_letter::DeadLetter;

use super::pages::weight;
use super::{Selected, SelectedPage, find_partition, parse_id, unknown_letter};
use crate::broker::refusal;
use crate::limits::LETTER_IDS_PER_CALL_MAX;
use crate::protocol::error_code::{ErrorCode, Refusal};
use crate::topic::Topic;

/// Finds letters by their ids, live or not: what is asked for by name is answered by name. Of each what `keep` makes of it is kept.
pub(super) fn select_ids<L>(
    topic: &Topic,
    ids: &[String],
    bytes_max: u32,
    keep: impl Fn(Box<DeadLetter>) -> L,
) -> Result<SelectedPage<L>, Refusal> {
    if ids.len() > usize::try_from(LETTER_IDS_PER_CALL_MAX).unwrap_or(usize::MAX) {
        let message = format!(
            "{} ids are given, at most {LETTER_IDS_PER_CALL_MAX} are taken",
            ids.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidSelection, message));
    }
    let mut seen = std::collections::HashSet::new();
    let distinct = ids.iter().filter(|id| seen.insert(id.as_str()));
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut letters = Vec::new();
    let mut bytes = 0_usize;
    for id in distinct {
        let selected = select_id(topic, id).map(|selected| {
            bytes = bytes.saturating_add(weight(&selected.letter));
            Selected {
                partition: selected.partition,
                index: selected.index,
                offset: selected.offset,
                letter: keep(selected.letter),
            }
        });
        letters.push((id.clone(), selected));
        if bytes > bytes_max && letters.len() > 1 {
            let message = format!(
                "the first {} letters take more than the {bytes_max} bytes of an answer, give fewer ids",
                letters.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidSelection, message));
        }
    }
    Ok(SelectedPage {
        letters,
        cursor: None,
    })
}

fn select_id(topic: &Topic, id: &str) -> Result<Selected, Refusal> {
    let address = parse_id(id)?;
    let (index, partition) = find_partition(topic, address.partition).ok_or_else(|| {
        let message = format!("{id} is no dead letter of topic {}", topic.name());
        Refusal::new(ErrorCode::UnknownLetter, message)
    })?;
    let view = partition.dead_letters().ok_or_else(|| unknown_letter(id))?;
    let letter = view
        .get(address.offset)
        .map_err(|error| refusal::of_log(&error))?
        .ok_or_else(|| unknown_letter(id))?;
    Ok(Selected {
        partition,
        index,
        offset: address.offset,
        letter,
    })
}
