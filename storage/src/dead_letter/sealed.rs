//! What the structures beside the log have in common: a magic, one checksum over everything, and bitmaps in them.
//!
//! Never allocates from a number that was read: a bitmap's containers are at most 65,536, each checked before it is kept.

use roaring::RoaringBitmap;

use crate::checksum::crc32;
use crate::error::Corruption;
use crate::fields::{length_u64, wrong};

/// Bytes of the checksum at the end.
pub(super) const SEAL_BYTES: usize = 4;

/// Appends the checksum of everything in `bytes`.
pub(super) fn seal(bytes: &mut Vec<u8>) {
    let checksum = crc32(bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
}

/// Checks the checksum and the magic, and returns what stands between them.
pub(super) fn open<'a>(
    part: &'static str,
    magic: u32,
    bytes: &'a [u8],
) -> Result<&'a [u8], Corruption> {
    let too_short = || Corruption::Truncated {
        part,
        needed: 8,
        available: length_u64(bytes),
    };
    let (covered, found) = bytes
        .split_last_chunk::<SEAL_BYTES>()
        .ok_or_else(too_short)?;
    let (found_magic, body) = covered.split_first_chunk::<4>().ok_or_else(too_short)?;
    let found_magic = u32::from_be_bytes(*found_magic);
    if found_magic != magic {
        return Err(Corruption::Magic {
            found: found_magic,
            expected: magic,
        });
    }
    let found = u32::from_be_bytes(*found);
    let computed = crc32(covered);
    if found != computed {
        return Err(Corruption::Checksum {
            part,
            found,
            computed,
        });
    }
    Ok(body)
}

/// Appends the smallest portable form of a bitmap.
pub(super) fn put_bitmap(out: &mut Vec<u8>, set: &RoaringBitmap) {
    let mut smallest = set.clone();
    smallest.optimize();
    out.reserve(smallest.serialized_size());
    if let Err(error) = smallest.serialize_into(&mut *out) {
        // A vector takes every write; without its end the bitmap would not decode.
        debug_assert!(false, "{error}");
    }
}

/// Decodes a bitmap that fills `bytes`.
pub(super) fn bitmap(part: &'static str, bytes: &[u8]) -> Result<RoaringBitmap, Corruption> {
    let mut rest = bytes;
    match RoaringBitmap::deserialize_from(&mut rest) {
        Ok(set) if rest.is_empty() => Ok(set),
        _ => Err(wrong(part, length_u64(bytes))),
    }
}
