//! The numbers a log counts with, as newtypes: an offset is never mixed up with a place in a file or with a time.
//!
//! Arithmetic is checked: an overflow is an `None` that the caller must handle, never a wrapped value.

use std::fmt;

/// Logical position of a record in its log: the first record ever appended has offset 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset of a log's first record.
    pub const ZERO: Self = Self(0);

    /// Returns the offset `count` records later, or `None` past the last representable offset.
    #[must_use]
    pub fn checked_add(self, count: u64) -> Option<Self> {
        self.0.checked_add(count).map(Self)
    }

    /// Returns the number of offsets from `base` to `self`, or `None` if `base` is the later one.
    #[must_use]
    pub fn since(self, base: Self) -> Option<u64> {
        self.0.checked_sub(base.0)
    }

    /// Returns the next offset. Saturates at the last representable one, which no log reaches.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A byte place in one file, counted from the file's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FilePosition(pub u64);

impl FilePosition {
    /// Returns the position `bytes` further, or `None` on overflow.
    #[must_use]
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z; negative before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// Returns the time `ms` milliseconds later, held at the last representable one.
    #[must_use]
    pub fn saturating_add(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Returns the milliseconds from `earlier` to `self`; negative when `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
