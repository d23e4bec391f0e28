//! Packed sections that lie about themselves.

use super::*;
use crate::batch::codec::pack;

const LIMIT: u32 = 1 << 20;

fn packed_by(codec: Codec, section: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    pack(codec, section, &mut out).unwrap();
    out
}

/// Unpacks a body whose header declares `declared` bytes in this codec.
fn unpacked(codec: Codec, declared: u32, body: &[u8]) -> Result<Vec<u8>, Corruption> {
    let mut header = header_of(&build(Codec::None, &[value("v")]));
    header.attributes.codec = codec;
    header.unpacked_bytes = declared;
    unpack(&header, body, LIMIT).map(std::borrow::Cow::into_owned)
}

fn reason(result: Result<Vec<u8>, Corruption>) -> String {
    match result {
        Err(Corruption::Packed { reason, .. }) => reason,
        other => panic!("{:?}", other.map(|bytes| bytes.len())),
    }
}

#[test]
fn sections_come_back_at_every_size() {
    let text: Vec<u8> = (0..300_000_u32).map(|at| (at / 7 % 251) as u8).collect();
    for codec in CODECS {
        for bytes in [0, 1, 100, 65_535, 65_536, 65_537, 300_000] {
            let section = &text[..bytes];
            let body = packed_by(codec, section);
            assert_eq!(
                unpacked(codec, bytes as u32, &body).unwrap(),
                section,
                "{codec:?} {bytes}"
            );
        }
    }
}

#[test]
fn a_section_larger_or_smaller_than_declared_is_refused() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let body = packed_by(codec, &[b'a'; 1000]);
        assert_eq!(
            reason(unpacked(codec, 999, &body)),
            "it unpacks to more than the 999 bytes that the header declares"
        );
        assert_eq!(
            reason(unpacked(codec, 1001, &body)),
            "it unpacks to 1000 bytes, the header declares 1001"
        );
    }
    assert_eq!(
        unpacked(Codec::None, 2, b"abc"),
        Err(Corruption::Field {
            field: "unpacked bytes",
            value: 2
        })
    );
}

#[test]
fn a_declared_size_over_the_limit_is_refused_before_anything_is_unpacked() {
    for codec in CODECS {
        assert_eq!(
            unpacked(codec, LIMIT + 1, b"not even a frame"),
            Err(Corruption::Field {
                field: "unpacked bytes",
                value: u64::from(LIMIT) + 1
            })
        );
    }
}

#[test]
fn a_frame_truncated_at_every_byte_is_refused_also_when_its_content_is_whole() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let body = packed_by(codec, &[b'a'; 1000]);
        for end in 0..body.len() {
            assert!(
                unpacked(codec, 1000, &body[..end]).is_err(),
                "{codec:?}, cut at {end} of {}",
                body.len()
            );
        }
    }
}

#[test]
fn bytes_behind_the_frame_are_refused() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let body = packed_by(codec, &[b'a'; 1000]);
        let garbage = [body.as_slice(), b"tail"].concat();
        assert_eq!(
            reason(unpacked(codec, 1000, &garbage)),
            "4 bytes follow its frame"
        );
        let twice = [body.as_slice(), &body].concat();
        assert!(unpacked(codec, 1000, &twice).is_err(), "{codec:?}");
        assert!(unpacked(codec, 2000, &twice).is_err(), "{codec:?}");
    }
}

#[test]
fn an_empty_lz4_block_does_not_hide_what_follows_it() {
    let whole = packed_by(Codec::Lz4, &[b'a'; 1000]);
    let (blocks, end_mark) = whole.split_at(whole.len() - 4);
    // One block of one byte, a token without literals: it unpacks to nothing.
    let empty = [1, 0, 0, 0, 0];
    let hidden = [1, 0, 0, 0x80, b'x'];
    let body = [blocks, &empty, &hidden, end_mark].concat();
    assert!(unpacked(Codec::Lz4, 1000, &body).is_err());
}

#[test]
fn a_legacy_lz4_frame_is_refused() {
    let body = [0x02, 0x21, 0x4c, 0x18, 1, 0, 0, 0, 0];
    assert_eq!(
        reason(unpacked(Codec::Lz4, 0, &body)),
        "it does not open with an LZ4 frame"
    );
}

#[test]
fn a_zstd_window_over_8_mib_is_refused() {
    // Magic, a frame without a declared size, a window of 2^windowlog, one last raw block of one byte.
    let frame = |window_log: u8| {
        let window = (window_log - 10) << 3;
        [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x09, 0x00, 0x00, b'x']
    };
    assert_eq!(unpacked(Codec::Zstd, 1, &frame(23)), Ok(b"x".to_vec()));
    assert!(reason(unpacked(Codec::Zstd, 1, &frame(24))).contains("memory"));
}

#[test]
fn another_codecs_frame_is_refused() {
    for (codec, other) in [(Codec::Lz4, Codec::Zstd), (Codec::Zstd, Codec::Lz4)] {
        let body = packed_by(other, &[b'a'; 1000]);
        assert!(unpacked(codec, 1000, &body).is_err());
    }
}
