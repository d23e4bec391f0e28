//! One live dead letter by its address, or what became of it: the log knows that while it holds the letter's segment.

use storage::address::Address;
use storage::dead_letter::{DeadLetter, DeadLetterView, Resolution};
use storage::offset::Offset;

use super::refusal;
use super::select::unknown_letter;
use crate::engine::PartitionHandle;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// Returns a live letter of a partition, which has this index in its topic. Blocks on the disk.
///
/// # Errors
/// [`ErrorCode::LetterResolved`] and [`ErrorCode::UnknownLetter`] with what is known of it, or the log's.
pub(super) fn live_letter(
    (partition, index): (&PartitionHandle, u32),
    offset: Offset,
) -> Result<Box<DeadLetter>, Refusal> {
    let id = Address::letter(partition.number(), offset).to_string();
    let view = partition.dead_letters();
    let view = view.ok_or_else(|| unknown_letter(&id))?;
    let (is_live, is_open, fresh) = {
        let owner = partition.owner().lock();
        let is_open = owner.is_being_resolved(offset);
        (owner.is_live(offset), is_open, owner.republished_to(offset))
    };
    if !is_live && is_open {
        // A power cut may still take back what its marker says.
        return Err(unknown_letter(&id));
    }
    if !is_live {
        let fresh = fresh.map(Fate::Republished);
        let fate = fresh.map_or_else(|| fate(&view, offset), Ok)?;
        return Err(fate.refusal(&id, (partition, index)));
    }
    let letter = view.get(offset).map_err(|error| refusal::of_log(&error))?;
    letter.ok_or_else(|| unknown_letter(&id))
}

/// What became of a letter that is not live.
enum Fate {
    /// It went back as the record at this offset of its partition.
    Republished(Offset),
    /// An operator deleted it.
    Deleted,
    /// Retention has deleted what the log knew of it.
    Forgotten,
    /// There never was one.
    Unknown,
}

fn fate(view: &DeadLetterView, offset: Offset) -> Result<Fate, Refusal> {
    let marker = view.resolution_of(offset);
    let marker = marker.map_err(|error| refusal::of_log(&error))?;
    Ok(match marker.map(|marker| marker.resolution) {
        Some(Resolution::Republished { offset, .. }) => Fate::Republished(offset),
        Some(Resolution::Deleted) => Fate::Deleted,
        None if offset < view.reader().log_start() => Fate::Forgotten,
        None => Fate::Unknown,
    })
}

impl Fate {
    fn refusal(self, id: &str, (partition, index): (&PartitionHandle, u32)) -> Refusal {
        let (code, became) = match self {
            Self::Republished(fresh) => {
                let message = Address::message(partition.number(), fresh);
                let became = format!(
                    "was republished: it is message {message} now, offset {fresh} of partition {index}"
                );
                (ErrorCode::LetterResolved, became)
            }
            Self::Deleted => (ErrorCode::LetterResolved, "was deleted".to_owned()),
            Self::Forgotten => {
                let became = "was resolved or has expired: it is older than what the retention of dead letters keeps";
                (ErrorCode::UnknownLetter, became.to_owned())
            }
            Self::Unknown => return unknown_letter(id),
        };
        Refusal::new(code, format!("dead letter {id} {became}"))
    }
}
