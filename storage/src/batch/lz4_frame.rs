//! Where an LZ4 frame ends. Its decoder takes bytes that end between two blocks for a whole frame; nothing in a log may
//! depend on that, since other decoders refuse it.
//!
//! Numbers are little-endian. Only what says how long a part is is read here; the decoder checks the rest.
//!
//! | field | bytes | meaning |
//! |---|---|---|
//! | magic | 4 | [`MAGIC`]; the legacy frame has another and is refused: it says nothing of its block size |
//! | flags | 1 | bit 4: block checksums; bit 3: content size; bit 2: content checksum; bit 0: dictionary id |
//! | block size | 1 | |
//! | content size | 0 or 8 | |
//! | dictionary id | 0 or 4 | |
//! | header checksum | 1 | |
//! | blocks | | each: bytes (u32, the top bit says that they are not compressed), bytes, checksum (0 or 4) |
//! | end mark | 4 | 0 |
//! | content checksum | 0 or 4 | |

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const HAS_BLOCK_CHECKSUMS: u8 = 1 << 4;
const HAS_CONTENT_SIZE: u8 = 1 << 3;
const HAS_CONTENT_CHECKSUM: u8 = 1 << 2;
const HAS_DICTIONARY_ID: u8 = 1;
/// Of a block's size: the block is not compressed.
const IS_UNCOMPRESSED: u32 = 1 << 31;

/// Why bytes do not open with a whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameFault {
    #[error("it does not open with an LZ4 frame")]
    Magic,
    #[error("it ends inside its frame")]
    Truncated,
}

/// Returns the bytes behind the frame at the start of `input`.
///
/// # Errors
/// [`FrameFault`] when there is no whole frame.
pub(super) fn bytes_behind(input: &[u8]) -> Result<&[u8], FrameFault> {
    let rest = input.strip_prefix(&MAGIC).ok_or(FrameFault::Magic)?;
    whole_frame(rest).ok_or(FrameFault::Truncated)
}

fn whole_frame(input: &[u8]) -> Option<&[u8]> {
    let flags = *input.first()?;
    let field = |flag, bytes| if flags & flag == 0 { 0 } else { bytes };
    let head = 3 + field(HAS_CONTENT_SIZE, 8) + field(HAS_DICTIONARY_ID, 4);
    let mut rest = input.get(head..)?;
    loop {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let [a, b, c, d] = *size;
        let size = u32::from_be_bytes([d, c, b, a]);
        if size == 0 {
            return after.get(field(HAS_CONTENT_CHECKSUM, 4)..);
        }
        let bytes = usize::try_from(size & !IS_UNCOMPRESSED).ok()?;
        rest = after.get(bytes..)?.get(field(HAS_BLOCK_CHECKSUMS, 4)..)?;
    }
}
