//! Looking behind the first bytes that do not verify: is there a sound batch further on, and what does it say was durable?
//!
//! Used to tell a torn tail from damage, and to find where a reader can go on behind damage. The search goes over the bytes
//! once: each candidate costs one header checksum, and a records section is read only for a header that verifies, so
//! hostile bytes cannot make it quadratic.
//!
//! A record may quote a header of this very log, or a whole batch. So what stands inside the batch that was expected says nothing
//! where its own header verifies. Where that is lost too, what its records quote can make damage of a torn tail: it is then told and
//! kept, instead of cut.

use std::io;

use memchr::memmem;

use crate::batch::header::{BATCH_MAGIC, BatchHeader, HEADER_BYTES};
use crate::disk::{DiskFile, read_exact_at};
use crate::offset::{FilePosition, Offset};
use crate::segment::Chain;

const MAGIC: [u8; 4] = BATCH_MAGIC.to_be_bytes();
const CHUNK_BYTES: u64 = 1 << 20;
const HEADER_BYTES_U64: u64 = HEADER_BYTES as u64;

/// What stands behind a place that does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    /// Whether every byte is zero: nothing was ever written there.
    pub is_zero: bool,
    /// Position and header of the first sound batch of this log with a base offset above the expected one.
    pub next: Option<(FilePosition, BatchHeader)>,
    /// The largest "durable up to" of any header there that verifies, sound batch or not.
    pub durable_up_to: Offset,
    /// First offset behind the last header found (exclusive end); zero without one.
    pub end_offset: Offset,
}

/// Examines the bytes from `from` to `limit` for headers of the log with base offsets above that of the `expected` batch.
///
/// # Errors
/// Any error of the disk.
pub fn examine_tail(
    file: &dyn DiskFile,
    from: FilePosition,
    limit: FilePosition,
    expected: &Chain,
) -> io::Result<Tail> {
    let behind = behind_expected(file, from, limit, expected)?;
    let mut tail = Tail {
        is_zero: true,
        ..Tail::default()
    };
    let mut at = from.0;
    let mut chunk = Vec::new();
    while at < limit.0 {
        let count = CHUNK_BYTES.min(limit.0.saturating_sub(at));
        chunk.resize(usize::try_from(count).unwrap_or(usize::MAX), 0);
        read_exact_at(file, &mut chunk, at)?;
        if !is_zero(&chunk) {
            tail.is_zero = false;
            for (place, header) in candidates(&chunk) {
                let position = FilePosition(at.saturating_add(place));
                let is_possible = position >= behind
                    && header.log == Some(expected.log)
                    && header.base_offset > expected.next_offset;
                if is_possible {
                    note(&mut tail, file, position, limit, header)?;
                }
            }
        }
        // A header may straddle two chunks: the next one starts before the last place where one was cut off.
        let is_last = at.saturating_add(count) >= limit.0;
        at = at.saturating_add(if is_last {
            count
        } else {
            count.saturating_sub(HEADER_BYTES_U64 - 1)
        });
    }
    Ok(tail)
}

/// Returns whether every byte is zero. By blocks, which the processor compares many bytes at a time.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let mut blocks = bytes.chunks(64);
    blocks.all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Returns every place in `chunk` where a whole header stands that verifies alone.
fn candidates(chunk: &[u8]) -> impl Iterator<Item = (u64, BatchHeader)> {
    // The search goes on behind what it found: no second magic begins within one, since its bytes all differ.
    memmem::find_iter(chunk, &MAGIC).filter_map(|place| {
        let header = BatchHeader::decode(chunk.get(place..)?).ok()?;
        Some((u64::try_from(place).ok()?, header))
    })
}

/// Returns where the expected batch ends by its own header; where it begins when that does not verify.
fn behind_expected(
    file: &dyn DiskFile,
    from: FilePosition,
    limit: FilePosition,
    expected: &Chain,
) -> io::Result<FilePosition> {
    let mut bytes = [0; HEADER_BYTES];
    if from
        .checked_add(HEADER_BYTES_U64)
        .is_none_or(|end| end > limit)
    {
        return Ok(from);
    }
    read_exact_at(file, &mut bytes, from.0)?;
    let header = BatchHeader::decode(&bytes).ok();
    let header = header.filter(|header| expected.check(header).is_ok());
    let length = header.map_or(0, |header| u64::from(header.length));
    Ok(FilePosition(from.0.saturating_add(length)))
}

fn note(
    tail: &mut Tail,
    file: &dyn DiskFile,
    position: FilePosition,
    limit: FilePosition,
    header: BatchHeader,
) -> io::Result<()> {
    tail.durable_up_to = tail.durable_up_to.max(header.durable_up_to);
    tail.end_offset = tail.end_offset.max(header.next_offset());
    let fits = position
        .checked_add(u64::from(header.length))
        .is_some_and(|end| end <= limit);
    if tail.next.is_some() || !fits {
        return Ok(());
    }
    let mut body = vec![0; usize::try_from(header.body_bytes()).unwrap_or(usize::MAX)];
    read_exact_at(file, &mut body, position.0.saturating_add(HEADER_BYTES_U64))?;
    if header.check_body(&body).is_ok() {
        tail.next = Some((position, header));
    }
    Ok(())
}
