//! Which log a batch or a segment belongs to: a partition number and a kind.
//!
//! Both stand in every segment header and every batch header, so that a file that was copied to the wrong place is
//! refused instead of served.

use std::fmt;

/// Number of a partition within the broker, handed out by the control log and never used again.
///
/// [`PartitionNumber::BROKER`] (0) is the broker itself: the control log lives there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartitionNumber(pub u32);

impl PartitionNumber {
    /// The broker's own number, under which the control log stands.
    pub const BROKER: Self = Self(0);
    /// The first number that a partition of a topic can have.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for PartitionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a log holds. The number is its byte on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LogKind {
    /// Records, in offset order.
    Main = 1,
    /// Dead letters and their resolution markers.
    DeadLetter = 2,
    /// Attempts and state changes of pushed records.
    Delivery = 3,
    /// The broker's own state changes.
    Control = 4,
}

impl LogKind {
    /// Returns the kind with this byte, or `None` for a byte that no kind has.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Main),
            2 => Some(Self::DeadLetter),
            3 => Some(Self::Delivery),
            4 => Some(Self::Control),
            _ => None,
        }
    }

    /// Returns the kind's byte on disk.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Main => 1,
            Self::DeadLetter => 2,
            Self::Delivery => 3,
            Self::Control => 4,
        }
    }

    /// Returns the kind's name, which is also the name of its directory below a partition's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::DeadLetter => "dead-letter",
            Self::Delivery => "delivery",
            Self::Control => "control",
        }
    }
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One log of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The partition whose log it is.
    pub partition: PartitionNumber,
    /// Which of the partition's logs.
    pub kind: LogKind,
}

impl LogId {
    /// The broker's control log.
    pub const CONTROL: Self = Self {
        partition: PartitionNumber::BROKER,
        kind: LogKind::Control,
    };

    /// Names one log.
    #[must_use]
    pub const fn new(partition: PartitionNumber, kind: LogKind) -> Self {
        Self { partition, kind }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} log of partition {}", self.kind, self.partition)
    }
}
