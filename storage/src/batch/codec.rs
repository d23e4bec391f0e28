//! Packs and unpacks the records section: lz4 (frame format) and zstd.
//!
//! Unpacking is a stream that stops at the size that the header declares. Nothing is allocated from that size, nor from a
//! size inside the packed bytes beyond a constant: the lz4 decoder's buffers (three blocks of 4 MiB) or one zstd window
//! (8 MiB). The section is one whole frame and nothing behind it.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use super::header::{BatchHeader, Codec};
use super::lz4_frame;
use crate::error::Corruption;

/// Largest zstd window that is unpacked, as a power of two: 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// zstd's own default: the packed size of level 3 at a cost that a producer can bear.
const ZSTD_LEVEL: i32 = 3;
/// Appends the packed form of `section` to `out`; with [`Codec::None`] that is the section.
///
/// # Errors
/// What the codec's library said.
pub fn pack(codec: Codec, section: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    match codec {
        Codec::None => out.extend_from_slice(section),
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(out);
            encoder.write_all(section)?;
            encoder.finish()?;
        }
        Codec::Zstd => {
            let packed = zstd::bulk::compress(section, ZSTD_LEVEL)?;
            out.extend_from_slice(&packed);
        }
    }
    Ok(())
}

/// Returns the records section of a batch as it was before compression. `body` must have passed the body CRC.
///
/// # Errors
/// [`Corruption::Field`] when the header declares more than `unpacked_bytes_max`, or another size than an uncompressed
/// body has; [`Corruption::Packed`] when the body does not unpack to exactly the declared size.
pub fn unpack<'a>(
    header: &BatchHeader,
    body: &'a [u8],
    unpacked_bytes_max: u32,
) -> Result<Cow<'a, [u8]>, Corruption> {
    let declared = header.unpacked_bytes;
    let wrong_size = || Corruption::Field {
        field: "unpacked bytes",
        value: u64::from(declared),
    };
    if declared > unpacked_bytes_max {
        return Err(wrong_size());
    }
    match header.attributes.codec {
        Codec::None if u32::try_from(body.len()) == Ok(declared) => Ok(Cow::Borrowed(body)),
        Codec::None => Err(wrong_size()),
        Codec::Lz4 => unpack_lz4(body, declared).map(Cow::Owned),
        Codec::Zstd => unpack_zstd(body, declared).map(Cow::Owned),
    }
}

fn unpack_lz4(body: &[u8], declared: u32) -> Result<Vec<u8>, Corruption> {
    const CODEC: &str = "lz4";
    let rest = lz4_frame::bytes_behind(body).map_err(|fault| packed(CODEC, &fault))?;
    check_end(CODEC, rest)?;
    let mut decoder = lz4_flex::frame::FrameDecoder::new(body);
    let out = read_declared(CODEC, &mut decoder, declared)?;
    // An empty block ends the decoder's stream before the frame's end.
    check_end(CODEC, decoder.get_ref())?;
    Ok(out)
}

fn unpack_zstd(body: &[u8], declared: u32) -> Result<Vec<u8>, Corruption> {
    const CODEC: &str = "zstd";
    let failed = |error: io::Error| packed(CODEC, &error);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)
        .map_err(failed)?
        .single_frame();
    decoder
        .window_log_max(ZSTD_WINDOW_LOG_MAX)
        .map_err(failed)?;
    let out = read_declared(CODEC, &mut decoder, declared)?;
    check_end(CODEC, decoder.get_ref())?;
    Ok(out)
}

/// Reads to the end of the frame, at most one byte past the declared size. The vector grows with what was unpacked.
fn read_declared(
    codec: &'static str,
    decoder: &mut impl Read,
    declared: u32,
) -> Result<Vec<u8>, Corruption> {
    let mut out = Vec::new();
    decoder
        .take(u64::from(declared).saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|error| packed(codec, &error))?;
    match u32::try_from(out.len()) {
        Ok(bytes) if bytes == declared => Ok(out),
        Ok(bytes) if bytes < declared => Err(packed(
            codec,
            &format_args!("it unpacks to {bytes} bytes, the header declares {declared}"),
        )),
        _ => Err(packed(
            codec,
            &format_args!("it unpacks to more than the {declared} bytes that the header declares"),
        )),
    }
}

fn check_end(codec: &'static str, rest: &[u8]) -> Result<(), Corruption> {
    if rest.is_empty() {
        return Ok(());
    }
    let bytes = rest.len();
    Err(packed(
        codec,
        &format_args!("{bytes} bytes follow its frame"),
    ))
}

fn packed(codec: &'static str, reason: &impl ToString) -> Corruption {
    Corruption::Packed {
        codec,
        reason: reason.to_string(),
    }
}
