//! The only place where names of segment files are built and parsed.
//!
//! | name | file |
//! |---|---|
//! | 20 decimal digits of the base offset, `.log` | the segment |
//! | the same digits, `.index` | its sparse index, a hint |
//! | the same digits, `.facets` | the facets of a dead-letter segment, a hint |
//! | the same digits, `.old-header` | the damaged header that `repair` has replaced, which nothing reads |

use std::path::{Path, PathBuf};

use crate::offset::Offset;

/// What a file beside a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// The segment itself.
    Log,
    /// The sparse index.
    Index,
    /// The facets of a dead-letter segment.
    Facets,
    /// The damaged header that `repair` has replaced.
    OldHeader,
}

impl FileKind {
    /// Every kind; the segment last, so that a removal that is interrupted leaves no hint without its segment.
    pub const ALL: [Self; 4] = [Self::Index, Self::Facets, Self::OldHeader, Self::Log];

    fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::Facets => "facets",
            Self::OldHeader => "old-header",
        }
    }
}

const DIGITS: usize = 20;

/// Returns the path of a segment's file below its log's directory.
#[must_use]
pub fn path(dir: &Path, base: Offset, kind: FileKind) -> PathBuf {
    dir.join(format!("{:0DIGITS$}.{}", base.0, kind.extension()))
}

/// Parses a file name; `None` for a name that is not ours, which is left alone.
#[must_use]
pub fn parse(name: &str) -> Option<(Offset, FileKind)> {
    let (digits, extension) = name.split_once('.')?;
    let kind = FileKind::ALL
        .into_iter()
        .find(|kind| kind.extension() == extension)?;
    if digits.len() != DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(|base| (Offset(base), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for base in [0, 7, u64::MAX] {
            for kind in FileKind::ALL {
                let path = path(Path::new("d"), Offset(base), kind);
                assert_eq!(
                    parse(path.file_name().unwrap().to_str().unwrap()),
                    Some((Offset(base), kind))
                );
            }
        }
    }

    #[test]
    fn foreign_names_are_left_alone() {
        for name in [
            "",
            "0.log",
            "0000000000000000000x.log",
            "00000000000000000000.tmp",
            "99999999999999999999.log",
            "00000000000000000000.log.bak",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
