//! What a scan says about the header of a segment.

use super::ends::tail;
use super::report::{Fault, Remark};
use super::scan::{LogScan, Segment, failed};
use crate::disk::read_exact_at;
use crate::error::{Corruption, LogError};
use crate::offset::FilePosition;
use crate::segment::header::SEGMENT_VERSION;
use crate::segment::{
    Chain, SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES_U64, SegmentHeader, SegmentHeaderError, Step,
    Unproven, Walker, rebuild,
};

impl LogScan<'_> {
    /// Checks the segment's header, and returns whether there is anything behind it to look at.
    pub(super) fn header(
        &mut self,
        segment: &Segment<'_>,
        chain: &mut Chain,
    ) -> Result<bool, LogError> {
        let reason = match self.read_header(segment)? {
            Ok(header) => {
                let found = header.prev_header_crc;
                if let Some(expected) = chain.prev_header_crc
                    && found != expected
                {
                    let reason = Corruption::BrokenChain { found, expected };
                    self.wrong(segment.path, segment.base, Fault::Header(reason));
                }
                chain.prev_header_crc = Some(found);
                return Ok(true);
            }
            Err(reason) => reason,
        };
        let is_whole = is_whole(&reason);
        let mut would_be_cut = false;
        if segment.next.is_none() {
            if self.is_live {
                return Ok(false);
            }
            let start = FilePosition(SEGMENT_HEADER_BYTES_U64.min(segment.bytes));
            let unknown = Chain {
                prev_header_crc: None,
                ..*chain
            };
            let expected = Chain::unanchored(unknown.log, segment.base);
            let tail = tail(segment, start, &expected)?;
            let limit = FilePosition(segment.bytes);
            let mut walker = Walker::new(segment.file, start, limit, unknown, start);
            let first = walker.step().map_err(|source| failed(segment, source))?;
            let is_first_whole = matches!(first, Step::Batch { .. });
            let is_durable = self.durable(&tail) > segment.base;
            // A start takes what nothing says was durable for a torn tail, but for the damaged header that stops it.
            would_be_cut = !is_first_whole && !is_durable;
            let was_used = is_whole || is_first_whole || tail.next.is_some();
            if !was_used && !is_durable {
                self.note(segment.path, segment.base, Remark::TornCreation);
                return Ok(false);
            }
        }
        let fault = if is_whole {
            Fault::Header(reason)
        } else if would_be_cut {
            let why = Unproven::WouldBeCut;
            Fault::HeaderUnproven { reason, why }
        } else {
            unsound(segment, chain, reason)?
        };
        self.wrong(segment.path, segment.base, fault);
        chain.prev_header_crc = None;
        Ok(true)
    }

    fn read_header(
        &self,
        segment: &Segment<'_>,
    ) -> Result<Result<SegmentHeader, Corruption>, LogError> {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let count = SEGMENT_HEADER_BYTES_U64.min(segment.bytes);
        let held = bytes
            .get_mut(..usize::try_from(count).unwrap_or(0))
            .unwrap_or_default();
        read_exact_at(segment.file, held, 0).map_err(|source| failed(segment, source))?;
        let header = match SegmentHeader::decode(held) {
            Err(SegmentHeaderError::UnknownVersion(found)) => {
                return Err(LogError::UnknownVersion {
                    path: segment.path.to_path_buf(),
                    found,
                    known: SEGMENT_VERSION,
                });
            }
            Err(SegmentHeaderError::Corrupt(reason)) => return Ok(Err(reason)),
            Ok(header) => header,
        };
        if header.log != self.place.id {
            return Ok(Err(Corruption::WrongLog {
                found_partition: header.log.partition.0,
                found_kind: header.log.kind.byte(),
            }));
        }
        if header.base_offset != segment.base {
            return Ok(Err(Corruption::OffsetGap {
                found: header.base_offset,
                expected: segment.base,
            }));
        }
        Ok(Ok(header))
    }
}

/// Says whether a header that is not the segment's verifies: it belongs elsewhere, and the file with it, or says what this program
/// does not know.
fn is_whole(reason: &Corruption) -> bool {
    matches!(
        reason,
        Corruption::WrongLog { .. } | Corruption::OffsetGap { .. } | Corruption::Field { .. }
    )
}

/// Tells a header that can be written anew from one of which it is not certain what it held.
fn unsound(segment: &Segment<'_>, chain: &Chain, reason: Corruption) -> Result<Fault, LogError> {
    let limit = FilePosition(segment.bytes);
    let rebuilt = rebuild(segment.file, limit, chain).map_err(|source| failed(segment, source))?;
    Ok(match rebuilt {
        Ok(rebuilt) => Fault::HeaderMendable { reason, rebuilt },
        Err(why) => Fault::HeaderUnproven { reason, why },
    })
}
