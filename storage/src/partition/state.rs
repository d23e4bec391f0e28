//! The hint that a main log's checkpoint carries: how far causes are settled, and who has produced.
//!
//! | field | bytes | type | meaning |
//! |---|---|---|---|
//! | version | 1 | u8 | [`VERSION`] |
//! | settled up to | 8 | u64 | every cause below this main-log offset has its marker synced |
//! | producers | rest | bytes | see [`crate::producers`] |
//!
//! A state that does not decode is as good as none: the fold begins at the log start.

use crate::checkpoint::LogCheckpoint;
use crate::offset::Offset;
use crate::producers::{ProducerLimits, Producers};

const VERSION: u8 = 1;

/// The state at a checkpoint's durable end.
pub(super) struct MainState {
    /// Where the fold goes on.
    pub(super) from: Offset,
    pub(super) settled_up_to: Offset,
    pub(super) producers: Producers,
}

pub(super) fn encode(settled_up_to: Offset, producers: &Producers) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&settled_up_to.0.to_be_bytes());
    bytes.extend_from_slice(&producers.encode());
    bytes
}

/// Decodes the state of a checkpoint; `None` when there is none or it does not decode.
pub(super) fn decode(hint: Option<&LogCheckpoint>, limits: ProducerLimits) -> Option<MainState> {
    let hint = hint?;
    let (version, rest) = hint.state.split_first()?;
    let (settled, producers) = rest.split_first_chunk::<8>()?;
    if *version != VERSION {
        return None;
    }
    Some(MainState {
        from: hint.durable_end,
        settled_up_to: Offset(u64::from_be_bytes(*settled)),
        producers: Producers::decode(limits, producers).ok()?,
    })
}

/// Returns below which offset every cause has its marker synced, as a checkpoint says; zero without one.
pub(crate) fn settled_up_to(hint: Option<&LogCheckpoint>) -> Offset {
    decode(hint, ProducerLimits::default()).map_or(Offset::ZERO, |state| state.settled_up_to)
}
