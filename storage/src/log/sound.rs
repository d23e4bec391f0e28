//! How far bytes of a segment that were read are sound: whole batches that verify and follow each other. Pure.

use super::find::chain_at;
use crate::batch::header::{BatchHeader, HEADER_BYTES};
use crate::error::Corruption;
use crate::log_id::LogId;
use crate::offset::Offset;
use crate::segment::Chain;

/// How far bytes that were read are whole sound batches.
pub(super) struct Sound {
    chain: Chain,
    /// Bytes at the start that are.
    pub(super) bytes: usize,
    /// Where they end the bound is reached.
    is_at_end: bool,
    /// What does not verify behind them.
    pub(super) reason: Option<Corruption>,
}

impl Sound {
    /// Begins before the batch with this header.
    pub(super) fn at(first: &BatchHeader, log: LogId) -> Self {
        Self {
            chain: chain_at(log, first),
            bytes: 0,
            is_at_end: false,
            reason: None,
        }
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.reason.is_none() && !self.is_at_end
    }

    /// Goes on over whole batches below `end`, in the bytes that have been read so far.
    pub(super) fn check(&mut self, read: &[u8], end: Offset) {
        while let Some(rest) = read.get(self.bytes..).filter(|r| r.len() >= HEADER_BYTES) {
            let header = match BatchHeader::decode(rest) {
                Ok(header) => header,
                Err(reason) => {
                    self.reason = Some(reason);
                    return;
                }
            };
            self.is_at_end = header.base_offset >= end;
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            if self.is_at_end || length > rest.len() {
                return;
            }
            let body = rest.get(HEADER_BYTES..length).unwrap_or_default();
            let checked = self.chain.check(&header);
            if let Err(reason) = checked.and_then(|()| header.check_body(body)) {
                self.reason = Some(reason);
                return;
            }
            self.chain.advance(&header);
            self.bytes = self.bytes.saturating_add(length);
        }
    }
}
